"""`streamlib plan` and `streamlib check`: what is known of a flow without running it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from streamlib.cli.loading import loaded, refusing
from streamlib.cli.options import by_flag
from streamlib.cli.printing import FAILED, NOT_STARTED, USAGE, say, show
from streamlib.core.errors import StreamlibError
from streamlib.core.secrets import Secret
from streamlib.core.settings import Settings
from streamlib.plan.bind import BoundFlow
from streamlib.plan.growth import check_growth, growing
from streamlib.plan.guarantee import guarantee_of, require
from streamlib.plan.render import PlanFormat
from streamlib.runners.ends import secrets_of
from streamlib.runners.settings import Effective, Surroundings, effective, foreign_variables

BY_SUFFIX: dict[str, PlanFormat] = {
    "": "text",
    ".txt": "text",
    ".json": "json",
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
    ".svg": "svg",
}


def plan(target: str, parameters: Sequence[str], format: PlanFormat | None, output: Path | None) -> None:
    """Print a plan, or write it to a file; the format follows from the file's name where none is given."""
    flow = loaded(target, parameters)
    chosen = format or BY_SUFFIX.get("" if output is None else output.suffix.lower())
    if chosen is None:
        known = ", ".join(suffix for suffix in BY_SUFFIX if suffix)
        sys.exit(say(f"error: {output} names no format of plans: end it in {known}, or give --format", USAGE))
    with refusing(NOT_STARTED):
        text = flow.explain(chosen).removesuffix("\n") + "\n"
    if output is None:
        show(text, line_end=False)
        return
    try:
        output.write_text(text, "utf-8")
    except OSError as error:
        sys.exit(say(f"error: the plan can't be written to {output}: {error.strerror}", FAILED))


def check(target: str, parameters: Sequence[str], asked: Settings) -> None:
    """Bind, and say what a run would do."""
    flow = loaded(target, parameters)
    around = Surroundings.of_process()
    with refusing(NOT_STARTED):
        found = effective(flow, "streaming", asked, by_flag, around)
        bound = flow.bind()
        if found["guarantee"] is not None:
            require(bound, found["guarantee"])
        check_growth(bound)
    ends = f"{_count(len(bound.reads()), 'source')}, {_count(len(bound.writes()), 'sink')}"
    show(f"{click.style('OK', fg='green', bold=True)}  {flow.name}: {ends}, {guarantee_of(bound)}")
    show("\n".join(["settings", *_settings(found)]))
    secrets = list(_secrets(bound))
    if secrets:
        show("\n".join(["secrets", *secrets]))
    for node, grows in growing(bound):
        text = f"the state grows for ever, {grows}"
        say(f"warning: in operator {node.node.title!r} ({node.node.where}): {text}", 0)
    for name in foreign_variables(around.environ):
        say(f"note: the environment variable {name} is no setting of streamlib", 0)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _settings(found: Effective) -> Iterator[str]:
    rows = [
        (name, "-" if value is None else str(value), origin) for name, (value, origin) in found.values.items()
    ]
    wide = [max(len(row[i]) for row in rows) for i in range(2)]
    for name, value, origin in rows:
        yield f"  {name:<{wide[0]}}  {value:<{wide[1]}}  {origin}"


def _secrets(bound: BoundFlow) -> Iterator[str]:
    """The references, and whether they lead to something here; the values stay where they are."""
    for node, secret in secrets_of(bound):
        yield f"  {secret.reference}  for {node.id}, {_readable(secret)}"


def _readable(secret: Secret) -> str:
    try:
        secret.reveal()
    except StreamlibError as error:
        return f"not readable here: {error.found}"
    return "readable"
