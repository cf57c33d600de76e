"""Which row groups of a Parquet file can hold a row that meets a condition, by their statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streamlib.connectors.parquet_statistics import RowGroups, stored_type
from streamlib.core.contracts import StreamType
from streamlib.core.errors import EventTimeError
from streamlib.core.expressions import Expr, columns
from streamlib.core.expressions.ranges import Ranges, may_hold
from streamlib.core.time import Micros, to_micros

_INTEGERS = {"INT32": pa.int32(), "INT64": pa.int64()}


def prune(
    groups: RowGroups, metadata: Any, schema: pa.Schema, condition: Expr, event_time: str | None
) -> None:
    """Leave out of `groups` those without a row for which `condition` may be true.

    With `event_time` only such in which every row is known to have one: they tell how far time has come.
    """
    if not groups.count:
        return
    chunks = _Chunks(metadata, schema)
    rows = np.array([metadata.row_group(group).num_rows for group in range(groups.count)], np.int64)
    timed = np.ones(groups.count, np.bool_)
    newest: Sequence[int | None] = [None] * groups.count
    times: tuple[Micros, Micros] | None = None
    if event_time is not None:
        first, newest = (_micros(array) for array in chunks.bounds(event_time))
        timed = np.array([None not in pair for pair in zip(first, newest, strict=True)])
        timed &= chunks.nulls(event_time) == 0
        times = np.array([t or 0 for t in first], np.int64), np.array([t or 0 for t in newest], np.int64)
    names = columns(condition)
    bounds_of = {name: chunks.bounds(name) for name in names}
    ranges = Ranges(
        rows,
        {name: bounds[0] for name, bounds in bounds_of.items()},
        {name: bounds[1] for name, bounds in bounds_of.items()},
        {name: chunks.nulls(name) for name in names},
        times,
    )
    stream = StreamType(schema, event_time=event_time is not None)
    groups.leave_out(timed & ~may_hold(condition, stream, ranges), newest)


def _micros(values: pa.Array) -> list[int | None]:
    """Event times in microseconds, None where unknown or beyond what can be one."""
    found: list[int | None] = []
    for i in range(len(values)):
        try:
            found.append(int(to_micros(values.slice(i, 1), "UTC")[0]) if values[i].is_valid else None)
        except EventTimeError:
            found.append(None)
    return found


class _Chunks:
    """The statistics of a file's columns, an entry for each row group."""

    def __init__(self, metadata: Any, schema: pa.Schema) -> None:
        self._metadata = metadata
        self._schema = schema
        paths = [metadata.schema.column(i).path for i in range(metadata.num_columns)]
        self._index = {path: i for i, path in enumerate(paths) if paths.count(path) == 1}

    def _statistics(self, name: str) -> list[Any]:
        groups = range(self._metadata.num_row_groups)
        if name not in self._index:
            return [None for _ in groups]
        return [self._metadata.row_group(group).column(self._index[name]).statistics for group in groups]

    def nulls(self, name: str) -> Any:
        """How many values are null, -1 where unknown."""
        known = [s.null_count if s is not None and s.has_null_count else -1 for s in self._statistics(name)]
        return np.array(known, np.int64)

    def bounds(self, name: str) -> tuple[pa.Array, pa.Array]:
        """The least and the largest value, in the column's type; null where unknown."""
        dtype, found = self._schema.field(name).type, self._statistics(name)
        pairs = [(None, None) if s is None or not s.has_min_max else (s.min_raw, s.max_raw) for s in found]
        column = self._metadata.schema.column(self._index[name]) if name in self._index else None
        least, largest = zip(*pairs, strict=True)
        return _values(least, column, dtype), _values(largest, column, dtype)


def _values(raw: Sequence[Any], column: Any, dtype: pa.DataType) -> pa.Array:
    """What the numbers and bytes of statistics mean; all null where that is not known."""
    try:
        found = None if column is None else _decoded(raw, column, dtype)
    except (pa.ArrowException, UnicodeError, OverflowError, TypeError):
        found = None
    return pa.nulls(len(raw), dtype) if found is None else found


def _decoded(raw: Sequence[Any], column: Any, dtype: pa.DataType) -> pa.Array | None:
    physical = _INTEGERS.get(column.physical_type)
    if pa.types.is_boolean(dtype):
        return pa.array(raw, dtype)
    if pa.types.is_float32(dtype) or pa.types.is_float64(dtype):
        return pa.array([None if value != value else value for value in raw], dtype)  # noqa: PLR0124 - NaN
    if pa.types.is_unsigned_integer(dtype) and physical is not None:
        unsigned = pa.uint32() if physical == pa.int32() else pa.uint64()
        return pa.array(raw, physical).view(unsigned).cast(dtype)
    if pa.types.is_integer(dtype) and physical is not None:
        return pa.array(raw, physical).cast(dtype)
    if pa.types.is_date32(dtype) and physical == pa.int32():
        return pa.array(raw, physical).view(dtype)
    if pa.types.is_timestamp(dtype) and physical == pa.int64():
        stored = stored_type(column)
        if stored is not None and pa.types.is_timestamp(stored):
            ticks = pa.array(raw, physical).view(pa.timestamp(stored.unit))
            return ticks.cast(pa.timestamp(dtype.unit)).view(dtype)
    if pa.types.is_string(dtype) or pa.types.is_large_string(dtype):
        return pa.array([None if value is None else value.decode() for value in raw], dtype)
    if pa.types.is_binary(dtype) or pa.types.is_large_binary(dtype):
        return pa.array(raw, dtype)
    return None
