"""A plan as a Mermaid flowchart, which GitHub, GitLab and many wikis draw."""

from __future__ import annotations

import json
import re

from streamlib.plan.description import Plan, Step

TEXT_LIMIT = 60  # characters of settings in a box: Mermaid breaks longer lines anywhere
_CLASSES = """\
  classDef source fill:#dbeafe,stroke:#3b82f6,color:#16202c
  classDef operator fill:#eef1f5,stroke:#8b97a6,color:#16202c
  classDef state fill:#ebe4fb,stroke:#8b5cf6,color:#16202c
  classDef sink fill:#d9f2e3,stroke:#2f9e62,color:#16202c
  classDef error fill:#fde2e1,stroke:#dc2626,color:#16202c"""
_PLAIN = re.compile(r"[^\w .,:()\[\]{}=/+*-]", re.ASCII)


def as_mermaid(plan: Plan) -> str:
    """The plan as the text of a Mermaid flowchart."""
    number = {step.id: i for i, step in enumerate(plan.operators)}
    lines = ["---", f"title: {json.dumps(plan.flow)}", "---", "flowchart TD"]
    for i, step in enumerate(plan.operators):
        look = "error" if step.error else "state" if step.state else step.role
        lines.append(f'  n{i}["{_label(step)}"]:::{look}')
    for i, step in enumerate(plan.operators):
        for source in step.inputs:
            label = "" if source.output == "out" else f'|"{_escaped(source.output)}"|'
            lines.append(f"  n{number[source.operator]} -->{label} n{i}")
    return "\n".join([*lines, _CLASSES, ""])


def _label(step: Step) -> str:
    parts = [step.name or step.kind, " ".join(step.settings.split())]
    if step.state is not None and step.state.keys:
        parts.append(f"state by {', '.join(step.state.keys)}")
    if step.order_sensitive is not None:
        parts.append(f"order-sensitive: {step.order_sensitive}")
    return "<br/>".join(_escaped(_cut(part)) for part in parts if part)


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"


def _escaped(text: str) -> str:
    """Everything that could mean something to Mermaid, Markdown or HTML, as a character code."""
    return _PLAIN.sub(lambda found: f"#{ord(found.group())};", text)
