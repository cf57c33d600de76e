"""A number per key and interval of event time: state that ends with the watermark."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Column, as_arrow
from streamlib.core.segment import Segment
from streamlib.state.images import Marks
from streamlib.state.key_columns import VectorColumn
from streamlib.state.key_groups import KEY_GROUP_COLUMN, key_groups
from streamlib.state.key_slots import KeySlots, Slots
from streamlib.state.slot_changes import SlotChanges

Numbers = npt.NDArray[np.int64]

MANY_DEAD = 65_536  # slots, a few MB: fewer without a number are not worth making the table anew


class TimeSlots:
    """Numbers by slot, a slot for each interval and key; `nothing` stands where none was put.

    Args:
        key_types: of the columns that make a key.
        own: how many of them, the first, decide about the key group.
        nothing: the number of a slot that has none.
    """

    def __init__(self, key_types: Sequence[pa.DataType], own: int, nothing: int) -> None:
        self._key_types = tuple(key_types)
        self._own = own
        self._nothing = nothing
        self._clear()

    def _clear(self) -> None:
        self._slots = KeySlots([pa.int64(), *self._key_types])
        self._numbers = VectorColumn(np.dtype(np.int64))
        self._changes = SlotChanges()

    def __len__(self) -> int:
        return len(self._slots)

    def of(self, intervals: Slots, keys: Sequence[Column]) -> Slots:
        """The slot of each row's interval and key."""
        slots = self._slots.of([intervals, *keys], len(intervals))
        new = len(self._slots) - len(self._numbers)
        self._numbers.append(np.full(new, self._nothing, np.int64))
        self._changes.added(new)
        return slots

    def get(self, slots: Slots) -> Numbers:
        """The numbers of slots."""
        return np.asarray(self._numbers.take(slots))

    def put(self, slots: Slots, numbers: Numbers) -> None:
        """Set the numbers of slots, which differ."""
        self._changes.touch(slots)
        self._numbers.put(slots, numbers)

    def drop(self, before: int) -> None:
        """Forget the intervals below `before`; nobody asks for them any more."""
        if len(self._slots) <= MANY_DEAD:
            return
        intervals = np.asarray(self._slots.keys()[0])
        live = np.flatnonzero((intervals >= before) & (np.asarray(self._numbers.all()) != self._nothing))
        if len(live) <= len(intervals) // 2:
            keys, numbers = self._slots.keys(live), self.get(live)
            self._clear()
            self.put(self.of(np.asarray(keys[0]), keys[1:]), numbers)

    # ------------------------------------------------------------------ state

    def segments(self) -> list[Segment]:
        """All numbers as they were at several times, the last of which counts."""
        intervals, *keys, _ = self._slots.fixed()

        def table(slots: Slots, columns: tuple[Column, ...]) -> pa.Table:
            return self._table(intervals(slots), [key(slots) for key in keys], np.asarray(columns[0]))

        return self._changes.segments([self._numbers], self._put, table)

    def _put(self, start: int, stop: int) -> Marks:
        """Whether anything was put into the slots from one number up to another."""
        return np.asarray(self._numbers.all())[start:stop] != self._nothing

    def _table(self, intervals: Column, keys: Sequence[Column], numbers: Numbers) -> pa.Table:
        columns = {KEY_GROUP_COLUMN: key_groups(keys[: self._own], len(numbers)), "interval": intervals}
        for i, (key, dtype) in enumerate(zip(keys, self._key_types, strict=True)):
            columns[f"key.{i}"] = as_arrow(key, dtype)
        return pa.table({**columns, "number": numbers})

    def restore(self, table: pa.Table | None) -> None:
        """Become what the segments told; of several rows of one slot the last one counts."""
        self._clear()
        if table is not None and table.num_rows:
            keys = [table.column(f"key.{i}").combine_chunks() for i in range(len(self._key_types))]
            slots = self.of(table.column("interval").to_numpy(), keys)
            self._numbers.put(slots, table.column("number").to_numpy())
