"""The store of checkpoints: restart, fence, damage, retention, and a crash at every operation."""

from __future__ import annotations

import errno
import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
import pyarrow as pa
import pytest

from streamlib.checkpoint import files as files_module
from streamlib.checkpoint.files import state_files
from streamlib.checkpoint.manifest import Manifest, PendingCommit, StateFile, Stub, decode_entry, encode_entry
from streamlib.checkpoint.store import Capture, StateStore
from streamlib.core.contracts import Disk, OperatorState
from streamlib.core.disk import LocalDisk
from streamlib.core.errors import (
    CheckpointDamagedError,
    DefinitionError,
    InvariantError,
    JobHeldError,
    StateError,
    StateIncompatibleError,
    StreamlibError,
    TakenOverError,
    TypeMismatchError,
)
from streamlib.core.segment import Segment
from streamlib.state import codec
from streamlib.state.codec import decode_table, encode_table
from streamlib.testing.disk import CrashAt, SimDisk, SimulatedCrash

ROOT = "/jobs/hot"


class HandClock:
    """Time stands still unless someone waits."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> int:
        return 1_700_000_000_000_000 + int(self.seconds * 1e6)

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture(params=["local", "sim"])
def place(request, tmp_path) -> tuple[Disk, str]:
    """A disk and a state folder that is not there yet."""
    return (LocalDisk(), str(tmp_path / "jobs/hot")) if request.param == "local" else (SimDisk(), ROOT)


@pytest.fixture
def sim() -> SimDisk:
    return SimDisk()


def start(disk: Disk, attempt: str, root: str = ROOT, takeover: bool = False, keep: int = 3) -> StateStore:
    store = StateStore(root, disk, HandClock(), attempt, keep)
    store.open(flow="hot_items", new_job="job-1", takeover=takeover)
    return store


def part(number: int) -> pa.Table:
    groups = pa.array([number % 128, 5, 127], pa.int16())
    return pa.table({"__key_group": groups, "key": ["a", "b", None], "sum": [number] * 3})


class Operator:
    """What an operator keeps: the segments it handed out, to hand the same ones out again."""

    def __init__(self) -> None:
        self.fixed = Segment.of(pa.table({"n": [1, 2]}))
        self.parts: dict[int, Segment] = {}

    def state(self, number: int) -> OperatorState:
        """Two segments, of which the second is the first one of the next number; and one for ever."""
        slots = [self.parts.setdefault(n, Segment(partial(part, n))) for n in (number - 1, number)]
        return OperatorState(
            {"slots": slots, "fixed": [self.fixed], "none": []}, {"word": "x"}, {"late": number}
        )


OPERATORS: WeakKeyDictionary[StateStore, Operator] = WeakKeyDictionary()


def plain(states: Mapping[str, OperatorState]) -> dict[str, Any]:
    """States by what they say, since segments are equal only to themselves."""
    return {
        name: ({t: state.table(t) for t in state.tables}, state.values, state.counters)
        for name, state in states.items()
    }


def capture(number: int, operator: Operator | None = None) -> Capture:
    """What checkpoint `number` holds in these tests: all of it follows from the number."""
    return Capture(
        positions={"bids": {"0": number, "1": {"file": "x", "row": number}}},
        watermarks={"bids": [number, None]},
        operators={"aggregate/../1": (operator or Operator()).state(number)},
        versions={"aggregate/../1": {"window": "10s"}},
        prepared={"hot": [f"staged-{number}"], "quiet": None},
    )


def checkpoint(store: StateStore, acknowledge: bool = True) -> int:
    number = write(store).number
    if acknowledge:
        store.acknowledge("hot", number)
    return number


def write(store: StateStore) -> Manifest:
    """The next checkpoint, of an operator that lives as long as the store."""
    number = store.next_number
    return store.write(number, capture(number, OPERATORS.setdefault(store, Operator())))


def check_whole(store: StateStore, manifest: Manifest) -> None:
    """The manifest and its state are exactly those of its number."""
    expected = capture(manifest.number)
    assert manifest.positions == expected.positions
    assert manifest.watermarks == expected.watermarks
    assert manifest.pending["hot"][-1] == PendingCommit(manifest.number, [f"staged-{manifest.number}"])
    assert [commit.number for commit in manifest.pending["hot"]] == sorted(
        {commit.number for commit in manifest.pending["hot"]}
    )
    assert plain(store.load(manifest)) == plain(expected.operators)
    assert {name: entry.version for name, entry in manifest.operators.items()} == expected.versions


def reopen(disk: Disk, attempt: str, root: str = ROOT) -> tuple[StateStore, Manifest | None]:
    store = StateStore(root, disk, HandClock(), attempt)
    restored = store.open(flow="hot_items", new_job="never used")
    assert restored.job == "job-1"
    return store, restored.manifest


def restore(disk: Disk, attempt: str) -> dict[str, OperatorState]:
    store, manifest = reopen(disk, attempt)
    return store.load(manifest)


def files(disk: Disk, folder: str) -> list[str]:
    """All files below a folder."""
    found = []
    for name in disk.list(folder):
        path = f"{folder}/{name}"
        found += [path] if disk.size(path) is not None else files(disk, path)
    return found


def named(disk: Disk, root: str = ROOT) -> set[str]:
    """All state files that manifests on the disk name."""
    found = set()
    for name in disk.list(f"{root}/manifests"):
        entry = decode_entry(disk.read(f"{root}/manifests/{name}"), int(name[:8]), name)
        if isinstance(entry, Manifest):
            found |= {f"{root}/{file.file}" for file in state_files(entry)}
    return found


def overwrite(disk: Disk, path: str, data: bytes) -> None:
    disk.remove(path)
    file = disk.create(path)
    file.write(data)
    file.close()


# --------------------------------------------------------------------------- the ordinary way


def test_a_first_start_finds_nothing_and_occupies_number_one(place):
    disk, root = place
    store = StateStore(root, disk, HandClock(), "a1")
    restored = store.open(flow="hot_items", new_job="job-1")
    assert restored.job == "job-1"
    assert restored.manifest is None
    assert store.next_number == 2
    assert store.pending == {}
    stub = decode_entry(disk.read(f"{root}/manifests/00000001.json"), 1, "")
    assert stub == Stub("job-1", 1, "a1", None, 1_700_000_000_000_000)


def test_a_restart_finds_the_last_checkpoint_and_keeps_the_job(place):
    disk, root = place
    first = start(disk, "a1", root)
    checkpoint(first)
    number = checkpoint(first)
    first.release()
    second, manifest = reopen(disk, "a2", root)
    assert (manifest.number, manifest.flow, manifest.attempt, manifest.restored_from) == (
        number,
        "hot_items",
        "a1",
        None,
    )
    check_whole(second, manifest)
    assert second.next_number == number + 2
    third = checkpoint(second)
    second.release()
    _, manifest = reopen(disk, "a3", root)
    assert (manifest.number, manifest.attempt, manifest.restored_from) == (third, "a2", number)


def test_a_manifest_says_what_is_in_its_files(place):
    disk, root = place
    store = start(disk, "a1", root)
    manifest = store.write(2, capture(2))
    entry = manifest.operators["aggregate/../1"]
    first, slots = entry.tables["slots"]
    data = disk.read(f"{root}/{slots.file}")
    assert first.file == "data/a1/00000002/0000-aggregate____1-slots.arrow"
    assert slots.file == "data/a1/00000002/0001-aggregate____1-slots.arrow"
    assert (slots.rows, slots.key_groups, slots.length) == (3, (2, 127), len(data))
    assert slots.sha256 == hashlib.sha256(data).hexdigest()
    assert "key: string" in slots.schema
    assert (entry.tables["fixed"][0].key_groups, entry.tables["none"]) == (None, [])
    assert (entry.values, entry.counters) == ({"word": "x"}, {"late": 2})


def test_a_segment_of_the_last_checkpoint_is_named_again_neither_made_nor_written(place, monkeypatch):
    disk, root = place
    store = start(disk, "a1", root)
    made: list[int] = []
    encoded: list[pa.Table] = []
    monkeypatch.setattr(files_module, "encode_table", lambda t: encoded.append(t) or encode_table(t))
    old, new = (Segment(lambda n=n: made.append(n) or part(n)) for n in (1, 2))

    def table(number: int, *segments: Segment) -> list[StateFile]:
        states = {"op": OperatorState({"t": segments})}
        return store.write(number, Capture({}, None, states, {"op": None})).operators["op"].tables["t"]

    first = table(2, old)
    second = table(3, old, new)
    assert second[0] == first[0]
    assert disk.list(f"{root}/data/a1/00000003") == ["0000-op-t.arrow"]
    assert table(4, new, old) == [second[1], first[0]]
    assert disk.list(f"{root}/data/a1/00000004") == []
    assert (made, encoded) == ([1, 2], [part(1), part(2)])
    assert (old.table(), new.table()) == (part(1), part(2))  # read back from their files


def test_a_segment_that_was_left_out_once_is_written_anew(sim):
    """Retention may have removed its file: only what the last checkpoint names is sure to be there."""
    store = start(sim, "a1", keep=1)
    segment = Segment.of(part(1))
    files = []
    for number in (2, 3, 4):
        segments = [] if number == 3 else [segment]
        states = {"op": OperatorState({"t": segments})}
        files.append(store.write(number, Capture({}, None, states, {"op": None})))
    assert [file.file for file in state_files(files[2])] == ["data/a1/00000004/0000-op-t.arrow"]


@pytest.mark.parametrize("change", ["removed", "cut"])
def test_a_file_that_is_named_again_but_gone_ends_the_job(sim, change):
    store = start(sim, "a1")
    (file, *_) = write(store).operators["aggregate/../1"].tables["fixed"]
    if change == "removed":
        sim.remove(f"{ROOT}/{file.file}")
    else:
        cut(sim, f"{ROOT}/{file.file}")
    with pytest.raises(StateError, match=r"was removed or changed while the job ran") as caught:
        write(store)
    assert file.file in str(caught.value)
    assert sim.list(f"{ROOT}/manifests") == ["00000001.json", "00000002.json"]


def test_a_segment_read_back_from_a_damaged_file_is_refused(sim):
    store = start(sim, "a1")
    (file, *_) = write(store).operators["aggregate/../1"].tables["fixed"]
    flip(sim, f"{ROOT}/{file.file}")
    with pytest.raises(StateError, match="SHA-256"):
        OPERATORS[store].fixed.table()


def test_an_error_while_a_segment_is_made_names_the_operator(sim):
    def fail() -> pa.Table:
        raise ValueError("no rows for you")

    store = start(sim, "a1")
    states = {"op": OperatorState({"t": [Segment(fail)]})}
    with pytest.raises(ValueError, match="no rows for you") as caught:
        store.write(2, Capture({}, None, states, {"op": None}))
    assert caught.value.__notes__ == ["writing the state of operator 'op'"]
    with pytest.raises(StateError, match="start the job again"):
        write(store)


def test_a_job_without_state_keeps_its_positions(place):
    disk, root = place
    store = start(disk, "a1", root)
    store.write(2, Capture({"bids": {"0": 7}}, {}, finished=True))
    store.release()
    again, manifest = reopen(disk, "a2", root)
    assert (manifest.positions, manifest.finished) == ({"bids": {"0": 7}}, True)
    assert again.load(manifest) == {}


def test_commits_are_carried_until_they_are_acknowledged(place):
    disk, root = place
    store = start(disk, "a1", root)
    checkpoint(store, acknowledge=False)
    checkpoint(store, acknowledge=False)
    assert [commit.number for commit in store.pending["hot"]] == [2, 3]
    store.acknowledge("hot", 2)
    store.release()
    again, manifest = reopen(disk, "a2", root)
    assert manifest.pending == again.pending
    assert [commit.number for commit in again.pending["hot"]] == [2, 3]  # not known to be done: repeat
    again.acknowledge("hot", 3)
    again.acknowledge("hot", 3)
    assert again.pending == {}
    assert [commit.number for commit in again.write(5, capture(5)).pending["hot"]] == [5]


def test_numbers_are_taken_in_order(sim):
    store = start(sim, "a1")
    with pytest.raises(InvariantError, match="2 is next"):
        store.write(3, capture(3))


def test_what_json_would_change_is_refused_with_its_place(sim):
    bad = {
        "position": replace(capture(2), positions={"bids": {"0": (1, 2)}}),
        "watermarks": replace(capture(2), watermarks=float("nan")),
        "values": replace(capture(2), operators={"op": OperatorState({}, {"x": {1: 2}})}, versions={"op": 1}),
        "counters": replace(
            capture(2), operators={"op": OperatorState(counters={"x": True})}, versions={"op": 1}
        ),
        "large counters": replace(
            capture(2), operators={"op": OperatorState(counters={"x": 2**63})}, versions={"op": 1}
        ),
        "version": replace(capture(2), versions={"aggregate/../1": ("10s",)}),
        "prepared": replace(capture(2), prepared={"hot": b"bytes"}),
    }
    for name, value in bad.items():
        with pytest.raises(TypeMismatchError, match="can't be kept in a checkpoint"):
            start(sim, f"a-{name.replace(' ', '-')}", f"/{name}").write(2, value)


def test_after_a_failed_write_the_store_refuses_to_go_on(sim):
    store = start(sim, "a1")
    with pytest.raises(TypeMismatchError):
        store.write(2, replace(capture(2), watermarks=()))
    with pytest.raises(StateError, match="start the job again"):
        store.write(2, capture(2))
    store.release()
    assert reopen(sim, "a2")[1] is None


@pytest.mark.parametrize(
    "make",
    [
        lambda disk: StateStore("relative/path", disk, HandClock(), "a1"),
        lambda disk: StateStore(ROOT, disk, HandClock(), "../a1"),
        lambda disk: StateStore(ROOT, disk, HandClock(), ""),
        lambda disk: StateStore(ROOT, disk, HandClock(), "a1", keep=0),
    ],
)
def test_what_can_never_work_is_refused_at_once(sim, make):
    with pytest.raises(DefinitionError):
        make(sim)


def test_an_attempt_id_is_used_once(place):
    disk, root = place
    store = start(disk, "a1", root)
    with pytest.raises(DefinitionError, match="used before"):
        start(disk, "a1", root, takeover=True)
    store.release()
    with pytest.raises(DefinitionError, match="used before"):
        start(disk, "a1", root)


def test_a_folder_that_can_not_be_made_is_a_state_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="can't be used"):
        start(LocalDisk(), "a1", str(tmp_path / "file/jobs"))


# --------------------------------------------------------------------------- two at once


def test_a_live_job_is_refused_and_nothing_changes(place):
    disk, root = place
    first = start(disk, "a1", root)
    checkpoint(first)
    before = files(disk, root)
    with pytest.raises(JobHeldError, match=r"(?s)attempt a1 \(process \d+ on .*--takeover"):
        start(disk, "a2", root)
    assert files(disk, root) == before
    checkpoint(first)


def test_after_a_takeover_the_first_can_not_write_any_more(place):
    disk, root = place
    first = start(disk, "a1", root)
    number = checkpoint(first)
    first.check_fence()
    second = StateStore(root, disk, HandClock(), "a2")
    assert second.open(flow="hot_items", new_job="x", takeover=True).manifest.number == number
    with pytest.raises(TakenOverError, match="attempt a2"):
        first.check_fence()
    with pytest.raises(TakenOverError, match="taken over by attempt a2"):
        checkpoint(first)
    checkpoint(second)
    first.release()
    checkpoint(second)


def test_an_attempt_that_was_taken_over_writes_no_files(sim):
    first = start(sim, "a1")
    start(sim, "a2", takeover=True)
    before = files(sim, ROOT)
    with pytest.raises(TakenOverError):
        checkpoint(first)
    assert files(sim, ROOT) == before


def test_a_manifest_is_fenced_at_its_link_not_before(sim):
    """The second takes over while the first is about to link: the earlier check did not see it."""
    first = start(sim, "a1")

    def take_over(operation: str, path: str) -> None:
        if (operation, path) == ("link", f"{ROOT}/manifests/00000002.json"):
            sim.on_operation = lambda operation, path: None
            start(sim, "a2", takeover=True)

    sim.on_operation = take_over
    with pytest.raises(TakenOverError, match="attempt a2"):
        checkpoint(first)
    assert isinstance(decode_entry(sim.read(f"{ROOT}/manifests/00000002.json"), 2, ""), Stub)
    assert sim.list(f"{ROOT}/manifests") == ["00000001.json", "00000002.json"]


def test_of_two_that_start_together_one_is_refused(sim):
    start(sim, "a1").release()
    winner = []

    def overtake(operation: str, path: str) -> None:
        if (operation, path) == ("link", f"{ROOT}/manifests/00000002.json"):
            sim.on_operation = lambda operation, path: None
            winner.append(start(sim, "a2"))

    sim.on_operation = overtake
    with pytest.raises(JobHeldError, match="running already"):
        start(sim, "a3")
    checkpoint(winner[0])


def test_a_takeover_that_meets_a_new_checkpoint_restores_that_one(sim):
    first = start(sim, "a1")
    checkpoint(first)

    def write(operation: str, path: str) -> None:
        if (operation, path) == ("link", f"{ROOT}/manifests/00000003.json"):
            sim.on_operation = lambda operation, path: None
            checkpoint(first)

    sim.on_operation = write
    second = StateStore(ROOT, sim, HandClock(), "a2")
    restored = second.open(flow="hot_items", new_job="x", takeover=True)
    assert restored.manifest.number == 3
    assert second.next_number == 5
    check_whole(second, restored.manifest)


def test_a_takeover_reads_on_when_the_holder_removes_what_it_listed(sim):
    first = start(sim, "a1", keep=1)
    checkpoint(first)

    def write(operation: str, path: str) -> None:
        if (operation, path) == ("size", f"{ROOT}/manifests/00000002.json"):
            sim.on_operation = lambda operation, path: None
            checkpoint(first)
            first.retain()

    sim.on_operation = write
    second = StateStore(ROOT, sim, HandClock(), "a2")
    restored = second.open(flow="hot_items", new_job="x", takeover=True)
    assert restored.manifest.number == 3


def test_someone_who_only_looks_is_not_taken_for_the_holder(sim):
    start(sim, "a1")
    sim.kill()
    looking = sim.lock(f"{ROOT}/locks/a1")
    clock = HandClock()

    def look_away(seconds: float) -> None:
        looking.release()

    clock.wait = look_away  # type: ignore[method-assign]
    assert StateStore(ROOT, sim, clock, "a2").open(flow="f", new_job="x").job == "job-1"


def test_a_repeated_link_that_had_succeeded_is_success(sim, monkeypatch):
    store = start(sim, "a1")
    link = SimDisk.link

    def link_twice(disk: SimDisk, source: str, target: str) -> None:
        link(disk, source, target)
        link(disk, source, target)

    monkeypatch.setattr(SimDisk, "link", link_twice)
    checkpoint(store)
    monkeypatch.undo()
    store.release()
    again, manifest = reopen(sim, "a2")
    check_whole(again, manifest)


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links_is_refused_by_name(sim, monkeypatch, code):
    def no_link(disk: SimDisk, source: str, target: str) -> None:
        raise OSError(code, "no links here", target)

    monkeypatch.setattr(SimDisk, "link", no_link)
    with pytest.raises(StateError, match=ROOT) as caught:
        start(sim, "a1")
    assert "local disk" in str(caught.value)
    assert files(sim, ROOT) == []


def test_a_file_system_whose_links_replace_is_refused(sim, monkeypatch):
    link = SimDisk.link

    def replacing_link(disk: SimDisk, source: str, target: str) -> None:
        disk.remove(target)
        link(disk, source, target)

    monkeypatch.setattr(SimDisk, "link", replacing_link)
    with pytest.raises(StateError, match="replaces an existing name"):
        start(sim, "a1")


# --------------------------------------------------------------------------- damage


def damage(change: Callable[[SimDisk], None]) -> SimDisk:
    """A job with three checkpoints (2, 3, 4) and a stub (5), changed behind its back."""
    disk = SimDisk()
    first = start(disk, "a1")
    for _ in range(3):
        checkpoint(first)
    first.release()
    start(disk, "a2").release()
    change(disk)
    return disk


def data_file(number: int) -> str:
    return f"{ROOT}/data/a1/{number:08d}/0000-aggregate____1-slots.arrow"


def entry_file(number: int) -> str:
    return f"{ROOT}/manifests/{number:08d}.json"


def swap(disk: SimDisk, one: str, other: str) -> None:
    first, second = disk.read(one), disk.read(other)
    overwrite(disk, one, second)
    overwrite(disk, other, first)


def cut(disk: SimDisk, path: str) -> None:
    overwrite(disk, path, disk.read(path)[:-9])


def flip(disk: SimDisk, path: str, at: int = 40) -> None:
    data = bytearray(disk.read(path))
    data[at] ^= 1
    overwrite(disk, path, bytes(data))


def edit(disk: SimDisk, number: int, **fields) -> None:
    """Change fields of an entry, and make the checksum fit again."""
    entry = decode_entry(disk.read(entry_file(number)), number, "")
    body = {**msgspec.to_builtins(entry), **fields}
    raw = json.dumps(body).encode()
    envelope = b'{"format":2,"sha256":"%s","body":%s}' % (hashlib.sha256(raw).hexdigest().encode(), raw)
    overwrite(disk, entry_file(number), envelope)


def edit_operator(disk: SimDisk, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what the newest manifest says of its operator."""
    entry = decode_entry(disk.read(entry_file(4)), 4, "")
    operators = msgspec.to_builtins(entry.operators)
    change(operators["aggregate/../1"])
    edit(disk, 4, operators=operators)


def edit_file(disk: SimDisk, **fields) -> None:
    """Change what the newest manifest says of its newest state file."""
    edit_operator(disk, lambda operator: operator["tables"]["slots"][-1].update(fields))


DAMAGE = {
    "a manifest is missing": (lambda d: d.remove(entry_file(4)), "00000004.json"),
    "an older manifest is missing": (lambda d: d.remove(entry_file(3)), "00000003.json"),
    "all manifests are missing": (
        lambda d: [d.remove(entry_file(n)) for n in (2, 3, 4)],
        "00000002.json|00000004.json",
    ),
    "the first stub is missing": (lambda d: d.remove(entry_file(1)), "00000001.json"),
    "a manifest is torn": (lambda d: cut(d, entry_file(4)), "00000004.json"),
    "a manifest is empty": (lambda d: overwrite(d, entry_file(4), b""), "00000004.json"),
    "a manifest is altered": (lambda d: flip(d, entry_file(4), 300), "00000004.json"),
    "manifests are swapped": (lambda d: swap(d, entry_file(3), entry_file(4)), "number 3"),
    "a stub is altered": (lambda d: flip(d, entry_file(5), 150), "00000005.json"),
    "a manifest is of another job": (lambda d: edit(d, 4, job="other"), "job other"),
    "a manifest is of another attempt": (lambda d: edit(d, 4, attempt="a9"), "attempt a9"),
    "a stub restores from the future": (lambda d: edit(d, 5, restored_from=5), "restored_from"),
    "a field is unknown": (lambda d: edit(d, 4, more=1), "unknown field"),
    "a field has another type": (lambda d: edit(d, 4, created="now"), "created"),
    "a data file is missing": (lambda d: d.remove(data_file(4)), "no such file"),
    "a data file is torn": (lambda d: cut(d, data_file(4)), "bytes"),
    "a data file is altered": (lambda d: flip(d, data_file(4), 500), "SHA-256"),
    "data files are swapped": (lambda d: swap(d, data_file(3), data_file(4)), "SHA-256"),
    "a data file that an earlier checkpoint wrote is altered": (
        lambda d: flip(d, f"{ROOT}/data/a1/00000002/0002-aggregate____1-fixed.arrow"),
        "SHA-256",
    ),
    "the older one of a table's segments is missing": (lambda d: d.remove(data_file(3)), "no such file"),
    "the older one of a table's segments is altered": (lambda d: flip(d, data_file(3), 500), "SHA-256"),
    "a segment is named as one table": (
        lambda d: edit_operator(d, lambda o: o["tables"].update(slots=o["tables"]["slots"][0])),
        "array",
    ),
    "a counter is no number": (lambda d: edit_operator(d, lambda o: o.update(counters={"late": "x"})), "int"),
    "the row count is wrong": (lambda d: edit_file(d, rows=4), "rows"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_refused_with_the_file_and_what_is_wrong(case):
    change, words = DAMAGE[case]
    disk = damage(change)
    with pytest.raises(CheckpointDamagedError) as caught:
        restore(disk, "a3")
    text = str(caught.value).replace("\n", " ")
    assert any(word in text for word in words.split("|"))
    assert ROOT in text or "data/" in text
    assert "nothing was restored" in text
    assert caught.value.remedy


@pytest.mark.parametrize(
    "file",
    [
        "/etc/passwd",
        "../../etc/passwd",
        "data/../../x/00000004/a.arrow",
        "data/a1/00000004/../../../../etc/passwd",
        "data/a1/00000004/a/b.arrow",
        "data/a1/00000004/..arrow",
        "data/a1/00000004/a.arrow\n",
        "data\\a1\\00000004\\a.arrow",
        "data/a1/00000004/",
        "",
    ],
)
def test_a_file_name_that_could_lead_elsewhere_is_refused(file):
    disk = damage(lambda d: edit_file(d, file=file))
    disk.operations.clear()
    with pytest.raises(CheckpointDamagedError, match=r"00000004\.json"):
        reopen(disk, "a3")


def test_a_hostile_attempt_id_is_refused():
    with pytest.raises(CheckpointDamagedError, match=r"00000005\.json"):
        reopen(damage(lambda d: edit(d, 5, attempt="../../x")), "a3")


def test_another_format_version_is_refused_as_such():
    for version in (1, 3):  # format 1 had one file for each table

        def change(disk: SimDisk, version: int = version) -> None:
            overwrite(disk, entry_file(5), b'{"format":%d,"body":"whatever another version says"}' % version)

        with pytest.raises(StateIncompatibleError, match="another version of streamlib") as caught:
            reopen(damage(change), "a3")
        assert f"format {version}" in str(caught.value)
        assert "another state folder" in str(caught.value)


def test_damage_at_a_takeover_leaves_the_live_job_alone(sim):
    first = start(sim, "a1")
    checkpoint(first)
    held_back = sim.read(data_file(2))
    sim.remove(data_file(2))
    with pytest.raises(CheckpointDamagedError):
        start(sim, "a2", takeover=True)
    overwrite(sim, data_file(2), held_back)
    checkpoint(first)


def test_strange_files_in_the_folder_are_left_alone():
    def change(disk: SimDisk) -> None:
        disk.make_dirs(f"{ROOT}/data/a1/notes")
        for name in ("manifests/4.json", "manifests/README", "data/a1/00000002/mine.txt", "data/a1/notes/x"):
            disk.create(f"{ROOT}/{name}")

    disk = damage(change)
    store, manifest = reopen(disk, "a3")
    check_whole(store, manifest)
    for _ in range(4):
        checkpoint(store)
        store.retain()
    assert disk.list(f"{ROOT}/data/a1/00000002") == ["mine.txt"]
    assert disk.list(f"{ROOT}/data/a1") == ["00000002", "notes"]
    assert disk.list(f"{ROOT}/data/a1/notes") == ["x"]


def test_names_from_data_do_not_become_paths(sim):
    store = start(sim, "a1")
    hostile = ["../../../etc/passwd", "a/b", "", ".", "..", "x" * 1000, "a\0b", "ü", "a_b", "a b"]
    states = {name: OperatorState({name: [Segment.of(pa.table({"n": [1]}))]}) for name in hostile}
    store.write(2, Capture({}, None, states, dict.fromkeys(hostile)))
    store.release()
    assert all(path.startswith(f"{ROOT}/data/a1/00000002/") for path in files(sim, f"{ROOT}/data"))
    again, manifest = reopen(sim, "a2")
    assert plain(again.load(manifest)) == plain(states)


# --------------------------------------------------------------------------- retention


def test_retention_keeps_the_last_checkpoints_all_stubs_and_what_they_name(place):
    disk, root = place
    store = start(disk, "a1", root, keep=2)
    for _ in range(5):
        checkpoint(store)
        store.retain()
    store.release()
    store = start(disk, "a2", root, keep=2)
    store.retain()
    assert disk.list(f"{root}/manifests") == [f"{number:08d}.json" for number in (1, 5, 6, 7)]
    assert set(files(disk, f"{root}/data")) == named(disk, root)
    assert len(named(disk, root)) == 4  # what changed since 4, and one as it was in the first checkpoint
    checkpoint(store)
    checkpoint(store)
    store.retain()
    assert disk.list(f"{root}/manifests") == [f"{number:08d}.json" for number in (1, 7, 8, 9)]
    store.release()
    check_whole(*reopen(disk, "a3", root))


def test_leftovers_of_dead_attempts_are_removed_and_those_of_live_ones_are_not(sim):
    first = start(sim, "a1")
    checkpoint(first)

    def stop(operation: str, path: str) -> None:
        if operation == "link":
            raise SimulatedCrash

    sim.on_operation = stop  # frozen between its files and its manifest
    with pytest.raises(SimulatedCrash):
        checkpoint(first)
    sim.on_operation = lambda operation, path: None
    second = start(sim, "a2", takeover=True)
    checkpoint(second)
    second.retain()
    assert sim.list(f"{ROOT}/data/a1") == ["00000002", "00000003"]
    assert f".tmp-a1-{3:08d}" in sim.list(f"{ROOT}/manifests")
    first.release()
    second.retain()
    assert sim.list(f"{ROOT}/data/a1") == ["00000002"]
    assert all(not name.startswith(".tmp") for name in sim.list(f"{ROOT}/manifests"))


def test_locks_of_killed_attempts_are_removed(sim):
    for attempt in ("a1", "a2", "a3"):
        store = start(sim, attempt)
        checkpoint(store)
        sim.kill()
    start(sim, "a4").retain()
    assert sim.list(f"{ROOT}/locks") == ["a4"]


# --------------------------------------------------------------------------- crashes


class Run:
    """Two attempts of a job, and what was promised before the power went."""

    def __init__(self, disk: SimDisk) -> None:
        self.disk = disk
        self.begun = 0
        self.promised = 0

    def __call__(self) -> None:
        for attempt in ("a1", "a2"):
            store = start(self.disk, attempt, keep=1)
            for _ in range(2):
                self.begun = store.next_number
                self.promised = checkpoint(store)
                store.retain()
            store.release()


def crashes(run: Callable[[SimDisk], Run], seeds: int) -> Iterator[Run]:
    """The run, cut off at each of its operations, with several outcomes of each crash."""
    whole = run(SimDisk())
    whole()
    for number in range(sum(whole.disk.operations.values()) + 1):
        for seed in range(seeds):
            cut_off = run(SimDisk())
            cut_off.disk.on_operation = CrashAt(number)
            with suppress(SimulatedCrash):
                cut_off()
            cut_off.disk.on_operation = lambda operation, path: None
            cut_off.disk.crash(random.Random(seed * 10_007 + number))
            yield cut_off


def check_after(run: Run) -> None:
    store = StateStore(ROOT, run.disk, HandClock(), "later", keep=1)
    manifest = store.open(flow="hot_items", new_job="job-1").manifest
    if manifest is None:
        assert run.promised == 0
    else:
        assert manifest.number in {run.promised, run.begun}
        assert manifest.number >= run.promised
        check_whole(store, manifest)
    number = checkpoint(store)
    assert number > run.promised
    store.retain()
    assert set(files(run.disk, f"{ROOT}/data")) == named(run.disk)
    run.disk.crash(random.Random(number))
    store, manifest = reopen(run.disk, "last")
    assert manifest is not None
    assert manifest.number == number
    check_whole(store, manifest)


def test_after_a_crash_at_any_operation_the_old_or_the_new_checkpoint_is_whole():
    count = 0
    for run in crashes(Run, seeds=4):
        check_after(run)
        count += 1
    assert count > 4 * 100


@pytest.mark.parametrize("forgotten", ["sync", "sync_dir", "close"])
def test_the_sweep_notices_a_forgotten_sync(forgotten):
    """The proof that the sweep above can fail: `close` is the control, it promises nothing."""

    class Forgetful(SimDisk):
        def sync_dir(self, path: str) -> None:
            self.begin("sync_dir", path)
            if forgotten != "sync_dir":
                super().sync_dir(path)

        def create(self, path: str):
            file = super().create(path)
            if forgotten == "sync":
                file.sync = lambda: self.begin("sync", path)  # type: ignore[method-assign]
            return file

    noticed = 0
    for run in crashes(lambda _: Run(Forgetful()), seeds=2):
        try:
            check_after(run)
        except (AssertionError, StreamlibError):
            noticed += 1
    assert bool(noticed) == (forgotten != "close")


def test_a_crash_while_many_checkpoints_are_removed_leaves_no_gap():
    for number in range(1000):
        disk = SimDisk()
        store = start(disk, "a1", keep=9)
        for _ in range(5):
            last = checkpoint(store)
        store.release()
        store = start(disk, "a2", keep=1)
        disk.on_operation = cut_off = CrashAt(number)
        with suppress(SimulatedCrash):
            store.retain()
        disk.on_operation = lambda operation, path: None
        disk.crash(random.Random(number))
        store, manifest = reopen(disk, "a3")
        assert manifest.number == last
        check_whole(store, manifest)
        if cut_off.seen <= number:
            break
    assert 20 < number < 1000


class Interruption:
    """A hook: at operation `number` of the first attempt, a second takes over, works, and ends."""

    def __init__(self, disk: SimDisk, number: int) -> None:
        self.disk = disk
        self.left = number
        self.restored = 0

    def __call__(self, operation: str, path: str) -> None:
        self.left -= 1
        if self.left < 0 and not self.restored:
            self.disk.on_operation = lambda operation, path: None
            second = start(self.disk, "a2", takeover=True, keep=1)
            self.restored = second.next_number - 2
            checkpoint(second)
            checkpoint(second)
            second.retain()
            second.release()


def test_a_frozen_attempt_that_wakes_up_after_a_takeover_harms_nothing():
    """The second attempt comes and goes at each operation of the first one's write and cleanup."""
    fenced = 0
    for number in range(1000):
        disk = SimDisk()
        first = start(disk, "a1", keep=1)
        promised = checkpoint(first)
        second = disk.on_operation = Interruption(disk, number)
        try:
            promised = checkpoint(first)
            first.retain()
        except TakenOverError:
            fenced += 1
        if not second.restored:
            break
        assert promised <= second.restored <= 3
        disk.crash(random.Random(number))
        store, manifest = reopen(disk, "a3")
        assert (manifest.attempt, manifest.number) == ("a2", second.restored + 3)
        check_whole(store, manifest)
    assert 20 < number < 1000
    assert fenced > 10


# --------------------------------------------------------------------------- codec and manifest


TABLE = pa.table(
    {
        "n": [1, None, 3],
        "s": ["x", None, "zzz"],
        "d": pa.array(["p", "q", "p"]).dictionary_encode(),
        "l": [[1], [], None],
        "b": [True, False, None],
    }
)


def test_a_table_comes_back_from_its_bytes():
    for table in (TABLE, TABLE.slice(1, 1), TABLE.slice(0, 0), pa.concat_tables([TABLE, TABLE.slice(1)])):
        back = decode_table(encode_table(table), table.num_rows, "f")
        assert back.schema == table.schema
        assert back.to_pydict() == table.to_pydict()


def test_chunks_with_different_dictionaries_come_back():
    parts = [pa.table({"d": pa.array(words).dictionary_encode()}) for words in (["a", "b"], ["c", "b"])]
    back = decode_table(encode_table(pa.concat_tables(parts)), 4, "f")
    assert back.to_pydict() == {"d": ["a", "b", "c", "b"]}


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
@pytest.mark.parametrize("column", [pa.array(["x" * 9999] * 9), pa.array(["y" * 9999]).dictionary_encode()])
def test_a_compressed_body_is_refused_before_it_is_unpacked(compression, column):
    table = pa.table({"c": column})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(
        sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)
    ) as writer:
        writer.write_table(table)
    with pytest.raises(CheckpointDamagedError, match="compressed body"):
        decode_table(sink.getvalue(), table.num_rows, "f")


def test_a_compressed_dictionary_is_noticed_by_itself():
    table = pa.table({"c": pa.array(["y" * 9999]).dictionary_encode()})
    for compression in (None, "lz4"):
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression=compression)
        with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
            writer.write_table(table)
        kinds = {
            m.type: codec._is_compressed(memoryview(m.metadata)) for m in codec._messages(sink.getvalue())
        }
        compressed = compression is not None
        assert kinds == {"schema": False, "dictionary": compressed, "record batch": compressed}


def test_any_damage_to_a_table_is_an_error_or_another_table_but_never_a_crash():
    whole = encode_table(TABLE).to_pybytes()
    refused = 0
    for at in range(len(whole)):
        for bits in (0x01, 0x80, 0xFF):
            damaged = bytearray(whole)
            damaged[at] ^= bits
            try:
                decode_table(bytes(damaged), 3, "f").validate(full=True)
            except CheckpointDamagedError:
                refused += 1
        with pytest.raises(CheckpointDamagedError, match="state file f"):
            decode_table(whole[:at], 3, "f")
    assert refused > len(whole)
    with pytest.raises(CheckpointDamagedError, match="3 rows"):
        decode_table(whole, 4, "f")


def test_every_changed_byte_of_a_manifest_is_noticed():
    entry = Stub("job-1", 5, "a1", 4, 1)
    whole = encode_entry(entry)
    assert decode_entry(whole, 5, "f") == entry
    for at in range(len(whole)):
        for bits in (0x01, 0x20, 0x80):
            damaged = bytearray(whole)
            damaged[at] ^= bits
            with pytest.raises((CheckpointDamagedError, StateIncompatibleError)):
                decode_entry(bytes(damaged), 5, "f")
