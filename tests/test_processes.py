"""Real processes, killed and frozen: what readers see is exact."""

from __future__ import annotations

import hashlib
import random
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.flows import table_rows
from tests.test_cli import FLOWS, ended, files, started, streamlib, until


def rows(tmp_path: Path) -> list[tuple]:
    return table_rows(pq.read_table(tmp_path / "out"))


def digests(tmp_path: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files(tmp_path)}


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> list[tuple]:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert streamlib(folder, "run", f"{FLOWS}:flow").returncode == 0
    return rows(folder)


def killed_and_continued(tmp_path: Path, chance: random.Random, kills: int) -> None:
    """Kill a paced job at random moments, then let it finish; nothing published may change."""
    seen: dict[str, str] = {}
    for _ in range(kills):
        process = started(tmp_path, "run", f"{FLOWS}:flow", rate=chance.choice([1000, 3000]))
        wanted = len(files(tmp_path)) + chance.randint(0, 3)
        moment = chance.uniform(0, 0.1)
        until(lambda wanted=wanted: len(files(tmp_path)) >= wanted, process)
        try:
            process.wait(moment)
        except Exception:
            process.kill()
        process.communicate()
        now = digests(tmp_path)
        assert seen.items() <= now.items()
        seen = now
    assert streamlib(tmp_path, "run", f"{FLOWS}:flow").returncode == 0
    assert seen.items() <= digests(tmp_path).items()


def test_a_job_killed_again_and_again_publishes_every_row_once(tmp_path, expected):
    killed_and_continued(tmp_path, random.Random(1), kills=3)
    assert rows(tmp_path) == expected


@pytest.mark.real
@pytest.mark.parametrize("seed", range(10))
def test_many_more_kills(tmp_path, expected, seed):
    killed_and_continued(tmp_path, random.Random(100 + seed), kills=3)
    assert rows(tmp_path) == expected


def test_a_frozen_predecessor_changes_nothing_when_it_wakes_up(tmp_path, expected):
    first = started(tmp_path, "run", f"{FLOWS}:flow", rate=500)
    until(lambda: len(files(tmp_path)) >= 2, first)
    first.send_signal(signal.SIGSTOP)
    assert streamlib(tmp_path, "run", f"{FLOWS}:flow", "--takeover").returncode == 0
    published = digests(tmp_path)
    assert rows(tmp_path) == expected
    first.send_signal(signal.SIGCONT)
    assert ended(first)[0] == 5
    assert digests(tmp_path) == published
