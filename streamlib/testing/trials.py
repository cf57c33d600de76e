"""Rows of one aggregate in groups and parts, put together in several ways that have to agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Batch, Column, as_arrow
from streamlib.operators.bound_aggregate import BoundAggregate
from streamlib.operators.grouping import Codes, group_rows

Rows = npt.NDArray[np.intp]
States = list[Column]
ROWS_OF_A_BLOCK = 16  # rows of a key that stand for a window, so that there are several groups


@dataclass(frozen=True)
class Trial:
    """Rows of one aggregate in groups and parts, and the ways to put them together."""

    bound: BoundAggregate
    batch: Batch
    codes: Codes
    count: int
    parts: Codes
    places: Codes

    @classmethod
    def of(
        cls, bound: BoundAggregate, batch: Batch, keys: Sequence[str], chance: np.random.Generator
    ) -> Trial:
        rows = batch.num_rows
        groups = group_rows([batch.column(key) for key in keys], rows).codes
        if chance.random() < 0.5 or not keys:
            groups = group_rows([groups, np.arange(rows) // ROWS_OF_A_BLOCK], rows).codes
        cuts = np.cumsum(chance.random(rows) < 0.5).astype(np.int64)
        return cls(bound, batch, groups, int(groups.max()) + 1, cuts, chance.permutation(rows))

    def added(self, rows: Rows, method: str = "partial") -> States:
        """States of all groups, some of them without rows."""
        codes = self.codes.take(rows)
        counted = np.bincount(codes, minlength=self.count)
        states: States = getattr(self.bound, method)(self.batch.take(rows), codes, self.count, counted)
        return states

    def merged(self, states: Sequence[States], codes: Sequence[Codes] | None = None) -> States:
        """Some lots of states in one call; of each lot the groups, where they are not all in order."""
        codes = [np.arange(self.count)] * len(states) if codes is None else codes
        together = [
            _concat(c, f.dtype) for c, f in zip(zip(*states, strict=True), self.bound.state, strict=True)
        ]
        return self.bound.merge(together, np.concatenate(codes), self.count)

    def in_parts(self, rows: Rows) -> States:
        """The rows added in parts, which are merged in one call."""
        pairs, places = np.unique(
            self.codes.take(rows) * len(self.parts) + self.parts.take(rows), return_inverse=True
        )
        states = self.bound.partial(self.batch.take(rows), places, len(pairs), np.bincount(places))
        return self.merged([states], [pairs // len(self.parts)])

    def in_a_tree(self, rows: Rows) -> States:
        """The rows in three lots out of order, each in parts; the lots merged one after another."""
        lots = [rows[self.places.take(rows) % 3 == lot] for lot in (2, 0, 1)]
        first, second, third = (self.in_parts(self.shuffled(lot)) for lot in lots)
        return self.merged([third, self.merged([second, first])])

    def shuffled(self, rows: Rows) -> Rows:
        """The rows in another order."""
        return rows.take(np.argsort(self.places.take(rows)))

    def groups(self, rows: Rows) -> Rows:
        """The groups that have rows."""
        return np.unique(self.codes.take(rows))


def _concat(parts: Sequence[Column], dtype: pa.DataType) -> Column:
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    return pa.concat_arrays([as_arrow(part, dtype) for part in parts])
