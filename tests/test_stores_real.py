"""Sinks in a real server of S3: what is published is exact, while the server or the job dies."""

from __future__ import annotations

import json
import threading
import uuid
from collections import Counter
from collections.abc import Iterator

import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

import streamlib as sl
from streamlib.connectors import csv, jsonl, memory, parquet
from streamlib.core.contracts import SinkContext
from streamlib.core.disk import LocalDisk
from streamlib.core.errors import SinkError, SourceError
from tests.file_formats import FORMATS, rows_of, sink_of
from tests.seaweed import BUCKET, READER, Seaweed
from tests.test_connectors_stores import batch, prepared

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory) -> Iterator[Seaweed]:
    server = Seaweed(tmp_path_factory.mktemp("seaweed"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def prefix() -> str:
    return f"out-{uuid.uuid4().hex}/hot"


def shown(seaweed: Seaweed, prefix: str, suffix: str = ".parquet") -> list[int]:
    """The ids that readers see, by another client."""
    files = seaweed.filesystem()
    found = files.get_file_info(
        pa.fs.FileSelector(f"{BUCKET}/{prefix}", recursive=True, allow_not_found=True)
    )
    paths = [info.path for info in found if info.is_file]
    assert all(path.endswith(suffix) for path in paths)
    rows = [
        row
        for path in paths
        for row in rows_of(suffix, files.open_input_stream(path, compression=None).read())
    ]
    return sorted(int(row["id"]) for row in rows)


def staged(seaweed: Seaweed, prefix: str) -> list[str]:
    selector = pa.fs.FileSelector(f"{BUCKET}/{prefix}.staging", recursive=True, allow_not_found=True)
    return [info.path for info in seaweed.filesystem().get_file_info(selector) if info.is_file]


def numbers(count: int, sink, step: int = 1000) -> sl.Flow:
    table = pa.table({"id": range(count), "part": [i % 3 for i in range(count)]})
    rows = sl.read(memory.source(table, chunk_rows=step), name="numbers")
    return sl.Flow("numbers", rows.write(sink, name="out"))


def opened(seaweed: Seaweed, prefix: str, attempt: str, **options):
    sink = parquet.sink(prefix, 2, store=seaweed.store(**options))
    schema = pa.schema({"id": pa.int64(), "part": pa.int64()})
    return sink.open(SinkContext("job", "hot", attempt, schema, LocalDisk()))


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_is_read_back(seaweed, prefix, tmp_path, suffix):
    flow = numbers(2000, sink_of(suffix, prefix, 700, store=seaweed.store()))
    flow.run(state=str(tmp_path), progress="none")
    assert shown(seaweed, prefix, suffix) == list(range(2000))
    assert staged(seaweed, prefix) == []


def test_other_engines_read_partitions_of_a_bucket(seaweed, prefix, tmp_path, monkeypatch):
    numbers(3000, parquet.sink(prefix, partition_by="part", store=seaweed.store())).run(
        state=str(tmp_path), progress="none"
    )
    dataset = ds.dataset(f"{BUCKET}/{prefix}", filesystem=seaweed.filesystem(), partitioning="hive")
    assert Counter(dataset.to_table()["part"].to_pylist()) == {0: 1000, 1: 1000, 2: 1000}
    options = {
        "aws_endpoint_url": seaweed.endpoint,
        "aws_access_key_id": "streamlib",
        "aws_secret_access_key": "not so secret",
        "aws_region": "us-east-1",
        "aws_allow_http": "true",
    }
    frame = pl.scan_parquet(f"s3://{BUCKET}/{prefix}/", storage_options=options, hive_partitioning=True)
    assert frame.select("id").collect()["id"].sort().to_list() == list(range(3000))


def test_a_path_alone_takes_keys_and_endpoint_from_the_environment(seaweed, prefix, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", seaweed.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "streamlib")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not so secret")
    numbers(10, csv.sink(f"s3://{BUCKET}/{prefix}")).run(state=str(tmp_path), progress="none")
    assert shown(seaweed, prefix, ".csv") == list(range(10))


def test_objects_of_many_parts_are_copied_whole(seaweed, prefix):
    writer = parquet.sink(prefix, store=seaweed.store()).open(
        SinkContext("job", "hot", "a1", pa.schema({"id": pa.int64(), "part": pa.int64()}), LocalDisk())
    )
    writer.write(pa.record_batch({"id": range(2_000_000), "part": [i * 7919 for i in range(2_000_000)]}))
    pending = prepared(writer, 1)
    assert pending["files"][0]["length"] > 3 * (5 << 20)
    writer.commit(1, pending)
    writer.commit(1, pending)  # finds it by what its metadata say
    dataset = ds.dataset(f"{BUCKET}/{prefix}", filesystem=seaweed.filesystem())
    assert dataset.to_table(columns=["id"])["id"].to_numpy().tolist() == list(range(2_000_000))


def test_a_crash_between_prepare_and_commit_loses_and_doubles_nothing(seaweed, prefix):
    crashed = opened(seaweed, prefix, "a1")
    crashed.write(batch(1, 2, 3))
    pending = json.loads(json.dumps(crashed.prepare(1)))
    crashed.write(batch(4, 5, 6, 7))  # of a checkpoint that never is
    later = opened(seaweed, prefix, "a2")
    later.commit(1, pending)
    later.clean(set())
    assert shown(seaweed, prefix) == [1, 2, 3]
    later.write(batch(4, 5, 6, 7))
    later.commit(2, prepared(later, 2))
    later.commit(1, pending)
    later.close()
    assert shown(seaweed, prefix) == [1, 2, 3, 4, 5, 6, 7]
    assert staged(seaweed, prefix) == []
    assert opened(seaweed, prefix, "a3").last_committed() == 2


def test_an_object_that_somebody_replaced_is_noticed(seaweed, prefix):
    writer = opened(seaweed, prefix, "a1")
    writer.write(batch(1))
    pending = prepared(writer, 1)
    writer.commit(1, pending)
    (file,) = pending["files"]
    with seaweed.filesystem().open_output_stream(f"{BUCKET}/{prefix}/{file['final']}") as out:
        out.write(b"x" * file["length"])
    with pytest.raises(SinkError, match="is not the file that was prepared"):
        writer.commit(1, pending)


def test_what_was_published_is_read_as_a_source_and_a_killed_reader_goes_on(seaweed, prefix, tmp_path):
    """Two jobs through the server: one writes, the other reads, and is ended and started again."""
    numbers(30_000, parquet.sink(prefix, 4000, store=seaweed.store(), partition_by="part")).run(
        state=str(tmp_path / "one"), progress="none"
    )
    source = parquet.source(prefix, store=seaweed.store())
    assert len(source.partitions()) == 9
    seen = 0

    def dies(rows: pa.RecordBatch) -> pa.RecordBatch:
        nonlocal seen
        seen += rows.num_rows
        if 10_000 < seen < 1_000_000:
            seen = 1_000_000
            raise ZeroDivisionError("in the middle")
        return rows

    schema = pa.schema({"id": pa.int64()})
    copied = sl.read(source, name="copied").map_batches(dies, schema=schema)
    flow = sl.Flow("copies", copied.write(jsonl.sink(f"{prefix}-again", store=seaweed.store()), name="out"))
    with pytest.raises(ZeroDivisionError):
        flow.run(state=str(tmp_path / "two"), checkpoint_interval="1ms", progress="none")
    flow.run(state=str(tmp_path / "two"), checkpoint_interval="1ms", progress="none")
    assert shown(seaweed, f"{prefix}-again", ".jsonl") == list(range(30_000))


def test_csv_of_another_client_is_read(seaweed, prefix):
    files = seaweed.filesystem()
    for name, ids in (("a.csv", range(5)), ("below/b.csv.gz", range(5, 9))):
        with files.open_output_stream(f"{BUCKET}/{prefix}/{name}") as out:  # which compresses by the name
            out.write(b"id\n" + b"".join(b"%d\n" % i for i in ids))
    source = csv.source(prefix, {"id": pa.int64()}, store=seaweed.store())
    assert source.partitions() == ["a.csv", "below/b.csv.gz"]
    assert sorted(sl.read(source, name="rows").collect()["id"].to_pylist()) == list(range(9))
    with pytest.raises(SourceError, match="no such bucket"):
        csv.source(prefix, {"id": pa.int64()}, store=seaweed.store("not-there")).partitions()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"bucket": "not-there"}, "no such bucket"),
        ({"key": READER}, "denied"),
        ({"key": "nobody"}, "correct the keys"),
    ],
)
def test_what_the_server_refuses_is_said_before_the_first_row(seaweed, prefix, options, says):
    with pytest.raises(SinkError) as caught:
        opened(seaweed, prefix, "a1", **options)
    assert says in str(caught.value)
    assert "to do:" in str(caught.value)
    assert "not so secret" not in str(caught.value)


# --------------------------------------------------------------------------- the server dies


@pytest.fixture
def own_server(tmp_path) -> Iterator[Seaweed]:
    server = Seaweed(tmp_path)
    server.start()
    yield server
    server.kill()


def disturbed(seaweed: Seaweed, sink, tmp_path, disturb) -> sl.Flow:
    """A run with a checkpoint for each chunk; `disturb` is called once, in the middle of it."""
    seen = threading.Event()

    def looked_at(rows: pa.RecordBatch) -> pa.RecordBatch:
        if rows["id"][-1].as_py() >= 10_000 and not seen.is_set():
            seen.set()
            disturb()
        return rows

    table = pa.table({"id": range(20_000), "part": [i % 3 for i in range(20_000)]})
    rows = sl.read(memory.source(table, chunk_rows=500), name="numbers")
    return sl.Flow("numbers", rows.map_batches(looked_at, schema=table.schema).write(sink, name="out"))


def test_a_job_outlives_a_server_that_is_killed_and_comes_back(own_server, prefix, tmp_path):
    def restart() -> None:
        own_server.kill()
        threading.Thread(target=own_server.start).start()

    flow = disturbed(own_server, parquet.sink(prefix, store=own_server.store()), tmp_path, restart)
    flow.run(state=str(tmp_path / "state"), checkpoint_interval="50ms", progress="none")
    assert shown(own_server, prefix) == list(range(20_000))
    assert staged(own_server, prefix) == []


@pytest.mark.parametrize("way", ["killed", "frozen"])
def test_a_job_fails_clearly_while_the_server_is_gone_and_goes_on_after(own_server, prefix, tmp_path, way):
    sink = jsonl.sink(prefix, store=own_server.store(retry_for="1s", timeout="1s"))
    stop = own_server.kill if way == "killed" else own_server.freeze
    flow = disturbed(own_server, sink, tmp_path, stop)
    with pytest.raises(SinkError) as caught:
        flow.run(state=str(tmp_path / "state"), checkpoint_interval="50ms", progress="none")
    assert "an answer of s3://lake at" in str(caught.value)
    assert "start the job again" in str(caught.value)
    own_server.start() if way == "killed" else own_server.thaw()
    before = shown(own_server, prefix, ".jsonl")
    patient = jsonl.sink(prefix, store=own_server.store())
    again = disturbed(own_server, patient, tmp_path, lambda: None)
    again.run(state=str(tmp_path / "state"), checkpoint_interval="50ms", progress="none")
    assert shown(own_server, prefix, ".jsonl") == list(range(20_000))
    assert len(before) < 20_000
    if way == "killed":  # a frozen server finishes a request later, maybe after its object was looked for
        assert staged(own_server, prefix) == []
