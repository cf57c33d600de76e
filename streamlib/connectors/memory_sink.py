"""A sink that keeps its rows in memory, for notebooks and tests."""

from __future__ import annotations

import itertools
import os
import weakref
from typing import ClassVar

import pyarrow as pa

from streamlib.core.contracts import Delivery, Json, SinkContext
from streamlib.core.errors import NotPicklableError, SinkError

_Prepared = tuple[str, str, str, int]  # job, sink, attempt, number

_numbers = itertools.count(1)
_alive: weakref.WeakValueDictionary[tuple[int, int], InMemory] = weakref.WeakValueDictionary()


class InMemory:
    """What sinks in memory share: prepared rows are held, and shown when their checkpoint commits.

    Equality is identity: two sinks with the same settings are two places. A pickle is a reference
    to the same object, readable only in the process that holds it.
    """

    kind: ClassVar[str]

    def __init__(self) -> None:
        self._prepared: dict[_Prepared, list[pa.RecordBatch]] = {}
        self._last: dict[tuple[str, str], int] = {}  # the last number committed, by job and sink
        self._name = (os.getpid(), next(_numbers))
        _alive[self._name] = self

    @property
    def delivery(self) -> Delivery:
        return "staged"

    def show(self, rows: list[pa.RecordBatch]) -> None:
        """Show readers the rows of one commit."""
        raise NotImplementedError

    def prepare(self, key: _Prepared, rows: list[pa.RecordBatch]) -> None:
        """Hold `rows` until they are committed, maybe by a later attempt."""
        self._prepared[key] = rows

    def commit(self, key: _Prepared) -> None:
        """Show the rows prepared under `key`, once."""
        job, name, _, number = key
        rows = self._prepared.pop(key, None)
        if number <= self.last_committed(job, name):
            return
        if rows is None:
            raise SinkError(
                f"the rows of checkpoint {number} are not in memory",
                expected="rows that this process prepared",
                found="none: memory does not outlive its process",
                remedy="start a new job, or write to parquet.sink, which survives a crash",
            )
        self.show(rows)
        self._last[job, name] = number

    def last_committed(self, job: str, name: str) -> int:
        """The highest number committed for the job and sink, 0 if none."""
        return self._last.get((job, name), 0)

    def __repr__(self) -> str:
        return f"<memory.{self.kind} {self._name[1]}>"  # rows come and go; fingerprints must not

    def __reduce__(self) -> tuple[object, ...]:
        return (_find, self._name)


class MemorySink(InMemory):
    """Rows appear in `table()` when they are committed. Made by `sink`."""

    kind = "sink"

    def __init__(self) -> None:
        super().__init__()
        self._schema: pa.Schema | None = None
        self._rows: list[pa.RecordBatch] = []
        self._forgotten = 0

    def open(self, context: SinkContext) -> MemoryWriter:
        self._schema = context.schema
        return MemoryWriter(self, context)

    def table(self) -> pa.Table:
        """All committed rows, in the order of their commits; no columns before the first `open`."""
        if self._schema is None:
            return pa.table({})
        return pa.Table.from_batches(list(self._rows), schema=self._schema)

    def show(self, rows: list[pa.RecordBatch]) -> None:
        """Add the rows of a commit."""
        self._rows += rows

    def commits(self) -> list[tuple[int, pa.RecordBatch]]:
        """The committed batches, each with its number since the sink was made."""
        return list(enumerate(self._rows, self._forgotten))

    def clear(self) -> None:
        """Forget the rows. What was committed stays committed: a repeated commit adds nothing."""
        self._forgotten += len(self._rows)
        self._rows = []


class MemoryWriter:
    """Writes for one attempt; the rows live in the sink, as files would on a disk."""

    def __init__(self, sink: InMemory, context: SinkContext) -> None:
        self._sink = sink
        self._context = context
        self._rows: list[pa.RecordBatch] = []

    def write(self, rows: pa.RecordBatch) -> None:
        if rows.num_rows:
            self._rows.append(rows)

    def prepare(self, number: int) -> Json:
        if not self._rows:
            return None
        self._sink.prepare(self._key(self._context.attempt, number), self._rows)
        pending = {"attempt": self._context.attempt, "rows": sum(rows.num_rows for rows in self._rows)}
        self._rows = []
        return pending

    def commit(self, number: int, pending: Json) -> None:
        if pending is not None:
            self._sink.commit(self._key(pending["attempt"], number))

    def last_committed(self) -> int:
        return self._sink.last_committed(self._context.job, self._context.sink)

    def close(self) -> None:
        self._rows = []

    def _key(self, attempt: str, number: int) -> _Prepared:
        return self._context.job, self._context.sink, attempt, number


def sink() -> MemorySink:
    """A staged sink in memory: `table()` gives the committed rows, `clear()` forgets them.

    It holds every row until it is cleared, and its rows end with the process.

    >>> sink().table().num_rows
    0
    """
    return MemorySink()


def _find(process: int, number: int) -> InMemory:
    found = _alive.get((process, number)) if process == os.getpid() else None
    if found is None:
        raise NotPicklableError(
            "a memory sink can't be taken to another process",
            expected=f"process {process}, which holds its rows, with the sink still in use",
            found=f"process {os.getpid()}",
            remedy="run with threads, or write to parquet.sink",
        )
    return found
