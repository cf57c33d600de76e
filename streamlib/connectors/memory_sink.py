"""A sink that keeps its rows in memory, for notebooks and tests."""

from __future__ import annotations

import itertools
import os
import weakref

import pyarrow as pa

from streamlib.core.contracts import Delivery, Json, SinkContext
from streamlib.core.errors import NotPicklableError, SinkError

_Prepared = tuple[str, str, str, int]  # job, sink, attempt, number
_Committed = tuple[str, str, int]  # job, sink, number

_numbers = itertools.count(1)
_alive: weakref.WeakValueDictionary[tuple[int, int], MemorySink] = weakref.WeakValueDictionary()


class MemorySink:
    """Rows appear in `table()` when they are committed. Made by `sink`.

    Equality is identity: two sinks with the same settings are two places. A pickle is a reference
    to the same object, readable only in the process that holds it.
    """

    def __init__(self) -> None:
        self._schema: pa.Schema | None = None
        self._prepared: dict[_Prepared, list[pa.RecordBatch]] = {}
        self._committed: dict[_Committed, list[pa.RecordBatch]] = {}
        self._name = (os.getpid(), next(_numbers))
        _alive[self._name] = self

    @property
    def delivery(self) -> Delivery:
        return "staged"

    def open(self, context: SinkContext) -> MemoryWriter:
        self._schema = context.schema
        return MemoryWriter(self, context)

    def table(self) -> pa.Table:
        """All committed rows, in the order of their commits; no columns before the first `open`."""
        batches = [rows for commit in list(self._committed.values()) for rows in commit]
        if self._schema is None:
            return pa.table({})
        return pa.Table.from_batches(batches, schema=self._schema)

    def clear(self) -> None:
        """Forget the rows. What was committed stays committed: a repeated commit adds nothing."""
        for number in list(self._committed):
            self._committed[number] = []

    def prepare(self, key: _Prepared, rows: list[pa.RecordBatch]) -> None:
        """Hold `rows` until they are committed, maybe by a later attempt."""
        self._prepared[key] = rows

    def commit(self, key: _Prepared) -> None:
        """Show the rows prepared under `key`, once."""
        job, name, _, number = key
        rows = self._prepared.pop(key, None)
        if (job, name, number) in self._committed:
            return
        if rows is None:
            raise SinkError(
                f"the rows of checkpoint {number} are not in memory",
                expected="rows that this process prepared",
                found="none: memory does not outlive its process",
                remedy="start a new job, or write to parquet.sink, which survives a crash",
            )
        self._committed[job, name, number] = rows

    def last_committed(self, job: str, name: str) -> int:
        """The highest number committed for the job and sink, 0 if none."""
        return max((number for j, n, number in self._committed if (j, n) == (job, name)), default=0)

    def __repr__(self) -> str:
        return f"<memory.sink {self._name[1]}>"  # rows come and go; fingerprints of flows must not

    def __reduce__(self) -> tuple[object, ...]:
        return (_find, self._name)


class MemoryWriter:
    """Writes for one attempt; the rows live in the sink, as files would on a disk."""

    def __init__(self, sink: MemorySink, context: SinkContext) -> None:
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


def _find(process: int, number: int) -> MemorySink:
    found = _alive.get((process, number)) if process == os.getpid() else None
    if found is None:
        raise NotPicklableError(
            "a memory sink can't be taken to another process",
            expected=f"process {process}, which holds its rows, with the sink still in use",
            found=f"process {os.getpid()}",
            remedy="run with threads, or write to parquet.sink",
        )
    return found
