"""Errors of expressions that can't be typed, in the words of the person who wrote them."""

from __future__ import annotations

import pyarrow as pa

from streamlib.core.errors import TypeMismatchError, shown
from streamlib.core.expressions.ast import Expr, Literal, argument_text
from streamlib.core.expressions.types import NUMERIC, TEMPORAL, Family, family, type_text

_MOMENTS = frozenset({Family.TIMESTAMP, Family.DATE})


def no_common_type(
    expr: Expr, left: tuple[Expr, pa.DataType], right: tuple[Expr, pa.DataType]
) -> TypeMismatchError:
    """The error for two operands that can't meet."""
    return TypeMismatchError(
        f"the operands of {shown(expr)} don't fit together",
        expected="two operands of one kind: numbers, text, bools, timestamps with a time zone, …",
        found=f"{_described(left)} and {_described(right)}",
        remedy=_remedy(left, right),
    )


def unsupported(
    expr: Expr, expected: str, *found: tuple[Expr, pa.DataType], remedy: str
) -> TypeMismatchError:
    """The error for operands that the operator does not take."""
    return TypeMismatchError(
        f"{shown(expr)} is not defined for these types",
        expected=expected,
        found=" and ".join(map(_described, found)),
        remedy=remedy,
    )


def _described(operand: tuple[Expr, pa.DataType]) -> str:
    expr, dtype = operand
    text = argument_text(expr)
    cut = text if len(text) <= 60 else f"{text[:59]}…"
    return f"{cut} is {'a literal ' if isinstance(expr, Literal) else ''}{type_text(dtype)}"


def _remedy(left: tuple[Expr, pa.DataType], right: tuple[Expr, pa.DataType]) -> str:
    pair = frozenset({family(left[1]), family(right[1])})
    if pair <= _MOMENTS:
        return (
            "give the moment a time zone, for example datetime(2024, 1, 1, tzinfo=UTC), or read the naive "
            'column as UTC with .cast(pa.timestamp("us", tz="UTC"))'
        )
    if Family.TEXT in pair and pair & NUMERIC:
        return "convert the text, for example .cast(pa.int64()), or write the literal as the other type"
    if Family.TEXT in pair and pair & TEMPORAL:
        return "write the literal as a datetime, date or timedelta, or cast the text: .cast(pa.timestamp(…))"
    if Family.BOOL in pair and pair & NUMERIC:
        return "use the bool itself (`col(…)`, `~col(…)`), or .cast(pa.int64()) it"
    if pair == {Family.INT}:
        return "cast one of them, for example .cast(pa.int64()): no integer type holds all values of both"
    return "cast one of them to the type of the other"
