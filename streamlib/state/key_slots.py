"""Slots: keys as dense numbers that stay, so that state per key can be columns.

Open addressing over the 64-bit hash of `core/hashing.py`, in numpy: a batch of keys is looked up at
once, in a few rounds of gathering. Of two keys with one hash the later lives under a hash of the
hash, so keys are compared where their hash does not already tell them apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.batch import Column, as_arrow, as_numpy
from streamlib.core.hashing import key_hash
from streamlib.core.mixing import Hashes, mix
from streamlib.state.key_columns import GrowingColumn, Taking, VectorColumn, growing
from streamlib.state.key_groups import groups_of_hashes

Slots = npt.NDArray[np.int64]

_SMALLEST = 1024  # cells: 16 KiB, made anew in a microsecond
_FREE = -1
_AGAIN = np.uint64(0x2545F4914F6CDD1D)  # any odd number: the hash of a hash has to differ from it


class KeySlots:
    """Gives every key a slot: 0, 1, 2, … in the order in which they come. Slots are never freed.

    Args:
        types: types of the key columns (none: there is one key); dictionaries are decoded before.
    """

    def __init__(self, types: Sequence[pa.DataType]) -> None:
        self._types = tuple(types)
        self._columns: list[GrowingColumn] = [growing(dtype) for dtype in types]
        self._exact = len(types) == 1 and (pa.types.is_integer(types[0]) or pa.types.is_boolean(types[0]))
        self._hashes = growing(pa.uint64())
        self._groups = VectorColumn(np.dtype(np.int16))
        self._count = 0
        self._allocate(_SMALLEST)

    def __len__(self) -> int:
        return self._count

    def of(self, keys: Sequence[Column], rows: int) -> Slots:
        """The slot of each row's key; keys that are new get one."""
        if not self._types:
            if rows and not self._count:
                self._count = 1
                self._groups.append(np.zeros(1, np.int16))  # the hash of no columns is 0
            return np.zeros(rows, np.int64)
        hashes = key_hash(keys, rows)
        slots = self._find_or_add(hashes, hashes, keys, None)
        exact = self._exact and as_numpy(keys[0]) is not None and not self._columns[0].nulls
        if exact:  # the hash of integers is one to one
            return slots
        wrong = np.flatnonzero(~self._equal(slots, keys))
        own = hashes.copy() if len(wrong) else hashes
        while len(wrong):
            hashes[wrong] = mix(hashes[wrong] + _AGAIN)
            slots[wrong] = self._find_or_add(hashes[wrong], own[wrong], keys, wrong)
            some = [_taken(key, wrong) for key in keys]
            wrong = wrong[~self._equal(slots[wrong], some)]
        return slots

    def keys(self, slots: Slots | None = None) -> list[Column]:
        """The key columns of slots (None: of all, in their order)."""
        return [c.all() if slots is None else c.take(slots) for c in self._columns]

    def fixed(self) -> list[Taking]:
        """What tells the keys of slots that there are now, and their key group, also from another thread."""
        return [*(column.fixed() for column in self._columns), self._groups.fixed()]

    # ------------------------------------------------------------------ the table

    def _allocate(self, cells: int) -> None:
        self._mask = np.uint64(cells - 1)
        self._cell_hash = np.zeros(cells, np.uint64)
        self._cell_slot = np.full(cells, _FREE, np.int64)

    def _find_or_add(
        self, hashes: Hashes, own: Hashes, keys: Sequence[Column], rows: npt.NDArray[np.intp] | None
    ) -> Slots:
        """The slots under some hashes; `own` are those of the keys themselves, which tell key groups."""
        at = (hashes & self._mask).view(np.int64)
        slots = self._cell_slot.take(at)
        open_ = np.flatnonzero((self._cell_hash.take(at) != hashes) | (slots < 0))
        if not len(open_):
            return slots
        added = self._probe(hashes.take(open_), at.take(open_), open_, slots)
        if len(added):
            self._groups.append(groups_of_hashes(own.take(added)))
            source = added if rows is None else rows.take(added)
            for column, key in zip(self._columns, keys, strict=True):
                column.append(_taken(key, source))
        return slots

    def _probe(
        self, hashes: Hashes, at: Slots, rows: npt.NDArray[np.intp], slots: Slots
    ) -> npt.NDArray[np.intp]:
        """Fill in the slots of `rows`, cell after cell; the rows that brought a new key, by slot."""
        added: list[npt.NDArray[np.intp]] = []
        while len(rows):
            found = self._cell_slot.take(at)
            free = np.flatnonzero(found < 0)
            if (self._count + len(free)) * 2 > len(self._cell_slot):
                self._grow(self._count + len(free))
                at = (hashes & self._mask).view(np.int64)
                continue
            if len(free):
                # all that want a cell write into it; who reads itself back has won it
                cells, claims = at.take(free), -2 - free
                self._cell_slot[cells] = claims
                won = free[self._cell_slot.take(cells) == claims]
                new = np.arange(self._count, self._count + len(won))
                self._cell_slot[at.take(won)] = new
                self._cell_hash[at.take(won)] = hashes.take(won)
                self._hashes.append(hashes.take(won))
                self._count += len(won)
                added.append(rows.take(won))
                found = self._cell_slot.take(at)
            hit = self._cell_hash.take(at) == hashes
            slots[rows[hit]] = found[hit]
            left = np.flatnonzero(~hit)
            rows, hashes, at = rows.take(left), hashes.take(left), self._next(at.take(left))
        return np.concatenate(added) if added else rows

    def _grow(self, keys: int) -> None:
        cells = len(self._cell_slot)
        while keys * 2 > cells:
            cells *= 2
        self._allocate(cells)
        hashes = np.asarray(self._hashes.all())
        at, left = (hashes & self._mask).view(np.int64), np.arange(len(hashes))
        while len(left):  # all differ, so nobody has to look for an equal
            free = left[self._cell_slot.take(at.take(left)) < 0]
            self._cell_slot[at.take(free)] = free
            mine = self._cell_slot.take(at.take(left)) == left
            self._cell_hash[at.take(left[mine])] = hashes.take(left[mine])
            left = left[~mine]
            at[left] = self._next(at[left])

    def _next(self, at: Slots) -> Slots:
        return (at + 1) & (len(self._cell_slot) - 1)

    # ------------------------------------------------------------------ keys

    def _equal(self, slots: Slots, keys: Sequence[Column]) -> npt.NDArray[np.bool_]:
        """Whether each row's key is the one in its slot."""
        equal = np.ones(len(slots), np.bool_)
        for column, key, dtype in zip(self._columns, keys, self._types, strict=True):
            equal &= same_values(as_arrow(column.take(slots), dtype), as_arrow(key, dtype))
        return equal


def same_values(left: pa.Array, right: pa.Array) -> npt.NDArray[np.bool_]:
    """Whether each two values are equal; nulls are equal to each other, so are NaNs."""
    dtype = left.type
    if pa.types.is_list(dtype) or pa.types.is_large_list(dtype):
        return _same_lists(left, right)
    if pa.types.is_fixed_size_list(dtype) or pa.types.is_map(dtype):
        return _same_lists(left.cast(pa.list_(_element(dtype))), right.cast(pa.list_(_element(dtype))))
    if pa.types.is_struct(dtype):
        return _same_structs(left, right)
    equal = pc.equal(left, right)
    if pa.types.is_floating(left.type):
        equal = pc.or_(equal, pc.and_(pc.is_nan(left), pc.is_nan(right)))
    both_null = pc.and_(left.is_null(), right.is_null())
    return pc.fill_null(pc.or_kleene(equal, both_null), False).to_numpy(zero_copy_only=False)


def _same_lists(left: pa.Array, right: pa.Array) -> npt.NDArray[np.bool_]:
    """As `same_values`: lists are equal where they are equally long and all elements are."""
    lengths = [pc.fill_null(pc.list_value_length(a), -1).to_numpy() for a in (left, right)]
    same = lengths[0] == lengths[1]
    rows = np.flatnonzero(same & (lengths[0] > 0))
    if len(rows):
        some = pa.array(rows)
        elements = same_values(left.take(some).flatten(), right.take(some).flatten())
        owners = np.repeat(rows, lengths[0].take(rows))
        same[owners[~elements]] = False
    return same


def _element(dtype: pa.DataType) -> pa.DataType:
    if pa.types.is_map(dtype):
        return pa.struct([dtype.key_field, dtype.item_field])
    return dtype.value_type


def _same_structs(left: pa.StructArray, right: pa.StructArray) -> npt.NDArray[np.bool_]:
    """As `same_values`: structs are equal where all fields are."""
    nulls = [a.is_null().to_numpy(zero_copy_only=False) for a in (left, right)]
    same: npt.NDArray[np.bool_] = nulls[0] == nulls[1]
    for one, other in zip(left.flatten(), right.flatten(), strict=True):
        same &= same_values(one, other)
    return same


def _taken(column: Column, rows: npt.NDArray[np.intp]) -> Column:
    return column.take(rows) if isinstance(column, np.ndarray) else column.take(pa.array(rows))
