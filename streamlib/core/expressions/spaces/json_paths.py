"""JSON paths: the steps that `$.a.b[0]` takes."""

from __future__ import annotations

import re
from typing import TypeAlias

from streamlib.core.errors import DefinitionError, shown

Steps: TypeAlias = tuple[str | int, ...]

_STEP = re.compile(
    r"""\.(?P<key>[^.\[\]\s'"*?@()]+)|\[(?P<index>-?\d+)\]|\['(?P<single>[^']*)'\]|\["(?P<double>[^"]*)"\]"""
)


def path_steps(path: object) -> Steps:
    """The fields and positions of a JSON path. Raises `DefinitionError` for one with wildcards or filters.

    >>> path_steps("$.a['b c'][0]")
    ('a', 'b c', 0)
    """
    steps: list[str | int] = []
    if isinstance(path, str) and path.startswith("$"):
        at = 1
        while found := _STEP.match(path, at):
            index = found["index"]
            steps.append(
                int(index)
                if index
                else next(k for k in found.group("key", "single", "double") if k is not None)
            )
            at = found.end()
        if at == len(path):
            return tuple(steps)
    raise DefinitionError(
        "no JSON path that names one place",
        expected="$, then fields (.name or ['name']) and positions ([0])",
        found=shown(path),
        remedy='write for example "$.a.b[0]"; for several values use .str.json_decode(dtype)',
    )
