"""Jobs from start to end: drains, restarts, two at once, other flows, damage, failing ends, slow sinks."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import streamlib as sl
from streamlib import windows
from streamlib.connectors import memory, parquet
from streamlib.core.contracts import Disk, Source, SourceReader
from streamlib.core.disk import LocalDisk
from streamlib.core.errors import (
    JobHeldError,
    SinkError,
    StreamlibError,
    TakenOverError,
)
from streamlib.plan.launch import JobOptions, JobResult
from streamlib.runners.feeds import InlineFeed
from streamlib.runners.job import Job
from streamlib.runners.lanes import InlineLane
from streamlib.runners.stats import Stats
from streamlib.runners.world import LocalWorld, World
from streamlib.testing import ManualClock
from streamlib.testing.disk import SimDisk
from streamlib.testing.reference import Row, reference
from tests.flows import SECOND, table_rows

SCHEMA = pa.schema([("at", pa.int64()), ("key", pa.string()), ("value", pa.int64())])
SIZE = 10 * SECOND
PATIENCE = 30.0  # seconds that a test waits for a thread before it fails
Listing = dict[str, str]


# --------------------------------------------------------------------------- worlds


class StillWorld:
    """One thread, a clock that a test moves, ids that count: the same run every time."""

    def __init__(self, disk: Disk, name: str = "a") -> None:
        self.disk = disk
        self.clock = ManualClock()
        self._name = name
        self._ids = 0

    def new_id(self) -> str:
        self._ids += 1
        return f"{self._name}{self._ids:015d}"

    def lane(self, name: str) -> InlineLane:
        return InlineLane()

    def feed(self, source: Source, reader: SourceReader) -> InlineFeed:
        return InlineFeed(reader)

    def close(self) -> None: ...


class Watching:
    """A progress that shows nothing and does something when so many rows have entered."""

    def __init__(self, at_rows: int, act: Callable[[], object]) -> None:
        self._at_rows = at_rows
        self._act = act
        self._acted = False

    def update(self, stats: Stats) -> None:
        if stats.rows >= self._at_rows and not self._acted:
            self._acted = True
            self._act()

    def close(self, stats: Stats) -> None: ...


# --------------------------------------------------------------------------- scenes


def some_rows() -> dict[str, list[Row]]:
    """Two partitions of 60 rows, a second apart, three keys; every seventh row is 20 s behind."""
    return {
        name: [
            Row((i - (20 if i % 7 == 6 else 0)) * SECOND + shift, f"k{i % 3}", i * shift) for i in range(60)
        ]
        for name, shift in (("p0", 1), ("p1", 2))
    }


def table_of(found: list[Row]) -> pa.Table:
    return pa.table(list(zip(*found, strict=True)) if found else [[], [], []], schema=SCHEMA)


def write_parquet(folder: Path, partitions: dict[str, list[Row]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, found in partitions.items():
        pq.write_table(table_of(found), folder / f"{name}.parquet", row_group_size=10)


@dataclass
class Scene:
    """Where a job lives: its rows, a disk, a way to run it."""

    source: Source
    disk: Disk
    root: str
    make_world: Callable[[], World]
    partitions: dict[str, list[Row]] = field(default_factory=some_rows)

    def flow(self, source: Source | None = None, name: str = "scene", seconds: int = 10) -> sl.Flow:
        """Count and sum by key in windows; what came too late beside them."""
        stream = sl.read(
            source or self.source,
            name="rows",
            event_time="at",
            watermark=sl.bounded_disorder("5s"),
            max_ahead=None,
        )
        panes = (
            stream.key_by("key")
            .window(windows.tumbling(f"{seconds}s"))
            .aggregate(n=sl.count(), total=sl.sum("value"))
        )
        return sl.Flow(
            name,
            panes.write(parquet.sink(f"{self.root}/out/panes"), name="panes"),
            panes.late().write(parquet.sink(f"{self.root}/out/late"), name="late"),
        )

    def job(
        self, flow: sl.Flow | None = None, *, interval: str = "0s", mode: Any = "streaming", **options: Any
    ) -> Job:
        options = {"state": f"{self.root}/state", **options}
        return Job(
            flow or self.flow(), mode, JobOptions(checkpoint_interval=interval, **options), self.make_world()
        )

    def run(self, flow: sl.Flow | None = None, **options: Any) -> JobResult:
        return started(self.job(flow, **options)).run()

    def drained_at(self, at_rows: int, flow: sl.Flow | None = None, **options: Any) -> JobResult:
        """Run until so many rows have entered, then drain."""
        job = self.job(flow, **options)
        watched(job, at_rows, job.drain)
        return started(job).run()

    # ------------------------------------------------------------------ what is on the disk

    def table(self, sink: str) -> pa.Table:
        folder = f"{self.root}/out/{sink}"
        tables = [pq.read_table(io.BytesIO(self.disk.read(f"{folder}/{n}"))) for n in self.disk.list(folder)]
        return pa.concat_tables(tables) if tables else pa.table({})

    def output(self) -> Listing:
        """Every published file with a hash: what readers see, byte for byte."""
        return {
            f"{sink}/{name}": hashlib.sha256(self.disk.read(f"{self.root}/out/{sink}/{name}")).hexdigest()
            for sink in ("panes", "late")
            for name in self.disk.list(f"{self.root}/out/{sink}")
        }

    def staged(self) -> list[str]:
        """Files and folders left in the staging folders."""
        return [n for sink in ("panes", "late") for n in self.disk.list(f"{self.root}/out/{sink}.staging")]

    def manifests(self) -> list[str]:
        return self.disk.list(f"{self.root}/state/manifests")

    def check(self, partitions: dict[str, list[Row]] | None = None) -> None:
        """Hold what is published against the naive reference."""
        expected = reference(partitions or self.partitions, size=SIZE, delay=5 * SECOND)
        panes = [
            (p.key, p.start, p.end, len(found), sum(r.value for r in found))
            for p, found in expected.panes.items()
        ]
        assert table_rows(self.table("panes")) == sorted(panes, key=repr)
        late = self.table("late")
        assert (table_rows(late) if late.num_rows else []) == sorted(map(tuple, expected.late), key=repr)


def started(job: Job) -> Job:
    job.start()
    return job


def watched(job: Job, at_rows: int, act: Callable[[], object]) -> None:
    job._progress = Watching(at_rows, act)


def in_memory(tmp_path: Path) -> Scene:
    tables = {name: table_of(found) for name, found in some_rows().items()}
    return Scene(memory.source(tables, chunk_rows=10), LocalDisk(), str(tmp_path), LocalWorld)


def parquet_files(tmp_path: Path) -> Scene:
    write_parquet(tmp_path / "in", some_rows())
    return Scene(parquet.source(tmp_path / "in"), LocalDisk(), str(tmp_path), LocalWorld)


def simulated_disk(tmp_path: Path) -> Scene:
    scene, disk = in_memory(tmp_path), SimDisk()
    return replace(scene, disk=disk, root="", make_world=lambda: StillWorld(disk, os.urandom(4).hex()))


SCENES = [in_memory, parquet_files, simulated_disk]


@pytest.fixture(params=SCENES, ids=lambda make: make.__name__)
def scene(request, tmp_path) -> Scene:
    return request.param(tmp_path)


@dataclass(frozen=True)
class Counting:
    """A source that notes which partitions were opened, and where."""

    source: Any
    opened: list[tuple[str, Any]] = field(default_factory=list, compare=False)
    immediate: bool = False

    @property
    def bounded(self):
        return self.source.bounded

    @property
    def replay(self):
        return self.source.replay

    def schema(self):
        return self.source.schema()

    def partitions(self):
        return self.source.partitions()

    def open(self, partition, position, event_time):
        self.opened.append((partition, position))
        return self.source.open(partition, position, event_time)


# --------------------------------------------------------------------------- a job's life


def test_a_job_runs_to_the_end_of_its_input_and_publishes_all_of_it(scene):
    result = scene.run()
    assert (result.outcome, result.rows, result.rows_read, result.restored_from) == (
        "finished",
        120,
        120,
        None,
    )
    assert result.late_rows == scene.table("late").num_rows == 16
    assert result.last_checkpoint == max(int(name[:8]) for name in scene.manifests())
    assert scene.staged() == []
    scene.check()


def test_a_finished_job_started_again_reads_nothing_and_touches_nothing(scene):
    first = scene.run()
    before = scene.output()
    source = Counting(scene.source)
    again = scene.run(scene.flow(source))
    assert again.outcome == "already finished"
    assert (again.rows, again.rows_read, again.checkpoints) == (120, 0, 0)
    assert (again.job, again.last_checkpoint) == (first.job, first.last_checkpoint)
    assert again.restored_from == first.last_checkpoint
    assert source.opened == []
    assert scene.output() == before
    assert scene.staged() == []


@pytest.mark.parametrize("at_rows", [1, 35, 60, 119])
def test_a_job_drained_in_the_middle_goes_on_as_if_it_had_never_stopped(scene, at_rows):
    drained = scene.drained_at(at_rows, interval="1h")
    assert drained.outcome == "drained"
    assert at_rows <= drained.rows < 120 or at_rows == 119
    assert drained.checkpoints == 1
    resumed = scene.run(interval="1h")
    assert resumed.outcome == "finished"
    assert resumed.restored_from == drained.last_checkpoint
    assert (resumed.rows, resumed.rows_read) == (120, 120 - drained.rows)
    assert resumed.late_rows == 16
    scene.check()


def test_a_drain_keeps_windows_open_and_publishes_only_closed_ones(scene):
    scene.drained_at(60)
    ends = [row[2] for row in table_rows(scene.table("panes"))]
    newest = max(r.time for found in scene.partitions.values() for r in found[:35])
    assert max(ends) <= newest, "a window that the watermark has not passed stays open"
    scene.run()
    scene.check()


def test_a_job_that_is_drained_at_every_turn_comes_to_its_end(scene):
    rows_seen = 0
    for starts in range(1, 40):  # noqa: B007 - asserted below
        result = scene.drained_at(rows_seen + 1)
        if result.outcome == "finished":
            break
        rows_seen = result.rows
    assert starts > 5
    assert scene.run().outcome == "already finished"
    scene.check()


def test_a_drain_asked_for_before_the_first_turn_reads_nothing_and_can_go_on(scene):
    job = started(scene.job())
    job.drain()
    assert (job.run().outcome, scene.output()) == ("drained", {})
    assert scene.run().outcome == "finished"
    scene.check()


def test_a_job_drained_when_all_was_read_finishes_at_the_next_start(scene):
    assert scene.drained_at(120).rows == 120
    source = Counting(scene.source)
    result = scene.run(scene.flow(source))
    assert (result.outcome, result.rows_read, source.opened) == ("finished", 0, [])
    scene.check()


def test_finish_closes_open_windows_and_ends_the_job_for_good(scene):
    result = scene.drained_at(60, finish=True)
    assert result.outcome == "finished"
    counted = sum(row[3] for row in table_rows(scene.table("panes"))) + scene.table("late").num_rows
    assert 60 <= result.rows < 120
    assert counted == result.rows, "every row that entered is in a window or late"
    before = scene.output()
    again = scene.run()
    assert (again.outcome, again.rows, again.rows_read) == ("already finished", result.rows, 0)
    assert scene.output() == before


def test_finish_without_a_drain_changes_nothing(scene):
    assert scene.run(finish=True).outcome == "finished"
    scene.check()


def test_flow_run_uses_a_state_folder_called_like_the_flow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scene = in_memory(tmp_path)
    scene.flow().run(progress="none")
    assert scene.flow().run(progress="none").outcome == "already finished"
    assert (tmp_path / ".streamlib/scene/manifests").is_dir()
    sinks = {"panes": memory.sink(), "late": memory.sink()}
    scene.flow().backfill(sinks=sinks, progress="none")
    assert (tmp_path / ".streamlib/scene.backfill/manifests").is_dir()


def test_a_state_folder_in_the_home_folder_is_found_by_its_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    in_memory(tmp_path).flow().run(progress="none", state="~/jobs/scene")
    assert (tmp_path / "jobs/scene/manifests").is_dir()


# --------------------------------------------------------------------------- two at once


def test_a_second_start_is_refused_while_the_first_lives_and_changes_nothing(scene):
    first = started(scene.job())
    before = (scene.manifests(), scene.output())
    with pytest.raises(JobHeldError, match="running already") as refused:
        scene.job().start()
    assert f"process {os.getpid()}" in str(refused.value)
    assert "--takeover" in str(refused.value)
    assert (scene.manifests(), scene.output()) == before
    assert first.run().outcome == "finished"
    scene.check()


@pytest.mark.parametrize("at_rows", [1, 40, 100])
@pytest.mark.parametrize("interval", ["0s", "1h"])
def test_a_job_that_was_taken_over_stops_and_says_so_and_the_output_stays_exact(scene, at_rows, interval):
    seen: list[Any] = []

    def take_over() -> None:
        result = scene.run(takeover=True, interval=interval)
        seen.append((result.outcome, scene.output()))

    first = scene.job(interval=interval)
    watched(first, at_rows, take_over)
    first.start()
    with pytest.raises(TakenOverError, match="taken over by attempt"):
        first.run()
    assert seen == [("finished", scene.output())]
    scene.check()
    assert scene.run().outcome == "already finished"
    assert scene.staged() == []


def operations_of_one_run(tmp_path: Path) -> int:
    scene = simulated_disk(tmp_path)
    scene.run(interval="40ms")
    assert isinstance(scene.disk, SimDisk)
    return scene.disk.operations.total()


def test_a_zombie_that_wakes_up_at_any_step_changes_nothing_that_readers_see(tmp_path):
    """It is frozen before every single disk operation of its life; a second run finishes; it goes on."""
    outcomes: dict[str, int] = {}
    for number in range(operations_of_one_run(tmp_path)):
        scene = simulated_disk(tmp_path)
        assert isinstance(scene.disk, SimDisk)
        found = frozen_at(scene, scene.disk, number)
        outcomes[found] = outcomes.get(found, 0) + 1
        scene.check()
    assert set(outcomes) == {"TakenOverError", "already finished", "finished"}, outcomes
    assert outcomes["TakenOverError"] > 50
    assert outcomes["finished"] < 30, "only after the last manifest was durable"


def frozen_at(scene: Scene, disk: SimDisk, number: int) -> str:
    """The end of a run before whose operation `number` another one took over; readers saw no change."""
    seen = 0
    after_second: list[Listing] = []

    def freeze(operation: str, path: str) -> None:
        nonlocal seen
        seen += 1
        if seen == number + 1:
            disk.on_operation = lambda operation, path: None
            assert scene.run(takeover=True).outcome in ("finished", "already finished")
            after_second.append(scene.output())

    disk.on_operation = freeze
    refused = False
    try:
        outcome: str = scene.run(interval="40ms").outcome
    except StreamlibError as error:
        outcome = type(error).__name__
        refused = isinstance(error, SinkError)
    assert not refused, outcome
    assert after_second == [scene.output()], number
    return outcome
