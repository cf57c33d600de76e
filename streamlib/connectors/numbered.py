"""Rows that are made from their numbers: the same ones whenever asked for, at once or by the clock."""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from streamlib.connectors.positions import beyond_end
from streamlib.core.contracts import Chunk, Clock, Json, Pause
from streamlib.core.errors import DefinitionError, SourceError, did_you_mean, shown
from streamlib.core.where import caller

CHUNK_ROWS = 65_536  # as many as a stream admits at once


class Rows(Protocol):
    """What a partition holds, by the numbers of its rows."""

    def make(self, start: int, stop: int) -> pa.RecordBatch:
        """Rows `start` to `stop`, without `stop`."""
        ...

    def due(self, clock: Clock) -> int | None:
        """The number of the first row whose time has not come; None: all may come."""
        ...

    def position(self, row: int) -> Json:
        """The position before a row."""
        ...

    def floor(self, row: int) -> int | None:
        """The least event time from a row on; None if unknown."""
        ...


class NumberedReader:
    """Makes the rows of one partition in order (`SourceReader`, `TakesClock`)."""

    def __init__(self, rows: Rows, row: int, end: int | None, partition: str) -> None:
        if end is not None and row > end:
            raise beyond_end(partition, row, end)
        self._rows = rows
        self._row = row
        self._end = end
        self._clock: Clock | None = None

    def take_clock(self, clock: Clock) -> None:
        self._clock = clock

    def read(self) -> Chunk | Pause:
        if self._row == self._end:
            return Pause.END
        stop = self._row + CHUNK_ROWS
        due = None if self._clock is None else self._rows.due(self._clock)
        stop = min([stop, *(bound for bound in (self._end, due) if bound is not None)])
        if stop <= self._row:
            return Pause.NOT_YET
        made = self._rows.make(self._row, stop)
        self._row = stop
        return Chunk(made, self._rows.position(stop), self._rows.floor(stop))

    def close(self) -> None: ...


def part_of(partition: str, partitions: int) -> int:
    """The number of a partition. Raises `SourceError` for one that is not there."""
    known = [str(number) for number in range(partitions)]
    if partition in known:
        return int(partition)
    raise SourceError(
        f"no partition {partition!r} among {partitions}",
        expected=f"one of {', '.join(known)}",
        found=repr(partition),
        remedy=did_you_mean(partition, known) or "start a new job: the source had other partitions",
    )


def share(total: int, part: int, partitions: int) -> int:
    """How many of `total` rows, dealt out one by one, a partition gets.

    >>> [share(7, part, 3) for part in range(3)]
    [3, 2, 2]
    """
    return max(0, -(-(total - part) // partitions))


def checked_number(who: str, name: str, value: float, *, whole: bool = True) -> None:
    """Raise `DefinitionError` for what is no number from 1 on, or, not `whole`, above 0."""
    kinds = int if whole else int | float
    if isinstance(value, kinds) and not isinstance(value, bool) and (value >= 1 if whole else value > 0):
        return
    raise DefinitionError(
        f"{name} of {who} can't be that",
        expected="a whole number from 1 on" if whole else "a number above 0",
        found=shown(value),
        remedy=f"leave {name}= out, or give another number",
    ).at(None, caller())
