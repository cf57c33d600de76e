"""A source of one's own: another source, slowed down to a pace.

A source is a frozen description; `open` makes the reader of one partition. This one wraps any source
that knows positions, and keeps its promises: `open` with a position reads exactly what follows it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from streamlib.connectors import Chunk, Pause, Source, SourceReader
from streamlib.core.contracts import Replay


@dataclass(frozen=True)
class Paced:
    """The rows of `source`, each when it is due: `speed` times as fast as the instants in column `by`.

    The instants are microseconds: int64, or timestamps of that unit.
    """

    source: Source
    by: str
    speed: float

    @property
    def bounded(self) -> bool:
        return self.source.bounded

    @property
    def replay(self) -> Replay:
        return self.source.replay

    def schema(self) -> pa.Schema:
        return self.source.schema()

    def partitions(self) -> Sequence[str]:
        return self.source.partitions()

    def open(self, partition: str, position: Any, event_time: str | None) -> PacedReader:
        """A position is that of a chunk of the wrapped source, and the rows of it that were given."""
        start, given = position or (None, 0)
        return PacedReader(self.source.open(partition, start, event_time), start, given, self.by, self.speed)


class PacedReader:
    """Gives the rows of a chunk piece by piece, as they become due."""

    def __init__(self, reader: SourceReader, start: Any, given: int, by: str, speed: float) -> None:
        self._reader = reader
        self._start = start
        self._given = given
        self._by = by
        self._speed = speed
        self._chunk: Chunk | None = None
        self._due: np.ndarray | None = None
        self._first: float | None = None
        self._began = 0.0

    def read(self) -> Chunk | Pause:
        """What is due by now; the clock starts at the first call."""
        if self._chunk is None:
            pause = self._next_chunk()
            if pause is not None:
                return pause
        chunk, due = self._chunk, self._due
        assert chunk is not None
        assert due is not None
        count = int(np.searchsorted(due, time.monotonic() - self._began, side="right"))
        if count <= self._given:
            return Pause.NOT_YET
        rows = chunk.rows.slice(self._given, count - self._given)
        if count < chunk.rows.num_rows:
            self._given = count
            return Chunk(rows, [self._start, count])
        self._start, self._given, self._chunk = chunk.next_position, 0, None
        return Chunk(rows, [self._start, 0], chunk.floor)

    def _next_chunk(self) -> Pause | None:
        """Fetch the chunk that holds the next row; a pause if there is none now."""
        while True:
            found = self._reader.read()
            if not isinstance(found, Chunk):
                return found
            if self._given < found.rows.num_rows:
                break
            self._start, self._given = found.next_position, self._given - found.rows.num_rows
        arrived = found.rows.column(self._by).cast(pa.int64()).to_numpy() / 1e6
        if self._first is None:
            self._first, self._began = arrived[self._given], time.monotonic()
        in_order = np.maximum.accumulate(arrived[self._given :])  # no row overtakes the one before it
        due = np.concatenate([np.zeros(self._given), in_order - self._first])
        self._chunk, self._due = found, due / self._speed
        return None

    def close(self) -> None:
        self._reader.close()
