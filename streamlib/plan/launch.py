"""How a flow reaches the runners without the plan knowing them: they register themselves here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import pyarrow as pa

from streamlib.core.errors import InvariantError
from streamlib.core.settings import GuaranteeLevel, Settings, WorkerKind
from streamlib.core.span import Span
from streamlib.core.time import Duration

Outcome = Literal["finished", "drained", "already finished"]
Status = Literal["running", "finished", "drained", "failed"]
Until = Duration | datetime
"""When to stop: after so much time (`"10s"`), or when the watermark has come to an instant (a `datetime`)."""


@dataclass(frozen=True)
class JobOptions:
    """How a job is run: what the settings came to, and what one run was asked for.

    Attributes:
        state: folder of the job's state. Default: `.streamlib/<flow>` (`.streamlib/<flow>.backfill`
            for a batch run) below the working directory.
        checkpoint_interval: time between checkpoints. Output appears at checkpoints.
        takeover: take the job from a process that still runs.
        finish: when stopped, close all windows and end the job for good.
        drain_timeout: how long a stop may take.
        guarantee: the least that the flow must promise for the job to start; None: whatever it can.
        parallelism: how many workers share the operators, 1 to 128.
        workers: whether they are threads or processes; see `Settings`.
        span: the event times to which a batch run is limited; None: all.
        completes: the id of a job to whose output this one adds, as a redrive does; None: of none.
    """

    state: str | None = None
    checkpoint_interval: Duration = "10s"
    takeover: bool = False
    finish: bool = False
    drain_timeout: Duration = "60s"
    guarantee: GuaranteeLevel | None = None
    parallelism: int = 1
    workers: WorkerKind = "auto"
    span: Span | None = None
    completes: str | None = None


@dataclass(frozen=True)
class JobResult:
    """How a run ended.

    Attributes:
        outcome: `finished` (all input read, all windows closed), `drained` (stopped; can go on), or
            `already finished` (an earlier run had finished; nothing was read).
        job: the job's id; it begins the names of published files.
        rows: rows that entered since the job began.
        rows_read: rows that entered in this run.
        late_rows: rows late for all their windows since the job began.
        checkpoints: checkpoints completed in this run.
        last_checkpoint: number of the last completed checkpoint.
        restored_from: number of the checkpoint this run went on from, or None.
        seconds: how long `run` took.
        skipped: by operator, records that failed and were left out since the job began.
        dead_letters: by operator, records that failed and became dead letters since the job began.
    """

    outcome: Outcome
    job: str
    rows: int
    rows_read: int
    late_rows: int
    checkpoints: int
    last_checkpoint: int
    restored_from: int | None
    seconds: float
    skipped: Mapping[str, int] = field(default_factory=dict)
    dead_letters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Stats:
    """What a running job knows of itself, at the end of a step.

    Attributes:
        mode: how rows are admitted.
        rows: rows that entered since the job began.
        rows_read: rows that entered in this run.
        total_rows: in a batch, rows of all sources, where they all know it.
        seconds: for how long this run works, in processing time.
        newest: the largest event time that entered, in microseconds.
        watermark: the least watermark of the sources, in microseconds.
        late_rows: rows late for all their windows since the job began.
        checkpoints: checkpoints completed in this run.
        last_checkpoint: number of the last completed checkpoint.
        skipped: by operator, records that failed and were left out since the job began.
        dead_letters: by operator, records that failed and became dead letters since the job began.
    """

    mode: Literal["streaming", "batch"]
    rows: int
    rows_read: int
    total_rows: int | None
    seconds: float
    newest: int
    watermark: int
    late_rows: int
    checkpoints: int
    last_checkpoint: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    dead_letters: Mapping[str, int] = field(default_factory=dict)


class Job(Protocol):
    """A job that runs in the background: what `flow.start()` returns.

    `with flow.start() as job:` drains it at the end of the block. A job that nobody drained is drained
    when the interpreter ends. It shows itself: in a notebook as a table, elsewhere as a line.
    """

    @property
    def status(self) -> Status:
        """`running`; `finished` (all input read, all windows closed), `drained` (can go on), `failed`."""
        ...

    def stats(self) -> Stats:
        """How the job stood at the end of its last step; after its end, how it ended."""
        ...

    def drain(self) -> JobResult:
        """Stop soon, with one last checkpoint, and wait for it; at once if the job has ended.

        Open windows stay in the state; the next start goes on from there. Takes at most the job's
        `drain_timeout`, after which it raises. Raises what the job failed with.
        """
        ...

    def wait(self, timeout: Duration | None = None) -> JobResult:
        """Wait for the end. Interrupting the wait leaves the job running.

        Raises what the job failed with, and `JobRunningError`, a `TimeoutError`, if it still runs
        after `timeout`.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Preview(Protocol):
    """The first rows of a stream: what `stream.preview()` returns. Shows itself as a table with types."""

    @property
    def table(self) -> pa.Table:
        """The rows that are shown."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What to know about them: how much was read, and why no more."""
        ...


class Launcher(Protocol):
    """What `Flow.run`, `Flow.start`, `Flow.backfill`, `collect` and `preview` call.

    Flows and streams are `Any` here: their modules call this one, so it can't name their types.
    """

    def run(self, flow: Any, asked: Settings, *, takeover: bool, finish: bool) -> JobResult: ...
    def start(self, flow: Any, asked: Settings, *, takeover: bool, finish: bool) -> Job: ...
    def backfill(self, flow: Any, asked: Settings, *, takeover: bool, span: Span | None) -> JobResult: ...
    def collect(self, flow: Any, n: int | None, until: Until | None) -> Mapping[str, pa.Table]: ...
    def collect_stream(self, stream: Any, n: int | None, until: Until | None) -> pa.Table: ...
    def preview(self, stream: Any, n: int, until: Until) -> Preview: ...


_makers: list[Callable[[], Launcher]] = []


def register(make: Callable[[], Launcher]) -> None:
    """Let flows use the launcher that `make` makes; the face of the package registers one when imported."""
    _makers[:] = [make]


def launcher() -> Launcher:
    """A launcher of the registered kind."""
    if not _makers:
        raise InvariantError("no runner is registered", remedy="import streamlib before running a flow")
    return _makers[0]()
