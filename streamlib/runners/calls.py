"""Calls to the outside that operators want made: when they begin, how long they may take, and again.

Whoever makes them is a `Caller`; the local one makes them in the event loop, beside the rows.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from streamlib.core.contracts import Answer, Effect
from streamlib.core.errors import CallTimeoutError, UserFunctionError, shown
from streamlib.core.rates import Rate
from streamlib.core.time import SECOND, show_duration
from streamlib.runners.event_loop import event_loop
from streamlib.runners.patience import Sleep, awaited_again
from streamlib.runtime.engine import Call

CLOSE_TIMEOUT = 5.0  # seconds that cancelled calls get to clean up


class Caller(Protocol):
    """Makes calls and keeps their answers until they are taken."""

    def begin(self, calls: Sequence[Call]) -> None:
        """Begin some calls. Never waits."""
        ...

    def answers(self) -> list[tuple[int, Answer]]:
        """What came since the last call, with the stages that asked."""
        ...

    def close(self) -> None:
        """Give up what has not been answered. Called once."""
        ...


class Attempts:
    """Makes calls one attempt after another; for one event loop.

    Args:
        now: a clock, in seconds.
        sleep: waits by that clock.
        chance: of the jitter between attempts.
    """

    def __init__(self, now: Callable[[], float], sleep: Sleep, chance: random.Random) -> None:
        self._now = now
        self._sleep = sleep
        self._chance = chance
        self._turns: dict[int, float] = {}

    async def answer(self, call: Call) -> Answer:
        """Make a call, again as the policy says; never raises."""
        try:
            return Answer(call.effect.number, await self._result(call))
        except asyncio.CancelledError as error:
            return Answer(call.effect.number, error=_cancelled(call.effect, error))
        except BaseException as error:  # whatever it is, the runner has to hear of it
            return Answer(call.effect.number, error=error)

    async def _result(self, call: Call) -> Any:
        try:
            return await self._attempt(call)
        except Exception as error:
            if call.retry is None or not isinstance(error, call.retry.on):
                raise
            failure = error
        return await awaited_again(
            call.retry, failure, lambda: self._attempt(call), self._now, self._sleep, self._chance
        )

    async def _attempt(self, call: Call) -> Any:
        effect = call.effect
        if effect.rate is not None:
            await self._turn(call.stage, effect.rate)
        limit = asyncio.timeout(effect.timeout / SECOND)
        try:
            async with limit:
                return await effect.function(effect.argument)
        except TimeoutError:
            if not limit.expired():
                raise
            raise _timed_out(effect) from None

    async def _turn(self, stage: int, rate: Rate) -> None:
        """Wait for the next time at which an attempt of the stage may begin."""
        now = self._now()
        begins = max(now, self._turns.get(stage, now))
        self._turns[stage] = begins + rate.spacing
        if begins > now:
            await self._sleep(begins - now)


def _timed_out(effect: Effect) -> CallTimeoutError:
    return CallTimeoutError(
        "a call did not answer in time",
        expected=f"an answer within {show_duration(effect.timeout)}",
        found=f"none, for the record {shown(effect.argument)}",
        remedy='give a longer `timeout=`, or on_error=sl.retry(), "skip" or sl.dead_letter(sink)',
    )


def _cancelled(effect: Effect, error: BaseException) -> UserFunctionError:
    found = UserFunctionError(
        "a call was cancelled by the code that it called",
        expected="a result, or an exception",
        found=f"asyncio.CancelledError, for the record {shown(effect.argument)}",
        remedy="catch it where something is cancelled, and raise what went wrong",
    )
    found.__cause__ = error
    return found


class LoopCaller:
    """Makes calls in the event loop of the process; `wake` is called behind answers, from its thread."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._loop = event_loop()
        self._attempts = Attempts(self._loop.loop.time, asyncio.sleep, random.Random())
        self._answers: deque[tuple[int, Answer]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._waking = False

    def begin(self, calls: Sequence[Call]) -> None:
        """See `Caller`."""
        if calls:
            self._loop.loop.call_soon_threadsafe(self._start, calls)

    def _start(self, calls: Sequence[Call]) -> None:
        for call in calls:
            task = self._loop.loop.create_task(self._make(call))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _make(self, call: Call) -> None:
        self._answers.append((call.stage, await self._attempts.answer(call)))
        if not self._waking:  # once for all that are answered together
            self._waking = True
            self._loop.loop.call_soon(self._wake_up)

    def _wake_up(self) -> None:
        self._waking = False
        self._wake()

    def answers(self) -> list[tuple[int, Answer]]:
        """See `Caller`."""
        return [self._answers.popleft() for _ in range(len(self._answers))]

    def close(self) -> None:
        """See `Caller`."""
        with suppress(TimeoutError):
            self._loop.submit(self._cancel()).result(CLOSE_TIMEOUT)

    async def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
