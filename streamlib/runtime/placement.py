"""Where operators work when several workers share a flow."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from streamlib.core.contracts import Asks, Operator, OperatorSpec
from streamlib.plan.bind import BoundFlow
from streamlib.runtime.engine import Stage


class Placement(enum.Enum):
    """Which worker gets a row."""

    ANYWHERE = "anywhere"
    """The one that has it."""
    BY_KEY = "by key"
    """The owner of its key's group."""
    SINGLE = "single"
    """The first."""
    BESIDE = "beside"
    """None: it works where rows are dealt out, and what it sends on is dealt out again."""


def placement(stage: Stage) -> Placement:
    """Where a stage works. What looks at the watermark sees all rows, or those of its keys, in one place."""
    spec, operator = stage.bound.node.spec, stage.operator
    if operator is None or not isinstance(spec, OperatorSpec):
        return Placement.ANYWHERE
    if isinstance(operator, Asks):
        return Placement.BESIDE
    if spec.stateful and spec.keyed:
        return Placement.BY_KEY
    return Placement.SINGLE if spec.stateful or _watches_time(operator) else Placement.ANYWHERE


def _watches_time(operator: Operator) -> bool:
    mine = type(operator)
    return (
        mine.on_watermark is not Operator.on_watermark or mine.deadline_after is not Operator.deadline_after
    )


def levels(flow: BoundFlow, places: Sequence[Placement]) -> list[int]:
    """By stage, how many exchanges rows pass at most on their way into it, its own included."""
    found: list[int] = []
    for bound, place in zip(flow.nodes, places, strict=True):
        above = max((found[number] for number, _ in bound.inputs), default=0)
        found.append(above + (place is not Placement.ANYWHERE))
    return found
