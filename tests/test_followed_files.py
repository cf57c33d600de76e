"""A folder that grows, as a source without an end."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import streamlib as sl
from streamlib import windows
from streamlib.connectors import csv, ipc, jsonl, memory, parquet
from streamlib.core.contracts import Chunk, Pause
from streamlib.core.errors import DefinitionError, SourceError
from streamlib.plan.launch import JobOptions
from streamlib.runners.driver import BatchSize, Driver
from streamlib.runners.job import Job
from streamlib.testing.disk import SimDisk, SimulatedCrash
from streamlib.testing.simulator import Moments, SimWorld, published

SCHEMA = {"id": pa.int64()}


def put(folder: Path, name: str, ids: list[int | str]) -> None:
    """As a writer does it: the file gets its name when it is complete."""
    (folder / f".{name}").write_text("".join(f"{i}\n" for i in ["id", *ids]))
    (folder / f".{name}").rename(folder / name)


def until_nothing(reader: Any) -> list[Chunk]:
    return list(iter(reader.read, Pause.NOT_YET))


def ids(chunks: list[Chunk]) -> list[int]:
    return [row["id"] for chunk in chunks for row in chunk.rows.to_pylist()]


def test_files_that_come_are_read_once_in_the_order_of_their_names(tmp_path):
    put(tmp_path, "b.csv", [1, 2])
    reader = csv.source(tmp_path, SCHEMA).follow().open("files", None, None)
    assert ids(until_nothing(reader)) == [1, 2]
    (tmp_path / ".d.csv").write_text("id\n")
    (tmp_path / "_e.csv").write_text("id\n")
    put(tmp_path, "c.csv", [5])
    put(tmp_path, "a.csv", [3, 4])
    assert ids(until_nothing(reader)) == [3, 4, 5]
    assert until_nothing(reader) == []


def test_a_folder_may_be_empty_at_first_but_must_be_there(tmp_path):
    source = csv.source(tmp_path / "in", SCHEMA).follow()
    with pytest.raises(SourceError, match="no such file or folder"):
        source.schema()
    (tmp_path / "in").mkdir()
    assert source.schema() == pa.schema(SCHEMA)
    reader = source.open("files", None, None)
    assert reader.read() is Pause.NOT_YET
    put(tmp_path / "in", "a.csv", [1])
    assert ids(until_nothing(reader)) == [1]
    with pytest.raises(SourceError, match=r"no file of parquet.source(.|\n)*put the first file there"):
        parquet.source(tmp_path / "in").follow().schema()


def test_reading_goes_on_from_every_position_though_read_files_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "BATCH_ROWS", 2)
    names = [f"{i}.parquet" for i in range(4)]
    for i, name in enumerate(names):
        rows = [] if i == 1 else list(range(i * 10, i * 10 + 5))
        pq.write_table(pa.table({"id": pa.array(rows, pa.int64())}), tmp_path / name)
    source = parquet.source(tmp_path).follow()
    chunks = until_nothing(source.open("files", None, None))
    everything = ids(chunks)
    assert everything == [*range(5), *range(20, 25), *range(30, 35)]
    seen = 0
    for chunk in chunks:
        position = json.loads(json.dumps(chunk.next_position))
        for name in position["read"]:
            (tmp_path / name).unlink(missing_ok=True)
        seen += chunk.rows.num_rows
        assert ids(until_nothing(source.open("files", position, None))) == everything[seen:]


def test_names_of_files_that_are_gone_are_forgotten_unless_all_seem_gone(tmp_path):
    put(tmp_path, "a.csv", [1])
    put(tmp_path, "b.csv", [2])
    reader = csv.source(tmp_path, SCHEMA).follow().open("files", None, None)
    until_nothing(reader)
    (tmp_path / "a.csv").rename(tmp_path / "a.old")
    (tmp_path / "b.csv").rename(tmp_path / "b.old")
    assert until_nothing(reader) == []  # as where a disk is not mounted
    (tmp_path / "b.old").rename(tmp_path / "b.csv")
    put(tmp_path, "c.csv", [3])
    *_, last = until_nothing(reader)
    assert ids([last]) == [3]
    assert last.next_position["read"] == ["b.csv", "c.csv"]


def test_broken_records_are_numbered_over_all_files(tmp_path):
    put(tmp_path, "a.csv", [1, "x"])
    put(tmp_path, "b.csv", ["y", 2])
    chunks = until_nothing(csv.source(tmp_path, SCHEMA).follow().open("files", None, None))
    assert [(b.position, b.where[-13:]) for chunk in chunks for b in chunk.broken] == [
        (1, "a.csv, line 3"),
        (2, "b.csv, line 2"),
    ]
    rows = sl.read(csv.source(tmp_path, SCHEMA).follow(), name="rows", on_error="skip")
    assert rows.collect(n=2)["id"].to_pylist() == [1, 2]


def test_a_file_that_is_still_written_stops_the_job_and_says_how_to_write_files(tmp_path):
    put(tmp_path, "a.csv", list(range(10)))
    reader = csv.source(tmp_path, SCHEMA).follow().open("files", None, None)
    original = csv.CsvSource._columns_of

    def writing(self: Any, path: str) -> list[str]:
        with Path(path).open("a") as file:
            file.write("11\n")
        return original(self, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv.CsvSource, "_columns_of", writing)
        with pytest.raises(SourceError, match=r"changed while(.|\n)*rename"):
            until_nothing(reader)


def test_a_file_that_comes_before_the_one_begun_changes_nothing_for_a_restart(tmp_path):
    put(tmp_path, "a.csv", [1, 2])
    put(tmp_path, "c.csv", [3, 4, 5])
    rows = sl.read(csv.source(tmp_path, SCHEMA).follow(), name="rows")
    flow = sl.Flow("flow", rows.write(memory.sink(), name="out")).bind()
    found: list[int] = []

    def driver() -> Driver:
        return Driver(flow, "streaming", SimWorld(SimDisk(), 1, Moments(None)), BatchSize(2, 2, 2))

    def run(driver: Driver, count: int) -> None:
        while len(found) < count:
            driver.read()
            driver.step()
            driver.pipeline.settle()
            for _, batch in driver.pipeline.take_written():
                found.extend(row["id"] for row in batch.to_arrow().to_pylist())

    first, second = driver(), driver()
    first.open()
    run(first, 4)
    captured = first.pipeline.capture()
    put(tmp_path, "b.csv", [6, 7])
    second.pipeline.restore(captured, 0.0)
    second.open()
    run(second, 7)
    assert found == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("position", [-1, 3, {"offset": 1}, {"read": 3}, {"read": [], "row": "x"}])
def test_refuses_a_position_that_it_never_gave(tmp_path, position):
    with pytest.raises(SourceError, match="partition 'files'"):
        csv.source(tmp_path, SCHEMA).follow().open("files", position, None)


def test_several_paths_and_no_time_are_refused(tmp_path):
    with pytest.raises(DefinitionError, match="several paths"):
        csv.source([tmp_path, tmp_path], SCHEMA).follow()
    with pytest.raises(DefinitionError, match="positive duration"):
        csv.source(tmp_path, SCHEMA).follow(0)


def test_all_formats_can_be_followed_and_show_how(tmp_path):
    assert repr(parquet.source("in").follow("90s")) == "parquet.source('in').follow('1min30s')"
    assert jsonl.source("in", SCHEMA).follow() == jsonl.source("in", SCHEMA).follow("1s")
    assert ipc.source("in").follow("1s") != ipc.source("in").follow("2s")
    assert not ipc.source("in").follow().bounded


FILES = 6


class GrowingWorld(SimWorld):
    """A simulated world in which files come into a folder while a job waits, and in the end it drains."""

    def __init__(self, disk: SimDisk, seed: int, moments: Moments, folder: Path) -> None:
        super().__init__(disk, seed, moments)
        self.job: Job | None = None
        self._folder = folder
        self._waits = 0
        self._coming = random.Random(f"{seed} files")
        self._pass, self.clock.wait = self.clock.wait, self.wait  # type: ignore[method-assign]

    def wait(self, seconds: float) -> None:
        self._pass(seconds)
        self._waits += 1
        came = len(list(self._folder.iterdir()))
        if came < FILES and self._coming.random() < 0.05:
            lines = [f"{came * 10 + i},2024-01-01T00:{came * 7:02}:{i:02}Z" for i in range(10)]
            (self._folder / f".{came}").write_text("\n".join(["id,at", *lines]))
            (self._folder / f".{came}").rename(self._folder / f"{came}.csv")
        if came == FILES and self._waits > 200 and self.job is not None:
            self.job.drain()


def lives(folder: Path, seed: int, crashes: int) -> pa.Table:
    """What a job publishes that follows the folder through power cuts."""
    chance, disk = random.Random(seed), SimDisk()
    rows = sl.read(
        csv.source(folder, {"id": pa.int64(), "at": pa.timestamp("us", "UTC")}).follow("1s"),
        name="rows",
        event_time="at",
        watermark=sl.monotone(),
    )
    counts = rows.window(windows.tumbling("1min")).aggregate(rows=sl.count(), ids=sl.sum("id"))
    flow = sl.Flow("flow", counts.write(parquet.sink("/out"), name="out"))
    for attempt in range(crashes + 1):
        moments = Moments(chance.randrange(50, 400) if attempt < crashes else None)
        world = GrowingWorld(disk, seed + attempt, moments, folder)
        world.job = Job(flow, "streaming", JobOptions("/state", "250ms", finish=True), world)
        try:
            world.job.start()
            world.job.run()
        except SimulatedCrash:
            disk.on_operation = lambda operation, path: None
            disk.crash(chance)
        else:
            assert attempt == crashes
    return published(disk, "/out", pa.schema([]))


@pytest.mark.parametrize("seed", range(6))
def test_through_crashes_no_file_is_lost_or_read_twice(tmp_path, seed):
    found = lives(tmp_path, seed, crashes=2)
    assert sum(found["rows"].to_pylist()) == FILES * 10
    assert sum(found["ids"].to_pylist()) == sum(range(FILES * 10))
