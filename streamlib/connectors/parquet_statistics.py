"""What a Parquet footer tells: where row groups begin, and the least event time that follows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.connectors.positions import suffix_minima
from streamlib.core.contracts import LeftOut
from streamlib.core.errors import EventTimeError
from streamlib.core.time import MAX_TIME, to_micros

_LOOKED_AT = 4  # row groups: writers decide alike for all of a file, and a footer can have thousands
_CODE_BYTES = 6  # a value: codes of up to 20 bits, and an even share of the dictionary
_UNITS = {"milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}


class RowGroups:
    """The row groups of one file, and floors of its column `event_time` (None: no floors).

    Those that are not `wanted` need not be read.
    """

    def __init__(self, metadata: Any, event_time: str | None) -> None:
        self.count: int = metadata.num_row_groups
        sizes = [metadata.row_group(group).num_rows for group in range(self.count)]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
        self.rows = int(self._starts[-1])
        least = [None] * self.count if event_time is None else _least_times(metadata, event_time)
        self._floors = suffix_minima(np.array([MAX_TIME if t is None else t for t in least], np.int64))
        # A group without statistics hides what precedes it, not what follows.
        self._known_from = max((group + 1 for group, time in enumerate(least) if time is None), default=0)
        self.wanted = np.ones(self.count, np.bool_)
        self._newest: Sequence[int | None] = [None] * self.count

    def leave_out(self, unwanted: npt.NDArray[np.bool_], newest: Sequence[int | None]) -> None:
        """These groups need not be read; `newest` is the largest event time in each group."""
        self.wanted = ~unwanted
        self._newest = newest

    def runs(self, row: int) -> Iterator[tuple[range, LeftOut | None]]:
        """Groups in a row from the one that holds `row` on: to be read, or with what is left out of them."""
        groups = range(self.holding(row), self.count)
        for wanted, found in groupby(groups, key=lambda group: bool(self.wanted[group])):
            run = list(found)
            first, last = run[0], run[-1] + 1
            rows = self.first_row(last) - max(self.first_row(first), row)
            times = [t for t in self._newest[first:last] if t is not None]
            left_out = None if wanted else LeftOut(rows, max(times, default=None))
            if wanted or rows:
                yield range(first, last), left_out

    def spans(self, groups: range, rows: int) -> Iterator[range]:
        """Neighbouring groups, as few as have at least `rows` rows together; the last may have fewer."""
        start = groups.start
        for stop in range(start + 1, groups.stop + 1):
            if self.first_row(stop) - self.first_row(start) >= rows or stop == groups.stop:
                yield range(start, stop)
                start = stop

    def holding(self, row: int) -> int:
        """The row group that holds row `row`; `count` at the end of the file."""
        return int(np.searchsorted(self._starts, row, side="right")) - 1

    def first_row(self, group: int) -> int:
        """The number of the first row of `group`."""
        return int(self._starts[group])

    def ends_within(self, row: int, rows: int) -> list[int]:
        """Where row groups end inside `rows` rows from `row` on, counted from there, if floors are known."""
        if self._known_from == self.count:
            return []
        inside = self._starts[(self._starts > row) & (self._starts < row + rows)]
        return (inside - row).tolist()

    def floor(self, row: int) -> int | None:
        """The least event time in the row group of `row` and those behind it, None if unknown."""
        group = self.holding(row)
        return int(self._floors[group]) if group >= self._known_from else None


def coded_columns(file: Any) -> list[str]:
    """Text columns that are stored as dictionaries and codes, by what their chunks tell.

    A writer whose dictionary grew too large went on with plain values, which take more room than codes.
    """
    metadata, schema = file.metadata, file.schema_arrow
    groups = [metadata.row_group(i) for i in range(min(metadata.num_row_groups, _LOOKED_AT))]
    names = [metadata.schema.column(i).path for i in range(metadata.num_columns)]
    texts = {field.name for field in schema if field.type in (pa.string(), pa.binary())}
    return [
        name
        for i, name in enumerate(names)
        if name in texts and groups and all(_is_coded(group.column(i)) for group in groups)
    ]


def _is_coded(chunk: Any) -> bool:
    return bool(chunk.has_dictionary_page and chunk.total_uncompressed_size < _CODE_BYTES * chunk.num_values)


def _least_times(metadata: Any, event_time: str) -> list[int | None]:
    """The least event time of every row group: None without statistics, `MAX_TIME` if all are null."""
    paths = [metadata.schema.column(i).path for i in range(metadata.num_columns)]
    column = paths.index(event_time) if event_time in paths else None
    dtype = stored_type(metadata.schema.column(column)) if column is not None else None
    if dtype is None:
        return [None] * metadata.num_row_groups
    return [_least_time(metadata.row_group(group), column, dtype) for group in range(metadata.num_row_groups)]


def _least_time(group: Any, column: Any, dtype: pa.DataType) -> int | None:
    statistics = group.column(column).statistics
    if group.num_rows == 0:
        return MAX_TIME
    if statistics is None:
        return None
    if not statistics.has_min_max:
        all_null = statistics.has_null_count and statistics.null_count == group.num_rows
        return MAX_TIME if all_null else None
    stored = pa.int32() if dtype.bit_width == 32 else pa.int64()
    try:
        return int(to_micros(pa.array([statistics.min_raw], stored).view(dtype), "UTC")[0])
    except EventTimeError:
        return None


def stored_type(column: Any) -> pa.DataType | None:
    """The type of the numbers in the file, which may have another unit than the Arrow column.

    `min_raw` is such a number; `min` would be a datetime, which can't hold nanoseconds.
    """
    if column.physical_type not in {"INT32", "INT64"}:
        return None
    logical = json.loads(column.logical_type.to_json())
    if logical["Type"] == "Timestamp":
        # Whether the clock is UTC or not, the numbers are: a naive event time is taken as UTC.
        return pa.timestamp(_UNITS[logical["timeUnit"]], "UTC")
    if logical["Type"] == "Date":
        return pa.date32()
    if logical["Type"] in {"None", "Int"}:
        return pa.int32() if column.physical_type == "INT32" else pa.int64()
    return None
