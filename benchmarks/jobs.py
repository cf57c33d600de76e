"""The streaming jobs of the race: a query, run again and again with enough checkpoints."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from queries import Query
from rounds import timed

from streamlib.checkpoint.history import list_numbers
from streamlib.checkpoint.layout import Layout
from streamlib.connectors import memory, parquet
from streamlib.core.contracts import Chunk, Json, Pause, Replay, Sink, Source, SourceReader
from streamlib.core.disk import LocalDisk

CHECKPOINTS = 5
"""A run with fewer does not count."""
_AIM = 8  # checkpoints in a run as long as the trial: some may take longer than their interval
_TRIES = 4  # runs with half the interval before: then the source has to wait


@dataclass(frozen=True)
class Run:
    """One timed run: a job of its own in a fresh folder."""

    seconds: float
    result: pa.Table
    checkpoints: int


class Streaming:
    """streamlib as a contestant. Trial runs tell how often to take checkpoints."""

    def __init__(self, query: Query, source: Source, sink: str, folder: Path) -> None:
        self.waits = False
        """Whether the source waits for checkpoints at its end: the job would be over before them."""
        self._query = query
        self._source = source
        self._sink = sink
        self._folder = folder
        self._run_once("1h")  # imports, and files that come into the cache
        self._interval = self._longest = int(self._run_once("1h").seconds * 1e6) // _AIM

    def run(self) -> Run:
        """A run with at least `CHECKPOINTS` of them."""
        for _ in range(_TRIES):
            run = self._run_once(self._interval)
            if run.checkpoints >= CHECKPOINTS:
                return run
            self._interval //= 2
        if self.waits:
            raise AssertionError(f"only {run.checkpoints} checkpoints in {run.seconds:.2f} s")
        self.waits, self._interval = True, self._longest
        return self.run()

    def _run_once(self, interval: str | int) -> Run:
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            return self._run_in(folder, interval)
        finally:
            shutil.rmtree(folder)

    def _run_in(self, folder: Path, interval: str | int) -> Run:
        sink, read_result = _sink(self._sink, folder / "out")
        state = str(folder / "state")
        source = WaitingSource(self._source, state) if self.waits else self._source
        flow = self._query.flow(source, sink)
        seconds, job = timed(lambda: flow.run(state=state, checkpoint_interval=interval, progress="none"))
        if job.late_rows:
            raise AssertionError(f"{job.late_rows} late rows: the bids are not as they were made to be")
        return Run(seconds, read_result(), job.checkpoints)


def _sink(kind: str, path: Path) -> tuple[Sink, Callable[[], pa.Table]]:
    if kind == "parquet":
        return parquet.sink(path), lambda: pq.read_table(path)
    sink = memory.sink()
    return sink, sink.table


# --------------------------------------------------------------------------- jobs that are too short


@dataclass(frozen=True)
class WaitingSource:
    """Another source, whose last rows wait until there were enough checkpoints.

    With it a job of any length takes `CHECKPOINTS` of them. Positions must be row numbers.
    """

    source: Source
    state: str

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

    def open(self, partition: str, position: Json | None, event_time: str | None) -> SourceReader:
        return _WaitingReader(self.source.open(partition, position, event_time), self.state)


class _WaitingReader:
    """Holds some chunks back; at the end it cuts them into pieces, of which each waits for a checkpoint."""

    def __init__(self, reader: SourceReader, state: str) -> None:
        self._reader = reader
        self._layout = Layout(state)
        self._held: deque[Chunk] = deque()
        self._ended = False

    def read(self) -> Chunk | Pause:
        while not self._ended:
            found = self._reader.read()
            if isinstance(found, Chunk):
                self._held.append(found)
                if (
                    sum(chunk.rows.num_rows for chunk in self._held)
                    >= CHECKPOINTS + self._held[0].rows.num_rows
                ):
                    return self._held.popleft()
            elif found is Pause.END:
                self._ended = True
                self._held = deque(piece for chunk in self._held for piece in _pieces(chunk))
            else:
                return found
        if not self._held:
            return Pause.END
        if self._checkpoints() < CHECKPOINTS - len(self._held):
            return Pause.NOT_YET
        return self._held.popleft()

    def _checkpoints(self) -> int:
        return list_numbers(LocalDisk(), self._layout)[-1] - 1  # number 1 belongs to the start of the job

    def close(self) -> None:
        self._reader.close()


def _pieces(chunk: Chunk) -> list[Chunk]:
    rows, size = chunk.rows, -(-chunk.rows.num_rows // CHECKPOINTS)
    parts = [rows.slice(start, size) for start in range(0, rows.num_rows, size)]
    before = chunk.next_position - rows.num_rows
    ends = itertools.accumulate((part.num_rows for part in parts), initial=before)
    next(ends)
    return [Chunk(part, end) for part, end in zip(parts, ends, strict=True)]
