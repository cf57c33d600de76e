"""The `streamlib` command. Data goes to stdout, everything else to stderr.

Exit codes: 0 finished or drained, 1 failed, 2 wrong usage, 3 could not start, 4 the drain timed
out, 5 taken over by another process (don't restart).
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

import click

from streamlib.cli.target import TargetError, load_flow
from streamlib.cli.tracebacks import users_line, users_traceback
from streamlib.core.errors import DefinitionError, StreamlibError, TakenOverError
from streamlib.core.time import duration
from streamlib.plan.launch import JobOptions, ProgressStyle
from streamlib.runners.job import DrainTimeoutError, Job
from streamlib.runners.progress import progress_to, summary
from streamlib.runners.signals import AbortedError, draining_on_signals
from streamlib.runners.switching import quick_switching
from streamlib.runners.world import LocalWorld
from streamlib.runtime.pipeline import Mode

FINISHED, FAILED, USAGE, NOT_STARTED, DRAIN_TIMED_OUT, TAKEN_OVER = range(6)


class _Duration(click.ParamType[str]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            duration(value)
        except DefinitionError as error:
            self.fail(f"{error.found} is not a duration; expected {error.expected}", param, ctx)
        return value


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="streamlib")
def main() -> None:
    """Run flows: as a stream, or as a batch over history."""


def _job_options(command: Callable[..., None]) -> Callable[..., None]:
    options = [
        click.argument("target", metavar="TARGET"),
        click.option(
            "--state", metavar="FOLDER", help="Folder of the job's state. Default: .streamlib/<flow>"
        ),
        click.option(
            "--checkpoint-interval",
            type=_Duration(),
            default="10s",
            show_default=True,
            help="Time between checkpoints; output appears at checkpoints.",
        ),
        click.option("--takeover", is_flag=True, help="Take the job from a process that still runs."),
        click.option(
            "--drain-timeout",
            type=_Duration(),
            default="60s",
            show_default=True,
            help="How long a stop may take before it is given up (exit 4).",
        ),
        click.option(
            "--progress",
            type=click.Choice(["auto", "live", "plain", "none"]),
            default="auto",
            show_default=True,
            help="How progress is shown on stderr.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command(short_help="Stream TARGET until its input ends or a signal comes.")
@_job_options
@click.option("--finish", is_flag=True, help="When stopped, close all windows and end the job for good.")
def run(target: str, progress: ProgressStyle, **options: Any) -> None:
    """Stream TARGET (FILE.py:NAME or MODULE:NAME) until its input ends or a signal comes.

    SIGTERM or Ctrl-C drains: open windows stay in the state for the next start. A second signal
    aborts; the last completed checkpoint stands.
    """
    _execute(target, "streaming", JobOptions(**options), progress)


@main.command(short_help="Run TARGET as a batch over its bounded sources.")
@_job_options
def backfill(target: str, progress: ProgressStyle, **options: Any) -> None:
    """Run TARGET (FILE.py:NAME or MODULE:NAME) as a batch over its bounded sources."""
    _execute(target, "batch", JobOptions(**options), progress)


def _execute(target: str, mode: Mode, options: JobOptions, progress: ProgressStyle) -> None:
    try:
        flow = load_flow(target)
    except TargetError as error:
        sys.exit(_refuse(error, USAGE))
    except StreamlibError as error:
        error.add_note(f"raised by {users_line(error)}")
        sys.exit(_refuse(error, NOT_STARTED))
    except SystemExit as error:  # with its code, often 0, the job would look finished
        sys.exit(_say(f"{target} called sys.exit({error.code!r}) while it was loaded", NOT_STARTED))
    except Exception as error:
        sys.exit(_crash(error, NOT_STARTED))
    job = Job(flow, mode, options, LocalWorld(), progress_to(sys.stderr, progress))
    with quick_switching(), draining_on_signals(job):
        sys.exit(_start(job) or _run(job))


def _start(job: Job) -> int:
    """Start the job; the exit code if it did not, else 0."""
    try:
        job.start()
    except StreamlibError as error:
        return _refuse(error, TAKEN_OVER if isinstance(error, TakenOverError) else NOT_STARTED)
    except AbortedError:
        return _say("aborted before the start", FAILED)
    except Exception as error:
        return _crash(error, NOT_STARTED)
    return 0


def _run(job: Job) -> int:
    try:
        result = job.run()
    except AbortedError:
        return _say("aborted; the last completed checkpoint stands", FAILED)
    except SystemExit as error:  # with its code, often 0, the job would look finished
        return _say(
            f"the flow's own code called sys.exit({error.code!r}); the last completed checkpoint stands",
            FAILED,
        )
    except StreamlibError as error:
        return _refuse(error, _failure(error))
    except Exception as error:
        return _crash(error, FAILED)
    return _say(summary(result, job.flow.name, job.state), FINISHED)


def _failure(error: StreamlibError) -> int:
    if isinstance(error, TakenOverError):
        return TAKEN_OVER
    return DRAIN_TIMED_OUT if isinstance(error, DrainTimeoutError) else FAILED


def _say(text: str, code: int) -> int:
    click.echo(text, err=True)
    return code


def _crash(error: Exception, code: int) -> int:
    """An exception of the user's code, with the traceback of that code."""
    trace = users_traceback(error)
    if trace is None and isinstance(error, BrokenPipeError):
        return _say("stdout was closed by its reader; the last completed checkpoint stands", code)
    if trace is None and not isinstance(error, SyntaxError):  # that one says where it is
        trace = error.__traceback__
    lines = traceback.format_exception(type(error), error, trace)
    return _say("".join(lines).rstrip(), code)


def _refuse(error: StreamlibError, code: int) -> int:
    """One clear error, no traceback: the text says where, what, and what to do."""
    notes = getattr(error, "__notes__", [])
    return _say("\n".join([f"error: {error}", *(f"  note:     {note}" for note in notes)]), code)
