"""State columns by key, for results that change: what a group was, and what it is now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamlib.core.batch import Column
from streamlib.core.segment import Segment
from streamlib.operators.partials import Block, PartialAggregator
from streamlib.operators.slot_table import SlotTable, ToTable
from streamlib.state.key_slots import Slots

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
        self._table = SlotTable(self._aggregator)
        self._dead = 0

    def __len__(self) -> int:
        """How many groups have rows."""
        return len(self._table) - self._dead

    def add(self, block: Block) -> Step:
        """Merge partials, at most one of each group, into the groups."""
        slots = self._slots(block)
        had = self._table.rows.take(slots) != 0
        if not had.all():
            order = np.argsort(~had, kind="stable")
            slots, block = slots.take(order), block.renumbered(block.numbers.take(order), order)
        known = slots[: np.count_nonzero(had)]
        keys = tuple(_head(key, len(known)) for key in block.keys)
        before = Block(block.numbers[: len(known)], keys, self._table.states(known))
        after = self._aggregator.merge_into(before, block)
        self._table.put(slots, after.states)
        self._dead += int(np.count_nonzero(had)) - int(np.count_nonzero(after.states[0]))
        if self._dead > max(MANY_DEAD, len(self._table) // 2):
            self._compact()
        return Step(before, after)

    def _slots(self, block: Block) -> Slots:
        """The slots of groups; new ones have no rows yet."""
        before = len(self._table)
        slots = self._table.slots(block.keys, len(block))
        self._dead += len(self._table) - before
        return slots

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
        return self._table.block(np.flatnonzero(self._table.rows))

    # ------------------------------------------------------------------ state

    def segments(self, to_table: ToTable) -> list[Segment]:
        """All groups as they were at several times, the last of which counts, maybe without rows."""
        table = self._table
        return table.segments(to_table, lambda start, stop: table.rows[start:stop] != 0)

    def restore(self, groups: Block) -> None:
        """Become what `groups` told; of several rows of one group the last one counts."""
        self._clear()
        self._fill(groups)
        if self._dead > max(MANY_DEAD, len(self._table) // 2):
            self._compact()

    def _fill(self, groups: Block) -> None:
        self._table.fill(groups)
        self._dead = len(self._table) - int(np.count_nonzero(self._table.rows))


def _head(column: Column, count: int) -> Column:
    return column[:count] if isinstance(column, np.ndarray) else column.slice(0, count)
