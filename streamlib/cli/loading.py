"""What every command does first: load the flow, and end with the right code where that fails."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from streamlib.cli.printing import NOT_STARTED, USAGE, crash, refuse, say
from streamlib.cli.target import TargetError, load_flow
from streamlib.cli.tracebacks import users_line
from streamlib.core.errors import StreamlibError
from streamlib.plan.flow import Flow


def loaded(target: str, parameters: Sequence[str]) -> Flow:
    """The flow; ends the process where there is none."""
    try:
        return load_flow(target, parameters)
    except TargetError as error:
        sys.exit(refuse(error, USAGE))
    except StreamlibError as error:
        error.add_note(f"raised by {users_line(error)}")
        sys.exit(refuse(error, NOT_STARTED))
    except SystemExit as error:  # with its code, often 0, the job would look finished
        sys.exit(say(f"{target} called sys.exit({error.code!r}) while it was loaded", NOT_STARTED))
    except Exception as error:
        sys.exit(crash(error, NOT_STARTED))


@contextmanager
def refusing(code: int) -> Iterator[None]:
    """End the process with `code` and what went wrong, if something does."""
    try:
        yield
    except StreamlibError as error:
        sys.exit(refuse(error, code))
    except Exception as error:
        sys.exit(crash(error, code))
