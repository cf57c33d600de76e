"""Aggregates that pick the value of one row: `first`, `last`, `arg_min`, `arg_max`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Batch, Column, as_arrow, numpy_type
from streamlib.core.contracts import StreamType
from streamlib.core.errors import DefinitionError, TypeMismatchError, shown
from streamlib.core.expressions import Expr, bind, columns
from streamlib.core.where import caller
from streamlib.operators.arguments import argument, kept_or_null, restored, scattered, storage
from streamlib.operators.bound_aggregate import Aggregate, BoundAggregate, StateField, Vector
from streamlib.operators.filtered import filtered
from streamlib.operators.grouping import Codes, decoded, decoded_type, take_rows
from streamlib.operators.kept_values import Keeping, KeptValues
from streamlib.operators.lists import Lists, comparable

Order = Literal["event_time", "arrival"]
_NONE, _NULL, _VALUE = range(3)  # what a group has: no row, a row with a null, a value


@dataclass(frozen=True, eq=False)
class Pick(Aggregate):
    """Made by `first`, `last`, `arg_min`, `arg_max`. Without `by` the event time orders rows, or arrival."""

    kind: Literal["first", "last", "arg_min", "arg_max"]
    argument: Expr
    by: Expr | None = None
    order: Order = "event_time"

    @property
    def order_sensitive(self) -> str | None:
        return f"the {self.kind} row that arrives" if self.order == "arrival" else None

    @property
    def largest(self) -> bool:
        return self.kind in ("last", "arg_max")

    @property
    def _by_column(self) -> str:
        return "arg_max" if self.largest else "arg_min"

    def reads(self) -> frozenset[str] | None:
        return columns(self.argument) | (frozenset() if self.by is None else columns(self.by))

    def bind(self, name: str, stream: StreamType) -> BoundAggregate:
        if self.by is None and self.order == "event_time" and not stream.event_time:
            raise DefinitionError(
                f"{name}={self!r} goes by event time, and its input has none",
                expected="a stream with event time",
                found="rows without: of a source read without `event_time=`, or of a running aggregate",
                remedy=f"order them by a column with `{self._by_column}(..., by=...)`, or as they come with "
                '`order="arrival"`',
            )
        if self.order == "arrival" and stream.changes is not None:
            raise DefinitionError(
                f"{name}={self!r} can't take rows back, and its input is a changelog",
                expected="an append-only stream",
                found="rows that may be updated or deleted: which arrived before them is not known any more",
                remedy="use `arg_min` or `arg_max` by a column, or make the window above append-only with "
                "`.final_only()`",
            )
        bound = BoundPick(name, self, stream)
        return bound if stream.changes is None else bound.counted()

    def keeps(self, stream: StreamType) -> str | None:
        return None if stream.changes is None else f"the values of {self.argument!r}"

    def __repr__(self) -> str:
        by = "" if self.by is None else f", by={self.by!r}"
        order = "" if self.order == "event_time" else f", order={self.order!r}"
        return f"{self.kind}({self.argument!r}{by}{order})"


class BoundPick(BoundAggregate):
    """The best row of each group: by what orders rows, of equal ones by the value, so no arrival matters."""

    def __init__(self, name: str, pick: Pick, stream: StreamType) -> None:
        self.name = name
        self._pick = pick
        self._value = bind(pick.argument, stream)
        self.dtype = decoded_type(self._value.dtype)
        self._by = None if pick.by is None else bind(pick.by, stream)
        by = pa.int64() if self._by is None else storage(decoded_type(self._by.dtype))
        if by is None:
            raise TypeMismatchError(
                f"{pick!r} can't be computed", expected="`by` of a type with an order", found=str(self._by)
            )
        kept = storage(self.dtype)
        if kept is None:
            raise TypeMismatchError(
                f"{pick!r} can't be computed",
                expected="a number, text, bool or time",
                found=str(self.dtype),
                remedy="pick a field of it",
            )
        self._fields = StateField("by", by), StateField("value", kept)
        self.state = (*self._fields, StateField("has", pa.int8()))

    def counted(self) -> KeptValues:
        """Over a changelog: all rows are kept, ordered by what orders them and then by value."""
        elements = [(field.suffix, field.dtype) for field in self._fields]
        return KeptValues(self.name, self.dtype, elements, Keeping(True), self._elements, self._of_lists)

    def _of_lists(self, lists: Lists) -> Column:
        values = lists.columns[1]
        filled = np.flatnonzero(lists.lengths)
        ends = lists.ends().take(filled)
        at = ends - 1 if self._pick.largest else ends - lists.lengths.take(filled)
        return scattered(take_rows(values, at), filled, len(lists.lengths), self.dtype)

    def _elements(self, batch: Batch, codes: Codes) -> tuple[Codes, Sequence[Column]]:
        """The groups of rows that count, what orders them, and their values."""
        by_field, value_field = self._fields
        column = self._value.evaluate(batch)
        if self._by is None:
            assert self._pick.order == "arrival" or batch.event_time is not None
            times = batch.event_time if self._pick.order == "event_time" else np.zeros(len(codes), np.int64)
            assert times is not None
            return codes, [times, kept_or_null(column, value_field)]
        by = self._by.evaluate(batch)
        rows = np.flatnonzero(_there(by, nan=False) & _there(column, nan=True))
        if len(rows) < len(codes):
            codes, by, column = codes.take(rows), take_rows(by, rows), take_rows(column, rows)
        return codes, [kept_or_null(by, by_field), kept_or_null(column, value_field)]

    def partial(self, batch: Batch, codes: Codes, count: int, rows: Vector) -> list[Column]:
        owners, (by, values) = self._elements(batch, codes)
        has = np.full(len(owners), _VALUE, np.int8)
        if not isinstance(values, np.ndarray) and values.null_count:
            has[values.is_null().to_numpy(zero_copy_only=False)] = _NULL
            values = _without_nulls(values, self._fields[1])
        return self._best(owners, count, [by, values, has])

    def merge(self, states: Sequence[Column], codes: Codes, count: int) -> list[Column]:
        there = np.flatnonzero(np.asarray(states[2]))
        if len(there) < len(codes):
            states, codes = [take_rows(s, there) for s in states], codes.take(there)
        return self._best(codes, count, states)

    def _best(self, owners: Codes, count: int, states: Sequence[Column]) -> list[Column]:
        if len(owners) == count and bool((owners == np.arange(count)).all()):
            return list(states)
        found = self._rows(owners, count, states)
        at = np.full(count, -1, np.int64)
        at[owners.take(found)] = found
        return [_taken(s, at, f) for s, f in zip(states, self.state, strict=True)]

    def _rows(self, owners: Codes, count: int, states: Sequence[Column]) -> npt.NDArray[np.intp]:
        """The best row of every group that has rows."""
        rows = np.arange(len(owners))
        if self._pick.order == "arrival":
            best = np.full(count, -1 if self._pick.largest else len(owners))
            (np.maximum if self._pick.largest else np.minimum).at(best, owners, rows)
            return best[(best >= 0) & (best < len(owners))]
        numbers = comparable(states[0])
        rows = self._equal_best(owners, count, numbers)
        if len(rows) > count or int(np.bincount(owners.take(rows)).max(initial=0)) > 1:  # ties
            has = np.asarray(states[2]).take(rows)
            values = comparable(take_rows(states[1], rows))
            keys = (
                (values, has, owners.take(rows)) if self._pick.largest else (values, -has, owners.take(rows))
            )
            order = np.lexsort(keys)
            sorted_ = owners.take(rows).take(order)
            new = np.append(True, sorted_[1:] != sorted_[:-1])
            ends = np.append(new[1:], True)
            rows = rows.take(order[ends if self._pick.largest else new])
        return rows

    def _equal_best(self, owners: Codes, count: int, numbers: Vector) -> npt.NDArray[np.intp]:
        """The rows that no row of their group is better than."""
        if not len(owners):
            return np.arange(0)
        worst = numbers.min() if self._pick.largest else numbers.max()
        best = np.full(count, worst, numbers.dtype)
        (np.maximum if self._pick.largest else np.minimum).at(best, owners, numbers)
        return np.flatnonzero(numbers == best.take(owners))

    def finish(self, states: Sequence[Column]) -> Column:
        values, has = states[1], np.asarray(states[2])
        if (has == _VALUE).all():
            return restored(values, self.dtype)
        filled = np.flatnonzero(has == _VALUE)
        return scattered(take_rows(values, filled), filled, len(has), self.dtype)


def _there(column: Column, nan: bool) -> npt.NDArray[np.bool_]:
    """Which values are not null and, unless `nan`, not NaN."""
    if isinstance(column, np.ndarray):
        return ~np.isnan(column) if column.dtype.kind == "f" and not nan else np.ones(len(column), np.bool_)
    return ~decoded(column).is_null(nan_is_null=not nan).to_numpy(zero_copy_only=False)


def _without_nulls(values: pa.Array, field: StateField) -> Column:
    return field.loaded(values.fill_null(0)) if field.vector else values


def _taken(state: Column, at: npt.NDArray[np.int64], field: StateField) -> Column:
    """The state at rows; -1 stands for a group without rows."""
    missing = at < 0
    if isinstance(state, np.ndarray):
        if not missing.any():
            return state.take(at)
        found = np.zeros(len(at), numpy_type(field.dtype))
        found[~missing] = state.take(at[~missing])
        return found
    return as_arrow(state).take(pa.array(at, mask=missing))


def _pick(kind: Literal["first", "last"], column: str | Expr, order: Order, filter: Expr | None) -> Aggregate:
    if order not in ("event_time", "arrival"):
        raise DefinitionError(
            "not an order of rows", expected='order="event_time" or order="arrival"', found=shown(order)
        ).at("aggregate", caller())
    return filtered(Pick(kind, argument(column), None, order), filter)


def first(column: str | Expr, *, order: Order = "event_time", filter: Expr | None = None) -> Aggregate:
    """The value of the row with the least event time; null where that row has a null (as Polars).

    Args:
        column: numbers, texts, bools, times.
        order: `event_time`: of rows with the same event time the one with the least value, nulls last; so
            the result does not depend on how rows come. `arrival`: the row that came first, which
            `explain` marks as order-sensitive.
        filter: only rows for which this is true take part: `first("x", filter=col("x").is_not_null())`.

    Null without a row.

    >>> first("price")
    first(col('price'))
    """
    return _pick("first", column, order, filter)


def last(column: str | Expr, *, order: Order = "event_time", filter: Expr | None = None) -> Aggregate:
    """The value of the row with the largest event time; of several such rows the largest. See `first`.

    >>> last("price", order="arrival")
    last(col('price'), order='arrival')
    """
    return _pick("last", column, order, filter)


def arg_min(column: str | Expr, by: str | Expr, *, filter: Expr | None = None) -> Aggregate:
    """The value of `column` in the row where `by` is least; of several such rows the least value.

    Rows with a null in either, or a NaN in `by`, take no part (as DuckDB, but for NaN). Null without a row.

    >>> arg_min("shop", by="price")
    arg_min(col('shop'), by=col('price'))
    """
    return filtered(Pick("arg_min", argument(column), argument(by)), filter)


def arg_max(column: str | Expr, by: str | Expr, *, filter: Expr | None = None) -> Aggregate:
    """The value of `column` in the row where `by` is largest; of several such rows the largest value.

    Rows with a null in either, or a NaN in `by`, take no part (as DuckDB, but for NaN). Null without a row.

    >>> import streamlib as sl
    >>> arg_max("item", by=sl.col("price") * sl.col("size"))
    arg_max(col('item'), by=(col('price') * col('size')))
    """
    return filtered(Pick("arg_max", argument(column), argument(by)), filter)
