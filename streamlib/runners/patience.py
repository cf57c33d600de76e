"""Waiting between repetitions, by the runner's clock: tenacity decides, nothing else sleeps."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from streamlib.core.contracts import Clock
from streamlib.core.policies import Retry
from streamlib.core.time import SECOND

T = TypeVar("T")


class ClockPatience:
    """Waits by a clock (`Patience`). `seed` makes the jitter repeat; None: drawn."""

    def __init__(self, clock: Clock, seed: str | None = None) -> None:
        self._clock = clock
        self._chance = random.Random(seed)

    def begin(self, policy: Retry) -> ClockAttempts:
        """A batch begins."""
        return ClockAttempts(policy, self._clock, self._chance)


class ClockAttempts:
    """The repetitions of one batch; `within` counts from the first failure."""

    def __init__(self, policy: Retry, clock: Clock, chance: random.Random) -> None:
        self._policy = policy
        self._clock = clock
        self._chance = chance
        self._ends: float | None = None

    def again(self, error: Exception, call: Callable[[], T]) -> T:
        """See `Attempts`."""
        import tenacity  # noqa: PLC0415 - 20 ms that flows without retries don't pay

        policy, clock = self._policy, self._clock
        ends = self._ends = self._ends or clock.monotonic() + policy.within / SECOND
        first: list[Exception] = [error]

        def attempt() -> T:
            if first:
                raise first.pop()
            return call()

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(policy.on),
            wait=lambda state: policy.wait_before(state.attempt_number + 1, self._chance.random()),
            stop=lambda state: (
                state.attempt_number > policy.times or clock.monotonic() + state.upcoming_sleep > ends
            ),
            sleep=self._sleep,
            reraise=True,
        )(attempt)

    def _sleep(self, seconds: float) -> None:
        ends = self._clock.monotonic() + seconds
        while (left := ends - self._clock.monotonic()) > 1e-6:  # a clock that is woken returns early
            self._clock.wait(left)
