"""The graph: immutable nodes, and handles to their outputs."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.canonical import Value, canonical, fingerprint
from streamlib.core.contracts import OperatorSpec, Sink, Source, StreamType
from streamlib.core.errors import EventTimeError, NotPicklableError, StreamlibError, shown
from streamlib.core.expressions import Expr, bind, columns
from streamlib.core.policies import ErrorPolicy, dead_letter_of
from streamlib.core.time import naive_without_tz, show_duration, timestamp_type
from streamlib.core.watermarks import WatermarkStrategy

LETTERS = "failed"
"""The name of the hidden output through which dead letters leave."""


@dataclass(frozen=True, eq=False)
class Read(Value):
    """A source in the graph: the connector and, apart from it, what its rows mean."""

    kind: ClassVar[str] = "read"
    outputs: ClassVar[tuple[str, ...]] = ("out",)

    source: Source
    event_time: Expr | None = None
    tz: str | None = None
    watermark: WatermarkStrategy | None = None
    max_ahead: int | None = None

    def bind(self) -> StreamType:
        """Ask the source for its columns and check the event time against them."""
        schema = self.source.schema()
        if self.event_time is None:
            return StreamType(schema)
        dtype = bind(self.event_time, StreamType(schema)).dtype
        if not timestamp_type(dtype):
            raise EventTimeError(
                "this can't be an event time",
                expected="a timestamp, a date, or an integer of microseconds since the epoch",
                found=f"{self.event_time!r} of type {dtype}",
                remedy="name another column, or cast or parse it to a timestamp",
            )
        if pa.types.is_timestamp(dtype) and dtype.tz is None and self.tz is None:
            raise naive_without_tz(dtype)
        if self.tz is not None:
            _check_tz(self.tz)
        return StreamType(schema, event_time=True)

    def event_time_column(self) -> str | None:
        """The plain UTC column that is the event time, for sources that keep statistics of it."""
        used = columns(self.event_time) if self.event_time is not None else frozenset()
        if len(used) != 1 or self.tz is not None:
            return None
        (name,) = used
        return name if repr(self.event_time) == f"col({name!r})" else None

    def describe(self) -> str:
        """The source on one line, for `explain`."""
        parts = [repr(self.source)]
        if self.event_time is not None:
            parts.append(f"event time {self.event_time!r}")
        if self.watermark is not None:
            parts.append(f"watermark {self.watermark.describe()}")
        if self.max_ahead is not None:
            parts.append(f"at most {show_duration(self.max_ahead)} ahead of the clock")
        return "; ".join(parts)


def _check_tz(tz: str) -> None:
    try:
        pc.assume_timezone(pa.array([0], pa.timestamp("us")), tz)
    except (pa.ArrowInvalid, TypeError):
        raise EventTimeError(
            "the time zone is not known",
            expected="a name of the IANA time zone database",
            found=repr(tz),
            remedy='for example `tz="UTC"` or `tz="America/New_York"`',
        ) from None


@dataclass(frozen=True, eq=False)
class Write(Value):
    """A sink in the graph."""

    kind: ClassVar[str] = "write"
    outputs: ClassVar[tuple[str, ...]] = ()

    sink: Sink

    def describe(self) -> str:
        """The sink on one line, for `explain`."""
        return repr(self.sink)


@dataclass(frozen=True, eq=False)
class WriteLetters(Write):
    """The sink of dead letters: an end that the flow has because of the policies of its operators."""

    kind: ClassVar[str] = "dead_letters"


Spec = Read | Write | OperatorSpec


@dataclass(frozen=True, eq=False)
class Node:
    """One step of a flow. `where` is the user's source line; it takes no part in equality."""

    spec: Spec
    inputs: tuple[Port, ...] = ()
    name: str | None = None
    where: str = field(default="?", compare=False)
    on_error: ErrorPolicy = "fail"

    @cached_property
    def form(self) -> object:
        """The canonical form of this node and, by their fingerprints, of all above it.

        Written out it would double with every two branches that meet again.
        """
        inputs = tuple((p.node.fingerprint, p.output) for p in self.inputs)
        policy = () if self.on_error == "fail" else (canonical(self.on_error),)
        return (self.spec.kind, self.name, canonical(self.spec), inputs, *policy)

    @cached_property
    def fingerprint(self) -> str:
        """A short name for the form."""
        return fingerprint(self.form)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs of the description, and that of its dead letters."""
        return self.spec.outputs if dead_letter_of(self.on_error) is None else (*self.spec.outputs, LETTERS)

    @property
    def title(self) -> str:
        """What errors and progress call the node."""
        return self.name or self.spec.kind

    def __reduce__(self) -> tuple[object, ...]:
        for value in vars(self.spec).values():
            if callable(value) and not _is_picklable(value):
                raise NotPicklableError(
                    "this flow can't be pickled: it holds a function that has no importable name",
                    expected="functions defined at the top level of a module",
                    found=shown(value),
                    remedy="move the function to the top level of a module that can be imported",
                ).at(self.title, self.where)
        return (type(self), (self.spec, self.inputs, self.name, self.where, self.on_error))

    def blame(self, error: StreamlibError) -> StreamlibError:
        """`error`, naming this node and the line that built it."""
        return error.at(self.title, self.where)


def _is_picklable(function: object) -> bool:
    """Partials, bound methods and callable objects are as picklable as what they hold."""
    try:
        pickle.dumps(function)
    except Exception:
        return False
    return True


@dataclass(frozen=True, eq=False)
class Port:
    """An output of a node, by its index in `spec.outputs`."""

    node: Node
    output: int = 0
