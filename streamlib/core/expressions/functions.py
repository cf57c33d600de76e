"""`udf`: Python functions of the user as parts of expressions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeAlias, overload

import pyarrow as pa

from streamlib.core.canonical import function_id, import_name
from streamlib.core.errors import DefinitionError, NotPicklableError, TypeMismatchError, shown
from streamlib.core.expressions.ast import Expr, Operand, argument_text, as_expr
from streamlib.core.hints import MISSING, function_hints, hint_of
from streamlib.core.where import caller

Nulls: TypeAlias = Literal["skip", "pass"]


class Function:
    """A function for expressions: called on expressions it gives one. Made by `udf`; immutable.

    Attributes:
        function: the user's own, as it was.
        dtype: the Arrow type of its results.
        vectorized: whether it takes and returns whole columns.
        nulls: whether rows with a null argument are skipped or passed.
    """

    def __init__(
        self, function: Callable[..., Any], dtype: pa.DataType, vectorized: bool, nulls: Nulls
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.dtype = dtype
        self.vectorized = vectorized
        self.nulls = nulls

    @property
    def name(self) -> str:
        """`module:qualname` where that imports it, else a name for this very object."""
        return import_name(self) or function_id(self.function)

    def __call__(self, *arguments: Operand) -> Expr:
        """The function applied to columns: each argument an expression or a literal (strings too)."""
        if not arguments:
            raise DefinitionError(
                f"{self.name} was called without arguments",
                expected="at least one expression: it decides for which rows the function is computed",
                found=f"{self.name}()",
                remedy=f'pass the columns that it needs, for example {self.name}(col("price"))',
            ).at("udf", caller())
        return Call(self, tuple(as_expr(argument) for argument in arguments))

    def canonical(self) -> tuple[Any, ...]:
        """What makes two functions equal; never their code."""
        return ("udf", self.name, str(self.dtype), self.vectorized, self.nulls)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Function) and self.canonical() == other.canonical()

    def __hash__(self) -> int:
        return hash(self.canonical())

    def __repr__(self) -> str:
        return f"udf({self.name}{', vectorized=True' if self.vectorized else ''})"

    def __reduce__(self) -> str | tuple[Any, ...]:
        if import_name(self) is not None:
            return str(
                self.__dict__["__qualname__"]
            )  # decorated: the name is this object, and the function has none
        if import_name(self.function) is None and getattr(self.function, "__qualname__", None) is not None:
            raise NotPicklableError(
                "this expression can't be pickled: it holds a function that has no importable name",
                expected="functions defined at the top level of a module",
                found=shown(self.function),
                remedy="move the function to the top level of a module that can be imported",
            )
        return (Function, (self.function, self.dtype, self.vectorized, self.nulls))


@dataclass(frozen=True, eq=False, repr=False)
class Call(Expr):
    """`function(*arguments)`, computed by the user's Python."""

    tag = "call"
    function: Function
    arguments: tuple[Expr, ...]

    def canonical(self) -> tuple[Any, ...]:
        return (self.tag, self.function.canonical(), *(argument.canonical() for argument in self.arguments))

    def __repr__(self) -> str:
        return f"{self.function!r}({', '.join(map(argument_text, self.arguments))})"


@overload
def udf(  # pyright: ignore[reportOverlappingOverload] - a DataType is no Callable
    function: Callable[..., Any],
    dtype: pa.DataType | None = None,
    *,
    vectorized: bool = False,
    nulls: Nulls = "skip",
) -> Function: ...
@overload
def udf(
    function: pa.DataType | None = None, *, vectorized: bool = False, nulls: Nulls = "skip"
) -> Callable[[Callable[..., Any]], Function]: ...
def udf(
    function: Any = None,
    dtype: pa.DataType | None = None,
    *,
    vectorized: bool = False,
    nulls: Nulls = "skip",
) -> Any:
    """A Python function for expressions; also a decorator, bare or with the result's type.

    Called on expressions it gives an expression, for `select`, `with_columns`, `filter`, arguments
    of aggregates and `event_time=`. The function must depend on nothing but its arguments: after a
    crash, and on rows that are read again, it is computed again, and results that came out
    differently (random numbers, the clock, a service) break what exactly-once promises.

    **Per record** (the default) it gets one Python value per argument and returns one, at the price
    of a Python call per row. Timestamps with a time zone are datetimes in UTC; nanoseconds are
    floored to Python's microseconds.

    **Vectorized** it gets whole columns and returns one of the same length: a numpy or Arrow array,
    or anything with the Arrow interface (a Polars or pandas series). With `nulls="skip"` numbers,
    bools, dates, timestamps (in UTC) and durations come as numpy arrays, everything else as
    `pyarrow.Array`; with `nulls="pass"` all do. The columns hold the rows of a batch, whose size is
    the runner's choice: each row's result must not depend on the others.

    Args:
        function: the function; as a decorator with arguments, the result's type stands here.
        dtype: the Arrow type of the results. Default: from the hint of the function's result (bool,
            int, float, str, bytes, datetime, date, time, timedelta, list[...], a record class,
            each `| None` too); a Decimal or a column says it here. Values are converted strictly:
            what does not fit is an error, never cut.
        vectorized: whether the function takes whole columns.
        nulls: "skip" (as SQL's strict functions): the function never sees a null, and a row with a
            null argument has a null result. "pass": nulls are handed in, as None or in the arrays.

    Raises:
        DefinitionError: no result type, or options that mean nothing.

    At run time what the function raises comes through, with a note on function, row and values;
    `UserFunctionError` tells of a result of a wrong type or length.

    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> @sl.udf
    ... def initial(name: str) -> str:
    ...     return name[0]
    >>> @sl.udf(pa.float64(), vectorized=True)
    ... def euros(dollars):
    ...     return dollars * 0.5
    >>> rows = sl.read(memory.source([{"name": "Ada", "paid": 3}, {"name": None, "paid": 5}]), name="rows")
    >>> rows.select(initial(sl.col("name")), euros(sl.col("paid"))).collect().to_pylist()
    [{'name': 'A', 'paid': 1.5}, {'name': None, 'paid': 2.5}]
    """
    if function is None or isinstance(function, pa.DataType):
        _check_type(dtype, None)
        return functools.partial(udf, dtype=function, vectorized=vectorized, nulls=nulls)
    _check(function, dtype, vectorized, nulls)
    return Function(function, dtype if dtype is not None else _result_type(function), vectorized, nulls)


def _check(function: Any, dtype: Any, vectorized: Any, nulls: Any) -> None:
    if not callable(function) or isinstance(function, Expr):
        raise TypeMismatchError(
            "this is not a function",
            expected="a callable, or the Arrow type of its results where udf is a decorator",
            found=shown(function),
            remedy="write sl.udf(fn, pa.float64())(col(...)): the function first, then the columns",
        ).at("udf", caller())
    _check_type(dtype, function)
    if nulls not in ("skip", "pass") or not isinstance(vectorized, bool):
        raise DefinitionError(
            "options that mean nothing",
            expected='nulls="skip" or "pass", vectorized=True or False',
            found=f"nulls={shown(nulls)}, vectorized={shown(vectorized)}",
            remedy="leave them out for a function per record that never sees a null",
        ).at("udf", caller())


def _check_type(dtype: Any, function: Any) -> None:
    if dtype is not None and not isinstance(dtype, pa.DataType):
        raise TypeMismatchError(
            f"the result type {'' if function is None else f'of {function_id(function)} '}is no Arrow type",
            expected="an Arrow type, for example pa.float64()",
            found=shown(dtype),
            remedy="import pyarrow as pa, and write pa.int64(), pa.string(), ...",
        ).at("udf", caller())


def _result_type(function: Callable[..., Any]) -> pa.DataType:
    _, result = function_hints(function)
    place = f"the result of {function_id(function)}"
    if result is MISSING or isinstance(result, str):
        raise DefinitionError(
            f"the type of {place} is not known",
            expected="a type hint (`-> float`), or the Arrow type as the second argument",
            found="no hint" if result is MISSING else f"a hint that can't be resolved: {result}",
            remedy="write for example sl.udf(fn, pa.float64()), or @sl.udf(pa.float64()) above it",
        ).at("udf", caller())
    try:
        hint = hint_of(result, place)
    except DefinitionError as error:
        error.remedy = "give the Arrow type as the second argument, for example sl.udf(fn, pa.float64())"
        raise error.at("udf", caller()) from None
    if hint.dtype is None:
        of = "pa.decimal128(12, 2)" if result is Decimal else "pa.float64()"
        raise DefinitionError(
            f"the type of {place} is not known",
            expected="a hint that fixes the Arrow type, or the type itself",
            found=getattr(result, "__qualname__", None) or str(result),
            remedy=f"give it as the second argument, for example sl.udf(fn, {of})",
        ).at("udf", caller())
    return hint.dtype
