"""Watermarks of partitions and sources, and admission: which rows enter before the watermark moves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col, windows
from streamlib.connectors import memory
from streamlib.core.batch import TimeBlocks
from streamlib.core.contracts import Chunk, Operator, OperatorSpec
from streamlib.core.errors import DefinitionError, EventTimeError
from streamlib.core.time import MAX_TIME, MIN_TIME, to_micros
from streamlib.core.watermarks import LAST_TIME, SourceWatermarks, WatermarkStrategy
from streamlib.runtime.admission import FloorWatermarks
from streamlib.runtime.pipeline import Pipeline
from streamlib.testing.sources import rows, scripted
from tests.flows import Untouched

TIMES = st.integers(-50, 50)
DELAYS = st.integers(0, 20)


def watermarks(
    *partitions: str, delay: int = 0, idle_after: int | None = None, when_quiet: Any = "hold"
) -> SourceWatermarks:
    return SourceWatermarks(WatermarkStrategy(delay, idle_after, when_quiet), partitions, 0.0)


# --------------------------------------------------------------------------- strategies


def test_bounded_disorder_and_monotone_say_what_they_are():
    assert sl.bounded_disorder("4s") == WatermarkStrategy(4_000_000)
    assert sl.monotone() == sl.bounded_disorder(0)
    assert sl.bounded_disorder("4s", idle_after="1min", when_quiet="advance").describe() == (
        "bounded disorder 4s, idle after 1min, advance when quiet"
    )


@pytest.mark.parametrize("delay", [-1, "4 parsecs", "", None, True, 1.5])
def test_a_bound_that_is_not_a_duration_is_refused(delay):
    with pytest.raises(DefinitionError, match="not a duration"):
        sl.bounded_disorder(delay)


def test_an_unknown_behaviour_for_quiet_times_is_refused():
    with pytest.raises(DefinitionError, match="'hold' or 'advance'"):
        sl.monotone(when_quiet="sleep")


# --------------------------------------------------------------------------- partitions and their minimum


def test_the_watermark_is_the_largest_event_time_less_the_bound():
    marks = watermarks("p", delay=4)
    marks.observe("p", 10, 0.0)
    assert marks.combine(0.0) == 6


def test_the_watermark_never_goes_back():
    marks = watermarks("p")
    marks.observe("p", 10, 0.0)
    marks.observe("p", 3, 0.0)
    assert marks.combine(0.0) == 10


def test_the_source_is_as_far_as_its_furthest_behind_partition():
    marks = watermarks("a", "b")
    marks.observe("a", 10, 0.0)
    assert marks.combine(0.0) == MIN_TIME  # nothing is known of b
    marks.observe("b", 7, 0.0)
    assert marks.combine(0.0) == 7


def test_a_finished_partition_leaves_and_all_finished_are_the_end_of_time():
    marks = watermarks("a", "b")
    marks.observe("a", 10, 0.0)
    marks.observe("b", 7, 0.0)
    marks.finish("b")
    assert marks.combine(0.0) == 10
    marks.finish("a")
    assert marks.combine(0.0) == MAX_TIME


def test_rows_at_the_end_of_time_do_not_end_the_input():
    marks = watermarks("p")
    marks.observe("p", MAX_TIME, 0.0)
    assert marks.combine(0.0) == LAST_TIME < MAX_TIME


def test_the_bound_saturates_before_all_time():
    marks = watermarks("p", delay=10)
    marks.observe("p", MIN_TIME + 3, 0.0)
    assert marks.combine(0.0) == MIN_TIME


def test_a_partition_is_idle_after_it_was_silent_for_so_long():
    marks = watermarks("a", "b", idle_after=2_000_000)
    marks.observe("a", 10, 0.0)
    marks.observe("b", 3, 0.0)
    marks.observe("a", 20, 1.5)
    marks.tick(1.99)
    assert marks.combine(1.99) == 3
    marks.tick(2.0)
    assert marks.combine(2.0) == 20


def test_a_partition_that_never_spoke_becomes_idle_as_well():
    marks = watermarks("a", "b", idle_after=1_000_000)
    marks.observe("a", 10, 0.9)
    marks.tick(1.0)
    assert marks.combine(1.0) == 10


def test_nothing_becomes_idle_unless_asked():
    marks = watermarks("a", "b")
    marks.observe("a", 10, 0.0)
    marks.tick(1e9)
    assert marks.combine(1e9) == MIN_TIME


def test_a_partition_whose_rows_wait_is_not_silent():
    """A step that took long, or a process that was stopped, must not make rows late that are there."""
    marks = watermarks("a", "b", idle_after=1_000_000)
    marks.observe("a", 10, 0.0)
    marks.tick(60.0, ["b"])
    assert marks.combine(60.0) == MIN_TIME
    marks.observe("a", 10, 60.9)
    marks.tick(60.9)
    assert marks.combine(60.9) == MIN_TIME
    marks.tick(61.0)
    assert marks.combine(61.0) == 10


def test_a_partition_that_returns_is_left_out_until_it_has_caught_up():
    marks = watermarks("a", "b", idle_after=1_000_000)
    marks.observe("b", 1, 0.0)
    marks.observe("a", 20, 1.0)
    marks.tick(1.5)
    assert marks.combine(1.5) == 20
    marks.observe("b", 5, 1.6)  # behind: it can't take the watermark back
    assert marks.combine(1.6) == 20
    marks.observe("a", 30, 1.7)
    assert marks.combine(1.7) == 30  # and it does not hold it
    marks.observe("b", 30, 1.8)
    marks.observe("a", 40, 1.9)
    assert marks.combine(1.9) == 30  # it has caught up, and holds again


def test_all_quiet_holds_the_watermark():
    marks = watermarks("a", "b", idle_after=1_000_000)
    marks.observe("a", 10, 0.0)
    marks.observe("b", 5, 0.0)
    assert marks.combine(0.0) == 5
    marks.tick(100.0)
    assert marks.combine(100.0) == 5


def test_all_quiet_advances_to_the_largest_and_then_with_the_clock_where_asked():
    marks = watermarks("a", "b", idle_after=1_000_000, when_quiet="advance")
    marks.observe("a", 10, 0.0)
    marks.observe("b", 5, 0.0)
    marks.tick(1.0)
    assert marks.combine(1.0) == 10
    assert marks.combine(1.5) == 10 + 500_000
    marks.observe("a", 11, 2.0)  # rows behind the output don't take it back
    assert marks.combine(2.0) == 10 + 500_000


def test_quiet_from_the_start_has_no_time_to_go_on_from():
    marks = watermarks("a", idle_after=1_000_000, when_quiet="advance")
    marks.tick(5.0)
    assert marks.combine(5.0) == MIN_TIME


def test_quiet_time_stops_before_the_end_of_time():
    marks = watermarks("a", idle_after=1, when_quiet="advance")
    marks.observe("a", LAST_TIME, 0.0)
    marks.tick(1.0)
    marks.combine(1.0)
    assert marks.combine(1e9) == LAST_TIME


def test_a_finished_partition_does_not_keep_the_others_from_being_quiet():
    marks = watermarks("a", "b", idle_after=1_000_000, when_quiet="advance")
    marks.observe("a", 10, 0.0)
    marks.observe("b", 5, 0.0)
    marks.finish("a")
    marks.tick(1.0)
    assert marks.combine(1.0) == 10


def test_watermarks_survive_a_restore():
    marks = watermarks("a", "b", "c", delay=2, idle_after=1_000_000)
    marks.observe("a", 10, 0.0)
    marks.tick(1.0)
    marks.observe("b", 30, 1.0)
    marks.combine(1.0)
    marks.observe("a", 12, 1.0)
    marks.finish("c")
    again = watermarks("a", "b", "c", "new", delay=2, idle_after=1_000_000)
    again.restore(marks.snapshot(), 500.0)
    assert again.snapshot()["output"] == marks.output == 28
    assert {n: p for n, p in again.snapshot()["partitions"].items() if n != "new"} == marks.snapshot()[
        "partitions"
    ]
    assert again.partitions["a"].catching_up
    again.tick(500.9)
    assert again.combine(500.9) == 28  # "new" holds it, and being silent is counted from the restore
    again.observe("b", 60, 500.9)
    again.tick(501.0)
    assert again.combine(501.0) == 58


@given(
    observed=st.lists(st.tuples(st.sampled_from("abc"), TIMES), max_size=30),
    finished=st.sets(st.sampled_from("abc")),
    delay=DELAYS,
)
def test_the_output_is_the_minimum_over_what_is_active_and_never_goes_back(observed, finished, delay):
    marks = watermarks("a", "b", "c", delay=delay)
    newest: dict[str, float] = {p: float("-inf") for p in "abc"}
    before: float = MIN_TIME
    for partition, time in observed:
        marks.observe(partition, time, 0.0)
        newest[partition] = max(newest[partition], time - delay)
        found = marks.combine(0.0)
        assert found == max(MIN_TIME, *[min(newest.values())])
        assert found >= before
        before = found
    for partition in finished:
        marks.finish(partition)
    rest = [newest[p] for p in "abc" if p not in finished]
    assert marks.combine(0.0) == (max(MIN_TIME, min(rest)) if rest else MAX_TIME)


@given(
    times=st.lists(TIMES, min_size=1, max_size=200),
    first=TIMES,
    stands=st.none() | TIMES,
    other=TIMES,
    delay=DELAYS,
)
def test_rows_behind_are_found_and_judged_by_the_watermark_of_one_row_at_a_time(
    times, first, stands, other, delay
):
    marks, one_by_one = watermarks("p", "q", delay=delay), watermarks("p", delay=delay)
    marks.observe("q", other, 0.0)
    for state in (marks, one_by_one):
        state.observe("p", first, 0.0)
    expected = {}
    for row, time in enumerate(times):
        judge = one_by_one.partitions["p"].watermark
        if stands is not None:
            judge = max(stands, min(judge, marks.partitions["q"].watermark))
        if time < judge:
            expected[row] = judge
        one_by_one.observe("p", time, 0.0)
    rows, running = marks.behind("p", TimeBlocks.of(np.array(times)), stands)
    assert list(zip(rows.tolist(), running.tolist(), strict=True)) == list(expected.items())


def test_batch_watermarks_are_the_least_time_not_yet_read():
    floors = FloorWatermarks(["a", "b"])
    floors.read_to("a", 10)
    assert floors.combine() == MIN_TIME
    floors.read_to("b", 5)
    assert floors.combine() == 5
    floors.read_to("b", None)  # unknown: but what follows is still part of what followed before
    assert floors.combine() == 5
    floors.finish("b")
    assert floors.combine() == 10
    floors.read_to("a", MAX_TIME)
    assert floors.combine() == LAST_TIME  # a row at the end of time may follow
    floors.finish("a")
    assert floors.combine() == MAX_TIME
    again = FloorWatermarks(["a", "c"])
    again.restore(floors.snapshot())
    assert again.floors == {"a": MAX_TIME, "c": MIN_TIME}


# --------------------------------------------------------------------------- admission


SCHEMA = pa.schema({"at": pa.int64()})


def pipeline(
    *partitions: str,
    size: int = 10,
    every: int | None = None,
    delay: int = 0,
    bounded: bool = True,
    max_ahead: Any = None,
    by_arrival: bool = False,
) -> Pipeline:
    source = scripted({p: [] for p in partitions}, SCHEMA, unbounded=not bounded)
    stream = sl.read(
        source, name="rows", event_time="at", watermark=sl.bounded_disorder(delay), max_ahead=max_ahead
    )
    aggregates = {"n": sl.count(), **({"last": sl.last("at", order="arrival")} if by_arrival else {})}
    out = stream.window(windows.sliding(size, every=every or size)).aggregate(**aggregates)
    flow = sl.Flow("f", out.write(memory.sink(), name="out"), out.late().write(memory.sink(), name="late"))
    return Pipeline(flow.bind(), {"rows": partitions}, "streaming", 0.0)


def offer(pipe: Pipeline, times: Iterable[int], partition: str = "p") -> None:
    batch = pa.record_batch({"at": pa.array(list(times), pa.int64())})
    pipe.offer("rows", partition, Chunk(batch, 0))


def steps(pipe: Pipeline) -> list[int]:
    """How many rows enter at each step, until none does."""
    found = []
    while rows_in := pipe.step(1000, 0.0, 0):
        found.append(rows_in)
    return found


def written(pipe: Pipeline) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {"out": [], "late": []}
    for name, batch in pipe.take_written():
        found[name] += batch.to_arrow().to_pylist()
    return found


@given(steps_up=st.lists(st.integers(0, 30), max_size=40), behind=st.lists(st.integers(0, 5), max_size=40))
def test_rows_within_the_bound_never_cut_a_batch(steps_up, behind):
    newest, times = 0, []
    for up, back in zip(steps_up, behind, strict=False):
        newest += up
        times.append(newest - back)
    pipe = pipeline("p", delay=5)
    if times:
        offer(pipe, times)
    assert steps(pipe) == ([len(times)] if times else [])
    assert pipe.engine.late_rows == 0


def test_a_batch_is_cut_right_before_the_row_whose_fate_the_watermark_decides():
    pipe = pipeline("p", every=5, by_arrival=True)
    offer(pipe, [1, 5, 12, 13, 9, 14])  # 9 comes after 13: [0, 10) is over by then, [5, 15) is not
    assert steps(pipe) == [4, 2]
    assert [row["n"] for row in written(pipe)["out"]] == [1, 2]  # [-5, 5) and [0, 10)


def test_a_row_that_missed_some_windows_comes_to_the_others_without_a_cut():
    pipe = pipeline("p", every=5)
    offer(pipe, [1, 5, 12, 13, 9, 14])
    assert steps(pipe) == [6]
    assert [row["n"] for row in written(pipe)["out"]] == [1, 2]  # [-5, 5) and [0, 10), without 9
    pipe.end("rows", "p", 0.0)
    found = written(pipe)
    assert [row["n"] for row in found["out"]] == [5, 3]  # [5, 15), with 9, and [10, 20)
    assert found["late"] == []


def test_where_no_windows_overlap_late_rows_are_judged_without_a_cut():
    pipe = pipeline("p")
    offer(pipe, [1, 5, 12, 13, 9, 14])  # 9 comes after 13: its window [0, 10) is over by then
    assert steps(pipe) == [6]
    found = written(pipe)
    assert found["late"] == [{"at": 9}]
    assert [row["n"] for row in found["out"]] == [2]


@pytest.mark.parametrize("custom", [False, True])
def test_rows_are_cut_before_an_operator_that_may_not_hand_stamps_on(custom):
    source = scripted({"p": []}, SCHEMA, unbounded=True)
    stream = sl.read(source, name="rows", event_time="at", watermark=sl.bounded_disorder(0), max_ahead=None)
    if custom:
        stream = stream.then(Untouched())
    else:
        stream = stream.with_columns(double=col("at") * 2).filter(col("double") >= 0)
    out = stream.window(windows.tumbling(10)).aggregate(n=sl.count())
    flow = sl.Flow("f", out.write(memory.sink(), name="out"), out.late().write(memory.sink(), name="late"))
    pipe = Pipeline(flow.bind(), {"rows": ["p"]}, "streaming", 0.0)
    offer(pipe, [1, 12, 3, 14])
    assert steps(pipe) == ([2, 2] if custom else [4])
    assert [row["at"] for row in written(pipe)["late"]] == [3]


@pytest.mark.parametrize("chained", [False, True])
def test_rows_are_cut_before_a_window_that_judges_the_updates_of_another(chained):
    source = scripted({"p": []}, SCHEMA, unbounded=True)
    stream = sl.read(source, name="rows", event_time="at", watermark=sl.bounded_disorder(0), max_ahead=None)
    out = stream.window(windows.tumbling(10), allowed_lateness=10).aggregate(n=sl.count())
    if chained:
        out = out.window(windows.tumbling(20), allowed_lateness=10).aggregate(n=sl.sum("n"))
    flow = sl.Flow("f", out.to_changelog().write(memory.sink(), name="out"))
    pipe = Pipeline(flow.bind(), {"rows": ["p"]}, "streaming", 0.0)
    offer(pipe, [1, 12, 3, 14])
    assert steps(pipe) == ([2, 2] if chained else [4])


def test_a_row_behind_the_watermark_whose_window_is_open_either_way_does_not_cut():
    pipe = pipeline("p")
    offer(pipe, [10])
    assert steps(pipe) == [1]
    offer(pipe, [11, 15, 12, 19, 11])
    assert steps(pipe) == [5]
    assert pipe.engine.late_rows == 0


def test_a_row_that_is_late_already_does_not_cut():
    pipe = pipeline("p")
    offer(pipe, [25])
    assert steps(pipe) == [1]
    offer(pipe, [26, 3, 27, 4])  # the watermark stands at 25: 3 and 4 are late however they are cut
    assert steps(pipe) == [4]
    assert pipe.engine.late_rows == 2


def test_a_cut_needs_no_second_look_at_the_rows_before_it():
    pipe = pipeline("p", every=5, bounded=False, by_arrival=True)
    offer(pipe, [0, 10, 0, 20, 10, 30, 20])
    assert steps(pipe) == [2, 2, 2, 1]
    assert pipe.engine.late_rows == 3


@given(
    times=st.lists(TIMES, min_size=1, max_size=40),
    cuts=st.lists(st.integers(1, 10), max_size=20),
    delay=DELAYS,
    bounded=st.booleans(),
    every=st.sampled_from([5, 10]),
)
def test_what_is_late_does_not_depend_on_how_rows_are_offered(times, cuts, delay, bounded, every):
    pipe = pipeline("p", every=every, delay=delay, bounded=bounded)
    rest = list(times)
    for cut in [*cuts, len(times)]:
        part, rest = rest[:cut], rest[cut:]
        if part:
            offer(pipe, part)
        if cut % 2:
            steps(pipe)
    steps(pipe)
    expected, newest = [], MIN_TIME
    for time in times:
        if time // every * every + 10 <= newest - delay:
            expected.append({"at": time})
        newest = max(newest, time)
    assert written(pipe)["late"] == expected


def test_bounded_partitions_wait_for_each_other_and_unbounded_ones_do_not():
    for bounded, entered in ((True, 1), (False, 2)):
        pipe = pipeline("a", "b", bounded=bounded)
        offer(pipe, [5], "a")
        offer(pipe, [100], "a")
        pipe.step(1, 0.0, 0)
        pipe.step(1, 0.0, 0)
        assert pipe.rows == entered, bounded


def test_a_row_in_the_far_future_stops_the_job_and_is_named():
    pipe = pipeline("p", max_ahead="1h")
    offer(pipe, [1, 2, 3_600_000_008])
    with pytest.raises(EventTimeError) as raised:
        pipe.step(1000, 0.0, 7)
    text = str(raised.value)
    assert "in operator 'rows' (test_watermarks.py:" in text
    assert "row 2 lies in the future" in text
    assert "at most 1h after 1970-01-01T00:00:00.000007Z" in text
    assert "1970-01-01T01:00:00.000008Z" in text
    assert raised.value.__notes__ == ["reading partition 'p', after 0 rows that entered"]


def test_a_row_just_within_max_ahead_enters():
    pipe = pipeline("p", max_ahead="1h")
    offer(pipe, [3_600_000_007])
    assert pipe.step(1000, 0.0, 7) == 1


def test_the_far_future_is_refused_by_default_in_a_job(tmp_path):
    year_9999 = 253_370_764_800_000_000
    stream = sl.read(
        memory.source([{"at": year_9999}]), name="rows", event_time="at", watermark=sl.monotone()
    )
    with pytest.raises(EventTimeError, match="at most 1d after"):
        sl.Flow("f", stream.write(memory.sink(), name="out")).run(state=str(tmp_path), progress="none")
    assert stream.collect().num_rows == 1  # a batch has no clock


def test_a_partition_with_rows_that_wait_does_not_become_idle():
    source = scripted({"a": [], "b": []}, SCHEMA, unbounded=True)
    strategy = sl.monotone(idle_after="1s", when_quiet="advance")
    stream = sl.read(source, name="rows", event_time="at", watermark=strategy, max_ahead=None)
    flow = sl.Flow("f", stream.write(memory.sink(), name="out"))
    pipe = Pipeline(flow.bind(), {"rows": ["a", "b"]}, "streaming", 0.0)
    offer(pipe, [100], "a")
    offer(pipe, [10], "b")
    assert pipe.step(1, 0.0, 0) == 1
    pipe.tick(60.0)  # the process was stopped for a minute, rows of b are here
    assert pipe.watermark == MIN_TIME


# --------------------------------------------------------------------------- rows at the ends of time


@pytest.mark.parametrize("chunk", [1, 2, 5])
@pytest.mark.parametrize("size", [1, 10, 2**62])
def test_rows_at_the_ends_of_time_are_counted_however_they_come(tmp_path, chunk, size):
    times = [MIN_TIME, MIN_TIME + 1, 0, MAX_TIME - 1, MAX_TIME, MAX_TIME]
    table = pa.table({"at": pa.array(times, pa.int64())})
    stream = sl.read(
        memory.source(table, chunk_rows=chunk),
        name="rows",
        event_time="at",
        watermark=sl.monotone(),
        max_ahead=None,
    )
    result = stream.window(windows.tumbling(size)).aggregate(n=sl.count())
    sink = memory.sink()
    sl.Flow("f", result.write(sink, name="out")).run(state=str(tmp_path / "s"), progress="none")
    assert sum(sink.table()["n"].to_pylist()) == len(times)
    assert sum(result.collect()["n"].to_pylist()) == len(times)


# --------------------------------------------------------------------------- inputs of an operator


@dataclass(frozen=True, eq=False)
class Watching(OperatorSpec):
    """Takes any number of streams, and writes down the watermarks it is told."""

    kind = "watching"
    told: list[int]

    def bind(self, inputs: Sequence[Any]) -> tuple[Any, ...]:
        return (inputs[0],)

    def build(self, inputs: Sequence[Any]) -> Operator:
        return _Watching(self.told)


class _Watching(Operator):
    def __init__(self, told: list[int]) -> None:
        self._told = told

    def on_batch(self, batch, port):
        return ()

    def on_watermark(self, watermark):
        self._told.append(watermark)
        return ()


def test_an_operator_is_told_rising_watermarks_only_the_least_of_its_inputs():
    told: list[int] = []
    left, right = (
        sl.read(scripted({"0": [rows([{"at": t}]) for t in times]}, SCHEMA), name=name, event_time="at",
                watermark=sl.monotone(), max_ahead=None)
        for name, times in (("left", [1, 5, 9]), ("right", [2, 2, 4]))
    )  # fmt: skip
    left.then(Watching(told), right, left).collect()
    assert told == sorted(set(told))
    assert told[-1] == MAX_TIME
    assert MIN_TIME not in told


# --------------------------------------------------------------------------- event times from columns


def micros(values: list[Any], dtype: pa.DataType, tz: str | None = None) -> list[int]:
    return to_micros(pa.array(values, dtype), tz).tolist()


def test_nanoseconds_are_floored_also_before_1970():
    assert micros([-1, -1000, -1001, 999, 1000], pa.timestamp("ns", tz="UTC")) == [-1, -1, -2, 0, 1]


def test_coarser_units_dates_and_integers_become_microseconds():
    assert micros([-1, 2], pa.timestamp("s", tz="UTC")) == [-1_000_000, 2_000_000]
    assert micros([-1, 2], pa.timestamp("ms", tz="Europe/Berlin")) == [-1_000, 2_000]
    assert (
        micros([date(1970, 1, 2)], pa.date32()) == micros([date(1970, 1, 2)], pa.date64()) == [86400 * 10**6]
    )
    for dtype in (pa.int8(), pa.uint16(), pa.int64(), pa.uint64()):
        assert micros([0, 100], dtype) == [0, 100]
    assert micros([MIN_TIME, MAX_TIME], pa.int64()) == [MIN_TIME, MAX_TIME]


def test_local_time_in_new_york_on_the_days_the_clocks_are_set():
    hour = 3600 * 10**6
    spring = int(np.datetime64("2013-03-10T00:00", "us").astype(np.int64))  # midnight, 05:00 UTC
    local = pa.array([spring + h * hour // 2 for h in range(2, 8)], pa.timestamp("us"))
    found = (to_micros(local, "America/New_York") - spring) / hour
    # 01:00, 01:30 are EST; 02:00 and 02:30 don't exist and count as 03:00 EDT, the moment of setting
    assert found.tolist() == [6, 6.5, 7, 7, 7, 7.5]
    autumn = int(np.datetime64("2013-11-03T00:00", "us").astype(np.int64))  # midnight, 04:00 UTC
    local = pa.array([autumn + h * hour // 2 for h in range(1, 6)], pa.timestamp("us"))
    found = (to_micros(local, "America/New_York") - autumn) / hour
    # 01:00 and 01:30 happen twice and count as the first time; 02:00 is EST
    assert found.tolist() == [4.5, 5, 5.5, 7, 7.5]


def refused(table: pa.Table, **options: Any) -> EventTimeError:
    stream = sl.read(
        memory.source(table), name="rows", event_time="at", watermark=sl.monotone(), max_ahead=None, **options
    )
    with pytest.raises(EventTimeError) as raised:
        stream.collect()
    assert "in operator 'rows' (test_watermarks.py:" in str(raised.value)
    return raised.value


def test_a_row_without_event_time_stops_the_job_and_is_named():
    error = refused(pa.table({"at": [1, None, 3], "id": ["a", "b", "c"]}))
    assert "row 1 has no event time" in str(error)
    assert "{'at': None, 'id': 'b'}" in str(error)


def test_the_row_is_counted_from_all_rows_read_before_it():
    table = pa.table({"at": [1, 2, 3, None, 5]})
    stream = sl.read(
        memory.source(table, chunk_rows=2), name="rows", event_time="at", watermark=sl.monotone()
    )
    with pytest.raises(EventTimeError, match="row 3 has no event time") as raised:
        stream.collect()
    assert raised.value.__notes__ == ["reading partition '0', after 2 rows that entered"]


def test_a_naive_timestamp_needs_a_time_zone():
    error = refused(pa.table({"at": pa.array([0], pa.timestamp("us"))}))
    assert '`tz="UTC"`' in str(error)


def test_a_time_zone_that_does_not_exist_is_refused_before_the_first_row():
    error = refused(pa.table({"at": pa.array([], pa.timestamp("us"))}), tz="Mars/Olympus")
    assert "'Mars/Olympus'" in str(error)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([2**62], pa.timestamp("s", tz="UTC")),
        pa.array([-(2**62)], pa.timestamp("ms", tz="UTC")),
        pa.array([2**63], pa.uint64()),
        pa.array([2**31 - 1], pa.int32()).view(pa.date32()),
    ],
    ids=lambda column: str(column.type),
)
def test_instants_beyond_int64_microseconds_are_refused(column):
    error = refused(pa.table({"at": column}), tz="America/New_York")
    assert "within 292,000 years of 1970" in str(error)


@pytest.mark.parametrize("dtype", [pa.string(), pa.float64(), pa.bool_(), pa.duration("us"), pa.time64("us")])
def test_a_column_that_is_no_moment_is_refused_before_the_first_row(dtype):
    error = refused(pa.table({"at": pa.array([], dtype)}))
    assert f"of type {dtype}" in str(error)
    assert "a timestamp, a date, or an integer of microseconds" in str(error)


def test_an_expression_can_be_the_event_time():
    table = pa.table({"day": pa.array([date(2013, 3, 10)]), "seconds": [90]})
    stream = sl.read(
        memory.source(table),
        name="rows",
        event_time=sl.col("seconds") * 1_000_000,
        watermark=sl.monotone(),
        max_ahead=None,
    )
    found = stream.window(windows.tumbling("1min")).aggregate(n=sl.count()).collect()
    assert found["window_start"].cast(pa.int64()).to_pylist() == [60_000_000]


@pytest.mark.parametrize(
    "options", [{"event_time": "at"}, {"watermark": sl.monotone()}], ids=["event_time", "watermark"]
)
def test_event_time_and_watermark_go_together(options):
    with pytest.raises(DefinitionError, match="go together"):
        sl.read(memory.source([{"at": 1}]), name="rows", **options)
