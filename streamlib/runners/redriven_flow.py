"""The flow that a redrive runs: what lies below the operators that failed, fed by their letters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from streamlib.core.contracts import OperatorSpec, StreamType
from streamlib.core.errors import DefinitionError
from streamlib.core.expressions import col
from streamlib.core.watermarks import WatermarkStrategy
from streamlib.operators.stateless import Union
from streamlib.operators.stream import Stream
from streamlib.plan.bind import BoundFlow, BoundNode
from streamlib.plan.flow import Flow
from streamlib.plan.node import Node, Port, Read, Write, WriteLetters
from streamlib.plan.stream import Written
from streamlib.runners.letters_source import TIME, Addressed, LettersSource

MakeSource = Callable[[Addressed, StreamType, bool], LettersSource]
"""The source of the letters of an address, given the columns it takes, and whether they have event times."""


def redriven_flow(
    name: str,
    flow: BoundFlow,
    addresses: Iterable[Addressed],
    source: MakeSource,
    given: Mapping[str, object],
) -> Flow:
    """The part of a flow that letters to `addresses` reach.

    Operators keep their ids, so that what fails again has letters of the same operator. `given` are the
    sinks that the user named for this run.

    Raises `DefinitionError` where results of an operator with state would go to a sink that is not among
    them: they would be made of the redriven records alone.
    """
    return _Building(name, flow, frozenset(addresses), source, given).build()


class _Building:
    def __init__(
        self,
        name: str,
        flow: BoundFlow,
        addresses: frozenset[Addressed],
        source: MakeSource,
        given: Mapping[str, object],
    ) -> None:
        self._name = name
        self._flow = flow
        self._addresses = addresses
        self._source = source
        self._given = given
        self._copies: dict[int, Node] = {}
        self._stateful: dict[int, str] = {}
        """Of copies below an operator with state: its id."""

    def build(self) -> Flow:
        ends = []
        for i, bound in enumerate(self._flow.nodes):
            if isinstance(bound.node.spec, WriteLetters):
                continue  # binding makes them anew
            copy = self._copy(bound)
            if copy is None:
                continue
            self._copies[i] = copy
            self._note_state(i, bound)
            if isinstance(bound.node.spec, Write):
                ends.append(Written(copy))
        return Flow(self._name, *ends)

    def _copy(self, bound: BoundNode) -> Node | None:
        """The node over letters and over what is alive above it; None where there is neither."""
        spec, old = bound.node.spec, bound.node
        if isinstance(spec, Read):
            address = Addressed(bound.id, 0)
            if address not in self._addresses:
                return None
            source = self._source(address, bound.output_types[0], False)
            return Node(replace(spec, source=source), (), bound.id, old.where, old.on_error)
        inputs = [self._input(bound, port) for port in range(len(bound.inputs))]
        alive = [port for port in inputs if port is not None]
        if not alive:
            return None
        if len(alive) < len(inputs) and not isinstance(spec, Union):
            raise old.blame(
                DefinitionError(
                    f"records can't be redriven through {spec.kind}: its other inputs would have no rows",
                    expected="operators with one input, or a union, below the letters",
                    found=f"letters that reach {len(alive)} of its {len(inputs)} inputs",
                    remedy="read them with sl.read_dead_letters, and write them to the source",
                )
            )
        return Node(spec, tuple(alive), bound.id, old.where, old.on_error)

    def _input(self, bound: BoundNode, port: int) -> Port | None:
        above, output = bound.inputs[port]
        rows = Port(self._copies[above], output) if above in self._copies else None
        address = Addressed(bound.id, port)
        if address not in self._addresses:
            return rows
        letters = self._letters(address, bound.input_types[port])
        return letters.port if rows is None else letters.union(Stream(rows)).port

    def _letters(self, address: Addressed, stream: StreamType) -> Stream:
        """The records as they came to the operator: with their event times, keyed as they were."""
        source = self._source(address, stream, stream.event_time)
        read = Read(source)
        if stream.event_time:
            read = replace(read, event_time=col(TIME), watermark=WatermarkStrategy(0))
        suffix = f" {address.port}" if address.port else ""
        records = Stream(Port(Node(read, (), f"letters of {address.operator}{suffix}")))
        records = records.drop(TIME) if stream.event_time else records
        return records.key_by(*stream.keys) if stream.keys else records

    def _note_state(self, i: int, bound: BoundNode) -> None:
        """Remember what state lies above; refuse a sink of the flow below it."""
        spec = bound.node.spec
        above = [self._stateful[a] for a, _ in bound.inputs if a in self._stateful]
        if isinstance(spec, OperatorSpec) and spec.stateful:
            above.append(bound.id)
        if not above:
            return
        self._stateful[i] = above[0]
        if isinstance(spec, Write) and bound.id not in self._given:
            raise bound.node.blame(
                DefinitionError(
                    f"what {above[0]!r} makes of redriven records would be mixed with its earlier results",
                    expected="a sink of its own for what is made of the redriven records alone",
                    found=f"the flow's sink {bound.id!r} below an operator with state, which the redrive "
                    "does not share with the job",
                    remedy=f"name one: sl.redrive(..., sinks={{{bound.id!r}: parquet.sink(...)}}), and bring "
                    "the two together; or run the flow over its sources again",
                )
            )
