"""The snapshot sink: one file that every checkpoint replaces, under crashes at every step."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamlib.connectors import parquet
from streamlib.connectors.parquet_snapshot import SnapshotWriter
from streamlib.core.changes import AFTER, DELETE, INSERT, Changelog
from streamlib.core.contracts import Disk, Json, SinkContext
from streamlib.core.disk import LocalDisk
from streamlib.core.errors import SinkError
from streamlib.testing.disk import SimDisk
from tests.crashes import crashed_everywhere

SCHEMA = pa.schema({"id": pa.int64(), "n": pa.int64()})


def opened(
    disk: Disk, attempt: str, restored: int = 0, job: str = "j", sink: str = "s", path: str = "/out"
) -> SnapshotWriter:
    context = SinkContext(job, sink, attempt, SCHEMA, disk, Changelog(("id",)), restored)
    return parquet.snapshot_sink(path).open(context)


def changes(*rows: tuple[int, int, int]) -> pa.RecordBatch:
    ids, numbers, kinds = zip(*rows, strict=True)
    change = pa.array(kinds, pa.int8())
    return pa.RecordBatch.from_arrays([pa.array(ids), pa.array(numbers), change], ["id", "n", "__change__"])


def shown(disk: Disk, path: str = "/out") -> dict[int, int]:
    """What a reader sees who takes every file of the folder."""
    names = [name for name in disk.list(path) if name.endswith(".parquet")]
    rows = [row for n in names for row in pq.read_table(io.BytesIO(disk.read(f"{path}/{n}"))).to_pylist()]
    return {row["id"]: row["n"] for row in rows}


def test_readers_see_the_table_of_the_last_commit_in_one_file(tmp_path):
    disk, path = LocalDisk(), str(tmp_path / "out")
    writer = opened(disk, "a1", path=path)
    writer.write(changes((1, 1, INSERT), (2, 1, INSERT)))
    first = writer.prepare(1)
    writer.write(changes((1, 5, AFTER), (2, 1, DELETE)))
    assert shown(disk, path) == {}
    writer.commit(1, first)
    assert shown(disk, path) == {1: 1, 2: 1}
    writer.commit(2, writer.prepare(2))
    assert shown(disk, path) == {1: 5}
    assert writer.prepare(3) is None
    assert writer.last_committed() == 2
    assert disk.list(path) == ["current.parquet"]
    writer.close()


def test_the_first_checkpoint_shows_a_table_even_without_rows():
    disk = SimDisk()
    writer = opened(disk, "a1")
    writer.commit(1, writer.prepare(1))
    assert disk.list("/out") == ["current.parquet"]
    later = opened(disk, "a2", restored=1)
    later.write(changes((1, 1, INSERT)))
    later.commit(2, later.prepare(2))
    assert shown(disk) == {1: 1}


FINAL = {0: 6, 1: 7, 2: 8}


class Job:
    """The least runner: nine changes in checkpoints of three, positions and pending commits on paper."""

    def __init__(self, disk: SimDisk) -> None:
        self._disk = disk
        self._attempt = self._number = self._position = 0
        self._pending: list[tuple[int, Json]] = []

    def run(self) -> None:
        self._attempt += 1
        writer = opened(self._disk, f"a{self._attempt}", self._number)
        self._commit(writer)
        writer.clean(set())
        while self._position < 9:
            for i in range(self._position, self._position + 3):
                writer.write(changes((i % 3, i, AFTER if i >= 3 else INSERT)))
            pending = writer.prepare(self._number + 1)
            self._number += 1
            self._position += 3
            self._pending.append((self._number, pending))
            self._commit(writer)
        writer.close()

    def _commit(self, writer: SnapshotWriter) -> None:
        while self._pending:
            writer.commit(*self._pending[0])
            self._pending.pop(0)


@pytest.mark.parametrize("power_cut", [False, True], ids=["process dies", "power fails"])
def test_no_crash_loses_a_change_or_shows_half_a_table(power_cut):
    for job, disk, where in crashed_everywhere(Job, power_cut):
        assert shown(disk) in ({}, {0: 0, 1: 1, 2: 2}, {0: 3, 1: 4, 2: 5}, FINAL), where
        job.run()
        assert shown(disk) == FINAL, where
        assert disk.list("/out") == ["current.parquet"]
        assert disk.list("/out.staging") == []


def test_a_frozen_predecessor_that_commits_late_does_not_bring_an_old_table_back():
    disk = SimDisk()
    frozen = opened(disk, "a1")
    frozen.write(changes((1, 1, INSERT)))
    pending = frozen.prepare(1)
    successor = opened(disk, "a2", restored=1)
    successor.commit(1, pending)
    successor.clean(set())
    successor.write(changes((1, 2, AFTER)))
    successor.commit(2, successor.prepare(2))
    frozen.commit(1, pending)
    assert shown(disk) == {1: 2}
    assert opened(disk, "a3", restored=2).last_committed() == 2


def test_another_jobs_table_and_a_table_that_is_gone_are_refused():
    disk = SimDisk()
    writer = opened(disk, "a1")
    writer.commit(1, writer.prepare(1))
    with pytest.raises(SinkError, match="does not belong to this job"):
        opened(disk, "a2", job="other")
    with pytest.raises(SinkError, match="of the sink 's'"):
        opened(disk, "a2", sink="t")
    disk.remove("/out/current.parquet")
    with pytest.raises(SinkError, match="goes on from a checkpoint"):
        opened(disk, "a2", restored=1).write(changes((1, 1, INSERT)))
    with pytest.raises(SinkError, match="is missing"):
        opened(disk, "a3", restored=1).commit(1, {"staged": "a1/x", "length": 3, "sha256": "", "final": "c"})
