"""A job on a thread of its own: what `flow.start()` returns."""

from __future__ import annotations

import atexit
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from streamlib.core.errors import StreamlibError
from streamlib.core.redaction import redacted
from streamlib.core.time import Duration, duration, show_duration
from streamlib.plan.flow import Flow
from streamlib.plan.launch import JobOptions, JobResult, Stats, Status
from streamlib.runners.job import Job
from streamlib.runners.notebook import figures, status_html
from streamlib.runners.progress import progress_line, summary
from streamlib.runners.stats import Progress, Silent
from streamlib.runners.switching import quick_switching
from streamlib.runners.world import LocalWorld

GRACE = 10.0  # seconds beyond the drain timeout: a job needs at most 5 to close what hangs
JOIN_TIMEOUT = 1.0  # seconds an ended thread gets to be gone: it has nothing left to do


class JobRunningError(StreamlibError, TimeoutError):
    """The job still runs; nothing about it was changed by waiting.

    `job.wait("60s")` gives up after that time. Wait again, `job.drain()` it, or look at `job.stats()`.
    """

    code = "SL207"


class _Watched:
    """Progress that remembers what it was last told."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.latest: Stats | None = None

    def update(self, stats: Stats) -> None:
        self.latest = stats
        self._progress.update(stats)

    def close(self, stats: Stats) -> None:
        self.latest = stats
        self._progress.close(stats)

    def open(self) -> None:
        self._progress.open()

    def ended(self, status: Status, line: str) -> None:
        self._progress.ended(status, line)


class BackgroundJob:
    """See `streamlib.Job`. `start` once, before anything else.

    The thread is a daemon, so that user code which hangs can't keep a process alive for ever. Yet it
    must be gone when the interpreter ends, which stops daemons wherever they are, and inside of
    Arrow's C++ that aborts the process: so the job is drained at exit.
    """

    def __init__(self, flow: Flow, options: JobOptions, progress: Progress) -> None:
        self._progress = progress
        self._watched = _Watched(progress)
        self._job = Job(flow, "streaming", options, LocalWorld(), self._watched)
        self._patience = duration(options.drain_timeout) / 1e6 + GRACE
        self._ended = threading.Event()
        self._result: JobResult | None = None
        self._error: BaseException | None = None
        self._asked = False
        name = f"streamlib-job-{flow.name}"
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Bind, take the job, restore, and go on in the background. Raises what keeps it from starting."""
        self._job.start()
        self._watched.latest = replace(self._job.stats(), seconds=0.0)
        self._watched.open()
        atexit.register(self._at_exit)
        self._thread.start()

    def _work(self) -> None:
        try:
            with quick_switching():
                self._result = self._job.run()
        except BaseException as error:  # whatever it is, whoever waits has to hear of it
            self._error = error
        self._watched.ended(self.status_at_end, self._end_line())
        self._ended.set()

    # ------------------------------------------------------------------ how it goes

    @property
    def status(self) -> Status:
        """See `streamlib.Job.status`."""
        return self.status_at_end if self._ended.is_set() else "running"

    @property
    def status_at_end(self) -> Status:
        """How it ended; only meaningful once it has."""
        if self._result is None:
            return "failed"
        return "drained" if self._result.outcome == "drained" else "finished"

    def stats(self) -> Stats:
        """See `streamlib.Job.stats`."""
        assert self._watched.latest is not None
        return self._watched.latest

    def _end_line(self) -> str:
        if self._result is not None:
            return summary(self._result, self._job.flow.name, self._job.state)
        return f"{self._job.flow.name} failed: {_first_line(self._error)}"

    # ------------------------------------------------------------------ ends

    def drain(self) -> JobResult:
        """See `streamlib.Job.drain`."""
        self._job.drain()
        return self._wait(self._patience)

    def wait(self, timeout: Duration | None = None) -> JobResult:
        """See `streamlib.Job.wait`."""
        return self._wait(None if timeout is None else duration(timeout) / 1e6)

    def _wait(self, seconds: float | None) -> JobResult:
        if not self._ended.wait(seconds):
            assert seconds is not None
            raise JobRunningError(
                f"the job of flow {self._job.flow.name!r} still runs",
                expected=f"its end within {show_duration(round(seconds * 1e6))}",
                found=progress_line(self.stats(), _rate(self.stats())),
                remedy="wait longer, or `drain()` it; if it does not drain, a user function may hang",
            )
        self._thread.join(JOIN_TIMEOUT)
        self._asked = True
        atexit.unregister(self._at_exit)
        if self._result is not None:
            return self._result
        assert self._error is not None
        if isinstance(self._error, Exception):
            raise self._error
        raise StreamlibError(  # raised as it is, it would end this thread too, maybe with exit code 0
            f"the flow's own code raised {self._error!r}",
            remedy="raise an Exception where a job is to fail",
        ) from self._error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.drain()
            return
        try:
            self.drain()
        except Exception as another:
            if another is not error:
                error.add_note(f"the job failed as well: {another}")

    def _at_exit(self) -> None:
        if not self._ended.is_set():
            self._job.drain()
            if not self._ended.wait(self._patience):
                self._say("was left behind: it did not drain; its last completed checkpoint stands")
        if self._ended.is_set():
            self._thread.join(JOIN_TIMEOUT)
        if self._error is not None and not self._asked and isinstance(self._progress, Silent):
            self._say(f"failed: {_first_line(self._error)}")

    def _say(self, text: str) -> None:
        with suppress(Exception):  # stderr may be gone by now
            print(f"{self._job.flow.name} {text}", file=sys.stderr, flush=True)

    # ------------------------------------------------------------------ shows itself

    def __repr__(self) -> str:
        stats = self.stats()
        line = progress_line(stats, _rate(stats))
        return f"<job {self._job.flow.name!r} {self.status}: {line}>"

    def _repr_html_(self) -> str:
        note = self._end_line() if self._ended.is_set() else f"state in {self._job.state}"
        stats = self.stats()
        return status_html(self._job.flow.name, self.status, figures(stats, _rate(stats)), note)


def _rate(stats: Stats) -> float:
    return stats.rows_read / stats.seconds if stats.seconds > 0 else 0.0


def _first_line(error: BaseException | None) -> str:
    """What went wrong on one line; the exception itself tells the rest to whoever asks."""
    text = redacted(str(error)).splitlines()
    name = type(error).__name__
    return f"{name}: {text[0]}" if text and text[0] else name
