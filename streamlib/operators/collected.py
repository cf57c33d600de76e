"""Aggregates of all values: `collect`, `count_distinct`, `approx_count_distinct`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Batch, Column, as_arrow
from streamlib.core.contracts import StreamType
from streamlib.core.errors import DefinitionError, TypeMismatchError, shown
from streamlib.core.expressions import Bound, Expr, bind, columns
from streamlib.core.hashing import key_hash
from streamlib.core.where import caller
from streamlib.operators.arguments import argument, kept_or_null, restored, storage, values_of
from streamlib.operators.bound_aggregate import Aggregate, BoundAggregate, StateField
from streamlib.operators.filtered import filtered
from streamlib.operators.grouping import Codes, decoded_type
from streamlib.operators.kept_values import Elements, Finish, Keeping, KeptValues, kept_values
from streamlib.operators.lists import Lists

SKETCH = 4096  # hashes a group: the error is 1 / sqrt(4094), 1.6 %, and a group takes at most 32 KiB


@dataclass(frozen=True, eq=False)
class Collect(Aggregate):
    """Made by `collect`."""

    argument: Expr
    limit: int | None

    def reads(self) -> frozenset[str] | None:
        return columns(self.argument)

    def bind(self, name: str, stream: StreamType) -> BoundAggregate:
        bound = bind(self.argument, stream)
        dtype = decoded_type(bound.dtype)
        kept = _kept(self, dtype)
        times = [("at", pa.int64())] if stream.event_time else []
        counted = stream.changes is not None
        keeping = Keeping(counted, most=None if counted else self.limit)
        elements = _with_times if times else _alone
        field = StateField("values", kept)
        found = elements(bound, field)
        return KeptValues(
            name, pa.list_(dtype), [*times, ("values", kept)], keeping, found, self._finish(dtype)
        )

    def _finish(self, dtype: pa.DataType) -> Finish:
        def finish(lists: Lists) -> Column:
            if self.limit is not None:
                lists = lists.first(self.limit)
            values = as_arrow(restored(lists.columns[-1], dtype), dtype)
            return pa.ListArray.from_arrays(pa.array(lists.ends(0).astype(np.int32)), values)

        return finish

    def keeps(self, stream: StreamType) -> str | None:
        bounded = self.limit is not None and stream.changes is None
        return None if bounded else f"the values of {self.argument!r}"

    def __repr__(self) -> str:
        return f"collect({self.argument!r}{'' if self.limit is None else f', limit={self.limit}'})"


def _alone(bound: Bound, field: StateField) -> Elements:
    def elements(batch: Batch, codes: Codes) -> tuple[Codes, Sequence[Column]]:
        return codes, [kept_or_null(bound.evaluate(batch), field)]

    return elements


def _with_times(bound: Bound, field: StateField) -> Elements:
    def elements(batch: Batch, codes: Codes) -> tuple[Codes, Sequence[Column]]:
        assert batch.event_time is not None
        return codes, [batch.event_time, kept_or_null(bound.evaluate(batch), field)]

    return elements


@dataclass(frozen=True, eq=False)
class CountDistinct(Aggregate):
    """Made by `count_distinct` and `approx_count_distinct`."""

    argument: Expr
    exact: bool

    def reads(self) -> frozenset[str] | None:
        return columns(self.argument)

    def bind(self, name: str, stream: StreamType) -> BoundAggregate:
        bound = bind(self.argument, stream)
        kept = _kept(self, decoded_type(bound.dtype))
        counted = stream.changes is not None
        if self.exact:
            keeping = Keeping(counted, distinct=True)
            return kept_values(name, bound, kept, pa.int64(), keeping, lambda lists: lists.lengths)
        if counted:
            raise DefinitionError(
                f"{name}={self!r} can't take rows back, and its input is a changelog",
                expected="an append-only stream",
                found="rows that may be updated or deleted",
                remedy="use the exact `count_distinct`, or `.final_only()` in the window above",
            )
        keeping = Keeping(False, distinct=True, most=SKETCH)
        hashes = [("hashes", pa.uint64())]
        return KeptValues(name, pa.int64(), hashes, keeping, _hashes(bound), _estimate)

    def keeps(self, stream: StreamType) -> str | None:
        return f"the distinct values of {self.argument!r}" if self.exact else None

    def __repr__(self) -> str:
        return f"{'' if self.exact else 'approx_'}count_distinct({self.argument!r})"


def _hashes(bound: Bound) -> Elements:
    def elements(batch: Batch, codes: Codes) -> tuple[Codes, Sequence[Column]]:
        found = values_of(bound.evaluate(batch), codes)
        return found.codes, [key_hash([found.values], len(found.codes))]

    return elements


def _estimate(lists: Lists) -> Column:
    """Exact while all hashes are there; else from how close together the least ones are (KMV)."""
    full = np.flatnonzero(lists.lengths >= SKETCH)
    found = lists.lengths.astype(np.int64)
    if len(full):
        largest = np.asarray(lists.columns[0]).take(lists.ends().take(full) - 1).astype(np.float64)
        found[full] = np.rint((SKETCH - 1) / (largest / 2.0**64))
    return found


def _kept(aggregate: Aggregate, dtype: pa.DataType) -> pa.DataType:
    kept = storage(dtype)
    if kept is None:
        raise TypeMismatchError(
            f"{aggregate!r} can't be computed",
            expected="numbers, texts, bools or times",
            found=str(dtype),
            remedy="take a field of it, or cast it",
        )
    return kept


def collect(column: str | Expr, *, limit: int | None = None, filter: Expr | None = None) -> Aggregate:
    """All values as a list, nulls included (as Polars), in the order of event time.

    Args:
        column: numbers, texts, bools, times.
        limit: at most that many values of a group, the first in their order: then state has a bound.
        filter: only rows for which this is true take part.

    Values of the same event time are in their own order, nulls first; so are all where rows have no
    event time. So the list does not depend on how rows come. Empty without a row.

    >>> collect("item", limit=100)
    collect(col('item'), limit=100)
    """
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise DefinitionError(
            "`limit` is a number of values", expected="a whole number from 1 on, or None", found=shown(limit)
        ).at("aggregate", caller())
    return filtered(Collect(argument(column), limit), filter)


def count_distinct(column: str | Expr, *, filter: Expr | None = None) -> Aggregate:
    """How many different values there are, nulls skipped (as in SQL; Polars' `n_unique` counts null). int64.

    NaNs are one value, so are 0.0 and -0.0. The state keeps every distinct value.

    >>> count_distinct("user")
    count_distinct(col('user'))
    """
    return filtered(CountDistinct(argument(column), True), filter)


def approx_count_distinct(column: str | Expr, *, filter: Expr | None = None) -> Aggregate:
    """About how many different values there are, nulls skipped: exact below 4,096, then 1.6 % off (1 sigma).

    State is bounded: the 4,096 least hashes of a group, at most 32 KiB. A sketch of whole columns, by
    Bar-Yossef et al., "Counting distinct elements in a data stream" (2002); the same for every order,
    split and number of workers.

    >>> approx_count_distinct("user")
    approx_count_distinct(col('user'))
    """
    return filtered(CountDistinct(argument(column), False), filter)
