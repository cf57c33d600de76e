"""Factories of operators that look at one row at a time, by expressions on columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, overload

from streamlib.core.errors import DefinitionError, shown
from streamlib.core.expressions import Expr
from streamlib.core.policies import ErrorPolicy
from streamlib.core.where import caller
from streamlib.operators.choosing import Drop, Rename
from streamlib.operators.factories.common import (
    H,
    Transform,
    column_names,
    expression,
    expressions,
    then,
)
from streamlib.operators.stateless import Filter, Select, Split, SplitBy, WithColumns


def select(*columns: str | Expr, on_error: ErrorPolicy = "fail", **named: str | Expr) -> Transform:
    """Only these columns: names, expressions, and `name=expression`. Event times stay with the rows."""
    return then(Select(expressions(columns, named)), on_error=on_error)


def with_columns(*columns: Expr, on_error: ErrorPolicy = "fail", **named: str | Expr) -> Transform:
    """All columns, and these added, or put in the place of a column of the same name."""
    return then(WithColumns(expressions(columns, named)), on_error=on_error)


def filter(condition: Expr, *, on_error: ErrorPolicy = "fail") -> Transform:
    """Only the rows for which `condition` is true; where it is null the row goes."""
    return then(Filter(expression(condition)), on_error=on_error)


def drop(*columns: str) -> Transform:
    """All columns but these.

    Raises:
        DefinitionError: no columns are named; when the flow is bound, none would be left.
        UnknownColumnError: when the flow is bound, there is no such column.

    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> sales = sl.read(memory.source([{"item": "pen", "price": 3, "note": ""}]), name="sales")
    >>> sales.drop("note").collect().to_pylist()
    [{'item': 'pen', 'price': 3}]
    """
    return then(Drop(column_names("drop", columns)))


def rename(names: Mapping[str, str]) -> Transform:
    """The same columns, some under other names: `{"before": "after"}`. Keys of the stream go with them.

    Raises:
        DefinitionError: no names are given; when the flow is bound, two columns would have one name.
        UnknownColumnError: when the flow is bound, there is no such column.

    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> sales = sl.read(memory.source([{"item": "pen", "price": 3}]), name="sales")
    >>> sales.rename({"price": "cents"}).collect().to_pylist()
    [{'item': 'pen', 'cents': 3}]
    """
    pairs = tuple(names.items()) if isinstance(names, Mapping) else ()
    if not pairs or not all(isinstance(name, str) for pair in pairs for name in pair):
        raise DefinitionError(
            "columns are renamed by a mapping of names",
            expected='for example `rename({"price": "cents"})`',
            found=shown(names),
        ).at("rename", caller())
    return then(Rename(pairs))


class Splitting(Protocol):
    """A function from a stream to two."""

    def __call__(self, stream: H, /) -> tuple[H, H]: ...


class SplittingBy(Protocol):
    """A function from a stream to one for each name, and `rest`."""

    def __call__(self, stream: H, /) -> dict[str, H]: ...


@overload
def split(condition: Expr, /, *, on_error: ErrorPolicy = "fail") -> Splitting: ...
@overload
def split(*, on_error: ErrorPolicy = "fail", **conditions: Expr) -> SplittingBy: ...
def split(
    condition: Expr | None = None, /, *, on_error: ErrorPolicy = "fail", **conditions: Expr
) -> Splitting | SplittingBy:
    """Two streams: the rows for which a condition is true, and the others (false or null).

    With named conditions a dict: a stream by each name, and `rest`. A row is in exactly one of them, that
    of the first condition that is true for it.

    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> sales = sl.read(memory.source([{"price": 3}, {"price": 30}, {"price": 300}]), name="sales")
    >>> dear, cheap = sales.split(sl.col("price") > 100)
    >>> parts = sales.split(dear=sl.col("price") > 100, fair=sl.col("price") > 10)
    >>> [parts[name].collect()["price"].to_pylist() for name in ("dear", "fair", "rest")]
    [[300], [30], [3]]
    """
    if (condition is None) == (not conditions) or "rest" in conditions:
        raise DefinitionError(
            "a stream is split by one condition, or by named ones",
            expected="`split(condition)` or `split(name=condition, ...)`, where no name is `rest`",
            found=shown(conditions) if condition is None else shown((condition, conditions)),
        ).at("split", caller())
    if condition is not None:
        return _split_in_two(expression(condition), on_error)
    return _split_by(conditions, on_error)


def _split_in_two(condition: Expr, on_error: ErrorPolicy) -> Splitting:
    spec = Split(condition)

    def apply(stream: H, /) -> tuple[H, H]:
        yes = stream.then(spec, on_error=on_error)
        return yes, yes.output("rest")

    return apply


def _split_by(conditions: Mapping[str, Expr], on_error: ErrorPolicy) -> SplittingBy:
    spec = SplitBy(tuple((name, expression(condition)) for name, condition in conditions.items()))

    def apply(stream: H, /) -> dict[str, H]:
        first = stream.then(spec, on_error=on_error)
        return {name: first.output(name) for name in spec.outputs}

    return apply
