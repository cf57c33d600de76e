"""What changed in a table of slots since the last snapshot, and the segments that tell it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Column
from streamlib.core.segment import Segment
from streamlib.state.deltas import Deltas
from streamlib.state.images import Image, Marks
from streamlib.state.key_columns import GrowingColumn, Rows, VectorColumn

Write = Callable[[Rows, tuple[Column, ...]], pa.Table]
"""Makes rows of slots and of what their columns held, maybe on another thread."""


class SlotChanges:
    """Marks the slots that are written, and keeps what images of them still need."""

    def __init__(self) -> None:
        self._marks = VectorColumn(np.dtype(np.bool_))
        self._images: list[weakref.ref[Image]] = []
        self._deltas = Deltas()

    def __len__(self) -> int:
        """How many slots there are."""
        return len(self._marks)

    def added(self, slots: int) -> None:
        """There are so many slots more."""
        self._marks.append(np.zeros(slots, np.bool_))

    def touch(self, slots: Rows) -> None:
        """These slots are about to be written."""
        if self._images:
            images = [(ref, image) for ref in self._images if (image := ref()) and not image.done]
            for _, image in images:
                image.save(slots)
            self._images = [ref for ref, _ in images]
        self._marks.put(slots, True)

    def segments(
        self, columns: Sequence[GrowingColumn], live: Callable[[int, int], Marks], write: Write
    ) -> list[Segment]:
        """All slots as they were at several times, the last of which counts.

        `live` says of slots from one number up to another which have anything worth telling.
        """
        changed = np.asarray(self._marks.all())
        self._marks = VectorColumn(np.dtype(np.bool_))
        self._marks.append(np.zeros(len(changed), np.bool_))

        def segment(marks: Marks) -> Segment:
            image = Image(marks, columns)
            self._images.append(weakref.ref(image))
            return Segment(lambda: write(*image.gather()))

        return self._deltas.segments(changed, live, segment)
