"""Changelogs: running aggregates, windows that take late rows, and the operators and sinks below them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col, windows
from streamlib.connectors import console, memory, parquet
from streamlib.core.changes import AFTER, BEFORE, DELETE, INSERT
from streamlib.core.errors import (
    DefinitionError,
    EventTimeError,
    SinkError,
    StreamlibError,
    TypeMismatchError,
    UserFunctionError,
)
from streamlib.testing import assert_parity, assert_survives
from streamlib.testing.reference import Row, reference
from tests.flows import SCHEMA, SECOND, late_rows, missed_rows, pane_rows, table_rows

ROWS = st.lists(
    st.builds(
        Row,
        st.integers(-60, 60).map(lambda s: s * SECOND),
        st.sampled_from(["a", "b", None]),
        st.one_of(st.none(), st.integers(-9, 9)),
    ),
    max_size=60,
)
PARTITIONS = st.lists(ROWS, min_size=1, max_size=3)


def table(rows: list[Row]) -> pa.Table:
    return pa.table(list(zip(*rows, strict=True)) if rows else [[], [], []], schema=SCHEMA)


def read(rows: dict[str, list[Row]] | list[Row], chunk: int = 5, delay: int = 0) -> sl.Stream:
    partitions = rows if isinstance(rows, dict) else {"p": rows}
    return sl.read(
        memory.source({name: table(found) for name, found in partitions.items()}, chunk_rows=chunk),
        name="rows",
        event_time="at",
        watermark=sl.bounded_disorder(delay * SECOND),
        max_ahead=None,
    )


def plain(records: list[dict[str, Any]], chunk: int = 1) -> sl.Stream:
    return sl.read(memory.source(records, chunk_rows=chunk), name="plain")


def streamed(stream: sl.Stream, folder) -> pa.Table:
    """The table that a changelog leaves when it is run as a job."""
    sink = memory.table_sink()
    flow = sl.Flow("changes", stream.write(sink, name="out"))
    flow.run(state=str(folder), progress="none")
    return sink.table()


def changes(stream: sl.Stream, folder, **options) -> list[tuple]:
    """The changes of a stream run as a job: the kind, then the columns."""
    sink = memory.sink()
    flow = sl.Flow("changes", stream.to_changelog(**options).write(sink, name="out"))
    flow.run(state=str(folder), progress="none")
    found = sink.table().to_pylist()
    return [(row.pop("op"), *row.values()) for row in found]


def applied(found: list[tuple]) -> list[tuple]:
    """What retract changes come to; every row that goes has to be there."""
    rows: list[tuple] = []
    for op, *values in found:
        if op in ("+I", "+U"):
            rows.append(tuple(values))
        else:
            rows.remove(tuple(values))
    return sorted(rows, key=repr)


def text_of(error: type[StreamlibError], action) -> str:
    with pytest.raises(error) as caught:
        action()
    return str(caught.value)


# --------------------------------------------------------------------------- running aggregates


def totals(stream: sl.Stream) -> sl.Stream:
    return stream.aggregate(
        n=sl.count(),
        some=sl.count("value"),
        total=sl.sum("value"),
        low=sl.min("value"),
        high=sl.max("value"),
        mean=sl.mean("value"),
    )


def expected_totals(rows: list[Row]) -> list[tuple]:
    found = []
    for key in {row.key for row in rows}:
        mine = [row.value for row in rows if row.key == key]
        values = [v for v in mine if v is not None]
        stats = (min(values), max(values), sum(values) / len(values)) if values else (None, None, None)
        found.append((key, len(mine), len(values), sum(values), *stats))
    return sorted(found, key=repr)


@given(rows=PARTITIONS, chunk=st.integers(1, 50))
def test_a_running_aggregate_is_the_same_table_as_a_stream_and_as_a_batch(tmp_path_factory, rows, chunk):
    partitions = {f"p{i}": found for i, found in enumerate(rows)}
    stream = totals(read(partitions, chunk).key_by("key"))
    expected = expected_totals([row for found in rows for row in found])
    assert table_rows(streamed(stream, tmp_path_factory.mktemp("running"))) == expected
    assert table_rows(stream.collect()) == expected
    assert applied(changes(stream, tmp_path_factory.mktemp("changes"))) == expected


def test_a_running_aggregate_shows_only_the_groups_that_a_batch_changed(tmp_path):
    rows = [{"k": "a", "v": 1}, {"k": "b", "v": 1}, {"k": "a", "v": 2}, {"k": "b", "v": 0}]
    stream = plain(rows).key_by("k").aggregate(total=sl.sum("v"))
    assert changes(stream, tmp_path) == [("+I", "a", 1), ("+I", "b", 1), ("-U", "a", 1), ("+U", "a", 3)] or (
        changes(stream, tmp_path / "b")[-1] == ("+U", "a", 3)
    )


def test_without_keys_there_is_one_row(tmp_path):
    stream = plain([{"v": 1}, {"v": 2}]).aggregate(n=sl.count(), total=sl.sum("v"))
    assert streamed(stream, tmp_path).to_pylist() == [{"n": 2, "total": 3}]
    assert stream.collect().to_pylist() == [{"n": 2, "total": 3}]


@pytest.mark.parametrize(
    "keys",
    [
        pa.array([0.0, -0.0, float("nan"), -float("nan"), None, 1.5]),
        pa.array(["", "a", None, "a", "é", "a" * 300]),
        pa.array([1, 2**62, -(2**63), None, 2**63 - 1, 1]),
        pa.array([True, None, False, True, None, False]),
        pa.array(["x", "y", None, "x", "y", "z"]).dictionary_encode(),
    ],
)
@pytest.mark.parametrize("chunk", [1, 2, 6])
def test_keys_of_any_type_are_one_group_where_they_are_equal(keys, chunk):
    rows = pa.table({"k": keys, "v": range(len(keys))})
    stream = sl.read(memory.source(rows, chunk_rows=chunk), name="rows")
    running = stream.key_by("k").aggregate(n=sl.count(), total=sl.sum("v")).collect()
    timed = sl.read(memory.source(rows), name="rows", event_time="v", watermark=sl.monotone(), max_ahead=None)
    windowed = timed.key_by("k").window(windows.tumbling("1s")).aggregate(n=sl.count(), total=sl.sum("v"))
    expected = windowed.select("k", "n", "total").collect()
    found, wanted = (repr(table_rows(rows)).replace("-0.0", "0.0") for rows in (running, expected))
    assert found == wanted


def test_many_keys_come_and_go_and_the_rest_is_right():
    chance = random.Random(1)
    rows = [{"k": chance.randrange(3000), "v": chance.randrange(5)} for _ in range(20_000)]
    per_key = plain(rows, 500).key_by("k").aggregate(total=sl.sum("v"))
    per_total = per_key.key_by("total").aggregate(keys=sl.count())
    expected: dict[int, int] = {}
    for total in per_key.collect()["total"].to_pylist():
        expected[total] = expected.get(total, 0) + 1
    assert dict(zip(*per_total.collect().to_pydict().values(), strict=True)) == expected


# --------------------------------------------------------------------------- taking rows back


@given(rows=ROWS, chunk=st.integers(1, 20))
def test_aggregates_over_a_changelog_take_rows_back(tmp_path_factory, rows, chunk):
    per_key = read(rows, chunk).key_by("key").aggregate(n=sl.count(), total=sl.sum("value"))
    stream = per_key.key_by("n").aggregate(
        keys=sl.count(), some=sl.count("key"), sum=sl.sum("total"), mean=sl.mean("total")
    )
    found: dict[int, list[tuple]] = {}
    for key, n, _, total, *_ in expected_totals(rows):
        found.setdefault(n, []).append((key, total))
    expected = sorted(
        (
            (n, len(g), sum(k is not None for k, _ in g), sum(t for _, t in g), sum(t for _, t in g) / len(g))
            for n, g in found.items()
        ),
        key=repr,
    )
    assert table_rows(streamed(stream, tmp_path_factory.mktemp("back"))) == expected
    assert table_rows(stream.collect()) == expected


def together(stream: sl.Stream) -> sl.Stream:
    """All rows of a keyed stream under one key."""
    return stream.with_columns(sl.lit(0).alias("all")).key_by("all")


def test_infinity_and_nan_are_taken_back():
    steps = [(1, float("inf")), (1, float("-inf")), (2, float("nan")), (2, 0.0), (1, 0.5)]
    rows = [{"k": k, "v": v} for k, v in steps]
    latest = plain(rows).key_by("k").aggregate(n=sl.count(), v=sl.max("v"))
    stream = together(latest).aggregate(total=sl.sum("v"), mean=sl.mean("v")).select("total", "mean")
    assert stream.collect().to_pylist() == [{"total": float("inf"), "mean": float("inf")}]
    finite = latest.filter(col("v") < 1)
    assert together(finite).aggregate(total=sl.sum("v")).collect()["total"].to_pylist() == [0.0]
    none = latest.filter(col("n") < 2)
    assert together(none).aggregate(total=sl.sum("v")).collect().num_rows == 0


def test_decimals_are_taken_back_exactly():
    price = pa.array([1, 2, 3], pa.decimal128(5, 2))
    rows = pa.table({"k": ["a", "a", "b"], "p": price})
    per_key = sl.read(memory.source(rows, chunk_rows=1), name="r").key_by("k").aggregate(p=sl.sum("p"))
    assert str(together(per_key).aggregate(t=sl.sum("p")).collect()["t"][0]) == "6.00"


@given(rows=ROWS, chunk=st.integers(1, 20))
def test_extremes_over_a_changelog_follow_rows_that_go(tmp_path_factory, rows, chunk):
    per_key = read(rows, chunk).key_by("key").aggregate(n=sl.count(), high=sl.max("value"))
    stream = per_key.key_by("n").aggregate(
        low=sl.min("high"),
        high=sl.max("high"),
        word=sl.max("key"),
        few=sl.min("high", filter=col("high") > 0),
    )
    found: dict[int, list[tuple]] = {}
    for key, n, _, _, _, high, _ in expected_totals(rows):
        found.setdefault(n, []).append((key, high))
    expected = []
    for n, group in found.items():
        highs = [h for _, h in group if h is not None]
        words = [k for k, _ in group if k is not None]
        few = [h for h in highs if h > 0]
        none = {"default": None}
        expected.append((n, min(highs, **none), max(highs, **none), max(words, **none), min(few, **none)))
    assert table_rows(streamed(stream, tmp_path_factory.mktemp("extremes"))) == sorted(expected, key=repr)
    assert table_rows(stream.collect()) == sorted(expected, key=repr)


@pytest.mark.parametrize("lateness", [0, 40])
def test_extremes_of_a_changelog_survive_and_are_the_same_for_workers(tmp_path, lateness):
    chance = random.Random(7)
    rows = [
        Row(i * SECOND - chance.randint(0, 5) * SECOND, chance.choice("ab"), chance.randint(0, 9))
        for i in range(150)
    ]
    stream = read(rows, delay=5)
    if lateness:
        windowed = stream.key_by("key").window(windows.tumbling("20s"), allowed_lateness="40s")
        first = windowed.aggregate(v=sl.sum("value")).key_by("key")
    else:
        first = stream.key_by("value").aggregate(v=sl.count()).key_by("v")
    flow = sl.Flow(
        "f", first.aggregate(low=sl.min("v"), high=sl.max("v")).write(memory.table_sink(), name="o")
    )
    found = assert_parity(flow, seeds=range(3))["o"]
    assert_survives(flow, seeds=range(4))
    sink = memory.table_sink()
    several = flow.rebind(sinks={"o": sink})
    several.run(state=str(tmp_path), parallelism=2, progress="none")
    assert table_rows(sink.table()) == table_rows(found)


def test_a_plan_says_what_is_kept_of_every_row():
    first = plain([{"k": 1}]).key_by("k").aggregate(n=sl.count())
    text = sl.Flow("f", first.aggregate(top=sl.max("n")).write(memory.table_sink(), name="o")).explain()
    assert text.count("keeps the values of col('n') of every row") == 1


def test_a_name_is_the_state_of_a_running_aggregate_in_checkpoints(tmp_path):
    rows = plain([{"k": k} for k in (1, 2, 2)])
    state, sink = str(tmp_path), memory.table_sink()
    flow = sl.Flow("f", rows.key_by("k").aggregate(name="per_k", n=sl.count()).write(sink, name="o"))
    assert "  per_k [aggregate]" in flow.explain()
    flow.run(state=state, progress="none")
    wide = rows.with_columns(k=col("k") + 0).key_by("k").aggregate(name="per_k", n=sl.count())
    sl.Flow("f", wide.write(sink, name="o")).run(state=state, progress="none")
    assert rows.aggregate(name=sl.count()).collect().to_pylist() == [{"name": 3}]
    timed = read([]).window(windows.tumbling("1s"))
    with pytest.raises(DefinitionError, match="named where they are made"):
        timed.aggregate(name="x", n=sl.count())
    with pytest.raises(DefinitionError, match="not a name"):
        rows.aggregate(name="a b", n=sl.count())


# --------------------------------------------------------------------------- operators on changelogs


def test_a_filter_that_splits_an_update_leaves_an_insertion_or_a_deletion(tmp_path):
    rows = [{"k": "a", "v": v} for v in (1, 4, -3, -2, 5)]  # totals 1 5 2 0 5
    total = plain(rows).key_by("k").aggregate(total=sl.sum("v"))
    large, small = total.split(col("total") > 1)
    assert changes(large, tmp_path / "l") == changes(total.filter(col("total") > 1), tmp_path / "f")
    assert [op for op, *_ in changes(large, tmp_path / "l2")][-1:] in (["+I"], ["+U"])
    assert large.collect().to_pylist() == [{"k": "a", "total": 5}]
    assert small.collect().num_rows == 0


def test_columns_that_name_a_row_may_be_renamed_and_lose_it_when_dropped_or_replaced():
    stream = plain([{"k": 1, "v": 2}]).key_by("k").aggregate(n=sl.count(), v=sl.sum("v"))
    kept = stream.select(key="k", double=col("n") * 2)
    explained = {
        "kept": (kept, "changelog of (key)"),
        "added": (stream.with_columns(x=col("n") + 1), "changelog of (k)"),
        "dropped": (stream.select("n"), "changelog without identity"),
        "computed": (stream.select("n", k=col("k") + 1), "changelog without identity"),
        "united": (stream.union(stream), "changelog without identity"),
    }
    for found, words in explained.values():
        flow = sl.Flow("x", found.write(console.sink(), name="out"))
        assert words in flow.explain()
    assert kept.collect().to_pylist() == [{"key": 1, "double": 2}]


def test_without_identity_equal_rows_are_counted():
    stream = plain([{"k": k} for k in (1, 2, 3, 3)]).key_by("k").aggregate(n=sl.count()).select("n")
    assert sorted(stream.collect()["n"].to_pylist()) == [1, 1, 2]
    rows = plain([{"n": 2}])
    other = sl.read(memory.source([{"n": 2}, {"n": 5}]), name="other")
    assert sorted(stream.union(other).collect()["n"].to_pylist()) == [1, 1, 2, 2, 5]
    assert rows is not None


def test_functions_over_changelogs_keep_the_kinds_and_must_not_touch_what_names_a_row():
    stream = plain([{"k": k} for k in (1, 2, 2)]).key_by("k").aggregate(n=sl.count())
    schema = {"k": pa.int64(), "n": pa.int64()}
    doubled = stream.map(lambda row: {**row, "n": row["n"] * 2}, schema=schema)
    assert sorted(doubled.collect().to_pylist(), key=str) == [{"k": 1, "n": 2}, {"k": 2, "n": 4}]
    renamed = stream.map(lambda row: {"k": row["k"] + 1, "n": row["n"]}, schema=schema)
    text = text_of(UserFunctionError, renamed.collect)
    assert "changed the column 'k'" in text
    lost = stream.map(lambda row: {"m": row["n"]}, schema={"m": pa.int64()})
    assert sorted(lost.collect()["m"].to_pylist()) == [1, 2]


def test_map_batches_may_drop_rows_of_a_changelog_and_neither_add_nor_move_them():
    stream = plain([{"k": k} for k in (1, 2, 2, 2)]).key_by("k").aggregate(n=sl.count())
    schema = {"k": pa.int64(), "n": pa.int64(), "__row__": pa.int32()}

    def odd(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.filter(pa.array(np.asarray(batch["n"]) % 2 == 1))

    def reversed_(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.take(pa.array(np.arange(batch.num_rows)[::-1]))

    assert stream.map_batches(odd, schema=schema).collect().to_pylist() == [
        {"k": 1, "n": 1},
        {"k": 2, "n": 3},
    ]
    assert "__row__ rising" in text_of(
        UserFunctionError, stream.map_batches(reversed_, schema=schema).collect
    )


def test_to_changelog_writes_all_kinds_or_leaves_the_old_rows_out(tmp_path):
    rows = [{"k": "a", "v": v} for v in (1, 1, 1)]
    stream = plain(rows).key_by("k").aggregate(n=sl.count())
    odd = stream.filter(col("n") != 2)
    retract = changes(odd, tmp_path / "r")
    assert applied(retract) == [("a", 3)]
    upsert = changes(stream, tmp_path / "u", encoding="upsert")
    assert {op for op, *_ in upsert} <= {"+I", "+U", "-D"}
    assert upsert[-1][1:] == ("a", 3)
    assert "a column 'n' already" in text_of(
        DefinitionError, lambda: stream.to_changelog(column="n").collect()
    )
    lost = stream.select("n").to_changelog("upsert")
    assert "have no identity" in text_of(DefinitionError, lost.collect)
    with pytest.raises(DefinitionError, match="not a way to write changes"):
        stream.to_changelog("insert")  # type: ignore[arg-type]


# --------------------------------------------------------------------------- allowed lateness


@given(
    rows=PARTITIONS,
    chunk=st.integers(1, 50),
    size=st.integers(1, 20),
    every=st.integers(1, 25),
    delay=st.integers(0, 6),
    lateness=st.integers(1, 40),
)
def test_updates_of_windows_come_to_what_the_reference_says(
    tmp_path_factory, rows, chunk, size, every, delay, lateness
):
    partitions = {f"p{i}": found for i, found in enumerate(rows)}
    every = min(every, 3 * size)
    expected = reference(
        partitions,
        size=size * SECOND,
        slide=every * SECOND,
        delay=delay * SECOND,
        lateness=lateness * SECOND,
    )
    folder = tmp_path_factory.mktemp("late")
    for final in (False, True):
        windowed = (
            read(partitions, chunk, delay)
            .key_by("key")
            .window(windows.sliding(size * SECOND, every=every * SECOND), allowed_lateness=lateness * SECOND)
        )
        windowed = windowed.final_only() if final else windowed
        stream = windowed.aggregate(
            n=sl.count(),
            total=sl.sum("value"),
            low=sl.min("value"),
            high=sl.max("value"),
            mean=sl.mean("value"),
        )
        sinks = {"out": memory.sink() if final else memory.table_sink()}
        sinks |= {name: memory.sink() for name in ("late", "missed")}
        flow = sl.Flow("late", *(stream.output(name).write(sink, name=name) for name, sink in sinks.items()))
        flow.run(state=str(folder / str(final)), progress="none")
        assert table_rows(sinks["out"].table()) == pane_rows(expected)
        assert table_rows(sinks["late"].table()) == late_rows(expected)
        assert table_rows(sinks["missed"].table()) == missed_rows(expected)
        whole = reference(partitions, size=size * SECOND, slide=every * SECOND, delay=None)
        assert table_rows(stream.collect()) == pane_rows(whole)


@given(rows=PARTITIONS, chunk=st.integers(1, 50), lateness=st.integers(1, 40))
def test_a_window_over_the_updates_of_another_is_that_over_its_final_results(
    tmp_path_factory, rows, chunk, lateness
):
    partitions = {f"p{i}": found for i, found in enumerate(rows)}
    folder = tmp_path_factory.mktemp("chain")
    small = (
        read(partitions, chunk, 2)
        .key_by("key")
        .window(windows.sliding("6s", every="4s"), allowed_lateness=lateness * SECOND)
    )

    def chained(stream: sl.Stream, allowed: int) -> sl.Stream:
        large = stream.key_by("key").window(windows.tumbling("12s"), allowed_lateness=allowed)
        return large.aggregate(panes=sl.count(), n=sl.sum("n"), mean=sl.mean("total"))

    results = {"n": sl.count(), "total": sl.sum("value")}
    updates = chained(small.aggregate(**results), lateness * SECOND)
    once = chained(small.final_only().aggregate(**results), 0)
    found = table_rows(streamed(updates, folder / "updates"))
    sink = memory.sink()
    sl.Flow("once", once.write(sink, name="out")).run(state=str(folder / "once"), progress="none")
    assert found == table_rows(sink.table())
    running = once.key_by("key").aggregate(n=sl.sum("n"))
    changing = updates.key_by("key").aggregate(n=sl.sum("n"))
    assert table_rows(streamed(changing, folder / "a")) == table_rows(streamed(running, folder / "b"))


def late_window(rows: list[Row], lateness: int = 20, **options) -> sl.Stream:
    windowed = read(rows, 1).key_by("key")
    tumbling = windowed.window(windows.tumbling("10s"), allowed_lateness=lateness * SECOND, **options)
    return tumbling.aggregate(n=sl.count())


def test_a_window_shows_its_result_at_its_end_and_updates_it_for_rows_that_come_later(tmp_path):
    times = [1, 12, 2, 3, 45, 4]
    stream = late_window([Row(t * SECOND, "a", 1) for t in times]).select("window_start", "n")
    found = [(op, start.timestamp(), n) for op, start, n in changes(stream, tmp_path)]
    assert found == [
        ("+I", 0, 1),
        ("-U", 0, 1),
        ("+U", 0, 2),
        ("-U", 0, 2),
        ("+U", 0, 3),
        ("+I", 10, 1),
        ("+I", 40, 1),
    ]


def test_a_key_that_comes_late_is_inserted_into_its_window(tmp_path):
    rows = [Row(1 * SECOND, "a", 1), Row(15 * SECOND, "a", 1), Row(2 * SECOND, "b", 1)]
    found = changes(late_window(rows).select("key", "n"), tmp_path)
    assert found[:2] == [("+I", "a", 1), ("+I", "b", 1)]


def test_final_results_wait_for_the_lateness_and_so_does_the_watermark_below_them(tmp_path):
    rows = [Row(t * SECOND, "a", 1) for t in (1, 25, 2, 31, 3, 60)]
    once = read(rows, 1).key_by("key").window(windows.tumbling("10s"), allowed_lateness="20s").final_only()
    stream = (
        once.aggregate(n=sl.count()).key_by("key").window(windows.tumbling("20s")).aggregate(n=sl.sum("n"))
    )
    sink = memory.sink()
    flow = sl.Flow("final", stream.write(sink, name="out"))
    assert "final results only" in flow.explain()
    flow.run(state=str(tmp_path), progress="none")
    assert [row["n"] for row in sink.table().to_pylist()] == [2, 2, 1]  # the row at 3 s came at 31 s


def test_a_window_that_would_miss_updates_is_refused_with_what_to_do():
    stream = (
        late_window([], lateness=300).key_by("key").window(windows.tumbling("1h"), allowed_lateness="1min")
    )
    text = text_of(EventTimeError, lambda: stream.aggregate(n=sl.count()).collect())
    assert "less lateness than its input emits" in text
    assert 'allowed_lateness="5min"' in text
    assert "final_only()" in text


def test_a_window_below_a_running_aggregate_is_refused_with_what_to_do():
    stream = read([]).key_by("key").aggregate(n=sl.count()).window(windows.tumbling("1h"))
    text = text_of(EventTimeError, lambda: stream.aggregate(n=sl.count()).collect())
    assert "put the window before that aggregate" in text


def test_explain_names_what_identifies_a_row():
    stream = late_window([], lateness=300)
    text = sl.Flow("x", stream.write(memory.table_sink(), name="out")).explain()
    assert "changelog of (key, window_start, window_end)" in text
    assert "allowed lateness 5min" in text
    assert "exactly-once" in text


# --------------------------------------------------------------------------- sinks


@pytest.mark.parametrize("sink", [memory.sink(), parquet.sink("out")])
def test_a_changelog_is_refused_by_a_sink_that_appends(sink):
    stream = plain([{"k": 1}]).key_by("k").aggregate(n=sl.count())
    text = text_of(TypeMismatchError, sl.Flow("x", stream.write(sink, name="out")).bind)
    assert "in operator 'out' (test_changelogs.py:" in text
    assert "a changelog of (k)" in text
    assert "to_changelog()" in text
    assert "parquet.snapshot_sink" in text


@pytest.mark.parametrize("sink", [memory.table_sink(), parquet.snapshot_sink("out")])
def test_a_sink_of_tables_needs_a_changelog_with_identity(sink):
    text = text_of(TypeMismatchError, sl.Flow("x", plain([{"k": 1}]).write(sink, name="out")).bind)
    assert "use memory.sink or parquet.sink" in text
    lost = plain([{"k": 1}]).key_by("k").aggregate(n=sl.count()).select("n")
    text = text_of(TypeMismatchError, sl.Flow("x", lost.write(sink, name="out")).bind)
    assert "keep the columns that name a row" in text


def test_the_console_shows_what_happened_to_each_row(tmp_path, capsys):
    stream = plain([{"k": "a"}, {"k": "a"}], 1).key_by("k").aggregate(n=sl.count())
    sl.Flow("x", stream.write(console.sink(), name="out")).run(state=str(tmp_path), progress="none")
    shown = capsys.readouterr().out
    assert shown.splitlines()[1].split() == ["op", "k", "n"]
    assert "+I" in shown


def test_a_table_in_memory_is_not_half_of_one_after_a_restart_elsewhere(tmp_path):
    stream = plain([{"k": "a"}]).key_by("k").aggregate(n=sl.count())
    state = str(tmp_path / "s")
    sl.Flow("x", stream.write(memory.table_sink(), name="out")).run(state=state, progress="none")
    again = sl.Flow("x", stream.write(memory.table_sink(), name="out"))
    assert "is not in memory" in text_of(SinkError, lambda: again.run(state=state, progress="none"))


def test_a_plan_says_which_rows_a_sink_takes():
    stream = plain([{"k": 1}]).key_by("k").aggregate(n=sl.count())
    console_ = sl.Flow("x", stream.write(console.sink(), name="out")).explain()
    assert "takes append-only and changelog rows" in console_
    table_ = sl.Flow("x", stream.write(memory.table_sink(), name="out")).explain()
    assert "takes changelog with identity rows" in table_


def test_the_first_rows_of_a_changelog_are_rows_of_its_table_and_not_changes():
    stream = plain([{"k": "a"}] * 5 + [{"k": "b"}, {"k": "c"}]).key_by("k").aggregate(n=sl.count())
    assert stream.collect(n=2).num_rows == 2
    assert stream.preview(2).table["k"].to_pylist() == ["a", "b"]


def test_kinds_are_numbered_as_documented():
    assert (INSERT, BEFORE, AFTER, DELETE) == (0, 1, 2, 3)
