"""Who is told how a running job goes."""

from __future__ import annotations

from typing import Protocol

from streamlib.plan.launch import Stats, Status


class Progress(Protocol):
    """Shows how a job goes."""

    def open(self) -> None:
        """Called once the job has started, by the thread that started it."""
        ...

    def update(self, stats: Stats) -> None:
        """Called often; decides by itself whether to show anything."""
        ...

    def close(self, stats: Stats) -> None:
        """Called once at the end."""
        ...

    def ended(self, status: Status, line: str) -> None:
        """Called after `close` for a job in the background, whose end nobody may be waiting for."""
        ...


class Silent:
    """Shows nothing."""

    def open(self) -> None:
        """Show nothing."""

    def update(self, stats: Stats) -> None:
        """Show nothing."""

    def close(self, stats: Stats) -> None:
        """Show nothing."""

    def ended(self, status: Status, line: str) -> None:
        """Show nothing."""
