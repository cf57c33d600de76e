"""One suite over both disks, then what only one of them has: system calls, and lost power."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from streamlib.core.contracts import Disk
from streamlib.core.disk import LocalDisk
from streamlib.testing.disk import CrashAt, SimDisk, SimulatedCrash


@pytest.fixture(params=["local", "sim"])
def place(request, tmp_path) -> tuple[Disk, str]:
    """A disk and an empty folder on it."""
    if request.param == "local":
        return LocalDisk(), str(tmp_path)
    disk = SimDisk()
    disk.make_dirs("/place")
    return disk, "/place"


@pytest.fixture
def sim() -> SimDisk:
    disk = SimDisk()
    disk.make_dirs("/d")
    return disk


def put(disk: Disk, path: str, data: bytes = b"data", sync: bool = True) -> None:
    file = disk.create(path)
    file.write(data)
    if sync:
        file.sync()
    file.close()


# --------------------------------------------------------------------------- both disks


def test_a_created_file_holds_what_was_written(place):
    disk, root = place
    file = disk.create(f"{root}/f")
    assert file.write(b"ab") == 2
    assert file.write(memoryview(b"cde")) == 3
    assert file.write(pa.py_buffer(b"f")) == 1
    file.sync()
    file.close()
    assert disk.read(f"{root}/f") == b"abcdef"
    assert disk.size(f"{root}/f") == 6


def test_create_is_exclusive_and_needs_a_folder(place):
    disk, root = place
    put(disk, f"{root}/f", b"first")
    with pytest.raises(FileExistsError):
        disk.create(f"{root}/f")
    with pytest.raises(FileNotFoundError):
        disk.create(f"{root}/none/f")
    assert disk.read(f"{root}/f") == b"first"


def test_a_closed_file_refuses_to_write_and_closes_again(place):
    disk, root = place
    file = disk.create(f"{root}/f")
    file.close()
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.write(b"x")
    with pytest.raises(ValueError, match="closed"):
        file.sync()


def test_what_is_not_there_has_no_size_no_content_and_no_names(place):
    disk, root = place
    disk.make_dirs(f"{root}/folder")
    assert disk.size(f"{root}/none") is None
    assert disk.size(f"{root}/folder") is None
    assert disk.list(f"{root}/none") == []
    with pytest.raises(FileNotFoundError):
        disk.read(f"{root}/none")
    with pytest.raises(FileNotFoundError):
        disk.sync_dir(f"{root}/none")


def test_list_names_files_and_folders_in_order(place):
    disk, root = place
    put(disk, f"{root}/b")
    put(disk, f"{root}/.a")
    disk.make_dirs(f"{root}/c/inner")
    assert disk.list(root) == [".a", "b", "c"]
    assert disk.list(f"{root}/c") == ["inner"]


def test_make_dirs_makes_parents_and_takes_what_is_there(place):
    disk, root = place
    disk.make_dirs(f"{root}/a/b/c")
    disk.make_dirs(f"{root}/a/b/c")
    put(disk, f"{root}/a/b/c/f")
    assert disk.list(f"{root}/a/b/c") == ["f"]
    with pytest.raises(FileExistsError):
        disk.make_dirs(f"{root}/a/b/c/f")


def test_link_is_exclusive(place):
    disk, root = place
    put(disk, f"{root}/one", b"1")
    put(disk, f"{root}/two", b"2")
    disk.link(f"{root}/one", f"{root}/name")
    with pytest.raises(FileExistsError):
        disk.link(f"{root}/two", f"{root}/name")
    with pytest.raises(FileNotFoundError):
        disk.link(f"{root}/none", f"{root}/other")
    disk.remove(f"{root}/one")
    assert disk.read(f"{root}/name") == b"1"


def test_rename_replaces(place):
    disk, root = place
    put(disk, f"{root}/new", b"new")
    put(disk, f"{root}/old", b"old")
    disk.rename(f"{root}/new", f"{root}/old")
    assert disk.list(root) == ["old"]
    assert disk.read(f"{root}/old") == b"new"
    with pytest.raises(FileNotFoundError):
        disk.rename(f"{root}/none", f"{root}/old")


def test_remove_takes_files_and_empty_folders_and_what_is_not_there(place):
    disk, root = place
    disk.make_dirs(f"{root}/folder")
    put(disk, f"{root}/folder/f")
    with pytest.raises(OSError, match=r"not empty|ENOTEMPTY"):
        disk.remove(f"{root}/folder")
    disk.remove(f"{root}/folder/f")
    disk.remove(f"{root}/folder/f")
    disk.remove(f"{root}/folder")
    assert disk.list(root) == []


def test_a_lock_has_one_holder(place):
    disk, root = place
    lock = disk.lock(f"{root}/lock")
    assert lock is not None
    assert disk.lock(f"{root}/lock") is None
    lock.release()
    lock.release()
    again = disk.lock(f"{root}/lock")
    assert again is not None
    assert disk.list(root) == ["lock"]


def _parquet(table, file):
    with pa.parquet.ParquetWriter(file, table.schema) as writer:
        writer.write_table(table)


def _arrow(table, file):
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize("write", [_parquet, pa.parquet.write_table, _arrow, pa.csv.write_csv])
def test_pyarrow_writes_to_a_disk_file_and_leaves_it_open_for_sync(place, write: Callable):
    disk, root = place
    table = pa.table({"n": list(range(100_000))})
    file = disk.create(f"{root}/f")
    write(table, file)
    file.sync()
    file.close()
    data = disk.read(f"{root}/f")
    assert file.tell() == len(data) > 1000
    if write in (_parquet, pa.parquet.write_table):
        assert pa.parquet.read_table(pa.BufferReader(data)).equals(table)


# --------------------------------------------------------------------------- the local disk


def test_short_writes_are_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:3]))
    put(LocalDisk(), str(tmp_path / "f"), b"0123456789")
    assert (tmp_path / "f").read_bytes() == b"0123456789"


def test_make_dirs_syncs_every_folder_in_which_one_may_be_new(tmp_path, monkeypatch):
    synced: list[str] = []
    monkeypatch.setattr(LocalDisk, "sync_dir", lambda self, path: synced.append(path))
    root = str(tmp_path)
    LocalDisk().make_dirs(f"{root}/a/b")
    # The first is there already, but its maker may have died before the sync.
    assert synced == [os.path.dirname(root), root, f"{root}/a"]


_HOLD = """
import os, sys, time
from streamlib.core.disk import LocalDisk
lock = LocalDisk().lock(sys.argv[1])
child = os.fork() if sys.argv[2] == "fork" else 1
if child == 0:
    print(os.getpid(), flush=True)
    time.sleep(60)
elif sys.argv[2] == "fork":
    os.waitpid(child, 0)
print(os.getpid(), flush=True)
time.sleep(60)
"""


@contextmanager
def holder(path: str, how: str) -> Iterator[subprocess.Popen]:
    """A process that holds the lock; with "fork" it also has a child, which lives to the end."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _HOLD, path, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        sleeper = int(process.stdout.readline())
        try:
            yield process
        finally:
            os.kill(sleeper, signal.SIGKILL)
            process.kill()


@pytest.mark.parametrize("how", ["alone", "fork"])
def test_a_killed_process_holds_no_lock_even_if_a_forked_child_outlives_it(tmp_path, how):
    path = str(tmp_path / "lock")
    with holder(path, how) as process:
        assert LocalDisk().lock(path) is None
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        lock = LocalDisk().lock(path)
        assert lock is not None
        lock.release()


# --------------------------------------------------------------------------- lost power


def outcomes(build: Callable[[SimDisk], None], see: Callable[[SimDisk], object]) -> set[object]:
    """All that is seen after crashes of the same disk with many seeds."""
    seen = set()
    for seed in range(200):
        disk = SimDisk()
        disk.make_dirs("/d")
        disk.make_dirs("/e")
        build(disk)
        disk.crash(random.Random(seed))
        seen.add(see(disk))
    return seen


def names(disk: SimDisk) -> tuple[str, ...]:
    return tuple(disk.list("/d"))


def content(disk: SimDisk) -> bytes | None:
    return disk.read("/d/f") if disk.size("/d/f") is not None else None


def test_what_was_synced_survives():
    def build(disk):
        put(disk, "/d/f", b"0123456789")
        disk.sync_dir("/d")

    assert outcomes(build, content) == {b"0123456789"}


def test_a_synced_file_without_a_synced_name_may_be_gone_but_is_never_torn():
    assert outcomes(lambda disk: put(disk, "/d/f", b"0123456789"), content) == {None, b"0123456789"}


def test_an_unsynced_tail_survives_vanishes_or_is_torn():
    def build(disk):
        file = disk.create("/d/f")
        file.write(b"ab")
        file.sync()
        file.write(b"cd")
        disk.sync_dir("/d")

    assert outcomes(build, content) == {b"ab", b"abc", b"abcd"}


def test_unsynced_names_survive_in_any_combination():
    def build(disk):
        put(disk, "/d/a")
        put(disk, "/d/b")

    assert outcomes(build, names) == {(), ("a",), ("b",), ("a", "b")}


def test_an_unsynced_removal_may_not_have_happened():
    def build(disk):
        put(disk, "/d/f")
        disk.sync_dir("/d")
        disk.remove("/d/f")

    assert outcomes(build, names) == {(), ("f",)}


def test_a_rename_is_atomic():
    def build(disk):
        put(disk, "/d/f", b"old")
        put(disk, "/d/g", b"new")
        disk.sync_dir("/d")
        disk.rename("/d/g", "/d/f")

    assert outcomes(build, lambda disk: (names(disk), content(disk))) == {
        (("f", "g"), b"old"),
        (("f",), b"new"),
    }


@pytest.mark.parametrize(("synced", "lost"), [(("/d",), True), (("/e",), True), (("/d", "/e"), False)])
def test_a_rename_between_folders_is_durable_when_both_were_synced(synced, lost):
    def build(disk):
        put(disk, "/e/f")
        disk.sync_dir("/e")
        disk.rename("/e/f", "/d/f")
        for folder in synced:
            disk.sync_dir(folder)

    seen = outcomes(build, lambda disk: (disk.list("/d") == ["f"], disk.list("/e") == ["f"]))
    assert seen == ({(True, False), (False, True)} if lost else {(True, False)})


def test_a_link_may_survive_the_name_it_was_made_from():
    def build(disk):
        put(disk, "/d/temporary")
        disk.link("/d/temporary", "/d/final")
        disk.remove("/d/temporary")

    assert outcomes(build, names) == {(), ("final",), ("temporary",), ("final", "temporary")}


def test_sync_dir_covers_its_own_folder_only():
    def build(disk):
        put(disk, "/d/f")
        disk.sync_dir("/e")

    assert outcomes(build, names) == {(), ("f",)}


def test_folders_survive_and_an_emptied_one_comes_back_with_its_file():
    def build(disk):
        disk.make_dirs("/d/inner")
        put(disk, "/d/inner/f")
        disk.sync_dir("/d/inner")
        disk.remove("/d/inner/f")
        disk.remove("/d/inner")

    assert outcomes(build, lambda disk: tuple(disk.list("/d/inner"))) == {(), ("f",)}


def test_after_a_crash_all_is_durable(sim):
    put(sim, "/d/f", b"0123456789", sync=False)
    sim.crash(random.Random(2))
    before = names(sim), content(sim)
    sim.crash(random.Random(3))
    assert (names(sim), content(sim)) == before


def test_a_crash_frees_locks_and_kills_handles(sim):
    file = sim.create("/d/f")
    lock = sim.lock("/d/lock")
    sim.sync_dir("/d")
    sim.crash(random.Random(0))
    for operation in (file.sync, file.close, lambda: file.write(b"x")):
        with pytest.raises(OSError, match="EBADF"):
            operation()
    new = sim.lock("/d/lock")
    assert new is not None
    lock.release()  # of a dead process: takes nothing from the new holder
    assert sim.lock("/d/lock") is None


def test_a_killed_process_loses_locks_and_handles_but_no_data(sim):
    file = sim.create("/d/f")
    file.write(b"abc")
    sim.lock("/d/lock")
    sim.kill()
    assert content(sim) == b"abc"
    assert sim.lock("/d/lock") is not None
    with pytest.raises(OSError, match="EBADF"):
        file.write(b"d")


def test_the_same_seed_gives_the_same_disk():
    def after(seed):
        disk = SimDisk()
        disk.make_dirs("/d")
        for name in "abcdefgh":
            put(disk, f"/d/{name}", name.encode() * 100, sync=False)
        disk.crash(random.Random(seed))
        return [(name, disk.read(f"/d/{name}")) for name in disk.list("/d")]

    assert after(7) == after(7)
    assert len({str(after(seed)) for seed in range(20)}) == 20


def test_the_hook_sees_every_operation_before_it_happens_and_can_stop_it(sim):
    seen: list[tuple[str, str]] = []
    sim.on_operation = lambda operation, path: seen.append((operation, path))
    put(sim, "/d/f")
    sim.link("/d/f", "/d/g")
    sim.rename("/d/g", "/d/h")
    sim.sync_dir("/d")
    assert seen == [
        ("create", "/d/f"),
        ("write", "/d/f"),
        ("sync", "/d/f"),
        ("close", "/d/f"),
        ("link", "/d/g"),
        ("rename", "/d/h"),
        ("sync_dir", "/d"),
    ]
    assert sim.operations["sync"] == 1
    sim.on_operation = CrashAt(1)
    with pytest.raises(SimulatedCrash, match="before write /d/i"):
        put(sim, "/d/i")
    with pytest.raises(SimulatedCrash):  # what is dead stays dead
        sim.read("/d/f")
    sim.on_operation = lambda operation, path: None
    assert sim.read("/d/i") == b""
