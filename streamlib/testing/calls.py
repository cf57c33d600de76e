"""Calls of a simulated world: made at once, one by one, and answered some steps later, in any order."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from streamlib.core.contracts import Answer
from streamlib.runners.calls import Attempts
from streamlib.runners.event_loop import event_loop
from streamlib.runtime.engine import Call


class SimCaller:
    """Makes the calls of one attempt.

    Args:
        now: the simulated clock, in seconds.
        skip: lets simulated time pass.
        chance: decides when answers come.
        moment: counts a moment at which the world can end.
    """

    def __init__(
        self,
        now: Callable[[], float],
        skip: Callable[[float], None],
        chance: random.Random,
        moment: Callable[[str], None],
    ) -> None:
        async def sleep(seconds: float) -> None:
            skip(seconds)

        self._attempts = Attempts(now, sleep, chance)
        self._chance = chance
        self._moment = moment
        self._answers: list[tuple[int, Answer]] = []

    def begin(self, calls: Sequence[Call]) -> None:
        """See `Caller`."""
        for call in calls:
            self._moment("call")
            answer = event_loop().submit(self._attempts.answer(call)).result()
            self._answers.append((call.stage, answer))

    def answers(self) -> list[tuple[int, Answer]]:
        """See `Caller`: a random part of what is known."""
        if not self._answers:
            return []
        self._moment("answers")
        self._chance.shuffle(self._answers)
        count = self._chance.randint(0, len(self._answers))
        found, self._answers = self._answers[:count], self._answers[count:]
        return found

    def close(self) -> None:
        """See `Caller`."""
