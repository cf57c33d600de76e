"""Columns that grow, a value a slot: numpy where values are numbers, a log of Arrow values elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Column, as_arrow, as_numpy, numpy_type

Rows = npt.NDArray[np.int64]
Taking = Callable[[Rows], Column]
"""Gives the values of slots."""
Live = tuple[npt.NDArray[Any], Callable[[npt.NDArray[Any]], Column]]
"""Where what slots hold is written, and how it is shown. What is written later goes there, or elsewhere."""

_FIRST = 1024  # values a new column has room for
_PIECES = 16  # pieces of a log before the newest are put together


class VectorColumn:
    """Numbers without nulls; doubles its room when it is full."""

    nulls = False

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._values = np.empty(_FIRST, dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, values: Column) -> None:
        """Add values for the next slots."""
        end = self._count + len(values)
        if end > len(self._values):
            room = np.empty(max(end, 2 * len(self._values)), self._values.dtype)
            room[: self._count] = self._values[: self._count]
            self._values = room
        self._values[self._count : end] = values
        self._count = end

    def take(self, slots: Rows) -> Column:
        """The values of slots."""
        return self._values.take(slots)

    def fixed(self) -> Taking:
        """Gives the values of slots that there are now, whatever is added later, if none is replaced."""
        return self._values.take

    def live(self) -> Live:
        """The values of slots that there are now, for an `Image`."""
        return self._values, _same

    def put(self, slots: Rows, values: Column) -> None:
        """Replace the values of slots, which differ."""
        self._values[slots] = values

    def merge(self, slots: Rows, values: Column, ufunc: np.ufunc) -> None:
        """Merge values into those of slots, maybe several into one."""
        # `at` is 30 times slower from another type
        ufunc.at(self._values, slots, np.asarray(values).astype(self._values.dtype, copy=False))

    def copied(self) -> VectorColumn:
        """Another column with the same values."""
        other = VectorColumn(self._values.dtype)
        other._values, other._count = self._values.copy(), self._count
        return other

    def all(self) -> Column:
        """All values, in the order of slots. Later calls may change them."""
        return self._values[: self._count]


def _same(values: npt.NDArray[Any]) -> Column:
    return values


class LogColumn:
    """Arrow values of any type: new ones are appended, and each slot knows where its value stands."""

    def __init__(self, dtype: pa.DataType) -> None:
        self._dtype = dtype
        self._pieces: list[pa.Array] = []
        self._at = VectorColumn(np.dtype(np.int64))
        self._length = 0
        self.nulls = False

    def __len__(self) -> int:
        return len(self._at)

    def append(self, values: Column) -> None:
        """Add values for the next slots."""
        self._at.append(self._log(values))

    def put(self, slots: Rows, values: Column) -> None:
        """Replace the values of slots, which differ."""
        self._at.put(slots, self._log(values))
        if self._length > 2 * len(self._at) + _FIRST:
            self._pieces, self._length = [self.all()], len(self._at)
            self._at = VectorColumn(np.dtype(np.int64))  # an image goes on with the old one
            self._at.append(np.arange(self._length))

    def _log(self, values: Column) -> Rows:
        array = as_arrow(values, self._dtype)
        start, self._length = self._length, self._length + len(array)
        self.nulls = self.nulls or bool(array.null_count)
        self._pieces.append(array)
        while len(self._pieces) > _PIECES or (
            len(self._pieces) > 1 and len(self._pieces[-2]) <= len(self._pieces[-1])
        ):
            # sizes fall from piece to piece, so a value is copied a logarithm of times
            last = self._pieces.pop()
            self._pieces[-1] = pa.concat_arrays([self._pieces[-1], last])
        return np.arange(start, self._length)

    def take(self, slots: Rows) -> Column:
        """The values of slots."""
        return self.fixed()(slots)

    def fixed(self) -> Taking:
        """Gives the values of slots that there are now, whatever is added later, if none is replaced."""
        places, shown = self.live()
        return lambda slots: shown(places.take(slots))

    def live(self) -> Live:
        """The values of slots that there are now, for an `Image`."""
        values = pa.chunked_array(self._pieces, self._dtype)

        def shown(places: npt.NDArray[Any]) -> pa.Array:
            found = values.take(pa.array(places))
            return found.combine_chunks() if found.num_chunks != 1 else found.chunk(0)

        return self._at.live()[0], shown

    def all(self) -> pa.Array:
        """All values, in the order of slots."""
        return self.take(np.arange(len(self._at)))


class KeyNumbers:
    """Integers, in numpy while none of them is null."""

    def __init__(self, dtype: pa.DataType) -> None:
        self._dtype = dtype
        self._column: GrowingColumn = VectorColumn(numpy_type(dtype))

    @property
    def nulls(self) -> bool:
        """Whether a null came."""
        return self._column.nulls

    def __len__(self) -> int:
        return len(self._column)

    def append(self, values: Column) -> None:
        """Add values for the next slots."""
        vector = as_numpy(values)
        if vector is None and isinstance(self._column, VectorColumn):
            before, self._column = self._column.all(), LogColumn(self._dtype)
            self._column.append(pa.array(before, self._dtype))
        self._column.append(values if vector is None else vector)

    def take(self, slots: Rows) -> Column:
        """The values of slots."""
        return self._column.take(slots)

    def fixed(self) -> Taking:
        """Gives the values of slots that there are now, whatever is added later."""
        return self._column.fixed()

    def live(self) -> Live:
        """The values of slots that there are now, for an `Image`."""
        return self._column.live()

    def put(self, slots: Rows, values: Column) -> None:
        """Replace the values of slots, which differ."""
        self._column.put(slots, values)

    def all(self) -> Column:
        """All values, in the order of slots."""
        return self._column.all()


GrowingColumn: TypeAlias = VectorColumn | LogColumn | KeyNumbers


def growing(dtype: pa.DataType) -> GrowingColumn:
    """An empty column for keys of a type."""
    return KeyNumbers(dtype) if pa.types.is_integer(dtype) else LogColumn(dtype)
