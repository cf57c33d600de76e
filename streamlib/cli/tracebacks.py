"""What of a traceback a user wants to see: the part that is their code."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType

_OURS = str(Path(__file__).parents[1])
_BETWEEN = ("<frozen importlib", "concurrent/futures/")  # between our frames and the user's


def users_traceback(error: BaseException) -> TracebackType | None:
    """The traceback from the first frame on that is not streamlib's; None if all of them are."""
    rest = error.__traceback__
    while rest is not None and _inside(rest.tb_frame.f_code.co_filename):
        rest = rest.tb_next
    return rest


def users_line(error: BaseException) -> str:
    """`FILE:LINE: CODE` of the user's code that called into streamlib last."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not _inside(f.filename)]
    # a dataclass's `__init__` is code without a file, called from a line that has one
    frames = [f for f in frames if not f.filename.startswith("<")] or frames
    return f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else "streamlib itself"


def _inside(filename: str) -> bool:
    return filename.startswith(_OURS) or any(part in filename for part in _BETWEEN)
