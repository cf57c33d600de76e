"""Paired rounds: contestants take turns, and what counts is the ratio within a round."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that the call took, and what it returned; garbage of before is collected first."""
    gc.collect()
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


def take_turns(
    contestants: Mapping[str, Callable[[], float]], rounds: int, after_round: Callable[[], None]
) -> list[dict[str, float]]:
    """Let every contestant report its seconds once a round; each round begins with the next one.

    A machine that becomes slower, or a cache that one leaves to the next, so hits all of them.
    """
    names = list(contestants)
    found = []
    for number in range(rounds):
        first = number % len(names)
        found.append({name: contestants[name]() for name in (*names[first:], *names[:first])})
        after_round()
    return found


@dataclass(frozen=True)
class Ratios:
    """The ratios of all rounds: their median is the result, their spread its uncertainty."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def verdict(self) -> str:
        """`faster` or `slower` where all rounds agree, else `equal`: the gap lies within the spread."""
        if min(self.values) > 1:
            return "faster"
        return "slower" if max(self.values) < 1 else "equal"

    def __str__(self) -> str:
        return f"{self.median:.2f} [{min(self.values):.2f}..{max(self.values):.2f}]"
