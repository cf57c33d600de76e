"""The `streamlib` command. Data goes to stdout, everything else to stderr.

Exit codes: 0 finished or drained, 1 failed, 2 wrong usage, 3 could not start, 4 the drain timed
out, 5 taken over by another process (don't restart).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from streamlib.cli import explaining, letters, options, planning, running
from streamlib.plan.render import FORMATS, PlanFormat

_EPILOG = """\b
TARGET is FILE.py:NAME or MODULE:NAME. NAME is a flow, or a function that
makes one of --param NAME=VALUE; without :NAME it is `flow`.

\b
Exit codes:
  0  finished, drained, or nothing wrong
  1  failed while running
  2  wrong usage
  3  could not start: the flow, its settings, files or state are not usable
  4  a stop took longer than --drain-timeout
  5  taken over by another process: don't restart it
"""
_SETTINGS = """\
What is not given here is looked for in the environment (STREAMLIB_STATE, ...), in streamlib.toml, and in
the flow's own settings; `streamlib check` shows what holds.
"""
_HELP = """\
Run flows: as a stream, or as a batch over history.

\b
  streamlib check hot.py      is it all right, and what would a run do?
  streamlib plan hot.py       its operators, columns, state and guarantees
  streamlib run hot.py        stream it until its end, or Ctrl-C
  streamlib backfill hot.py   the same over history, as a batch
  streamlib dlq ls out/dead   records that failed and were kept
  streamlib explain SL102     what an error means and what helps
"""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]}, help=_HELP, epilog=_EPILOG, no_args_is_help=True
)
@click.version_option(package_name="streamlib")
def main() -> None:
    """Hold the commands."""


@main.command(short_help="Stream TARGET until its input ends or a signal comes.", epilog=_SETTINGS)
@options.target
@options.settings
@click.option("--takeover", is_flag=True, help="Take the job from a process that still runs.")
@click.option("--finish", is_flag=True, help="When stopped, close all windows and end the job for good.")
def run(target: str, parameters: tuple[str, ...], takeover: bool, finish: bool, **settings: Any) -> None:
    """Stream TARGET (FILE.py:NAME or MODULE:NAME) until its input ends or a signal comes.

    SIGTERM or Ctrl-C drains: open windows stay in the state for the next start. A second signal
    aborts; the last completed checkpoint stands.
    """
    running.execute(
        target, parameters, "streaming", options.asked(settings), takeover=takeover, finish=finish
    )


@main.command(short_help="Run TARGET as a batch over its bounded sources.", epilog=_SETTINGS)
@options.target
@options.settings
@click.option("--takeover", is_flag=True, help="Take the job from a process that still runs.")
@click.option(
    "--start", metavar="INSTANT", help="The first event time, such as 2024-01-31 or 2024-01-31T10:00."
)
@click.option("--end", metavar="INSTANT", help="The first event time that is left out.")
def backfill(
    target: str,
    parameters: tuple[str, ...],
    takeover: bool,
    start: str | None,
    end: str | None,
    **settings: Any,
) -> None:
    """Run TARGET (FILE.py:NAME or MODULE:NAME) as a batch over its bounded sources: nothing is late.

    A backfill is a job of its own, with its own state; give it outputs of its own. With --start and --end
    (in UTC, unless an offset is given) it looks at the rows between them alone. Windows that reach
    beyond show what lies inside: give instants at which windows begin and end.
    """
    asked = options.asked(settings)
    running.execute(target, parameters, "batch", asked, takeover=takeover, span=(start, end))


@main.command(short_help="Show what TARGET would do: operators, columns, state, guarantees.")
@options.target
@click.option(
    "--format",
    type=click.Choice(list(FORMATS)),
    help="How to show it.  [default: by the name of --output, else text]",
)
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to FILE instead of stdout.",
)
def plan(target: str, parameters: tuple[str, ...], format: PlanFormat | None, output: Path | None) -> None:
    """Show what TARGET (FILE.py:NAME or MODULE:NAME) would do, without running it.

    text is for reading and for diff, tree an overview, json for programs (docs/plan.md), mermaid for
    Markdown pages, and svg a picture.
    """
    planning.plan(target, parameters, format, output)


@main.command(short_help="Check TARGET and its settings without running it.", epilog=_SETTINGS)
@options.target
@options.settings
def check(target: str, parameters: tuple[str, ...], **settings: Any) -> None:
    """Check TARGET (FILE.py:NAME or MODULE:NAME) as `run` would before it starts, without running it.

    Sources are asked for their columns, nothing else. Shows the guarantee, and every setting with where
    it came from: flag, environment, file and line, flow, or default. Secrets are named, never shown.
    """
    planning.check(target, parameters, options.asked(settings))


@main.group(short_help="Read and redrive dead letters: records that failed.", no_args_is_help=True)
def dlq() -> None:
    """Dead letters: the records that failed, in the folder of `sl.dead_letter(parquet.sink(PATH))`."""


@dlq.command("ls", short_help="List the dead letters in PATH.")
@click.argument("path")
@click.option("--operator", metavar="ID", help="Only those of this operator, by its id in `streamlib plan`.")
def dlq_ls(path: str, operator: str | None) -> None:
    """List the dead letters in PATH, with the numbers that `show` takes."""
    letters.ls(path, operator)


@dlq.command("show", short_help="Show letter NUMBER in PATH, with its error and traceback.")
@click.argument("path")
@click.argument("number", type=int)
def dlq_show(path: str, number: int) -> None:
    """Show letter NUMBER in PATH: the record, where it failed, the error and the user's frames."""
    letters.show_one(path, number)


@dlq.command("redrive", short_help="Run the records in PATH again through TARGET, each letter once.")
@click.argument("path")
@options.target
@click.option("--operator", metavar="ID", help="Only the letters of this operator.")
@click.option(
    "--state", metavar="FOLDER", help="Remembers what was taken.  [default: .streamlib/FLOW.redrive]"
)
def dlq_redrive(
    path: str, target: str, parameters: tuple[str, ...], operator: str | None, state: str | None
) -> None:
    """Run the records that failed, in PATH, again through TARGET (FILE.py:NAME or MODULE:NAME).

    They go on from the operator that failed them, into the sinks of TARGET. Each letter is taken once,
    however often this is called; what fails again is a dead letter again. Mend the flow first.
    """
    letters.redrive(path, target, parameters, operator, state)


@main.command(short_help="Say what the error CODE means.")
@click.argument("code", required=False)
def explain(code: str | None) -> None:
    """Say what the error CODE (SL102) means, why it is one, and what helps; without a CODE, list all."""
    explaining.explain(code)
