"""Operators of one's own: mistakes are named where they are made, and the checks of flows see them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import windows
from streamlib.connectors import memory
from streamlib.core.errors import (
    DefinitionError,
    EventTimeError,
    InvariantError,
    StreamlibError,
    TypeMismatchError,
    UnknownColumnError,
    UserFunctionError,
)
from streamlib.operators import (
    MAX_TIME,
    MIN_TIME,
    Batch,
    KeySlots,
    Operator,
    OperatorSpec,
    OperatorState,
    Segment,
    key_groups,
)
from streamlib.runtime.rescale import merged_states
from streamlib.testing import assert_parity, assert_survives
from streamlib.testing.compare import difference

ROWS = [{"at": i * 1_000_000, "k": i % 3, "v": float(i % 7)} for i in range(200)]


def read(rows: list[dict[str, Any]] = ROWS, delay: str = "5s") -> sl.Stream:
    return sl.read(memory.source(rows), name="rows", event_time="at", watermark=sl.bounded_disorder(delay))


def flow(stream: sl.Stream) -> sl.Flow:
    return sl.Flow("f", stream.write(memory.sink(), name="out"))


@dataclass(frozen=True, eq=False)
class Returns(OperatorSpec):
    """An operator that returns what it is told to."""

    kind = "returns"
    answer: Any

    def bind(self, inputs):
        return (inputs[0],)

    def build(self, inputs):
        return ReturnsOperator(self.answer)


class ReturnsOperator(Operator):
    def __init__(self, answer):
        self.answer = answer

    def on_batch(self, batch, port):
        return self.answer(batch)


def other_type(batch):
    return [(0, batch.replaced(batch.schema, [*batch.columns[:2], pa.array(["x"] * batch.num_rows)]))]


def other_names(batch):
    return [(0, batch.replaced(batch.schema.remove(2), batch.columns[:2]))]


def short_column(batch):
    return [(0, batch.replaced(batch.schema, [*batch.columns[:2], batch.columns[2][1:]]))]


def with_times(times):
    return lambda b: [(0, Batch(b.schema, b.columns, b.num_rows, times(b)))]


WRONG = {
    "nothing": (lambda b: None, "an iterable of pairs (port, Batch)", "None"),
    "a batch": (lambda b: b, "an iterable of pairs (port, Batch)", "Batch(200 rows"),
    "one pair": (lambda b: (0, b), "pairs (port, Batch)", "0"),
    "Arrow rows": (lambda b: [(0, b.to_arrow())], "pairs (port, Batch)", "RecordBatch"),
    "a port too many": (lambda b: [(1, b)], "a port from 0 to 0", "port 1"),
    "a port by name": (lambda b: [("out", b)], "a port from 0 to 0", "port 'out'"),
    "other columns": (other_names, "columns at int64, k int64, v double", "columns at int64, k int64"),
    "another type": (other_type, "column 'v' of type double", "type string"),
    "a short column": (short_column, "200 values in column 'v'", "199 values"),
    "no event time": (with_times(lambda b: None), "`event_time` as int64 vector of 200", "None"),
    "few times": (with_times(lambda b: b.event_time[1:]), "`event_time` as int64 vector of 200", "array"),
    "float times": (with_times(lambda b: b.event_time / 1), "`event_time` as int64 vector of 200", "array"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_an_operator_may_not_return_is_refused_with_its_name_and_line(name):
    answer, expected, found = WRONG[name]
    with pytest.raises(UserFunctionError, match="on_batch returned what the engine can't take") as caught:
        read().then(Returns(answer)).collect()
    text = str(caught.value)
    assert "in operator 'returns' (test_custom_operators.py:" in text
    assert expected in text
    assert found in text


def test_what_an_operator_may_return_passes():
    for answer in (lambda b: (), lambda b: ((0, b),), lambda b: iter([(0, b), (0, b.slice(0, 5))])):
        read().then(Returns(answer)).collect()


def test_the_users_own_exception_keeps_its_type_and_names_the_operator():
    with pytest.raises(ZeroDivisionError) as caught:
        read().then(Returns(lambda b: 1 / 0)).collect()
    assert "in operator 'returns' (test_custom_operators.py:" in caught.value.__notes__[0]


# --------------------------------------------------------------------------- descriptions


@dataclass
class NotFrozen(OperatorSpec):
    kind = "not_frozen"

    def bind(self, inputs):
        return tuple(inputs)

    def build(self, inputs):
        return ReturnsOperator(None)


@dataclass(frozen=True)
class Compares(OperatorSpec):
    kind = "compares"
    column: str = "v"

    def bind(self, inputs):
        return tuple(inputs)

    def build(self, inputs):
        return ReturnsOperator(None)


@dataclass(frozen=True, eq=False)
class Nameless(OperatorSpec):
    def bind(self, inputs):
        return tuple(inputs)

    def build(self, inputs):
        return ReturnsOperator(None)


@dataclass(frozen=True, eq=False)
class TwoAlike(Nameless):
    kind = "two"
    outputs = ("out", "out")


@pytest.mark.parametrize(
    ("spec", "error", "text"),
    [
        (Returns, TypeMismatchError, "call the class"),
        (ReturnsOperator(None), TypeMismatchError, "not the description of an operator"),
        (NotFrozen(), DefinitionError, "can be changed after the flow was built"),
        (Compares(), DefinitionError, "eq=False"),
        (Nameless(), DefinitionError, "has no kind"),
        (TwoAlike(), DefinitionError, "can't be told apart"),
    ],
)
def test_a_description_that_is_none_is_refused_where_it_is_written(spec, error, text):
    with pytest.raises(error) as caught:
        read().then(spec)
    assert text in str(caught.value)
    assert str(caught.value).startswith("at test_custom_operators.py:")


def test_a_description_without_bind_or_build_cannot_be_made():
    @dataclass(frozen=True, eq=False)
    class Half(OperatorSpec):
        kind = "half"

    with pytest.raises(TypeError, match="abstract methods"):
        Half()


@dataclass(frozen=True, eq=False)
class Binds(Nameless):
    kind = "binds"
    answer: Any = None

    def bind(self, inputs):
        return self.answer(inputs[0])


ANSWERS = [lambda s: s, lambda s: (), lambda s: (s, s), lambda s: (s.schema,), lambda s: [s]]


@pytest.mark.parametrize("answer", ANSWERS)
def test_bind_has_to_return_a_type_for_each_output(answer):
    with pytest.raises(DefinitionError, match="bind did not return the types of the outputs") as caught:
        flow(read().then(Binds(answer))).bind()
    assert "in operator 'binds' (test_custom_operators.py:" in str(caught.value)


@pytest.mark.parametrize(
    ("need", "error", "text"),
    [
        (lambda s: (s, s.field("w")), UnknownColumnError, "no column 'w'"),
        (lambda s: (s, s.field("v", pa.int64(), pa.int32())), TypeMismatchError, "int64 or int32"),
        (
            lambda s: (s, replace(s, event_time=False).need(event_time=True)),
            EventTimeError,
            "needs event time",
        ),
    ],
)
def test_a_type_says_what_it_lacks(need, error, text):
    with pytest.raises(error) as caught:
        flow(read().then(Binds(need))).bind()
    assert text in str(caught.value)
    assert "in operator 'binds' (test_custom_operators.py:" in str(caught.value)


def test_a_changelog_is_no_stream_of_rows_that_stay():
    totals = read().key_by("k").aggregate(total=sl.sum("v"))
    with pytest.raises(TypeMismatchError, match="takes rows that stay"):
        flow(totals.then(Binds(lambda s: (s, s.need(append_only=True))))).bind()


# --------------------------------------------------------------------------- state


@dataclass(frozen=True, eq=False)
class Counts(OperatorSpec):
    """Numbers the rows; `machine` is how."""

    kind = "counts"
    stateful = True
    order_sensitive = "rows are numbered as they come"
    machine: type

    def bind(self, inputs):
        (stream,) = inputs
        return (replace(stream, schema=stream.schema.append(pa.field("number", pa.int64()))),)

    def build(self, inputs):
        return self.machine(self.bind(inputs)[0].schema)


class Counter(Operator):
    """A right one."""

    def __init__(self, schema):
        self.schema = schema
        self.count = 0

    def on_batch(self, batch, port):
        numbers = np.arange(self.count, self.count + batch.num_rows)
        self.count += batch.num_rows
        return [(0, batch.replaced(self.schema, [*batch.columns, numbers]))]

    def snapshot(self):
        return OperatorState(values={"count": self.count})

    def restore(self, state):
        self.count = state.values["count"]


class Forgets(Counter):
    """Saves its state, and does not take it back."""

    def restore(self, state):
        pass


class RestoresBadly(Counter):
    def restore(self, state):
        self.count = state.values["counts"]


class Unsaved(Operator):
    on_batch = Counter.on_batch

    def __init__(self, schema):
        self.schema, self.count = schema, 0


def saves(state):
    return type("Saves", (Counter,), {"snapshot": lambda self: state, "__module__": "mine"})


def test_state_that_is_saved_and_taken_back_survives():
    checked = flow(read().then(Counts(Counter)))
    assert assert_survives(checked)["out"]["number"].to_pylist() == list(range(200))
    assert_parity(checked)


def test_state_that_is_forgotten_does_not_survive():
    with pytest.raises(AssertionError, match="is not the undisturbed run") as caught:
        assert_survives(flow(read().then(Counts(Forgets))))
    assert "sink 'out': seed" in str(caught.value)
    assert "found only:" in str(caught.value)


def test_a_restore_that_fails_names_the_operator():
    with pytest.raises(KeyError) as caught:
        assert_survives(flow(read().then(Counts(RestoresBadly))))
    assert "while it restored what its snapshot had saved" in caught.value.__notes__
    assert any("in operator 'counts' (test_custom_operators.py:" in note for note in caught.value.__notes__)


def test_state_that_a_restart_would_lose_in_silence_is_refused_at_the_start():
    with pytest.raises(DefinitionError, match="stateful = True, and its machine Unsaved says otherwise"):
        read().then(Counts(Unsaved)).collect()

    @dataclass(frozen=True, eq=False)
    class Silent(Counts):
        kind = "silent"
        stateful = False

    with pytest.raises(DefinitionError, match="stateful = False, and its machine Counter says otherwise"):
        read().then(Silent(Counter)).collect()


def test_build_has_to_return_a_machine():
    with pytest.raises(UserFunctionError, match="build did not return an operator"):
        read().then(Counts(lambda schema: None)).collect()


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ({"count": 1}, "an OperatorState"),
        (OperatorState({"t": pa.table({"n": [1]})}), "table 't' as a list of Segments"),
        (OperatorState({"t": Segment.of(pa.table({"n": [1]}))}), "table 't' as a list of Segments"),
        (OperatorState(values={"count": np.int64(1)}), "values of text, numbers"),
        (OperatorState(values={"at": {1: 2}}), "values of text, numbers"),
        (OperatorState(counters={"late": 1.5}), "counters of int"),
    ],
)
def test_a_snapshot_that_no_checkpoint_can_hold_names_the_operator(state, text, tmp_path):
    with pytest.raises(StreamlibError) as caught:
        flow(read().then(Counts(saves(state)))).run(state=str(tmp_path), progress="none")
    assert text in str(caught.value)
    assert "in operator 'counts' (test_custom_operators.py:" in str(caught.value)


# --------------------------------------------------------------------------- checks of flows


class LastFirst(Counter):
    """Depends on how rows are cut: the last row of each batch comes first."""

    def on_batch(self, batch, port):
        order = np.roll(np.arange(batch.num_rows), 1)
        return super().on_batch(batch.take(order), port)


def test_a_result_that_depends_on_how_rows_are_cut_is_found():
    with pytest.raises(AssertionError, match="the stream of seed 0 is not the batch"):
        assert_parity(flow(read().then(Counts(LastFirst))))


@dataclass(frozen=True, eq=False)
class First(OperatorSpec):
    """The first `n` rows of each key, in the order of arrival; `machine` is how."""

    kind = "first"
    stateful = True
    keyed = True
    n: int
    machine: type

    def bind(self, inputs):
        return (inputs[0],)

    def build(self, inputs):
        return self.machine(self.n, inputs[0])


@dataclass(frozen=True, eq=False)
class FirstToArrive(First):
    order_sensitive = "the rows that come first are kept"


class FirstOfKeys(Operator):
    """A right one: counts in place, and copies what it hands out."""

    def __init__(self, n, stream):
        self.n, self.keys = n, stream.keys
        self.slots = KeySlots([stream.schema.field(key).type for key in stream.keys])
        self.counts = np.zeros(100, np.int64)

    def on_batch(self, batch, port):
        keep = np.zeros(batch.num_rows, bool)
        for i, slot in enumerate(self.slots.of([batch.column(k) for k in self.keys], batch.num_rows)):
            keep[i] = self.counts[slot] < self.n
            self.counts[slot] += 1
        return [(0, batch.filter(keep))]

    def saved(self, count):
        return self.counts[:count].copy()

    def snapshot(self):
        keys = self.slots.keys()
        groups = key_groups(keys, len(self.slots))
        table = {**dict(zip(self.keys, keys, strict=True)), "__key_group": groups}
        return OperatorState({"counts": [self.segment(table)] if len(self.slots) else []})

    def segment(self, table):
        return Segment.of(pa.table({**table, "count": self.saved(len(self.slots))}))

    def restore(self, state):
        table = state.table("counts")
        if table is not None:
            self.slots.of([table[key].combine_chunks() for key in self.keys], table.num_rows)
            self.counts[: table.num_rows] = table["count"].to_numpy()


class SharesItsState(FirstOfKeys):
    def saved(self, count):
        return self.counts[:count]


class MakesItLater(FirstOfKeys):
    def segment(self, table):
        count = len(self.slots)
        return Segment(lambda: pa.table({**table, "count": self.counts[:count].copy()}))


class CountsAllKeys(FirstOfKeys):
    """Says that it is keyed, and is not."""

    seen = 0

    def on_batch(self, batch, port):
        keep = np.arange(self.seen, self.seen + batch.num_rows) < self.n
        self.seen += batch.num_rows
        return [(0, batch.filter(keep))]

    def snapshot(self):
        return OperatorState({}, {"seen": self.seen})

    def restore(self, state):
        self.seen = state.values["seen"]


def test_state_that_is_copied_for_the_snapshot_survives():
    first = flow(read().key_by("k").then(FirstToArrive(20, FirstOfKeys)))
    assert assert_survives(first)["out"].num_rows == 60
    assert_parity(first)


@pytest.mark.parametrize("machine", [SharesItsState, MakesItLater])
def test_a_snapshot_that_changes_before_it_is_written_is_found(machine):
    with pytest.raises(AssertionError) as caught:
        assert_survives(flow(read().key_by("k").then(FirstToArrive(20, machine))))
    text = str(caught.value)
    assert "in operator 'first' (" in text
    assert "table 'counts' of a snapshot changed after the snapshot, before it was written" in text
    assert "found:    other values in 'count'" in text
    assert "self.counts.copy()" in text


@pytest.mark.parametrize("check", [assert_parity, assert_survives])
def test_a_keyed_operator_whose_state_is_of_all_keys_is_found(check):
    """The checks ran with one worker only."""
    with pytest.raises(AssertionError) as caught:
        check(flow(read().key_by("k").then(FirstToArrive(20, CountsAllKeys))))
    text = str(caught.value)
    assert "the workers disagree" in text or "2 workers" in text or "is not the undisturbed run" in text


def test_workers_that_disagree_are_told_what_to_do():
    with pytest.raises(InvariantError) as caught:
        merged_states([{"first": OperatorState({}, {"seen": n})} for n in (1, 2)])
    text = str(caught.value)
    assert "the workers disagree about the state of operator 'first'" in text
    assert "{'seen': 1}, {'seen': 2}" in text
    assert "`counters`" in text
    assert "`__key_group`" in text


def test_a_result_that_depends_on_the_order_of_rows_is_found_unless_it_says_so():
    with pytest.raises(AssertionError, match="is not the batch") as caught:
        assert_parity(flow(read().key_by("k").then(First(20, FirstOfKeys))))
    assert "first: " in str(caught.value)


class ForgetsLateRows(Operator):
    """Counts rows behind the watermark, until it restarts."""

    def __init__(self, n, stream):
        self.late = 0
        self.watermark = MIN_TIME

    def on_batch(self, batch, port):
        self.late += int((batch.event_time < self.watermark).sum())
        return [(0, batch)]

    def on_watermark(self, watermark):
        self.watermark = watermark
        return []

    def deadline_after(self, watermark):
        return min(watermark + 1, MAX_TIME)

    @property
    def late_rows(self):
        return self.late

    def snapshot(self):
        return OperatorState({}, {"watermark": self.watermark}, {"late": 0})

    def restore(self, state):
        self.watermark = state.values["watermark"]


def test_late_rows_that_a_restart_forgets_are_found():
    rows = [{**row, "at": row["at"] - 60_000_000 * (i % 9 == 8)} for i, row in enumerate(ROWS)]
    with pytest.raises(
        AssertionError, match=r"late rows: [0-9]+ instead of [0-9]+; a counter that is not in"
    ):
        assert_survives(flow(read(rows).key_by("k").then(First(20, ForgetsLateRows))))


@pytest.mark.parametrize("check", [assert_parity, assert_survives])
def test_columns_with_dictionaries_reach_sinks(check):
    """They can't be sorted, and the checks sorted what sinks hold."""
    table = pa.table({"n": range(50), "k": pa.array(["a", "b"] * 25).dictionary_encode()})
    big = sl.read(memory.source(table), name="rows").filter(sl.col("n") > 2)
    assert check(flow(big), seeds=range(2))["out"].num_rows == 47


def test_the_first_difference_names_the_column_and_the_row():
    at = pa.array([0, 1], pa.timestamp("us", "Europe/Berlin"))
    text = difference(pa.table({"at": at, "n": [1, 2]}), pa.table({"at": at, "n": [1, 3]}))
    assert text is not None
    assert text.splitlines()[0] == (
        "first: column 'n' is 3 instead of 2 in the row (at=1970-01-01T01:00:00.000001+01:00)"
    )
    assert "zoneinfo" not in text


def test_rows_that_may_be_late_are_no_mistake_of_the_flow():
    late = [*ROWS, {"at": 0, "k": 1, "v": 1.0}]
    counts = read(late).window(windows.tumbling("10s")).aggregate(n=sl.count())
    with pytest.raises(DefinitionError, match="row 200 of partition '0' of source 'rows' may be late"):
        assert_parity(flow(counts))
    found = assert_survives(
        sl.Flow("f", counts.write(memory.sink(), name="out"), counts.late().write(memory.sink(), name="late"))
    )
    assert found["late"].num_rows == 1


def test_changelogs_are_compared_as_the_tables_that_they_describe():
    totals = read().key_by("k").aggregate(total=sl.sum("v"))
    changing = sl.Flow("f", totals.write(memory.table_sink(), name="out"))
    assert sorted(assert_parity(changing)["out"]["k"].to_pylist()) == [0, 1, 2]
    assert_survives(changing, seeds=range(3))
