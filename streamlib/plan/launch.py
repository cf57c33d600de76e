"""How a flow reaches the runners without the plan knowing them: they register themselves here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import pyarrow as pa

from streamlib.core.errors import InvariantError
from streamlib.core.time import Duration

Outcome = Literal["finished", "drained", "already finished"]
ProgressStyle = Literal["auto", "live", "plain", "none"]


@dataclass(frozen=True)
class JobOptions:
    """How a job is run.

    Attributes:
        state: folder of the job's state. Default: `.streamlib/<flow>` (`.streamlib/<flow>.backfill`
            for a batch run) below the working directory.
        checkpoint_interval: time between checkpoints. Output appears at checkpoints.
        takeover: take the job from a process that still runs.
        finish: when stopped, close all windows and end the job for good.
        drain_timeout: how long a stop may take.
    """

    state: str | None = None
    checkpoint_interval: Duration = "10s"
    takeover: bool = False
    finish: bool = False
    drain_timeout: Duration = "60s"


@dataclass(frozen=True)
class JobResult:
    """How a run ended.

    Attributes:
        outcome: `finished` (all input read, all windows closed), `drained` (stopped; can go on), or
            `already finished` (an earlier run had finished; nothing was read).
        job: the job's id; it begins the names of published files.
        rows: rows that entered since the job began.
        rows_read: rows that entered in this run.
        late_rows: rows late for all their windows since the job began.
        checkpoints: checkpoints completed in this run.
        last_checkpoint: number of the last completed checkpoint.
        restored_from: number of the checkpoint this run went on from, or None.
        seconds: how long `run` took.
    """

    outcome: Outcome
    job: str
    rows: int
    rows_read: int
    late_rows: int
    checkpoints: int
    last_checkpoint: int
    restored_from: int | None
    seconds: float


class Launcher(Protocol):
    """What `Flow.run`, `Flow.backfill` and `collect` call.

    Flows and streams are `Any` here: their modules call this one, so it can't name their types.
    """

    def run(self, flow: Any, options: JobOptions, progress: ProgressStyle) -> JobResult: ...
    def backfill(self, flow: Any, options: JobOptions, progress: ProgressStyle) -> JobResult: ...
    def collect(self, flow: Any) -> Mapping[str, pa.Table]: ...
    def collect_stream(self, stream: Any) -> pa.Table: ...


_launchers: list[Launcher] = []


def register(launcher: Launcher) -> None:
    """Make `launcher` the one that flows use; the face of the package does so when it is imported."""
    _launchers[:] = [launcher]


def launcher() -> Launcher:
    """The registered launcher."""
    if not _launchers:
        raise InvariantError("no runner is registered", remedy="import streamlib before running a flow")
    return _launchers[0]
