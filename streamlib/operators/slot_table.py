"""Groups in slots, as state columns that are written in place; snapshots tell what changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Column, numpy_type
from streamlib.core.segment import Segment
from streamlib.operators.aggregates import StateColumn
from streamlib.operators.bound_aggregate import StateField
from streamlib.operators.grouping import take_rows
from streamlib.operators.partials import Block, PartialAggregator
from streamlib.operators.state_columns import each_once, same_kind
from streamlib.state.images import Marks
from streamlib.state.key_columns import GrowingColumn, LogColumn, VectorColumn
from streamlib.state.key_slots import KeySlots, Slots
from streamlib.state.slot_changes import SlotChanges


class ToTable(Protocol):
    """Writes groups as a state table."""

    def __call__(self, groups: Block, key_group: Column | None = None) -> pa.Table:
        """The table; the key group of each group is computed unless it is given."""
        ...


class SlotTable:
    """A slot for each key, with states that other states replace, or are merged into.

    Args:
        aggregator: whose keys and states they are.
        number: of all groups.
    """

    def __init__(self, aggregator: PartialAggregator, number: int = 0) -> None:
        self._aggregator = aggregator
        self._number = number
        self._keys = KeySlots(aggregator.key_types)
        self._columns: list[GrowingColumn] = [_growing(field) for field in aggregator.columns]
        self._changes = SlotChanges()
        self._begun = False

    def __len__(self) -> int:
        """How many slots there are."""
        return len(self._keys)

    @property
    def rows(self) -> Slots:
        """How many rows the group of each slot has."""
        return np.asarray(self._columns[0].all())

    # ------------------------------------------------------------------ groups

    def slots(self, keys: Sequence[Column], rows: int) -> Slots:
        """The slot of each row's key; new ones have the states of no rows."""
        slots = self._keys.of(keys, rows)
        new = len(self._keys) - len(self._changes)
        if new:
            self._changes.added(new)
            for i, field in enumerate(self._aggregator.columns):
                if self._columns.index(self._columns[i]) == i:
                    self._columns[i].append(_blank(field, new))
        return slots

    def states(self, slots: Slots) -> tuple[Column, ...]:
        """The states of slots."""
        return each_once(self._columns, lambda column: column.take(slots))

    def block(self, slots: Slots) -> Block:
        """The groups of slots, as they are now."""
        keys = tuple(self._keys.keys(slots)) if self._aggregator.key_types else ()
        return Block(np.full(len(slots), self._number), keys, self.states(slots))

    def put(self, slots: Slots, states: Sequence[Column]) -> None:
        """Replace the states of slots, which differ."""
        self._changes.touch(slots)
        self._begun = True
        for column, values in zip(self._columns, states, strict=True):
            column.put(slots, values)

    def fill(self, groups: Block) -> None:
        """Become these groups; of several rows of one key the last one counts. Only of an empty table."""
        slots = self.slots(groups.keys, len(groups))
        last = np.zeros(len(self), np.int64)
        last[slots] = np.arange(len(groups))  # of equal slots the last write stays
        self.put(np.arange(len(last)), [take_rows(states, last) for states in groups.states])

    def merge(self, slots: Slots, states: Sequence[Column]) -> None:
        """Merge states into those of slots, maybe several into one; then there is no `put` any more.

        Only where all state columns are numbers. Those that always got the same states are one column.
        """
        assert self._aggregator.numbers is not None
        self._changes.touch(slots)
        self._part(states)
        with np.errstate(all="ignore"):  # as in `StateColumn.scatter`
            for i, field in enumerate(self._aggregator.numbers):
                column = self._columns[i]
                if isinstance(column, VectorColumn) and self._columns.index(column) == i:
                    column.merge(slots, states[i], field.ufunc())

    def _part(self, states: Sequence[Column]) -> None:
        """Begin with one column for what gets the same states; give it its own when it gets others."""
        fields, columns = self._aggregator.columns, self._columns
        for i, column in enumerate(columns):
            if not self._begun:
                alike = (j for j in range(i) if states[j] is states[i] and same_kind(fields[j], fields[i]))
                columns[i] = columns[next(alike, i)]
            elif any(columns[k] is column and states[k] is not states[i] for k in range(i)):
                assert isinstance(column, VectorColumn)
                columns[i] = column.copied()
        self._begun = True

    # ------------------------------------------------------------------ state

    def segments(self, to_table: ToTable, live: Callable[[int, int], Marks]) -> list[Segment]:
        """All groups, as they were at several times, the last of which counts.

        `live` says of slots from one number up to another which have a group worth telling.
        """
        *keys, key_groups = self._keys.fixed()
        whole = self._aggregator.own == len(self._aggregator.key_types)

        def table(slots: Slots, states: tuple[Column, ...]) -> pa.Table:
            numbers = np.full(len(slots), self._number)
            groups = Block(numbers, tuple(take(slots) for take in keys), states)  # keys stay as they are
            return to_table(groups, key_groups(slots) if whole else None)

        return self._changes.segments(self._columns, live, table)


def _growing(field: StateField) -> GrowingColumn:
    return VectorColumn(numpy_type(field.dtype)) if field.vector else LogColumn(field.dtype)


def _blank(field: StateField, count: int) -> Column:
    if isinstance(field, StateColumn) and field.vector:
        return field.empty(count)
    return np.zeros(count, numpy_type(field.dtype)) if field.vector else pa.nulls(count, field.dtype)
