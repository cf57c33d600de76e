"""Handles to the graph: what operator factories take and return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import pyarrow as pa

from streamlib.core.canonical import fingerprint
from streamlib.core.contracts import OperatorSpec, Sink, StreamType
from streamlib.core.errors import DefinitionError, UnknownColumnError
from streamlib.core.expressions import Expr, col
from streamlib.core.policies import ErrorPolicy, checked_policy
from streamlib.core.where import caller
from streamlib.plan.bind import bind_partly
from streamlib.plan.description import describe_partly
from streamlib.plan.node import Node, Port, Write
from streamlib.plan.render import rendered
from streamlib.plan.spec_check import check_spec


class Handle:
    """An immutable handle to one output of a node. Equal handles describe the same rows."""

    __slots__ = ("port",)

    def __init__(self, port: Port) -> None:
        self.port = port

    def then(
        self,
        spec: OperatorSpec,
        *others: Handle,
        name: str | None = None,
        output: int = 0,
        on_error: ErrorPolicy = "fail",
    ) -> Self:
        """The stream that comes out of a new operator over this stream (and `others`).

        `on_error` says what happens to records that it fails at: see `sl.retry` and `sl.dead_letter`.
        """
        check_spec(spec)
        checked = None if name is None else checked_name(name, "operator")
        inputs = (self.port, *(other.port for other in others))
        return type(self)(Port(Node(spec, inputs, checked, caller(), checked_policy(on_error)), output))

    def output(self, name: str) -> Self:
        """Another output of the same node, for example the late rows of a window."""
        outputs = self.port.node.spec.outputs
        if name not in outputs:
            raise DefinitionError(
                f"{self.port.node.title} has no output {name!r}",
                expected=f"one of {', '.join(outputs)}",
                found=repr(name),
                remedy="ask for it right after the operator that has it",
            ).at(None, caller())
        return type(self)(Port(self.port.node, outputs.index(name)))

    def pipe(self, *transforms: Callable[[Any], Any]) -> Any:
        """Apply transforms from left to right, as `toolz.pipe(stream, *transforms)` does."""
        value: Any = self
        for transform in transforms:
            value = transform(value)
        return value

    def write(self, sink: Sink, *, name: str) -> Written:
        """Send the rows to `sink`; give the result to `Flow`. `name` is the sink's name in the flow."""
        return Written(Node(Write(sink), (self.port,), checked_name(name, "sink"), caller()))

    @property
    def schema(self) -> pa.Schema:
        """The columns of the rows with their Arrow types. Sources are asked for theirs, nothing is read.

        Raises what binding the flow would raise, for a misspelt column or a missing file.

        >>> import streamlib as sl
        >>> from streamlib.connectors import memory
        >>> rows = sl.read(memory.source([{"item": "pen", "price": 3}]), name="rows")
        >>> rows.with_columns(dear=rows["price"] > 2).schema.names
        ['item', 'price', 'dear']
        """
        return self._type().schema

    def __getitem__(self, column: str) -> Expr:
        """`col(column)`, if the rows have that column; a notebook completes `stream["` by their names.

        Raises `UnknownColumnError` with the closest name.
        """
        try:
            self._type().field(column)
        except UnknownColumnError as error:
            raise error.at(self.port.node.title, caller()) from None
        return col(column)

    def _ipython_key_completions_(self) -> list[str]:
        try:
            return self.schema.names
        except Exception:  # whatever it is, it is told when the stream is used
            return []

    def _type(self) -> StreamType:
        flow, errors = bind_partly(self.port.node.title, [self.port.node])
        for error in errors.values():
            raise error
        node = next(bound for bound in flow.nodes if bound.node is self.port.node)
        return node.output_types[self.port.output]

    @property
    def form(self) -> object:
        """The canonical form of the stream."""
        return (self.port.node.form, self.port.output)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and self.form == other.form

    def __hash__(self) -> int:
        return hash(fingerprint(self.form))

    def __repr__(self) -> str:
        node = self.port.node
        output = node.spec.outputs[self.port.output]
        return f"<stream {node.title}{'' if output == 'out' else '.' + output} {fingerprint(self.form)}>"

    def __str__(self) -> str:
        """What is above the stream as a tree; asks the sources for their schemas."""
        return rendered(describe_partly(self.port.node.title, [self.port.node]), "tree")

    def _repr_svg_(self) -> str:
        """What is above the stream as a picture, in a notebook, with errors where it does not bind."""
        return rendered(describe_partly(self.port.node.title, [self.port.node]), "svg")

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Any:
        raise DefinitionError(
            "a stream can't be iterated: it is a description, nothing has run",
            remedy="use `.collect()` for its rows, or write it to a sink and run the flow",
        )

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.port,))


class Written:
    """A stream that ends in a sink: an argument of `Flow`."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Written) and self.node.form == other.node.form

    def __hash__(self) -> int:
        return hash(fingerprint(self.node.form))

    def __repr__(self) -> str:
        return f"<sink {self.node.title}: {self.node.spec.describe()}>"

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.node,))


def checked_name(name: str, what: str) -> str:
    """`name`, if it can stand in file names and state ids; else a `DefinitionError`."""
    ok = isinstance(name, str) and 0 < len(name) <= 100 and name.replace("_", "").replace("-", "").isalnum()
    if not ok or not name.isascii():
        raise DefinitionError(
            f"not a name for a {what}",
            expected="1 to 100 letters, digits, `_` or `-` (it becomes part of file names)",
            found=repr(name),
            remedy="for example 'hourly' or 'bids-2024'",
        ).at(None, caller())
    return name
