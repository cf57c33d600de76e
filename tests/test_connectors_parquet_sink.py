"""The Parquet sink: its files, what it checks before the first row, what it says when files are gone."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamlib.connectors import parquet
from streamlib.core.contracts import Cleans, SinkContext
from streamlib.core.disk import LocalDisk
from streamlib.core.errors import DefinitionError, SinkError

SCHEMA = pa.schema({"id": pa.int64()})


def batch(*ids: int) -> pa.RecordBatch:
    return pa.record_batch({"id": pa.array(ids, pa.int64())})


def opened(path, *, job="job", sink="hot", attempt="a1", schema=SCHEMA, disk=None, rows=5_000_000):
    return parquet.sink(path, rows).open(SinkContext(job, sink, attempt, schema, disk or LocalDisk()))


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def refused(call) -> str:
    with pytest.raises(SinkError) as caught:
        call()
    return str(caught.value)


# --------------------------------------------------------------------------- files


def test_what_is_prepared_is_recorded_with_length_and_hash(tmp_path):
    writer = opened(tmp_path / "out")
    writer.write(batch(1, 2))
    (file,) = writer.prepare(7)["files"]
    content = (tmp_path / "out.staging" / file["staged"]).read_bytes()
    assert file == {
        "staged": "a1/job-hot-000001.parquet",
        "final": "job-hot-00000007-000.parquet",
        "length": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    writer.commit(7, {"files": [file]})
    assert names(tmp_path) == ["out/job-hot-00000007-000.parquet"]


def test_a_file_that_is_full_ends_and_the_next_one_counts_on(tmp_path):
    writer = opened(tmp_path / "out", rows=4)
    writer.write(batch(*range(10)))
    writer.write(batch(10))
    pending = writer.prepare(1)
    writer.commit(1, pending)
    assert names(tmp_path / "out") == [f"job-hot-00000001-{i:03d}.parquet" for i in range(3)]
    assert [pq.read_metadata(path).num_rows for path in sorted((tmp_path / "out").iterdir())] == [4, 4, 3]
    assert pq.read_table(tmp_path / "out")["id"].to_pylist() == list(range(11))
    writer.write(batch(11))
    assert [file["final"] for file in writer.prepare(2)["files"]] == ["job-hot-00000002-000.parquet"]


def test_small_batches_share_row_groups_and_large_ones_are_cut(tmp_path):
    writer = opened(tmp_path / "out")
    for start in range(0, 200_000, 1_000):
        writer.write(pa.record_batch({"id": np.arange(start, start + 1_000)}))
    writer.commit(1, writer.prepare(1))
    (path,) = (tmp_path / "out").iterdir()
    metadata = pq.read_metadata(path)
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert max(sizes) <= 131_072
    assert len(sizes) <= 3
    assert pq.read_table(path)["id"].to_numpy().tolist() == list(range(200_000))


def test_columns_come_in_the_order_of_the_schema(tmp_path):
    schema = pa.schema({"a": pa.int64(), "b": pa.string()})
    writer = opened(tmp_path / "out", schema=schema)
    writer.write(pa.record_batch({"b": ["x"], "a": [1]}))
    writer.commit(1, writer.prepare(1))
    assert pq.read_table(tmp_path / "out").schema.equals(schema)


def test_without_rows_the_output_exists_and_is_empty(tmp_path):
    writer = opened(tmp_path / "out")
    assert writer.prepare(1) is None
    writer.close()
    assert list((tmp_path / "out").iterdir()) == []
    assert list((tmp_path / "out.staging").iterdir()) == []


def test_what_the_sink_wrote_is_a_source(tmp_path):
    writer = opened(tmp_path / "out")
    writer.write(batch(1, 2))
    writer.commit(1, writer.prepare(1))
    writer.write(batch(3))  # open: not to be seen by anybody
    source = parquet.source(tmp_path / "out")
    assert source.schema() == SCHEMA
    assert source.open(source.partitions()[0], None, None).read().rows.to_pylist() == [{"id": 1}, {"id": 2}]
    writer.close()


@pytest.mark.parametrize(("job", "sink"), [("a/b", "../x"), (".job", "_out"), ("a-b", "c"), ("ü ", "%")])
def test_names_made_from_data_stay_inside_the_folder_and_visible(tmp_path, job, sink):
    writer = opened(tmp_path / "out", job=job, sink=sink, attempt="../../x")
    writer.write(batch(1))
    writer.commit(1, writer.prepare(1))
    (name,) = names(tmp_path)
    assert name.startswith("out/")
    assert name[4] not in "._"
    assert writer.last_committed() == 1
    assert opened(tmp_path / "out", job=job, sink=sink, attempt="a2").last_committed() == 1


def test_names_of_two_jobs_never_meet(tmp_path):
    writer = opened(tmp_path / "out", job="a", sink="b-c")
    writer.write(batch(1))
    writer.commit(1, writer.prepare(1))
    assert "another job's files" in refused(lambda: opened(tmp_path / "out", job="a-b", sink="c"))


# --------------------------------------------------------------------------- before the first row


def test_another_jobs_output_is_refused(tmp_path):
    pq.write_table(pa.table({"id": [1]}), (tmp_path / "out").mkdir() or tmp_path / "out/part-0.parquet")
    text = refused(lambda: opened(tmp_path / "out"))
    assert "another job's files" in text
    assert "part-0.parquet" in text
    assert "give another folder, or remove them" in text


def test_other_files_in_the_output_are_nobodys_business(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/README.md").touch()
    opened(tmp_path / "out").close()


@pytest.mark.parametrize("path", ["out", "out/below"])
def test_a_file_where_the_folder_should_be_is_refused(tmp_path, path):
    (tmp_path / "out").touch()
    text = refused(lambda: opened(tmp_path / path))
    assert str(tmp_path / path) in text
    assert "a file where a folder is needed" in text


class Failing(LocalDisk):
    """A disk on which one operation fails; root, who runs tests in containers, may do everything."""

    def __init__(self, operation: str, code: int) -> None:
        def fail(path, *more):
            raise OSError(code, os.strerror(code), path)

        setattr(self, operation, fail)


@pytest.mark.parametrize(
    ("operation", "code", "says"),
    [
        ("make_dirs", errno.EACCES, "permission denied"),
        ("create", errno.EROFS, "read-only"),
        ("create", errno.ENOSPC, "full disk"),
        ("rename", errno.EXDEV, "different filesystems"),
        ("remove", errno.EIO, "Input/output error"),
    ],
)
def test_an_output_that_can_not_be_used_is_refused_with_the_reason(tmp_path, operation, code, says):
    text = refused(lambda: opened(tmp_path / "out", disk=Failing(operation, code)))
    assert f"the output '{tmp_path}/out' can't be used" in text
    assert says in text
    assert "to do:" in text


def test_types_that_parquet_lacks_are_refused(tmp_path):
    schema = pa.schema({"x": pa.month_day_nano_interval()})
    assert "Parquet can't hold these columns" in refused(lambda: opened(tmp_path / "out", schema=schema))


def test_a_file_size_below_one_row_is_refused():
    with pytest.raises(DefinitionError, match="max_rows_per_file"):
        parquet.sink("out", 0)


# --------------------------------------------------------------------------- writing and committing


def test_rows_of_another_schema_are_refused(tmp_path):
    text = refused(lambda: opened(tmp_path / "out").write(pa.record_batch({"id": ["x"]})))
    assert "column 'id' of type int64" in text
    assert "column 'id' of type string" in text


def test_a_full_disk_is_told_with_what_to_do(tmp_path):
    disk = LocalDisk()
    writer = opened(tmp_path / "out", disk=disk)
    writer.write(batch(1))
    disk.sync_dir = Failing("sync_dir", errno.ENOSPC).sync_dir
    text = refused(lambda: writer.prepare(1))
    assert "a full disk" in text


def committed(tmp_path) -> tuple[Path, Path, dict]:
    """A prepared and a committed file, and the pending commit of the latter."""
    writer = opened(tmp_path / "out")
    writer.write(batch(1))
    pending = json.loads(json.dumps(writer.prepare(1)))
    staged = tmp_path / "out.staging" / pending["files"][0]["staged"]
    final = tmp_path / "out" / pending["files"][0]["final"]
    return staged, final, pending


def test_a_file_that_is_neither_staged_nor_published_is_missed(tmp_path):
    staged, final, pending = committed(tmp_path)
    staged.unlink()
    text = refused(lambda: opened(tmp_path / "out", attempt="a2").commit(1, pending))
    assert "rows that were promised to readers" in text
    assert final.name in text


@pytest.mark.parametrize("damage", [b"", b"x"])
def test_a_damaged_file_is_not_published(tmp_path, damage):
    staged, final, pending = committed(tmp_path)
    staged.write_bytes(damage)
    text = refused(lambda: opened(tmp_path / "out", attempt="a2").commit(1, pending))
    assert "is not the file that was prepared" in text
    assert not final.exists()


@pytest.mark.parametrize("longer", [False, True])
def test_a_published_file_that_was_changed_is_noticed(tmp_path, longer):
    _, final, pending = committed(tmp_path)
    opened(tmp_path / "out", attempt="a2").commit(1, pending)
    content = bytearray(final.read_bytes())
    content[len(content) // 2] ^= 1
    final.write_bytes(bytes(content) + b"x" * longer)
    text = refused(lambda: opened(tmp_path / "out", attempt="a3").commit(1, pending))
    assert "is not the file that was prepared" in text


def test_two_processes_may_commit_the_same_checkpoint_at_once(tmp_path):
    staged, final, pending = committed(tmp_path)

    class Overtaken(LocalDisk):
        def rename(self, source: str, target: str) -> None:
            super().rename(source, target)
            if target == str(final):
                raise FileNotFoundError(errno.ENOENT, "the other one was faster", source)

    opened(tmp_path / "out", attempt="a2", disk=Overtaken()).commit(1, pending)
    assert final.exists()
    assert not staged.exists()


# --------------------------------------------------------------------------- cleaning


def test_clean_removes_what_no_manifest_names_and_nothing_of_others(tmp_path):
    crashed = opened(tmp_path / "out", attempt="a1", rows=1)
    crashed.write(batch(1, 2))
    kept = crashed.prepare(1)["files"][1]["staged"]
    others = opened(tmp_path / "out", attempt="a1", sink="hot-2")
    others.write(batch(3))
    others_file = others.prepare(1)["files"][0]["staged"]
    writer = opened(tmp_path / "out", attempt="a2")
    writer.write(batch(4))
    assert isinstance(writer, Cleans)
    writer.clean({kept})
    left = names(tmp_path / "out.staging")
    assert left == sorted([kept, others_file, "a2/job-hot-000001.parquet"])
    writer.clean(set())
    assert names(tmp_path / "out.staging") == sorted([others_file, "a2/job-hot-000001.parquet"])
    writer.close()
    assert names(tmp_path / "out.staging") == [others_file]


def test_an_abandoned_writer_leaves_the_disk_alone(tmp_path):
    writer = opened(tmp_path / "out")
    writer.write(batch(1))
    path = tmp_path / "out.staging/a1/job-hot-000001.parquet"
    before = path.read_bytes()
    del writer  # pyarrow would finish the file now
    assert path.read_bytes() == before
