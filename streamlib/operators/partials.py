"""Partials: aggregated rows of one time slice, built a batch at a time and merged when a window fires.

Two forms. *Dense* over a range of one integer key: cell `i` belongs to key `low + i`, merging is
adding slices of arrays, nothing is hashed. *Sparse* for everything else: key columns beside state
columns. Which one a batch gets is decided in `build`, by the range of its keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Batch, Column, as_arrow, as_numpy
from streamlib.core.time import Micros
from streamlib.operators.aggregates import ROWS, BoundAggregate, StateColumn
from streamlib.operators.grouping import direct_limit, group_rows, take_rows


@dataclass(frozen=True)
class Partial:
    """Groups of a slice.

    Attributes:
        low: the key of cell 0 where it is dense, else None.
        keys: key columns where it is sparse, else empty.
        states: state columns; the first counts rows, and is 0 for cells without any.
    """

    low: int | None
    keys: tuple[Column, ...]
    states: tuple[Column, ...]

    def __len__(self) -> int:
        return len(self.states[0])


class PartialAggregator:
    """Builds and merges partials of fixed keys and aggregates."""

    def __init__(self, key_types: Sequence[pa.DataType], aggregates: Sequence[BoundAggregate]) -> None:
        self.key_types = tuple(key_types)
        self.aggregates = tuple(aggregates)
        self.columns: tuple[StateColumn, ...] = (ROWS, *(c for a in aggregates for c in a.state))
        self._vectors = all(column.vector for column in self.columns)
        self._one_integer = len(key_types) == 1 and pa.types.is_integer(key_types[0])

    # ------------------------------------------------------------------ rows to partials

    def build(self, batch: Batch, keys: Sequence[Column], slices: Micros) -> dict[int, Partial]:
        """The partials of a batch by slice number; the kernel is chosen here."""
        first, last = int(slices.min()), int(slices.max())
        if self._vectors and self._one_integer:
            key = as_numpy(keys[0])
            if key is not None and key.dtype != np.uint64:
                low, high = int(key.min()), int(key.max())
                cells = (high - low + 1) * (last - first + 1)
                if cells <= direct_limit(batch.num_rows):
                    return self._build_dense(batch, key, low, high - low + 1, slices, first, last)
        return self._build_sparse(batch, keys, slices, first == last)

    def _build_dense(
        self, batch: Batch, key: Micros, low: int, width: int, slices: Micros, first: int, last: int
    ) -> dict[int, Partial]:
        codes = key.astype(np.int64) - low
        if last > first:
            codes += (slices - first) * width
        states = self._states(batch, codes, width * (last - first + 1))
        partials = {}
        for number in range(first, last + 1):
            cells = slice((number - first) * width, (number - first + 1) * width)
            part = tuple(np.asarray(s)[cells] for s in states)
            if part[0].any():
                partials[number] = Partial(low, (), part)
        return partials

    def _build_sparse(
        self, batch: Batch, keys: Sequence[Column], slices: Micros, one_slice: bool
    ) -> dict[int, Partial]:
        groups = group_rows([*([] if one_slice else [slices]), *keys], batch.num_rows)
        states = self._states(batch, groups.codes, groups.count)
        found = [take_rows(key, groups.first) for key in keys]
        if one_slice:
            return {int(slices[0]): Partial(None, tuple(found), tuple(states))}
        return self.by_slice(slices.take(groups.first), found, states)

    def by_slice(
        self, slices: Micros, keys: Sequence[Column], states: Sequence[Column]
    ) -> dict[int, Partial]:
        """Sparse partials from groups of several slices."""
        order = np.argsort(slices, kind="stable")
        numbers, starts = np.unique(slices[order], return_index=True)
        stops = [*starts[1:].tolist(), len(order)]
        partials = {}
        for number, start, stop in zip(numbers.tolist(), starts.tolist(), stops, strict=True):
            rows = order[start:stop]
            partials[number] = Partial(
                None, tuple(take_rows(k, rows) for k in keys), tuple(take_rows(s, rows) for s in states)
            )
        return partials

    def _states(self, batch: Batch, codes: Micros, count: int) -> list[Column]:
        rows = np.bincount(codes, minlength=count)
        states: list[Column] = [rows]
        for aggregate in self.aggregates:
            states += aggregate.partial(batch, codes, count, rows)
        return states

    # ------------------------------------------------------------------ partials to one

    def merge(self, partials: Sequence[Partial]) -> Partial:
        """One partial for the rows of several (at least one)."""
        if len(partials) == 1:
            return partials[0]
        if all(p.low is not None for p in partials):
            low = min(p.low for p in partials if p.low is not None)
            high = max(p.low + len(p) for p in partials if p.low is not None)
            if high - low <= direct_limit(sum(map(len, partials))):
                return self._merge_dense(partials, low, high - low)
        return self._merge_sparse([self.sparse(p) for p in partials])

    def _merge_dense(self, partials: Sequence[Partial], low: int, width: int) -> Partial:
        states = []
        for i, column in enumerate(self.columns):
            cells, ufunc = column.empty(width), column.ufunc()
            for p in partials:
                assert p.low is not None
                part = cells[p.low - low : p.low - low + len(p)]
                ufunc(part, p.states[i], out=part)
            states.append(cells)
        return Partial(low, (), tuple(states))

    def _merge_sparse(self, partials: Sequence[Partial]) -> Partial:
        keys = [_concat([p.keys[i] for p in partials], dtype) for i, dtype in enumerate(self.key_types)]
        states = [_concat([p.states[i] for p in partials], c.dtype) for i, c in enumerate(self.columns)]
        groups = group_rows(keys, len(states[0]))
        merged = (c.scatter(groups.codes, groups.count, s) for c, s in zip(self.columns, states, strict=True))
        return Partial(None, tuple(take_rows(k, groups.first) for k in keys), tuple(merged))

    def sparse(self, partial: Partial) -> Partial:
        """The same groups with key columns, and without empty cells."""
        if partial.low is None:
            return partial
        present = np.flatnonzero(partial.states[0])
        key = (present + partial.low).astype(self.key_types[0].to_pandas_dtype())
        return Partial(None, (key,), tuple(take_rows(s, present) for s in partial.states))

    def finish(self, partial: Partial) -> list[Column]:
        """The aggregates' result columns of a sparse partial."""
        results, at = [], 1
        for aggregate in self.aggregates:
            results.append(aggregate.finish(partial.states[at : at + len(aggregate.state)]))
            at += len(aggregate.state)
        return results


def _concat(parts: Sequence[Column], dtype: pa.DataType) -> Column:
    if all(isinstance(p, np.ndarray) for p in parts):
        return np.concatenate(parts)
    return pa.concat_arrays([as_arrow(p, dtype) for p in parts])
