"""More of what can be wrong with a job, beside `test_jobs`: state, sinks, folders, options."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import windows
from streamlib.connectors import memory, parquet
from streamlib.core.errors import (
    CheckpointDamagedError,
    DefinitionError,
    SinkError,
    SourceError,
    StateError,
    StateIncompatibleError,
    StreamlibError,
)
from streamlib.testing.sources import fail, rows, scripted
from tests.test_jobs import (
    SCHEMA,
    Counting,
    Scene,
    StillWorld,
    in_memory,
    some_rows,
    table_of,
)


@pytest.fixture
def scene(tmp_path) -> Scene:
    """A real disk, and the rest of the world without threads: every run does the same."""
    return still(in_memory(tmp_path))


def still(scene: Scene) -> Scene:
    return replace(scene, make_world=lambda: StillWorld(scene.disk, os.urandom(4).hex()))


def everything(scene: Scene) -> dict[str, bytes]:
    """Every file of the job, what readers see and what they don't, apart from the attempts' locks."""
    return {
        str(path.relative_to(scene.root)): path.read_bytes()
        for path in sorted(Path(scene.root).rglob("*"))
        if path.is_file() and "locks" not in path.parts
    }


def refused(scene: Scene, flow: sl.Flow, kind: type[StreamlibError], match: str) -> str:
    """Start the flow on the scene's job: it is refused before a row is read, and readers see no change."""
    before = scene.output()
    counting = {name: Counting(read.source) for name, (_, read) in flow.bind().reads().items()}
    with pytest.raises(kind, match=match) as caught:
        scene.run(flow.rebind(sources=counting))
    assert not any(source.opened for source in counting.values())
    assert scene.output() == before
    return str(caught.value)


# --------------------------------------------------------------------------- state of another flow


def typed(scene: Scene, schema: pa.Schema, key: str = "key") -> sl.Flow:
    """The scene's flow over the same rows in other types, or keyed by another column."""
    tables = {name: table_of(found) for name, found in some_rows().items()}
    if schema.field("key").type != pa.string():
        tables = {name: t.set_column(1, "key", t["at"]) for name, t in tables.items()}
    cast = {name: t.cast(schema) for name, t in tables.items()}
    stream = sl.read(
        memory.source(cast), name="rows", event_time="at", watermark=sl.bounded_disorder("5s"), max_ahead=None
    )
    panes = stream.key_by(key).window(windows.tumbling("10s")).aggregate(n=sl.count(), total=sl.sum("value"))
    return sl.Flow(
        "scene",
        panes.write(parquet.sink(f"{scene.root}/out/panes"), name="panes"),
        panes.late().write(parquet.sink(f"{scene.root}/out/late"), name="late"),
    )


@pytest.mark.parametrize(
    ("schema", "key"),
    [
        (SCHEMA, "at"),
        (SCHEMA.set(1, pa.field("key", pa.int64())), "key"),
        (SCHEMA.set(2, pa.field("value", pa.float64())), "key"),
        (SCHEMA.set(2, pa.field("value", pa.decimal128(21, 2))), "key"),
    ],
    ids=["another key", "a key of another type", "floats", "decimals"],
)
def test_state_of_other_keys_or_types_is_refused_before_the_first_row(scene, schema, key):
    scene.drained_at(60, interval="1h")
    refused(scene, typed(scene, schema, key), StateIncompatibleError, "aggregate'")


# --------------------------------------------------------------------------- damage


def state_files(scene: Scene, pattern: str) -> list[Path]:
    found = sorted(Path(scene.root, "state").rglob(pattern))
    assert found
    return found


def newest_manifest(scene: Scene) -> Path:
    return [p for p in state_files(scene, "*.json") if b'"kind":"checkpoint"' in p.read_bytes()][-1]


def named_by(manifest: Path) -> list[Path]:
    """The data files of a manifest."""
    names = re.findall(r"data/[^\"]+\.arrow", manifest.read_text())
    return [manifest.parents[1] / name for name in names]


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [emptied, folder_instead])
def test_a_damaged_data_file_is_refused_by_name_and_nothing_is_changed(scene, damage):
    scene.drained_at(60, interval="1h")
    victim = named_by(newest_manifest(scene))[0]
    whole = victim.read_bytes()
    damage(victim)
    before = everything(scene)
    for _ in range(2):
        text = refused(scene, scene.flow(), CheckpointDamagedError, re.escape(victim.name))
        assert "to do:" in text
    after = everything(scene)
    assert {k: v for k, v in after.items() if k in before} == before, "at most stubs are added"
    shutil.rmtree(victim, ignore_errors=True)
    victim.write_bytes(whole)
    assert scene.run().outcome == "finished"
    scene.check()


@pytest.mark.parametrize("damage", [emptied, folder_instead])
def test_a_damaged_manifest_is_refused_by_name_and_nothing_is_changed(scene, damage):
    scene.drained_at(60, interval="1h")
    victim = newest_manifest(scene)
    whole = victim.read_bytes()
    damage(victim)
    before = everything(scene)
    refused(scene, scene.flow(), CheckpointDamagedError, re.escape(victim.name))
    assert everything(scene) == before
    shutil.rmtree(victim, ignore_errors=True)
    victim.write_bytes(whole)
    assert scene.run().outcome == "finished"
    scene.check()


def test_a_manifest_of_another_format_is_refused(scene):
    scene.drained_at(60, interval="1h")
    path = newest_manifest(scene)
    path.write_text(path.read_text().replace('"format":2', '"format":99'))
    assert "format 99" in refused(scene, scene.flow(), StateIncompatibleError, "another version")


def test_a_deleted_newest_manifest_is_noticed_because_the_sink_has_published_more(scene):
    scene.drained_at(60, interval="1h")
    scene.drained_at(100, interval="1h")
    newest_manifest(scene).unlink()
    text = refused(scene, scene.flow(), StateError, "published more than the state knows of")
    assert "twice" in text


def test_files_of_others_in_the_state_folder_disturb_nobody(scene):
    scene.drained_at(60, interval="1h")
    for folder in ("", "manifests", "data", "locks"):
        Path(scene.root, "state", folder, "README.txt").write_text("backup on Mondays")
    assert scene.run().outcome == "finished"
    scene.check()
    assert Path(scene.root, "state/data/README.txt").exists()


# --------------------------------------------------------------------------- sources that fail


def failing_source(error: Exception, attempts: int | None) -> Any:
    """The scene's rows in chunks of ten; the first partition fails in the middle."""
    script = {}
    for name, found in some_rows().items():
        chunks = [rows(table_of(found[i : i + 10]).to_batches()[0]) for i in range(0, 60, 10)]
        script[name] = [*chunks[:3], *([fail(error, attempts)] if name == "p0" else []), *chunks[3:]]
    return scripted(script, SCHEMA)


def test_what_was_checkpointed_before_a_source_failed_stays_published(scene):
    scene.source = failing_source(SourceError("dead"), attempts=None)
    for _ in range(3):
        with pytest.raises(SourceError, match="dead"):
            scene.run()
    scene.source = failing_source(SourceError("dead"), attempts=0)
    scene.run()
    scene.check()


# --------------------------------------------------------------------------- sinks that fail


@dataclass(frozen=True)
class Fragile:
    """A Parquet sink of which one call fails, once for each reason left in `failures`."""

    sink: Any
    failures: list[tuple[str, int, Exception]] = field(default_factory=list, compare=False)

    @property
    def delivery(self) -> str:
        return self.sink.delivery

    def open(self, context: Any) -> Any:
        return FragileWriter(self.sink.open(context), self.failures)


class FragileWriter:
    def __init__(self, writer: Any, failures: list[tuple[str, int, Exception]]) -> None:
        self._writer = writer
        self._failures = failures
        self._calls: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._writer, name)

        def counted(*args: Any) -> Any:
            self._calls[name] = self._calls.get(name, 0) + 1
            if self._failures and self._failures[0][:2] == (name, self._calls[name]):
                raise self._failures.pop(0)[2]
            return call(*args)

        return counted if name in ("write", "prepare", "commit", "close") else call


def fragile(scene: Scene, *failures: tuple[str, int, Exception]) -> tuple[sl.Flow, list[Any]]:
    left = list(failures)
    sink = Fragile(parquet.sink(f"{scene.root}/out/panes"), left)
    return scene.flow().rebind(sinks={"panes": sink}), left


@pytest.mark.parametrize("call", ["write", "prepare", "commit"])
def test_a_sink_that_fails_in_its_own_thread_is_as_clear_and_a_restart_as_exact(tmp_path, call):
    scene = in_memory(tmp_path)
    flow, _ = fragile(scene, (call, 1, SinkError("no more ink")))
    with pytest.raises(SinkError, match=r"in operator 'panes' \(test_jobs.py:\d+\): no more ink"):
        scene.run(flow)
    assert scene.run(flow).outcome in ("finished", "already finished")
    scene.check()
    assert scene.staged() == []


def test_a_sink_that_fails_again_and_again_is_exact_in_the_end(scene):
    reasons = [
        (call, 1 + n % 2, SinkError(call)) for n in range(4) for call in ("write", "prepare", "commit")
    ]
    flow, left = fragile(scene, *reasons)
    failed = 0
    while True:
        try:
            outcome = scene.run(flow).outcome
        except SinkError:
            failed += 1
            continue
        break
    assert outcome == "finished"
    assert failed == len(reasons) - len(left) >= 6
    scene.check()


def test_a_commit_that_fails_while_an_earlier_one_is_repeated_stops_the_start_and_lets_the_job_go(scene):
    flow, left = fragile(scene, ("commit", 1, SinkError("one")), ("commit", 1, SinkError("two")))
    with pytest.raises(SinkError, match="one"):
        scene.run(flow)
    with pytest.raises(SinkError, match="two"):
        scene.job(flow).start()
    assert left == []
    assert scene.run(flow).outcome == "finished", "nobody holds the job"
    scene.check()


# --------------------------------------------------------------------------- folders


def in_the_way(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a file")
    return path


@pytest.mark.parametrize("place", ["state", "state/manifests", "state/locks"])
def test_a_state_folder_that_cant_be_used_is_refused_in_our_words(scene, place):
    in_the_way(Path(scene.root, place))
    with pytest.raises(StateError, match=r"state.* can't be used") as caught:
        scene.run()
    assert "to do:" in str(caught.value)
    assert not Path(scene.root, "out").exists()


def test_a_state_folder_that_fills_up_in_the_middle_is_an_error_in_our_words(scene):
    """`data` is made with the first checkpoint: a file in the way stands for a full disk."""
    in_the_way(Path(scene.root, "state/data"))
    with pytest.raises(StreamlibError):
        scene.run()


def test_an_output_with_other_files_beside_the_results_is_fine(scene):
    in_the_way(Path(scene.root, "out/panes/_SUCCESS"))
    assert scene.run().outcome == "finished"
    os.unlink(f"{scene.root}/out/panes/_SUCCESS")
    scene.check()


# --------------------------------------------------------------------------- small inputs, options


@pytest.mark.parametrize("mode", ["streaming", "batch"])
def test_one_row_is_one_window(scene, mode):
    one = {"p0": some_rows()["p0"][:1]}
    scene.source = memory.source({"p0": table_of(one["p0"])})
    assert scene.run(mode=mode).rows == 1
    scene.check(one)


def test_an_option_that_run_does_not_have_is_named(scene):
    with pytest.raises(TypeError, match="checkpoint_intervall"):
        scene.flow().run(checkpoint_intervall="1s")


@pytest.mark.parametrize(
    "options", [{"checkpoint_interval": "soon"}, {"drain_timeout": "-3s"}, {"checkpoint_interval": "-1s"}]
)
def test_an_option_that_is_no_duration_is_refused_before_anything_happens(scene, options):
    with pytest.raises(DefinitionError, match="duration"):
        scene.flow().run(state=f"{scene.root}/state", progress="none", **options)
    assert list(Path(scene.root).iterdir()) == []


def test_an_unknown_style_of_progress_is_refused(scene):
    with pytest.raises(DefinitionError, match="progress"):
        scene.flow().run(state=f"{scene.root}/state", progress="plian")
    assert list(Path(scene.root).iterdir()) == []
