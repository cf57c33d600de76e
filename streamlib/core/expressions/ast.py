"""What a user builds: `Expr` and its nodes, immutable values without any type or data."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, TypeAlias

import numpy as np
import pyarrow as pa

from streamlib.core.errors import DefinitionError, TypeMismatchError, shown
from streamlib.core.expressions.literals import LiteralValue, normalised
from streamlib.core.expressions.spaces import SPACES, Spaces
from streamlib.core.expressions.spaces.checks import span_text
from streamlib.core.expressions.types import constructor_text

Operand: TypeAlias = "Expr | LiteralValue | np.generic"
"""What stands beside an operator; whatever is not an expression is a literal, strings too."""


class Expr(Spaces["Expr"]):
    """A computation on the columns of a stream, as a value: immutable, hashable, picklable.

    Operators build larger expressions. `==` does too, so that two expressions are compared by
    `canonical()`; as dictionary keys they work only by identity.

    >>> (Column("price") * 0.908).alias("euros")
    (col('price') * 0.908).alias('euros')
    """

    tag: ClassVar[str]
    """Names the node in canonical forms, whatever its class is called."""
    __array_ufunc__ = None  # so that numpy scalars on the left leave their operators to this class

    def canonical(self) -> tuple[Any, ...]:
        """Nested tuples of strings, equal exactly where two expressions are the same.

        >>> (Column("a") + 1).canonical()
        ('binary', '+', ('column', 'a'), ('literal', '1'))
        """
        return (self.tag, *(_canonical(getattr(self, field.name)) for field in fields(self)))  # type: ignore[arg-type]

    def children(self) -> Iterator[Expr]:
        """The expressions this one is computed from, left to right."""
        for field in fields(self):  # type: ignore[arg-type]
            yield from _expressions(getattr(self, field.name))

    def __hash__(self) -> int:
        return hash(self.canonical())

    def __bool__(self) -> bool:
        raise TypeMismatchError(
            f"{shown(self)} has no truth value: it is computed for every row, later",
            expected="`&`, `|` and `~` between expressions, each comparison in parentheses",
            found="`and`, `or`, `not`, `if`, `in`, or a chain like `a < b < c`",
            remedy="did you write `and`, or `a < b < c`? Write (a < b) & (b < c)",
        )

    def cast(self, dtype: pa.DataType, *, strict: bool = True) -> Expr:
        """Convert: a value that does not fit `dtype` is an error at run time, or null without `strict`.

        >>> Column("price").cast(pa.float64())
        col('price').cast(pa.float64())
        """
        return Cast(self, dtype, strict)

    def _applied(self, function: str, operands: tuple[Any, ...], options: dict[str, Any]) -> Expr:
        return Method(function, tuple(map(as_expr, operands)), tuple(options.items()))

    def is_null(self) -> Expr:
        """True where the value is missing. NaN is not missing.

        >>> ~Column("price").is_null()
        (~col('price').is_null())
        """
        return IsNull(self)

    def is_not_null(self) -> Expr:
        """True where the value is not missing.

        >>> Column("price").is_not_null()
        col('price').is_not_null()
        """
        return IsNull(self, negated=True)

    def fill_null(self, value: Operand) -> Expr:
        """The value, or `value` (a literal or an expression) where it is missing.

        >>> Column("price").fill_null(0)
        col('price').fill_null(0)
        """
        return FillNull(self, as_expr(value))

    def alias(self, name: str) -> Expr:
        """The same values under another column name.

        >>> Column("price").alias("bid")
        col('price').alias('bid')
        """
        return Alias(self, name)

    def __add__(self, other: Operand) -> Expr:
        return Binary("+", self, as_expr(other))

    def __radd__(self, other: Operand) -> Expr:
        return Binary("+", as_expr(other), self)

    def __sub__(self, other: Operand) -> Expr:
        return Binary("-", self, as_expr(other))

    def __rsub__(self, other: Operand) -> Expr:
        return Binary("-", as_expr(other), self)

    def __mul__(self, other: Operand) -> Expr:
        return Binary("*", self, as_expr(other))

    def __rmul__(self, other: Operand) -> Expr:
        return Binary("*", as_expr(other), self)

    def __truediv__(self, other: Operand) -> Expr:
        return Binary("/", self, as_expr(other))

    def __rtruediv__(self, other: Operand) -> Expr:
        return Binary("/", as_expr(other), self)

    def __floordiv__(self, other: Operand) -> Expr:
        return Binary("//", self, as_expr(other))

    def __rfloordiv__(self, other: Operand) -> Expr:
        return Binary("//", as_expr(other), self)

    def __mod__(self, other: Operand) -> Expr:
        return Binary("%", self, as_expr(other))

    def __rmod__(self, other: Operand) -> Expr:
        return Binary("%", as_expr(other), self)

    def __pow__(self, other: Operand) -> Expr:
        return self.pow(other)

    def __rpow__(self, other: Operand) -> Expr:
        return as_expr(other).pow(self)

    def __and__(self, other: Operand) -> Expr:
        return Binary("&", self, as_expr(other))

    def __rand__(self, other: Operand) -> Expr:
        return Binary("&", as_expr(other), self)

    def __or__(self, other: Operand) -> Expr:
        return Binary("|", self, as_expr(other))

    def __ror__(self, other: Operand) -> Expr:
        return Binary("|", as_expr(other), self)

    def __xor__(self, other: Operand) -> Expr:
        return Binary("^", self, as_expr(other))

    def __rxor__(self, other: Operand) -> Expr:
        return Binary("^", as_expr(other), self)

    def __eq__(self, other: Operand) -> Expr:  # type: ignore[override]
        return Binary("==", self, as_expr(other))

    def __ne__(self, other: Operand) -> Expr:  # type: ignore[override]
        return Binary("!=", self, as_expr(other))

    def __lt__(self, other: Operand) -> Expr:
        return Binary("<", self, as_expr(other))

    def __le__(self, other: Operand) -> Expr:
        return Binary("<=", self, as_expr(other))

    def __gt__(self, other: Operand) -> Expr:
        return Binary(">", self, as_expr(other))

    def __ge__(self, other: Operand) -> Expr:
        return Binary(">=", self, as_expr(other))

    def __neg__(self) -> Expr:
        return Unary("-", self)

    def __invert__(self) -> Expr:
        return Unary("~", self)


def as_expr(value: Operand) -> Expr:
    """The expression itself, or the literal. Raises `TypeMismatchError` for values of other types."""
    return value if isinstance(value, Expr) else Literal(normalised(value))


def _canonical(part: object) -> Any:
    if isinstance(part, Expr):
        return part.canonical()
    if isinstance(part, tuple):
        return tuple(map(_canonical, part))
    return None if part is None else str(part)


def _expressions(part: object) -> Iterator[Expr]:
    if isinstance(part, Expr):
        yield part
    elif isinstance(part, tuple):
        for item in part:
            yield from _expressions(item)


@dataclass(frozen=True, eq=False, repr=False)
class Column(Expr):
    """The column called `name`."""

    tag = "column"
    name: str

    def __post_init__(self) -> None:
        _check_name(self.name)

    def __repr__(self) -> str:
        return f"col({self.name!r})"


@dataclass(frozen=True, eq=False, repr=False)
class EventTime(Expr):
    """The event time of the row."""

    tag = "event_time"

    def __repr__(self) -> str:
        return "event_time()"


@dataclass(frozen=True, eq=False, repr=False)
class Literal(Expr):
    """The same value in every row; `as_expr` makes it plain first."""

    tag = "literal"
    value: LiteralValue

    def canonical(self) -> tuple[Any, ...]:
        return (self.tag, repr(self.value))  # the values themselves won't do: 1, 1.0 and True are equal

    def __repr__(self) -> str:
        return f"lit({self.value!r})"


@dataclass(frozen=True, eq=False, repr=False)
class Binary(Expr):
    """`left operator right`."""

    tag = "binary"
    operator: str
    left: Expr
    right: Expr

    def __repr__(self) -> str:
        bare = isinstance(self.left, Literal) and not isinstance(self.right, Literal)
        left = argument_text(self.left) if bare else repr(self.left)
        right = argument_text(self.right) if isinstance(self.right, Literal) else repr(self.right)
        return f"({left} {self.operator} {right})"


@dataclass(frozen=True, eq=False, repr=False)
class Unary(Expr):
    """`-operand` or `~operand`."""

    tag = "unary"
    operator: str
    operand: Expr

    def __repr__(self) -> str:
        return f"({self.operator}{self.operand!r})"


@dataclass(frozen=True, eq=False, repr=False)
class IsNull(Expr):
    """`operand.is_null()`, or `operand.is_not_null()`."""

    tag = "is_null"
    operand: Expr
    negated: bool = False

    def __repr__(self) -> str:
        return f"{self.operand!r}.is_{'not_' if self.negated else ''}null()"


@dataclass(frozen=True, eq=False, repr=False)
class FillNull(Expr):
    """`operand.fill_null(value)`."""

    tag = "fill_null"
    operand: Expr
    value: Expr

    def __repr__(self) -> str:
        return f"{self.operand!r}.fill_null({argument_text(self.value)})"


@dataclass(frozen=True, eq=False, repr=False)
class Cast(Expr):
    """`operand.cast(dtype)`."""

    tag = "cast"
    operand: Expr
    dtype: pa.DataType
    strict: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.dtype, pa.DataType):
            raise DefinitionError(
                f"{shown(self.operand)} can't be cast to this",
                expected="an Arrow type, for example pa.float64()",
                found=shown(self.dtype),
                remedy="import pyarrow as pa, and write .cast(pa.int64()), .cast(pa.string()), …",
            )

    def __repr__(self) -> str:
        strict = "" if self.strict else ", strict=False"
        return f"{self.operand!r}.cast({constructor_text(self.dtype)}{strict})"


@dataclass(frozen=True, eq=False, repr=False)
class Method(Expr):
    """A function of the library: a method of expressions or of a namespace (`str.slice`), or by itself.

    Operands are expressions; options are plain values, checked, with every default.
    """

    tag = "method"
    function: str
    operands: tuple[Expr, ...]
    options: tuple[tuple[str, Any], ...] = ()

    def canonical(self) -> tuple[Any, ...]:
        options = tuple((name, repr(value)) for name, value in self.options)
        return (self.tag, self.function, *(operand.canonical() for operand in self.operands), *options)

    def __repr__(self) -> str:
        if (method := _method(self.function)) is None:
            return (
                f"{self.function}({', '.join([*map(argument_text, self.operands), *_named(self.options)])})"
            )
        arguments = [argument_text(operand) for operand in self.operands[1:]]
        while arguments and arguments[-1] == "None":
            arguments.pop()
        arguments += _options_text(dict(self.options), method)
        return f"{self.operands[0]!r}.{self.function}({', '.join(arguments)})"


@cache
def _method(function: str) -> inspect.Signature | None:
    space, _, name = function.rpartition(".")
    method = getattr(SPACES.get(space, Expr), name, None)
    return inspect.signature(method) if callable(method) else None


def _options_text(options: dict[str, Any], method: inspect.Signature) -> Iterator[str]:
    """The options as they would be written; what is left at its default is left out."""
    named = False
    for parameter in method.parameters.values():
        if parameter.name not in options:
            continue
        value = options[parameter.name]
        if value == parameter.default and type(value) is type(parameter.default):
            named = True
        elif named or parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            yield f"{parameter.name}={_option_text(parameter.name, value)}"
        else:
            yield _option_text(parameter.name, value)


def _named(options: tuple[tuple[str, Any], ...]) -> Iterator[str]:
    return (f"{name}={_option_text(name, value)}" for name, value in options)


def _option_text(name: str, value: Any) -> str:
    if isinstance(value, pa.DataType):
        return constructor_text(value)
    if name in {"every", "by"} and isinstance(value, tuple):
        return repr(span_text(value))
    return repr(list(value)) if isinstance(value, tuple) else repr(value)


@dataclass(frozen=True, eq=False, repr=False)
class Alias(Expr):
    """`operand.alias(name)`."""

    tag = "alias"
    operand: Expr
    name: str

    def __post_init__(self) -> None:
        _check_name(self.name)

    def __repr__(self) -> str:
        return f"{self.operand!r}.alias({self.name!r})"


@dataclass(frozen=True, eq=False, repr=False)
class Case(Expr):
    """The value of the first branch whose condition is true, else `default`, else null."""

    tag = "case"
    branches: tuple[tuple[Expr, Expr], ...]
    default: Expr | None = None

    def __repr__(self) -> str:
        steps = [f"when({argument_text(c)}).then({argument_text(v)})" for c, v in self.branches]
        end = "" if self.default is None else f".otherwise({argument_text(self.default)})"
        return ".".join(steps) + end


def argument_text(expr: Expr) -> str:
    """An expression as an argument of a call: literals bare, operators without outer parentheses."""
    if isinstance(expr, Literal):
        return repr(expr.value)
    return repr(expr)[1:-1] if isinstance(expr, Binary | Unary) else repr(expr)


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise DefinitionError(
            "not a column name",
            expected="a string",
            found=shown(name),
            remedy='write col("price"), or lit(…) for a value',
        )
