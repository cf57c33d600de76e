"""`in_event_time_order` and `unkey`."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamlib as sl
from streamlib import operators as op
from streamlib import windows
from streamlib.connectors import memory
from streamlib.core.errors import EventTimeError, StreamlibError, TypeMismatchError, UnknownColumnError
from streamlib.testing import assert_parity, assert_survives

BOUND = 5


def rows(table: pa.Table, chunk: int = 100, bound: int = BOUND) -> sl.Stream:
    return sl.read(
        memory.source(table, chunk_rows=chunk),
        name="rows",
        event_time="at",
        watermark=sl.bounded_disorder(bound),
        max_ahead=None,
    )


def disordered(times: list[int]) -> pa.Table:
    """Rows that come within the bound, or nearly."""
    return pa.table(
        {"at": pa.array(times, pa.int64()), "n": range(len(times)), "key": [t % 3 for t in times]}
    )


def streamed(stream: sl.Stream, tmp_path, **given) -> tuple[list[dict], int]:
    sink = memory.sink()
    flow = sl.Flow("flow", stream.write(sink, name="out"))
    result = flow.run(state=str(tmp_path), progress="none", **given)
    return sink.table().to_pylist(), result.late_rows


def ordered_and_late(times: list[int]) -> tuple[list[tuple[int, int]], list[int]]:
    """The rows in order, and the numbers of the late ones, by the book."""
    kept, late, newest = [], [], None
    for n, at in enumerate(times):
        if newest is not None and at < newest - BOUND:
            late.append(n)
        else:
            kept.append((at, n))
        newest = at if newest is None else max(newest, at)
    return sorted(kept), late


@settings(max_examples=settings.default.max_examples // 8)
@given(times=st.lists(st.integers(-20, 20), max_size=40), chunk=st.integers(1, 7))
def test_rows_come_in_the_order_of_their_event_times_and_late_ones_are_told(tmp_path_factory, times, chunk):
    kept, late = ordered_and_late(times)
    stream = rows(disordered(times), chunk).in_event_time_order()
    found, counted = streamed(stream, tmp_path_factory.mktemp("s"))
    assert [(row["at"], row["n"]) for row in found] == kept
    assert counted == len(late)
    behind, _ = streamed(stream.output("late"), tmp_path_factory.mktemp("s"))
    assert sorted(row["n"] for row in behind) == late
    batch = stream.collect()
    assert list(zip(batch["at"].to_pylist(), batch["n"].to_pylist(), strict=True)) == sorted(
        (at, n) for n, at in enumerate(times)
    )


def test_rows_of_one_instant_go_by_the_columns_that_are_named():
    table = pa.table({"at": [2, 1, 2, 1], "n": [1, None, 0, 5], "text": ["b", "a", "a", "c"]})
    assert rows(table).in_event_time_order("n").collect()["n"].to_pylist() == [5, None, 0, 1]
    assert rows(table).in_event_time_order("text").collect()["text"].to_pylist() == ["a", "c", "a", "b"]


def running(total: int, row: dict) -> tuple[int, dict]:
    return total + row["n"], {"at": row["at"], "n": row["n"], "key": row["key"], "total": total + row["n"]}


SCHEMA = {"at": pa.int64(), "n": pa.int64(), "key": pa.int64(), "total": pa.int64()}


def running_totals(table: pa.Table, chunk: int = 7) -> sl.Stream:
    return (
        rows(table, chunk)
        .in_event_time_order("n")
        .key_by("key")
        .stateful_map(running, initial=0, state=int, schema=SCHEMA)
    )


TIMES = [i * 2 + (i * 7919) % BOUND for i in range(120)]


def test_operators_that_depend_on_the_order_agree_however_rows_come_and_survive():
    flow = sl.Flow("flow", running_totals(disordered(TIMES)).write(memory.sink(), name="out"))
    found = assert_parity(flow, seeds=range(3))
    assert_survives(flow, seeds=range(3))
    totals: dict[int, int] = {}
    expected = []
    for at, n in sorted((at, n) for n, at in enumerate(TIMES)):
        totals[at % 3] = totals.get(at % 3, 0) + n
        expected.append((at, n, totals[at % 3]))
    got = [(row["at"], row["n"], row["total"]) for row in found["out"].to_pylist()]
    assert sorted(got) == sorted(expected)


def test_several_workers_give_what_one_gives(tmp_path):
    stream = running_totals(disordered(TIMES))
    one, two = (
        streamed(stream, tmp_path / "1"),
        streamed(stream, tmp_path / "2", parallelism=2, workers="threads"),
    )
    assert sorted(map(repr, one[0])) == sorted(map(repr, two[0]))


def test_windows_behind_it_see_no_late_row(tmp_path):
    late = [*TIMES, 3, 400]
    counted = (
        rows(disordered(late)).in_event_time_order().window(windows.tumbling(10)).aggregate(n=sl.count())
    )
    found, behind = streamed(counted, tmp_path)
    assert (sum(row["n"] for row in found), behind) == (len(TIMES) + 1, 1)


def test_plans_say_that_the_order_of_one_instant_is_that_of_arrival():
    flow = sl.Flow("f", rows(disordered([1])).in_event_time_order().write(memory.sink(), name="out"))
    assert "rows of one instant keep the order in which they arrive" in flow.explain()
    flow = sl.Flow("f", rows(disordered([1])).in_event_time_order("n").write(memory.sink(), name="out"))
    assert "keep the order" not in flow.explain()


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (lambda s: s.in_event_time_order("m"), UnknownColumnError),
        (lambda s: s.key_by("key").aggregate(n=sl.count()).in_event_time_order(), StreamlibError),
        (lambda s: s.in_event_time_order("tags"), TypeMismatchError),
        (lambda s: s.in_event_time_order(3), StreamlibError),
    ],
)
def test_mistakes_are_refused(build, error):
    with pytest.raises(error):
        build(rows(disordered([1, 2]).append_column("tags", [[[1], []]]))).collect()


def test_a_stream_without_event_time_is_refused():
    with pytest.raises(EventTimeError):
        sl.read(memory.source(disordered([1])), name="rows").in_event_time_order().collect()


# --------------------------------------------------------------------------- unkey


def test_what_follows_unkey_works_over_all_rows():
    table = disordered(TIMES)
    counts = rows(table).key_by("key").window(windows.tumbling(10)).aggregate(n=sl.count())
    whole = counts.unkey().window(windows.tumbling(10)).aggregate(total=sl.sum("n"), keys=sl.count())
    assert sum(whole.collect()["total"].to_pylist()) == len(TIMES)
    assert whole.collect().column_names == ["window_start", "window_end", "total", "keys"]
    sums = (
        rows(table).key_by("key").aggregate(n=sl.sum("n")).unkey().aggregate(all=sl.sum("n"), keys=sl.count())
    )
    assert sums.collect().to_pylist() == [{"all": sum(range(120)), "keys": 3}]


def test_unkey_is_spelled_in_two_ways_and_leaves_unkeyed_streams_alone():
    stream = rows(disordered([1, 2]))
    assert op.unkey()(stream.key_by("key")) == stream.key_by("key").unkey()
    assert stream.unkey().collect() == stream.collect()


def test_a_flow_with_unkey_agrees_however_rows_come_and_survives():
    counts = rows(disordered(TIMES)).key_by("key").window(windows.tumbling(10)).aggregate(n=sl.count())
    whole = counts.unkey().window(windows.tumbling(20)).aggregate(total=sl.sum("n"))
    flow = sl.Flow("flow", whole.write(memory.sink(), name="out"))
    assert_parity(flow, seeds=range(2))
    assert_survives(flow, seeds=range(2))
