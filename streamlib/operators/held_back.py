"""Rows that missed some of their windows, while others still take them.

Windows that overlap share slices. A row that came too late for a window must not get into the slice
that they share before that window has fired. A batch may hold such rows, and those that make
the window fire (`Batch.judged_by`). They are aggregated apart, by slice and by the last window that
they missed, and come to the later windows of their slice when these fire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Batch, Column, as_numpy
from streamlib.core.segment import Segment
from streamlib.core.time import Micros
from streamlib.operators.bound_aggregate import BoundAggregate
from streamlib.operators.partials import Block, PartialAggregator, ordered
from streamlib.operators.sealed import ToTable
from streamlib.operators.slices import SliceStore
from streamlib.windows.contract import Grid


class HeldBack:
    """Partials by slice, whose last key is the number of the last window that the rows missed.

    Args:
        window: the windows.
        key_types: the keys of the windows' groups; `own` of them are the stream's.
        aggregates: what is computed.
    """

    def __init__(
        self, window: Grid, key_types: Sequence[pa.DataType], aggregates: Sequence[BoundAggregate], own: int
    ) -> None:
        self.aggregator = PartialAggregator([*key_types, pa.int64()], aggregates, own)
        self._window = window
        self._store = SliceStore(window, self.aggregator, crowds=False)

    def build(self, rows: Batch, keys: Sequence[Column], slices: Micros, missed: Micros) -> Block:
        """The groups of some rows, at least one; `missed` is the last window that each missed."""
        found = self.aggregator.build(rows, [*keys, missed], slices)
        return found if isinstance(found, Block) else self.aggregator.block_of(found)

    def add(self, block: Block) -> None:
        """Keep groups until their slice is forgotten."""
        self._store.add(block)

    def in_windows(self, first: int, last: int) -> Block | None:
        """What comes to the windows `first` to `last`, by number and in their order; None if nothing does."""
        blocks = self._store.blocks
        if not blocks:
            return None
        block = self.aggregator.concat(blocks)
        rows, windows = self._window.windows_holding(block.numbers, first, last)
        taking = windows > _last_missed(block).take(rows)
        rows, windows = rows[taking], windows[taking]
        found = Block(block.numbers, block.keys[:-1], block.states).renumbered(windows, rows)
        return ordered(found) if len(rows) else None

    def forget(self, slices_below: int) -> None:
        """Drop the slices with smaller numbers: all their windows have fired."""
        self._store.forget(slices_below)

    # ------------------------------------------------------------------ state

    def segments(self, to_table: ToTable) -> list[Segment]:
        """All groups, maybe several rows of one, and some of slices that were forgotten."""
        return self._store.segments(to_table)

    def restore(self, groups: Block, slices_below: int) -> None:
        """Become what `segments` told; the slices with smaller numbers were forgotten."""
        self._store.restore(groups, slices_below)


def blocks_by_owner(
    aggregator: PartialAggregator, blocks: Sequence[Block], owners: npt.NDArray[np.intp]
) -> Mapping[int, Sequence[Block]]:
    """What each owner of key groups gets of some blocks."""
    parts = aggregator.split(blocks, owners) if blocks else {}
    return {w: [b for b in found if isinstance(b, Block)] for w, found in parts.items()}


def _last_missed(block: Block) -> npt.NDArray[np.int64]:
    return np.asarray(as_numpy(block.keys[-1]))
