"""Ticks: rows that come at a rate, to try flows with and to do something again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from streamlib.connectors.calls import as_call
from streamlib.connectors.numbered import NumberedReader, checked_number, part_of, share
from streamlib.core.contracts import Clock, Json, Replay
from streamlib.core.errors import SourceError, UnknownColumnError, shown
from streamlib.core.span import Instant, instant, micros
from streamlib.core.time import MAX_TIME, SECOND

__all__ = ["RateSource", "source"]

_SCHEMA = pa.schema({"timestamp": pa.timestamp("us", "UTC"), "value": pa.int64()})


@dataclass(frozen=True, repr=False)
class RateSource:
    """Numbered rows at a rate. Made by `source`."""

    rate: float
    rows: int | None
    start: int | None
    parts: int

    @property
    def bounded(self) -> bool:
        return self.rows is not None

    @property
    def replay(self) -> Replay:
        return "replayable"

    def schema(self) -> pa.Schema:
        return _SCHEMA

    def partitions(self) -> Sequence[str]:
        return [str(part) for part in range(self.parts)]

    def row_count(self) -> int:
        return self.rows or 0

    def open(self, partition: str, position: Json | None, event_time: str | None) -> NumberedReader:
        """See `Source.open`. A position is when value 0 was due, and the number of rows given."""
        if event_time is not None and event_time not in _SCHEMA.names:
            raise UnknownColumnError.of(event_time, _SCHEMA.names)
        part = part_of(partition, self.parts)
        start, row = (self.start, 0) if position is None else _checked(position, partition)
        end = None if self.rows is None else share(self.rows, part, self.parts)
        return NumberedReader(_Part(self, part, start, end, event_time == "timestamp"), row, end, partition)

    def __repr__(self) -> str:
        parts = None if self.parts == 1 else self.parts
        return as_call("rate.source", self.rate, rows=self.rows, start=self.start, partitions=parts)


def _checked(position: Json, partition: str) -> tuple[int, int]:
    if isinstance(position, list) and [type(each) for each in position] == [int, int]:
        return position[0], position[1]
    raise SourceError(
        f"partition {partition!r} can't be read from the position in the checkpoint",
        expected="an instant and a row number",
        found=shown(position),
        remedy="start a new job: the checkpoint was written with another kind of source",
    )


class _Part:
    def __init__(
        self, source: RateSource, part: int, start: int | None, end: int | None, floors: bool
    ) -> None:
        self._source = source
        self._part = part
        self._start = start
        self._end = end
        self._floors = floors

    def _times(self, values: np.ndarray) -> np.ndarray:
        return (self._start or 0) + (values * (SECOND / self._source.rate)).astype(np.int64)

    def make(self, start: int, stop: int) -> pa.RecordBatch:
        values = np.arange(start, stop, dtype=np.int64) * self._source.parts + self._part
        times = pa.array(self._times(values)).view(_SCHEMA[0].type)
        return pa.RecordBatch.from_arrays([times, pa.array(values)], schema=_SCHEMA)

    def due(self, clock: Clock) -> int | None:
        """Rows whose timestamp has come."""
        now = clock.now()
        if self._start is None:
            self._start = now
        values = int((now - self._start) * self._source.rate / SECOND) + 1 if now >= self._start else 0
        return share(values, self._part, self._source.parts)

    def position(self, row: int) -> Json:
        return [self._start or 0, row]

    def floor(self, row: int) -> int | None:
        if not self._floors:
            return None
        if row == self._end:
            return MAX_TIME
        return int(self._times(np.array([row * self._source.parts + self._part]))[0])


def source(
    rows_per_second: float = 1, *, rows: int | None = None, start: Instant | None = None, partitions: int = 1
) -> RateSource:
    """Rows that come by the clock: `value` counts from 0, `timestamp` is when the row was due.

    Value n is due n / `rows_per_second` seconds after the start, however busy the job is: what could not be
    taken in time comes as soon as it can, also after a restart, with the timestamps it was due at. A batch
    run takes all rows at once, and begins in 1970 unless it is told.

    Args:
        rows_per_second: of all partitions together; 0.1 is a row every ten seconds.
        rows: how many there are; default: no end.
        start: when value 0 is due, for example `"2024-01-01T00:00Z"`; default: when the job begins. Then a
            job that is stopped before its first checkpoint begins again at another time.
        partitions: rows are dealt out to that many partitions, one by one.

    Raises:
        DefinitionError: a number out of range, or no instant.

    >>> import streamlib as sl
    >>> ticks = sl.read(source(10, rows=3, start="2024-01-01"), name="ticks")
    >>> [(row["value"], row["timestamp"].isoformat()[17:23]) for row in ticks.collect().to_pylist()]
    [(0, '00+00:'), (1, '00.100'), (2, '00.200')]
    """
    checked_number("rate.source", "rows_per_second", rows_per_second, whole=False)
    checked_number("rate.source", "partitions", partitions)
    if rows is not None:
        checked_number("rate.source", "rows", rows)
    first = None if start is None else micros(instant(start))
    return RateSource(rows_per_second, rows, first, partitions)
