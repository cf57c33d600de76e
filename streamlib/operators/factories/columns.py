"""Factories of operators that look at one row at a time, by expressions on columns."""

from __future__ import annotations

from typing import Protocol

from streamlib.core.expressions import Expr
from streamlib.operators.factories.common import H, Transform, expression, expressions, then
from streamlib.operators.stateless import Filter, Select, Split, WithColumns


def select(*columns: str | Expr, **named: str | Expr) -> Transform:
    """Only these columns: names, expressions, and `name=expression`. Event times stay with the rows."""
    return then(Select(expressions(columns, named)))


def with_columns(*columns: Expr, **named: str | Expr) -> Transform:
    """All columns, and these added, or put in the place of a column of the same name."""
    return then(WithColumns(expressions(columns, named)))


def filter(condition: Expr) -> Transform:
    """Only the rows for which `condition` is true; where it is null the row goes."""
    return then(Filter(expression(condition)))


class Splitting(Protocol):
    """A function from a stream to two."""

    def __call__(self, stream: H, /) -> tuple[H, H]: ...


def split(condition: Expr) -> Splitting:
    """Two streams: the rows for which `condition` is true, and the others (false or null)."""
    spec = Split(expression(condition))

    def apply(stream: H, /) -> tuple[H, H]:
        yes = stream.then(spec)
        return yes, yes.output("rest")

    return apply
