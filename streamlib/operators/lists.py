"""Lists as state: the values of every group side by side, worked on all at once.

A list of a group is a stretch of flat columns. To merge lists is to sort their elements by group: a
radix sort where there are few groups, and never a loop over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.batch import Column, as_arrow
from streamlib.operators.bound_aggregate import StateField, Vector
from streamlib.operators.grouping import Codes, take_rows

LONG = 64  # elements a list from which on each is sorted by itself: a call is then cheaper than their order
LONG_RUNS = 64  # elements a list from which on sorting by runs beats sorting anew
RADIX = 1 << 16  # numpy sorts 16 bits in a pass of 18 ns an element, and 64 in 100


@dataclass(frozen=True)
class Lists:
    """Lists of so many `lengths`, one after another, in flat `columns` of elements."""

    lengths: Codes
    columns: tuple[Column, ...]

    @classmethod
    def of(cls, states: Sequence[Any], fields: Sequence[StateField]) -> Lists:
        """The lists of Arrow columns that are equally long row by row."""
        lengths = np.diff(states[0].offsets.to_numpy())
        return cls(lengths, tuple(_flat(s, f) for s, f in zip(states, fields, strict=True)))

    @classmethod
    def gathered(cls, owners: Codes, count: int, columns: Sequence[Column]) -> Lists:
        """Lists of `count` groups from elements and the group of each, in the order in which they come."""
        order = group_order(owners, count)
        taken = tuple(columns) if order is None else tuple(take_rows(c, order) for c in columns)
        return cls(np.bincount(owners, minlength=count), taken)

    def arrays(self, fields: Sequence[StateField]) -> list[Column]:
        """The reverse of `of`."""
        offsets = pa.array(self.ends(0))
        return [
            pa.LargeListArray.from_arrays(offsets, as_arrow(c, f.dtype.value_type))
            for c, f in zip(self.columns, fields, strict=True)
        ]

    def ends(self, before: int | None = None) -> Codes:
        """Where each list ends; with `before`, that comes first."""
        ends = np.cumsum(self.lengths)
        return ends if before is None else np.concatenate([[before], ends])

    def owners(self, codes: Codes | None = None) -> Codes:
        """The list of each element, or the code of its list."""
        return np.repeat(np.arange(len(self.lengths)) if codes is None else codes, self.lengths)

    def ordered(self) -> Lists:
        """The elements of each list in the order of the first column, then the second, ...; nulls first."""
        values = self.columns[0]
        if len(self.columns) == 1 and isinstance(values, np.ndarray) and self._long():
            return Lists(self.lengths, (self._sorted(values),))
        numbers = [comparable(c) for c in self.columns]
        order = element_order(self.owners(), len(self.lengths), numbers)
        return Lists(self.lengths, tuple(take_rows(c, order) for c in self.columns))

    def _long(self) -> bool:
        return int(self.lengths.sum()) > LONG * len(self.lengths)

    def _sorted(self, values: Vector) -> Vector:
        """Each list by itself: sorting values takes a twentieth of what it takes to find their order."""
        found = values.copy()
        for start, end in zip((self.ends() - self.lengths).tolist(), self.ends().tolist(), strict=True):
            found[start:end].sort()
        return found

    def first(self, most: int) -> Lists:
        """At most so many elements of each list."""
        if not len(self.lengths) or int(self.lengths.max()) <= most:
            return self
        place = np.arange(int(self.lengths.sum())) - np.repeat(self.ends() - self.lengths, self.lengths)
        kept = np.flatnonzero(place < most)
        return Lists(np.minimum(self.lengths, most), tuple(take_rows(c, kept) for c in self.columns))


def _flat(state: pa.Array, field: StateField) -> Column:
    values = state.flatten()
    kept = StateField("", field.dtype.value_type)
    return kept.loaded(values) if kept.vector and not values.null_count else values


def group_order(codes: Codes, count: int) -> npt.NDArray[np.intp] | None:
    """The order that sorts codes below `count`, equal ones as they come; None if they are sorted."""
    if len(codes) < 2 or bool((codes[:-1] <= codes[1:]).all()):
        return None
    order = np.argsort(codes.astype(np.uint16), kind="stable")  # the lowest 16 bits
    high = codes
    while count > RADIX:
        high, count = high >> 16, count >> 16
        order = order.take(np.argsort(high.astype(np.uint16).take(order), kind="stable"))
    return order


def element_order(owners: Codes, count: int, numbers: Sequence[Vector]) -> npt.NDArray[np.intp]:
    """The order of elements by owner (below `count`), then by `numbers`. `owners` may be in any order."""
    runs = len(owners) > LONG_RUNS * count  # lists that were merged before are sorted already
    order: npt.NDArray[np.intp] | None = None
    for vector in reversed(numbers):
        if order is None:
            order = np.argsort(vector, kind="stable" if runs else None)
        else:
            order = order.take(np.argsort(vector.take(order), kind="stable"))
    assert order is not None
    by_owner = group_order(owners.take(order), count)
    return order if by_owner is None else order.take(by_owner)


def comparable(column: Column) -> Vector:
    """Numbers that are ordered and equal as the values are; nulls are the least."""
    if isinstance(column, np.ndarray):
        return column
    encoded = column.dictionary_encode(null_encoding="encode")
    words = encoded.dictionary
    ranks = np.empty(len(words), np.int64)
    order = pc.array_sort_indices(words, null_placement="at_start")
    ranks[order.to_numpy()] = np.arange(len(words))
    return ranks.take(encoded.indices.to_numpy(zero_copy_only=False))


def starts_anew(owners: Codes, numbers: Sequence[Vector]) -> npt.NDArray[np.bool_]:
    """Which of the ordered elements differ from the one before. NaNs are equal to each other."""
    new = np.ones(len(owners), np.bool_)
    new[1:] = owners[1:] != owners[:-1]
    for values in numbers:
        different = values[1:] != values[:-1]
        if values.dtype.kind == "f":
            different &= ~(np.isnan(values[1:]) & np.isnan(values[:-1]))
        new[1:] |= different
    return new
