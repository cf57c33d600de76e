"""A job: a flow on a state folder, run as a stream or as a batch, with checkpoints and exact output.

`start` binds, takes the job and recovers; `run` works until the input ends or `drain` is called.
"""

from __future__ import annotations

import os
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from typing import Any, NoReturn

from streamlib.checkpoint.manifest import Manifest
from streamlib.checkpoint.store import StateStore
from streamlib.core.contracts import SinkWriter
from streamlib.core.errors import StateError, TakenOverError
from streamlib.core.job_ids import new_id
from streamlib.core.span import Span
from streamlib.core.time import duration, show_duration
from streamlib.operators.within import within
from streamlib.plan.bind import BoundFlow
from streamlib.plan.flow import Flow
from streamlib.plan.growth import check_growth
from streamlib.plan.guarantee import require
from streamlib.plan.launch import JobOptions, JobResult, Outcome, Stats
from streamlib.plan.pushdown import pushed_down
from streamlib.runners.checkpointing import Checkpointer, SinkLane
from streamlib.runners.crews import hired
from streamlib.runners.driver import Driver
from streamlib.runners.ends import check_secrets
from streamlib.runners.lanes import Lane
from streamlib.runners.recovery import (
    check_kind,
    check_not_behind,
    finish_commits,
    kind_of_run,
    opened,
    taken_over,
)
from streamlib.runners.settings import job_name
from streamlib.runners.stats import Progress, Silent
from streamlib.runners.world import World
from streamlib.runtime.pipeline import Captured, Mode

CHECKPOINT_LANE = "checkpoint"
IDLE_WAIT = 0.05  # seconds: how long a loop with nothing to do sleeps unless woken
LANE_TIMEOUT = 5.0  # seconds the lanes get to end after a failure


class DrainTimeoutError(StateError):
    """The last checkpoint of a drain did not complete in time; the one before it stands.

    Nothing is lost: the next start goes on from that checkpoint. Give `--drain-timeout` more where state is
    large or a sink is slow.
    """

    code = "SL306"


class Job:
    """One attempt at a job. `start`, then `run`, each once."""

    def __init__(
        self, flow: Flow, mode: Mode, options: JobOptions, world: World, progress: Progress | None = None
    ) -> None:
        self.flow = flow
        self.mode: Mode = mode
        self.options = options
        state = options.state or default_state(flow.name, mode, options.span)
        self.state = os.path.abspath(os.path.expanduser(state))
        self._interval = duration(options.checkpoint_interval) / 1e6
        self._drain_timeout = duration(options.drain_timeout) / 1e6
        self._world = world
        self._progress = progress or Silent()
        self._drain_by: float | None = None
        self._writers: dict[str, SinkWriter] = {}
        self._sinks: dict[str, SinkLane] = {}
        self._lane: Lane | None = None
        self._started_rows = 0
        self._began = 0.0

    # ------------------------------------------------------------------ start

    def start(self) -> None:
        """Bind the flow, take the job, restore its newest checkpoint and finish its commits.

        Raises whatever keeps the job from running; nothing has been read then.
        """
        span = self.options.span
        bound = pushed_down((self.flow if span is None else within(self.flow, span)).bind())
        if self.options.guarantee is not None:
            require(bound, self.options.guarantee)
        if self.mode == "streaming":
            check_growth(bound)
        check_secrets(bound)
        crew = hired(bound, self.options, self._world.crew)
        self._driver = Driver(bound, self.mode, self._world, crew=crew)
        attempt = self._world.new_id()
        self._store = StateStore(self.state, self._world.disk, self._world.clock, attempt)
        new_job = new_id(self.flow.name, self.options.completes, self._world.new_id()[:6])
        restored = self._store.open(flow=self.flow.name, new_job=new_job, takeover=self.options.takeover)
        self.job = restored.job
        self._manifest = restored.manifest
        try:
            self._recover(bound, attempt)
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            self._fail(error)

    def _recover(self, bound: BoundFlow, attempt: str) -> None:
        manifest = self._manifest
        self._driver.start_workers()
        if manifest is not None:
            self._restore(manifest)
        newest = manifest.number if manifest is not None else 0
        for name, writer in opened(bound, self.job, attempt, self._world.disk, newest):
            self._writers[name] = writer  # one by one: those before a failing one have to be closed
        check_not_behind(bound, self._writers, newest, self.state)
        finish_commits(bound, self._store, self._writers)
        for name, (node, _) in bound.writes().items():
            self._sinks[name] = SinkLane(node.node, self._writers[name], self._world.lane(name))
        self._lane = lane = self._world.lane(CHECKPOINT_LANE)
        kind = kind_of_run(self.mode, self.options.span)
        self._checkpointer = Checkpointer(self._store, lane, self._sinks, kind, newest)
        self._started_rows = self._driver.pipeline.rows

    def _restore(self, manifest: Manifest) -> None:
        check_kind(manifest, kind_of_run(self.mode, self.options.span), self.state)
        states = self._store.load(manifest)
        versions = {name: entry.version for name, entry in manifest.operators.items()}
        failures = manifest.watermarks.get("failures", {})
        captured = Captured(manifest.positions, manifest.watermarks["sources"], states, versions, failures)
        self._driver.pipeline.restore(captured, self._world.clock.monotonic())

    # ------------------------------------------------------------------ run

    def run(self) -> JobResult:
        """Work until the input ends or `drain` was called. Cleans up and re-raises what goes wrong."""
        clock = self._world.clock
        self._began = clock.monotonic()
        try:
            outcome = self._work()
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            self._progress.close(self.stats())
            self._fail(error, self._checkpointer.written)
        stats = self.stats()
        if outcome != "already finished":
            self._progress.close(stats)
        self._close()
        return JobResult(
            outcome,
            self.job,
            stats.rows,
            stats.rows_read,
            stats.late_rows,
            stats.checkpoints,
            stats.last_checkpoint,
            self._manifest.number if self._manifest is not None else None,
            stats.seconds,
            stats.skipped,
            stats.dead_letters,
        )

    def drain(self) -> None:
        """Stop soon: one last checkpoint, committed. Safe from signal handlers and threads."""
        if self._drain_by is None:
            self._drain_by = self._world.clock.monotonic() + self._drain_timeout
        wake = getattr(self._world, "wake", None)
        if wake is not None:
            wake()

    def stats(self) -> Stats:
        """How the job stands."""
        pipeline = self._driver.pipeline
        failures = pipeline.engine.count_failures()
        return Stats(
            self.mode,
            pipeline.rows,
            pipeline.rows - self._started_rows,
            self._driver.total_rows,
            self._world.clock.monotonic() - self._began,
            pipeline.newest,
            pipeline.watermark,
            pipeline.engine.late_rows,
            self._checkpointer.completed,
            self._checkpointer.last_number,
            dict(failures.skipped),
            dict(failures.dead_letters),
        )

    def _work(self) -> Outcome:
        if self._manifest is not None and self._manifest.finished:
            return "already finished"
        self._driver.open()
        self._last_checkpoint = self._world.clock.monotonic()
        self._changed = False
        while not self._driver.pipeline.finished and self._drain_by is None:
            self._turn()
        if self._drain_by is not None:
            return self._drain()
        self._checkpoint_and_wait(finished=True)
        return "finished"

    def _turn(self) -> None:
        """One turn of the loop: read, step, write, checkpoint; sleep only if there was nothing to do."""
        clock = self._world.clock
        self._driver.read()
        rows = self._driver.step()
        now = clock.monotonic()
        self._driver.tick(now)
        self._write()
        self._changed = self._changed or rows > 0
        self._checkpointer.poll()
        if (
            self._changed
            and not self._checkpointer.in_flight
            and now - self._last_checkpoint >= self._interval
        ):
            self._begin_checkpoint(finished=False)
        if not isinstance(self._progress, Silent):
            self._progress.update(self.stats())
        if not rows:
            clock.wait(IDLE_WAIT)

    def _write(self) -> None:
        for name, batch in self._driver.pipeline.take_written():
            self._changed = True
            while self._sinks[name].full:
                self._wait()
            self._sinks[name].write(batch)

    def _begin_checkpoint(self, finished: bool) -> None:
        self._driver.pipeline.settle()
        self._write()
        self._last_checkpoint = self._world.clock.monotonic()
        self._changed = False
        self._checkpointer.begin(self.capture(), finished)
        self._checkpointer.poll()

    def capture(self) -> Captured:
        """What a checkpoint of now holds."""
        return self._driver.pipeline.capture()

    def _drain(self) -> Outcome:
        while not self._driver.replayable and (self._driver.step() or self._driver.full):
            self._driver.tick(self._world.clock.monotonic())  # what was read would be lost
            self._write()
            if self._driver.full:
                self._wait()
            self._check_deadline()
        if self.options.finish:
            self._driver.pipeline.finish()
            while not self._driver.answered():
                self._write()
                self._wait()
        self._checkpoint_and_wait(self.options.finish)
        return "finished" if self.options.finish else "drained"

    def _checkpoint_and_wait(self, finished: bool) -> None:
        self._write()
        self._wait_for_checkpoint()
        self._begin_checkpoint(finished)
        self._wait_for_checkpoint()

    def _wait_for_checkpoint(self) -> None:
        while self._checkpointer.in_flight:
            self._checkpointer.poll()
            if self._checkpointer.in_flight:
                self._wait()

    def _wait(self) -> None:
        """Let the lanes get on with it; gives up when a drain takes too long."""
        self._check_deadline()
        self._world.clock.wait(IDLE_WAIT)

    def _check_deadline(self) -> None:
        if self._drain_by is not None and self._world.clock.monotonic() > self._drain_by:
            raise DrainTimeoutError(
                "the drain took too long",
                expected=f"a last checkpoint within {show_duration(round(self._drain_timeout * 1e6))}",
                found=f"checkpoint {self._checkpointer.last_number} is the last that completed",
                remedy="start the job again: it goes on from there; or give a longer drain timeout",
            )

    # ------------------------------------------------------------------ end

    def _fail(self, error: BaseException, written: Future[Any] | None = None) -> NoReturn:
        """Close all, and raise `error`, or `TakenOverError` where that is what lies behind it."""
        try:
            self._close()
        except Exception as another:
            error.add_note(f"closing failed as well: {another}")
        if isinstance(error, Exception) and not isinstance(error, TakenOverError):
            fenced = taken_over(self._store, written)
            if fenced is not None:
                raise fenced from error
        raise error

    def _close(self) -> None:
        """End everything, whatever fails on the way. Lanes have little left to do unless one hangs."""
        clock = self._world.clock
        ends = clock.monotonic() + LANE_TIMEOUT

        def left() -> float:
            return max(LANE_TIMEOUT / 50, ends - clock.monotonic())

        with ExitStack() as last_first:
            last_first.callback(self._world.close)
            last_first.callback(self._store.release)
            for name, writer in self._writers.items():
                sink = self._sinks.get(name)
                last_first.callback(writer.close if sink is None else partial(sink.close, left))
            if self._lane is not None:
                last_first.callback(lambda lane: lane.close(left()), self._lane)
            last_first.callback(self._driver.close)


def default_state(flow: str, mode: Mode, span: Span | None = None) -> str:
    """Where the state of a flow's job lives unless said otherwise."""
    return os.path.join(".streamlib", job_name(flow, mode, span))
