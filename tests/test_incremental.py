"""Incremental snapshots: what is told once is named again, and any snapshot gives the same results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamlib as sl
from streamlib import windows
from streamlib.core.batch import Batch
from streamlib.core.contracts import Operator, OperatorState, StreamType
from streamlib.core.segment import Segment
from streamlib.core.time import MAX_TIME
from streamlib.operators import fired_windows, sealed, slices, window_operator
from streamlib.operators.running_aggregate import RunningAggregate
from streamlib.operators.window_aggregate import WindowAggregate
from streamlib.runtime.rescale import merged_states, split_states
from streamlib.state import deltas
from streamlib.state.key_groups import key_groups
from streamlib.windows.contract import WindowAssigner

KEYED = StreamType(pa.schema({"at": pa.int64(), "key": pa.int64(), "value": pa.int64()}), True, ("key",))
AGGREGATES = (("n", sl.count()), ("total", sl.sum("value")), ("top", sl.max("value")))
APART = 10**12  # keys that far from each other are not addressed but hashed
Row = tuple[int, int, int]


def batch(rows: list[Row]) -> Batch:
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)]
    return Batch(KEYED.schema, columns, len(rows), columns[0])


def results(outputs: Any) -> list[Any]:
    return [row for _, b in outputs for row in (b.to_arrow().to_pylist())]


def stored(state: OperatorState) -> OperatorState:
    """What a checkpoint makes of a snapshot."""
    for segments in state.tables.values():
        for segment in segments:
            table = segment.table()
            segment.moved(lambda table=table: table)
    return state


def table_of(rows: list[Any]) -> list[Any]:
    return sorted(rows, key=repr)


WINDOWS = [windows.tumbling(10), windows.sliding(12, every=4), windows.tumbling(1000)]
FACTORS = {"cells": [1], "hashed": [APART], "both": [1, APART]}


def spec_of(window: WindowAssigner, lateness: int = 0, final: bool = False) -> WindowAggregate:
    return WindowAggregate(window, AGGREGATES, lateness, final)


@st.composite
def histories(draw: st.DrawFn, busy: bool = False) -> list[tuple[str, Any]]:
    """Batches, watermarks, snapshots, and returns to one of the snapshots before."""
    steps: list[tuple[str, Any]] = []
    row = st.tuples(st.integers(0, 12 if busy else 40), st.integers(0, 4), st.integers(-9, 9))
    factor = st.just(APART) if busy else st.sampled_from([1, APART])
    for _ in range(draw(st.integers(1, 40 if busy else 25))):
        kind = draw(st.sampled_from(["rows"] * (8 if busy else 2) + ["snapshot", "time", "restore"]))
        rows = st.tuples(st.lists(row, min_size=1, max_size=2 if busy else 6), factor)
        value = {"rows": rows, "time": st.integers(0, 60), "restore": st.integers(0, 30)}
        steps.append((kind, draw(value.get(kind, st.none()))))
    return steps


def keyed(rows: list[Row], factor: int) -> list[Row]:
    return [(at, key * factor, value) for at, key, value in rows]


class Machine:
    """An operator, its time, and what came of it."""

    def __init__(self, spec: WindowAggregate) -> None:
        self.spec = spec
        self.operator = spec.build([KEYED])
        self.outputs: list[Any] = []

    def apply(self, kind: str, value: Any) -> None:
        if kind == "rows":
            self.outputs += results(self.operator.on_batch(batch(keyed(*value)), 0))
        elif kind == "time":
            self.outputs += results(self.operator.on_watermark(value))

    def restored(self, states: list[OperatorState]) -> None:
        (state,) = states
        self.operator = self.spec.build([KEYED])
        self.operator.restore(state)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Compact early, so that little data meets all of it."""
    monkeypatch.setattr(sealed, "MANY_RUNS", 4)
    monkeypatch.setattr(sealed, "FEW_GROUPS", 3)
    monkeypatch.setattr(fired_windows, "MANY_TOLD", 4)
    monkeypatch.setattr(deltas, "FEW_SLOTS", 2)
    monkeypatch.setattr(deltas, "ROUND", 3)
    monkeypatch.setattr(deltas, "MANY_SEGMENTS", 7)


@contextmanager
def crowding() -> Iterator[None]:
    """Three batches in one slice make it crowded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "MAX_PARTIALS", 2)
        patch.setattr(window_operator, "SMALL_ROWS", 1)
        yield


@pytest.mark.parametrize("lateness", [0, 7])
@pytest.mark.parametrize("window", WINDOWS, ids=repr)
@settings(max_examples=30)
@given(history=histories())
def test_any_snapshot_goes_on_to_the_undisturbed_result(window, lateness, history):
    goes_on(window, lateness, history)


@pytest.mark.parametrize("lateness", [0, 7])
@pytest.mark.parametrize("window", WINDOWS[1:], ids=repr)
@settings(max_examples=30)
@given(history=histories(busy=True))
def test_any_snapshot_of_crowded_slices_goes_on_to_the_undisturbed_result(window, lateness, history):
    with crowding():
        goes_on(window, lateness, history)


def goes_on(window: WindowAssigner, lateness: int, history: list[tuple[str, Any]]) -> None:
    """Snapshots share segments; from each one the same steps again give the same rows."""
    done: list[tuple[str, Any]] = []
    spec = spec_of(window, lateness)
    machine = Machine(spec)
    saved: list[tuple[OperatorState, list[Any], list[Any]]] = []
    latest = -1
    for kind, value in history:
        if kind == "snapshot":
            if saved:  # a checkpoint is written while the next rows come, and before the next one
                stored(saved[-1][0])
            saved.append((machine.operator.snapshot(), list(done), list(machine.outputs)))
        elif kind == "restore" and saved:
            state, before, outputs = saved[value % len(saved)]
            machine.operator = spec.build([KEYED])
            machine.operator.restore(stored(state))
            done, machine.outputs = list(before), list(outputs)
            latest = max([v for k, v in done if k == "time"], default=-1)
        elif kind in ("rows", "time"):
            if kind == "time":
                if value <= latest:
                    continue
                latest = value
            done.append((kind, value))
            machine.apply(kind, value)
    machine.apply("time", MAX_TIME)
    undisturbed = Machine(spec)
    for kind, value in [*done, ("time", MAX_TIME)]:
        undisturbed.apply(kind, value)
    assert table_of(machine.outputs) == table_of(undisturbed.outputs)


def told(operator: Operator) -> list[Segment]:
    return list(stored(operator.snapshot()).tables["slices"])


@pytest.mark.parametrize("factors", FACTORS.values(), ids=FACTORS)
def test_what_a_snapshot_told_is_named_again_while_its_windows_are_open(factors):
    operator = spec_of(windows.sliding(40, every=10)).build([KEYED])

    def feed(at: int) -> None:
        for factor in factors:
            list(operator.on_batch(batch([(at, key * factor, 1) for key in range(50)]), 0))

    feed(5)
    first = told(operator)
    assert told(operator) == first  # nothing came
    feed(45)
    second = told(operator)
    assert second[:-1] == first
    assert second[-1].table().num_rows == len(factors) * 50 - (len(factors) - 1)  # only what is new
    list(operator.on_watermark(50))  # the window that ends there was the last one with the first rows
    assert told(operator) == second[1:]


@pytest.mark.parametrize("factors", FACTORS.values(), ids=FACTORS)
def test_the_files_of_a_window_that_stays_open_are_few_and_not_much_more_than_its_groups(factors):
    """Every snapshot tells the same few groups again."""
    operator = spec_of(windows.tumbling(1000)).build([KEYED])
    for i in range(100):
        for factor in factors:
            list(operator.on_batch(batch([(i, key * factor, 1) for key in range(10)]), 0))
        segments = told(operator)
        assert len(segments) <= 4
        assert sum(s.table().num_rows for s in segments) <= 4 * 10 * len(factors)


def test_windows_that_stay_open_bound_the_files_where_no_group_comes_again():
    operator = spec_of(windows.tumbling(1000)).build([KEYED])
    written, before = 0, set[Segment]()
    for i in range(200):
        list(operator.on_batch(batch([(i, i, 1)]), 0))
        segments = set(told(operator))
        assert len(segments) <= sealed.MANY_RUNS + 1
        written += sum(s.table().num_rows for s in segments - before)
        before = segments
    assert written < 200 * 8  # a group is written a logarithm of times


def test_a_snapshot_leaves_merging_to_whoever_writes_it():
    operator = spec_of(windows.tumbling(1000)).build([KEYED])
    for i in range(5):
        list(operator.on_batch(batch([(i, 1, 1), (i, APART, 1)]), 0))
    state = operator.snapshot()
    list(operator.on_batch(batch([(6, 1, 5)]), 0))  # while it is not written yet
    list(operator.on_watermark(1000))
    (segment,) = state.tables["slices"]
    assert sorted(segment.table().select(["key.key", "rows"]).to_pylist(), key=repr) == [
        {"key.key": 1, "rows": 5},
        {"key.key": APART, "rows": 5},
    ]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_segments_are_shared_out_to_any_number_of_workers(workers):
    spec = spec_of(windows.sliding(12, every=4))
    operator = spec.build([KEYED])
    rows = [(at, key, at) for at in range(20) for key in range(40)]
    for start in range(0, len(rows), 90):
        list(operator.on_batch(batch(rows[start : start + 90]), 0))
        state = stored(operator.snapshot())
    expected = results(operator.on_watermark(MAX_TIME))
    parts = split_states({"op": state}, workers)
    found, again = [], []
    for part in parts:
        owner = spec.build([KEYED])
        owner.restore(part["op"])
        again.append({"op": stored(owner.snapshot())})
        found += results(owner.on_watermark(MAX_TIME))
    assert table_of(found) == table_of(expected)
    one = spec.build([KEYED])
    one.restore(merged_states(again)["op"])
    assert table_of(results(one.on_watermark(MAX_TIME))) == table_of(expected)


def test_windows_that_fired_and_still_take_late_rows_are_few_files():
    spec = spec_of(windows.tumbling(10), lateness=10_000)
    operator = spec.build([KEYED])
    for i in range(100):
        list(operator.on_batch(batch([(i * 10, 1, 1), (i * 10, 2, 1)]), 0))
        list(operator.on_watermark(i * 10 + 10))
        state = stored(operator.snapshot())
        assert len(state.tables["fired"]) <= fired_windows.MANY_TOLD + 1
    late = batch([(5, 1, 7), (505, 2, 7)])  # their windows leave the files that told them
    expected = results(operator.on_batch(late, 0))
    assert len(expected) == 4  # an update each: the row before, and the row after
    for kept in (state, stored(operator.snapshot())):
        again = spec.build([KEYED])
        again.restore(kept)
        changed = results(again.on_batch(late, 0))
        assert len(changed) == 4
        if kept is state:
            assert table_of(changed) == table_of(expected)
        else:
            assert sorted(row["total"] for row in changed) == [8, 8, 15, 15]


@pytest.mark.parametrize("dtype", [pa.int64(), pa.string()])
def test_slots_remember_the_key_group_that_the_hash_of_the_key_gives(dtype):
    stream = StreamType(pa.schema({"key": dtype}), keys=("key",))
    operator = RunningAggregate((("n", sl.count()),)).build([stream])
    for start in (0, 500, 250):
        keys = pa.array(range(start, start + 1000)).cast(dtype)
        list(operator.on_batch(Batch(stream.schema, [keys], 1000), 0))
        for segment in operator.snapshot().tables["groups"]:
            table = segment.table()
            expected = key_groups([table["key.key"].combine_chunks()], table.num_rows)
            assert table["__key_group"].to_pylist() == expected.tolist()


# --------------------------------------------------------------------------- slots


def totals(operator: Operator, rows: list[Row]) -> list[Any]:
    return results(operator.on_batch(batch(rows), 0))


@settings(max_examples=20)
@given(
    batches=st.lists(
        st.lists(st.tuples(st.just(0), st.integers(0, 9), st.integers(-9, 9)), min_size=1, max_size=5),
        min_size=2,
        max_size=12,
    ),
    read=st.integers(0, 3),
)
def test_what_a_snapshot_tells_is_what_there_was_whatever_comes_before_it_is_written(batches, read):
    spec = RunningAggregate((*AGGREGATES, ("name", sl.max(sl.col("value").cast(pa.string())))))
    operator = spec.build([KEYED])
    waiting: list[tuple[OperatorState, int]] = []

    def check(state: OperatorState, count: int) -> None:
        again, undisturbed = spec.build([KEYED]), spec.build([KEYED])
        again.restore(stored(state))
        for rows in batches[:count]:
            totals(undisturbed, rows)
        probe = [(0, key, 1) for key in range(10)]
        assert table_of(totals(again, probe)) == table_of(totals(undisturbed, probe))

    for i, rows in enumerate(batches):
        totals(operator, rows)
        waiting.append((operator.snapshot(), i + 1))
        if len(waiting) > read:  # so many snapshots later
            check(*waiting.pop(0))
    for state, count in waiting:
        check(state, count)


def table_bytes(segments: list[Segment]) -> int:
    return sum(segment.table().num_rows for segment in segments)


@pytest.mark.parametrize("changed", [1, 7, 60])
def test_a_snapshot_writes_at_most_three_times_what_changed_and_a_part_of_the_rest(changed):
    operator = RunningAggregate(AGGREGATES).build([KEYED])
    totals(operator, [(0, key, 0) for key in range(100)])
    before: list[Segment] = []
    written = 0
    for i in range(60):
        totals(operator, [(0, (i * changed + k) % 100, 1) for k in range(changed)])
        segments = list(stored(operator.snapshot()).tables["groups"])
        new = table_bytes([s for s in segments if s not in before])
        if before:  # the first one tells all
            assert new <= min(100, 3 * changed + -(-100 // deltas.ROUND))
            written += new
        assert len(segments) <= deltas.MANY_SEGMENTS
        assert table_bytes(segments) <= 4 * 100
        before = segments
    assert written <= 60 * max(2.2 * changed, 100 // deltas.ROUND + changed)
    again = RunningAggregate(AGGREGATES).build([KEYED])
    again.restore(stored(operator.snapshot()))
    probe = [(0, key, 1) for key in range(100)]
    assert table_of(totals(again, probe)) == table_of(totals(operator, probe))
