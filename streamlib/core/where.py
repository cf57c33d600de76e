"""The user's source line that built an operator, for error messages."""

from __future__ import annotations

import sys
from pathlib import Path

_INSIDE = ("streamlib.", "toolz.")
_INSIDE_EXACT = ("streamlib", "toolz")


def caller() -> str:
    """`file.py:line` of the nearest frame outside streamlib and toolz."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(_INSIDE) and module not in _INSIDE_EXACT:
            break
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
