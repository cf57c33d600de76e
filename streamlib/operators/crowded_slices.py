"""Slices that stay open over many batches: their groups are slots, in which rows meet at once.

Elsewhere blocks wait for their window to fire, and are merged where they are many. In a slice with ever
more rows that would take in the same groups again and again, for a second at a time, and so would
the runs of snapshots. Here a row costs a look-up, and a snapshot tells the groups that changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from streamlib.core.segment import Segment
from streamlib.operators.firing import first_from
from streamlib.operators.partials import Block, PartialAggregator
from streamlib.operators.slot_table import SlotTable, ToTable
from streamlib.state.images import Marks


class CrowdedSlices:
    """A table of slots for each slice that is crowded. All state columns are numbers."""

    def __init__(self, aggregator: PartialAggregator) -> None:
        self._aggregator = aggregator
        self._slices: dict[int, _Slice] = {}

    def __len__(self) -> int:
        return len(self._slices)

    @property
    def numbers(self) -> Iterable[int]:
        """The numbers of the slices."""
        return self._slices

    def open(self, number: int) -> None:
        """A slice is crowded from now on."""
        self._slices[number] = _Slice(SlotTable(self._aggregator, number))

    def take_in(self, block: Block) -> list[Block]:
        """Take the groups of crowded slices out of an ordered block; what is left of it."""
        left, at = [], 0
        first, last = int(block.numbers[0]), int(block.numbers[-1])
        for number in sorted(n for n in self._slices if first <= n <= last):
            start, stop = (first_from(block, n) for n in (number, number + 1))
            self._slices[number].merge(block.slice(start, stop))
            left.append(block.slice(at, start))
            at = stop
        return [part for part in (*left, block.slice(at, len(block))) if len(part)]

    def between(self, start: int, stop: int) -> list[Block]:
        """The groups of the slices `start <= n < stop`, which later rows don't change."""
        return [self._slices[n].block() for n in sorted(self._slices) if start <= n < stop]

    def forget(self, slices_below: int) -> None:
        """Drop the slices with smaller numbers."""
        self._slices = {n: slice_ for n, slice_ in self._slices.items() if n >= slices_below}

    # ------------------------------------------------------------------ state

    def segments(self, to_table: ToTable) -> list[Segment]:
        """All groups as they were at several times, the last of which counts."""
        return [s for n in sorted(self._slices) for s in self._slices[n].table.segments(to_table, _all)]

    def restore(self, groups: Block, slices_below: int) -> None:
        """Become what `segments` told; the slices with smaller numbers were forgotten."""
        for number in np.unique(groups.numbers).tolist():
            if number >= slices_below:
                self.open(number)
                rows = np.flatnonzero(groups.numbers == number)
                self._slices[number].table.fill(groups.renumbered(groups.numbers.take(rows), rows))


class _Slice:
    """The table of a slice, and its groups as a block where nothing came since they were asked for."""

    def __init__(self, table: SlotTable) -> None:
        self.table = table
        self._block: Block | None = None

    def merge(self, groups: Block) -> None:
        self._block = None
        self.table.merge(self.table.slots(groups.keys, len(groups)), groups.states)

    def block(self) -> Block:
        if self._block is None:
            self._block = self.table.block(np.arange(len(self.table)))
        return self._block


def _all(start: int, stop: int) -> Marks:
    """Every slot has a group: also one without rows may hold what other partials need."""
    return np.ones(stop - start, np.bool_)


def crowded_numbers(blocks: Sequence[Block], least: int) -> list[int]:
    """The slices in which at least so many of the ordered blocks lie."""
    alone = [int(b.numbers[0]) for b in blocks if b.numbers[0] == b.numbers[-1]]
    numbers, counts = np.unique(alone, return_counts=True)
    return [int(n) for n in numbers[counts >= least]]
