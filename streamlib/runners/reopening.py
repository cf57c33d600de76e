"""Sources that can't be reached: when a partition is opened again, under `sl.retry` of its read."""

from __future__ import annotations

import random

from streamlib.core.contracts import Clock
from streamlib.core.policies import Retry
from streamlib.core.time import SECOND
from streamlib.runtime.source_input import SourceInput


class Reopening:
    """Counts failures by partition, and says when to try again. Rows that flow again end the count.

    Attributes:
        failed: how often partitions failed one time after another, and since when.
        due: those that wait to be opened again, and until when.
    """

    def __init__(self, clock: Clock, seed: str | None = None) -> None:
        self._clock = clock
        self._chance = random.Random(seed)
        self.failed: dict[tuple[str, str], tuple[int, float]] = {}
        self.due: dict[tuple[str, str], tuple[float, SourceInput]] = {}

    def put_off(self, source: SourceInput, partition: str, error: Exception) -> bool:
        """A partition could not be opened or read; whether the policy tries it again."""
        policy = source.bound.node.on_error
        if not isinstance(policy, Retry) or not isinstance(error, policy.on):
            return False
        now, key = self._clock.monotonic(), (source.name, partition)
        times, since = self.failed.get(key, (0, now))
        wait = policy.wait_before(times + 2, self._chance.random())
        if times >= policy.times or now + wait - since > policy.within / SECOND:
            error.add_note(f"partition {partition!r} was opened again {times} times, in {now - since:.1f} s")
            return False
        self.failed[key] = times + 1, since
        self.due[key] = now + wait, source
        return True

    def take_due(self) -> list[tuple[SourceInput, str]]:
        """The partitions whose time has come."""
        now = self._clock.monotonic()
        found = [(key, source) for key, (time, source) in self.due.items() if time <= now]
        for key, _ in found:
            del self.due[key]
        return [(source, partition) for (_, partition), source in found]

    def waits(self, source: SourceInput, partition: str) -> bool:
        """Whether the partition is to be opened again."""
        return (source.name, partition) in self.due

    def works(self, source: SourceInput, partition: str) -> None:
        """Rows came."""
        self.failed.pop((source.name, partition), None)
