"""The state of a windowed aggregation: partials by time slice, until no open window needs them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from streamlib.core.segment import Segment
from streamlib.operators.cells import Cells
from streamlib.operators.crowded_slices import CrowdedSlices, crowded_numbers
from streamlib.operators.firing import Due, Firing, MakeBlock
from streamlib.operators.grouping import DIRECT_MIN
from streamlib.operators.partials import Block, Largest, Partial, PartialAggregator, ordered
from streamlib.operators.sealed import SealedRuns, ToTable, block_above, cells_above
from streamlib.windows.contract import Grid

MAX_PARTIALS = 32  # a slice's cells, or blocks: each as large as a batch's groups; beyond, they are merged


class SliceStore:
    """Adds batches, fires windows, forgets slices; all in columns, never a loop over groups.

    Attributes:
        crowded: the slices that have tables of slots, where there can be any.
    """

    def __init__(self, window: Grid, aggregator: PartialAggregator, crowds: bool = True) -> None:
        self._window = window
        self._aggregator = aggregator
        self._cells: list[Cells] = []  # these two since the last snapshot
        self._blocks: list[Block] = []
        self._sealed = SealedRuns(aggregator)
        self._crowds = crowds and aggregator.numbers is not None
        self.crowded = CrowdedSlices(aggregator)

    def add(self, found: Partial) -> None:
        """Take partials; where there are many they are merged."""
        if isinstance(found, Block):
            self._add_block(found)
            return
        small = self.beside(len(found))
        if small is not None and found.cover(small):
            self._cells[-1] = self._aggregator.taken_in(found, small)
            return
        self._cells.append(found)
        if len(self._cells) % MAX_PARTIALS == 0:
            self._merge_newest_cells()

    def beside(self, size: int) -> Cells | None:
        """The newest cells, if so few that a batch with `size` of them, or rows, better takes them in."""
        few = self._cells and 2 * len(self._cells[-1]) <= size
        return self._cells[-1] if few else None

    def _merge_newest_cells(self) -> None:
        """Of slices that lie near each other: what lies too far apart would only waste empty cells."""
        newest = self._cells[-MAX_PARTIALS // 2 :]
        merged = self._aggregator.merge_cells(newest)
        if merged is not None:
            self._cells[-len(newest) :] = [merged]
        elif sum(map(len, newest)) < len(newest) * DIRECT_MIN:  # large ones are few, whatever comes
            del self._cells[-len(newest) :]
            self._add_block(ordered(self._aggregator.merge([self._aggregator.block_of(c) for c in newest])))

    def _add_block(self, block: Block) -> None:
        """Add a block; where there are many, look for slices that are crowded, else merge some."""
        if len(block):
            self._blocks += self.crowded.take_in(block) if len(self.crowded) else [block]
        if len(self._blocks) <= MAX_PARTIALS:
            return
        newest = self._blocks[-MAX_PARTIALS // 2 :]
        numbers = crowded_numbers(newest, len(newest) // 2) if self._crowds else []
        for number in numbers:
            self.crowded.open(number)
        if numbers:
            self._blocks = [left for block in self._blocks for left in self.crowded.take_in(block)]
        else:
            self._merge_newest_blocks()

    def _merge_newest_blocks(self) -> None:
        """And older ones while they are no larger.

        So sizes double from block to block, and a group is merged a logarithm of times.
        """
        blocks = self._blocks
        start = len(blocks) - MAX_PARTIALS // 2
        size = sum(map(len, blocks[start:]))
        while start and len(blocks[start - 1]) <= size:
            start -= 1
            size += len(blocks[start])
        blocks[start:] = [ordered(self._aggregator.merge(blocks[start:]))]

    # ------------------------------------------------------------------ windows

    def fire(
        self, after: int, last: int, wanted: Largest | None = None, held: Block | None = None
    ) -> Iterator[MakeBlock]:
        """The results of the windows numbered `after < n <= last`, in their order; keys in any order.

        They are made when they are called for, maybe after the slices were forgotten.
        Where only the largest of each are wanted, others may be missing. Groups by window that are
        `held` come to them, in the order of these windows.
        """
        due = replace(self._due(), held=held)
        span = self._windows(due)
        if span is None:
            return
        first, last = max(after + 1, span.start), min(last, span.stop - 1)
        if first > last:
            return
        slices = self._window.slices_of(first).start, self._window.slices_of(last).stop
        due = replace(due, blocks=[*due.blocks, *self.crowded.between(*slices)])
        yield from Firing(self._window, self._aggregator, wanted).fire(due, first, last)

    def _due(self) -> Due:
        """All but the crowded slices, whose groups are copied where they are due."""
        sealed = list(self._sealed.partials)
        blocks = [p for p in sealed if isinstance(p, Block)]
        cells = [p for p in sealed if isinstance(p, Cells)]
        return Due([*blocks, *self._blocks], [*cells, *self._cells])

    def _windows(self, due: Due) -> range | None:
        """Windows beyond which there is nothing; None if there is nothing at all."""
        blocks, crowded = [b for b in due.blocks if len(b)], self.crowded.numbers
        first = [*(c.first for c in due.cells), *(int(b.numbers[0]) for b in blocks), *crowded]
        last = [*(c.slices.stop - 1 for c in due.cells), *(int(b.numbers[-1]) for b in blocks), *crowded]
        spans = [self._window.windows_of(n) for n in (min(first), max(last))] if first else []
        if due.held is not None:
            spans += [range(n, n + 1) for n in (int(due.held.numbers[0]), int(due.held.numbers[-1]))]
        return range(min(s.start for s in spans), max(s.stop for s in spans)) if spans else None

    @property
    def blocks(self) -> Sequence[Block]:
        """All blocks but those of crowded slices, each in the order of slices."""
        return self._due().blocks

    def forget(self, slices_below: int) -> None:
        """Drop the slices with smaller numbers: all their windows have fired."""
        cells = (cells_above(c, slices_below) for c in self._cells)
        blocks = (block_above(b, slices_below) for b in self._blocks)
        self._cells, self._blocks = [c for c in cells if c is not None], [b for b in blocks if b is not None]
        self._sealed.forget(slices_below)
        self.crowded.forget(slices_below)

    # ------------------------------------------------------------------ state

    def segments(self, to_table: ToTable) -> list[Segment]:
        """All groups but those of crowded slices, maybe several rows of one, some of forgotten slices."""
        fresh: list[Partial] = [*self._cells, *self._blocks]
        self._cells, self._blocks = [], []
        return self._sealed.seal(fresh, to_table)

    def restore(self, groups: Block, slices_below: int) -> None:
        """Become what `segments` told; the slices with smaller numbers were forgotten."""
        self._blocks = [ordered(self._aggregator.merge([groups]))] if len(groups) else []
        self.forget(slices_below)
