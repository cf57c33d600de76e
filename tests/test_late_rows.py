"""Rows that come too late for some of their windows: judged where they stand, however batches lie."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

import streamlib as sl
from streamlib import windows
from streamlib.connectors import memory
from streamlib.core.contracts import Chunk
from streamlib.runtime.crew import InlineCrew
from streamlib.runtime.parallel import ParallelEngine
from streamlib.runtime.pipeline import Pipeline
from streamlib.testing.reference import Expected, Row, reference
from streamlib.testing.sources import scripted
from tests.flows import late_rows, missed_rows, pane_rows, table_rows

KEYS: dict[str, Any] = {
    "near": (pa.int64(), lambda key: key),  # which cells can stand for
    "apart": (pa.int64(), lambda key: key * 10**12),
    "null": (pa.int64(), lambda key: key or None),
    "text": (pa.string(), lambda key: f"key {key}"),
    "codes": (pa.string(), lambda key: f"key {key}"),
}
ROWS = st.lists(st.builds(Row, st.integers(0, 80), st.integers(0, 3), st.integers(-9, 9)), max_size=60)
AGGREGATES = {
    "n": sl.count(),
    "total": sl.sum("value"),
    "low": sl.min("value"),
    "high": sl.max("value"),
    "mean": sl.mean("value"),
}


class Job:
    """A pipeline whose rows enter a few at a time, with a restart on other workers where it is told to."""

    def __init__(self, stream: sl.Stream, partitions: dict[str, list[Row]], codes: bool) -> None:
        sinks = {name: memory.sink() for name in ("out", "late", "missed")}
        self._bound = sl.Flow("f", *(stream.output(n).write(s, name=n) for n, s in sinks.items())).bind()
        self._names = list(partitions)
        self._codes = codes
        self._rest = {name: list(rows) for name, rows in partitions.items()}
        self._types = {name: self._bound.writes()[name][0].input_types[0].schema for name in sinks}
        self._written: dict[str, list[pa.RecordBatch]] = {name: [] for name in sinks}
        self.batches = 0
        self._start(1)

    def _start(self, workers: int) -> None:
        engine = ParallelEngine(self._bound, InlineCrew(self._bound, workers)) if workers > 1 else None
        self.pipe = Pipeline(self._bound, {"rows": self._names}, "streaming", 0.0, engine)

    def restart(self, workers: int) -> None:
        """What the next `Job` would find in a checkpoint; rows that were read and not admitted come again."""
        captured = self.pipe.capture()
        waiting = {n: i._waiting for n, i in self.pipe.sources["rows"].intakes.items()}
        ended = {n: i._read_all for n, i in self.pipe.sources["rows"].intakes.items()}
        self._take()
        self._start(workers)
        self.pipe.restore(captured, 0.0)
        for name, intake in self.pipe.sources["rows"].intakes.items():
            intake._waiting, intake._skip, intake._read_all = waiting[name], 0, ended[name]

    def offer(self, count: int) -> None:
        """The next rows of every partition."""
        for name, rest in self._rest.items():
            chunk, rest[:] = rest[:count], rest[count:]
            if chunk:
                self.pipe.offer("rows", name, Chunk(self._batch(chunk), 0))
        self._steps()

    def end(self) -> None:
        self.offer(1000)
        for name in self._names:
            self.pipe.end("rows", name, 0.0)
        self._steps()
        self._take()

    def _batch(self, rows: list[Row]) -> pa.RecordBatch:
        columns = [pa.array(c, f.type) for c, f in zip(zip(*rows, strict=True), self._schema, strict=True)]
        if self._codes:
            columns[1] = columns[1].dictionary_encode()
        return pa.record_batch(columns, names=self._schema.names)

    @property
    def _schema(self) -> pa.Schema:
        return self._types["late"]

    def _steps(self) -> None:
        while self.pipe.step(1000, 0.0, 0):
            self.batches += 1

    def _take(self) -> None:
        self.pipe.settle()
        for name, batch in self.pipe.take_written():
            if batch.num_rows:
                self._written[name].append(batch.to_arrow())

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        return {
            name: table_rows(pa.Table.from_batches(batches, self._types[name]))
            for name, batches in self._written.items()
        }


def windowed(
    kind: str, partitions: list[str], bounded: bool, delay: int, window: Any, final: int
) -> sl.Stream:
    schema = pa.schema([("at", pa.int64()), ("key", KEYS[kind][0]), ("value", pa.int64())])
    source = scripted({p: [] for p in partitions}, schema, unbounded=not bounded)
    stream = sl.read(
        source, name="rows", event_time="at", watermark=sl.bounded_disorder(delay), max_ahead=None
    )
    over = stream.key_by("key").window(window, allowed_lateness=final)
    return (over.final_only() if final else over).aggregate(**AGGREGATES)


def expected_tables(expected: Expected) -> dict[str, list[tuple[Any, ...]]]:
    return {"out": pane_rows(expected), "late": late_rows(expected), "missed": missed_rows(expected)}


@settings(max_examples=150)
@given(data=st.data())
def test_late_rows_miss_the_windows_that_their_own_partition_says_through_restarts_on_any_workers(data):
    kind = data.draw(st.sampled_from(list(KEYS)))
    own_key = KEYS[kind][1]
    rows = data.draw(st.lists(ROWS, min_size=1, max_size=3))
    partitions = {f"p{i}": [r._replace(key=own_key(r.key)) for r in found] for i, found in enumerate(rows)}
    bounded = len(rows) > 1 or data.draw(st.booleans())
    size, every = data.draw(st.sampled_from([(10, 5), (12, 4), (30, 2), (9, 6), (10, 10), (5, 7)]))
    delay, final = data.draw(st.integers(0, 9)), data.draw(st.sampled_from([0, 0, 7]))
    window = windows.sliding(size, every=every)
    job = Job(windowed(kind, list(partitions), bounded, delay, window, final), partitions, kind == "codes")
    for count, workers in data.draw(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3)), max_size=6)):
        job.offer(count)
        if workers:
            job.restart(workers)
    job.end()
    expected = reference(partitions, size=size, slide=every, delay=delay, lateness=final)
    assert job.tables() == expected_tables(expected)
    assert job.pipe.engine.late_rows == len(expected.late)
