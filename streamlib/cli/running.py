"""`streamlib run` and `streamlib backfill`: a job from its start to its exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from streamlib.cli.loading import loaded, refusing
from streamlib.cli.options import by_flag
from streamlib.cli.printing import (
    DRAIN_TIMED_OUT,
    FAILED,
    FINISHED,
    NOT_STARTED,
    TAKEN_OVER,
    crash,
    refuse,
    say,
)
from streamlib.core.errors import StreamlibError, TakenOverError
from streamlib.core.settings import Settings
from streamlib.core.span import Span
from streamlib.runners.job import DrainTimeoutError, Job
from streamlib.runners.progress import progress_to, summary
from streamlib.runners.settings import effective
from streamlib.runners.signals import AbortedError, draining_on_signals
from streamlib.runners.switching import quick_switching
from streamlib.runners.world import LocalWorld
from streamlib.runtime.pipeline import Mode


def execute(
    target: str,
    parameters: Sequence[str],
    mode: Mode,
    asked: Settings,
    *,
    takeover: bool = False,
    finish: bool = False,
    span: tuple[str | None, str | None] = (None, None),
) -> None:
    """Run a flow to its end; ends the process with the exit code."""
    flow = loaded(target, parameters)
    with refusing(NOT_STARTED):
        limits = Span.of(*span)
        found = effective(flow, mode, asked, by_flag, span=limits)
    options = found.options(takeover=takeover, finish=finish, span=limits)
    job = Job(flow, mode, options, LocalWorld(), progress_to(sys.stderr, found["progress"]))
    with quick_switching(), draining_on_signals(job):
        sys.exit(_start(job) or _run(job))


def _start(job: Job) -> int:
    """Start the job; the exit code if it did not, else 0."""
    try:
        job.start()
    except StreamlibError as error:
        return refuse(error, TAKEN_OVER if isinstance(error, TakenOverError) else NOT_STARTED)
    except AbortedError:
        return say("aborted before the start", FAILED)
    except Exception as error:
        return crash(error, NOT_STARTED)
    return 0


def _run(job: Job) -> int:
    try:
        result = job.run()
    except AbortedError:
        return say("aborted; the last completed checkpoint stands", FAILED)
    except SystemExit as error:  # with its code, often 0, the job would look finished
        return say(
            f"the flow's own code called sys.exit({error.code!r}); the last completed checkpoint stands",
            FAILED,
        )
    except StreamlibError as error:
        return refuse(error, _failure(error))
    except Exception as error:
        return crash(error, FAILED)
    return say(summary(result, job.flow.name, job.state), FINISHED)


def _failure(error: StreamlibError) -> int:
    if isinstance(error, TakenOverError):
        return TAKEN_OVER
    return DRAIN_TIMED_OUT if isinstance(error, DrainTimeoutError) else FAILED
