"""What `flow.run`, `flow.start`, `flow.backfill`, `collect` and `preview` do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

import pyarrow as pa

from streamlib.core.settings import ProgressStyle, Setting, Settings
from streamlib.core.span import Span
from streamlib.plan.flow import Flow
from streamlib.plan.launch import Job as PublicJob
from streamlib.plan.launch import JobOptions, JobResult, Preview, Until
from streamlib.plan.stream import Handle
from streamlib.runners.background import BackgroundJob
from streamlib.runners.collecting import COLLECTED, collect, only
from streamlib.runners.job import Job, default_state
from streamlib.runners.notebook import NotebookProgress, in_notebook
from streamlib.runners.preview import preview
from streamlib.runners.progress import progress_to, summary
from streamlib.runners.settings import effective
from streamlib.runners.signals import draining_on_signals
from streamlib.runners.stats import Progress
from streamlib.runners.switching import quick_switching
from streamlib.runners.world import LocalWorld
from streamlib.runtime.pipeline import Mode


class LocalLauncher:
    """Runs flows in this process."""

    def run(self, flow: Flow, asked: Settings, *, takeover: bool, finish: bool) -> JobResult:
        """See `Flow.run`."""
        found = effective(flow, "streaming", asked, _by_call("run"))
        return run_job(flow, "streaming", found.options(takeover=takeover, finish=finish), found["progress"])

    def backfill(self, flow: Flow, asked: Settings, *, takeover: bool, span: Span | None) -> JobResult:
        """See `Flow.backfill`."""
        found = effective(flow, "batch", asked, _by_call("backfill"), span=span)
        return run_job(flow, "batch", found.options(takeover=takeover, span=span), found["progress"])

    def start(self, flow: Flow, asked: Settings, *, takeover: bool, finish: bool) -> PublicJob:
        """See `Flow.start`."""
        found = effective(flow, "streaming", asked, _by_call("start"))
        options = found.options(takeover=takeover, finish=finish)
        job = BackgroundJob(flow, options, progress_for(flow, "streaming", options, found["progress"]))
        job.start()
        return job

    def collect(self, flow: Flow, n: int | None, until: Until | None) -> Mapping[str, pa.Table]:
        """See `Flow.collect`."""
        return collect(flow.bind(), n, until)

    def collect_stream(self, stream: Handle, n: int | None, until: Until | None) -> pa.Table:
        """See `Stream.collect`."""
        return collect(only(stream), n, until)[COLLECTED]

    def preview(self, stream: Handle, n: int, until: Until) -> Preview:
        """See `Stream.preview`."""
        return preview(stream, n, until)


def _by_call(method: str) -> Callable[[Setting], str]:
    return lambda setting: f"argument of {method}()"


def run_job(flow: Flow, mode: Mode, options: JobOptions, progress: ProgressStyle) -> JobResult:
    """Start and run a job in this process, with progress on stderr."""
    shown = progress_for(flow, mode, options, progress)
    job = Job(flow, mode, options, LocalWorld(), shown)
    with quick_switching(), draining_on_signals(job):
        job.start()
        shown.open()
        result = job.run()
    if result.outcome == "already finished" and progress != "none":
        print(summary(result, flow.name, job.state), file=sys.stderr)
    return result


def progress_for(flow: Flow, mode: Mode, options: JobOptions, style: ProgressStyle) -> Progress:
    """Where progress goes: by default into the notebook there is, else to stderr."""
    if style == "auto" and in_notebook():
        return NotebookProgress(flow.name, options.state or default_state(flow.name, mode, options.span))
    return progress_to(sys.stderr, style)
