"""`streamlib dlq`: dead letters in the terminal, and run again from it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pyarrow as pa

from streamlib.cli.loading import loaded, refusing
from streamlib.cli.printing import FAILED, FINISHED, say, show
from streamlib.connectors.tables import format_table
from streamlib.core.errors import did_you_mean
from streamlib.runners import redriving
from streamlib.runners.dead_letters import read_dead_letters

ERROR_LIMIT = 60  # characters of an error in a list: the whole of it is one `show` away


def ls(path: str, operator: str | None) -> None:
    """List letters with their numbers."""
    table = _letters(path)
    numbers = [i for i, name in enumerate(table["operator"].to_pylist()) if operator in (None, name)]
    if operator is not None and not numbers:
        known = sorted(set(table["operator"].to_pylist()))
        hint = did_you_mean(operator, known) or f"there are letters of {', '.join(known) or 'none'}"
        sys.exit(say(f"error: no dead letters of {operator!r}; {hint}", FAILED))
    chosen = table.take(pa.array(numbers, pa.int64()))
    errors = [text.splitlines()[0][:ERROR_LIMIT] for text in chosen["error"].to_pylist()]
    columns = {"number": numbers, "operator": chosen["operator"], "error": errors, "record": chosen["record"]}
    show(format_table(pa.table(columns)) if numbers else "no dead letters")


def show_one(path: str, number: int) -> None:
    """All that is known of one letter."""
    table = _letters(path)
    if not 0 <= number < table.num_rows:
        sys.exit(say(f"error: no letter {number}; there are {table.num_rows}, numbered from 0", FAILED))
    letter = table.slice(number, 1).to_pylist()[0]
    for name in ("operator", "input", "source", "partition", "position", "event_time", "record"):
        if letter[name] is not None:
            show(f"{name + ':':<12}{letter[name]}")
    show(f"{'error:':<12}{letter['error']}")
    show("\n" + letter["traceback"])


def redrive(
    path: str, target: str, parameters: Sequence[str], operator: str | None, state: str | None
) -> None:
    """Run the records of letters again; ends the process with the exit code."""
    flow = loaded(target, parameters)
    with refusing(FAILED):
        found = redriving.redrive(path, flow, operator=operator, state=state)
    sys.exit(say(f"{flow.name}: {found}", FINISHED))


def _letters(path: str) -> pa.Table:
    with refusing(FAILED):
        return read_dead_letters(path)
