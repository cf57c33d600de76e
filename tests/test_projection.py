"""Only the columns that a flow needs are read, and nothing else changes."""

from __future__ import annotations

import json
import tempfile
from typing import TypedDict

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamlib as sl
from streamlib import windows
from streamlib.connectors import memory, parquet
from streamlib.plan.projection import projected

ROWS = pa.table(
    {
        "at": [i * 250_000 + (i * 7919) % 2_000_000 for i in range(400)],
        "key": [f"k{i % 5}" for i in range(400)],
        "price": [float(i % 37) for i in range(400)],
        "size": [i % 11 for i in range(400)],
        "note": [None if i % 3 else f"note {i}" for i in range(400)],
        "tags": [[f"t{i % 3}"] * (i % 4) for i in range(400)],
    }
)
SECONDS = windows.tumbling("5s")


class Bid(TypedDict):
    key: str
    price: float


def doubled(bid: Bid) -> Bid:
    return Bid(key=bid["key"], price=bid["price"] * 2)


def both(bid: Bid) -> list[Bid]:
    return [bid, doubled(bid)]


def dearest(best: float, bid: Bid) -> float:
    return max(best, bid["price"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("rows")
    pq.write_table(ROWS.slice(0, 150), found / "a.parquet", row_group_size=40)
    pq.write_table(ROWS.slice(150), found / "b.parquet", row_group_size=70)
    return found


def read(source) -> sl.Stream:
    return sl.read(source, name="rows", event_time="at", watermark=sl.bounded_disorder("1s"), max_ahead=None)


def columns_read(*streams: sl.Stream) -> list[str]:
    flow = sl.Flow("flow", *(s.write(memory.sink(), name=f"out{i}") for i, s in enumerate(streams)))
    (_, found) = projected(flow.bind()).reads()["rows"]
    return found.source.schema().names


def windowed(stream: sl.Stream) -> sl.Stream:
    return stream.key_by("key").window(SECONDS).aggregate(n=sl.count(), total=sl.sum("price"))


CASES = {
    "keys, arguments and the event time": (windowed, ["at", "key", "price"]),
    "a filter's columns": (lambda s: windowed(s.filter(sl.col("size") > 3)), ["at", "key", "price", "size"]),
    "what computed columns are made of": (
        lambda s: windowed(s.with_columns((sl.col("size") * 2).alias("price"))),
        ["at", "key", "size"],
    ),
    "filters of aggregates": (
        lambda s: s.window(SECONDS).aggregate(n=sl.count(filter=sl.col("size") > 3)),
        ["at", "size"],
    ),
    "nothing but rows": (lambda s: s.window(SECONDS).aggregate(n=sl.count()), ["at"]),
    "a selection": (lambda s: s.select("note", "size"), ["at", "size", "note"]),
    "a running aggregate": (
        lambda s: s.key_by("key").aggregate(top=sl.max("price")).to_changelog(),
        ["at", "key", "price"],
    ),
    "everything for a sink": (lambda s: s.filter(sl.col("size") > 3), ROWS.schema.names),
    "everything for a function": (
        lambda s: s.map(lambda row: {"n": len(row)}, schema={"n": pa.int64()}),
        ROWS.schema.names,
    ),
    "everything for late rows": (lambda s: windowed(s).output("late"), ROWS.schema.names),
    "nothing but rows, and what is left when columns are dropped": (
        lambda s: s.drop("at", "key").window(SECONDS).aggregate(n=sl.count()),
        ["at", "price"],
    ),
    "what is dropped is not read": (lambda s: windowed(s.drop("note", "size")), ["at", "key", "price"]),
    "columns under their old names": (
        lambda s: windowed(
            s.rename({"size": "note", "note": "size", "price": "cents", "key": "price"}).rename(
                {"cents": "price", "price": "key"}
            )
        ),
        ["at", "key", "price"],
    ),
    "lists that are exploded": (
        lambda s: s.explode("tags").key_by("tags").window(SECONDS).aggregate(n=sl.count()),
        ["at", "tags"],
    ),
    "typed records": (lambda s: windowed(s.map(doubled)), ["at", "key", "price"]),
    "typed records of a list": (lambda s: windowed(s.flat_map(both)), ["at", "key", "price"]),
    "typed records with a state": (
        lambda s: s.key_by("size").fold(0.0, dearest, into="top"),
        ["at", "key", "price", "size"],
    ),
    "a sample by a column": (lambda s: windowed(s.sample(0.5, by="note")), ["at", "key", "price", "note"]),
    "distinct rows": (
        lambda s: windowed(s.distinct("size", within="2s")),
        ["at", "key", "price", "size"],
    ),
    "throttled rows": (
        lambda s: s.key_by("size").throttle(2, per="2s").select("price"),
        ["at", "price", "size"],
    ),
    "splits": (
        lambda s: windowed(s.split(dear=sl.col("size") > 5)["rest"]),
        ["at", "key", "price", "size"],
    ),
    "picks, lists and spreads": (
        lambda s: s.window(SECONDS).aggregate(
            a=sl.arg_max("price", by="size"),
            b=sl.median("price"),
            c=sl.count_distinct("key"),
            d=sl.any(sl.col("size") > 3),
        ),
        ["at", "key", "price", "size"],
    ),
    "everything for dead letters": (
        lambda s: windowed(s.filter(sl.col("size") > 3, on_error=sl.dead_letter(memory.sink()))),
        ROWS.schema.names,
    ),
    "no more for rows that are skipped": (
        lambda s: windowed(s.filter(sl.col("size") > 3, on_error="skip")),
        ["at", "key", "price", "size"],
    ),
    "everything for rows that were dropped as repeated": (
        lambda s: s.distinct("size", within="2s").output("repeated"),
        ROWS.schema.names,
    ),
    "everything for a union": (lambda s: windowed(s.filter(sl.col("size") > 3).union(s)), ROWS.schema.names),
}


@pytest.mark.parametrize("case", CASES)
def test_the_columns_that_are_read_are(folder, case):
    build, expected = CASES[case]
    assert columns_read(build(read(parquet.source(folder)))) == expected


def test_columns_of_all_readers_of_a_source_are_read(folder):
    rows = read(parquet.source(folder))
    assert columns_read(windowed(rows), rows.select("size")) == ["at", "key", "price", "size"]


def test_columns_that_are_not_read_are_not_decoded(folder, monkeypatch):
    asked = []
    whole = pq.ParquetFile.iter_batches

    def watched(self, *args, **kwargs):
        asked.append(kwargs["columns"])
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    windowed(read(parquet.source(folder))).collect()
    assert asked == [["at", "key", "price"]] * 2


@pytest.mark.parametrize("case", [name for name in CASES if "function" not in name])
def test_a_job_gives_the_same_rows_as_from_memory_where_every_column_is_read(folder, case, tmp_path):
    build, _ = CASES[case]
    tables = {f"{n}.parquet": pq.read_table(folder / f"{n}.parquet") for n in "ab"}
    results = []
    for name, source in (("files", parquet.source(folder)), ("memory", memory.source(tables))):
        sink = memory.sink()
        flow = sl.Flow("flow", build(read(source)).write(sink, name="out"))
        result = flow.run(state=str(tmp_path / name), progress="none")
        rows = sorted(map(repr, sink.table().to_pylist()))
        results.append((result.rows, result.late_rows, rows if "running" not in case else len(rows) > 0))
    assert results[0] == results[1]


@pytest.mark.parametrize("case", ["lists that are exploded", "distinct rows", "everything for late rows"])
def test_several_workers_read_the_same_columns_and_find_the_same_rows(folder, case):
    build, _ = CASES[case]
    results = []
    for parallelism in (1, 2):
        sink = memory.sink()
        flow = sl.Flow("flow", build(read(parquet.source(folder))).write(sink, name="out"))
        flow.run(state=tempfile.mkdtemp(), progress="none", parallelism=parallelism)
        results.append(sorted(map(repr, sink.table().to_pylist())))
    assert results[0] == results[1]


def test_a_preview_shows_what_it_showed_before(folder):
    def shown(source):
        return windowed(read(source).drop("note")).preview(3).table

    table = pq.read_table(folder / "a.parquet")
    assert shown(parquet.source(folder / "a.parquet")) == shown(memory.source({"a.parquet": table}))


def test_the_record_of_a_dead_letter_is_whole(folder):
    dead = memory.sink()
    stream = read(parquet.source(folder)).with_columns(
        n=sl.col("note").cast(pa.int64()), on_error=sl.dead_letter(dead, name="dead")
    )
    sl.Flow("flow", stream.select("n").write(memory.sink(), name="out")).run(
        state=tempfile.mkdtemp(), progress="none"
    )
    records = [json.loads(record) for record in dead.table()["record"].to_pylist()]
    assert len(records) == 134
    assert {"at", "key", "price", "size", "note", "tags"} <= set(records[0])


# --------------------------------------------------------------------------- random flows

STEPS = {
    "filter": ({"size"}, lambda s: s.filter(sl.col("size") > 2), lambda names: names),
    "compute": (
        {"price", "size"},
        lambda s: s.with_columns((sl.col("price") + sl.col("size")).alias("price")),
        lambda names: names,
    ),
    "again": ({"size"}, lambda s: s.with_columns((sl.col("size") * 3).alias("size")), lambda names: names),
    "add": ({"price"}, lambda s: s.with_columns(more=sl.col("price") + 1), lambda names: names | {"more"}),
    "drop": ({"note"}, lambda s: s.drop("note"), lambda names: names - {"note"}),
    "rename": (
        {"note"},
        lambda s: s.rename({"note": "text"}),
        lambda names: names - {"note"} | {"text"},
    ),
    "select": (
        {"price", "key", "size"},
        lambda s: s.select("size", "key", price=sl.col("price") * 2),
        lambda names: {"size", "key", "price"},
    ),
    "explode": ({"tags", "at"}, lambda s: s.explode("tags"), lambda names: names - {"tags"}),
    "sample": ({"size"}, lambda s: s.sample(0.7, by="size"), lambda names: names),
    "map": ({"key", "price"}, lambda s: s.map(doubled), lambda names: {"key", "price"}),
    "skip": (
        {"note"},
        lambda s: s.with_columns(n=sl.col("note").cast(pa.int64()), on_error="skip"),
        lambda names: names | {"n"},
    ),
}
ENDS = {
    "all": (set(), lambda s: s),
    "some": ({"price", "key"}, lambda s: s.select("key", "price")),
    "window": ({"key", "price"}, windowed),
    "count": (set(), lambda s: s.window(SECONDS).aggregate(n=sl.count())),
    "union": ({"key", "price", "size"}, lambda s: windowed(s.union(s.filter(sl.col("size") > 7)))),
    "late": ({"key", "price"}, lambda s: windowed(s).output("late")),
    "repeated": ({"size"}, lambda s: s.distinct("size", within="2s").output("repeated")),
    "fold": ({"key", "price", "size"}, lambda s: s.key_by("size").fold(0.0, dearest, into="top")),
}


def built(source, steps: list[str], end: str) -> sl.Stream:
    """The stream of the steps whose columns are there."""
    stream, names = read(source), set(ROWS.schema.names)
    for step in steps:
        needs, apply, after = STEPS[step]
        if needs <= names:
            stream, names = apply(stream), after(names)
    needs, apply = ENDS[end]
    return apply(stream) if needs <= names else stream


@pytest.fixture(scope="module")
def one_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "rows.parquet"  # one partition: its rows come in its order
    pq.write_table(ROWS, path, row_group_size=70)
    return path


@settings(max_examples=settings.default.max_examples // 3)
@given(steps=st.lists(st.sampled_from(sorted(STEPS)), max_size=6), end=st.sampled_from(sorted(ENDS)))
def test_random_flows_give_what_they_give_over_the_table_in_memory(one_file, steps, end):
    expected = built(memory.source(ROWS), steps, end).collect()
    found = built(parquet.source(one_file), steps, end).collect()
    assert found.schema == expected.schema
    assert sorted(map(repr, found.to_pylist())) == sorted(map(repr, expected.to_pylist()))
