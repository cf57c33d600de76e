"""Everything a runner needs from outside, handed in as one value: the real world or a simulated one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from streamlib.core.contracts import Clock, Disk, Source, SourceReader
from streamlib.core.disk import LocalDisk
from streamlib.plan.bind import BoundFlow
from streamlib.runners.allocation import keep_freed_memory
from streamlib.runners.clock import RealClock
from streamlib.runners.crews import CrewKind, ThreadCrew
from streamlib.runners.feeds import READER_THREADS, Feed, InlineFeed, ThreadFeed
from streamlib.runners.lanes import Lane, ThreadLane
from streamlib.runners.pool import DaemonPool
from streamlib.runtime.crew import Crew

if TYPE_CHECKING:
    from streamlib.runners.calls import Caller


class World(Protocol):
    """Disk, clock, threads and randomness of a run."""

    @property
    def disk(self) -> Disk: ...
    @property
    def clock(self) -> Clock: ...

    def new_id(self) -> str:
        """16 hex digits that nobody else has."""
        ...

    def lane(self, name: str) -> Lane:
        """A serial executor for a sink or for the checkpoint store."""
        ...

    def feed(self, source: Source, reader: SourceReader) -> Feed:
        """A partition being read."""
        ...

    def crew(self, flow: BoundFlow, size: int, kind: CrewKind) -> Crew:
        """That many workers for a flow; they start when they get their first task."""
        ...

    def caller(self) -> Caller:
        """Who makes the calls to the outside that operators want."""
        ...

    def close(self) -> None:
        """End the threads that feeds use."""
        ...


class LocalWorld:
    """This machine: its disk, its clock, background threads."""

    def __init__(self) -> None:
        keep_freed_memory()
        self.disk: Disk = LocalDisk()
        self.clock = RealClock()
        """The machine's clock, woken by readers and lanes."""
        self._pool: DaemonPool | None = None

    @property
    def wake(self) -> Callable[[], None]:
        """Ends the runner's current wait."""
        return self.clock.wake

    def new_id(self) -> str:
        """16 random hex digits."""
        return secrets.token_hex(8)

    def lane(self, name: str) -> Lane:
        """A thread with a bounded queue."""
        return ThreadLane(name, self.clock.wake)

    def feed(self, source: Source, reader: SourceReader) -> Feed:
        """A background reader; sources in memory are read in place, where a thread would only cost."""
        if getattr(source, "immediate", False):
            return InlineFeed(reader)
        if self._pool is None:
            self._pool = DaemonPool(min(READER_THREADS, os.cpu_count() or 1), "reader")
        return ThreadFeed(reader, self._pool, self.clock.wake)

    def crew(self, flow: BoundFlow, size: int, kind: CrewKind) -> Crew:
        """Threads or processes."""
        if kind == "threads":
            return ThreadCrew(flow, size, self.clock.wake)
        # 20 ms that a run without worker processes does not pay
        from streamlib.runners.processes import ProcessCrew  # noqa: PLC0415

        return ProcessCrew(flow, size, self.clock.wake)

    def caller(self) -> Caller:
        """The event loop of this process."""
        # asyncio takes 30 ms that a run without calls does not pay
        from streamlib.runners.calls import LoopCaller  # noqa: PLC0415

        return LoopCaller(self.clock.wake)

    def close(self) -> None:
        """End the reader threads."""
        if self._pool is not None:
            self._pool.close()
