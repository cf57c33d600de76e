"""Flows as values, toolz composition, and the far ends of time, keys and values."""

from __future__ import annotations

import functools
import inspect
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from toolz import compose_left, pipe

import streamlib as sl
from streamlib import col, windows
from streamlib import operators as op
from streamlib.connectors import memory, parquet
from streamlib.core.canonical import fingerprint
from streamlib.core.errors import (
    DefinitionError,
    NotPicklableError,
    StateIncompatibleError,
    StreamlibError,
    TypeMismatchError,
    UnknownColumnError,
)
from tests.flows import SECOND, Case, table_rows

LIMIT = 2**63 - 1


def read(table: pa.Table | list[dict], **options) -> sl.Stream:
    settings = {"event_time": "at", "watermark": sl.bounded_disorder("1s"), "max_ahead": None} | options
    return sl.read(memory.source(table), name="rows", **settings)


def rows(times: list[int], keys: list | None = None, values: list | None = None) -> pa.Table:
    keys = ["a"] * len(times) if keys is None else keys
    values = [1] * len(times) if values is None else values
    key = pa.array(keys) if len(keys) else pa.array([], pa.string())
    return pa.table({"at": pa.array(times, pa.int64()), "key": key, "value": pa.array(values, pa.int64())})


def counted(stream: sl.Stream, size: str = "10s") -> sl.Stream:
    return stream.key_by("key").window(windows.tumbling(size)).aggregate(n=sl.count(), total=sl.sum("value"))


def doubled(record):
    return {"key": record["key"], "value": record["value"] * 2}


def both_ways(table: pa.Table, tmp_path, stream=counted) -> list[tuple]:
    """The rows of the batch, which the streaming run has to give as well."""
    sink = memory.sink()
    result = stream(read(table))
    run = sl.Flow("both", result.write(sink, name="out")).run(state=str(tmp_path / "s"), progress="none")
    assert table_rows(sink.table()) == table_rows(result.collect())
    assert run.late_rows == 0
    return table_rows(sink.table())


def test_the_factories_compose_with_toolz_to_what_the_methods_build():
    busy = compose_left(op.filter(col("value") > 0), op.key_by("key"))  # a custom operator
    hourly = compose_left(op.window(windows.tumbling("1h")), op.aggregate(n=sl.count()))
    piped = pipe(read(rows([0])), busy, hourly)
    fluent = (
        read(rows([0]))
        .filter(col("value") > 0)
        .key_by("key")
        .window(windows.tumbling("1h"))
        .aggregate(n=sl.count())
    )
    assert piped == fluent
    assert piped.collect().to_pylist()[0]["n"] == 1


def flow_of(threshold: int = 0, size: str = "10s", times: tuple[int, ...] = (0, 1)) -> sl.Flow:
    stream = counted(read(rows(list(times))).filter(col("value") > threshold), size)
    return sl.Flow("value", stream.write(memory.sink(), name="out"))


def test_flows_are_equal_where_they_mean_the_same():
    assert flow_of().sinks[0].node.inputs[0].node.form == flow_of().sinks[0].node.inputs[0].node.form
    first = counted(read(rows([0, 1])))
    assert first == counted(read(rows([0, 1])))
    assert hash(first) == hash(counted(read(rows([0, 1]))))
    assert first != counted(read(rows([0, 2])))
    assert first != counted(read(rows([0, 1])), "20s")
    assert first != counted(read(rows([0, 1])).filter(col("value") > 0))


def test_a_stream_survives_pickling_and_a_lambda_says_why_it_does_not():
    schema = {"key": pa.string(), "value": pa.int64()}
    stream = read(rows([0])).map(doubled, schema=schema)
    assert pickle.loads(pickle.dumps(stream)) == stream
    with pytest.raises(NotPicklableError, match=r"operator 'map' \(test_flows.py:"):
        pickle.dumps(read(rows([0])).map(lambda record: record, schema=schema))


@pytest.mark.parametrize(
    "times",
    [
        [-25 * SECOND, -10 * SECOND, -1, 0],
        [-LIMIT - 1, -LIMIT, 0, LIMIT - 1, LIMIT],
        [LIMIT, LIMIT, LIMIT - 10 * SECOND],
    ],
)
def test_negative_and_far_times_fall_into_floored_and_saturated_windows(tmp_path, times):
    found = both_ways(rows(sorted(times)), tmp_path)
    assert sum(row[3] for row in found) == len(times)
    for _, start, end, *_ in found:
        assert end - start == 10 * SECOND or start == -LIMIT - 1 or end == LIMIT
        assert any(start <= time <= end for time in times)


def test_days_on_which_clocks_change_keep_their_hours():
    local = pa.array(
        ["2013-03-10T01:30", "2013-03-10T02:30", "2013-03-10T03:30", "2013-11-03T01:30", "2013-11-03T02:30"]
    ).cast(pa.timestamp("us"))
    table = pa.table({"at": local, "key": ["a"] * 5, "value": [1] * 5})
    found = counted(read(table, tz="America/New_York"), "1h").collect()
    starts = [instant.strftime("%m-%d %H:%M") for instant in found["window_start"].to_pylist()]
    # 02:30 does not exist: it counts as 03:00 (07:00 UTC), beside 03:30; 01:30 in autumn is the first one
    assert starts == ["03-10 06:00", "03-10 07:00", "11-03 05:00", "11-03 07:00"]
    assert found["n"].to_pylist() == [1, 2, 1, 1]


@pytest.mark.parametrize("count", [0, 1, 500])
def test_empty_input_one_row_and_one_key(tmp_path, count):
    found = both_ways(rows(list(range(count))), tmp_path)
    assert [row[3] for row in found] == [count] * bool(count)


def test_nothing_but_nulls_is_one_key_without_values(tmp_path):
    table = rows([0, 1, 2], pa.nulls(3, pa.string()), [None] * 3)
    assert both_ways(table, tmp_path) == [(None, 0, 10 * SECOND, 3, 0)]


@pytest.mark.parametrize("spread", [1, 9_007_199_254_740_993])
def test_a_million_keys(tmp_path, spread):
    keys = np.arange(1_000_000) * spread
    table = pa.table({"at": keys % SECOND, "key": keys, "value": keys % 7})
    found = counted(read(table)).collect()
    assert found.num_rows == 1_000_000
    assert np.array_equal(np.sort(found["key"].to_numpy()), np.sort(keys))
    assert set(found["n"].unique().to_pylist()) == {1}


def test_integer_sums_are_exact_past_the_limit_and_back(tmp_path):
    big = 2**62
    assert both_ways(rows([0, 1, 2], None, [big, big, -big]), tmp_path)[0][4] == big
    with pytest.raises(OverflowError, match="does not fit int64"):
        counted(read(rows([0, 1], None, [big, big]))).collect()


@pytest.mark.parametrize("key", [pa.int32(), pa.string()])
def test_state_under_another_key_or_type_is_refused_before_the_first_row(tmp_path, key):
    def flow(dtype: pa.DataType, name: str) -> sl.Flow:
        table = pa.table({"at": [0, 1], name: pa.array(["1", "2"]).cast(dtype), "value": [1, 2]})
        panes = read(table).key_by(name).window(windows.tumbling("10s")).aggregate(n=sl.count())
        return sl.Flow("keys", panes.write(memory.sink(), name="out"))

    flow(pa.int64(), "key").run(state=str(tmp_path / "s"), progress="none")
    for other in (flow(key, "key"), flow(pa.int64(), "other")):
        with pytest.raises(StateIncompatibleError, match="keyed by"):
            other.run(state=str(tmp_path / "s"), progress="none")


# --------------------------------------------------------------------------- equality and fingerprints


def tripled(record):
    return {"key": record["key"], "value": record["value"] * 3}


class Doubling:
    """A callable object, which pickles with what it holds."""

    def __init__(self, by: object = 2) -> None:
        self.by = by

    def __call__(self, record):
        return {"key": record["key"], "value": record["value"] * self.by}


MAPPED = {"key": pa.string(), "value": pa.int64()}
SOURCE = [{"at": 0, "key": "a", "value": 1}, {"at": 1, "key": "b", "value": 2}]


def built(
    *,
    data: list[dict] = SOURCE,
    name: str = "rows",
    event_time: object = "at",
    bound: str = "1s",
    max_ahead: str | None = "1d",
    filtered: object = col("value") > 1,
    function: object = doubled,
    schema: dict = MAPPED,
    key: str = "key",
    window: object = windows.tumbling("10s"),
    window_name: str | None = None,
    aggregates: dict | None = None,
) -> sl.Stream:
    stream = sl.read(
        memory.source(data),
        name=name,
        event_time=event_time,
        watermark=sl.bounded_disorder(bound),
        max_ahead=max_ahead,
    )
    mapped = stream.filter(filtered).map(function, schema=schema).key_by(key)
    return mapped.window(window, name=window_name).aggregate(**(aggregates or {"n": sl.count()}))


CHANGES: dict[str, dict] = {
    "a row": {"data": [*SOURCE[:1], {"at": 1, "key": "b", "value": 3}]},
    "a type": {"data": pa.Table.from_pylist(SOURCE).cast(pa.schema([("at", pa.int32()), *MAPPED.items()]))},
    "the name of the source": {"name": "other"},
    "the event time": {"event_time": col("at") + 1},
    "the bound": {"bound": "2s"},
    "max_ahead": {"max_ahead": None},
    "a constant": {"filtered": col("value") > 2},
    "the type of a constant": {"filtered": col("value") > 1.0},
    "an operator": {"filtered": col("value") >= 1},
    "a column": {"filtered": col("at") > 1},
    "a function": {"function": tripled},
    "the state of a function": {"function": Doubling()},
    "a schema": {"schema": {"key": pa.string(), "value": pa.int32()}},
    "the key": {"key": "value"},
    "the size": {"window": windows.tumbling("20s")},
    "the slide": {"window": windows.sliding("10s", every="5s")},
    "the offset": {"window": windows.tumbling("10s", offset="1s")},
    "the name of the window": {"window_name": "panes"},
    "an aggregate": {"aggregates": {"n": sl.count("value")}},
    "the name of an aggregate": {"aggregates": {"m": sl.count()}},
}


def test_what_is_built_twice_is_equal_and_has_one_fingerprint():
    first, second = built(), built()
    sink = memory.sink()
    flows = [sl.Flow("same", stream.write(sink, name="out")) for stream in (first, second)]
    assert first == second
    assert len({first, second}) == 1
    assert flows[0] == flows[1]
    assert flows[0].fingerprint == flows[1].fingerprint
    assert hash(flows[0]) == hash(flows[1])


@pytest.mark.parametrize("what", CHANGES)
def test_streams_differ_where(what):
    sink = memory.sink()
    changed = built(**CHANGES[what])
    assert changed != built()
    flows = [sl.Flow("f", stream.write(sink, name="out")) for stream in (changed, built())]
    assert flows[0] != flows[1]
    assert flows[0].fingerprint != flows[1].fingerprint


def test_flows_differ_in_name_sinks_and_their_order():
    stream, sink, other = built(), memory.sink(), memory.sink()
    flow = sl.Flow("f", stream.write(sink, name="a"), stream.write(other, name="b"))
    assert flow == sl.Flow("f", stream.write(sink, name="a"), stream.write(other, name="b"))
    assert flow != sl.Flow("g", stream.write(sink, name="a"), stream.write(other, name="b"))
    assert flow != sl.Flow("f", stream.write(sink, name="a"))
    assert flow != sl.Flow("f", stream.write(other, name="a"), stream.write(sink, name="b"))
    assert flow != sl.Flow("f", stream.write(sink, name="a"), stream.late().write(other, name="b"))
    assert flow != "f"


def test_where_a_flow_was_written_is_no_part_of_it():
    here = read(SOURCE).filter(col("value") > 1)
    there = read(SOURCE).filter(col("value") > 1)
    assert here.port.node.where != there.port.node.where
    assert here == there


def test_equal_rows_are_equal_however_they_lie_in_memory():
    table = pa.table({"at": [0, 1, 2, 3], "key": ["x", "a", None, "b"]})
    sliced, whole = table.slice(1, 2), pa.table({"at": [1, 2], "key": ["a", None]})
    chunked = pa.concat_tables([table.slice(1, 1), table.slice(2, 1)])
    assert read(sliced) == read(whole) == read(chunked)
    assert read(sliced) != read(table.slice(2, 2))


def test_a_lambda_equals_only_itself():
    function = lambda record: record  # noqa: E731
    assert built(function=function) == built(function=function)
    assert built(function=function) != built(function=lambda record: record)


def test_branches_that_meet_again_and_again_cost_no_more_than_they_are():
    stream = read(SOURCE)
    for i in range(60):
        yes, no = stream.split(col("value") > i)
        stream = yes.union(no)
    assert len(repr(stream.port.node.form)) < 1000
    assert stream.collect().num_rows == 2


def test_a_fingerprint_is_the_same_in_another_process():
    code = "from tests.test_flows import built; from streamlib.core.canonical import fingerprint;"
    code += "from tests.flows import Case; print(fingerprint(built().form), Case(5).flow(0).fingerprint)"
    printed = {
        subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=Path(__file__).parent.parent,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {f"{fingerprint(built().form)} {Case(5).flow(0).fingerprint}\n"}


# --------------------------------------------------------------------------- pickling


def test_a_flow_survives_pickling_with_its_shared_nodes():
    stream = built(function=Doubling(3))
    flow = sl.Flow(
        "f",
        stream.write(parquet.sink("/tmp/out"), name="out"),
        stream.late().write(parquet.sink("/tmp/late"), name="late"),
    )
    again = pickle.loads(pickle.dumps(flow))
    assert [b.id for b in again.bind().nodes] == [b.id for b in flow.bind().nodes]
    assert again.collect()["out"].to_pylist() == flow.collect()["out"].to_pylist()
    plain = sl.Flow("g", built().write(parquet.sink("/tmp/out"), name="out"))
    assert pickle.loads(pickle.dumps(plain)) == plain
    assert pickle.loads(pickle.dumps(plain)).fingerprint == plain.fingerprint
    assert pickle.loads(pickle.dumps(plain)).sinks[0].node.where == plain.sinks[0].node.where


@pytest.mark.parametrize(
    "function",
    [
        lambda record: record,
        functools.partial(lambda record: record),
        Doubling(lambda: 2),
        Doubling(lambda: 2).__call__,
    ],
    ids=["lambda", "partial", "object", "method"],
)
@pytest.mark.parametrize("operator", ["map", "map_batches"])
def test_what_cannot_be_pickled_says_which_operator_holds_it_and_what_to_do(function, operator):
    stream = getattr(read(SOURCE), operator)(function, schema=MAPPED)
    with pytest.raises(NotPicklableError) as raised:
        pickle.dumps(sl.Flow("f", stream.write(parquet.sink("/tmp/out"), name="out")))
    text = str(raised.value)
    assert text.startswith(f"in operator {operator!r} (test_flows.py:")
    assert "to do:    move the function to the top level of a module" in text


def test_errors_survive_pickling():
    with pytest.raises(StreamlibError) as raised:
        read(SOURCE).select("valu").collect()
    again = pickle.loads(pickle.dumps(raised.value))
    assert str(again) == str(raised.value)
    assert type(again) is type(raised.value)


# --------------------------------------------------------------------------- binding


@dataclass(frozen=True)
class Probe:
    """A source that counts what it is asked."""

    calls: list[str] = field(default_factory=list, compare=False)
    replay: str = "replayable"
    bounded: bool = True

    def schema(self):
        self.calls.append("schema")
        return pa.schema([("at", pa.int64()), ("key", pa.string()), ("value", pa.int64())])

    def partitions(self):
        self.calls.append("partitions")
        return ["0"]

    def open(self, partition, position, event_time):
        self.calls.append("open")
        raise AssertionError("nothing may be opened while a flow is bound")


@dataclass(frozen=True)
class Delivering:
    """A sink that promises what it is told to, and must not be opened."""

    delivery: str

    def open(self, context):
        raise AssertionError("nothing may be opened while a flow is bound")


def probed(probe: Probe, delivery: str = "staged") -> sl.Flow:
    stream = sl.read(probe, name="rows", event_time="at", watermark=sl.monotone())
    return sl.Flow("f", counted(stream.filter(col("value") > 0)).write(Delivering(delivery), name="out"))


def test_building_asks_nothing_and_binding_asks_for_schemas_only():
    probe = Probe()
    flow = probed(probe)
    assert flow == probed(probe)
    repr(flow)
    assert probe.calls == []
    flow.bind()
    flow.explain()
    flow.guarantee()
    assert set(probe.calls) == {"schema"}
    assert len(probe.calls) == 3


@pytest.mark.parametrize(
    ("replay", "delivery", "level", "weakest"),
    [
        ("replayable", "staged", "exactly-once", None),
        ("replayable", "write_ahead", "exactly-once", None),
        ("replayable", "idempotent", "exactly-once", None),
        ("replayable", "at_least_once", "at-least-once", "sink 'out', which is at-least-once"),
        ("acknowledging", "staged", "at-least-once", "source 'rows', which is acknowledging"),
        ("lossy", "staged", "at-most-once", "source 'rows', which is lossy"),
        ("lossy", "at_least_once", "at-most-once", "source 'rows', which is lossy"),
    ],
)
def test_the_guarantee_is_that_of_the_weakest_end_and_names_it(replay, delivery, level, weakest):
    flow = probed(Probe(replay=replay), delivery)
    guarantee = flow.guarantee()
    assert (guarantee.level, guarantee.weakest) == (level, weakest)
    assert flow.explain().endswith(f"guarantee: {guarantee}")


def test_the_guarantee_looks_at_every_end():
    first = sl.read(Probe(), name="first")
    second = sl.read(Probe(replay="lossy"), name="second")
    flow = sl.Flow(
        "f",
        first.write(Delivering("staged"), name="one"),
        second.write(Delivering("at_least_once"), name="two"),
    )
    assert flow.guarantee().weakest == "source 'second', which is lossy"


def test_explain_shows_settings_schemas_keys_and_where_order_is_trusted():
    stream = read(SOURCE).map_batches(unchanged).key_by("key")
    panes = stream.window(windows.sliding("10s", every="5s"), name="panes").aggregate(top=sl.max("value"))
    flow = sl.Flow("shown", panes.write(Delivering("staged"), name="out"))
    lines = flow.explain().splitlines()
    assert lines == [
        "flow shown",
        "  rows [read]",
        "      memory.source(2 rows: at, key, value); event time col('at'); watermark bounded disorder 1s",
        "      replayable, bounded: exactly-once",
        "      out: at int64, key string, value int64",
        "  rows.map_batches [map_batches] <- rows",
        "      tests.test_flows:unchanged",
        "      out: at int64, key string, value int64",
        "      order-sensitive: order trusted (return __row__ to change it)",
        "  rows.key_by [key_by] <- rows.map_batches",
        "      key",
        "      out: at int64, key string, value int64 (keyed by key)",
        "  panes [aggregate] <- rows.key_by",
        "      sliding 10s every 5s: top=max(col('value'))",
        "      state by key in 128 key groups",
        "      out: key string, window_start timestamp[us, tz=UTC], window_end timestamp[us, tz=UTC],"
        " top int64 (keyed by key)",
        "      late: at int64, key string, value int64 (keyed by key)",
        "      missed: at int64, key string, value int64, window_start timestamp[us, tz=UTC],"
        " window_end timestamp[us, tz=UTC] (keyed by key)",
        "  out [write] <- panes",
        "      Delivering(delivery='staged')",
        "      takes append-only rows; staged: exactly-once",
        "guarantee: exactly-once",
    ]


def unchanged(batch):
    return batch


def test_explain_says_where_there_is_no_event_time_and_which_output_is_read():
    timeless = sl.read(memory.source(SOURCE), name="rows")
    yes, no = timeless.split(col("value") > 1)
    flow = sl.Flow(
        "f", yes.write(Delivering("staged"), name="yes"), no.write(Delivering("staged"), name="no")
    )
    text = flow.explain()
    assert "out: at int64, key string, value int64 (no event time)" in text
    assert "yes [write] <- rows.split\n" in text
    assert "no [write] <- rows.split.rest\n" in text


def line() -> int:
    return inspect.currentframe().f_back.f_lineno


def test_a_binding_error_names_the_line_that_built_the_operator():
    stream = read(SOURCE)
    bad, written = stream.filter(col("valeu") > 1), line()
    later = bad.key_by("key").window(windows.tumbling("1s")).aggregate(n=sl.count())
    flow = sl.Flow("f", later.write(Delivering("staged"), name="out"))
    for ask in (flow.bind, flow.explain, flow.guarantee, flow.collect):
        with pytest.raises(StreamlibError) as raised:
            ask()
        text = str(raised.value)
        assert text.startswith(f"in operator 'filter' (test_flows.py:{written}): no column 'valeu'")
        assert "did you mean 'value'?" in text


# --------------------------------------------------------------------------- ids of state


def ids(*streams: sl.Stream) -> list[str]:
    sinks = (s.write(Delivering("staged"), name=f"out{i}") for i, s in enumerate(streams))
    return [b.id for b in sl.Flow("f", *sinks).bind().nodes if b.node.spec.kind == "aggregate"]


def test_stateless_operators_leave_no_trace_in_the_ids_of_state():
    stream = read(SOURCE)
    expected = ids(counted(stream))
    assert expected == ["rows.aggregate"]
    yes, no = stream.split(col("value") > 1)
    for changed in (
        stream.filter(col("value") > 1),
        stream.filter(col("value") > 1).with_columns(double=col("value") * 2).select("key", "value"),
        stream.map(doubled, schema=MAPPED).map_batches(unchanged),
        yes,
        no,
        yes.union(no),
    ):
        assert ids(counted(changed)) == expected
    assert ids(counted(stream).select("key", "n")) == expected


def test_every_stateful_operator_has_an_id_of_its_own():
    stream = read(SOURCE)
    chain = counted(stream).window(windows.tumbling("1h")).aggregate(n=sl.sum("n"))
    assert ids(counted(stream), counted(stream, "20s")) == ["rows.aggregate", "rows.aggregate-2"]
    assert ids(chain) == ["rows.aggregate", "rows.aggregate.aggregate"]
    named = stream.window(windows.tumbling("10s"), name="mine").aggregate(n=sl.count())
    assert ids(named, counted(stream)) == ["mine", "rows.aggregate"]
    assert ids(named.window(windows.tumbling("1h")).aggregate(n=sl.count())) == ["mine", "mine.aggregate"]


def test_the_sources_above_are_in_an_id_in_the_order_of_their_names():
    left, right = (
        read(SOURCE),
        sl.read(memory.source(SOURCE), name="a", event_time="at", watermark=sl.monotone()),
    )
    assert ids(counted(left.union(right))) == ids(counted(right.union(left))) == ["a.rows.aggregate"]


def test_state_stays_where_it_is_when_a_filter_is_inserted(tmp_path):
    sink = memory.sink()

    def flow(stream: sl.Stream) -> sl.Flow:
        return sl.Flow("f", counted(stream).write(sink, name="out"))

    flow(read(SOURCE)).run(state=str(tmp_path), progress="none")
    again = flow(read(SOURCE).filter(col("value") > 0)).run(state=str(tmp_path), progress="none")
    assert again.outcome == "already finished"


# --------------------------------------------------------------------------- rebinding


def test_rebinding_changes_the_connector_and_nothing_else():
    sink, other = memory.sink(), memory.sink()
    flow = sl.Flow("f", built().write(sink, name="out"))
    moved = flow.rebind(sources={"rows": memory.source(SOURCE * 2)}, sinks={"out": other})
    (read_before, before), (read_after, after) = flow.bind().reads()["rows"], moved.bind().reads()["rows"]
    assert after.source == memory.source(SOURCE * 2)
    assert (after.event_time is before.event_time, after.watermark, after.max_ahead, after.tz) == (
        True, before.watermark, before.max_ahead, before.tz
    )  # fmt: skip
    assert read_after.node.where == read_before.node.where
    assert moved.bind().writes()["out"][1].sink is other
    assert [b.id for b in moved.bind().nodes] == [b.id for b in flow.bind().nodes]
    assert flow.rebind() == flow
    assert flow.bind().writes()["out"][1].sink is sink  # a flow is a value
    assert moved != flow


def test_a_backfill_reads_other_rows_through_the_same_operators(tmp_path):
    sink, other = memory.sink(), memory.sink()
    flow = sl.Flow("f", counted(read(rows([0, 1, 2]))).write(sink, name="out"))
    flow.backfill(
        sources={"rows": memory.source(rows([5] * 7))},
        sinks={"out": other},
        state=str(tmp_path),
        progress="none",
    )
    assert other.table()["n"].to_pylist() == [7]
    assert sink.table().num_rows == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"sources": {"row": memory.source(SOURCE)}}, "no source called 'row'.*did you mean 'rows'"),
        ({"sinks": {"outt": memory.sink()}}, "no sink called 'outt'.*did you mean 'out'"),
        ({"sources": {"out": memory.source(SOURCE)}}, "no source called 'out'.*one of rows"),
        ({"sinks": {"rows": memory.sink()}}, "no sink called 'rows'.*one of out"),
    ],
)
def test_an_unknown_name_is_answered_with_the_closest(options, text):
    flow = sl.Flow("f", built().write(memory.sink(), name="out"))
    with pytest.raises(DefinitionError, match=f"(?s){text}"):
        flow.rebind(**options)


def test_a_source_without_the_columns_is_refused_when_it_is_bound():
    flow = sl.Flow("f", built().write(memory.sink(), name="out"))
    moved = flow.rebind(sources={"rows": memory.source([{"at": 0, "key": "a"}])})
    with pytest.raises(UnknownColumnError, match="in operator 'filter'"):
        moved.bind()
    moved = flow.rebind(sources={"rows": memory.source([{"time": 0, "key": "a", "value": 1}])})
    with pytest.raises(UnknownColumnError, match=r"in operator 'rows' \(test_flows.py"):
        moved.bind()


# --------------------------------------------------------------------------- definitions that mean nothing


def test_two_parts_of_one_name_are_refused_with_both_lines():
    one = sl.read(memory.source(SOURCE), name="rows")
    two = sl.read(memory.source(SOURCE), name="rows")
    for flow in (
        sl.Flow("f", one.union(two).write(memory.sink(), name="out")),
        sl.Flow("f", one.write(memory.sink(), name="out"), one.write(memory.sink(), name="out")),
        sl.Flow("f", one.write(memory.sink(), name="rows")),
        sl.Flow("f", read(SOURCE).window(windows.tumbling("1s"), name="rows").aggregate(n=sl.count()).write(
            memory.sink(), name="out")),
    ):  # fmt: skip
        with pytest.raises(
            DefinitionError, match=r"called '(rows|out)'(?s:.*)\(test_flows.py:.*\(test_flows.py:"
        ):
            flow.bind()


@pytest.mark.parametrize("name", ["", "a/b", "a.b", "a b", "ü", "../x", "x" * 101, "-" * 0, None, 5, "a\n"])
def test_bad_names_are_refused_where_they_are_written(name):
    stream = read(SOURCE)
    for build in (
        lambda: sl.read(memory.source(SOURCE), name=name),
        lambda: stream.write(memory.sink(), name=name),
        lambda: sl.Flow(name, stream.write(memory.sink(), name="out")),
    ):
        with pytest.raises(DefinitionError, match=r"(?s)not a name for a .*letters, digits"):
            build()


@pytest.mark.parametrize("sinks", [(), (5,), ("out",), (None,)])
def test_a_flow_needs_sinks(sinks):
    with pytest.raises(DefinitionError, match="needs sinks"):
        sl.Flow("f", *sinks)
    with pytest.raises(DefinitionError, match="needs sinks"):
        sl.Flow("f", read(SOURCE))


def test_a_stream_is_not_its_rows():
    stream = read(SOURCE)
    with pytest.raises(DefinitionError, match=r"can't be iterated(?s:.*)`.collect\(\)`"):
        list(stream)
    with pytest.raises(DefinitionError, match="can't be iterated"):
        _, _ = stream
    with pytest.raises(DefinitionError, match=r"no output 'early'(?s:.*)one of out, late, missed"):
        counted(stream).output("early")
    with pytest.raises(DefinitionError, match="no output 'late'"):
        stream.late()
    assert stream  # so that `if stream:` and `stream or other` do what they look like


@pytest.mark.parametrize(
    "use",
    [
        lambda c: bool(c > 1),
        lambda c: 1 < c < 3,
        lambda c: (c > 1) and (c < 3),
        lambda c: not c,
        lambda c: c in [1, 2],
        lambda c: 3 if c == 1 else 4,
    ],
    ids=["bool", "chain", "and", "not", "in", "if"],
)
def test_an_expression_has_no_truth_value(use):
    with pytest.raises(TypeMismatchError, match="no truth value"):
        use(col("value"))


def test_an_expression_can_not_be_iterated():
    with pytest.raises(TypeError):
        iter(col("value"))
    with pytest.raises(TypeError):
        col("value")["x"]


def test_a_source_that_is_none_is_refused():
    with pytest.raises(TypeMismatchError, match=r"in operator 'rows' \(test_flows.py:.*not a source"):
        sl.read(SOURCE, name="rows")


def test_a_mistake_outside_any_operator_names_the_users_line():
    with pytest.raises(sl.StreamlibError) as caught:
        sl.Flow("empty")
    assert str(caught.value).startswith("at test_flows.py:")
