"""Which slots of a table a snapshot tells, and which segments it names: what changed, and compaction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from streamlib.core.segment import Segment
from streamlib.state.images import Marks

MANY_SEGMENTS = 64  # files that a restore has to read for one table
ROUND = 16  # snapshots at most in which all slots are told anew
FEW_SLOTS = 16_384  # about a megabyte: fewer are told at once


class Deltas:
    """The segments that tell a table of slots; of several rows of one slot the last one counts.

    Each snapshot adds a segment of what changed. Once those are as many rows as there are slots, or many
    files, a round begins: snapshots also tell the other slots, one range after the other, twice as many as
    changed. When it has come to the end, the segments before the round are given up. So a snapshot writes
    no more than three times what changed (and a sixteenth of all slots), and on the whole twice that.
    """

    def __init__(self) -> None:
        self._segments: list[Segment] = []
        self._changes = 0  # rows in the segments that told slots because they changed
        self._round: _Round | None = None

    def segments(
        self, changed: Marks, live: Callable[[int, int], Marks], make: Callable[[Marks], Segment]
    ) -> list[Segment]:
        """The segments of a snapshot.

        Args:
            changed: of each slot whether it changed since the last call. The caller gives it away.
            live: of each slot from one number up to another whether there is anything to tell of it.
            make: the segment of the slots that are marked, as they are now.
        """
        count, told = len(changed), int(np.count_nonzero(changed))
        self._changes += told
        if self._round is None and self._due(count):
            self._round = _Round(count, len(self._segments))
        if self._round is not None:
            self._go_on(self._round, changed, told, live)
        if changed.any():
            self._segments.append(make(changed))
        if self._round is not None and self._round.ended:
            self._segments = self._segments[self._round.first :]
            self._changes, self._round = self._round.changes, None
        return list(self._segments)

    def _due(self, count: int) -> bool:
        return not self._segments or self._changes > count or len(self._segments) >= MANY_SEGMENTS - ROUND

    def _go_on(self, round_: _Round, changed: Marks, told: int, live: Callable[[int, int], Marks]) -> None:
        """Mark the next slots of the round as well."""
        step = max(2 * told, -(-round_.stop // ROUND), FEW_SLOTS)
        start, stop = round_.next, round_.stop
        if not round_.first or stop <= step:  # all at once
            round_.first = len(self._segments)
            round_.changes, round_.next = 0, stop
            changed[:] = live(0, len(changed))
            return
        stop = min(start + step, stop)
        changed[start:stop] |= live(start, stop)
        round_.changes += told
        round_.next = stop


class _Round:
    """All slots told anew: those that there are when it begins, from the segment `first` on."""

    def __init__(self, stop: int, first: int) -> None:
        self.stop = stop
        self.first = first
        self.next = 0
        self.changes = 0

    @property
    def ended(self) -> bool:
        return self.next >= self.stop
