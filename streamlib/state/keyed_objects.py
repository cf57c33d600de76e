"""A Python object per key, in slots: the state of functions per record.

Snapshots are a base and what changed since, as bytes beside the keys. An object that was forgotten
stands in them as null.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Column, as_arrow
from streamlib.core.segment import Segment
from streamlib.core.time import MIN_TIME
from streamlib.state.key_groups import KEY_GROUP_COLUMN, key_groups
from streamlib.state.key_slots import KeySlots, Slots
from streamlib.state.object_codec import ObjectCodec

ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "ABSENT"})()
"""Stands in a slot whose key has no object."""

UNCHANGING = frozenset((bool, int, float, str, bytes, type(None)))

Saved = dict[int, tuple[bool, Any, int]]
"""By slot: an object as it is, or encoded, and its time."""

MANY_SEGMENTS = 64  # files that a restore has to read for one table
MANY_DEAD = 4096  # slots: fewer keys without objects are not worth making the table anew


class KeyedObjects:
    """An object and a time per key; both lists are indexed by slot, for loops over rows.

    Attributes:
        objects: by slot; `ABSENT` where there is none. Say `changed` after writing into it.
        times: by slot, whatever the operator remembers as the time of its key.
    """

    def __init__(self, key_types: Sequence[pa.DataType], codec: ObjectCodec) -> None:
        self._key_types = tuple(key_types)
        self._codec = codec
        self._clear()

    def _clear(self) -> None:
        self._slots = KeySlots(self._key_types)
        self.objects: list[Any] = []
        self.times: list[int] = []
        self._changed: set[int] = set()  # slots, since the last snapshot
        self._segments: list[Segment] = []
        self._delta_rows = 0  # in the segments behind the first one

    def slots_of(self, keys: Sequence[Column], rows: int) -> list[int]:
        """The slot of each row's key."""
        slots: list[int] = self._slots.of(keys, rows).tolist()
        new = len(self._slots) - len(self.objects)
        self.objects += [ABSENT] * new
        self.times += [MIN_TIME] * new
        return slots

    def changed(self, slots: Iterable[int]) -> None:
        """The objects of these slots are others now, or were changed."""
        self._changed.update(slots)

    def saved(self, slots: Iterable[int]) -> Saved:
        """The objects and times of these slots; what changes them later leaves it alone."""
        found: Saved = {}
        for slot in slots:
            if slot not in found:
                value = self.objects[slot]
                plain = value is ABSENT or type(value) in UNCHANGING
                found[slot] = (plain, value if plain else self._codec.encode(value), self.times[slot])
        return found

    def put_back(self, saved: Saved) -> None:
        """Become what these slots were."""
        for slot, (plain, value, time) in saved.items():
            self.objects[slot] = value if plain else self._codec.decode(value)
            self.times[slot] = time

    def forget(self, before: int) -> None:
        """Drop the objects whose time is below `before`."""
        old = np.flatnonzero(np.array(self.times, np.int64) < before).tolist()
        old = [slot for slot in old if self.objects[slot] is not ABSENT]
        for slot in old:
            self.objects[slot] = ABSENT
        self._changed.update(old)
        dead = sum(value is ABSENT for value in self.objects) if old else 0
        if dead > max(MANY_DEAD, len(self.objects) // 2):
            self._compact()

    def _compact(self) -> None:
        """Give back the slots of keys without objects."""
        live = self._live()
        keys, objects = self._keys(live), [self.objects[slot] for slot in live]
        times = [self.times[slot] for slot in live]
        self._clear()
        self._fill(keys, objects, times)

    def _live(self) -> list[int]:
        return [slot for slot, value in enumerate(self.objects) if value is not ABSENT]

    def _keys(self, slots: Sequence[int]) -> list[Column]:
        return self._slots.keys(np.array(slots, np.int64)) if self._key_types else []

    def _fill(self, keys: Sequence[Column], objects: Sequence[Any], times: Sequence[int]) -> None:
        for slot, value, time in zip(self.slots_of(keys, len(objects)), objects, times, strict=True):
            self.objects[slot], self.times[slot] = value, time  # of one key the last one stays

    # ------------------------------------------------------------------ state

    def segments(self) -> list[Segment]:
        """All objects as segments: those of the last snapshot, and one of what changed since.

        Objects may be changed in place as soon as this returns, so they are encoded here.
        """
        changed = sorted(self._changed)
        self._delta_rows += len(changed)
        if not self._segments or self._delta_rows > len(self.objects) or len(self._segments) > MANY_SEGMENTS:
            self._segments, self._delta_rows = [], 0
            changed = self._live()
        self._changed.clear()
        if changed:
            self._segments.append(self._segment(changed))
        return list(self._segments)

    def _segment(self, slots: Sequence[int]) -> Segment:
        keys, at = self._keys(slots), np.array(slots, np.int64)
        times = np.array([self.times[slot] for slot in slots], np.int64)
        objects = [self.objects[slot] for slot in slots]
        data = [None if value is ABSENT else self._codec.encode(value) for value in objects]
        return Segment(lambda: self._table(at, keys, times, data))

    def _table(self, slots: Slots, keys: Sequence[Column], times: Any, data: list[bytes | None]) -> pa.Table:
        columns: dict[str, Any] = {KEY_GROUP_COLUMN: key_groups(keys, len(slots))}
        for i, (key, dtype) in enumerate(zip(keys, self._key_types, strict=True)):
            columns[f"key.{i}"] = as_arrow(key, dtype)
        return pa.table({**columns, "time": times, "object": pa.array(data, pa.large_binary())})

    def restore(self, table: pa.Table | None) -> None:
        """Become what the segments told; of several rows of one key the last one counts."""
        self._clear()
        if table is None:
            return
        keys = [table.column(f"key.{i}").combine_chunks() for i in range(len(self._key_types))]
        data = table.column("object").to_pylist()
        objects = [ABSENT if value is None else self._codec.decode(value) for value in data]
        self._fill(keys, objects, table.column("time").to_pylist())
        if len(self.objects) - len(self._live()) > MANY_DEAD:
            self._compact()
