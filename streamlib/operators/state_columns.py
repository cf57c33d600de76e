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


def first_alike(
    fields: Sequence[StateColumn], parts: Sequence[Sequence[Column]], times: int = 1
) -> list[int]:
    """For each column the first one that is the same object in all parts, and merges alike: maybe itself.

    `times` says how many values of a part come together in one group at most.
    """
    places: dict[tuple[int, ...], list[int]] = {}
    found: list[int] = []
    for i, columns in enumerate(zip(*parts, strict=True)):
        before = places.setdefault(tuple(map(id, columns)), [])
        found.append(next((j for j in before if _merge_alike(fields[j], fields[i], columns, times)), i))
        before.append(i)
    return found


def _merge_alike(one: StateColumn, other: StateColumn, columns: Sequence[Column], times: int) -> bool:
    if other is ESTIMATE and one is not ESTIMATE:
        largest = sum(magnitude(np.asarray(column)) for column in columns)
        return times * largest < 2**63  # so that the total can't wrap
    return one is other or same_kind(one, other)


def same_kind(one: StateField, other: StateField) -> bool:
    """Whether two columns hold and merge values alike."""
    if isinstance(one, StateColumn) and isinstance(other, StateColumn):
        return one.dtype == other.dtype and one.merge == other.merge
    return False
