"""The user's source line that built an operator, for error messages."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

_INSIDE = ("streamlib.", "toolz.")
_INSIDE_EXACT = ("streamlib", "toolz")


def caller() -> str:
    """`file.py:line` of the nearest frame outside streamlib and toolz; in a notebook `In[cell]:line`."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(_INSIDE) and module not in _INSIDE_EXACT:
            break
        frame = frame.f_back
    return f"{_cell(frame.f_code.co_filename) or Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def _cell(file: str) -> str | None:
    """`In[7]` for code of a notebook's cell, whose file is a temporary one that says nothing to anybody."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    found: tuple[str, str] | None = shell.compile.format_code_name(file) if shell is not None else None
    return found[1] if found is not None else None


def names_around(module: str) -> dict[str, Any]:
    """The local names of the functions of `module` that are being called, those of inner ones first.

    A class that is defined inside a function is known by name nowhere else.
    """
    names: dict[str, Any] = {}
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == module and frame.f_locals is not frame.f_globals:
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names
