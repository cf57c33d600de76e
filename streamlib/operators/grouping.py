"""From key columns to dense group numbers: the one place that chooses how keys are coded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.batch import Column, as_arrow, as_numpy
from streamlib.operators.sorted_groups import Indices, first_and_others

Codes = npt.NDArray[np.int64]

DIRECT_MIN = 4096  # cells: 32 KiB a state column, zeroed in about a microsecond
DIRECT_FACTOR = 4  # cells a row that direct addressing may spend; more and zeroing outweighs hashing
_MAX_PRODUCT = 2**62


class Groups:
    """Rows sorted into groups: how many there are, the first row of each, and the group of each row.

    Where they are known anyway, `others` are the rows that are not the first of their group, and their
    groups: where most groups are single rows that is much less to look at.
    """

    def __init__(
        self, first: Indices, codes: Codes | None = None, others: tuple[Indices, Codes] | None = None
    ) -> None:
        self.first = first
        self.count = len(first)
        self.others = others
        self._codes = codes

    @property
    def codes(self) -> Codes:
        """The group of each row."""
        if self._codes is None:
            assert self.others is not None
            rows, codes = self.others
            self._codes = np.empty(self.count + len(rows), np.int64)
            self._codes[self.first] = np.arange(self.count)
            self._codes[rows] = codes
        return self._codes


def direct_limit(rows: int) -> int:
    """How many cells an addressable range may have to be worth it for so many rows."""
    return max(DIRECT_MIN, DIRECT_FACTOR * rows)


@dataclass(frozen=True)
class KeyGrid:
    """A cell for every slice and integer key between the least and the largest."""

    first: int
    span: int
    low: int
    width: int

    @classmethod
    def of(cls, key: npt.NDArray[Any], slices: Codes) -> KeyGrid:
        """The grid of some rows, at least one."""
        first, low = int(slices.min()), int(key.min())
        return cls(first, int(slices.max()) - first + 1, low, int(key.max()) - low + 1)

    @property
    def cells(self) -> int:
        """How many cells there are: maybe far too many."""
        return self.span * self.width

    def codes(self, key: npt.NDArray[Any], slices: Codes) -> Codes:
        """The cell of every row."""
        if self.span == 1:
            return np.subtract(key, self.low, dtype=np.int64)
        codes = slices * self.width  # what wraps here wraps back
        codes += key
        codes -= (self.first * self.width + self.low + 2**63) % 2**64 - 2**63
        return codes

    def covering(self, first: int, span: int, low: int, width: int) -> KeyGrid:
        """The grid that has these cells as well."""
        start, least = min(self.first, first), min(self.low, low)
        stop, most = max(self.first + self.span, first + span), max(self.low + self.width, low + width)
        return KeyGrid(start, stop - start, least, most - least)


def stable_order(numbers: Codes) -> npt.NDArray[np.intp] | None:
    """The order that sorts numbers, equal ones as they come; None if they are sorted."""
    if len(numbers) < 2 or bool((numbers[:-1] <= numbers[1:]).all()):
        return None
    low = int(numbers.min())
    span = int(numbers.max()) - low
    if span < 2**16:  # radix sort takes a pass a byte: a tenth of the time
        return np.argsort((numbers - low).astype(np.uint8 if span < 2**8 else np.uint16), kind="stable")
    return np.argsort(numbers, kind="stable")


def group_rows(columns: Sequence[Column], rows: int) -> Groups:
    """Group `rows` > 0 rows by the values of `columns`. Nulls are equal to each other, so are NaNs.

    Groups are numbered in no particular order.
    """
    numbers = _far_apart(columns)
    found = None if numbers is None else first_and_others(numbers)
    if found is not None:
        return Groups(found[0], others=found[1:])
    codes, count = np.zeros(rows, np.int64), 1
    for column in columns:
        more, cardinality = _encode(column)
        if count > 1 and count * cardinality > _MAX_PRODUCT:
            codes, count = _compress(codes, count)
        codes = more if count == 1 else codes * cardinality + more
        count *= cardinality
    codes, count = _compress(codes, count)
    first = np.empty(count, np.intp)
    first[codes[::-1]] = np.arange(rows - 1, -1, -1)  # of equal codes the last write, the first row, stays
    return Groups(first, codes)


def _far_apart(columns: Sequence[Column]) -> list[npt.NDArray[Any]] | None:
    """The columns that tell rows apart, if all are whole numbers and some too far apart for cells."""
    found: list[npt.NDArray[Any]] = []
    wide = False
    for column in reversed(columns):  # keys come last, and decide most of the time
        values = as_numpy(column)
        if values is None or values.dtype.kind not in "iu":
            return None
        reach = int(values.max()) - int(values.min())
        wide = wide or reach >= direct_limit(len(values))
        if reach:
            found.append(values)
    return found if wide else None


def _encode(column: Column) -> tuple[Codes, int]:
    values = as_numpy(column)
    if values is not None and values.dtype.kind in "iub" and values.dtype != np.uint64:
        low, high = int(values.min()), int(values.max())
        if high - low < direct_limit(len(values)):
            return values.astype(np.int64) - low, high - low + 1
    return _encode_hashed(column)


def _encode_hashed(column: Column) -> tuple[Codes, int]:
    array = decoded(column)
    if pa.types.is_floating(array.type):
        array = _canonical_floats(array)
    encoded = array.dictionary_encode(null_encoding="encode")
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), max(1, len(encoded.dictionary))


def _canonical_floats(array: pa.Array) -> pa.Array:
    if pa.types.is_float16(array.type):
        array = array.cast(pa.float32())  # which has kernels
    zero, nan = (pa.scalar(value, array.type) for value in (0.0, np.nan))
    # -0.0 + 0.0 is 0.0; NaNs of other bits (inf - inf has its sign set) would be other keys
    return pc.if_else(pc.is_nan(array), nan, pc.add(array, zero))


def decoded(column: Column) -> pa.Array:
    """The column as a plain Arrow array, not dictionary-encoded."""
    array = as_arrow(column)
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def key_column(column: Column) -> Column:
    """The column as keys are kept: plain values, numbers in numpy where none is null."""
    if isinstance(column, np.ndarray):
        return column
    array = decoded(column)
    number = pa.types.is_integer(array.type) or pa.types.is_floating(array.type)
    return array.to_numpy() if number and not array.null_count else array


def decoded_type(dtype: pa.DataType) -> pa.DataType:
    """The type that `decoded` gives a column of `dtype`."""
    return dtype.value_type if pa.types.is_dictionary(dtype) else dtype


def _compress(codes: Codes, count: int) -> tuple[Codes, int]:
    """Renumber the codes below `count` that occur, without gaps."""
    if count == 1:
        return codes, 1
    if count <= direct_limit(len(codes)):
        present = np.flatnonzero(np.bincount(codes, minlength=count))
        if len(present) == count:
            return codes, count
        renumbered = np.empty(count, np.int64)
        renumbered[present] = np.arange(len(present))
        return renumbered.take(codes), len(present)
    encoded = pa.array(codes).dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), len(encoded.dictionary)


def take_rows(column: Column, indices: npt.NDArray[Any]) -> Column:
    """The rows of a column at `indices`."""
    return column.take(indices) if isinstance(column, np.ndarray) else column.take(pa.array(indices))
