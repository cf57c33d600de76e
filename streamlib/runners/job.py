"""A job: a flow on a state folder, run as a stream or as a batch, with checkpoints and exact output.

`start` binds, takes the job and recovers; `run` works until the input ends or `drain` is called.
"""

from __future__ import annotations

import os

from streamlib.checkpoint.manifest import Manifest
from streamlib.checkpoint.store import StateStore
from streamlib.core.contracts import Cleans, SinkContext, SinkWriter
from streamlib.core.errors import StateError, StateIncompatibleError, StreamlibError
from streamlib.core.time import duration, show_duration
from streamlib.plan.bind import BoundFlow
from streamlib.plan.flow import Flow
from streamlib.plan.launch import JobOptions, JobResult, Outcome
from streamlib.plan.node import Node, Write
from streamlib.runners.checkpointing import Checkpointer, SinkLane
from streamlib.runners.driver import Driver
from streamlib.runners.stats import Progress, Silent, Stats
from streamlib.runners.world import World
from streamlib.runtime.pipeline import Captured, Mode

CHECKPOINT_LANE = "checkpoint"
IDLE_WAIT = 0.05  # seconds: how long a loop with nothing to do sleeps unless woken
LANE_TIMEOUT = 5.0  # seconds a lane gets to end after a failure


class DrainTimeoutError(StateError):
    """The last checkpoint of a drain did not complete in time; the one before it stands."""


class Job:
    """One attempt at a job. `start`, then `run`, each once."""

    def __init__(
        self, flow: Flow, mode: Mode, options: JobOptions, world: World, progress: Progress | None = None
    ) -> None:
        self.flow = flow
        self.mode: Mode = mode
        self.options = options
        self.state = os.path.abspath(options.state or default_state(flow.name, mode))
        self._interval = duration(options.checkpoint_interval) / 1e6
        self._drain_timeout = duration(options.drain_timeout) / 1e6
        self._world = world
        self._progress = progress or Silent()
        self._draining = False
        self._writers: dict[str, SinkWriter] = {}
        self._sinks: dict[str, SinkLane] = {}
        self._started_rows = 0
        self._began = 0.0

    # ------------------------------------------------------------------ start

    def start(self) -> None:
        """Bind the flow, take the job, restore its newest checkpoint and finish its commits.

        Raises whatever keeps the job from running; nothing has been read then.
        """
        bound = self.flow.bind()
        self._driver = Driver(bound, self.mode, self._world)
        attempt = self._world.new_id()
        self._store = StateStore(self.state, self._world.disk, self._world.clock, attempt)
        new_job = f"{self.flow.name}_{self._world.new_id()[:6]}"
        restored = self._store.open(flow=self.flow.name, new_job=new_job, takeover=self.options.takeover)
        self.job = restored.job
        self._manifest = restored.manifest
        try:
            self._recover(bound, attempt)
        except (Exception, KeyboardInterrupt):
            for writer in self._writers.values():
                writer.close()
            self._store.release()
            self._world.close()
            raise

    def _recover(self, bound: BoundFlow, attempt: str) -> None:
        manifest = self._manifest
        if manifest is not None:
            self._restore(manifest)
        self._open_sinks(bound, attempt)
        self._finish_commits(self._writers)
        self._sinks = {name: SinkLane(w, self._world.lane(name)) for name, w in self._writers.items()}
        lane = self._world.lane(CHECKPOINT_LANE)
        self._lanes = [*(sink.lane for sink in self._sinks.values()), lane]
        last_number = manifest.number if manifest is not None else 0
        self._checkpointer = Checkpointer(self._store, lane, self._sinks, last_number)
        self._started_rows = self._driver.pipeline.rows

    def _restore(self, manifest: Manifest) -> None:
        states = self._store.load(manifest)
        versions = {name: entry.version for name, entry in manifest.operators.items()}
        captured = Captured(manifest.positions, manifest.watermarks, states, versions)
        self._driver.pipeline.restore(captured, self._world.clock.monotonic())

    def _open_sinks(self, bound: BoundFlow, attempt: str) -> None:
        for name, (bound_node, write) in bound.writes().items():
            context = SinkContext(self.job, name, attempt, bound_node.input_types[0].schema, self._world.disk)
            self._writers[name] = _open_sink(bound_node.node, write, context)
            self._check_not_behind(name, self._writers[name])

    def _check_not_behind(self, name: str, writer: SinkWriter) -> None:
        number = self._manifest.number if self._manifest is not None else 0
        shown = writer.last_committed()
        if shown > number:
            raise StateError(
                f"sink {name!r} has published more than the state knows of",
                expected=f"output up to checkpoint {number}, the newest in {self.state}",
                found=f"output of checkpoint {shown}",
                remedy="put the missing manifests back; going on from here would publish rows twice",
            )

    def _finish_commits(self, writers: dict[str, SinkWriter]) -> None:
        """Repeat the commits that an earlier attempt may not have finished."""
        for name, commits in dict(self._store.pending).items():
            if name not in writers:
                raise StateIncompatibleError(
                    f"rows for sink {name!r} wait to be published, and the flow has no such sink",
                    expected=f"a sink {name!r}",
                    found=f"sinks {', '.join(writers)}",
                    remedy="run once with the sink under its old name",
                )
            for commit in list(commits):
                writers[name].commit(commit.number, commit.value)
                self._store.acknowledge(name, commit.number)
        for writer in writers.values():
            if isinstance(writer, Cleans):
                writer.clean(set())

    # ------------------------------------------------------------------ run

    def run(self) -> JobResult:
        """Work until the input ends or `drain` was called. Cleans up and re-raises what goes wrong."""
        clock = self._world.clock
        self._began = clock.monotonic()
        try:
            outcome = self._work()
        except (Exception, KeyboardInterrupt):
            self._close(LANE_TIMEOUT)
            raise
        self._close(self._drain_timeout)
        stats = self.stats()
        if outcome != "already finished":
            self._progress.close(stats)
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
        )

    def drain(self) -> None:
        """Stop soon: take what was read, checkpoint, commit. Safe from signal handlers and threads."""
        self._draining = True
        wake = getattr(self._world, "wake", None)
        if wake is not None:
            wake()

    def stats(self) -> Stats:
        """How the job stands."""
        pipeline = self._driver.pipeline
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
        )

    def _work(self) -> Outcome:
        if self._manifest is not None and self._manifest.finished:
            return "already finished"
        self._driver.open()
        self._last_checkpoint = self._world.clock.monotonic()
        self._changed = False
        while not self._driver.pipeline.finished and not self._draining:
            self._turn()
        if self._draining:
            return self._drain()
        self._checkpoint_and_wait(finished=True, deadline=None)
        return "finished"

    def _turn(self) -> None:
        """One turn of the loop: read, step, write, checkpoint; sleep only if there was nothing to do."""
        clock = self._world.clock
        self._driver.read()
        rows = self._driver.step()
        self._driver.pipeline.tick(clock.monotonic())
        self._write()
        self._changed = self._changed or rows > 0
        self._checkpointer.poll()
        now = clock.monotonic()
        if (
            self._changed
            and not self._checkpointer.in_flight
            and now - self._last_checkpoint >= self._interval
        ):
            self._begin_checkpoint(finished=False)
        self._progress.update(self.stats())
        if not rows:
            clock.wait(IDLE_WAIT)

    def _write(self) -> None:
        for name, batch in self._driver.pipeline.take_written():
            self._changed = True
            self._sinks[name].write(batch.to_arrow())

    def _begin_checkpoint(self, finished: bool) -> None:
        self._last_checkpoint = self._world.clock.monotonic()
        self._changed = False
        self._checkpointer.begin(self._driver.pipeline.capture(), finished)
        self._checkpointer.poll()

    def _drain(self) -> Outcome:
        deadline = self._world.clock.monotonic() + self._drain_timeout
        while not self._driver.replayable and self._driver.step():  # what was read would be lost
            self._write()
            self._check_deadline(deadline)
        if self.options.finish:
            self._driver.pipeline.finish()
            self._write()
        self._checkpoint_and_wait(self.options.finish, deadline)
        return "finished" if self.options.finish else "drained"

    def _checkpoint_and_wait(self, finished: bool, deadline: float | None) -> None:
        self._write()
        self._wait_for_checkpoint(deadline)
        self._begin_checkpoint(finished)
        self._wait_for_checkpoint(deadline)

    def _wait_for_checkpoint(self, deadline: float | None) -> None:
        while self._checkpointer.in_flight:
            self._checkpointer.poll()
            if self._checkpointer.in_flight:
                self._check_deadline(deadline)
                self._world.clock.wait(IDLE_WAIT)

    def _check_deadline(self, deadline: float | None) -> None:
        if deadline is not None and self._world.clock.monotonic() > deadline:
            raise DrainTimeoutError(
                "the drain took too long",
                expected=f"a last checkpoint within {show_duration(round(self._drain_timeout * 1e6))}",
                found=f"checkpoint {self._checkpointer.last_number} is the last that completed",
                remedy="start the job again: it goes on from there; or give a longer drain timeout",
            )

    def _close(self, timeout: float) -> None:
        self._driver.close()
        for lane in self._lanes:
            lane.close(timeout)
        for sink in self._sinks.values():
            sink.writer.close()
        self._store.release()
        self._world.close()


def default_state(flow: str, mode: Mode) -> str:
    """Where the state of a flow's job lives unless said otherwise."""
    suffix = ".backfill" if mode == "batch" else ""
    return os.path.join(".streamlib", flow + suffix)


def _open_sink(node: Node, write: Write, context: SinkContext) -> SinkWriter:
    try:
        return write.sink.open(context)
    except StreamlibError as error:
        raise node.blame(error) from error.__cause__
