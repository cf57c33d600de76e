"""What `flow.run`, `flow.start`, `flow.backfill`, `collect` and `preview` do."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import pyarrow as pa

from streamlib.plan.flow import Flow
from streamlib.plan.launch import Job as PublicJob
from streamlib.plan.launch import JobOptions, JobResult, Preview, ProgressStyle, Until
from streamlib.plan.stream import Handle
from streamlib.runners.background import BackgroundJob
from streamlib.runners.collecting import COLLECTED, collect, only
from streamlib.runners.job import Job, default_state
from streamlib.runners.notebook import NotebookProgress, in_notebook
from streamlib.runners.preview import preview
from streamlib.runners.progress import progress_to, summary
from streamlib.runners.signals import draining_on_signals
from streamlib.runners.stats import Progress
from streamlib.runners.switching import quick_switching
from streamlib.runners.world import LocalWorld
from streamlib.runtime.pipeline import Mode


class LocalLauncher:
    """Runs flows in this process."""

    def run(self, flow: Flow, options: JobOptions, progress: ProgressStyle) -> JobResult:
        """See `Flow.run`."""
        return run_job(flow, "streaming", options, progress)

    def backfill(self, flow: Flow, options: JobOptions, progress: ProgressStyle) -> JobResult:
        """See `Flow.backfill`."""
        return run_job(flow, "batch", options, progress)

    def start(self, flow: Flow, options: JobOptions, progress: ProgressStyle) -> PublicJob:
        """See `Flow.start`."""
        job = BackgroundJob(flow, options, progress_for(flow, "streaming", options, progress))
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
        return NotebookProgress(flow.name, options.state or default_state(flow.name, mode))
    return progress_to(sys.stderr, style)
