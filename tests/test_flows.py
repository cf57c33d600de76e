"""Flows as values, toolz composition, and the far ends of time, keys and values."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pytest
from toolz import compose_left, pipe

import streamlib as sl
from streamlib import col, windows
from streamlib import operators as op
from streamlib.connectors import memory
from streamlib.core.errors import NotPicklableError, StateIncompatibleError
from tests.flows import SECOND, table_rows

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
