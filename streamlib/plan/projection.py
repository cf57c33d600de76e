"""Projection: which columns of its sources a flow needs, so that no others are read.

Runners ask for it; plans show flows as they were described. Results, lateness and watermarks stay
the same, since only columns that nobody looks at are left out.
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from streamlib.core.contracts import OperatorSpec, Projects, StreamType
from streamlib.core.expressions import columns
from streamlib.core.policies import dead_letter_of
from streamlib.plan.bind import BoundFlow, BoundNode, rebound
from streamlib.plan.node import Read

Wanted = frozenset[str] | None
"""Columns that are read of an output; None: all of them."""
NOTHING: Wanted = frozenset()


def projected(flow: BoundFlow) -> BoundFlow:
    """The same flow over sources that give no columns in vain."""
    reads: dict[int, tuple[Read, StreamType]] = {}
    for i, kept in columns_to_read(flow).items():
        spec, stream = flow.nodes[i].node.spec, flow.nodes[i].output_types[0]
        assert isinstance(spec, Read)
        assert isinstance(spec.source, Projects)
        schema = pa.schema([stream.schema.field(name) for name in kept])
        reads[i] = replace(spec, source=spec.source.project(kept)), replace(stream, schema=schema)
    return rebound(flow, reads) if reads else flow


def columns_to_read(flow: BoundFlow) -> dict[int, list[str]]:
    """By the index of a source that can spare columns: those it has to read, where they are not all."""
    wanted = _wanted(flow)
    found: dict[int, list[str]] = {}
    for i, bound in enumerate(flow.nodes):
        spec = bound.node.spec
        if not isinstance(spec, Read) or not isinstance(spec.source, Projects):
            continue
        if dead_letter_of(bound.node.on_error) is None:  # a letter holds the whole record
            kept = _kept(spec, wanted.get((i, 0), NOTHING), bound.output_types[0].schema)
            if kept is not None:
                found[i] = kept
    return found


def _wanted(flow: BoundFlow) -> dict[tuple[int, int], Wanted]:
    """What is read of every output, by the index of its node and its number, from the sinks up."""
    wanted: dict[tuple[int, int], Wanted] = {}
    for i, found in reversed(list(enumerate(flow.nodes))):
        reads = _reads(
            found, [wanted.get((i, port), NOTHING) for port in range(len(found.node.spec.outputs))]
        )
        for port in found.inputs:
            before = wanted.get(port, NOTHING)
            wanted[port] = None if reads is None or before is None else before | reads
    return wanted


def _reads(found: BoundNode, wanted: list[Wanted]) -> Wanted:
    spec = found.node.spec
    if not isinstance(spec, OperatorSpec) or len(found.inputs) != 1:
        return None  # sinks take whole rows; of several inputs the columns have to stay alike
    if dead_letter_of(found.node.on_error) is not None:
        return None  # a letter holds the whole record
    return spec.reads(wanted, found.input_types)


def _kept(read: Read, wanted: Wanted, schema: pa.Schema) -> list[str] | None:
    """The columns to read, in their order: at least one, for the number of rows; None for all."""
    if wanted is None:
        return None
    needed = wanted if read.event_time is None else wanted | columns(read.event_time)
    kept = [name for name in schema.names if name in needed] or [_smallest(schema)]
    return None if len(kept) == len(schema) else kept


def _smallest(schema: pa.Schema) -> str:
    """A column that costs little to read."""
    plain = [field.name for field in schema if pa.types.is_primitive(field.type)]
    return (plain or schema.names)[0]
