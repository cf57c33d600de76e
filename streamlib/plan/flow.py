"""A flow: a name, and the sinks that it reaches. A value: nothing runs until a runner is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from streamlib.core.canonical import fingerprint
from streamlib.core.contracts import Sink, Source
from streamlib.core.errors import DefinitionError, did_you_mean
from streamlib.core.where import caller
from streamlib.plan.bind import BoundFlow, bind_flow, ordered, rewritten
from streamlib.plan.explain import explain_flow
from streamlib.plan.guarantee import Guarantee, guarantee_of
from streamlib.plan.launch import launcher
from streamlib.plan.node import Node, Read, Write
from streamlib.plan.stream import Written, checked_name


class Flow:
    """A graph of sources, operators and sinks, under a name.

    Args:
        name: letters, digits, `_`, `-`; it names the job's default state folder.
        sinks: what `stream.write(...)` returned, at least one.

    Raises:
        DefinitionError: no sink, or a bad name.
    """

    __slots__ = ("name", "sinks")

    def __init__(self, name: str, *sinks: Written) -> None:
        self.name = checked_name(name, "flow")
        self.sinks = tuple(sinks)
        if not sinks or not all(isinstance(sink, Written) for sink in sinks):
            raise DefinitionError(
                f"flow {name!r} needs sinks",
                expected="one or more results of `stream.write(sink, name=...)`",
                found=", ".join(type(sink).__name__ for sink in sinks) or "none",
                remedy='for example sl.Flow("hot", hot.write(parquet.sink("out"), name="hot"))',
            ).at(None, caller())

    # ------------------------------------------------------------------ as a value

    @property
    def form(self) -> object:
        """The canonical form: equal for flows that mean the same."""
        return (self.name, tuple(sink.node.form for sink in self.sinks))

    @property
    def fingerprint(self) -> str:
        """16 hex digits that are equal for equal flows, in every process."""
        return fingerprint(self.form)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Flow) and self.form == other.form

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"<flow {self.name!r}: {', '.join(sink.node.title for sink in self.sinks)}>"

    def __reduce__(self) -> tuple[object, ...]:
        return (Flow, (self.name, *self.sinks))

    # ------------------------------------------------------------------ checks

    def bind(self) -> BoundFlow:
        """Ask the sources for their schemas and check everything that can be checked before a run."""
        return bind_flow(self.name, [sink.node for sink in self.sinks])

    def explain(self) -> str:
        """The checked plan as text."""
        return explain_flow(self.bind())

    def guarantee(self) -> Guarantee:
        """What the flow promises from end to end, and the end that weakens it."""
        return guarantee_of(self.bind())

    def rebind(
        self, *, sources: Mapping[str, Source] | None = None, sinks: Mapping[str, Sink] | None = None
    ) -> Flow:
        """The same flow over other connectors; event time, watermarks and operators stay.

        Raises:
            DefinitionError: the flow has no source or sink of that name.
        """
        nodes = ordered(sink.node for sink in self.sinks)
        specs: dict[int, Read | Write] = {}
        for name, source in (sources or {}).items():
            node, read = _named(nodes, name, Read)
            specs[id(node)] = Read(source, read.event_time, read.tz, read.watermark, read.max_ahead)
        for name, sink in (sinks or {}).items():
            node, _ = _named(nodes, name, Write)
            specs[id(node)] = Write(sink)
        return Flow(self.name, *(Written(n) for n in rewritten([s.node for s in self.sinks], specs)))

    # ------------------------------------------------------------------ runs

    def run(self, **options: Any) -> Any:
        """Run as a streaming job until the input ends or a signal comes; see `runners.run`."""
        return launcher().run(self, **options)

    def backfill(
        self,
        *,
        sources: Mapping[str, Source] | None = None,
        sinks: Mapping[str, Sink] | None = None,
        **options: Any,
    ) -> Any:
        """Run the same graph as a batch over bounded sources; see `runners.backfill`."""
        return launcher().backfill(self.rebind(sources=sources, sinks=sinks), **options)

    def collect(self) -> Mapping[str, pa.Table]:
        """Run over bounded sources without a job, and return what each sink would have got."""
        return launcher().collect(self)


def _named(nodes: list[Node], name: str, kind: type) -> tuple[Node, Any]:
    found = {node.name: node for node in nodes if isinstance(node.spec, kind) and node.name}
    if name not in found:
        what = "source" if kind is Read else "sink"
        raise DefinitionError(
            f"the flow has no {what} called {name!r}",
            expected=f"one of {', '.join(found)}",
            found=repr(name),
            remedy=did_you_mean(name, found) or f"use the `name=` given where the {what} was built",
        )
    return found[name], found[name].spec
