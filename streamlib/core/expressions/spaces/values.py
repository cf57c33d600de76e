"""The methods of every expression that are functions: numbers, nulls, membership, hashing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from streamlib.core.errors import DefinitionError, shown
from streamlib.core.expressions.literals import LiteralValue, normalised
from streamlib.core.expressions.spaces import checks
from streamlib.core.expressions.spaces.base import Applicable, Argument, E


class Methods(Applicable[E]):
    """Functions that every expression has; each under its name in Polars."""

    def hash(self, seed: int = 0) -> E:
        """A hash of the value, a uint64: the same in every version, process and machine; another by `seed`.

        Equal values have equal hashes whatever the width of their integers or floats; 0.0 and -0.0 are
        one value, and so are all NaNs. Null has a hash of its own. Polars' function of this name changes
        with its version: the numbers differ. Not for secrets: whoever knows the seed can find collisions.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("user").hash() % 4, user=["ada", "bob", None])
        [2, 1, 0]
        """
        return self._applied("hash", (self,), {"seed": checks.integer(seed, "seed", 0)})

    def is_in(self, values: Iterable[Any]) -> E:
        """Whether the value is one of `values`, plain values. Null stays null; NaN is no one's equal.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").is_in(["EWR", "JFK"]), x=["JFK", "LGA", None])
        [True, False, None]
        """
        if isinstance(values, str | bytes | Applicable) or not isinstance(values, Iterable):
            raise DefinitionError(
                "is_in takes a list of plain values",
                expected="a list, tuple or set",
                found=shown(values),
                remedy='write .is_in(["EWR", "JFK"]); in a column of lists: col("xs").list.contains(…)',
            )
        ordered = sorted(values, key=repr) if isinstance(values, set | frozenset) else values
        return self._applied("is_in", (self,), {"values": tuple(map(normalised, ordered))})

    def is_between(
        self,
        lower_bound: Argument[E],
        upper_bound: Argument[E],
        closed: Literal["both", "left", "right", "none"] = "both",
    ) -> E:
        """Whether the value lies between two bounds, which `closed` counts in or leaves out.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").is_between(1, 3, closed="left"), x=[1, 3, None])
        [True, False, None]
        """
        checked = checks.choice(closed, "closed", ("both", "left", "right", "none"))
        return self._applied("is_between", (self, lower_bound, upper_bound), {"closed": checked})

    def eq_missing(self, other: Argument[E]) -> E:
        """Whether both are equal or both null; never null.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").eq_missing(sl.col("y")), x=[1, None, None], y=[1, 1, None])
        [True, False, True]
        """
        return self._applied("eq_missing", (self, other), {})

    def ne_missing(self, other: Argument[E]) -> E:
        """Whether they differ, null being a value like others; never null.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").ne_missing(sl.col("y")), x=[1, None, None], y=[1, 1, None])
        [False, True, False]
        """
        return self._applied("ne_missing", (self, other), {})

    def replace_strict(
        self, mapping: Mapping[Any, Any], *, default: LiteralValue | Literal["raise"] = "raise"
    ) -> E:
        """What `mapping` gives for each value; `default` for what it does not hold, null too.

        Without `default` such a value is an error at run time, and null stays null.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").replace_strict({"UA": "United"}, default=None), x=["UA", "AA"])
        ['United', None]
        """
        if not isinstance(mapping, Mapping) or not mapping:
            raise DefinitionError(
                "replace_strict takes a mapping",
                expected="a dict from values to values, not empty",
                found=shown(mapping),
                remedy='write for example .replace_strict({"UA": "United"}, default=None)',
            )
        old, new = tuple(map(normalised, mapping)), tuple(map(normalised, mapping.values()))
        options = {"old": old, "new": new, "strict": isinstance(default, str) and default == "raise"}
        return self._applied(
            "replace_strict",
            (self,),
            {**options, "default": None if options["strict"] else normalised(default)},
        )

    def fill_nan(self, value: Argument[E]) -> E:
        """The value, or `value` where it is NaN; null stays null.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").fill_nan(0.0), x=[float("nan"), 1.5, None])
        [0.0, 1.5, None]
        """
        return self._applied("fill_nan", (self, value), {})

    def is_nan(self) -> E:
        """Whether the number is NaN. Null stays null.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").is_nan(), x=[float("nan"), 1.5, None])
        [True, False, None]
        """
        return self._applied("is_nan", (self,), {})

    def is_not_nan(self) -> E:
        """Whether the number is something else than NaN. Null stays null.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").is_not_nan(), x=[float("nan"), 1.5, None])
        [False, True, None]
        """
        return self._applied("is_not_nan", (self,), {})

    def is_finite(self) -> E:
        """Whether the number is neither infinite nor NaN.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").is_finite(), x=[float("inf"), 1.5, None])
        [False, True, None]
        """
        return self._applied("is_finite", (self,), {})

    def is_infinite(self) -> E:
        """Whether the number is infinite.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").is_infinite(), x=[float("inf"), 1.5, None])
        [True, False, None]
        """
        return self._applied("is_infinite", (self,), {})

    def abs(self) -> E:
        """Without its sign: a number or a duration. The least integer of a type is an error.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").abs(), x=[-1, 2, None])
        [1, 2, None]
        """
        return self._applied("abs", (self,), {})

    def sign(self) -> E:
        """-1, 0 or 1, in the type of the number; NaN for NaN.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").sign(), x=[-5, 0, None])
        [-1, 0, None]
        """
        return self._applied("sign", (self,), {})

    def round(
        self, decimals: int = 0, mode: Literal["half_to_even", "half_away_from_zero"] = "half_to_even"
    ) -> E:
        """Rounded to so many decimals; `mode` decides on halves.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").round(1), x=[1.25, 1.36, None])
        [1.2, 1.4, None]
        """
        options = {
            "decimals": checks.integer(decimals, "decimals", 0),
            "mode": checks.choice(mode, "mode", ("half_to_even", "half_away_from_zero")),
        }
        return self._applied("round", (self,), options)

    def floor(self) -> E:
        """Rounded down to a whole number, in its own type.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").floor(), x=[-1.5, None])
        [-2.0, None]
        """
        return self._applied("floor", (self,), {})

    def ceil(self) -> E:
        """Rounded up to a whole number, in its own type.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").ceil(), x=[1.5, None])
        [2.0, None]
        """
        return self._applied("ceil", (self,), {})

    def clip(self, lower_bound: Argument[E] = None, upper_bound: Argument[E] = None) -> E:
        """Not below `lower_bound` and not above `upper_bound`; None and null bind nothing.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").clip(0, 10), x=[-5, 5, 50, None])
        [0, 5, 10, None]
        """
        return self._applied("clip", (self, lower_bound, upper_bound), {})

    def pow(self, exponent: Argument[E]) -> E:
        """To a power; `**` does the same. Integers to whole powers are exact, or an error.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x") ** 2, x=[3, None])
        [9, None]
        """
        return self._applied("pow", (self, exponent), {})

    def log(self, base: float = 2.718281828459045) -> E:
        """The logarithm to a base; of 0 -inf, below it NaN.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").log(2), x=[8, None])
        [3.0, None]
        """
        if isinstance(base, bool) or not isinstance(base, int | float) or not base > 0 or base == 1:
            raise DefinitionError(
                "no base of logarithms",
                expected="a number above 0 that is not 1",
                found=shown(base),
                remedy="write for example .log(2), or .log() for the natural logarithm",
            )
        return self._applied("log", (self,), {"base": float(base)})

    def sqrt(self) -> E:
        """The square root; NaN below 0.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").sqrt(), x=[4.0, None])
        [2.0, None]
        """
        return self._applied("sqrt", (self,), {})

    def cbrt(self) -> E:
        """The cubic root.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").cbrt(), x=[8.0, None])
        [2.0, None]
        """
        return self._applied("cbrt", (self,), {})

    def exp(self) -> E:
        """E to this power.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").exp(), x=[0.0, None])
        [1.0, None]
        """
        return self._applied("exp", (self,), {})

    def log10(self) -> E:
        """The logarithm to base 10; of 0 -inf, below it NaN.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").log10(), x=[1000.0, None])
        [3.0, None]
        """
        return self._applied("log10", (self,), {})

    def log1p(self) -> E:
        """The natural logarithm of 1 plus this.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").log1p(), x=[0.0, None])
        [0.0, None]
        """
        return self._applied("log1p", (self,), {})

    def sin(self) -> E:
        """The sine of an angle in radians.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").sin(), x=[0.0, None])
        [0.0, None]
        """
        return self._applied("sin", (self,), {})

    def cos(self) -> E:
        """The cosine of an angle in radians.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").cos(), x=[0.0, None])
        [1.0, None]
        """
        return self._applied("cos", (self,), {})

    def tan(self) -> E:
        """The tangent of an angle in radians.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").tan(), x=[0.0, None])
        [0.0, None]
        """
        return self._applied("tan", (self,), {})

    def arcsin(self) -> E:
        """The angle in radians with this sine.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").arcsin(), x=[0.0, None])
        [0.0, None]
        """
        return self._applied("arcsin", (self,), {})

    def arccos(self) -> E:
        """The angle in radians with this cosine.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").arccos(), x=[1.0, None])
        [0.0, None]
        """
        return self._applied("arccos", (self,), {})

    def arctan(self) -> E:
        """The angle in radians with this tangent.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").arctan(), x=[0.0, None])
        [0.0, None]
        """
        return self._applied("arctan", (self,), {})

    def sinh(self) -> E:
        """The hyperbolic sine.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").sinh(), x=[0.0, None])
        [0.0, None]
        """
        return self._applied("sinh", (self,), {})

    def cosh(self) -> E:
        """The hyperbolic cosine.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").cosh(), x=[0.0, None])
        [1.0, None]
        """
        return self._applied("cosh", (self,), {})

    def tanh(self) -> E:
        """The hyperbolic tangent.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").tanh(), x=[0.0, None])
        [0.0, None]
        """
        return self._applied("tanh", (self,), {})

    def degrees(self) -> E:
        """An angle in radians in degrees.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").degrees(), x=[0.0, None])
        [0.0, None]
        """
        return self._applied("degrees", (self,), {})

    def radians(self) -> E:
        """An angle in degrees in radians.

        >>> import streamlib as sl
        >>> sl.evaluate(sl.col("x").radians(), x=[0.0, None])
        [0.0, None]
        """
        return self._applied("radians", (self,), {})
