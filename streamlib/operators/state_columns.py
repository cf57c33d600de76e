"""State columns side by side: one vector may be several of them, and is then worked on once.

The count of an aggregate is that of the rows where none is null; the estimate of an integer sum is the
sum itself while that can't wrap. Such columns are the same object, which is how they are recognised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np

from streamlib.core.batch import Column
from streamlib.operators.aggregates import ESTIMATE, StateColumn, magnitude
from streamlib.operators.bound_aggregate import StateField

T = TypeVar("T")


def each_once(columns: Iterable[T], change: Callable[[T], Column]) -> tuple[Column, ...]:
    """`change` of every column; columns that are one object stay one."""
    found: dict[int, Column] = {}
    return tuple(found[id(c)] if id(c) in found else found.setdefault(id(c), change(c)) for c in columns)


def same_as(fields: Sequence[StateColumn], i: int, parts: Sequence[Sequence[Column]], times: int = 1) -> int:
    """The first column that in all parts is the same object as column `i`, and merges alike; else `i`.

    `times` says how many values of a part come together in one group at most.
    """
    for j in range(i):
        if all(part[j] is part[i] for part in parts) and _merge_alike(fields, j, i, parts, times):
            return j
    return i


def _merge_alike(
    fields: Sequence[StateColumn], j: int, i: int, parts: Sequence[Sequence[Column]], times: int
) -> bool:
    if fields[i] is ESTIMATE and fields[j] is not ESTIMATE:
        largest = sum(magnitude(np.asarray(part[j])) for part in parts)
        return times * largest < 2**63  # so that the total can't wrap
    return same_kind(fields[j], fields[i])


def same_kind(one: StateField, other: StateField) -> bool:
    """Whether two columns hold and merge values alike."""
    if isinstance(one, StateColumn) and isinstance(other, StateColumn):
        return one.dtype == other.dtype and one.merge == other.merge
    return False
