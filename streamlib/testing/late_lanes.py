"""Lanes of a simulated world: their calls run some steps later, in order, as a thread's would."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any

from streamlib.runners.lanes import QUEUE_LIMIT, InlineLane

LONGEST_DELAY = 6  # steps: a checkpoint has four stages, and a small input is read in a hundred steps


class LateLanes:
    """The lanes of one attempt. They get on at every `step`: when a source is read, when the job waits.

    In half of the attempts all calls run at once: more checkpoints are taken there.

    Args:
        chance: of the delays.
        during: marks the moments of a call as those of a phase, by its name.
    """

    def __init__(self, chance: random.Random, during: Callable[[str], AbstractContextManager[None]]) -> None:
        self.chance = chance
        self.longest = chance.choice([0, LONGEST_DELAY])
        self.during = during
        self.steps = 0
        self._lanes: list[LateLane] = []

    def lane(self, owner: str) -> LateLane:
        """One more lane."""
        self._lanes.append(LateLane(self, owner))
        return self._lanes[-1]

    def step(self) -> None:
        """Time for the calls that are due."""
        self.steps += 1
        for lane in self._lanes:
            lane.run_due()


class LateLane(InlineLane):
    """Some calls run at once unless others wait before them, the others some steps later."""

    def __init__(self, lanes: LateLanes, owner: str) -> None:
        self._lanes = lanes
        self._owner = owner
        self._queue: deque[tuple[int, Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()

    @property
    def full(self) -> bool:  # type: ignore[override]
        """Whether `QUEUE_LIMIT` calls wait."""
        return len(self._queue) >= QUEUE_LIMIT

    @property
    def waiting(self) -> int:  # type: ignore[override]
        """The length of the queue."""
        return len(self._queue)

    def submit(self, call: Callable[..., Any], *args: Any) -> Future[Any]:
        """Queue the call, and run what is due."""
        chance = self._lanes.chance
        delay = 0 if chance.random() < 0.5 else chance.randint(0, self._lanes.longest)
        future: Future[Any] = Future()
        self._queue.append((self._lanes.steps + delay, future, call, args))
        self.run_due()
        return future

    def run_due(self) -> None:
        """Run the calls whose time has come, each as a phase that is called like it."""
        while self._queue and self._queue[0][0] <= self._lanes.steps:
            self._run_first()

    def close(self, timeout: float) -> bool:
        """Run what is left."""
        while self._queue:
            self._run_first()
        return True

    def _run_first(self) -> None:
        _, future, call, args = self._queue.popleft()
        with self._lanes.during(f"{self._owner} {call.__name__.strip('_')}"):
            done = super().submit(call, *args)
        error = done.exception()
        if error is None:
            future.set_result(done.result())
        else:
            future.set_exception(error)
