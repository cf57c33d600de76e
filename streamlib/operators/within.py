"""Limits the rows of a flow's sources to a span of event time, for backfills."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from streamlib.core.errors import EventTimeError
from streamlib.core.expressions import Expr, event_time, lit
from streamlib.core.span import Span
from streamlib.operators.stateless import Filter
from streamlib.plan.bind import ordered
from streamlib.plan.flow import Flow
from streamlib.plan.node import Node, Port, Read
from streamlib.plan.stream import Written


@dataclass(frozen=True, eq=False)
class Within(Filter):
    """The rows whose event time lies in a span."""

    kind: ClassVar[str] = "within"


def within(flow: Flow, span: Span) -> Flow:
    """The same flow over the rows of its sources that lie in the span.

    Raises `EventTimeError` for a source without event time. Nothing below changes its name in checkpoints.
    """
    copies: dict[int, Node] = {}
    ends = [sink.node for sink in flow.sinks]
    for node in ordered(ends):
        copy = replace(node, inputs=tuple(Port(copies[id(p.node)], p.output) for p in node.inputs))
        copies[id(node)] = _limited(copy, node.spec, span) if isinstance(node.spec, Read) else copy
    return Flow(flow.name, *(Written(copies[id(end)]) for end in ends), settings=flow.settings)


def _limited(node: Node, read: Read, span: Span) -> Node:
    if read.event_time is None:
        raise node.blame(
            EventTimeError(
                f"source {node.title!r} has no event time, so no span of it can be chosen",
                expected="sources with an event time where `start` or `end` is given",
                found="a source read without `event_time=`",
                remedy="give `event_time=` and `watermark=` to `sl.read`, or leave `start` and `end` out",
            )
        )
    return Node(Within(_condition(span)), (Port(node),), None, node.where)


def _condition(span: Span) -> Expr:
    after = None if span.start is None else event_time() >= lit(span.start)
    before = None if span.end is None else event_time() < lit(span.end)
    if after is None or before is None:
        return after if after is not None else before if before is not None else lit(True)
    return after & before
