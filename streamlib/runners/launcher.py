"""What `flow.run`, `flow.backfill` and `collect` do."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pyarrow as pa

from streamlib.connectors import memory
from streamlib.core.batch import Batch
from streamlib.plan.bind import BoundFlow, bind_flow
from streamlib.plan.flow import Flow
from streamlib.plan.launch import JobOptions, JobResult, ProgressStyle
from streamlib.plan.node import Node, Write
from streamlib.plan.stream import Handle
from streamlib.runners.driver import Driver
from streamlib.runners.job import IDLE_WAIT, Job
from streamlib.runners.progress import progress_to, summary
from streamlib.runners.signals import draining_on_signals
from streamlib.runners.world import LocalWorld
from streamlib.runtime.pipeline import Mode

SWITCH_INTERVAL = 0.0005  # seconds: at Python's 5 ms a busy thread alone costs 5 ms of latency


class LocalLauncher:
    """Runs flows in this process."""

    def run(self, flow: Flow, options: JobOptions, progress: ProgressStyle) -> JobResult:
        """See `Flow.run`."""
        return run_job(flow, "streaming", options, progress)

    def backfill(self, flow: Flow, options: JobOptions, progress: ProgressStyle) -> JobResult:
        """See `Flow.backfill`."""
        return run_job(flow, "batch", options, progress)

    def collect(self, flow: Flow) -> Mapping[str, pa.Table]:
        """Run as a batch, without a job; what each sink would have got, by the sink's name."""
        return _collect(flow.bind())

    def collect_stream(self, stream: Handle) -> pa.Table:
        """Run what is above a stream as a batch, without a job."""
        node = Node(Write(memory.sink()), (stream.port,), "collect")
        return _collect(bind_flow("collect", [node]))["collect"]


def run_job(flow: Flow, mode: Mode, options: JobOptions, progress: ProgressStyle) -> JobResult:
    """Start and run a job in this process, with progress on stderr."""
    job = Job(flow, mode, options, LocalWorld(), progress_to(sys.stderr, progress))
    with quick_switching(), draining_on_signals(job):
        job.start()
        result = job.run()
    if result.outcome == "already finished" and progress != "none":
        print(summary(result, flow.name, job.state), file=sys.stderr)
    return result


@contextmanager
def quick_switching() -> Iterator[None]:
    """Let threads of the interpreter take turns more often while a job runs."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _collect(flow: BoundFlow) -> dict[str, pa.Table]:
    """The rows for each sink, taken from the engine: no sink is opened."""
    world = LocalWorld()
    driver = Driver(flow, "batch", world)
    found: dict[str, list[Batch]] = {name: [] for name in flow.writes()}
    try:
        driver.open()
        while not driver.pipeline.finished:
            driver.read()
            if not driver.step() and not driver.pipeline.finished:
                world.clock.wait(IDLE_WAIT)
            for name, batch in driver.pipeline.take_written():
                found[name].append(batch)
    finally:
        driver.close()
        world.close()
    return {
        name: pa.Table.from_batches([b.to_arrow() for b in found[name]], bound.input_types[0].schema)
        for name, (bound, _) in flow.writes().items()
    }
