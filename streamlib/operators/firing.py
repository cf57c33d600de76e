"""Firing: from the partials of slices to the groups of windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from streamlib.core.time import MAX_TIME, Micros, clamp
from streamlib.operators.cells import Cells
from streamlib.operators.partials import Block, Largest, PartialAggregator, ordered
from streamlib.windows.contract import Grid

HASHED_GROUPS = 65_536  # groups hashed at once where windows can fire apart: fewer cost calls, more caches
FIRED_GROUPS = 4_000_000  # groups gathered to fire at once: some hundred bytes each bounds memory


MakeBlock: TypeAlias = Callable[[], Block]


@dataclass(frozen=True)
class Due:
    """What windows that fire may need: blocks sorted by slice, none empty, and cells.

    `held` are groups by window, in their order: their rows are in no slice. None if there are none.
    """

    blocks: Sequence[Block]
    cells: Sequence[Cells]
    held: Block | None = None

    def of(self, first: int, last: int, window: Grid) -> Due:
        """What the windows `first` to `last` need."""
        start, stop = window.slices_of(first).start, window.slices_of(last).stop
        blocks = (_between(b, start, stop) for b in self.blocks)
        cells = (c.between(start, stop) for c in self.cells)
        held = None if self.held is None else _between(self.held, first, last + 1)
        return Due([b for b in blocks if len(b)], [c for c in cells if c is not None], held or None)


class Firing:
    """Makes the groups of windows. Where only the largest are wanted, others may be missing."""

    def __init__(self, window: Grid, aggregator: PartialAggregator, wanted: Largest | None) -> None:
        self._window = window
        self._aggregator = aggregator
        self._wanted = wanted
        self._slices_are_windows = all(window.slices_of(n) == range(n, n + 1) for n in (0, 1))

    def fire(self, due: Due, first: int, last: int) -> Iterator[MakeBlock]:
        """The windows `first` to `last`, in their order, some together; keys in any order.

        They are made when they are called for, from partials that nobody changes.
        """
        due = due.of(first, last, self._window)
        most = min(self._window.windows_per_row(), last - first + 1)
        hashed, added = sum(map(len, due.blocks)) * most, sum(map(len, due.cells)) * most
        if last > first and (hashed > HASHED_GROUPS or added > FIRED_GROUPS):
            middle = (first + last) // 2
            yield from self.fire(due, first, middle)
            yield from self.fire(due, middle + 1, last)
        elif due.blocks or due.cells or due.held is not None:
            yield partial(self._together, due, first, last)

    def _together(self, due: Due, first: int, last: int) -> Block:
        blocks, cells, held = list(due.blocks), list(due.cells), due.held
        windows = None
        if cells:
            windows = self._aggregator.cells_in_windows(cells, range(first, last + 1), self._window)
            if windows is None:
                blocks += map(self._aggregator.block_of, cells)
            elif held is not None:
                more = self._aggregator.with_groups(windows, held)
                windows, held = (windows, held) if more is None else (more, None)
        if windows is not None and not blocks and held is None:
            return self._aggregator.block_of(windows, self._wanted)  # in the order of the windows
        parts = [self._in_windows(self._aggregator.concat(blocks), first, last)] if blocks else []
        if held is not None:
            parts.append(held)
        if windows is not None:
            parts.append(self._aggregator.block_of(windows))
        return ordered(self._aggregator.merge(parts))

    def _in_windows(self, block: Block, first: int, last: int) -> Block:
        """Every group once for each window from `first` to `last` that holds its slice."""
        if self._slices_are_windows:
            return block
        rows, windows = self._window.windows_holding(block.numbers, first, last)
        return block.renumbered(windows, rows)


def _between(block: Block, start: int, stop: int) -> Block:
    return block.slice(first_from(block, start), first_from(block, stop))


def first_from(block: Block, number: int) -> int:
    """Where in an ordered block the slices from `number` on begin."""
    if number > MAX_TIME:
        return len(block)
    return int(np.searchsorted(block.numbers, clamp(number)))


def runs(numbers: Micros) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Where runs of equal numbers begin, and how long they are."""
    begins = np.flatnonzero(np.diff(numbers, prepend=numbers[:1] - 1))
    return begins, np.diff(begins, append=len(numbers))
