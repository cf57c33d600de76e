"""A plan as data: what a flow would do, for whoever draws it, prints it, compares it or stores it.

The structs are the documented shape of `streamlib plan --format json` (docs/plan.md). Text, Mermaid
and SVG are made of them and of nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from streamlib.core.contracts import KEY_GROUPS, OperatorSpec, StreamType, TakesChanges
from streamlib.core.errors import StreamlibError
from streamlib.core.expressions import Expr
from streamlib.core.settings import GuaranteeLevel as Level
from streamlib.core.time import show_duration
from streamlib.plan.bind import BoundFlow, BoundNode, bind_partly
from streamlib.plan.guarantee import End, ends_of, guarantee_of
from streamlib.plan.node import Node, Read, Write
from streamlib.plan.projection import columns_to_read
from streamlib.plan.pushdown import rows_to_read

VERSION = 1
"""Of the JSON's shape. New fields leave it as it is; it rises when one changes its meaning or goes."""

Role = Literal["source", "operator", "sink"]


class Column(msgspec.Struct, frozen=True):
    """A column: its type is Arrow's name of it."""

    name: str
    type: str
    nullable: bool


class Changes(msgspec.Struct, frozen=True):
    """Of a stream of changes: the columns that name a row of the table; None where they are not known."""

    identity: tuple[str, ...] | None


class Rows(msgspec.Struct, frozen=True):
    """What flows along an edge.

    Attributes:
        columns: the user's columns.
        event_time: whether rows carry an event time, and a watermark goes with them.
        keys: the columns that key the stream; empty where it is not keyed.
        changelog: None where the stream is append-only.
        lateness: how far behind the watermark rows may come because an operator above allows it.
    """

    columns: tuple[Column, ...]
    event_time: bool
    keys: tuple[str, ...]
    changelog: Changes | None
    lateness: str | None


class Input(msgspec.Struct, frozen=True):
    """Where rows come from: an output of another operator. `rows` is None where that does not bind."""

    operator: str
    output: str
    rows: Rows | None


class Output(msgspec.Struct, frozen=True):
    """An output by its name, `out` for the main one."""

    name: str
    rows: Rows | None


class State(msgspec.Struct, frozen=True):
    """State that checkpoints hold: `keys` own it, spread over `key_groups`; without keys it is in one.

    `keeps` says what of every row is in it (None: less than that, however many rows come), `grows` how it
    grows for ever, and what would bound it.
    """

    keys: tuple[str, ...]
    key_groups: int
    keeps: str | None
    grows: str | None


class SourceEnd(msgspec.Struct, frozen=True):
    """What a source can do, and what it says of time.

    Attributes:
        replay: `replayable`, `acknowledging` or `lossy`.
        bounded: whether its rows end.
        guarantee: what a flow over this source can promise at most.
        event_time: the expression that gives a row's event time.
        watermark: how the watermark follows it.
        max_ahead: how far before the clock an event time may be.
        columns: the columns that are read, in their order, where the source spares the others.
        rows: what the rows are filtered by below, where the source leaves out what holds none that passes.
    """

    replay: str
    bounded: bool
    guarantee: Level
    event_time: str | None
    watermark: str | None
    max_ahead: str | None
    columns: tuple[str, ...] | None
    rows: str | None


class SinkEnd(msgspec.Struct, frozen=True):
    """What a sink can do.

    Attributes:
        delivery: `staged`, `write-ahead`, `idempotent` or `at-least-once`.
        takes: the kinds of streams it takes.
        guarantee: what a flow into this sink can promise at most.
    """

    delivery: str
    takes: tuple[str, ...]
    guarantee: Level


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A source, operator or sink.

    Attributes:
        id: its name in checkpoints, errors and progress.
        kind: `read`, `filter`, `aggregate`, ..., `write`.
        role: `source`, `operator` or `sink`.
        name: the name the user gave it.
        where: the user's source line that built it.
        settings: what it does, on one line.
        inputs: in their order.
        outputs: in their order; none for a sink.
        state: None for what keeps nothing.
        order_sensitive: why its result depends on the order of arrival.
        source: of a source.
        sink: of a sink.
        error: why it can't be bound.
    """

    id: str
    kind: str
    role: Role
    name: str | None
    where: str
    settings: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    state: State | None
    order_sensitive: str | None
    source: SourceEnd | None
    sink: SinkEnd | None
    error: str | None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A flow. `operators` stand after what they read; `guarantee` is None for a stream without sinks."""

    version: int = VERSION
    flow: str
    guarantee: Level | None
    weakest: str | None
    operators: tuple[Step, ...]


def describe(flow: BoundFlow, errors: Mapping[int, Exception] | None = None) -> Plan:
    """The plan of a bound flow; `errors` by index are those of `bind_partly`."""
    ends = {end.name: end for end in ends_of(flow)}
    guarantee = guarantee_of(flow) if flow.writes() else None
    found = errors or {}
    spared = _Spared({}, {}) if found else _Spared(columns_to_read(flow), rows_to_read(flow))
    return Plan(
        flow=flow.name,
        guarantee=None if guarantee is None else guarantee.level,
        weakest=None if guarantee is None else guarantee.weakest,
        operators=tuple(_step(flow, i, ends, spared, found.get(i)) for i in range(len(flow.nodes))),
    )


class _Spared(NamedTuple):
    """What sources read, by their index, where it is not all."""

    columns: Mapping[int, Sequence[str]]
    rows: Mapping[int, Expr]


def describe_partly(name: str, ends: Iterable[Node]) -> Plan:
    """The plan of what stands above `ends` (sinks or any nodes), also where it does not bind (yet)."""
    return describe(*bind_partly(name, ends))


def as_json(plan: Plan) -> str:
    """The plan as JSON, indented, with a line end."""
    return msgspec.json.format(msgspec.json.encode(plan), indent=2).decode() + "\n"


def _step(
    flow: BoundFlow, index: int, ends: Mapping[str, End], spared: _Spared, error: Exception | None
) -> Step:
    bound = flow.nodes[index]
    spec = bound.node.spec
    end = ends.get(bound.id)
    return Step(
        id=bound.id,
        kind=spec.kind,
        role="operator" if isinstance(spec, OperatorSpec) else "source" if isinstance(spec, Read) else "sink",
        name=bound.node.name,
        where=bound.node.where,
        settings=_settings(bound.node),
        inputs=tuple(_input(flow.nodes[i], output) for i, output in bound.inputs),
        outputs=tuple(Output(name, _rows(bound, i)) for i, name in enumerate(bound.node.outputs)),
        state=_state(bound, spec) if isinstance(spec, OperatorSpec) and spec.stateful else None,
        order_sensitive=spec.order_sensitive if isinstance(spec, OperatorSpec) else None,
        source=_source(spec, end, index, spared) if isinstance(spec, Read) and end else None,
        sink=_sink(spec, end) if isinstance(spec, Write) and end else None,
        error=None if error is None else _reason(error),
    )


def _settings(node: Node) -> str:
    spec = node.spec
    text = repr(spec.source) if isinstance(spec, Read) else spec.describe()
    if node.on_error == "fail":
        return text
    policy = node.on_error if isinstance(node.on_error, str) else repr(node.on_error)
    return f"{text}; on error {policy}" if text else f"on error {policy}"


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, StreamlibError) else f"{type(error).__name__}: {error}"


def _input(above: BoundNode, output: int) -> Input:
    return Input(above.id, above.node.outputs[output], _rows(above, output))


def _rows(bound: BoundNode, output: int) -> Rows | None:
    return rows_of(bound.output_types[output]) if output < len(bound.output_types) else None


def rows_of(stream: StreamType) -> Rows:
    """A stream's type as data."""
    columns = tuple(Column(field.name, str(field.type), field.nullable) for field in stream.schema)
    changelog = None if stream.changes is None else Changes(stream.changes.identity)
    lateness = show_duration(stream.lateness) if stream.lateness else None
    return Rows(columns, stream.event_time, stream.keys, changelog, lateness)


def _state(bound: BoundNode, spec: OperatorSpec) -> State:
    keys = bound.input_types[0].keys if spec.keyed and bound.input_types else ()
    keeps = spec.keeps(bound.input_types) if bound.output_types else None
    grows = spec.grows(bound.input_types) if bound.output_types else None
    return State(keys, KEY_GROUPS if keys else 1, keeps, grows)


_TAKES: Mapping[str | None, tuple[str, ...]] = {
    None: ("append-only",),
    "retract": ("append-only", "changelog"),
    "upsert": ("changelog with identity",),
}


def _sink(write: Write, end: End) -> SinkEnd:
    takes = write.sink.takes if isinstance(write.sink, TakesChanges) else None
    return SinkEnd(end.ability, _TAKES[takes], end.level)


def _source(read: Read, end: End, index: int, spared: _Spared) -> SourceEnd:
    columns, rows = spared.columns.get(index), spared.rows.get(index)
    return SourceEnd(
        end.ability,
        read.source.bounded,
        end.level,
        None if read.event_time is None else repr(read.event_time),
        None if read.watermark is None else read.watermark.describe(),
        None if read.max_ahead is None or read.event_time is None else show_duration(read.max_ahead),
        None if columns is None else tuple(columns),
        None if rows is None else repr(rows),
    )
