"""What every staged sink promises, asked of every one, on a real disk and on one that forgets."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from streamlib.connectors import memory
from streamlib.core.contracts import Disk, Json, Sink, SinkContext, SinkWriter
from streamlib.core.disk import LocalDisk
from streamlib.core.errors import SinkError
from streamlib.testing.disk import SimDisk
from tests.crashes import crashed_everywhere
from tests.file_formats import FORMATS, rows_of, sink_of

SCHEMA = pa.schema({"id": pa.int64(), "name": pa.string()})


def batch(*ids: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"id": i, "name": f"n{i}"} for i in ids], SCHEMA)


def file_ids(disk: Disk, folder: str, suffix: str = ".parquet") -> list[int]:
    """What a reader sees who takes every file of the folder and of the folders in it."""
    ids = []
    for name in disk.list(folder):
        if "=" in name:
            ids += file_ids(disk, f"{folder}/{name}", suffix)
        elif name.endswith(suffix):
            rows = rows_of(suffix, disk.read(f"{folder}/{name}"))
            assert all(row.get("name") in (f"n{row['id']}", None) for row in rows)
            ids += [int(row["id"]) for row in rows]
    return ids


@dataclass
class Place:
    sink: Sink
    disk: Disk
    ids: Callable[[], list[int]]
    """What readers see."""

    def open(self, attempt: str = "a1", sink: str = "out", job: str = "job") -> SinkWriter:
        return self.sink.open(SinkContext(job, sink, attempt, SCHEMA, self.disk))


def memory_place(folder: Path) -> Place:
    sink = memory.sink()
    return Place(sink, LocalDisk(), lambda: sink.table()["id"].to_pylist() if sink.table().num_rows else [])


def local_files(folder: Path, suffix: str) -> Place:
    disk, output = LocalDisk(), f"{folder}/deep/out"
    return Place(sink_of(suffix, output, 3), disk, lambda: file_ids(disk, output, suffix))


def simulated_files(folder: Path, suffix: str, **options: Any) -> Place:
    disk = SimDisk()
    return Place(sink_of(suffix, "/out", 3, **options), disk, lambda: file_ids(disk, "/out", suffix))


PLACES: dict[str, Callable[[Path], Place]] = {
    "memory": memory_place,
    "local .parquet": lambda folder: local_files(folder, ".parquet"),
    "simulated .parquet": lambda folder: simulated_files(folder, ".parquet"),
    "partitions": lambda folder: simulated_files(folder, ".parquet", partition_by="name"),
    **{suffix: lambda folder, suffix=suffix: local_files(folder, suffix) for suffix in FORMATS},
}


@pytest.fixture(params=PLACES)
def place(request, tmp_path) -> Place:
    return PLACES[request.param](tmp_path)


def prepared(writer: SinkWriter, number: int) -> Json:
    """The answer of `prepare`, after the way through a manifest."""
    return json.loads(json.dumps(writer.prepare(number)))


def test_keeps_the_contracts(place):
    assert isinstance(place.sink, Sink)
    assert isinstance(place.open(), SinkWriter)
    assert place.sink.delivery == "staged"
    assert pickle.loads(pickle.dumps(place.sink)) == place.sink


def test_readers_see_rows_when_they_are_committed_and_not_before(place):
    writer = place.open()
    writer.write(batch(1, 2))
    writer.write(batch(3, 4))
    assert sorted(place.ids()) == []
    pending = prepared(writer, 1)
    assert sorted(place.ids()) == []
    writer.commit(1, pending)
    assert sorted(place.ids()) == [1, 2, 3, 4]


def test_rows_after_a_prepare_belong_to_the_next_checkpoint(place):
    writer = place.open()
    writer.write(batch(1))
    first = prepared(writer, 1)
    writer.write(batch(2))
    writer.commit(1, first)
    assert sorted(place.ids()) == [1]
    writer.commit(2, prepared(writer, 2))
    assert sorted(place.ids()) == [1, 2]


def test_a_checkpoint_without_rows_has_nothing_to_commit(place):
    writer = place.open()
    assert writer.prepare(1) is None
    writer.commit(1, None)
    writer.write(batch())
    assert writer.prepare(2) is None
    writer.close()
    assert sorted(place.ids()) == []


def test_a_repeated_commit_changes_nothing(place):
    writer = place.open()
    writer.write(batch(1, 2, 3, 4))
    pending = prepared(writer, 1)
    for _ in range(3):
        writer.commit(1, pending)
        assert sorted(place.ids()) == [1, 2, 3, 4]


def test_a_later_attempt_commits_what_an_earlier_one_prepared(place):
    writer = place.open("a1")
    writer.write(batch(1, 2, 3, 4))
    pending = prepared(writer, 1)
    writer.write(batch(9))  # crash: never prepared, read again by the next attempt
    later = place.open("a2")
    later.commit(1, pending)
    later.write(batch(5))
    later.commit(2, prepared(later, 2))
    assert sorted(place.ids()) == [1, 2, 3, 4, 5]
    place.open("a3").commit(1, pending)
    assert sorted(place.ids()) == [1, 2, 3, 4, 5]


def test_close_discards_what_was_not_prepared_and_keeps_the_rest(place):
    writer = place.open("a1")
    writer.write(batch(1, 2))
    pending = prepared(writer, 1)
    writer.write(batch(3, 4, 5, 6))
    writer.close()
    later = place.open("a2")
    later.commit(1, pending)
    assert sorted(place.ids()) == [1, 2]
    later.close()


def test_the_last_committed_number_is_known_across_attempts(place):
    writer = place.open("a1")
    assert writer.last_committed() == 0
    for number in (3, 12):
        writer.write(batch(number))
        writer.commit(number, prepared(writer, number))
        assert writer.last_committed() == number
    writer.write(batch(13))
    writer.prepare(13)
    assert place.open("a2").last_committed() == 12


def test_two_sinks_of_a_job_in_one_place_do_not_mix(place):
    first, second = place.open(sink="out"), place.open(sink="out-2")
    first.write(batch(1))
    second.write(batch(2))
    pending = prepared(first, 5), prepared(second, 5)
    second.close()
    first.commit(5, pending[0])
    assert sorted(place.ids()) == [1]
    assert second.last_committed() == 0
    first.close()
    place.open("a2", sink="out-2").commit(5, pending[1])
    assert sorted(place.ids()) == [1, 2]


# --------------------------------------------------------------------------- crashes at every step


class Job:
    """The least runner: ids 0..8 in checkpoints of three, positions and pending commits on paper.

    The paper stands for the manifests; it is written at once, so that only the sink can fail.
    """

    def __init__(self, disk: SimDisk, sink: Sink) -> None:
        self._place = Place(sink, disk, list)
        self._attempt = 0
        self._number = 0
        self._position = 0
        self._pending: list[tuple[int, Json]] = []

    def run(self) -> None:
        self._attempt += 1
        writer = self._place.open(f"a{self._attempt}")
        self._commit(writer)
        writer.clean(set())
        while self._position < 9:
            for i in range(self._position, self._position + 3):
                writer.write(batch(i))
            self._number += 1
            pending = prepared(writer, self._number)
            self._position += 3
            self._pending.append((self._number, pending))
            self._commit(writer)
        writer.close()

    def _commit(self, writer: SinkWriter) -> None:
        while self._pending:
            writer.commit(*self._pending[0])
            self._pending.pop(0)


@pytest.mark.parametrize("power_cut", [False, True], ids=["process dies", "power fails"])
@pytest.mark.parametrize(
    ("suffix", "partition_by"), [*((suffix, ()) for suffix in FORMATS), (".csv", "name")], ids=str
)
def test_no_crash_loses_or_doubles_a_row(suffix, partition_by, power_cut):
    sink = sink_of(suffix, "/out", 2, partition_by=partition_by)
    for job, disk, where in crashed_everywhere(lambda disk: Job(disk, sink), power_cut):
        job.run()
        assert sorted(file_ids(disk, "/out", suffix)) == list(range(9)), where
        strange = [name for name in disk.list("/out") if not name.endswith(suffix) and "=" not in name]
        assert strange == []
        assert disk.list("/out.staging") == []


@pytest.mark.parametrize("seed", range(10))
def test_a_fenced_process_that_tidies_up_takes_nothing_back(seed):
    disk = SimDisk()
    place = Place(sink_of(".parquet", "/out"), disk, list)
    fenced = place.open("a1")
    fenced.write(batch(1))
    pending = prepared(fenced, 1)

    def no_sync(operation: str, path: str) -> None:
        if operation == "sync_dir":
            raise OSError("interrupted")

    disk.on_operation = no_sync
    with pytest.raises(SinkError):
        fenced.commit(1, pending)  # renamed, not yet durable
    disk.on_operation = lambda operation, path: None
    later = place.open("a2")
    fenced.close()  # removes its folder, which `later` can't sync any more
    later.commit(1, pending)
    disk.crash(random.Random(seed))
    assert file_ids(disk, "/out") == [1]


@pytest.mark.parametrize("seed", range(10))
def test_committed_rows_survive_a_power_cut_at_the_end(seed):
    disk = SimDisk()
    Job(disk, sink_of(".parquet", "/out", 2)).run()
    disk.crash(random.Random(seed))
    assert sorted(file_ids(disk, "/out")) == list(range(9))
