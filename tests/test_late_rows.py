"""Rows that come too late for some of their windows: judged where they stand, however batches lie."""

from __future__ import annotations

from functools import partial
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
from tests.flows import late_rows, missed_rows, pane_rows

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

    def __init__(
        self, panes: sl.Stream, updating: bool, partitions: dict[str, list[Row]], codes: bool
    ) -> None:
        out = panes.to_changelog() if updating else panes
        streams = {"out": out, "late": panes.late(), "missed": panes.missed()}
        sinks = {name: memory.sink() for name in streams}
        self._bound = sl.Flow("f", *(s.write(sinks[n], name=n) for n, s in streams.items())).bind()
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

    def rows(self, name: str) -> list[tuple[Any, ...]]:
        """What was written, in order."""
        table = pa.Table.from_batches(self._written[name], self._types[name])
        plain = [c.cast(pa.int64()) if pa.types.is_timestamp(c.type) else c for c in table.columns]
        return list(zip(*(column.to_pylist() for column in plain), strict=True))


@st.composite
def jobs(draw: st.DrawFn, updating: bool) -> tuple[Job, Any]:
    """A job that ran to its end through restarts, and what the reference says for a lateness."""
    kind = draw(st.sampled_from(list(KEYS)))
    dtype, own_key = KEYS[kind]
    rows = draw(st.lists(ROWS, min_size=1, max_size=3))
    partitions = {f"p{i}": [r._replace(key=own_key(r.key)) for r in found] for i, found in enumerate(rows)}
    bounded = len(rows) > 1 or draw(st.booleans())
    size, every = draw(st.sampled_from([(10, 5), (12, 4), (30, 2), (9, 6), (10, 10), (5, 7)]))
    delay = draw(st.integers(0, 9))
    lateness = draw(st.sampled_from([1, 3, 7, 20] if updating else [0, 0, 7]))
    schema = pa.schema([("at", pa.int64()), ("key", dtype), ("value", pa.int64())])
    source = scripted({p: [] for p in partitions}, schema, unbounded=not bounded)
    stream = sl.read(
        source, name="rows", event_time="at", watermark=sl.bounded_disorder(delay), max_ahead=None
    )
    over = stream.key_by("key").window(windows.sliding(size, every=every), allowed_lateness=lateness)
    over = over if updating or not lateness else over.final_only()
    job = Job(over.aggregate(**AGGREGATES), updating, partitions, kind == "codes")
    for count, workers in draw(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3)), max_size=6)):
        job.offer(count)
        if workers:
            job.restart(workers)
    job.end()
    expected = partial(reference, partitions, size=size, slide=every, delay=delay)
    return job, (expected(lateness=lateness), expected(lateness=0))


def check_late(job: Job, expected: Expected) -> None:
    assert sorted(job.rows("late"), key=repr) == late_rows(expected)
    assert sorted(job.rows("missed"), key=repr) == missed_rows(expected)
    assert job.pipe.engine.late_rows == len(expected.late)


@settings(max_examples=100)
@given(run=jobs(updating=False))
def test_a_row_misses_the_windows_that_its_own_partition_says_through_restarts_on_any_workers(run):
    job, (expected, _) = run
    assert sorted(job.rows("out"), key=repr) == pane_rows(expected)
    check_late(job, expected)


@settings(max_examples=150)
@given(run=jobs(updating=True))
def test_a_window_shows_what_came_in_time_first_and_late_rows_as_updates(run):
    job, (expected, in_time) = run
    shown: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for *row, kind in job.rows("out"):
        shown.setdefault(tuple(row[:3]), []).append((kind, tuple(row)))
    first = {row[:3]: row for row in pane_rows(in_time)}
    for pane, changes in shown.items():
        kinds = [kind for kind, _ in changes]
        assert kinds == ["+I", *["-U", "+U"] * (len(kinds) // 2)]
        assert all(old == new for (_, new), (_, old) in zip(changes[::2], changes[1::2], strict=False))
        assert changes[0][1] == first.get(pane, changes[0][1])
    assert first.keys() <= shown.keys()
    assert sorted((changes[-1][1] for changes in shown.values()), key=repr) == pane_rows(expected)
    check_late(job, expected)
