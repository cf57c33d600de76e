"""Streaming, batch and a naive reference agree: for any rows, any split into batches, any window."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import windows
from streamlib.connectors import memory
from streamlib.testing.reference import Row, reference
from streamlib.testing.simulator import live
from tests.flows import SECOND, Case, late_rows, missed_rows, pane_rows, table_rows

KEYS = st.sampled_from(["a", "b", None])
VALUES = st.one_of(st.none(), st.integers(-1000, 1000))
TIMES = st.integers(-60, 60).map(lambda s: s * SECOND)
ROWS = st.lists(st.builds(Row, TIMES, KEYS, VALUES), max_size=60)
PARTITIONS = st.lists(ROWS, min_size=1, max_size=3)
SCHEMA = pa.schema([("at", pa.int64()), ("key", pa.string()), ("value", pa.int64())])


def tables(partitions: dict[str, list[Row]]) -> dict[str, pa.Table]:
    return {
        name: pa.table(list(zip(*rows, strict=True)) if rows else [[], [], []], schema=SCHEMA)
        for name, rows in partitions.items()
    }


def streamed(stream: sl.Stream, tmp_path, chunks: int) -> dict[str, pa.Table]:
    """Run the panes, late and missed outputs of a stream as a job; what was committed."""
    sinks = {name: memory.sink() for name in ("out", "late", "missed")}
    flow = sl.Flow("parity", *(stream.output(n).write(sink, name=n) for n, sink in sinks.items()))
    flow.run(state=str(tmp_path / f"state-{chunks}"), progress="none")
    return {name: sink.table() for name, sink in sinks.items()}


@given(
    rows=PARTITIONS,
    chunk=st.integers(1, 50),
    size=st.integers(1, 20),
    every=st.integers(1, 25),
    offset=st.integers(0, 30),
    delay=st.integers(0, 10),
)
def test_stream_batch_and_reference_agree(tmp_path_factory, rows, chunk, size, every, offset, delay):
    partitions = {f"p{i}": found for i, found in enumerate(rows)}
    every = min(every, 3 * size)
    spec = {"size": size * SECOND, "slide": every * SECOND, "offset": offset % every * SECOND}
    stream = (
        sl.read(
            memory.source(tables(partitions), chunk_rows=chunk),
            name="rows",
            event_time="at",
            watermark=sl.bounded_disorder(delay * SECOND),
            max_ahead=None,
        )
        .key_by("key")
        .window(windows.sliding(spec["size"], every=spec["slide"], offset=spec["offset"]))
        .aggregate(
            n=sl.count(),
            total=sl.sum("value"),
            low=sl.min("value"),
            high=sl.max("value"),
            mean=sl.mean("value"),
        )
    )
    late = reference(partitions, **spec, delay=delay * SECOND)
    found = streamed(stream, tmp_path_factory.mktemp("parity"), chunk)
    assert table_rows(found["out"]) == pane_rows(late)
    assert table_rows(found["late"]) == late_rows(late)
    assert table_rows(found["missed"]) == missed_rows(late)
    assert table_rows(stream.collect()) == pane_rows(reference(partitions, **spec, delay=None))


@pytest.mark.parametrize("seed", range(40))
def test_a_correction_by_the_missed_rows_gives_the_batch(seed):
    """Streaming output and what missed its windows, put together, are the batch result."""
    case = Case(seed)
    found = live(case.flow, case.schemas, seed, crashes=0).tables
    counts = {(k, s): n for k, s, _, n, *_ in table_rows(found["/out/panes"])}
    for _, key, _, start, _ in table_rows(found["/out/missed"]):
        counts[key, start] = counts.get((key, start), 0) + 1
    batch = pane_rows(case.expected(batch=True))
    assert counts == {(k, s): n for k, s, _, n, *_ in batch}
    assert table_rows(case.flow(0).collect()["panes"]) == batch


@dataclass(frozen=True)
class Endless:
    """A source that doesn't say that it ends: nothing waits for its slower partitions."""

    rows: memory.MemorySource
    bounded: bool = False
    replay: str = "replayable"
    immediate: bool = True

    def schema(self):
        return self.rows.schema()

    def partitions(self):
        return self.rows.partitions()

    def open(self, partition, position, event_time):
        return self.rows.open(partition, position, event_time)


def windowed(partitions: dict[str, list[Row]], chunk: int) -> sl.Stream:
    source = Endless(memory.source(tables(partitions), chunk_rows=chunk))
    stream = sl.read(
        source, name="rows", event_time="at", watermark=sl.bounded_disorder("2s"), max_ahead=None
    )
    return stream.key_by("key").window(windows.sliding("6s", every="4s")).aggregate(n=sl.count())


def counted(expected) -> list[tuple]:
    return sorted(((p.key, p.start, p.end, len(rows)) for p, rows in expected.panes.items()), key=repr)


@given(rows=ROWS, chunk=st.integers(1, 60))
def test_one_unbounded_partition_decides_lateness_alike_for_any_batching(tmp_path_factory, rows, chunk):
    found = streamed(windowed({"p": rows}, chunk), tmp_path_factory.mktemp("split"), chunk)
    expected = reference({"p": rows}, size=6 * SECOND, slide=4 * SECOND, delay=2 * SECOND)
    assert table_rows(found["out"]) == counted(expected)
    assert table_rows(found["late"]) == late_rows(expected)
    assert table_rows(found["missed"]) == missed_rows(expected)


@given(rows=PARTITIONS, chunk=st.integers(1, 60))
def test_rows_within_the_bound_are_never_late_however_partitions_interleave(tmp_path_factory, rows, chunk):
    partitions = {}
    for i, found in enumerate(rows):
        newest, kept = -(10**18), []
        for row in found:
            if row.time >= newest - 2 * SECOND:
                kept.append(row)
                newest = max(newest, row.time)
        partitions[f"p{i}"] = kept
    found = streamed(windowed(partitions, chunk), tmp_path_factory.mktemp("bound"), chunk)
    expected = reference(partitions, size=6 * SECOND, slide=4 * SECOND, delay=None)
    assert table_rows(found["out"]) == counted(expected)
    assert not found["missed"].num_rows
