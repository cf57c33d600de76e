"""Jobs from start to end: drains, restarts, two at once, other flows, damage, failing ends, slow sinks."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import streamlib as sl
from streamlib import col, windows
from streamlib.connectors import console, csv, memory, parquet
from streamlib.core.contracts import Chunk, Disk, Pause, Source, SourceReader
from streamlib.core.disk import LocalDisk
from streamlib.core.errors import (
    CheckpointDamagedError,
    DefinitionError,
    JobHeldError,
    SinkError,
    SourceError,
    StateError,
    StateIncompatibleError,
    StreamlibError,
    TakenOverError,
    UserFunctionError,
)
from streamlib.plan.bind import BoundFlow
from streamlib.plan.launch import JobOptions, JobResult, Stats
from streamlib.runners.feeds import InlineFeed
from streamlib.runners.job import DrainTimeoutError, Job
from streamlib.runners.lanes import QUEUE_LIMIT, InlineLane
from streamlib.runners.recovery import taken_over
from streamlib.runners.world import LocalWorld, World
from streamlib.runtime.crew import InlineCrew
from streamlib.testing import ManualClock, fail, pause, rows, scripted
from streamlib.testing.disk import SimDisk
from streamlib.testing.reference import Row, reference
from tests.flows import SECOND, Untouched, table_rows

SCHEMA = pa.schema([("at", pa.int64()), ("key", pa.string()), ("value", pa.int64())])
SIZE = 10 * SECOND
PATIENCE = 30.0  # seconds that a test waits for a thread before it fails
Listing = dict[str, str]


# --------------------------------------------------------------------------- worlds


class TickingClock(ManualClock):
    """A millisecond passes with every look."""

    def monotonic(self) -> float:
        self.advance("1ms")
        return super().monotonic()


class StillWorld:
    """One thread, a clock of its own, ids that count: the same run every time."""

    def __init__(self, disk: Disk, name: str = "a") -> None:
        self.disk = disk
        self.clock: ManualClock = TickingClock()
        self._name = name
        self._ids = 0

    def new_id(self) -> str:
        self._ids += 1
        return f"{self._name}{self._ids:015d}"

    def lane(self, name: str) -> InlineLane:
        return InlineLane()

    def feed(self, source: Source, reader: SourceReader) -> InlineFeed:
        return InlineFeed(reader)

    def crew(self, flow: BoundFlow, size: int, kind: str) -> InlineCrew:
        return InlineCrew(flow, size)

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
            stream.then(Untouched())  # so that late rows cut batches, and there are many steps to stop at
            .key_by("key")
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
    scene, disk, names = in_memory(tmp_path), SimDisk(), itertools.count(1)
    return replace(scene, disk=disk, root="", make_world=lambda: StillWorld(disk, f"{next(names):x}"))


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
    scene.run(interval="15ms")
    assert isinstance(scene.disk, SimDisk)
    return scene.disk.operations.total()


@pytest.mark.parametrize(
    "numbers", [slice(0, None, 5), pytest.param(slice(None), marks=pytest.mark.real)], ids=["some", "every"]
)
def test_a_zombie_that_wakes_up_at_any_step_changes_nothing_that_readers_see(tmp_path, numbers):
    """It is frozen before a disk operation of its life; a second run finishes; it goes on."""
    outcomes: dict[str, int] = {}
    for number in range(operations_of_one_run(tmp_path))[numbers]:
        scene = simulated_disk(tmp_path)
        assert isinstance(scene.disk, SimDisk)
        found = frozen_at(scene, scene.disk, number)
        outcomes[found] = outcomes.get(found, 0) + 1
        scene.check()
    assert set(outcomes) == {"TakenOverError", "already finished", "finished"}, outcomes
    assert outcomes["TakenOverError"] > 0.8 * sum(outcomes.values()), outcomes


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
    try:
        outcome: str = scene.run(interval="15ms").outcome
    except StreamlibError as error:
        outcome = type(error).__name__
    assert after_second == [scene.output()], number
    return outcome


class Fenced:
    """A store whose job another attempt has taken."""

    def check_fence(self) -> None:
        raise TakenOverError("by another")


def ended_with(error: Exception | None) -> Future[Any]:
    future: Future[Any] = Future()
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
    return future


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (None, True),
        (ended_with(None), True),
        (ended_with(TakenOverError("by another")), True),
        (ended_with(OSError("disk full")), False),
        (Future(), False),
    ],
    ids=["no checkpoint under way", "written", "refused", "failed", "hangs"],
)
def test_a_takeover_is_the_reason_of_a_failure_unless_the_manifest_there_may_be_ones_own(written, told):
    found = taken_over(Fenced(), written)  # type: ignore[arg-type]
    assert isinstance(found, TakenOverError) is told


def test_the_users_exception_keeps_what_it_was_raised_during(scene):
    def look_up(record: dict[str, Any]) -> dict[str, Any]:
        try:
            return {}["missing"]
        except KeyError:
            raise ValueError("of the user")  # noqa: B904 - on purpose: the context is the only link

    flow = sl.Flow(
        "f", sl.read(scene.source, name="rows").map(look_up, schema=SCHEMA).write(memory.sink(), name="o")
    )
    with pytest.raises(ValueError, match="of the user") as raised:
        scene.run(flow)
    assert isinstance(raised.value.__context__, KeyError)
    assert not raised.value.__suppress_context__


# --------------------------------------------------------------------------- the state of another flow


def refused(scene: Scene, flow: sl.Flow, error: type[StreamlibError], **options: Any) -> str:
    """Start a job that must be refused before it reads a row, with nothing changed; the error's text."""
    before = (scene.output(), scene.manifests()[:-1], scene.staged())
    job = scene.job(flow, **options)
    with pytest.raises(error) as raised:
        job.start()
    found = (scene.output(), scene.manifests(), scene.staged())
    assert (found[0], found[2]) == (before[0], before[2])
    assert set(before[1]) <= set(found[1])
    assert job._driver._feeds == []
    return str(raised.value)


def other_flow(scene: Scene, change: str) -> sl.Flow:
    """The flow of the scene, changed in one thing that its state depends on."""
    stream = sl.read(
        scene.source, name="rows", event_time="at", watermark=sl.bounded_disorder("5s"), max_ahead=None
    )
    aggregates: dict[str, Any] = {"n": sl.count(), "total": sl.sum("value")}
    seconds = "10s"
    match change:
        case "another window":
            seconds = "20s"
        case "an aggregate more":
            aggregates["top"] = sl.max("value")
        case "an aggregate less":
            del aggregates["total"]
        case "another aggregate":
            aggregates["total"] = sl.max("value")
    panes = stream.key_by("key").window(windows.tumbling(seconds)).aggregate(**aggregates)
    return sl.Flow(
        "scene",
        panes.write(parquet.sink(f"{scene.root}/out/panes"), name="panes"),
        panes.late().write(parquet.sink(f"{scene.root}/out/late"), name="late"),
    )


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("another window", ("10000000", "20000000")),
        ("an aggregate more", ("'max'",)),
        ("an aggregate less", ("'sum'",)),
        ("another aggregate", ("'sum'", "'max'")),
    ],
)
def test_the_state_of_a_flow_with_other_windows_or_aggregates_is_refused_and_what_differs_named(
    scene, change, found
):
    scene.drained_at(60)
    text = refused(scene, other_flow(scene, change), StateIncompatibleError)
    assert "has another shape" in text
    assert all(part in text for part in found), text
    assert "start anew with another state folder" in text
    assert scene.run().outcome == "finished"
    scene.check()


def test_state_without_its_operator_and_an_operator_without_its_state_are_refused(scene):
    scene.drained_at(60)
    plain = sl.read(scene.source, name="rows").write(parquet.sink(f"{scene.root}/out/panes"), name="panes")
    assert "no operator for the state of" in refused(scene, sl.Flow("scene", plain), StateIncompatibleError)
    other = replace(scene, root=f"{scene.root}/other")
    other.drained_at(
        60, sl.Flow("scene", sl.read(scene.source, name="rows").write(memory.sink(), name="panes"))
    )
    assert "has no state for operator" in refused(other, scene.flow(), StateIncompatibleError)


def test_a_renamed_source_is_refused_by_name(scene):
    sink = memory.sink()
    scene.drained_at(60, sl.Flow("f", sl.read(scene.source, name="rows").write(sink, name="out")))
    renamed = sl.Flow("f", sl.read(scene.source, name="row").write(sink, name="out"))
    text = refused(scene, renamed, SourceError)
    assert "positions of a source 'rows' that the flow does not have" in text
    assert "sources row" in text


@pytest.mark.parametrize(("first", "then"), [("streaming", "batch"), ("batch", "streaming")])
def test_the_state_of_a_stream_is_refused_to_a_batch_and_the_other_way_round(scene, first, then):
    scene.drained_at(60, mode=first)
    text = refused(scene, scene.flow(), StateIncompatibleError, mode=then)
    assert f"is that of a {first} run" in text
    assert "another state folder" in text


def test_a_job_goes_on_under_another_name_of_its_flow_and_with_a_stateless_operator_more(scene):
    scene.drained_at(60)
    renamed = scene.flow(name="renamed")
    assert scene.run(renamed).outcome == "finished"
    scene.check()


def test_a_sink_whose_rows_wait_to_be_published_can_not_be_left_out(scene):
    broken = Broken("commit", SinkError("no"))
    with pytest.raises(SinkError):
        scene.run(scene.flow().rebind(sinks={"late": broken.over(scene, "late")}), interval="1h")
    alone = sl.Flow("scene", scene.flow().sinks[0])
    text = refused(scene, alone, StateIncompatibleError)
    assert "rows for sink 'late' wait to be published" in text
    assert "old name" in text
    scene.run()
    scene.check()


def test_a_sink_can_be_left_out_once_a_checkpoint_without_rows_for_it_was_drained(scene):
    scene.drained_at(60)
    scene.drained_at(0)
    assert scene.run(sl.Flow("scene", scene.flow().sinks[0])).outcome == "finished"
    panes = sorted(table_rows(scene.table("panes")))
    whole = replace(scene, root=f"{scene.root}/whole")
    whole.run()
    assert panes == sorted(table_rows(whole.table("panes")))


# --------------------------------------------------------------------------- damage


@pytest.fixture(params=[in_memory, parquet_files], ids=lambda make: make.__name__)
def drained(request, tmp_path) -> Scene:
    """A job drained in the middle, on a real disk: there is a stub, manifests, and a state file."""
    scene: Scene = request.param(tmp_path)
    for at_rows in (20, 40, 60):
        scene.drained_at(at_rows, interval="1h")
    return scene


def state_file(scene: Scene, manifest: str) -> Path:
    """The state file that a manifest names."""
    body = json.loads(Path(scene.root, "state/manifests", manifest).read_bytes())["body"]
    (operator,) = body["operators"].values()
    return Path(scene.root, "state", operator["tables"]["slices"][0]["file"])


def victim(scene: Scene, which: str) -> Path:
    if which == "a state file":
        return state_file(scene, scene.manifests()[-1])
    folder = Path(scene.root, "state/manifests")
    paths = [folder / name for name in scene.manifests()]
    stubs = [path for path in paths if b'"kind":"stub"' in path.read_bytes()]
    manifests = [path for path in paths if path not in stubs]
    assert (len(stubs), len(manifests)) == (3, 3)
    return {
        "the newest manifest": manifests[-1],
        "an older manifest": manifests[-2],
        "the first stub": stubs[0],
        "the newest stub": stubs[-1],
    }[which]


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def altered(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def missing(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [torn, emptied, altered, missing], ids=lambda harm: harm.__name__)
@pytest.mark.parametrize(
    "which",
    ["the newest manifest", "an older manifest", "the first stub", "the newest stub", "a state file"],
)
def test_a_damaged_checkpoint_is_refused_with_its_file_and_goes_on_when_that_is_put_back(
    drained, which, harm
):
    path = victim(drained, which)
    good = path.read_bytes()
    harm(path)
    if (which, harm) == ("the newest manifest", missing):
        text = refused(drained, drained.flow(), StateError)
        assert "sink 'panes' has published more than the state knows of" in text
        return  # its number is the stub's of the refused start now: nothing can be put back
    text = refused(drained, drained.flow(), CheckpointDamagedError)
    assert str(path) in text
    assert "nothing was restored" in text
    path.write_bytes(good)
    assert drained.run().outcome == "finished"
    drained.check()


@pytest.mark.parametrize("which", ["the newest manifest", "a state file"])
def test_files_that_changed_places_are_refused(tmp_path, which):
    scene = parquet_files(tmp_path)
    scene.drained_at(30, interval="1h")
    older = scene.manifests()[-1]
    scene.drained_at(60, interval="1h")
    newest = scene.manifests()[-1]
    if which == "a state file":
        one, two = state_file(scene, older), state_file(scene, newest)
    else:
        one, two = (Path(scene.root, "state/manifests", name) for name in (older, newest))
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    refused(scene, scene.flow(), CheckpointDamagedError)
    one.write_bytes(first)
    two.write_bytes(second)
    scene.run()
    scene.check()


def test_a_manifest_of_another_job_in_its_place_is_refused(tmp_path):
    one, other = parquet_files(tmp_path / "one"), parquet_files(tmp_path / "other")
    one.drained_at(60, interval="1h")
    other.drained_at(60, interval="1h")
    name = one.manifests()[-1]
    shutil.copy(Path(other.root, "state/manifests", name), Path(one.root, "state/manifests", name))
    refused(one, one.flow(), CheckpointDamagedError)


def test_a_state_folder_that_was_emptied_is_noticed_by_the_output(drained):
    shutil.rmtree(Path(drained.root, "state"))
    with pytest.raises(SinkError, match="holds another job's files") as raised:
        drained.job().start()
    assert "in operator 'panes' (test_jobs.py:" in str(raised.value)


# --------------------------------------------------------------------------- sources in trouble


def test_a_vanished_partition_is_refused_by_name_and_goes_on_when_it_is_back(tmp_path):
    scene = parquet_files(tmp_path)
    scene.drained_at(60)
    path = tmp_path / "in/p1.parquet"
    path.rename(tmp_path / "elsewhere")
    text = refused(scene, scene.flow(), SourceError)
    assert "partition 'p1.parquet' of source 'rows' is gone" in text
    assert "partitions p0.parquet" in text
    (tmp_path / "elsewhere").rename(path)
    scene.run()
    scene.check()


def test_a_partition_that_was_read_to_its_end_may_vanish(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "BATCH_ROWS", 10)
    names = itertools.count(1)  # no threads: else the drain might come before the end was seen
    scene = replace(parquet_files(tmp_path), make_world=lambda: StillWorld(LocalDisk(), f"{next(names):x}"))
    scene.partitions = {"p0": scene.partitions["p0"][:10], "p1": scene.partitions["p1"]}
    write_parquet(tmp_path / "in", scene.partitions)
    assert scene.drained_at(30).rows < 70
    (tmp_path / "in/p0.parquet").unlink()
    assert scene.run().outcome == "finished"
    scene.check()


def test_a_partition_that_came_in_the_meantime_is_read_from_its_beginning(tmp_path):
    scene = parquet_files(tmp_path)
    (tmp_path / "in/p1.parquet").rename(tmp_path / "later")
    scene.drained_at(20)
    (tmp_path / "later").rename(tmp_path / "in/p1.parquet")
    result = scene.run()
    assert (result.outcome, result.rows) == ("finished", 120)


def test_a_partition_that_became_shorter_than_what_was_read_of_it_fails(tmp_path):
    scene = parquet_files(tmp_path)
    scene.drained_at(60)
    before = scene.output()
    write_parquet(tmp_path / "in", {"p0": scene.partitions["p0"][:5], "p1": scene.partitions["p1"]})
    with pytest.raises(SourceError, match="in operator 'rows'"):
        scene.run()
    assert scene.output() == before


@pytest.mark.parametrize(
    "error", [SourceError("the wire broke"), ConnectionResetError("the wire broke")], ids=repr
)
def test_a_source_that_fails_in_the_middle_is_named_and_the_last_checkpoint_stands(tmp_path, error):
    scene = simulated_disk(tmp_path)
    found = scene.partitions["p0"]
    steps = [rows(table_of(found[i : i + 10]).to_batches()[0]) for i in range(0, 60, 10)]
    steps.insert(3, fail(error, attempts=1))
    flow = scene.flow(scripted({"p0": steps}, SCHEMA))
    with pytest.raises(type(error), match="the wire broke") as raised:
        scene.run(flow)
    told = [str(raised.value), *raised.value.__notes__]
    assert any("in operator 'rows' (test_jobs.py:" in text for text in told)
    assert any(text.startswith("reading partition 'p0' after") for text in told)
    before = scene.output()
    again = scene.run(flow)
    assert again.restored_from is not None
    assert again.rows == 60
    assert again.rows_read < 60
    assert before.items() <= scene.output().items()
    scene.check({"p0": found})


@dataclass(frozen=True)
class Empty:
    """A source without partitions."""

    found: tuple[str, ...] = ()
    bounded: bool = True
    replay: str = "replayable"

    def schema(self):
        return SCHEMA

    def partitions(self):
        return list(self.found)

    def open(self, partition, position, event_time):
        raise NotImplementedError


def test_a_source_without_partitions_is_refused_and_not_taken_for_a_finished_one(scene):
    with pytest.raises(SourceError, match=r"in operator 'rows' .*no partitions"):
        scene.job(scene.flow(Empty())).start()
    assert scene.manifests() == []
    with pytest.raises(SourceError, match="no partitions"):
        sl.read(Empty(), name="rows").collect()


def test_an_empty_folder_is_refused(tmp_path):
    scene = parquet_files(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="nothing to read"):
        scene.job(scene.flow(parquet.source(tmp_path / "empty"))).start()
    assert scene.manifests() == []


@pytest.mark.parametrize("kind", ["memory", "parquet"])
def test_an_input_without_rows_finishes_without_output(tmp_path, kind):
    scene = in_memory(tmp_path)
    write_parquet(tmp_path / "none", {"p0": []})
    empty = memory.source(SCHEMA.empty_table()) if kind == "memory" else parquet.source(tmp_path / "none")
    result = scene.run(scene.flow(empty))
    assert (result.outcome, result.rows, result.last_checkpoint) == ("finished", 0, 2)
    assert scene.output() == {}
    assert {name: table.num_rows for name, table in scene.flow(empty).collect().items()} == {
        "panes": 0,
        "late": 0,
    }


# --------------------------------------------------------------------------- sinks in trouble


@dataclass
class Broken:
    """Makes sinks over real ones that fail at one stage, at call `at` of it, until it is `repaired`."""

    stage: str
    error: BaseException
    at: int = 1
    repaired: bool = False
    calls: list[str] = field(default_factory=list)

    def over(self, scene: Scene, name: str) -> BrokenSink:
        return BrokenSink(parquet.sink(f"{scene.root}/out/{name}"), self)

    def note(self, stage: str) -> None:
        self.calls.append(stage)
        if stage == self.stage and not self.repaired and self.calls.count(stage) >= self.at:
            raise self.error


@dataclass(frozen=True, eq=False)
class BrokenSink:
    sink: Any
    broken: Broken

    @property
    def delivery(self):
        return self.sink.delivery

    def open(self, context):
        self.broken.note("open")
        return BrokenWriter(self.sink.open(context), self.broken)


class BrokenWriter:
    def __init__(self, writer, broken: Broken) -> None:
        self._writer = writer
        self._broken = broken

    def write(self, rows):
        self._broken.note("write")
        self._writer.write(rows)

    def prepare(self, number):
        self._broken.note("prepare")
        return self._writer.prepare(number)

    def commit(self, number, pending):
        self._broken.note("commit")
        self._writer.commit(number, pending)

    def last_committed(self):
        self._broken.note("last_committed")
        return self._writer.last_committed()

    def close(self):
        self._broken.note("close")
        self._writer.close()

    def clean(self, keep):
        self._broken.note("clean")
        self._writer.clean(keep)


STAGES = ["open", "last_committed", "clean", "write", "prepare", "commit", "close"]


@pytest.mark.parametrize("make_error", [SinkError, RuntimeError], ids=lambda e: e.__name__)
@pytest.mark.parametrize("stage", STAGES)
def test_a_sink_that_fails_at_any_stage_is_named_and_after_its_repair_nothing_is_lost_or_doubled(
    scene, stage, make_error
):
    broken = Broken(stage, make_error("no space"), at=2 if stage in ("write", "prepare") else 1)
    flow = scene.flow().rebind(sinks={"panes": broken.over(scene, "panes")})
    with pytest.raises(make_error, match="no space") as raised:
        scene.run(flow)
    told = [str(raised.value), *getattr(raised.value, "__notes__", ())]
    assert any("in operator 'panes' (test_jobs.py:" in text for text in told), told
    before = scene.output()
    broken.repaired = True
    result = scene.run(flow)
    assert result.outcome in ("finished", "already finished")
    assert before.items() <= scene.output().items()
    assert scene.staged() == []
    scene.check()


def test_a_commit_that_failed_is_repeated_before_anything_is_read(scene):
    broken = Broken("commit", SinkError("no space"))
    flow = scene.flow().rebind(sinks={"panes": broken.over(scene, "panes")})
    with pytest.raises(SinkError):
        scene.run(flow, interval="1h")
    assert not any(name.startswith("panes/") for name in scene.output())
    broken.repaired = True
    source = Counting(scene.source)
    again = scene.run(flow.rebind(sources={"rows": source}))
    assert (again.outcome, source.opened) == ("already finished", [])
    scene.check()


def test_a_write_behind_a_failed_one_does_not_hide_the_error(scene):
    """The barrier of a checkpoint, already queued, fails for the same reason and must say the same."""
    broken = Broken("write", SinkError("no space"))
    flow = scene.flow().rebind(sinks={"panes": broken.over(scene, "panes")})
    with pytest.raises(SinkError, match="no space"):
        scene.run(flow, interval="1h")


def test_an_error_while_closing_does_not_hide_the_first_and_the_job_is_released(scene):
    class Both(Broken):
        def note(self, stage: str) -> None:
            self.calls.append(stage)
            if stage in ("write", "close") and not self.repaired:
                raise SinkError(f"{stage} failed")

    broken = Both("", SinkError(""))
    flow = scene.flow().rebind(sinks={"panes": broken.over(scene, "panes")})
    with pytest.raises(SinkError, match="write failed") as raised:
        scene.run(flow)
    assert any("close failed" in note for note in raised.value.__notes__)
    broken.repaired = True
    assert scene.run(flow).outcome == "finished"
    scene.check()


def test_sinks_that_were_opened_are_closed_when_a_later_one_can_not_be(scene):
    fine, broken = Broken("", SinkError("")), Broken("open", SinkError("no"))
    sinks = {"panes": fine.over(scene, "panes"), "late": broken.over(scene, "late")}
    with pytest.raises(SinkError):
        scene.job(scene.flow().rebind(sinks=sinks)).start()
    assert fine.calls[-1] == "close"
    assert scene.staged() == []


def test_the_users_exception_survives_names_operator_line_and_row_and_the_last_checkpoint_stands(scene):
    bad = [50]

    def check(record: dict[str, Any]) -> dict[str, Any]:
        if record["value"] in bad:
            raise ZeroDivisionError("of the user")
        return record

    sink = parquet.sink(f"{scene.root}/out/panes")
    flow = sl.Flow(
        "f", sl.read(scene.source, name="rows").map(check, schema=SCHEMA).write(sink, name="panes")
    )
    with pytest.raises(ZeroDivisionError, match="of the user") as raised:
        scene.run(flow)
    notes = "\n".join(raised.value.__notes__)
    assert "in operator 'map' (test_jobs.py:" in notes
    assert "'value': 50" in notes
    before = scene.output()
    assert scene.table("panes").num_rows < 120
    bad.clear()
    scene.run(flow)
    assert before.items() <= scene.output().items()
    assert table_rows(scene.table("panes")) == sorted(
        (tuple(row) for found in scene.partitions.values() for row in found), key=repr
    )


def test_progress_is_closed_also_when_a_job_fails_so_that_the_error_begins_a_line(scene):
    class Closing(Watching):
        closed = 0

        def close(self, stats: Stats) -> None:
            self.closed += 1

    broken = Broken("write", SinkError("no space"))
    job = scene.job(scene.flow().rebind(sinks={"panes": broken.over(scene, "panes")}))
    job._progress = shown = Closing(0, lambda: None)
    with pytest.raises(SinkError):
        started(job).run()
    assert shown.closed == 1


def test_sys_exit_in_the_users_function_closes_everything_and_passes(scene):
    def leave(record: dict[str, Any]) -> dict[str, Any]:
        raise SystemExit(3)

    stream = sl.read(scene.source, name="rows").map(leave, schema=SCHEMA)
    fine = Broken("", SinkError(""))
    flow = sl.Flow("f", stream.write(fine.over(scene, "panes"), name="panes"))
    with pytest.raises(SystemExit):
        scene.run(flow)
    assert fine.calls[-1] == "close"
    again = started(scene.job(flow))  # nobody holds it any more
    again.drain()
    assert again.run().outcome == "drained"


def test_a_function_that_returns_the_wrong_thing_is_told_so(scene):
    stream = sl.read(scene.source, name="rows").map(lambda record: None, schema=SCHEMA)
    flow = sl.Flow("f", stream.write(memory.sink(), name="out"))
    with pytest.raises(UserFunctionError, match=r"in operator 'map' \(test_jobs.py:\d+\)"):
        scene.run(flow)


def test_an_output_that_can_not_be_a_folder_is_refused_at_the_start(tmp_path):
    scene = in_memory(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/late").write_text("a file in the way")
    with pytest.raises(SinkError, match=r"in operator 'late' .*can't be used"):
        scene.job().start()
    assert list((tmp_path / "out/panes").iterdir()) == []
    (tmp_path / "out/late").unlink()
    scene.run()
    scene.check()


def test_a_state_folder_that_can_not_be_made_is_refused_at_the_start(tmp_path):
    scene = in_memory(tmp_path)
    (tmp_path / "state").write_text("a file in the way")
    with pytest.raises(StateError, match=r"state folder .* can't be used"):
        scene.job().start()
    assert scene.output() == {}


def test_an_output_with_the_files_of_another_job_is_refused(scene):
    scene.run()
    before = scene.output()
    with pytest.raises(SinkError, match="holds another job's files"):
        scene.job(state=f"{scene.root}/state2").start()
    assert scene.output() == before


# --------------------------------------------------------------------------- slow and hanging sinks


class SeenWaiting(LocalWorld):
    """A local world that tells when the loop waits, for example for room in a lane."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = threading.Event()
        wait = self.clock.wait

        def seen(seconds: float) -> None:
            self.waits.set()
            wait(seconds)

        self.clock.wait = seen  # type: ignore[method-assign]


class Slow:
    """A sink whose first write takes until it is let go; it counts how many batches are on their way."""

    delivery = "at_least_once"

    def __init__(self, let_go: threading.Event) -> None:
        self.let_go = let_go
        self.source = Counted()
        self.written = 0
        self.most = 0
        self.closed = False

    def open(self, context):
        return self

    def write(self, rows):
        assert self.let_go.wait(PATIENCE)
        self.most = max(self.most, self.source.chunks - self.written)
        self.written += 1

    def prepare(self, number):
        return None

    def commit(self, number, pending): ...

    def last_committed(self):
        return 0

    def close(self):
        self.closed = True


class Counted:
    """A source in memory that counts the chunks it gave."""

    bounded = True
    replay = "replayable"
    immediate = True
    total = 200

    def __init__(self) -> None:
        self.chunks = 0

    def schema(self):
        return pa.schema({"id": pa.int64()})

    def partitions(self):
        return ["0"]

    def open(self, partition, position, event_time):
        return self

    def read(self) -> Chunk | Pause:
        if self.chunks == self.total:
            return Pause.END
        self.chunks += 1
        return Chunk(pa.record_batch({"id": [self.chunks]}), self.chunks)

    def close(self): ...


@contextmanager
def in_a_thread(job: Job) -> Iterator[list[Any]]:
    """Run a started job beside the test; its result or error is in the list at the end."""
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(job.run())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield found
    thread.join(PATIENCE)
    assert not thread.is_alive(), "the job hangs"


def slow_job(tmp_path: Path, sink: Slow, world: LocalWorld, **options: Any) -> Job:
    flow = sl.Flow("slow", sl.read(sink.source, name="rows").write(sink, name="slow"))
    job = Job(flow, "streaming", JobOptions(state=str(tmp_path / "state"), **options), world)
    return started(job)


def test_a_slow_sink_slows_the_source(tmp_path):
    world = SeenWaiting()
    sink = Slow(threading.Event())
    with in_a_thread(slow_job(tmp_path, sink, world)) as found:
        assert world.waits.wait(PATIENCE)
        sink.let_go.set()
    assert found[0].outcome == "finished"
    assert sink.written == Counted.total
    assert QUEUE_LIMIT < sink.most <= QUEUE_LIMIT + 2, (
        "the queue, the batch being written, the one that waits"
    )


def test_a_sink_that_hangs_with_a_full_queue_does_not_keep_a_drain_from_timing_out(tmp_path, monkeypatch):
    monkeypatch.setattr("streamlib.runners.job.LANE_TIMEOUT", 0.1)
    world = SeenWaiting()
    sink = Slow(threading.Event())
    job = slow_job(tmp_path, sink, world, drain_timeout="100ms")
    with in_a_thread(job) as found:
        assert world.waits.wait(PATIENCE)
        job.drain()
    assert isinstance(found[0], DrainTimeoutError)
    assert not sink.closed, "no other call runs beside the one that hangs"
    assert sink.source.chunks < Counted.total
    sink.let_go.set()
    again = slow_job(tmp_path, Slow(sink.let_go), LocalWorld()).run()
    assert again.outcome == "finished"


def test_a_sink_that_hangs_in_its_last_checkpoint_lets_a_signal_end_the_job(tmp_path, monkeypatch):
    """Also when all was read: a drain asked for then still has its time limit."""
    monkeypatch.setattr("streamlib.runners.job.LANE_TIMEOUT", 0.1)
    world = SeenWaiting()
    sink = Slow(threading.Event())
    sink.source.total = 3
    job = slow_job(tmp_path, sink, world, drain_timeout="100ms")
    with in_a_thread(job) as found:
        assert world.waits.wait(PATIENCE)
        job.drain()
    assert isinstance(found[0], DrainTimeoutError)
    sink.let_go.set()


# --------------------------------------------------------------------------- when checkpoints happen


class Noting:
    """A progress that notes at which second which checkpoint was the last."""

    def __init__(self, drain_at: float = 1e9, drain: Callable[[], None] = lambda: None) -> None:
        self.seen: dict[int, float] = {}
        self._drain_at = drain_at
        self._drain = drain

    def update(self, stats: Stats) -> None:
        self.seen.setdefault(stats.checkpoints, stats.seconds)
        if stats.seconds >= self._drain_at:
            self._drain()

    def close(self, stats: Stats) -> None: ...


def quiet_world(disk: Disk) -> StillWorld:
    """Time passes only where the loop waits: 50 ms for every pause of the source."""
    world = StillWorld(disk)
    world.clock = ManualClock()
    return world


def paused_job(disk: SimDisk, turns: list[Any], interval: str) -> tuple[Job, Noting]:
    source = scripted({"p": turns}, SCHEMA, unbounded=True)
    flow = sl.Flow("f", sl.read(source, name="rows").write(parquet.sink("/out"), name="out"))
    job = Job(flow, "streaming", JobOptions("/state", interval), quiet_world(disk))
    job._progress = noting = Noting(9.5, job.drain)
    return started(job), noting


def test_checkpoints_keep_their_interval():
    step = rows([{"at": 0, "key": "a", "value": 1}])
    job, noting = paused_job(SimDisk(), [step, pause()] * 300, "2s")
    assert job.run().checkpoints == 5
    times = [noting.seen[n] for n in range(1, 5)]
    assert times == pytest.approx([2, 4, 6, 8], abs=0.11)


def test_an_idle_job_writes_no_checkpoints():
    job, noting = paused_job(SimDisk(), [rows([{"at": 0, "key": "a", "value": 1}])], "1s")
    result = job.run()
    assert noting.seen == {0: 0.0, 1: pytest.approx(1, abs=0.11)}
    assert (result.checkpoints, result.outcome) == (2, "drained"), "one for the rows, one for the drain"


def test_an_interval_of_an_hour_means_one_checkpoint_at_the_end(scene):
    assert scene.run(interval="1h").checkpoints == 1


# --------------------------------------------------------------------------- at least once


def test_a_console_sink_is_at_least_once_and_prints_rows_since_the_last_checkpoint_again(tmp_path):
    text = io.StringIO()
    scene = in_memory(tmp_path)
    bad = [55]

    def check(record: dict[str, Any]) -> dict[str, Any]:
        if record["value"] in bad:
            raise ValueError("not yet")
        return record

    table = pa.table({"value": list(range(100))})
    source = memory.source(table, chunk_rows=10)
    stream = sl.read(source, name="rows").map(check, schema=table.schema)
    flow = sl.Flow("f", stream.write(console.sink(text), name="shown"))
    assert str(flow.guarantee()) == "at-least-once (because of sink 'shown', which is at-least-once)"
    with pytest.raises(ValueError, match="not yet"):
        scene.run(flow, interval="1h")
    bad.clear()
    scene.run(flow, interval="1h")
    printed = [int(line) for line in text.getvalue().splitlines() if line.strip().isdigit()]
    assert sorted(set(printed)) == list(range(100))
    assert printed.count(0) == 2
    assert printed.count(99) == 1
    assert str(scene.flow().guarantee()) == "exactly-once"


# --------------------------------------------------------------------------- backfill and collect


def memory_sinks() -> dict[str, Any]:
    return {"panes": memory.sink(), "late": memory.sink()}


def test_a_backfill_over_a_parquet_folder_gives_the_batch_result_of_the_same_flow(tmp_path):
    scene = parquet_files(tmp_path)
    sinks = memory_sinks()
    result = scene.flow().backfill(sinks=sinks, state=f"{tmp_path}/batch", progress="none")
    assert (result.outcome, result.rows, result.late_rows) == ("finished", 120, 0)
    expected = reference(scene.partitions, size=SIZE, delay=None)
    panes = [(p.key, p.start, p.end, len(f), sum(r.value for r in f)) for p, f in expected.panes.items()]
    assert table_rows(sinks["panes"].table()) == sorted(panes, key=repr)
    assert sinks["late"].table().num_rows == 0


def test_a_backfill_equals_the_stream_where_nothing_is_late(scene):
    in_order = {name: table_of(sorted(found)) for name, found in scene.partitions.items()}
    flow = scene.flow(memory.source(in_order, chunk_rows=7))
    assert scene.run(flow).late_rows == 0
    sinks = memory_sinks()
    scene.run(flow.rebind(sinks=sinks), mode="batch", state=f"{scene.root}/batch")
    assert table_rows(sinks["panes"].table()) == table_rows(scene.table("panes"))


@pytest.mark.parametrize("at_rows", [1, 60, 110])
def test_a_drained_backfill_goes_on_where_it_was(scene, at_rows):
    scene.drained_at(at_rows, mode="batch")
    assert scene.run(mode="batch").outcome == "finished"
    whole = replace(scene, root=f"{scene.root}/whole")
    whole.run(mode="batch")
    assert table_rows(scene.table("panes")) == table_rows(whole.table("panes"))
    assert whole.table("late").num_rows == 0


def test_a_backfill_over_a_source_without_an_end_is_refused_before_anything_happens(tmp_path):
    scene = in_memory(tmp_path)
    endless = scripted({"p": []}, SCHEMA, unbounded=True)
    for call, remedy in (
        (lambda: scene.flow(endless).backfill(state=f"{tmp_path}/state"), "flow.backfill(sources={...})"),
        (scene.flow(endless).collect, "`collect(n=100)`"),
    ):
        with pytest.raises(DefinitionError, match=r"in operator 'rows' .*'rows' has no end") as raised:
            call()
        assert remedy in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_sources_and_sinks_are_rebound_by_name_and_a_wrong_name_gets_a_hint(tmp_path):
    scene = in_memory(tmp_path)
    (tmp_path / "rows.csv").write_text("at,key,value\n5,x,1\n6,x,2\n")
    other = csv.source(tmp_path / "rows.csv", schema=SCHEMA)
    sinks = memory_sinks()
    scene.flow().backfill(sources={"rows": other}, sinks=sinks, state=f"{tmp_path}/b", progress="none")
    assert table_rows(sinks["panes"].table()) == [("x", 0, SIZE, 2, 3)]
    with pytest.raises(DefinitionError, match="no sink called 'pane'") as raised:
        scene.flow().backfill(sinks={"pane": memory.sink()})
    assert "did you mean 'panes'" in str(raised.value)
    with pytest.raises(DefinitionError, match="no source called 'panes'"):
        scene.flow().backfill(sources={"panes": other})


def test_a_rebound_source_without_a_column_of_the_flow_is_refused_before_the_start(tmp_path):
    scene = in_memory(tmp_path)
    with pytest.raises(StreamlibError, match="no column 'key'"):
        scene.flow().backfill(sources={"rows": memory.source([{"at": 1, "kye": "a", "value": 1}])})
    assert list(tmp_path.iterdir()) == []


def test_collect_gives_a_table_for_every_sink_and_writes_nothing(tmp_path):
    scene = in_memory(tmp_path)
    stream = sl.read(scene.source, name="rows")
    big, small = stream.filter(col("value") >= 60), stream.filter(col("value") < 60)
    flow = sl.Flow(
        "parts",
        big.write(parquet.sink(tmp_path / "big"), name="big"),
        small.select("value").write(console.sink(), name="small"),
        stream.write(memory.sink(), name="all"),
    )
    found = flow.collect()
    assert list(found) == ["big", "small", "all"]
    assert found["big"].num_rows + found["small"].num_rows == found["all"].num_rows == 120
    assert found["small"].schema.names == ["value"]
    assert list(tmp_path.iterdir()) == []
    assert big.collect().equals(found["big"])


def test_collect_passes_the_users_exception_on_and_closes_its_readers(tmp_path):
    scene = parquet_files(tmp_path)

    def broken(record: dict[str, Any]) -> dict[str, Any]:
        raise LookupError("of the user")

    with pytest.raises(LookupError, match="of the user"):
        sl.read(scene.source, name="rows").map(broken, schema=SCHEMA).collect()
