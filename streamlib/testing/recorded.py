"""The user's aggregates of a flow, with the rows that they were given in a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from streamlib.core.batch import Batch, Column
from streamlib.core.canonical import canonical
from streamlib.core.contracts import StreamType
from streamlib.operators.aggregate_function import AggregateFunction
from streamlib.operators.bound_aggregate import Aggregate, BoundAggregate, Vector
from streamlib.operators.grouping import Codes
from streamlib.operators.running_aggregate import RunningAggregate
from streamlib.operators.window_aggregate import WindowAggregate
from streamlib.plan.bind import rewritten
from streamlib.plan.flow import Flow
from streamlib.plan.node import Node
from streamlib.plan.stream import Written

MOST_ROWS = 500  # of an aggregate: enough for many groups of many rows, and few for functions in Python


@dataclass
class Recorded:
    """An aggregate of the user's, and some rows that it was given.

    Attributes:
        node: where it is used.
        aggregate: its description.
        bound: the aggregate at work, once the flow was bound.
        keys: the columns of the stream's key.
        batches: rows, at most `MOST_ROWS`.
    """

    node: Node
    aggregate: AggregateFunction
    bound: BoundAggregate | None = None
    keys: tuple[str, ...] = ()
    batches: list[Batch] = field(default_factory=list)

    def take(self, batch: Batch) -> None:
        """Remember rows, unless there are enough."""
        left = MOST_ROWS - sum(b.num_rows for b in self.batches)
        rows = Batch(batch.schema, batch.columns, batch.num_rows, batch.event_time)
        if left > 0 and rows.num_rows:
            self.batches.append(rows.slice(0, min(left, rows.num_rows)))


def recording(flow: Flow) -> tuple[Flow, list[Recorded]]:
    """The flow with its user's aggregates replaced by such as record their rows, and the records."""
    found: list[Recorded] = []
    specs: dict[int, Any] = {}
    for node in (bound.node for bound in flow.bind().nodes):
        if isinstance(node.spec, RunningAggregate | WindowAggregate):
            before = len(found)
            named = tuple((name, _recording(node, a, found)) for name, a in node.spec.aggregates)
            if len(found) > before:
                specs[id(node)] = replace(node.spec, aggregates=named)
    if not found:
        return flow, []
    return Flow(flow.name, *map(Written, rewritten([s.node for s in flow.sinks], specs))), found


def _recording(node: Node, aggregate: Aggregate, found: list[Recorded]) -> Aggregate:
    if not isinstance(aggregate, AggregateFunction):
        return aggregate
    found.append(Recorded(node, aggregate))
    return _Recording(found[-1])


class _Recording(Aggregate):
    """Is the aggregate, and looks on."""

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded
        self._aggregate = recorded.aggregate

    def bind(self, name: str, stream: StreamType) -> BoundAggregate:
        bound = self._aggregate.bind(name, stream)
        self._recorded.bound, self._recorded.keys = bound, stream.keys
        return _BoundRecording(bound, self._recorded)

    def reads(self) -> frozenset[str] | None:
        return self._aggregate.reads()

    @property
    def order_sensitive(self) -> str | None:
        return self._aggregate.order_sensitive

    def keeps(self, stream: StreamType) -> str | None:
        return self._aggregate.keeps(stream)

    def canonical(self) -> object:
        """Its state is that of the aggregate."""
        return canonical(self._aggregate)

    def __repr__(self) -> str:
        return repr(self._aggregate)


class _BoundRecording(BoundAggregate):
    def __init__(self, bound: BoundAggregate, recorded: Recorded) -> None:
        self.name, self.state, self.dtype = bound.name, bound.state, bound.dtype
        self._bound = bound
        self._recorded = recorded

    def partial(self, batch: Batch, codes: Codes, count: int, rows: Vector) -> list[Column]:
        self._recorded.take(batch)
        return self._bound.partial(batch, codes, count, rows)

    def merge(self, states: Sequence[Column], codes: Codes, count: int) -> list[Column]:
        return self._bound.merge(states, codes, count)

    def order_of(self, states: Sequence[Column], rows: Vector) -> Vector | None:
        return self._bound.order_of(states, rows)

    def finish(self, states: Sequence[Column]) -> Column:
        return self._bound.finish(states)

    def retracting(self, batch: Batch, codes: Codes, count: int, rows: Vector) -> list[Column]:
        return self._bound.retracting(batch, codes, count, rows)
