"""Waiting between repetitions, by the runner's clock: tenacity decides, nothing else sleeps."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from streamlib.core.contracts import Clock
from streamlib.core.policies import Retry
from streamlib.core.time import SECOND

T = TypeVar("T")

Sleep: TypeAlias = Callable[[float], Awaitable[None]]


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

        clock = self._clock
        ends = self._ends = self._ends or clock.monotonic() + self._policy.within / SECOND
        terms = _terms(self._policy, clock.monotonic, self._chance, ends)
        first: list[Exception] = [error]

        def attempt() -> T:
            if first:
                raise first.pop()
            return call()

        return tenacity.Retrying(sleep=self._sleep, **terms)(attempt)

    def _sleep(self, seconds: float) -> None:
        ends = self._clock.monotonic() + seconds
        while (left := ends - self._clock.monotonic()) > 1e-6:  # a clock that is woken returns early
            self._clock.wait(left)


async def awaited_again(
    policy: Retry,
    error: Exception,
    call: Callable[[], Awaitable[T]],
    now: Callable[[], float],
    sleep: Sleep,
    chance: random.Random,
) -> T:
    """The result of `call`, which raised `error` at first; raises the last error."""
    import tenacity  # noqa: PLC0415 - see above

    first: list[Exception] = [error]

    async def attempt() -> T:
        if first:
            raise first.pop()
        return await call()

    terms = _terms(policy, now, chance, now() + policy.within / SECOND)
    return await tenacity.AsyncRetrying(sleep=sleep, **terms)(attempt)


def _terms(policy: Retry, now: Callable[[], float], chance: random.Random, ends: float) -> dict[str, Any]:
    """What tenacity has to know."""
    import tenacity  # noqa: PLC0415 - see above

    return {
        "retry": tenacity.retry_if_exception_type(policy.on),
        "wait": lambda state: policy.wait_before(state.attempt_number + 1, chance.random()),
        "stop": lambda state: state.attempt_number > policy.times or now() + state.upcoming_sleep > ends,
        "reraise": True,
    }
