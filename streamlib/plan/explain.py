"""A flow in words: one line an operator, from the sources to the sinks."""

from __future__ import annotations

from streamlib.core.contracts import StreamType
from streamlib.plan.bind import BoundFlow, BoundNode
from streamlib.plan.guarantee import guarantee_of


def explain_flow(flow: BoundFlow) -> str:
    """The plan as text: ids, settings, inputs and output schemas, then the guarantee."""
    lines = [f"flow {flow.name}"]
    for bound in flow.nodes:
        lines += _node_lines(flow, bound)
    lines.append(f"guarantee: {guarantee_of(flow)}")
    return "\n".join(lines)


def _node_lines(flow: BoundFlow, bound: BoundNode) -> list[str]:
    spec = bound.node.spec
    inputs = ", ".join(_input_name(flow.nodes[i], output) for i, output in bound.inputs)
    head = f"  {bound.id}" if bound.id == spec.kind else f"  {bound.id} [{spec.kind}]"
    if inputs:
        head += f" <- {inputs}"
    lines = [head]
    description = spec.describe()
    if description:
        lines.append(f"      {description}")
    for name, stream_type in zip(spec.outputs, bound.output_types, strict=True):
        lines.append(f"      {name}: {show_type(stream_type)}")
    return lines


def _input_name(bound: BoundNode, output: int) -> str:
    return bound.id if output == 0 else f"{bound.id}.{bound.node.spec.outputs[output]}"


def show_type(stream_type: StreamType) -> str:
    """A stream's type on one line."""
    columns = ", ".join(f"{f.name} {f.type}" for f in stream_type.schema)
    marks = [f"keyed by {', '.join(stream_type.keys)}"] if stream_type.keys else []
    marks += [] if stream_type.event_time else ["no event time"]
    marks += [] if stream_type.changes is None else [stream_type.changes.describe()]
    return columns + (f" ({'; '.join(marks)})" if marks else "")
