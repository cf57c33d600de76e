"""Windows that have fired and still take late rows: what they showed, and how it changes."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamlib.core.batch import as_numpy
from streamlib.core.segment import Segment
from streamlib.core.time import MIN_TIME, clamp
from streamlib.operators.firing import first_from
from streamlib.operators.keyed_states import MANY_DEAD, KeyedStates, Step
from streamlib.operators.partials import Block, PartialAggregator
from streamlib.operators.slot_table import ToTable

MANY_TOLD = 32  # files that a restore has to read for one table


@dataclass
class _Firing:
    """What windows showed when they fired together, in their order; a segment may tell it, beside others."""

    groups: Block
    told: _Told | None = None

    @property
    def last(self) -> int:
        return int(self.groups.numbers[-1])

    def without(self, window: int) -> tuple[Block, list[_Firing]]:
        """The groups of a window, and what is left."""
        start, stop = (first_from(self.groups, number) for number in (window, window + 1))
        rest = (self.groups.slice(0, start), self.groups.slice(stop, len(self.groups)))
        return self.groups.slice(start, stop), [_Firing(part) for part in rest if len(part)]


@dataclass(eq=False)
class _Told:
    """Firings that a segment holds; it counts while all of them are as they were, or over."""

    segment: Segment
    firings: list[_Firing]


class FiredWindows:
    """Groups of fired windows, numbered by window.

    They stay as they fired until a late row comes for their window. Then the window's groups move into
    a table by key and window, where every later row finds them.

    Args:
        aggregator: whose key columns are followed by one more, the number of the window.
    """

    def __init__(self, aggregator: PartialAggregator) -> None:
        self._aggregator = aggregator
        self._fired: list[_Firing] = []  # no window is in two, and they are in the order of windows
        self._table = KeyedStates(aggregator)
        self._moved: dict[int, int] = {}  # windows in the table, and how many groups came with each
        self._over = MIN_TIME  # the number of the last window that takes no more rows
        self._useless = 0

    def add(self, fired: Block) -> None:
        """Remember what windows showed when they fired; the groups are in the order of windows."""
        open_ = fired.slice(first_from(fired, self._over + 1), len(fired))
        if len(open_):
            self._fired.append(_Firing(open_))

    def update(self, late: Block) -> Step:
        """Merge partials of late rows, at most one for each group and window, into their windows."""
        for window in np.unique(late.numbers).tolist():
            if window not in self._moved:
                self._moved[window] = self._move(window)
        step = self._table.add(_keyed(late))
        return Step(_numbered(step.before), _numbered(step.after))

    def _move(self, window: int) -> int:
        at = bisect_left(self._fired, window, key=lambda firing: firing.last)
        if at == len(self._fired):
            return 0
        groups, rest = self._fired[at].without(window)
        if not len(groups):
            return 0
        told = self._fired[at].told
        if told is not None:  # the others are told anew: its rows of this window must not come back
            for firing in told.firings:
                firing.told = None
        self._fired[at : at + 1] = rest
        self._table.add(_keyed(groups))
        return len(groups)

    def forget(self, last: int) -> None:
        """Windows up to the number `last` take no more rows."""
        if last <= self._over:
            return
        self._over = last
        over = [window for window in self._moved if window <= last]
        self._useless += sum(self._moved.pop(window) for window in over)
        self._fired = [firing for firing in self._fired if firing.last > last]
        if self._useless > max(MANY_DEAD, len(self._table) // 2) or not self._moved:
            self._table.keep(self._open)
            self._useless = 0

    def _open(self, groups: Block) -> npt.NDArray[np.bool_]:
        return np.asarray(as_numpy(groups.keys[-1])) > clamp(self._over)

    # ------------------------------------------------------------------ state

    def segments(self, to_table: ToTable) -> list[Segment]:
        """All groups; of several rows of one group the last one counts."""
        self._tell(to_table)
        told = dict.fromkeys(firing.told for firing in self._fired)
        return [*(t.segment for t in told if t is not None), *self._table.segments(to_table)]

    def _tell(self, to_table: ToTable) -> None:
        """One segment of the firings that none tells; where segments are many, also of the smaller ones.

        So sizes double from segment to segment, and a firing is written a logarithm of times.
        """
        new = [firing for firing in self._fired if firing.told is None]
        if not new:
            return
        known = list(dict.fromkeys(firing.told for firing in self._fired if firing.told is not None))
        if len(known) >= MANY_TOLD:
            known.sort(key=lambda told: len(told.firings))
            joined = known[: MANY_TOLD // 2]
            new = [f for f in self._fired if f.told is None or f.told in joined]
        told = _Told(_segment([firing.groups for firing in new], self._aggregator, to_table), new)
        for firing in new:
            firing.told = told

    def restore(self, groups: Block, over: int) -> None:
        """Become what `segments` told; windows up to the number `over` are over."""
        self._over = over
        self._table.restore(groups)
        self._table.keep(self._open)
        numbers = np.asarray(as_numpy(self._table.groups().keys[-1]))
        windows, counts = np.unique(numbers, return_counts=True)
        self._moved = dict(zip(windows.tolist(), counts.tolist(), strict=True))


def _segment(fired: list[Block], aggregator: PartialAggregator, to_table: ToTable) -> Segment:
    return Segment(lambda: to_table(aggregator.concat([_keyed(groups) for groups in fired])))


def _keyed(block: Block) -> Block:
    """The groups with the number of their window as the last key."""
    return Block(np.zeros(len(block), np.int64), (*block.keys, block.numbers), block.states)


def _numbered(block: Block) -> Block:
    return Block(np.asarray(as_numpy(block.keys[-1])), block.keys[:-1], block.states)
