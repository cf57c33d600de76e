"""State columns by key, for results that change: what a group was, and what it is now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Column, numpy_type
from streamlib.core.segment import Segment
from streamlib.operators.bound_aggregate import StateField
from streamlib.operators.grouping import take_rows
from streamlib.operators.partials import Block, PartialAggregator
from streamlib.state.key_columns import GrowingColumn, LogColumn, VectorColumn
from streamlib.state.key_slots import KeySlots, Slots


class ToTable(Protocol):
    """Writes groups as a state table."""

    def __call__(self, groups: Block, key_group: Column | None = None) -> pa.Table:
        """The table; the key group of each group is computed unless it is given."""
        ...


MANY_SEGMENTS = 64  # files that a restore has to read for one table
MANY_DEAD = 4096  # slots: fewer groups without rows are not worth making the table anew


@dataclass(frozen=True)
class Step:
    """What a batch did to groups.

    Attributes:
        before: the groups that had rows before.
        after: the same groups, and behind them those that had none; `states[0]` counts rows, maybe 0.
    """

    before: Block
    after: Block


class KeyedStates:
    """Groups of fixed keys and aggregates, each in a slot that stays while it has rows."""

    def __init__(self, aggregator: PartialAggregator) -> None:
        self._aggregator = aggregator
        self._clear()

    def _clear(self) -> None:
        self._slots = KeySlots(self._aggregator.key_types)
        self._columns: list[GrowingColumn] = [_growing(field) for field in self._aggregator.columns]
        self._changed = VectorColumn(np.dtype(np.bool_))  # since the last snapshot
        self._segments: list[Segment] = []
        self._delta_rows = 0  # in the segments behind the first one
        self._dead = 0

    def __len__(self) -> int:
        """How many groups have rows."""
        return len(self._slots) - self._dead

    def add(self, block: Block) -> Step:
        """Merge partials, at most one of each group, into the groups."""
        slots = self._slots.of(block.keys, len(block))
        self._make_room()
        had = np.asarray(self._columns[0].take(slots)) != 0
        if not had.all():
            order = np.argsort(~had, kind="stable")
            slots, block = slots.take(order), block.renumbered(block.numbers.take(order), order)
        known = slots[: np.count_nonzero(had)]
        before = Block(
            block.numbers[: len(known)],
            tuple(_head(key, len(known)) for key in block.keys),
            tuple(column.take(known) for column in self._columns),
        )
        after = self._aggregator.merge_into(before, block)
        self._put(slots, after)
        self._dead += int(np.count_nonzero(had)) - int(np.count_nonzero(after.states[0]))
        if self._dead > max(MANY_DEAD, len(self._slots) // 2):
            self._compact()
        return Step(before, after)

    def _put(self, slots: Slots, groups: Block) -> None:
        for column, states in zip(self._columns, groups.states, strict=True):
            column.put(slots, states)
        self._changed.put(slots, np.ones(len(slots), np.bool_))

    def _make_room(self) -> None:
        """Slots that are new have no rows; what else stands in them is never read."""
        new = len(self._slots) - len(self._changed)
        if new:
            self._dead += new
            self._changed.append(np.zeros(new, np.bool_))
            for field, column in zip(self._aggregator.columns, self._columns, strict=True):
                column.append(_blank(field, new))

    def _compact(self) -> None:
        """Give back the slots of groups without rows."""
        groups = self.groups()
        self._clear()
        self._fill(groups)

    def keep(self, wanted: Callable[[Block], npt.NDArray[np.bool_]]) -> None:
        """Drop all groups but those for which `wanted` is true."""
        groups = self.groups()
        rows = np.flatnonzero(wanted(groups))
        self._clear()
        self._fill(groups.renumbered(groups.numbers.take(rows), rows))

    def groups(self) -> Block:
        """All groups that have rows."""
        return self._at(np.flatnonzero(np.asarray(self._columns[0].all())))

    def _at(self, slots: Slots) -> Block:
        keys = tuple(self._slots.keys(slots)) if self._aggregator.key_types else ()
        return Block(np.zeros(len(slots), np.int64), keys, tuple(c.take(slots) for c in self._columns))

    # ------------------------------------------------------------------ state

    def segments(self, to_table: ToTable) -> list[Segment]:
        """All groups as segments: those of the last snapshot, and one of what changed since.

        A group stands in them as it was at several times, the last of which counts, maybe without
        rows. Everything is written anew when the changes are as many as there are groups.
        """
        changed = np.flatnonzero(self._changed.all())
        self._delta_rows += len(changed)
        if not self._segments or self._delta_rows > len(self) or len(self._segments) > MANY_SEGMENTS:
            self._segments, self._delta_rows = [], 0
            changed = np.flatnonzero(self._columns[0].all())
        self._changed.all()[:] = False
        if len(changed):
            self._segments.append(self._segment(changed, to_table))
        return list(self._segments)

    def _segment(self, slots: Slots, to_table: ToTable) -> Segment:
        """The groups as they are now; their keys, which stay, are gathered when it is made."""
        *keys, key_groups = self._slots.fixed()
        states = tuple(column.take(slots) for column in self._columns)
        whole = self._aggregator.own == len(self._aggregator.key_types)

        def build() -> pa.Table:
            found = tuple(take(slots) for take in keys)
            groups = Block(np.zeros(len(slots), np.int64), found, states)
            return to_table(groups, key_groups(slots) if whole else None)

        return Segment(build)

    def restore(self, groups: Block) -> None:
        """Become what `groups` told; of several rows of one group the last one counts."""
        self._clear()
        self._fill(groups)
        if self._dead > max(MANY_DEAD, len(self._slots) // 2):
            self._compact()

    def _fill(self, groups: Block) -> None:
        slots = self._slots.of(groups.keys, len(groups))
        self._make_room()
        last = np.zeros(len(self._slots), np.int64)
        last[slots] = np.arange(len(groups))  # of equal slots the last write stays
        for column, states in zip(self._columns, groups.states, strict=True):
            column.put(np.arange(len(last)), take_rows(states, last))
        self._dead -= int(np.count_nonzero(self._columns[0].all()))


def _growing(field: StateField) -> GrowingColumn:
    return VectorColumn(numpy_type(field.dtype)) if field.vector else LogColumn(field.dtype)


def _blank(field: StateField, count: int) -> Column:
    return np.zeros(count, numpy_type(field.dtype)) if field.vector else pa.nulls(count, field.dtype)


def _head(column: Column, count: int) -> Column:
    return column[:count] if isinstance(column, np.ndarray) else column.slice(0, count)
