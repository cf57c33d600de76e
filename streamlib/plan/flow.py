"""A flow: a name, and the sinks that it reaches. A value: nothing runs until a runner is asked."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import pyarrow as pa

from streamlib.core.canonical import fingerprint
from streamlib.core.contracts import Sink, Source
from streamlib.core.errors import DefinitionError, StreamlibError, TypeMismatchError, did_you_mean, shown
from streamlib.core.settings import GuaranteeLevel, ProgressStyle, Settings, WorkerKind
from streamlib.core.span import Instant, Span
from streamlib.core.time import Duration
from streamlib.core.where import caller
from streamlib.plan.bind import BoundFlow, bind_flow, ordered, rewritten
from streamlib.plan.dead_letters import dead_letter_ends
from streamlib.plan.description import Plan, describe, describe_partly
from streamlib.plan.guarantee import Guarantee, guarantee_of
from streamlib.plan.launch import Job, JobResult, Until, launcher
from streamlib.plan.node import Node, Read, Write, WriteLetters
from streamlib.plan.render import PlanFormat, rendered
from streamlib.plan.stream import Written, checked_name


class Flow:
    """A graph of sources, operators and sinks, under a name.

    Args:
        name: letters, digits, `_`, `-`; it names the job's default state folder.
        sinks: what `stream.write(...)` returned, at least one.
        settings: how its jobs are run, unless arguments, flags, the environment or a file say otherwise.
            They take no part in equality and fingerprint: they don't change what the flow computes.

    Raises:
        DefinitionError: no sink, or a bad name.
    """

    __slots__ = ("name", "settings", "sinks")

    def __init__(self, name: str, *sinks: Written, settings: Settings | None = None) -> None:
        self.name = checked_name(name, "flow")
        self.sinks = tuple(sinks)
        self.settings = Settings() if settings is None else settings
        if not isinstance(self.settings, Settings):
            raise TypeMismatchError(
                f"the settings of flow {name!r} are no settings",
                expected='for example sl.Settings(checkpoint_interval="1s")',
                found=shown(settings),
            ).at(None, caller())
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

    def __str__(self) -> str:
        """The flow as a tree; asks the sources for their schemas, as `explain` does."""
        return rendered(self._plan(), "tree")

    def _repr_svg_(self) -> str:
        """The flow as a picture, in a notebook. What does not bind yet is drawn with its error."""
        return rendered(self._plan(), "svg")

    def _plan(self) -> Plan:
        return describe_partly(self.name, [sink.node for sink in self.sinks])

    def __reduce__(self) -> tuple[object, ...]:
        return (_restored, (self.name, self.sinks, self.settings))

    # ------------------------------------------------------------------ checks

    def bind(self) -> BoundFlow:
        """Ask the sources for their schemas and check everything that can be checked before a run."""
        return bind_flow(self.name, [sink.node for sink in self.sinks])

    def explain(self, format: PlanFormat = "text") -> str:
        """The checked plan: operators, schemas, keys, state, what depends on order, the guarantee.

        Args:
            format: `text`, `tree` (one line an operator), `json` (its shape is documented in
                docs/plan.md), `mermaid`, or `svg`.

        Raises:
            StreamlibError: the flow does not bind, or there is no such format.
        """
        return rendered(describe(self.bind()), format)

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
        hidden = dead_letter_ends(nodes)
        letters: dict[str, Sink] = {}
        for name, sink in (sinks or {}).items():
            node, write = _named([*nodes, *hidden], name, Write)
            if isinstance(write, WriteLetters):
                letters[name] = sink
            else:
                specs[id(node)] = Write(sink)
        ends = rewritten([sink.node for sink in self.sinks], specs, letters)
        return Flow(self.name, *(Written(node) for node in ends), settings=self.settings)

    # ------------------------------------------------------------------ runs

    def run(
        self,
        *,
        state: str | PathLike[str] | None = None,
        checkpoint_interval: Duration | None = None,
        guarantee: GuaranteeLevel | None = None,
        takeover: bool = False,
        finish: bool = False,
        drain_timeout: Duration | None = None,
        progress: ProgressStyle | None = None,
        parallelism: int | None = None,
        workers: WorkerKind | None = None,
    ) -> JobResult:
        """Run as a streaming job, in this process, until the input ends or a signal comes.

        SIGTERM or Ctrl-C drains: open windows stay in the state, and the next run goes on from there.
        What is not given here is looked for in the environment, in `streamlib.toml`, and in the flow's
        settings (docs/settings.md).

        Args:
            state: folder of the job's state; a job *is* its state. Default: `.streamlib/<flow>`.
            checkpoint_interval: time between checkpoints; output appears at checkpoints. Default: `10s`.
            guarantee: the least that the flow has to promise; the job does not start if it can't.
            takeover: take the job from a process that still runs.
            finish: when stopped, close all windows and end the job for good.
            drain_timeout: how long a stop may take. Default: `60s`.
            progress: shown on stderr: `auto` (the default) is `live` in a terminal and `plain` elsewhere.
            parallelism: how many workers share the operators, 1 to 128; see `Settings`. Default: 1.
            workers: `threads`, `processes`, or `auto` (the default), which chooses; see `Settings`.

        Raises:
            StreamlibError: whatever keeps the flow from starting or from going on, saying where.
        """
        asked = Settings(
            state=state,
            checkpoint_interval=checkpoint_interval,
            guarantee=guarantee,
            drain_timeout=drain_timeout,
            progress=progress,
            parallelism=parallelism,
            workers=workers,
        )
        return launcher().run(self, asked, takeover=takeover, finish=finish)

    def start(
        self,
        *,
        state: str | PathLike[str] | None = None,
        checkpoint_interval: Duration | None = None,
        guarantee: GuaranteeLevel | None = None,
        takeover: bool = False,
        finish: bool = False,
        drain_timeout: Duration | None = None,
        progress: ProgressStyle | None = None,
        parallelism: int | None = None,
        workers: WorkerKind | None = None,
    ) -> Job:
        """Run as a streaming job on a background thread, and return at once.

        In a notebook the cell shows how the job goes and goes on doing so; interrupting a cell leaves the
        job running. No signal is handled: `drain` the job, use it as a context manager, or end the
        program, which drains it.

        Args:
            state: as for `run`.
            checkpoint_interval: as for `run`.
            guarantee: as for `run`.
            takeover: as for `run`.
            finish: when drained, close all windows and end the job for good.
            drain_timeout: as for `run`.
            progress: `auto` is a table in a notebook, and on stderr as for `run` elsewhere.
            parallelism: as for `run`.
            workers: as for `run`.

        Raises:
            StreamlibError: whatever keeps the flow from starting. What fails later, `Job.wait` raises.

        >>> import tempfile
        >>> import streamlib as sl
        >>> from streamlib.connectors import memory
        >>> bids = sl.read(memory.source([{"price": 3}, {"price": 5}]), name="bids")
        >>> flow = sl.Flow("dear", bids.filter(sl.col("price") > 3).write(memory.sink(), name="out"))
        >>> job = flow.start(state=tempfile.mkdtemp(), progress="none")
        >>> job.wait("30s").rows_read, job.status
        (2, 'finished')
        """
        asked = Settings(
            state=state,
            checkpoint_interval=checkpoint_interval,
            guarantee=guarantee,
            drain_timeout=drain_timeout,
            progress=progress,
            parallelism=parallelism,
            workers=workers,
        )
        return launcher().start(self, asked, takeover=takeover, finish=finish)

    def backfill(
        self,
        *,
        sources: Mapping[str, Source] | None = None,
        sinks: Mapping[str, Sink] | None = None,
        start: Instant | None = None,
        end: Instant | None = None,
        state: str | PathLike[str] | None = None,
        checkpoint_interval: Duration | None = None,
        guarantee: GuaranteeLevel | None = None,
        takeover: bool = False,
        drain_timeout: Duration | None = None,
        progress: ProgressStyle | None = None,
        parallelism: int | None = None,
        workers: WorkerKind | None = None,
    ) -> JobResult:
        """Run the same graph as a batch over bounded sources: nothing is late.

        A backfill is a job of its own: it has its own state (default: `.streamlib/<flow>.backfill`, with
        the span behind it where one is given) and should be given sinks of its own.

        With `start` and `end` only rows with an event time in `[start, end)` are looked at; Parquet files
        are read where their statistics don't rule it out. A window that reaches beyond shows what
        lies inside: give instants at which windows begin and end, such as midnights for hours. Where
        windows overlap, or states go back in time, begin so much earlier and leave out what comes first.

        Args:
            sources: connectors in the place of the flow's, by the sources' names.
            sinks: connectors in the place of the flow's, by the sinks' names.
            start: the first event time: `"2024-01-31"` or `"2024-01-31T10:00"` (UTC, unless an offset is
                given), a `date`, or a `datetime` with a time zone. Default: the beginning.
            end: the first event time that is left out, in the same forms. Default: the end.
            state: folder of the job's state.
            checkpoint_interval: as for `run`.
            guarantee: as for `run`.
            takeover: as for `run`.
            drain_timeout: as for `run`.
            progress: as for `run`.
            parallelism: as for `run`.
            workers: as for `run`.

        Raises:
            DefinitionError: `start` or `end` is no instant, or there is no time between them.
            EventTimeError: a source has no event time, and `start` or `end` is given.

        >>> import tempfile
        >>> import streamlib as sl
        >>> from streamlib.connectors import memory
        >>> rows = [{"day": f"2024-01-{day:02}", "n": day} for day in range(1, 32)]
        >>> day = sl.col("day").str.to_date()
        >>> days = sl.read(memory.source(rows), name="days", event_time=day, watermark=sl.monotone())
        >>> kept = memory.sink()
        >>> result = sl.Flow("days", days.write(kept, name="out")).backfill(
        ...     start="2024-01-30", end="2024-02-01", state=tempfile.mkdtemp(), progress="none"
        ... )
        >>> kept.table()["n"].to_pylist()
        [30, 31]
        """
        asked = Settings(
            state=state,
            checkpoint_interval=checkpoint_interval,
            guarantee=guarantee,
            drain_timeout=drain_timeout,
            progress=progress,
            parallelism=parallelism,
            workers=workers,
        )
        try:
            span = Span.of(start, end)
        except StreamlibError as error:
            raise error.at(None, caller()) from error.__cause__
        flow = self.rebind(sources=sources, sinks=sinks)
        return launcher().backfill(flow, asked, takeover=takeover, span=span)

    def collect(self, n: int | None = None, *, until: Until | None = None) -> Mapping[str, pa.Table]:
        """Run without a job, and return what each sink would have got: as a batch if all sources end.

        Args:
            n: stop when each sink has that many rows; no table has more.
            until: stop after a duration, for example `"10s"`, or, given a `datetime`, when the watermark
                has come to it: then the rows before it are complete, and no others are in the tables.

        Raises:
            DefinitionError: a source has no end, and neither `n` nor `until` is given.
        """
        return launcher().collect(self, n, until)


def _restored(name: str, sinks: tuple[Written, ...], settings: Settings) -> Flow:
    return Flow(name, *sinks, settings=settings)


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
