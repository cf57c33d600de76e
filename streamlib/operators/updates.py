"""From groups before and after to the rows of a changelog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Column, as_arrow
from streamlib.core.changes import AFTER, BEFORE, DELETE, INSERT, Changes
from streamlib.operators.grouping import take_rows
from streamlib.operators.keyed_states import Step
from streamlib.operators.partials import PartialAggregator
from streamlib.state.key_slots import same_values

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Updates:
    """The rows that say what became of groups. A group whose row is as it was has none.

    Attributes:
        groups: the group of each row: its index in the step's `after`.
        changes: the kind of each row; the new row of an update follows the old one.
        results: the aggregates' result columns.
    """

    groups: Rows
    changes: Changes
    results: list[Column]

    def __len__(self) -> int:
        return len(self.groups)

    @classmethod
    def of(cls, step: Step, aggregator: PartialAggregator) -> Updates:
        """What `step` changed."""
        known = len(step.before)
        has = np.asarray(step.after.states[0]) > 0
        place = np.cumsum(has) - 1  # of each group in the results after
        now = step.after if has.all() else step.after.renumbered(step.after.numbers[has], np.flatnonzero(has))
        before, after = aggregator.finish(step.before), aggregator.finish(now)
        updated = np.zeros(len(has), np.bool_)
        stays = np.flatnonzero(has[:known])
        updated[stays] = _differ(before, stays, after, place.take(stays))
        had = np.arange(len(has)) < known
        counts = updated * 2 + (had ^ has)
        groups = np.repeat(np.arange(len(has)), counts)
        second = np.arange(len(groups)) - np.repeat(np.cumsum(counts) - counts, counts) == 1
        new = second | ~had.take(groups)
        one = np.where(had, DELETE, INSERT).take(groups)
        pair = np.where(second, AFTER, BEFORE)
        changes = np.where(updated.take(groups), pair, one).astype(np.int8)
        rows = np.where(new, known + place.take(groups), groups)
        results = [take_rows(_concat(b, a), rows) for b, a in zip(before, after, strict=True)]
        return cls(groups, changes, results)


def _differ(
    before: Sequence[Column], old_rows: Rows, after: Sequence[Column], new_rows: Rows
) -> npt.NDArray[np.bool_]:
    """Whether any column differs between a row before and a row after."""
    differ = np.zeros(len(old_rows), np.bool_)
    for old_column, new_column in zip(before, after, strict=True):
        old, new = take_rows(old_column, old_rows), take_rows(new_column, new_rows)
        if isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
            different = old != new
            if old.dtype.kind == "f":
                different &= ~(np.isnan(old) & np.isnan(new))
            differ |= different
        else:
            array = as_arrow(new)
            differ |= ~same_values(as_arrow(old, array.type), array)
    return differ


def _concat(first: Column, second: Column) -> Column:
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return np.concatenate([first, second])
    array = as_arrow(second)
    return pa.concat_arrays([as_arrow(first, array.type), array])
