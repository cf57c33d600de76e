"""What a running job tells of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from streamlib.runtime.pipeline import Mode


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
