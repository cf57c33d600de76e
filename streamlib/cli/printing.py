"""What commands say on stderr, and the exit codes that go with it.

Text passes through `redacted`, since exceptions of user code and of servers may quote a secret. Colour
is for terminals alone, and not where NO_COLOR is set (https://no-color.org).
"""

from __future__ import annotations

import os
import traceback

import click

from streamlib.cli.tracebacks import users_traceback
from streamlib.core.errors import StreamlibError
from streamlib.core.redaction import redacted

FINISHED, FAILED, USAGE, NOT_STARTED, DRAIN_TIMED_OUT, TAKEN_OVER = range(6)


def say(text: str, code: int) -> int:
    """Print to stderr, and give back `code`."""
    click.echo(redacted(text), err=True, color=_colour())
    return code


def show(text: str, *, line_end: bool = True) -> None:
    """Print to stdout what the command was asked for."""
    click.echo(redacted(text), nl=line_end, color=_colour())


def refuse(error: StreamlibError, code: int) -> int:
    """One clear error, no traceback: the text says where, what, and what to do."""
    head, *rest = f"{error}".splitlines()
    notes = [f"  note:     {note}" for note in getattr(error, "__notes__", [])]
    return say("\n".join([f"{click.style('error:', fg='red', bold=True)} {head}", *rest, *notes]), code)


def crash(error: Exception, code: int) -> int:
    """An exception of the user's code, with the traceback of that code."""
    trace = users_traceback(error)
    if trace is None and isinstance(error, BrokenPipeError):
        return say("stdout was closed by its reader; the last completed checkpoint stands", code)
    if trace is None and not isinstance(error, SyntaxError):  # that one says where it is
        trace = error.__traceback__
    lines = traceback.format_exception(type(error), error, trace)
    return say("".join(lines).rstrip(), code)


def _colour() -> bool | None:
    """None: where the stream is a terminal."""
    return False if os.environ.get("NO_COLOR") else None
