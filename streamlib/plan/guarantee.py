"""What a flow can promise from end to end, computed from what its ends can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from streamlib.plan.bind import BoundFlow

Level = Literal["exactly-once", "at-least-once", "at-most-once"]
_SOURCES: dict[str, Level] = {
    "replayable": "exactly-once",
    "acknowledging": "at-least-once",  # until a stable message id is kept in state
    "lossy": "at-most-once",
}
_SINKS: dict[str, Level] = {
    "staged": "exactly-once",
    "write_ahead": "exactly-once",
    "idempotent": "exactly-once",
    "at_least_once": "at-least-once",
}
_RANK: dict[Level, int] = {"exactly-once": 2, "at-least-once": 1, "at-most-once": 0}


@dataclass(frozen=True)
class Guarantee:
    """The promise, and the end that keeps it from being a better one (None if it is the best)."""

    level: Level
    weakest: str | None

    def __str__(self) -> str:
        return self.level if self.weakest is None else f"{self.level} (because of {self.weakest})"


def guarantee_of(flow: BoundFlow) -> Guarantee:
    """The guarantee of the whole flow: that of its weakest end."""
    ends: list[tuple[Level, str]] = []
    for name, (_, read) in flow.reads().items():
        ends.append((_SOURCES[read.source.replay], f"source {name!r}, which is {read.source.replay}"))
    for name, (_, write) in flow.writes().items():
        delivery = write.sink.delivery
        ends.append((_SINKS[delivery], f"sink {name!r}, which is {delivery.replace('_', '-')}"))
    level, weakest = min(ends, key=lambda end: _RANK[end[0]])
    return Guarantee(level, None if level == "exactly-once" else weakest)
