"""What a running job tells of itself, and what is left to say when it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from streamlib.runtime.pipeline import Mode

Outcome = Literal["finished", "drained", "already finished"]


@dataclass(frozen=True)
class Stats:
    """What a running job knows of itself; times are microseconds, seconds are processing time."""

    mode: Mode
    rows: int
    rows_read: int
    total_rows: int | None
    seconds: float
    newest: int
    watermark: int
    late_rows: int
    checkpoints: int
    last_checkpoint: int


class Progress(Protocol):
    """Shows how a job goes."""

    def update(self, stats: Stats) -> None:
        """Called often; decides by itself whether to show anything."""
        ...

    def close(self, stats: Stats) -> None:
        """Called once at the end."""
        ...


class Silent:
    """Shows nothing."""

    def update(self, stats: Stats) -> None:
        """Show nothing."""

    def close(self, stats: Stats) -> None:
        """Show nothing."""


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
