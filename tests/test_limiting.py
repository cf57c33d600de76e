"""Operators that let some rows pass: sample, distinct, throttle, against plain Python."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toolz import pipe

import streamlib as sl
from streamlib import operators as op
from streamlib.connectors import memory
from streamlib.core.errors import DefinitionError, EventTimeError, TypeMismatchError, UnknownColumnError
from streamlib.operators.apart import first_apart
from streamlib.testing import assert_parity, assert_survives
from tests.sharing import same_rows, shared_rows

SCHEMA = pa.schema([("at", pa.int64()), ("key", pa.string()), ("n", pa.int64())])
Row = dict[str, Any]


def of(rows: list[Row], chunk: int = 64, delay: int = 3) -> sl.Stream:
    source = memory.source(pa.Table.from_pylist(rows, SCHEMA), chunk_rows=chunk)
    return sl.read(source, name="rows", event_time="at", watermark=sl.bounded_disorder(delay), max_ahead=None)


def random_rows(seed: int, count: int = 120, disorder: int = 3) -> list[Row]:
    chance = random.Random(seed)
    now, rows = chance.randint(-50, 50), []
    for n in range(count):
        now += chance.choice([0, 0, 1, 2, 7])
        at = now - chance.randint(0, disorder)
        rows.append({"at": at, "key": chance.choice(["a", "b", "c", None]), "n": n})
    return rows


def distinct(rows: list[Row], within: int) -> list[Row]:
    kept: list[Row] = []
    for row in rows:
        if all(k["key"] != row["key"] or abs(k["at"] - row["at"]) >= within for k in kept):
            kept.append(row)
    return kept


def throttled(rows: list[Row], most: int, per: int) -> list[Row]:
    counts: dict[Any, int] = {}
    kept = []
    for row in rows:
        place = (row["key"], row["at"] // per)
        counts[place] = counts.get(place, 0) + 1
        if counts[place] <= most:
            kept.append(row)
    return kept


@given(
    rows=st.lists(st.tuples(st.integers(-20, 60), st.sampled_from(["a", "b", None])), max_size=60),
    within=st.integers(1, 30),
    chunk=st.integers(1, 70),
)
def test_distinct_keeps_the_first_of_those_within_the_time(rows, within, chunk):
    table = [{"at": at, "key": key, "n": n} for n, (at, key) in enumerate(rows)]
    found = of(table, chunk, delay=100).distinct("key", within=within)
    expected = distinct(table, within)
    assert found.collect().to_pylist() == expected
    repeated = found.output("repeated").collect().to_pylist()
    assert same_rows(repeated + expected, table)


@settings(max_examples=200)
@given(
    rows=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 2)), max_size=120),
    interval=st.integers(1, 30),
    order=st.sampled_from(["as they are", "rising", "falling", "nearly rising"]),
    far=st.sampled_from([0, 2**63 - 301, -(2**63)]),
)
def test_rows_are_kept_apart_as_one_after_the_other(rows, interval, order, far):
    """Whether times rise, fall, or neither."""
    if order != "as they are":
        slack = 25 if order == "nearly rising" else 0
        keyed = [(at + (7 * n) % (slack + 1), n) for n, (at, _) in enumerate(rows)]
        rows = [rows[n] for _, n in sorted(keyed, reverse=order == "falling")]
    kept: list[tuple[int, int]] = []
    expected = []
    for at, value in rows:
        expected.append(all(v != value or abs(at - t) >= interval for t, v in kept))
        if expected[-1]:
            kept.append((at, value))
    times = np.array([at + far for at, _ in rows], np.int64)
    values = np.array([value for _, value in rows], np.int64)
    assert first_apart(values, times, interval).tolist() == expected


@pytest.mark.parametrize("within", [10, 2**60])
def test_distinct_keeps_rows_apart_over_many_intervals_and_over_more_than_there_are(within):
    rows = [{"at": 3 * n, "key": "a", "n": n} for n in range(500)]
    assert of(rows, 1000).distinct("key", within=within).collect().to_pylist() == distinct(rows, within)


@given(
    rows=st.lists(st.tuples(st.integers(-20, 60), st.sampled_from(["a", "b", None])), max_size=60),
    most=st.integers(1, 3),
    chunk=st.integers(1, 70),
)
def test_throttle_keeps_the_first_of_every_interval(rows, most, chunk):
    table = [{"at": at, "key": key, "n": n} for n, (at, key) in enumerate(rows)]
    found = pipe(of(table, chunk, delay=100), op.key_by("key"), op.throttle(most, per=10))
    expected = throttled(table, most, 10)
    assert found.collect().to_pylist() == expected
    assert same_rows(found.output("over").collect().to_pylist() + expected, table)


@pytest.mark.parametrize("seed", range(3))
def test_streams_and_batches_agree_also_after_crashes(seed):
    rows = random_rows(seed)
    stream = of(rows)
    flow = sl.Flow(
        "f",
        stream.distinct("key", within=5).write(memory.sink(), name="distinct"),
        stream.key_by("key").throttle(2, per=5).write(memory.sink(), name="throttled"),
        stream.sample(0.5).write(memory.sink(), name="sample"),
    )
    found = assert_parity(flow, seeds=range(2))
    assert_survives(flow, seeds=range(2))
    assert same_rows(found["distinct"].to_pylist(), distinct(rows, 5))
    assert same_rows(found["throttled"].to_pylist(), throttled(rows, 2, 5))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("output", ["out", "late"])
@pytest.mark.parametrize(
    "transform", [op.distinct("key", within=4), op.throttle(1, per=4)], ids=["distinct", "throttle"]
)
def test_any_number_of_workers_gives_the_same_also_for_late_rows(seed, output, transform):
    rows = random_rows(seed, disorder=20)

    def stream(chunk: int) -> sl.Stream:
        return transform(of(rows, chunk).key_by("key")).output(output)

    alone = shared_rows(stream, 0, workers=(1,))
    assert alone
    assert same_rows(shared_rows(stream, seed + 1), alone)


def test_a_sample_is_the_same_rows_for_every_cut_and_a_fraction_of_them():
    rows = random_rows(5, count=4000)
    found = of(rows).sample(0.25).collect()
    assert 850 < found.num_rows < 1150
    assert of(rows, 7).sample(0.25).collect().equals(found)
    assert not of(rows).sample(0.25, seed=1).collect().equals(found)
    assert of(rows).sample(0).collect().num_rows == 0
    assert of(rows).sample(1).collect().num_rows == 4000


def test_a_sample_by_a_column_keeps_or_drops_all_rows_of_a_value():
    rows = [{"at": n, "key": str(n % 100), "n": n} for n in range(1000)]
    keys = of(rows).sample(0.3, by="key").collect()["key"].to_pylist()
    assert 0 < len(set(keys)) < 100
    assert all(keys.count(key) == 10 for key in set(keys))


def test_rows_of_a_changelog_are_sampled_as_rows_of_its_table():
    table = of(random_rows(1), 1).key_by("key").aggregate(n=sl.count())
    everything = {row["key"]: row["n"] for row in table.collect().to_pylist()}
    for row in table.sample(0.5, by="key").collect().to_pylist():
        assert everything[row["key"]] == row["n"]


@pytest.mark.parametrize(
    ("build", "error", "text"),
    [
        (lambda s: s.sample(1.5), DefinitionError, "from 0 to 1"),
        (lambda s: s.sample(0.5, by="kez"), UnknownColumnError, "did you mean 'key'"),
        (lambda s: s.sample(0.5, seed="x"), DefinitionError, "not a seed"),
        (lambda s: s.distinct(within="1s"), DefinitionError, "takes columns"),
        (lambda s: s.distinct("key", within=0), DefinitionError, "a duration above 0"),
        (lambda s: s.throttle(0, per="1s"), DefinitionError, "from 1 on"),
        (lambda s: s.aggregate(n=sl.count()).distinct("n", within=1), EventTimeError, "event time"),
        (lambda s: s.aggregate(n=sl.count()).throttle(1, per=1), EventTimeError, "event time"),
        (lambda s: s.with_columns(n=sl.col("n")).throttle(1, per="x"), Exception, "duration"),
    ],
)
def test_mistakes_are_refused_with_what_to_do(build, error, text):
    with pytest.raises(error, match=text):
        build(of(random_rows(0))).collect()


def test_a_changelog_with_event_times_is_refused():
    updates = of(random_rows(0)).window(sl.windows.tumbling(10), allowed_lateness=5).aggregate(n=sl.count())
    with pytest.raises(TypeMismatchError, match="append-only"):
        updates.throttle(1, per=1).collect()
