"""Iterators and generators as a source."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import TypedDict

import polars as pl
import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import windows
from streamlib.connectors import memory
from streamlib.core.contracts import Pause
from streamlib.core.errors import DefinitionError, SourceError, TypeMismatchError
from streamlib.testing import assert_parity, assert_survives


class Tick(TypedDict):
    at: int
    n: int


def ticks() -> Iterator[Tick]:
    for n in itertools.count():
        yield {"at": n * 100_000, "n": n}


def hundred() -> Iterator[Tick]:
    return itertools.islice(ticks(), 100)


def totals(source) -> sl.Stream:
    read = sl.read(source, name="ticks", event_time="at", watermark=sl.monotone(), max_ahead=None)
    return read.window(windows.tumbling("1s")).aggregate(n=sl.count(), total=sl.sum("n"))


def test_a_generator_that_never_ends_streams_and_is_collected_up_to_a_number_of_rows():
    found = totals(memory.iterate(ticks, Tick)).collect(n=5)
    assert found["total"].to_pylist() == [sum(range(i * 10, i * 10 + 10)) for i in range(5)]


def test_one_that_never_ends_is_refused_where_nothing_says_when_to_stop():
    with pytest.raises(DefinitionError, match="has no end"):
        totals(memory.iterate(ticks, Tick)).collect()


def test_a_function_can_be_called_again_for_every_run_and_in_the_simulator():
    flow = sl.Flow(
        "ticks", totals(memory.iterate(hundred, Tick, bounded=True)).write(memory.sink(), name="out")
    )
    assert flow.guarantee().level == "exactly-once"
    assert assert_parity(flow, seeds=range(3))["out"].num_rows == 10
    assert_survives(flow, seeds=range(2))


def test_a_drained_job_goes_on_after_the_rows_that_had_entered(tmp_path):
    sink = memory.sink()
    calls = []

    def rows() -> Iterator[Tick]:
        calls.append(1)
        for row in hundred():
            if row["n"] == 50 and len(calls) == 1:
                gate.wait()  # the first run stops half way
                return
            yield row

    gate = threading.Event()
    flow = sl.Flow("half", totals(memory.iterate(rows, Tick)).write(sink, name="out"))
    job = flow.start(state=str(tmp_path), progress="none")
    while job.stats().rows < 50:
        threading.Event().wait(0.01)
    gate_opener = threading.Timer(0.05, gate.set)
    gate_opener.start()
    job.drain()
    flow.run(state=str(tmp_path), progress="none")
    assert sorted(sink.table()["total"].to_pylist()) == [sum(range(i * 10, i * 10 + 10)) for i in range(10)]


def test_a_generator_itself_runs_once_and_counts_as_lossy():
    source = memory.iterate(hundred(), Tick, bounded=True)
    flow = sl.Flow("once", sl.read(source, name="ticks").write(memory.sink(), name="out"))
    assert flow.guarantee().level == "at-most-once"
    assert flow.collect()["out"].num_rows == 100
    with pytest.raises(SourceError, match="used up by an earlier run"):
        flow.collect()


def test_frames_and_records_may_alternate():
    def mixed() -> Iterator[object]:
        yield {"n": 1}
        yield pl.DataFrame({"n": [2, 3]})
        yield pa.record_batch({"n": [4]})

    source = memory.iterate(mixed, {"n": pa.int64()}, bounded=True)
    assert sl.read(source, name="n").collect()["n"].to_pylist() == [1, 2, 3, 4]


def test_a_slow_iterator_keeps_nobody_waiting_and_its_rows_are_there_at_once():
    gate = threading.Event()

    def slow() -> Iterator[dict[str, int]]:
        yield {"n": 1}
        gate.wait()
        yield {"n": 2}

    reader = memory.iterate(slow, {"n": pa.int64()}).open("0", None, None)
    found = []
    while not found:
        found += [chunk.rows["n"].to_pylist() for chunk in [reader.read()] if chunk is not Pause.NOT_YET]
    assert found == [[1]]
    assert reader.read() is Pause.NOT_YET
    gate.set()
    while reader.read() is not Pause.END:
        pass
    reader.close()


def test_what_the_generator_raises_comes_through_with_the_item():
    def broken() -> Iterator[dict[str, int]]:
        yield {"n": 1}
        raise ZeroDivisionError("mine")

    for bounded in (True, False):
        with pytest.raises(ZeroDivisionError) as caught:
            sl.read(memory.iterate(broken, {"n": pa.int64()}, bounded=bounded), name="n").collect(n=5)
        assert "made item 1" in "\n".join(caught.value.__notes__)


def test_a_preview_infers_the_columns_and_prints_the_line_to_paste():
    shown = totals(memory.iterate(ticks)).preview(3)
    assert shown.table["n"].to_pylist() == [10, 10, 10]
    assert shown.notes[-1] == 'source \'ticks\' needs schema={"at": pa.int64(), "n": pa.int64()}'
    assert shown.notes[-1] in str(shown)
    assert not any("schema=" in note for note in totals(memory.iterate(ticks, Tick)).preview(3).notes)


def test_a_preview_of_a_one_shot_iterator_without_columns_says_them_without_pretending_to_have_its_rows():
    with pytest.raises(DefinitionError, match=r'schema=\{"at": pa.int64\(\)'):
        sl.read(memory.iterate(hundred()), name="ticks").preview(1)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: memory.iterate(3), DefinitionError, "3 of type int"),
        (lambda: memory.iterate("abc"), DefinitionError, "generator function"),
        (lambda: sl.read(memory.iterate(ticks), name="t").collect(n=1), DefinitionError, r"\.preview\(\)"),
        (
            lambda: sl.read(memory.iterate(lambda: 3, {"n": pa.int64()}), name="t").collect(n=1),
            SourceError,
            "did not return an iterable",
        ),
        (
            lambda: sl.read(memory.iterate([{"n": "x"}], {"n": pa.int64()}), name="t").collect(n=1),
            TypeMismatchError,
            "'x' in row 0",
        ),
    ],
)
def test_what_can_not_be_read_is_refused(make, error, says):
    with pytest.raises(error, match=says):
        make()
