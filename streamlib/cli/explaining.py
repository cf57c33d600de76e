"""`streamlib explain`: what an error means, why it is one, and what helps."""

from __future__ import annotations

import inspect
import sys

# They are told by these modules alone, which have to be loaded before the catalogue knows them.
import streamlib.cli.target
import streamlib.core.secrets
import streamlib.runners.background
import streamlib.runners.job  # noqa: F401
from streamlib.cli.printing import USAGE, say, show
from streamlib.core.errors import catalogue, did_you_mean

_HEAD = """\
# Errors

Every error says where it happened, what was expected, what was found and what to do, and has a code.
`streamlib explain CODE` prints what stands here. SL1 is found when a flow is written or bound, SL2 while it
runs, SL3 is about the state of jobs. All are `streamlib.core.errors.StreamlibError`, and also the builtin
that is named.
"""


def explain(code: str | None) -> None:
    """Print what is known of the code; of all, one line each."""
    if code is None:
        show("\n".join(f"{each}  {_title(each)}" for each in catalogue()))
        return
    wanted = code.upper()
    if wanted not in catalogue():
        hint = did_you_mean(wanted, catalogue()) or "`streamlib explain` lists all"
        sys.exit(say(f"error: no error has the code {code!r}; {hint}", USAGE))
    show(f"{wanted} {catalogue()[wanted].__name__}\n\n{_text(wanted)}")


def page() -> str:
    """docs/errors.md."""
    return _HEAD + "".join(f"\n## {code} {_name(code)}\n\n{_text(code)}\n" for code in catalogue())


def _name(code: str) -> str:
    error = catalogue()[code]
    builtin = next(base for base in error.__mro__ if base.__module__ == "builtins")
    return f"{error.__name__} ({builtin.__name__})"


def _text(code: str) -> str:
    return inspect.cleandoc(catalogue()[code].__doc__ or "")


def _title(code: str) -> str:
    return _text(code).splitlines()[0]
