"""Sinks in an object store, one in memory: requests, crashes between them, and what is refused before."""

from __future__ import annotations

import json
import pickle
import sys

import obstore
import pyarrow as pa
import pytest
from obstore.store import MemoryStore

import streamlib as sl
from streamlib.connectors import csv, ipc, memory, parquet, stores
from streamlib.connectors.object_disk import ObjectDisk
from streamlib.core.contracts import SinkContext
from streamlib.core.disk import LocalDisk
from streamlib.core.errors import DefinitionError, MissingExtraError, SinkError
from streamlib.testing.disk import SimulatedCrash
from tests.buckets import Requests, read_all
from tests.file_formats import FORMATS, rows_of, sink_of

STORE = stores.s3("lake")
SCHEMA = pa.schema({"id": pa.int64(), "part": pa.int64()})


def batch(*ids: int) -> pa.RecordBatch:
    return pa.record_batch(
        {"id": pa.array(ids, pa.int64()), "part": pa.array([i % 2 for i in ids], pa.int64())}
    )


@pytest.fixture
def bucket(monkeypatch) -> MemoryStore:
    """Every store is this bucket in memory."""
    made = MemoryStore()
    monkeypatch.setattr(stores, "_connected", lambda *given: made)
    return made


@pytest.fixture
def requests(monkeypatch) -> Requests:
    made = Requests()
    monkeypatch.setitem(sys.modules, "obstore", made)
    return made


def opened(sink=None, attempt="a1", job="job"):
    sink = sink or parquet.sink("deep/out", 3, store=STORE)
    return sink.open(SinkContext(job, "hot", attempt, SCHEMA, LocalDisk()))


def ids(bucket, suffix: str = ".parquet") -> list[int]:
    shown = {key: data for key, data in read_all(bucket).items() if key.startswith("deep/out/")}
    assert all(key.endswith(suffix) for key in shown)
    return sorted(int(row["id"]) for data in shown.values() for row in rows_of(suffix, data))


def prepared(writer, number):
    return json.loads(json.dumps(writer.prepare(number)))


def refused(call) -> str:
    with pytest.raises(SinkError) as caught:
        call()
    return str(caught.value)


# --------------------------------------------------------------------------- publishing


@pytest.mark.parametrize("suffix", FORMATS)
def test_objects_are_staged_beside_the_output_and_copied_by_commit(bucket, suffix):
    writer = opened(sink_of(suffix, "deep/out", 2, store=STORE))
    writer.write(batch(1, 2, 3))
    pending = prepared(writer, 7)
    assert list(read_all(bucket)) == [f"deep/out.staging/a1/job-hot-00000{i}{suffix}" for i in (1, 2)]
    writer.commit(7, pending)
    assert list(read_all(bucket)) == [f"deep/out/job-hot-00000007-00{i}{suffix}" for i in (0, 1)]
    assert ids(bucket, suffix) == [1, 2, 3]
    assert writer.last_committed() == 7
    for attempt in ("a2", "a3"):
        opened(attempt=attempt, sink=sink_of(suffix, "deep/out", store=STORE)).commit(7, pending)
    assert ids(bucket, suffix) == [1, 2, 3]


def test_partitions_are_prefixes(bucket):
    sink = csv.sink("s3://lake/deep/out/", partition_by="part")
    writer = opened(sink)
    writer.write(batch(1, 2, 3))
    writer.commit(1, prepared(writer, 1))
    assert list(read_all(bucket)) == [
        "deep/out/part=0/job-hot-00000001-001.csv",
        "deep/out/part=1/job-hot-00000001-000.csv",
    ]
    assert opened(sink, attempt="a2").last_committed() == 1
    with pytest.raises(SinkError, match="another job's files"):
        opened(sink, job="other")


def test_a_crash_between_copy_and_deletion_is_mended(bucket):
    writer = opened()
    writer.write(batch(1, 2))
    pending = prepared(writer, 1)
    (file,) = pending["files"]
    obstore.copy(bucket, f"deep/out.staging/{file['staged']}", f"deep/out/{file['final']}")
    opened(attempt="a2").commit(1, pending)
    assert ids(bucket) == [1, 2]
    assert len(read_all(bucket)) == 1


def test_an_object_in_neither_place_is_missed(bucket):
    writer = opened()
    writer.write(batch(1))
    pending = prepared(writer, 1)
    obstore.delete(bucket, f"deep/out.staging/{pending['files'][0]['staged']}")
    assert "rows that were promised" in refused(lambda: opened(attempt="a2").commit(1, pending))


@pytest.mark.parametrize("same_length", [True, False])
def test_an_object_that_was_replaced_is_noticed(bucket, same_length):
    writer = opened()
    writer.write(batch(1))
    pending = prepared(writer, 1)
    writer.commit(1, pending)
    (file,) = pending["files"]
    obstore.put(bucket, f"deep/out/{file['final']}", b"x" * (file["length"] - (not same_length)))
    text = refused(lambda: opened(attempt="a2").commit(1, pending))
    assert "is not the file that was prepared" in text
    assert f"s3://lake/deep/out/{file['final']}" in text


def test_two_processes_may_commit_the_same_checkpoint_at_once(bucket, monkeypatch):
    writer = opened()
    writer.write(batch(1))
    pending = prepared(writer, 1)
    slow = opened(attempt="a2")
    rename = ObjectDisk.rename

    def overtaken(disk, source, target):
        monkeypatch.setattr(ObjectDisk, "rename", rename)
        writer.commit(1, pending)
        rename(disk, source, target)

    monkeypatch.setattr(ObjectDisk, "rename", overtaken)
    slow.commit(1, pending)
    assert ids(bucket) == [1]


def test_what_earlier_attempts_staged_is_removed(bucket):
    crashed = opened(parquet.sink("deep/out", 1, store=STORE))
    crashed.write(batch(1, 2))
    kept = crashed.prepare(1)["files"][0]["staged"]
    writer = opened(attempt="a2")
    writer.clean({kept})
    assert list(read_all(bucket)) == [f"deep/out.staging/{kept}"]
    writer.clean(set())
    assert read_all(bucket) == {}


def test_close_discards_what_was_not_prepared(bucket):
    writer = opened(parquet.sink("deep/out", 2, store=STORE))
    writer.write(batch(1, 2, 3))
    writer.close()
    assert read_all(bucket) == {}


def test_large_objects_go_in_parts(bucket):
    rows = pa.record_batch({"id": range(1_500_000), "part": range(1_500_000)})
    writer = opened(ipc.sink("deep/out", store=STORE))
    writer.write(rows)
    pending = prepared(writer, 1)
    assert pending["files"][0]["length"] > 4 * (5 << 20)
    writer.commit(1, pending)
    ((key, data),) = read_all(bucket).items()
    assert key == "deep/out/job-hot-00000001-000.arrow"
    assert pa.ipc.open_file(data).read_all()["id"].to_pylist() == list(range(1_500_000))


# --------------------------------------------------------------------------- crashes at every request


def run_to_the_end(paper: dict, sink) -> None:
    """The least runner: ids 0..8 in checkpoints of three; `paper` stands for the manifests."""
    paper["attempt"] += 1
    writer = opened(sink, attempt=f"a{paper['attempt']}")

    def commit():
        while paper["pending"]:
            writer.commit(*paper["pending"][0])
            paper["pending"].pop(0)

    commit()
    writer.clean(set())
    while paper["position"] < 9:
        writer.write(batch(*range(paper["position"], paper["position"] + 3)))
        number = paper["number"] + 1
        pending = prepared(writer, number)
        paper.update(number=number, position=paper["position"] + 3)
        paper["pending"].append((number, pending))
        commit()
    writer.close()


@pytest.mark.parametrize("partition_by", [(), "part"], ids=["", "partitions"])
def test_no_crash_between_requests_loses_or_doubles_a_row(bucket, requests, partition_by):
    sink = parquet.sink("deep/out", 2, store=STORE, partition_by=partition_by)
    number = 0
    while True:
        for key in read_all(bucket):
            obstore.delete(bucket, key)
        paper = {"attempt": 0, "number": 0, "position": 0, "pending": []}
        requests.seen, requests.ends_before = 0, number
        try:
            run_to_the_end(paper, sink)
        except SimulatedCrash:
            requests.ends_before = None
            run_to_the_end(paper, sink)
            assert ids(bucket) == list(range(9)), number
            assert all(key.startswith("deep/out/") for key in read_all(bucket))
        else:
            break
        number += 1
    assert number > 30


# --------------------------------------------------------------------------- descriptions


def test_a_store_compares_pickles_and_never_shows_its_keys(monkeypatch):
    monkeypatch.setenv("TOP_SECRET", "hunter2")
    store = stores.s3("lake", access_key="me", secret_key=sl.secret("env:TOP_SECRET"), timeout="5s")
    assert pickle.loads(pickle.dumps(store)) == store
    assert store != stores.s3("lake")
    assert "hunter2" not in repr(store) + str(pickle.dumps(store))
    assert (
        repr(parquet.sink("hot", store=stores.s3("lake"))) == "parquet.sink('hot', store=stores.s3('lake'))"
    )
    assert parquet.sink("s3://lake/hot") == parquet.sink("hot/", store=stores.s3("lake"))


def test_a_missing_secret_of_a_store_is_found_before_the_job_starts(tmp_path):
    store = stores.s3("lake", access_key="me", secret_key=sl.secret("env:NOT_THERE_AT_ALL"))
    rows = sl.read(memory.source([{"id": 1}]), name="rows")
    flow = sl.Flow("f", rows.write(parquet.sink("out", store=store), name="out"))
    with pytest.raises(sl.StreamlibError, match="NOT_THERE_AT_ALL"):
        flow.run(state=str(tmp_path), progress="none")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: stores.s3("Lake"), "no bucket has this name"),
        (lambda: stores.s3("lake/hot"), "a prefix belongs to the path"),
        (lambda: stores.s3("lake", endpoint="127.0.0.1:8333"), "put http:// or https:// in front"),
        (lambda: stores.s3("lake", access_key="me", secret_key="hunter2"), "keep the value out of the code"),
        (lambda: stores.s3("lake", access_key="me"), "access_key= alone"),
        (lambda: stores.s3("lake", secret_key=sl.secret("env:X")), "secret_key= alone"),
        (lambda: stores.s3("lake", retry_for="1h"), "at most 5min"),
        (lambda: parquet.sink("s3://lake"), "a place of its own"),
        (lambda: parquet.sink("", store=STORE), "a place of its own"),
        (lambda: parquet.sink("a/../b", store=STORE), "not a path in a store"),
        (lambda: parquet.sink("gs://lake/hot"), "names its store in another way"),
        (lambda: parquet.sink("s3://lake/hot", store=STORE), "names its store in another way"),
        (lambda: parquet.sink("hot", store="lake"), 'store=stores.s3("bucket")'),
        (lambda: parquet.sink("hot", store=STORE, max_bytes_per_file=5 << 30), "too large for a store"),
    ],
)
def test_what_can_not_be_right_is_refused_at_once(make, says):
    with pytest.raises(DefinitionError) as caught:
        make()
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_without_obstore_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    stores._connected.cache_clear()
    with pytest.raises(MissingExtraError, match=r"streamlib\[s3\]"):
        opened()
