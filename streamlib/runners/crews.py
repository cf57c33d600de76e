"""Which workers a job gets, and those that are threads."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Literal

from streamlib.core.contracts import OperatorSpec
from streamlib.core.errors import DefinitionError, NotPicklableError
from streamlib.core.expressions.walk import calls_per_record
from streamlib.plan.bind import BoundFlow
from streamlib.plan.launch import JobOptions
from streamlib.runners.clock import RealClock
from streamlib.runners.patience import ClockPatience
from streamlib.runners.pool import Hands
from streamlib.runtime.crew import Crew, InlineCrew
from streamlib.runtime.worker import Reply, Task

CrewKind = Literal["threads", "processes"]


def hired(
    flow: BoundFlow, options: JobOptions, make: Callable[[BoundFlow, int, CrewKind], Crew]
) -> Crew | None:
    """The crew that a job's options ask for; None where one worker does all, in the runner's thread."""
    _refuse_while_imported()
    if options.parallelism == 1:
        return None
    kind = options.workers
    return make(flow, options.parallelism, crew_kind(flow) if kind == "auto" else kind)


def crew_kind(flow: BoundFlow) -> CrewKind:
    """Processes where Python is called for every row, as only one thread at a time could, else threads.

    Warns where processes are wanted, and can't have the flow's functions.
    """
    specs = [bound.node.spec for bound in flow.nodes if isinstance(bound.node.spec, OperatorSpec)]
    if not any(spec.per_record or calls_per_record(spec) for spec in specs):
        return "threads"
    from streamlib.runners.processes import packed  # noqa: PLC0415 - see `LocalWorld.crew`

    try:
        packed(flow)
    except NotPicklableError as error:
        text = f"the workers are threads, of which one at a time runs Python, not processes: {error}"
        warnings.warn(text, stacklevel=2)
        return "threads"
    return "processes"


def _refuse_while_imported() -> None:
    """Raise `DefinitionError` in a worker process whose script runs the flow again while it is imported."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise DefinitionError(
            "a worker process imports this script, which runs the flow again",
            expected="a script that can be imported without running the flow",
            found="a run at the top level of the script",
            remedy='put it below `if __name__ == "__main__":`, or give workers="threads"',
        )


class ThreadCrew(InlineCrew):
    """Workers that run at the same time, in threads of this process; `wake` is called with every reply."""

    piece = 65_536  # rows: the largest batch of a stream stays whole, as kernels have costs a batch

    def __init__(self, flow: BoundFlow, size: int, wake: Callable[[], None] = lambda: None) -> None:
        super().__init__(flow, size, ClockPatience(RealClock()))  # whose waits nobody ends early
        self._hands = Hands(size, wake)

    def send(self, worker: int, task: Task) -> Future[Reply]:
        """Do the task in the worker's thread."""
        return self._hands.submit(worker, partial(self._workers[worker].run, task))

    def close(self) -> None:
        """End the threads."""
        self._hands.close()
