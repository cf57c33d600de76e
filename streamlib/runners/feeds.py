"""Feeds: partitions being read, in the background where reading takes time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import Protocol

from streamlib.core.contracts import Chunk, Clock, Pause, SourceReader
from streamlib.core.time import SECOND
from streamlib.runners.pool import DaemonPool

READ_AHEAD_ROWS = 400_000  # a partition: three chunks of the file readers, so that decoding never pauses
READER_THREADS = 2  # decoding releases the interpreter lock; more threads than cores gain nothing
READ_TIMEOUT = 5.0  # seconds that closing waits for the read under way: far longer than any that works


class Feed(Protocol):
    """One partition's chunks, as they become available."""

    def poll(self) -> Chunk | Pause:
        """The next chunk if there is one now. Never waits for I/O (inline feeds do)."""
        ...

    def close(self) -> None:
        """Stop reading and release the reader."""
        ...


class Paced:
    """A reader that is left alone for a while when it had nothing: looking is what costs there."""

    def __init__(self, reader: SourceReader, every: int, clock: Clock) -> None:
        self._reader = reader
        self._every = every / SECOND
        self._clock = clock
        self._due = 0.0

    def read(self) -> Chunk | Pause:
        """Read, unless it is too early to look again."""
        if self._due and self._clock.monotonic() < self._due:
            return Pause.NOT_YET
        found = self._reader.read()
        self._due = self._clock.monotonic() + self._every if found is Pause.NOT_YET else 0.0
        return found

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()


class InlineFeed:
    """Reads when it is asked: for sources in memory, and for the simulator."""

    def __init__(self, reader: SourceReader) -> None:
        self._reader = reader

    def poll(self) -> Chunk | Pause:
        """Read."""
        return self._reader.read()

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()


class ThreadFeed:
    """Reads ahead on a pool, up to a bound in rows."""

    def __init__(self, reader: SourceReader, pool: DaemonPool, wake: Callable[[], None]) -> None:
        self._reader = reader
        self._pool = pool
        self._wake = wake
        self._ready: deque[Chunk] = deque()
        self._rows = 0
        self._ended = False
        self._stopped = False
        self._lock = threading.Lock()
        self._reading: Future[None] | None = None

    def poll(self) -> Chunk | Pause:
        """The next chunk that was read, and see to it that reading goes on. Raises what reading raised."""
        if self._reading is not None and self._reading.done():
            reading, self._reading = self._reading, None
            if not self._ready:
                reading.result()  # an error surfaces after the chunks before it
            elif reading.exception() is not None:
                self._reading = reading
        if self._reading is None and not self._ended and self._rows < READ_AHEAD_ROWS:
            self._reading = self._pool.submit(self._fill)
        return self._next()

    def _next(self) -> Chunk | Pause:
        with self._lock:
            if self._ready:
                chunk = self._ready.popleft()
                self._rows -= _records(chunk)
                return chunk
            return Pause.END if self._ended else Pause.NOT_YET

    def _fill(self) -> None:
        while self._rows < READ_AHEAD_ROWS and not self._stopped:
            found = self._reader.read()
            if found is Pause.NOT_YET:
                return
            with self._lock:
                if isinstance(found, Chunk):
                    self._ready.append(found)
                    self._rows += _records(found)
                else:
                    self._ended = True
            self._wake()
            if self._ended:
                return

    def close(self) -> None:
        """Let the read that is under way finish, then close the reader, unless it hangs."""
        self._stopped = True
        if self._reading is not None and not self._reading.cancel():
            wait_for([self._reading], READ_TIMEOUT)
            if not self._reading.done():
                return  # nothing may be called beside it
        self._reader.close()


def _records(chunk: Chunk) -> int:
    return chunk.rows.num_rows + len(chunk.broken)
