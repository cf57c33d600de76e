"""Columns as they were at one moment, gathered later, while they go on changing.

A snapshot must not keep rows waiting for a copy of all state. So it copies nothing: the columns are
read where checkpoints are written, on another thread than the one that changes them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from streamlib.core.batch import Column
from streamlib.state.key_columns import GrowingColumn, Rows

Marks = npt.NDArray[np.bool_]


class Image:
    """What the marked slots hold now, whatever is written into the columns before it is gathered.

    Who writes calls `save` before. That puts aside what the slots held, each slot once: at most a copy
    of the marked slots. What `gather` read while it was being overwritten is replaced by that.

    Args:
        marks: of each slot whether it belongs to the image; nobody changes them any more.
        columns: as long as there are marks, or longer. None may be given up for another in place.
    """

    def __init__(self, marks: Marks, columns: Sequence[GrowingColumn]) -> None:
        self._marks = marks
        self._unsaved = marks.copy()
        self._live = [column.live() for column in columns]
        self._saved: list[tuple[Rows, list[npt.NDArray[np.generic]]]] = []
        self.done = False
        """Whether all was gathered: nothing has to be saved any more."""

    def save(self, slots: Rows) -> None:
        """These slots are about to be written. Called by the thread that writes, before it does."""
        slots = slots[slots < len(self._unsaved)]
        slots = slots[self._unsaved.take(slots)]
        if len(slots):
            self._saved.append((slots, [values.take(slots) for values, _ in self._live]))
            self._unsaved[slots] = False

    def gather(self) -> tuple[Rows, tuple[Column, ...]]:
        """The marked slots and what they held, column by column. Called once, from any thread."""
        slots = np.flatnonzero(self._marks)
        found = [values.take(slots) for values, _ in self._live]
        self.done = True  # what is written from here on was read before
        for saved, before in self._saved:
            at = np.searchsorted(slots, saved)
            for column, values in zip(found, before, strict=True):
                column[at] = values
        return slots, tuple(shown(values) for values, (_, shown) in zip(found, self._live, strict=True))
