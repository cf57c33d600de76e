"""Runs without a job: no sink is opened and nothing is kept. What `collect` and `preview` are built on."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Batch
from streamlib.core.changes import adds
from streamlib.core.contracts import Clock, Delivery, SinkContext, SinkWriter, Takes
from streamlib.core.errors import DefinitionError, EventTimeError, UnboundedError, shown
from streamlib.core.span import instant, micros
from streamlib.core.time import duration
from streamlib.plan.bind import BoundFlow, bind_flow
from streamlib.plan.launch import Until
from streamlib.plan.node import Node, Write, WriteLetters
from streamlib.plan.pushdown import pushed_down
from streamlib.plan.stream import Handle
from streamlib.runners.blame import blaming
from streamlib.runners.driver import BatchSize, Driver
from streamlib.runners.job import IDLE_WAIT
from streamlib.runners.progress import failures_text
from streamlib.runners.world import LocalWorld
from streamlib.runtime.pipeline import Mode, Pipeline
from streamlib.runtime.rescue import Failures
from streamlib.state.current_rows import final_table

COLLECTED = "(collect)"
"""The name of the only sink where a single stream is collected; one that no user can give."""


@dataclass(frozen=True)
class Collecting:
    """The sink of a stream that is collected: it takes all streams, and is never opened."""

    delivery: Delivery = "at_least_once"
    takes: Takes = "retract"

    def open(self, context: SinkContext) -> SinkWriter:
        """Never called."""
        raise NotImplementedError


def only(stream: Handle) -> BoundFlow:
    """The bound flow that ends in this stream."""
    return bind_flow(COLLECTED, [Node(Write(Collecting()), (stream.port,), COLLECTED)])


class Stop:
    """When to stop before the input ends: enough rows for every sink, a moment, or an event time.

    Args:
        n: rows of each sink.
        until: a duration from now on, or an instant that the watermark has to reach.
        clock: what durations are measured by.
        read: rows of all sources together.

    Raises:
        DefinitionError: `n` is negative, or `until` is neither.
        EventTimeError: an instant without a time zone.
    """

    def __init__(self, n: int | None, until: Until | None, clock: Clock, read: int | None = None) -> None:
        if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 0):
            raise DefinitionError(
                "`n` must be a number of rows", expected="a whole number from 0 on", found=shown(n)
            )
        self.n = n
        self.instant = micros(instant(until)) if isinstance(until, datetime) else None
        self._read = read
        self._clock = clock
        self._deadline: float | None = None
        if until is not None and not isinstance(until, datetime):
            self._deadline = clock.monotonic() + duration(until) / 1e6

    @property
    def never(self) -> bool:
        """Whether only the end of the input ends the run."""
        return self.n is None and self.instant is None and self._deadline is None and self._read is None

    def enough(self, rows: dict[str, int]) -> bool:
        """Whether each sink has the rows that were asked for."""
        return self.n is not None and all(count >= self.n for count in rows.values())

    def over(self, pipeline: Pipeline) -> bool:
        """Whether time is up, or enough was read."""
        late = self._deadline is not None and self._clock.monotonic() >= self._deadline
        read = self._read is not None and pipeline.rows >= self._read
        return late or read or (self.instant is not None and pipeline.watermark >= self.instant)

    def cut(self, batch: Batch) -> Batch:
        """The rows of a batch that belong to the result: those before the instant."""
        if self.instant is None or batch.event_time is None:
            return batch
        return batch.filter(batch.event_time < self.instant)


class Run:
    """A bound flow at work without a job, until its input ends or `stop` says so.

    Attributes:
        found: by sink, the rows it would have got.
        early: whether `stop` ended the run.
        closed: whether rows were found by closing windows that were open then.
    """

    def __init__(
        self, flow: BoundFlow, mode: Mode, world: LocalWorld, stop: Stop, size: BatchSize | None = None
    ) -> None:
        self._world = world
        self._stop = stop
        self._driver = Driver(pushed_down(flow), mode, world, size)
        # nobody waits for dead letters
        writes = flow.writes().items()
        self._counts = {name: 0 for name, (_, write) in writes if not isinstance(write, WriteLetters)}
        self.found: dict[str, list[Batch]] = {name: [] for name in flow.writes()}
        self.early = False
        self.closed = False

    @property
    def read(self) -> int:
        """Rows that entered."""
        return self._driver.pipeline.rows

    @property
    def failures(self) -> Failures:
        """What failed and did not end the run."""
        return self._driver.pipeline.engine.count_failures()

    @property
    def watermark(self) -> int:
        """The least watermark of the sources."""
        return self._driver.pipeline.watermark

    def go(self, *, close_windows: bool = False) -> None:
        """Run. `close_windows` shows what the windows hold that are open when `stop` ends the run."""
        pipeline = self._driver.pipeline
        with ExitStack() as last_first:
            last_first.callback(self._world.close)
            last_first.callback(self._driver.close)
            self._driver.open()
            while not pipeline.finished and not self.early:
                self.turn()
                self.early = not pipeline.finished and self._enough()
            if self.early and self._stop.instant is not None:
                self._await_answers()  # rows before the instant may wait for them
            if self.early and close_windows and not self._stop.enough(self._counts):
                before = sum(self._counts.values())
                pipeline.finish()
                self._await_answers()
                self.closed = sum(self._counts.values()) > before

    def _await_answers(self) -> None:
        while not self._driver.answered():
            self._take()
            self._world.clock.wait(IDLE_WAIT)
        self._take()

    def _enough(self) -> bool:
        return self._stop.enough(self._counts) or self._stop.over(self._driver.pipeline)

    def turn(self) -> None:
        """Read, let rows enter, and take what comes out; sleep only if there was nothing to do."""
        pipeline, clock = self._driver.pipeline, self._world.clock
        self._driver.read()
        rows = self._driver.step()
        self._driver.tick(clock.monotonic())
        self._take()
        if not rows and not pipeline.finished:
            clock.wait(IDLE_WAIT)

    def _take(self) -> None:
        for name, batch in self._driver.pipeline.take_written():
            kept = self._stop.cut(batch)
            if kept.num_rows:
                self.take(name, kept)
                if name in self._counts:
                    self._counts[name] += _growth(kept)

    def take(self, sink: str, batch: Batch) -> None:
        """Rows for a sink came out."""
        self.found[sink].append(batch)


def _growth(batch: Batch) -> int:
    """By how many rows a batch makes its table longer: changes may shorten it."""
    if batch.changes is None:
        return batch.num_rows
    return 2 * int(np.count_nonzero(adds(batch.changes))) - batch.num_rows


def collect(flow: BoundFlow, n: int | None, until: Until | None) -> dict[str, pa.Table]:
    """The rows that each sink would have got, by the sink's name: as a batch where the sources end."""
    world = LocalWorld()
    stop = Stop(n, until, world.clock)
    _check_ends(flow, stop)
    bounded = all(read.source.bounded for _, read in flow.reads().values())
    run = Run(flow, "batch" if bounded else "streaming", world, stop)
    run.go()
    text = failures_text(run.failures)
    if text:
        print(f"streamlib: {text}", file=sys.stderr)
    return {name: table(flow, name, batches).slice(0, n) for name, batches in run.found.items()}


def table(flow: BoundFlow, sink: str, batches: list[Batch]) -> pa.Table:
    """What the batches of one sink come to: their rows, or of a changelog the rows that are left."""
    bound, _ = flow.writes()[sink]
    stream = bound.input_types[0]
    if stream.changes is None:
        return pa.Table.from_batches([b.to_arrow() for b in batches], stream.schema)
    with blaming(bound.node):
        changes = ((b.to_arrow(), b.changes) for b in batches if b.changes is not None)
        return final_table(stream.schema, stream.changes, changes)


def _check_ends(flow: BoundFlow, stop: Stop) -> None:
    for name, (bound, read) in flow.reads().items():
        if not read.source.bounded and stop.never:
            raise bound.node.blame(
                UnboundedError(
                    f"source {name!r} has no end, so collecting from it would not either",
                    expected="bounded sources, or a bound",
                    found=repr(read.source),
                    remedy='say when to stop: `collect(n=100)` or `collect(until="10s")`',
                )
            )
    for name, (bound, _) in flow.writes().items():
        if stop.instant is not None and not bound.input_types[0].event_time:
            raise bound.node.blame(
                EventTimeError(
                    f"the rows for {name!r} have no event time, so no instant ends them",
                    expected="an event time, or another bound",
                    found=f"until={shown(stop.instant)}",
                    remedy='give `n=`, a duration such as until="10s", or `event_time=` in `sl.read`',
                )
            )
