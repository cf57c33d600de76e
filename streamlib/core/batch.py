"""A batch: the user's columns, and beside them the hidden vectors that travel with the rows.

A column is an Arrow array, or a numpy array where it holds no nulls: kernels keep whichever they
produced, and convert only where the next one needs the other (a conversion costs more than a
kernel on 100 rows).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.changes import CHANGE_COLUMN, Changes, kept
from streamlib.core.errors import TypeMismatchError, shown
from streamlib.core.lazy_columns import LazyColumns
from streamlib.core.origin import Origin, together
from streamlib.core.time import Micros

TIME_BLOCK = 128  # rows: numpy reduces so many in little more than a call's time; they span little time

Column: TypeAlias = pa.Array | npt.NDArray[Any]
"""One column of a batch; numpy columns hold no nulls."""


def as_arrow(column: Column, dtype: pa.DataType | None = None) -> pa.Array:
    """The column as an Arrow array, of `dtype` where given."""
    if isinstance(column, np.ndarray):
        return pa.array(column, type=dtype)
    return column if dtype is None or column.type == dtype else column.cast(dtype)


def as_numpy(column: Column) -> npt.NDArray[Any] | None:
    """The column as a numpy vector, or None where it holds nulls or has no plain numpy form.

    Timestamps, dates, times and durations keep their integers: the unit is the schema's business.
    """
    if isinstance(column, np.ndarray):
        return column
    if column.null_count:
        return None
    plain = _PLAIN.get(column.type.id)
    if plain is None:
        return None
    if plain is _BITS:
        return column.to_numpy(zero_copy_only=False)
    values = np.ndarray((len(column),), plain, column.buffers()[1], column.offset * plain.itemsize)
    values.setflags(write=False)  # Arrow takes it that nobody changes them
    return values


# By the id of a type: asking `pa.types` one after another costs more than a kernel over 100 rows.
_BITS = np.dtype(np.bool_)
_NUMBERS: dict[int, np.dtype[Any]] = {
    pa.type_for_alias(arrow).id: np.dtype(arrow if "int" in arrow else f"float{bits}")
    for bits, floating in ((8, None), (16, "float16"), (32, "float32"), (64, "float64"))
    for arrow in (f"int{bits}", f"uint{bits}", floating)
    if arrow is not None
}
_PLAIN: dict[int, np.dtype[Any]] = {
    pa.bool_().id: _BITS,
    **_NUMBERS,
    **{dtype.id: np.dtype(np.int32) for dtype in (pa.date32(), pa.time32("s"))},
    **{
        dtype.id: np.dtype(np.int64)
        for dtype in (pa.date64(), pa.time64("us"), pa.timestamp("us"), pa.duration("us"))
    },
}


def numpy_type(dtype: pa.DataType) -> np.dtype[Any]:
    """The numpy type of an Arrow number; `to_pandas_dtype` would import pandas in older Arrows."""
    found = _NUMPY_TYPES.get(dtype.id)
    return np.dtype(str(dtype)) if found is None else found


_NUMPY_TYPES: dict[int, np.dtype[Any]] = {  # as `_VIEWS`: each kernel asks
    **{pa.type_for_alias(name).id: np.dtype(name) for name in ("float16", "float32", "float64")},
    **{
        pa.type_for_alias(f"{s}int{bits}").id: np.dtype(f"{s}int{bits}")
        for s in ("", "u")
        for bits in (8, 16, 32, 64)
    },
}


@dataclass(frozen=True)
class TimeBlocks:
    """Event times as rows of `TIME_BLOCK`, the last one filled up, and the extremes of each row."""

    times: Micros
    least: Micros
    largest: Micros
    count: int
    """How many times there are, without what fills the last block up."""

    @classmethod
    def of(cls, times: Micros) -> TimeBlocks:
        """The blocks of some times, at least one."""
        missing = -len(times) % TIME_BLOCK
        filled = np.append(times, np.full(missing, times[-1])) if missing else times
        blocks = filled.reshape(-1, TIME_BLOCK)
        return cls(blocks, blocks.min(axis=1), blocks.max(axis=1), len(times))


class Batch:
    """Rows of a stream: `schema`, `columns`, and the hidden vectors beside them.

    `event_time` holds microseconds, or is None; `changes` holds what happened to each row of a
    changelog, and is None where the stream is append-only. `judged_by` holds the watermark by which each
    row is judged, where that of the operator it comes to may be lower (`runtime/admission.py`); mostly
    it is None. `origin` tells where rows were read, if some dead letter may have to tell it and they have
    not passed through a state. Batches are immutable by convention: every method returns a new one that
    shares buffers.
    """

    __slots__ = (
        "_time_blocks",
        "_time_bounds",
        "changes",
        "columns",
        "event_time",
        "judged_by",
        "num_rows",
        "origin",
        "schema",
    )

    def __init__(
        self,
        schema: pa.Schema,
        columns: Sequence[Column],
        num_rows: int,
        event_time: Micros | None = None,
        changes: Changes | None = None,
        judged_by: Micros | None = None,
    ) -> None:
        self.schema = schema
        self.columns: Sequence[Column] = columns if isinstance(columns, LazyColumns) else tuple(columns)
        self.num_rows = num_rows
        self.event_time = event_time
        self.changes = changes
        self.judged_by = judged_by
        self.origin: Origin | None = None
        self._time_bounds: tuple[int, int] | None = None
        self._time_blocks: TimeBlocks | None = None

    @classmethod
    def from_arrow(
        cls, rows: pa.RecordBatch, event_time: Micros | None = None, changes: Changes | None = None
    ) -> Batch:
        """Wrap an Arrow record batch without copying."""
        return cls(rows.schema, rows.columns, rows.num_rows, event_time, changes)

    @property
    def time_bounds(self) -> tuple[int, int]:
        """The least and the largest event time of rows that have one; there must be rows."""
        if self._time_bounds is None:
            times = self.event_time
            assert times is not None
            if self.num_rows < TIME_BLOCK**2:
                # `times.min()` goes by way of Python: a third of the speed for few rows
                self._time_bounds = times.item(times.argmin()), times.item(times.argmax())
            else:  # admission asks for the blocks as well, unless all rows come in order
                blocks = self.time_blocks
                self._time_bounds = int(blocks.least.min()), int(blocks.largest.max())
        return self._time_bounds

    @property
    def least_time(self) -> int:
        """The least event time of rows that have one; there must be rows."""
        if self._time_bounds is None and self.num_rows < TIME_BLOCK:  # half the price of both
            times = self.event_time
            assert times is not None
            return times.item(times.argmin())
        return self.time_bounds[0]

    @property
    def time_blocks(self) -> TimeBlocks:
        """The event times in blocks; there must be rows, and all have one."""
        if self._time_blocks is None:
            assert self.event_time is not None
            self._time_blocks = TimeBlocks.of(self.event_time)
        return self._time_blocks

    def to_arrow(self) -> pa.RecordBatch:
        """The user's columns as an Arrow record batch."""
        arrays = [as_arrow(c, f.type) for c, f in zip(self.columns, self.schema, strict=True)]
        if not arrays:
            return pa.RecordBatch.from_struct_array(pa.array([{}] * self.num_rows, pa.struct([])))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def to_sink(self) -> pa.RecordBatch:
        """The rows as a sink gets them: of a changelog with the last column `__change__`."""
        rows = self.to_arrow()
        return rows if self.changes is None else rows.append_column(CHANGE_COLUMN, pa.array(self.changes))

    def column(self, name: str) -> Column:
        """The column called `name`; the plan has checked that it exists."""
        return self.columns[self.schema.get_field_index(name)]

    def replaced(self, schema: pa.Schema, columns: Sequence[Column]) -> Batch:
        """The same rows with other columns; the hidden vectors stay."""
        found = Batch(schema, columns, self.num_rows, self.event_time, self.changes, self.judged_by)
        found.origin = self.origin
        return found

    def stamped(self, judged_by: Micros) -> Batch:
        """The same rows, each judged by a watermark of its own."""
        found = Batch(self.schema, self.columns, self.num_rows, self.event_time, self.changes, judged_by)
        found.origin = self.origin
        return found

    def slice(self, start: int, stop: int) -> Batch:
        """Rows `start:stop`, as views."""
        times = None if self.event_time is None else self.event_time[start:stop]
        changes = None if self.changes is None else self.changes[start:stop]
        judged_by = None if self.judged_by is None else self.judged_by[start:stop]
        columns = [
            c[start:stop] if isinstance(c, np.ndarray) else c.slice(start, stop - start) for c in self.columns
        ]
        found = Batch(self.schema, columns, stop - start, times, changes, judged_by)
        if self.origin is not None:
            found.origin = self.origin[start:stop]
        return found

    def take(self, indices: npt.NDArray[np.intp]) -> Batch:
        """The rows at `indices`, in that order. Columns are taken when they are looked at."""
        times = None if self.event_time is None else self.event_time.take(indices)
        changes = None if self.changes is None else self.changes.take(indices)
        judged_by = None if self.judged_by is None else self.judged_by.take(indices)
        columns = LazyColumns(len(self.columns), _taking(self.columns, indices))
        found = Batch(self.schema, columns, len(indices), times, changes, judged_by)
        if self.origin is not None:
            found.origin = self.origin[indices]
        return found

    def filter(self, mask: npt.NDArray[np.bool_]) -> Batch:
        """The rows where `mask` is true. Half an update that is left becomes a deletion or an insertion."""
        if np.count_nonzero(mask) == len(mask):
            return self
        (rows,) = mask.nonzero()
        found = self.take(rows)
        if self.changes is not None:
            found.changes = kept(self.changes, rows)
        return found

    def __repr__(self) -> str:
        return f"Batch({self.num_rows} rows: {', '.join(self.schema.names)})"


def _taking(columns: Sequence[Column], indices: npt.NDArray[np.intp]) -> Callable[[int], Column]:
    def take(i: int) -> Column:
        column = columns[i]
        if isinstance(column, np.ndarray):
            return column.take(indices)
        if not column.null_count and column.type.id in _NUMBERS:
            return np.asarray(as_numpy(column)).take(indices)  # which Arrow takes longer for
        return column.take(pa.array(indices))

    return take


def _concatenating(batches: Sequence[Batch]) -> Callable[[int], Column]:
    def concatenate(i: int) -> Column:
        parts = [b.columns[i] for b in batches]
        if all(isinstance(p, np.ndarray) for p in parts):
            return np.concatenate(parts)
        dtype = batches[0].schema.field(i).type
        if any(isinstance(p, pa.DictionaryArray) for p in parts):
            # also where a reader gave codes; together, dictionaries can have more entries than before
            values = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
            dtype = pa.dictionary(pa.int32(), values)
        return pa.concat_arrays([as_arrow(p, dtype) for p in parts])

    return concatenate


def concat_batches(batches: Sequence[Batch]) -> Batch:
    """All rows of `batches` (at least one, of one schema, none stamped), in order."""
    if len(batches) == 1:
        return batches[0]
    first = batches[0]
    columns = LazyColumns(len(first.columns), _concatenating(batches))
    times = None
    if first.event_time is not None:
        times = np.concatenate([b.event_time for b in batches if b.event_time is not None])
    changes = None
    if first.changes is not None:
        changes = np.concatenate([b.changes for b in batches if b.changes is not None])
    found = Batch(first.schema, columns, sum(b.num_rows for b in batches), times, changes)
    if first.origin is not None:
        found.origin = together([b.origin for b in batches])
    return found


def schema_of(spec: pa.Schema | Mapping[str, pa.DataType]) -> pa.Schema:
    """A schema from a `pyarrow.Schema` or a mapping of names to types.

    Raises `TypeMismatchError` for what names no Arrow type.
    """
    if isinstance(spec, pa.Schema):
        return spec
    for name, dtype in spec.items():
        if not isinstance(dtype, pa.DataType | str):
            raise TypeMismatchError(
                f"the schema gives column {name!r} no Arrow type",
                expected="a type such as pa.int64(), pa.string() or pa.timestamp('us', 'UTC'), or its name",
                found=shown(dtype),
                remedy=f"import pyarrow as pa, and write {{{name!r}: {_ARROW.get(dtype, 'pa.int64()')}}}",
            )
    return pa.schema(list(spec.items()))


_ARROW: dict[object, str] = {
    int: "pa.int64()",
    float: "pa.float64()",
    str: "pa.string()",
    bool: "pa.bool_()",
    bytes: "pa.binary()",
    datetime: 'pa.timestamp("us", "UTC")',
}
