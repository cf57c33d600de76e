"""The formats of a plan, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from streamlib.core.errors import DefinitionError, did_you_mean, shown
from streamlib.core.where import caller
from streamlib.plan.description import Plan, as_json
from streamlib.plan.explain import as_text, as_tree
from streamlib.plan.mermaid import as_mermaid


def _as_svg(plan: Plan) -> str:
    from streamlib.plan.picture import as_svg  # noqa: PLC0415 - 6 ms that scripts without pictures don't pay

    return as_svg(plan)


PlanFormat = Literal["text", "tree", "json", "mermaid", "svg"]
FORMATS: Mapping[PlanFormat, Callable[[Plan], str]] = {
    "text": as_text,
    "tree": as_tree,
    "json": as_json,
    "mermaid": as_mermaid,
    "svg": _as_svg,
}


def rendered(plan: Plan, format: PlanFormat) -> str:
    """The plan in one of the `FORMATS`.

    Raises:
        DefinitionError: there is no such format.
    """
    if format not in FORMATS:
        raise DefinitionError(
            "there is no such format of a plan",
            expected=f"one of {', '.join(FORMATS)}",
            found=shown(format),
            remedy=did_you_mean(str(format), FORMATS) or "leave it out for text",
        ).at(None, caller())
    return FORMATS[format](plan)
