"""Groups of rows by keys that are whole numbers far apart: most rows are alone, the others are sorted.

Where keys are many, most occur once. Each row writes its number into the slot of a small table that its
hash names: rows that still find it there, and whose slot no other row has wanted, are groups of their own,
in the order in which they came. What shares a slot is sorted by its hash. As a row's hash and its place
share one integer, that brings equal keys together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.intp]

SLOTS_A_ROW = 8  # then one row in nine shares its slot by chance; more of them would leave the cache
TABLE_ROWS = 2**17  # more have no table: beyond 4 MB looking slots up costs more than sorting
FEW_ROWS = 2**12  # fewer have none either: sorting them takes as long as the calls that a table needs

_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: neighbours get hashes far apart


def first_and_others(columns: Sequence[npt.NDArray[Any]]) -> tuple[Indices, Indices, Indices] | None:
    """The first row of each group, ascending; the other rows; and the group of each of these.

    Columns are integers, of at least one row. None in the rare case that different keys have hashes
    which agree but for the bits that make room for the place.
    """
    rows, hashes = len(columns[0]), _hashes(columns)
    shared = _sharing(hashes) if FEW_ROWS <= rows <= TABLE_ROWS else np.arange(rows)
    nothing = np.empty(0, np.intp)
    if not len(shared):
        return np.arange(rows), nothing, nothing
    found = _sorted(columns, hashes, shared)
    if found is None:
        return None
    leaders, others = found
    leads = np.ones(rows, np.bool_)
    leads[others] = False
    return np.flatnonzero(leads), others, np.cumsum(leads).take(leaders) - 1


def _sharing(hashes: npt.NDArray[np.uint64]) -> Indices:
    """The rows, ascending, that share the slot of a table with others: of equal keys all."""
    bits = max(1, (SLOTS_A_ROW * len(hashes) - 1).bit_length())
    slots = (hashes >> np.uint64(64 - bits)).view(np.int64)
    rows = np.arange(len(hashes), dtype=np.int32)
    table = np.empty(2**bits, np.int32)  # only slots that were written to are read
    table[slots] = rows
    last = table.take(slots)
    lost = np.flatnonzero(last != rows)
    if 4 * len(lost) > len(rows):  # keys that come again and again: with those of chance, most rows share
        return np.arange(len(rows))
    shares = np.zeros(len(hashes), np.bool_)
    shares[lost] = True
    shares[last.take(lost)] = True
    return np.flatnonzero(shares)


def _sorted(
    columns: Sequence[npt.NDArray[Any]], hashes: npt.NDArray[np.uint64], rows: Indices
) -> tuple[Indices, Indices] | None:
    """Of some rows, at least two, those whose key occurs before; and before each the first row with it."""
    place = np.uint64(2 ** (len(rows) - 1).bit_length() - 1)
    keys = hashes.take(rows)
    keys &= ~place
    keys |= np.arange(len(rows), dtype=np.uint64)
    keys.sort()
    order = rows.take((keys & place).view(np.int64))
    again = np.empty(len(rows), np.bool_)
    again[0] = False
    np.less_equal(keys[1:] ^ keys[:-1], place, out=again[1:])
    at = np.flatnonzero(again)
    others = order.take(at)
    before = order.take(at - 1)
    if any((column.take(others) != column.take(before)).any() for column in columns):
        return None  # equal keys might lie apart
    # before the i-th row that is not the first of its group so many groups began
    return order[~again].take(at - np.arange(1, len(at) + 1)), others


def _hashes(columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.uint64]:
    """Products wrap, so that one column alone is told apart by all 64 bits."""
    found = columns[0].astype(np.uint64)  # a copy, to work in
    found *= _ODD
    for column in columns[1:]:
        found ^= found >> np.uint64(32)
        found += column.astype(np.uint64)
        found *= _ODD
    return found
