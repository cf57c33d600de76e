"""Sealed partials: what snapshots have told, a run of them for each segment of the state table.

No run ever gets more rows; what comes after a snapshot begins the next one. The thread that writes
checkpoints merges a run's partials, and firing uses what it merged. Runs are put together where they
are many, or say the same groups again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from streamlib.core.segment import Segment
from streamlib.core.time import MAX_TIME, MIN_TIME, Micros, clamp
from streamlib.operators.cells import Cells
from streamlib.operators.firing import first_from, runs
from streamlib.operators.partials import Block, Partial, PartialAggregator, ordered

ToTable = Callable[[Block], pa.Table]
"""Writes groups as a state table."""

MANY_RUNS = 32  # files that a restore has to read for one table
FEW_GROUPS = 4096  # fewer that are told again, or are over, are not worth writing the others anew


@dataclass(frozen=True)
class Tally:
    """How many groups a file holds of each slice."""

    slices: Micros
    groups: Micros

    @classmethod
    def of(cls, block: Block) -> Tally:
        """Count the groups of an ordered block."""
        begins, lengths = runs(block.numbers)
        return cls(block.numbers.take(begins), lengths)

    def __len__(self) -> int:
        return int(self.groups.sum())


def wasteful(tallies: Sequence[Tally], floor: int) -> bool:
    """Whether most groups in the files are over, or told again in another file.

    Of a slice there are at least as many groups as any one file has.
    """
    slices, places = np.unique(np.concatenate([t.slices for t in tallies]), return_inverse=True)
    most = np.zeros(len(slices), np.int64)
    np.maximum.at(most, places, np.concatenate([t.groups for t in tallies]))
    needed = int(most[slices >= clamp(floor)].sum()) if floor <= MAX_TIME else 0
    return sum(map(len, tallies)) > 2 * needed + FEW_GROUPS


class Run:
    """Partials that are complete, and their segment."""

    def __init__(self, partials: Sequence[Partial], aggregator: PartialAggregator, to_table: ToTable) -> None:
        self.partials = list(partials)
        self.segment = Segment(partial(self._build, tuple(partials), aggregator, to_table))
        self.tally: Tally | None = None
        """What its file holds; None until that is made."""
        self._merged: list[Partial] | None = None

    def _build(
        self, partials: Sequence[Partial], aggregator: PartialAggregator, to_table: ToTable
    ) -> pa.Table:
        """Runs beside the operator, on the thread that writes."""
        merged = compacted(partials, aggregator)
        blocks = [p if isinstance(p, Block) else aggregator.block_of(p) for p in merged or partials]
        groups = blocks[0] if len(blocks) == 1 else ordered(aggregator.merge(blocks))
        table = to_table(groups)
        self.tally = Tally.of(groups)
        self._merged = merged
        return table

    def settle(self, floor: int) -> None:
        """Take over what was merged meanwhile, and drop the slices below a number."""
        merged, self._merged = self._merged, None
        self.partials = above(self.partials if merged is None else merged, floor)

    def __len__(self) -> int:
        """About how many groups there are."""
        return sum(map(len, self.partials)) if self.tally is None else len(self.tally)


def compacted(partials: Sequence[Partial], aggregator: PartialAggregator) -> list[Partial]:
    """The same groups in as few partials as can be: cells stay cells where they lie near each other."""
    cells = [p for p in partials if isinstance(p, Cells)]
    blocks = [p for p in partials if isinstance(p, Block)]
    together = aggregator.merge_cells(cells) if cells else None
    if together is None:
        blocks += map(aggregator.block_of, cells)
    found: list[Partial] = [] if together is None else [together]
    if blocks:
        merged = ordered(aggregator.merge(blocks))
        if len(merged):
            found.append(merged)
    return found


def above(partials: Iterable[Partial], floor: int) -> list[Partial]:
    """What partials hold of the slices from number `floor` on."""
    left = (cells_above(p, floor) if isinstance(p, Cells) else block_above(p, floor) for p in partials)
    return [p for p in left if p is not None]


def cells_above(cells: Cells, floor: int) -> Cells | None:
    """The slices from number `floor` on; None if there are none."""
    return cells.between(floor, cells.slices.stop)


def block_above(block: Block, floor: int) -> Block | None:
    """The groups from number `floor` on; None if there are none."""
    start = first_from(block, floor)
    if start == len(block):
        return None
    rest = block.slice(start, len(block))
    # a small rest must not hold the memory of a large block
    return rest.renumbered(rest.numbers.copy(), np.arange(len(rest))) if start > len(rest) else rest


class SealedRuns:
    """The runs of an operator, the oldest first."""

    def __init__(self, aggregator: PartialAggregator) -> None:
        self._aggregator = aggregator
        self._runs: list[Run] = []
        self._floor = MIN_TIME
        self._wasteful = False

    @property
    def partials(self) -> Iterable[Partial]:
        """Those of all runs."""
        return (p for run in self._runs for p in run.partials)

    def seal(self, fresh: Sequence[Partial], to_table: ToTable) -> list[Segment]:
        """Begin a run with what came since the last one; the segments of all.

        Merging and encoding is left to the thread that writes.
        """
        self.forget(self._floor)
        if fresh:
            start = self._first_to_join()
            joined = [p for run in self._runs[start:] for p in run.partials]
            self._runs[start:] = [Run([*joined, *fresh], self._aggregator, self._watched(to_table))]
            self._wasteful = False
        return [run.segment for run in self._runs]

    def _watched(self, to_table: ToTable) -> ToTable:
        """The newest run is written last: then the tallies of the others are known."""
        others, floor = list(self._runs), self._floor

        def table(groups: Block) -> pa.Table:
            tallies = [run.tally for run in others if run.tally is not None]
            self._wasteful = wasteful([*tallies, Tally.of(groups)], floor)
            return to_table(groups)

        return table

    def _first_to_join(self) -> int:
        """The first run to be written together with what is new, and all behind it.

        Where there are many, that is the newer half and older ones while they are no larger: so sizes
        double from run to run, and a group is written a logarithm of times.
        """
        runs = self._runs
        if self._wasteful:
            return 0
        start = len(runs)
        if start >= MANY_RUNS:
            start -= MANY_RUNS // 2
            size = sum(map(len, runs[start:]))
            while start and len(runs[start - 1]) <= size:
                start -= 1
                size += len(runs[start])
        return start

    def forget(self, floor: int) -> None:
        """Drop slices below a number, and with them the segments of runs of which nothing is left."""
        self._floor = floor
        for run in self._runs:
            run.settle(floor)
        self._runs = [run for run in self._runs if run.partials]
