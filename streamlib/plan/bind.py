"""Binding: from a flow, a value, to a checked graph with types, ids and time domains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from streamlib.core.contracts import OperatorSpec, Sink, StreamType
from streamlib.core.errors import DefinitionError, StreamlibError, shown
from streamlib.plan.changes import check_changes
from streamlib.plan.dead_letters import LETTERS_TYPE, check_policy, dead_letter_ends, with_sink
from streamlib.plan.node import Node, Port, Read, Spec, Write


@dataclass(frozen=True)
class BoundNode:
    """A node with what binding found out about it.

    Attributes:
        node: the description.
        inputs: its inputs as (index of the bound node, output).
        input_types: types of the inputs.
        output_types: types of the outputs.
        id: stable name: the node's own, else from what is above it. It names state in checkpoints.
        sources: names of the sources above it.
    """

    node: Node
    inputs: tuple[tuple[int, int], ...]
    input_types: tuple[StreamType, ...]
    output_types: tuple[StreamType, ...]
    id: str
    sources: frozenset[str]


@dataclass(frozen=True)
class BoundFlow:
    """A checked flow: nodes in an order in which every node follows its inputs."""

    name: str
    nodes: tuple[BoundNode, ...]

    def reads(self) -> dict[str, tuple[BoundNode, Read]]:
        """The sources by name."""
        return {b.id: (b, b.node.spec) for b in self.nodes if isinstance(b.node.spec, Read)}

    def writes(self) -> dict[str, tuple[BoundNode, Write]]:
        """The sinks by name."""
        return {b.id: (b, b.node.spec) for b in self.nodes if isinstance(b.node.spec, Write)}


def bind_flow(name: str, sinks: Iterable[Node]) -> BoundFlow:
    """Check the graph above `sinks`: names, schemas, event time.

    Raises the first `StreamlibError` found, naming the operator and the line that built it.
    """
    nodes = _with_letters(ordered(sinks))
    _check_names(nodes)
    index: dict[int, int] = {}
    bound: list[BoundNode] = []
    ids: set[str] = set()
    for node in nodes:
        inputs = _indexed(node, index)
        index[id(node)] = len(bound)
        bound.append(_bind_node(node, inputs, bound, ids))
    return BoundFlow(name, tuple(_serving(bound)))


def _serving(bound: Sequence[BoundNode]) -> Iterable[BoundNode]:
    """The nodes, those whose first output has a single reader fitted to it."""
    readers: dict[tuple[int, int], list[Node]] = {}
    for above in bound:
        for port in above.inputs:
            readers.setdefault(port, []).append(above.node)
    for i, found in enumerate(bound):
        spec, only = found.node.spec, readers.get((i, 0), ())
        if isinstance(spec, OperatorSpec) and len(only) == 1 and isinstance(only[0].spec, OperatorSpec):
            node = replace(found.node, spec=spec.serving(only[0].spec))
            yield replace(found, node=node)
        else:
            yield found


def rebound(flow: BoundFlow, reads: Mapping[int, tuple[Read, StreamType]]) -> BoundFlow:
    """The same flow with other sources at some indices, of narrower types. Asks no source for its columns."""
    bound: list[BoundNode] = []
    for i, found in enumerate(flow.nodes):
        spec, types = found.node.spec, tuple(bound[above].output_types[port] for above, port in found.inputs)
        outputs = found.output_types
        if i in reads:
            spec, narrow = reads[i]
            outputs = (narrow, *outputs[1:])
        elif isinstance(spec, OperatorSpec) and types != found.input_types:
            spec = spec.narrowed(types[0]) if len(types) == 1 else spec
            outputs = (*spec.bind(types), *outputs[len(spec.outputs) :])
        node = replace(found.node, spec=spec)
        bound.append(replace(found, node=node, input_types=types, output_types=outputs))
    return BoundFlow(flow.name, tuple(bound))


def bind_partly(name: str, ends: Iterable[Node]) -> tuple[BoundFlow, Mapping[int, Exception]]:
    """Bind what can be bound above `ends`, for pictures of flows that are not ready to run.

    Returns the flow and, by index, the errors of the nodes that have one. Those nodes, and all below
    them, have no types.
    """
    index: dict[int, int] = {}
    bound: list[BoundNode] = []
    errors: dict[int, Exception] = {}
    ids: set[str] = set()
    for node in _with_letters(ordered(ends)):
        inputs = _indexed(node, index)
        index[id(node)] = len(bound)
        if all(bound[i].output_types for i, _ in inputs):
            try:
                bound.append(_bind_node(node, inputs, bound, ids))
                continue
            except Exception as error:  # of a connector that is not ours it can be any
                errors[len(bound)] = error
        bound.append(BoundNode(node, inputs, (), (), *_identity(node, inputs, bound, ids)))
    return BoundFlow(name, tuple(bound)), errors


def _with_letters(nodes: list[Node]) -> list[Node]:
    return nodes + dead_letter_ends(nodes)


def _indexed(node: Node, index: Mapping[int, int]) -> tuple[tuple[int, int], ...]:
    return tuple((index[id(port.node)], port.output) for port in node.inputs)


def ordered(sinks: Iterable[Node]) -> list[Node]:
    """The nodes above `sinks`, inputs first, each once."""
    done: dict[int, Node] = {}

    def visit(first: Node) -> None:
        stack: list[tuple[Node, bool]] = [(first, False)]
        while stack:
            node, inputs_done = stack.pop()
            if id(node) in done:
                continue
            if inputs_done:
                done[id(node)] = node
            else:
                stack.append((node, True))
                stack.extend((port.node, False) for port in reversed(node.inputs))

    for sink in sinks:
        visit(sink)
    return list(done.values())


def _bind_node(
    node: Node, inputs: tuple[tuple[int, int], ...], bound: list[BoundNode], ids: set[str]
) -> BoundNode:
    types = tuple(bound[i].output_types[output] for i, output in inputs)
    try:
        check_policy(node, types)
        outputs = _output_types(node, types) + (LETTERS_TYPE,) * (len(node.outputs) - len(node.spec.outputs))
    except StreamlibError as error:
        raise node.blame(error) from error.__cause__
    except Exception as error:  # of a user's description
        error.add_note(f"in operator {node.title!r} ({node.where}), while the flow was bound")
        raise
    return BoundNode(node, inputs, types, outputs, *_identity(node, inputs, bound, ids))


def _identity(
    node: Node, inputs: tuple[tuple[int, int], ...], bound: list[BoundNode], ids: set[str]
) -> tuple[str, frozenset[str]]:
    """The node's id, and the sources above it."""
    above: frozenset[str] = frozenset().union(*(bound[i].sources for i, _ in inputs))
    node_id = _unique_id(node, [bound[i] for i, _ in inputs], ids)
    return node_id, above or frozenset([node_id])


def _output_types(node: Node, inputs: tuple[StreamType, ...]) -> tuple[StreamType, ...]:
    if isinstance(node.spec, OperatorSpec):
        for stream in inputs:  # ours work over all rows where there are no keys
            stream.need(keys=node.spec.keyed and not _is_ours(node.spec))
        return _checked_types(node.spec, node.spec.bind(inputs))
    if isinstance(node.spec, Read):
        return (node.spec.bind(),)
    check_changes(node.spec.sink, inputs[0])
    return ()


def _is_ours(spec: OperatorSpec) -> bool:
    return type(spec).__module__.startswith("streamlib.")


def _checked_types(spec: OperatorSpec, types: object) -> tuple[StreamType, ...]:
    right = isinstance(types, tuple) and all(isinstance(t, StreamType) for t in types)
    if right and isinstance(types, tuple) and len(types) == len(spec.outputs):
        return types
    raise DefinitionError(
        f"{type(spec).__name__}.bind did not return the types of the outputs",
        expected=f"a tuple with a StreamType for each of {', '.join(spec.outputs)}",
        found=shown(types),
        remedy="for one output: `return (replace(stream, schema=...),)`",
    )


def _unique_id(node: Node, above: list[BoundNode], ids: set[str]) -> str:
    """The user's name, else the stateful ancestors' names and the kind.

    Stateless operators leave no trace in the ids below them, so that adding a filter keeps state.
    """
    if node.name is not None:
        wished = node.name
    else:
        roots = sorted({_state_root(b) for b in above})
        wished = "+".join([*roots, node.spec.kind] if roots else [node.spec.kind]).replace(
            "+", ".", len(roots)
        )
    unique, n = wished, 1
    while unique in ids:
        n += 1
        unique = f"{wished}-{n}"
    ids.add(unique)
    return unique


def _state_root(bound: BoundNode) -> str:
    spec = bound.node.spec
    if isinstance(spec, Read) or (isinstance(spec, OperatorSpec) and spec.stateful):
        return bound.id
    return bound.id.rsplit(".", 1)[0]


def _check_names(nodes: list[Node]) -> None:
    seen: dict[str, Node] = {}
    for node in nodes:
        if node.name is None:
            continue
        if node.name in seen:
            raise DefinitionError(
                f"two parts of the flow are called {node.name!r}",
                expected="a name of its own for every source, sink and named operator",
                found=f"{seen[node.name].spec.kind} ({seen[node.name].where}) "
                f"and {node.spec.kind} ({node.where})",
                remedy="rename one of them",
            )
        seen[node.name] = node


def rewritten(
    sinks: Iterable[Node], specs: Mapping[int, Spec], letters: dict[str, Sink] | None = None
) -> list[Node]:
    """Copies of the graph above `sinks` in which the nodes with these object ids have other specs.

    `letters` holds other sinks of dead letters, by name.
    """
    copies: dict[int, Node] = {}
    wanted = list(sinks)
    for node in ordered(wanted):
        inputs = tuple(Port(copies[id(p.node)], p.output) for p in node.inputs)
        policy = with_sink(node.on_error, letters or {})
        copies[id(node)] = Node(specs.get(id(node), node.spec), inputs, node.name, node.where, policy)
    return [copies[id(sink)] for sink in wanted]
