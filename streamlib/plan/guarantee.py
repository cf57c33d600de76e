"""What a flow can promise from end to end, computed from what its ends can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from streamlib.core.errors import DefinitionError
from streamlib.core.settings import GuaranteeLevel as Level
from streamlib.plan.bind import BoundFlow

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


@dataclass(frozen=True)
class End:
    """A source or sink, what it can do (`replayable`, `staged`, ...), and what that is good for."""

    role: Literal["source", "sink"]
    name: str
    ability: str
    level: Level


def ends_of(flow: BoundFlow) -> tuple[End, ...]:
    """The ends of a flow, sources first."""
    sources = [
        End("source", name, read.source.replay, _SOURCES[read.source.replay])
        for name, (_, read) in flow.reads().items()
    ]
    sinks = [
        End("sink", name, write.sink.delivery.replace("_", "-"), _SINKS[write.sink.delivery])
        for name, (_, write) in flow.writes().items()
    ]
    return (*sources, *sinks)


def guarantee_of(flow: BoundFlow) -> Guarantee:
    """The guarantee of the whole flow: that of its weakest end."""
    end = min(ends_of(flow), key=lambda end: _RANK[end.level])
    if end.level == "exactly-once":
        return Guarantee(end.level, None)
    return Guarantee(end.level, f"{end.role} {end.name!r}, which is {end.ability}")


def require(flow: BoundFlow, level: Level) -> None:
    """Raise `DefinitionError` where the flow can't promise `level`, naming the ends that keep it from it."""
    weak = [end for end in ends_of(flow) if _RANK[end.level] < _RANK[level]]
    if not weak:
        return
    found = ", ".join(f"{end.role} {end.name!r} is {end.ability}" for end in weak)
    node = next(bound.node for bound in flow.nodes if bound.id == weak[0].name)
    raise DefinitionError(
        f"the flow can't give the guarantee {level!r} that was asked for",
        expected=f"sources that are {_good(_SOURCES, level)}, sinks that are {_good(_SINKS, level)}",
        found=f"{guarantee_of(flow).level}, because {found}",
        remedy=f"use another {weak[0].role}, or ask for {guarantee_of(flow).level!r}",
    ).at(weak[0].name, node.where)


def _good(abilities: dict[str, Level], level: Level) -> str:
    good = [ability.replace("_", "-") for ability, own in abilities.items() if _RANK[own] >= _RANK[level]]
    return " or ".join(good)
