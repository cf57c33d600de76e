"""Whether the state of a checkpoint fits the operators of a flow, and what differs where it does not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from streamlib.core.errors import StateIncompatibleError, shown
from streamlib.plan.bind import BoundNode

_REMEDY = "run the flow as it was, or start anew with another state folder"
_NOTHING = object()


def check_versions(
    nodes: Mapping[str, BoundNode], expected: Mapping[str, object], found: Mapping[str, object]
) -> None:
    """Refuse versions of operators, by id, that are not those of the flow.

    Raises `StateIncompatibleError` that names the operator and what differs.
    """
    for operator, version in expected.items():
        if operator not in found:
            raise nodes[operator].node.blame(_without_state(operator, expected, found))
        if found[operator] != version:
            now, before = _differences(version, found[operator])
            error = StateIncompatibleError(
                f"the checkpoint's state of {operator!r} has another shape",
                expected=f"{now}, as the flow says now",
                found=f"{before}, as the checkpoint was written",
                remedy=_REMEDY,
            )
            raise nodes[operator].node.blame(error)
    unknown = [operator for operator in found if operator not in expected]
    if unknown:
        raise StateIncompatibleError(
            f"the flow has no operator for the state of {', '.join(map(repr, unknown))}",
            expected=f"operators {', '.join(found)}",
            found=f"operators {', '.join(expected) or 'none'}",
            remedy=_REMEDY,
        )


def _without_state(
    operator: str, expected: Mapping[str, object], found: Mapping[str, object]
) -> StateIncompatibleError:
    return StateIncompatibleError(
        f"the checkpoint has no state for operator {operator!r}",
        expected=f"operators {', '.join(expected)}",
        found=f"operators {', '.join(found) or 'none'}",
        remedy=_REMEDY,
    )


def _differences(now: Any, before: Any) -> tuple[str, str]:
    """What differs between two versions, as each says it: their settings, else their rows."""
    pairs = list(_differing(_parsed(now[0]), _parsed(before[0]), ()))
    pairs = pairs or [(("rows",), now[1], before[1])]
    expected = ", ".join(_text(path, one) for path, one, _ in pairs)
    return expected, ", ".join(_text(path, other) for path, _, other in pairs)


def _parsed(version: object) -> object:
    """What stands in a canonical form that was written as text."""
    try:
        return ast.literal_eval(version) if isinstance(version, str) else version
    except (ValueError, SyntaxError):
        return version


def _differing(now: Any, before: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    if now == before:
        return
    names, others = _named(now), _named(before)
    if names is not None and others is not None:
        for name in {**names, **others}:
            yield from _differing(names.get(name, _NOTHING), others.get(name, _NOTHING), (*path, name))
    elif _is_sequence(now) and _is_sequence(before) and len(now) == len(before):
        for one, other in zip(now, before, strict=True):
            yield from _differing(one, other, path)
    else:
        yield path, now, before


def _named(value: Any) -> dict[str, Any] | None:
    """Pairs of a name and a value, as a mapping; one pair counts, too."""
    if isinstance(value, Mapping):
        return dict(value)
    if not _is_sequence(value) or not value:
        return None
    pairs = [value] if isinstance(value[0], str) and len(value) == 2 else value
    if not all(_is_sequence(pair) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs):
        return None
    return dict(pairs)


def _is_sequence(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _text(path: Sequence[str], value: object) -> str:
    if value is _NOTHING:
        return f"no {' '.join(path)}"
    return " ".join([*path, shown(_Plain(value))])


class _Plain:
    """Shows classes of ours by their names alone."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __repr__(self) -> str:
        return re.sub(r"'streamlib\.[\w.]*?(\w+)'", r"\1", repr(self._value))
