"""Sources in an object store, one in memory: which objects a path names, and what is read of them."""

from __future__ import annotations

import gzip
import io
import sys

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import MemoryStore

import streamlib as sl
from streamlib import col
from streamlib.connectors import csv, jsonl, memory, parquet, stores
from streamlib.connectors.object_place import ObjectReader, _pattern
from streamlib.core.contracts import Pause
from streamlib.core.errors import DefinitionError, SourceError
from streamlib.testing import assert_survives
from tests.test_connectors_stores import STORE, bucket

__all__ = ["bucket"]  # a fixture

TYPES = {"id": pa.int64()}


def put(bucket: MemoryStore, key: str, *ids: int) -> None:
    table = pa.table({"id": pa.array(ids, pa.int64()), "name": [f"n{i}" for i in ids]})
    if ".csv" in key:
        data = b"id,name\n" + b"".join(b"%d,n%d\n" % (i, i) for i in ids)
    elif ".jsonl" in key:
        data = b"".join(b'{"id":%d,"name":"n%d"}\n' % (i, i) for i in ids)
    else:
        sink = io.BytesIO()
        pq.write_table(table, sink, row_group_size=100)
        data = sink.getvalue()
    obstore.put(bucket, key, gzip.compress(data) if key.endswith(".gz") else data)


def read(source) -> list[int]:
    return sorted(sl.read(source, name="rows").collect()["id"].to_pylist())


@pytest.fixture
def history(bucket) -> MemoryStore:
    put(bucket, "history/a.csv", 1, 2)
    put(bucket, "history/b.csv", 3)
    put(bucket, "history/2024/c.csv", 4)
    put(bucket, "history/_hidden/d.csv", 99)
    put(bucket, "history/.e.csv", 99)
    put(bucket, "history.staging/f.csv", 99)
    put(bucket, "history/p.parquet", *range(1000))
    return bucket


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("history", [1, 2, 3, 4]),
        ("history/", [1, 2, 3, 4]),
        ("history/a.csv", [1, 2]),
        ("history/*.csv", [1, 2, 3]),
        ("history/[!a].csv", [3]),
        ("history/**/*.csv", [1, 2, 3, 4, 99]),
        ("history/20??/*", [4]),
        (["history/a.csv", "history/2024"], [1, 2, 4]),
        ("", [1, 2, 3, 4, 99]),
    ],
)
def test_a_path_names_what_it_would_name_on_a_disk(history, path, expected):
    assert read(csv.source(path, TYPES, store=STORE)) == expected
    urls = f"s3://lake/{path}" if isinstance(path, str) else [f"s3://lake/{each}" for each in path]
    assert read(csv.source(urls, TYPES)) == expected


def test_partitions_are_named_by_the_folder_of_the_path(history):
    assert csv.source("history", TYPES, store=STORE).partitions() == ["2024/c.csv", "a.csv", "b.csv"]
    assert csv.source("s3://lake/history/*.csv", TYPES).partitions() == ["a.csv", "b.csv"]


def test_parquet_is_read_by_the_row_groups_that_are_needed(history):
    source = parquet.source("history/p.parquet", store=STORE)
    assert read(source) == list(range(1000))
    some = sl.read(source, name="rows").filter(col("id") == 512).collect()
    assert some.to_pylist() == [{"id": 512, "name": "n512"}]


def test_a_flow_over_a_bucket_survives_crashes(history):
    rows = sl.read(parquet.source("history", store=STORE), name="rows")
    assert_survives(sl.Flow("copies", rows.write(memory.sink(), name="out")))


def test_what_a_sink_wrote_in_a_store_a_source_reads(bucket, tmp_path):
    rows = sl.read(memory.source([{"id": i, "part": i % 3} for i in range(30)]), name="rows")
    sink = parquet.sink("out", store=STORE, partition_by="part")
    sl.Flow("f", rows.write(sink, name="out")).run(state=str(tmp_path), progress="none")
    assert read(parquet.source("s3://lake/out")) == list(range(30))


def test_dead_letters_are_read_from_a_store(bucket, tmp_path):
    dead = parquet.sink("dead", store=STORE)
    texts = sl.read(memory.source([{"n": "1"}, {"n": "two"}]), name="texts")
    numbers = texts.select(n=col("n").cast(pa.int64()), on_error=sl.dead_letter(dead))
    flow = sl.Flow("numbers", numbers.write(memory.sink(), name="numbers"))
    flow.run(state=str(tmp_path), progress="none")
    for place in (dead, "s3://lake/dead"):
        assert sl.read_dead_letters(place)["record"].to_pylist() == ['{"n": "two"}']
    with pytest.raises(SourceError, match="no folder 's3://lake/deaf'"):
        sl.read_dead_letters("s3://lake/deaf")


def test_an_object_that_was_replaced_is_noticed(history):
    source = csv.source("history/a.csv", TYPES, store=STORE)
    reader = source.open("a.csv", None, None)
    put(history, "history/a.csv", 5, 6)
    with pytest.raises(SourceError, match="changed while the job was reading it"):
        reader.read()


class Failing:
    """Stands for the module obstore: after so many ranges the server is gone."""

    def __init__(self, ranges: int) -> None:
        self.ranges = ranges

    def __getattr__(self, name):
        return getattr(obstore, name)

    def get(self, store, key, options):
        self.ranges -= 1
        if self.ranges < 0:
            raise obstore.exceptions.GenericError("HTTP error: error sending request, after 3 retries")
        return obstore.get(store, key, options=options)


def read_in_order(source) -> int:
    """How many rows the only partition has."""
    reader, rows = source.open(source.partitions()[0], None, None), 0
    while (chunk := reader.read()) is not Pause.END:
        rows += chunk.rows.num_rows
    return rows


def source_of(suffix: str, path: str):
    """A source over the files of a bucket that end so."""
    if suffix == "parquet":
        return parquet.source(path)
    return csv.source(path, TYPES) if suffix.startswith("csv") else jsonl.source(path, pa.schema(TYPES))


@pytest.mark.parametrize("suffix", ["parquet", "csv", "csv.gz", "jsonl", "jsonl.gz"])
def test_a_server_that_goes_away_is_no_damage_of_the_file(bucket, monkeypatch, suffix):
    put(bucket, f"in/a.{suffix}", *range(1000))
    source = source_of(suffix, "s3://lake/in")
    source.schema()
    monkeypatch.setattr("streamlib.connectors.object_place.AHEAD_ANYWHERE", 1000)
    whole = Failing(1000)
    monkeypatch.setitem(sys.modules, "obstore", whole)
    assert read_in_order(source) == 1000
    for ranges in range(1000 - whole.ranges):
        monkeypatch.setitem(sys.modules, "obstore", Failing(ranges))
        with pytest.raises(SourceError) as caught:
            read_in_order(source)
        assert "an answer of s3://lake" in str(caught.value)
        assert "none (tried 4 times)" in str(caught.value)


def test_a_path_that_names_nothing_is_refused_with_the_closest_name(history):
    with pytest.raises(SourceError, match=r"did you mean 'history'"):
        csv.source("histroy/", TYPES, store=STORE).partitions()
    with pytest.raises(SourceError, match=r"did you mean 'a.csv'"):
        csv.source("s3://lake/history/aa.csv", TYPES).partitions()
    with pytest.raises(SourceError, match="no file matches"):
        csv.source("s3://lake/history/*.tsv", TYPES).partitions()


def test_paths_of_one_source_are_in_one_place():
    with pytest.raises(DefinitionError, match="in several places"):
        parquet.source(["s3://lake/a", "history/"])


def test_a_server_that_is_gone_is_told_as_such(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    store = stores.s3("lake", endpoint="http://127.0.0.1:9", retry_for="10ms", timeout="1s")
    with pytest.raises(SourceError) as caught:
        parquet.source("history", store=store).partitions()
    assert "an answer of s3://lake at http://127.0.0.1:9" in str(caught.value)


def test_sources_show_their_store():
    assert repr(parquet.source("s3://lake/a")) == "parquet.source('a', store=stores.s3('lake'))"
    assert repr(csv.source("a", TYPES, store=STORE)) == "csv.source('a', ['id'], store=stores.s3('lake'))"


@given(
    st.binary(max_size=60),
    st.integers(1, 20),
    st.lists(st.tuples(st.sampled_from(["read", "set", "end"]), st.integers(0, 70)), max_size=12),
)
def test_an_object_reads_like_a_file(data, ahead, calls):
    class Here:
        def read_range(self, path, start, end, e_tag):
            assert 0 <= start < end <= len(data)
            return memoryview(data)[start:end]

    ours, file = ObjectReader(Here(), "x", {"size": len(data), "e_tag": None}, ahead), io.BytesIO(data)
    for call, number in calls:
        if call == "read":
            assert bytes(ours.read(number)) == file.read(number)
        elif call == "set":
            assert ours.seek(number) == file.seek(number)
        else:
            offset = -min(number, len(data))
            assert ours.seek(offset, 2) == file.seek(offset, 2)
        assert ours.tell() == file.tell()
    assert bytes(ours.read()) == file.read()


def test_globs_are_those_of_the_standard_library(tmp_path):
    import glob

    names = ["a.csv", "b.csv", ".c.csv", "d/a.csv", "d/.e/a.csv", "d/f/g.csv", "x[1].csv", "d/x!.csv"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for pattern in (
        "*.csv",
        "**/*.csv",
        "?.csv",
        "[ab].csv",
        "[!a].csv",
        "d/**",
        "*/a.csv",
        "x[[]1].csv",
        "d/x[!].csv",
        ".*",
    ):
        found = glob.glob(pattern, root_dir=tmp_path, recursive=True)
        expected = sorted(name for name in found if (tmp_path / name).is_file())
        assert sorted(name for name in names if _pattern(pattern).fullmatch(name)) == expected, pattern
