"""Real processes, killed and frozen: what readers see is exact, and what was published is left alone."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.flows import table_rows
from tests.test_cli import FLOWS, PATIENCE, command, ended, environment, files, started, streamlib, until

Published = dict[str, tuple[str, int, int]]
"""By file name: SHA-256, inode and time of change, of all files that readers see."""
Rows = list[tuple]


def rows(tmp_path: Path) -> Rows:
    return table_rows(pq.read_table(tmp_path / "out")) if files(tmp_path) else []


def published(tmp_path: Path) -> Published:
    return {p.name: _looked_at(p) for p in files(tmp_path)}


def _looked_at(path: Path) -> tuple[str, int, int]:
    found = path.stat()
    return hashlib.sha256(path.read_bytes()).hexdigest(), found.st_ino, found.st_mtime_ns


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> Rows:
    """The rows of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert streamlib(folder, "run", f"{FLOWS}:flow").returncode == 0
    return rows(folder)


@dataclass
class Life:
    """A job that dies again and again; nothing that was published may change from one life to the next."""

    folder: Path
    seen: Published = field(default_factory=dict)
    deaths_after_output: int = 0

    def die(self, rate: float, after_files: int, moment: float) -> None:
        """Start it, wait until so many more files are there and a moment longer, and kill it."""
        process = started(self.folder, "run", f"{FLOWS}:flow", rate=rate)
        wanted = len(files(self.folder)) + after_files
        until(lambda: len(files(self.folder)) >= wanted or process.poll() is not None, process)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()
        code = process.wait(PATIENCE)
        process.communicate()
        assert code in (-signal.SIGKILL, 0), "it dies of nothing else"
        self.look()

    def look(self) -> None:
        """Hold what is published against what was."""
        now = published(self.folder)
        assert self.seen.items() <= now.items()
        self.deaths_after_output += len(now) > len(self.seen)
        self.seen = now

    def finish(self) -> Rows:
        """Let it come to its end; its rows."""
        run = streamlib(self.folder, "run", f"{FLOWS}:flow", "--progress", "none")
        assert run.returncode == 0, run.stderr
        self.look()
        assert list((self.folder / "out.staging").iterdir()) == []
        return rows(self.folder)


def killed_and_continued(tmp_path: Path, chance: random.Random, kills: int) -> tuple[Life, Rows]:
    life = Life(tmp_path)
    for _ in range(kills):
        life.die(chance.choice([1000, 3000]), chance.randint(0, 2), chance.uniform(0, 0.15))
    return life, life.finish()


def test_a_job_killed_again_and_again_publishes_every_row_once(tmp_path, expected):
    life, found = killed_and_continued(tmp_path, random.Random(1), kills=3)
    assert found == expected
    assert life.deaths_after_output >= 2


@pytest.mark.real
@pytest.mark.parametrize("seed", range(10))
def test_many_more_kills(tmp_path, expected, seed):
    _, found = killed_and_continued(tmp_path, random.Random(100 + seed), kills=4)
    assert found == expected


def test_a_kill_before_the_first_checkpoint_leaves_nothing_that_readers_see(tmp_path, expected):
    process = started(tmp_path, "run", f"{FLOWS}:flow", rate=1)
    until(lambda: list((tmp_path / ".streamlib").rglob("*.json")), process)
    process.kill()
    assert ended(process)[0] == -signal.SIGKILL
    assert files(tmp_path) == []
    assert Life(tmp_path).finish() == expected


# --------------------------------------------------------------------------- frozen and woken up


def frozen_and_woken(tmp_path: Path, after_files: int, moment: float) -> tuple[int, str, Rows]:
    """Freeze a job, let a second one take over and finish, wake the first: its exit code, and the rows."""
    first = started(tmp_path, "run", f"{FLOWS}:flow", rate=500)
    until(lambda: len(files(tmp_path)) >= after_files, first)
    time.sleep(moment)  # any moment will do: this only makes them differ
    first.send_signal(signal.SIGSTOP)
    second = streamlib(tmp_path, "run", f"{FLOWS}:flow", "--takeover", "--progress", "none")
    assert second.returncode == 0, second.stderr
    before = published(tmp_path)
    first.send_signal(signal.SIGCONT)
    code, out, err = ended(first)
    assert out == ""
    assert published(tmp_path) == before
    return code, err, rows(tmp_path)


def test_a_frozen_predecessor_says_so_and_changes_nothing_when_it_wakes_up(tmp_path, expected):
    code, err, found = frozen_and_woken(tmp_path, after_files=2, moment=0)
    assert (code, found) == (5, expected)
    assert "was taken over by attempt" in err
    assert "Traceback" not in err
    assert streamlib(tmp_path, "run", f"{FLOWS}:flow").returncode == 0, "it had finished"


@pytest.mark.real
@pytest.mark.parametrize("seed", range(20))
def test_a_predecessor_frozen_at_any_moment_changes_nothing_when_it_wakes_up(tmp_path, expected, seed):
    chance = random.Random(seed)
    code, err, found = frozen_and_woken(tmp_path, chance.randint(0, 3), chance.uniform(0, 0.2))
    assert found == expected
    if code == 0:  # frozen before it had taken the job
        assert "paced had finished" in err
    else:
        assert code == 5, err


# --------------------------------------------------------------------------- killed at a system call

MANIFESTS = ".streamlib/paced/manifests"


def killed_at(tmp_path: Path, calls: str, path: str | None, number: int) -> bool:
    """Run the job until the first of its threads comes to its `number`th such call, or to the job's end.

    It dies before the call is made. strace counts the calls of every thread by themselves: `path`, if
    given, counts only those on that file or folder. Returns whether the job was killed.
    """
    only = [] if path is None else ["-P", str(tmp_path / path)]
    inject = ["-e", f"trace={calls}", "-e", f"inject={calls}:signal=SIGKILL:when={number}"]
    job = command("run", f"{FLOWS}:flow", "--checkpoint-interval", "20ms", "--progress", "none")
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", os.devnull, *only, *inject, *job],
        cwd=tmp_path,
        env=environment(tmp_path / "out", rate=20_000),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    killed = done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert killed or done.returncode == 0, done.stderr
    return killed


@pytest.mark.real
@pytest.mark.parametrize(
    ("calls", "path", "least"),
    [
        ("fsync", None, 15),
        ("fsync", "out", 2),
        ("fsync", MANIFESTS, 2),
        ("link,linkat", None, 3),
        ("rename,renameat,renameat2", None, 2),
        ("unlink,unlinkat,rmdir", None, 6),
        ("mkdir,mkdirat", None, 5),
        ("write,pwrite64,writev", None, 10),
    ],
)
def test_a_kill_at_any_system_call_of_a_checkpoint_or_a_commit_loses_and_doubles_nothing(
    tmp_path, expected, calls, path, least
):
    """Killed at call 1, 2, 3, ... of a first run, and at the same call of the restart, then continued."""
    assert shutil.which("strace"), "to kill at system calls: apt-get install -y strace"
    for number in range(1, 1000):
        folder = tmp_path / str(number)
        folder.mkdir()
        life = Life(folder)
        killed = killed_at(folder, calls, path, number)
        life.look()
        killed_at(folder, calls, path, number)
        life.look()
        assert life.finish() == expected, f"killed at {calls} number {number}"
        shutil.rmtree(folder)
        if not killed:
            break
    assert number > least
