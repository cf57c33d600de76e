"""A streaming job that is killed in the middle and started again, watched from outside."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import streamlib as sl
from flights_parts.places import Places
from flights_parts.report import Findings

PART = 1 / 3  # of the result must be published before the kill: far from both ends
PATIENCE = 120.0  # seconds for that; ten times what a paced run takes
LOOK_EVERY = 0.02  # seconds
_CHECKPOINT = re.compile(r"-(\d{8})-\d{3}\.parquet$")  # <job>-<sink>-<checkpoint>-<sequence>.parquet


@dataclass(frozen=True)
class Published:
    """A file that readers see, and all that would show if anybody touched it."""

    name: str
    checkpoint: int
    rows: int
    size: int
    modified_ns: int
    inode: int
    sha256: str


def published(folder: Path) -> list[Published]:
    """All files of all sinks in `folder`."""
    return [_looked_at(path, folder) for path in sorted(folder.glob("*/*.parquet")) if _checkpoint(path)]


def _looked_at(path: Path, folder: Path) -> Published:
    found = path.stat()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    name = str(path.relative_to(folder))
    return Published(
        name, _checkpoint(path), _rows(path), found.st_size, found.st_mtime_ns, found.st_ino, digest
    )


def _checkpoint(path: Path) -> int:
    """The checkpoint that published a file, 0 for the files in staging folders."""
    found = _CHECKPOINT.search(path.name)
    return int(found[1]) if found else 0


def _rows(path: Path) -> int:
    return pq.read_metadata(path).num_rows


def kill_in_the_middle(command: Sequence[str], places: Places, total: int) -> list[Published]:
    """Start a process, kill it once two checkpoints and a good part of the windows are published.

    Args:
        command: what to start.
        places: where it publishes.
        total: how many hourly windows it would publish if nobody killed it.

    Returns:
        The files that were published when it died.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _wait_for_the_middle(process, places.crash / "hourly", total)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        code = process.wait()
    if code != -signal.SIGKILL:
        raise sl.StreamlibError("the process was to die of SIGKILL", found=f"exit code {code}")
    return published(places.crash)


def _wait_for_the_middle(process: subprocess.Popen[bytes], folder: Path, total: int) -> None:
    deadline = time.monotonic() + PATIENCE
    rows: dict[Path, int] = {}
    while len(rows) < 2 or sum(rows.values()) < total * PART:
        if process.poll() is not None or time.monotonic() > deadline:
            ended = process.returncode is not None
            raise sl.StreamlibError(
                "the paced run could not be killed in its middle",
                expected="two checkpoints with published rows and a third of all windows, while it runs",
                found=f"{len(rows)} files with {sum(rows.values()):,} of {total:,} windows, "
                + (
                    f"and it ended with exit code {process.returncode}"
                    if ended
                    else f"after {PATIENCE:.0f} s"
                ),
                remedy="look at its messages above" if ended else "give it more time with a larger --pace",
            )
        time.sleep(LOOK_EVERY)
        for path in folder.glob("*.parquet"):
            if path not in rows:
                rows[path] = _rows(path)


def start_again(command: Sequence[str]) -> dict[str, Any]:
    """Start the job once more, to its end; the fields of its `JobResult`."""
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise sl.StreamlibError(
            "the second start failed",
            found=f"exit code {done.returncode}",
            remedy="look at its messages above",
        )
    return json.loads(done.stdout)


def check(
    before: list[Published],
    after: list[Published],
    again: dict[str, Any],
    total: int,
    places: Places,
    shown: Findings,
) -> None:
    """Hold the two starts against what exactly-once promises."""
    with_rows = sorted({file.checkpoint for file in before if file.rows})
    shown.add(
        len(with_rows) >= 2,
        f"killed after {len(with_rows)} checkpoints with published rows ({with_rows[0]} to {with_rows[-1]})",
    )
    shown.add(
        again["restored_from"] is not None and 0 < again["rows_read"] < total and again["rows"] == total,
        f"the second start went on from checkpoint {again['restored_from']} "
        f"and read {again['rows_read']:,} rows, not {total:,}",
    )
    shown.add(
        {file.name: file for file in before}.items() <= {file.name: file for file in after}.items(),
        f"all {len(before)} files published before the kill were left alone (inode, time, length, SHA-256)",
    )
    rows = 0
    for sink in places.sinks:
        undisturbed, continued = (
            _in_order(places.table("stream", sink)),
            _in_order(places.table("crash", sink)),
        )
        rows += continued.num_rows
        shown.require(continued.equals(undisturbed), f"{sink}: killed and continued = undisturbed")
    shown.add(
        True, f"killed and continued = undisturbed, row for row: {rows:,} rows in {len(places.sinks)} sinks"
    )


def _in_order(table: pa.Table) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in table.column_names]) if table.num_rows else table
