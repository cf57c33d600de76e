"""What the checks raise where they can say more than that rows differ."""

from __future__ import annotations

from streamlib.core.errors import StreamlibError


class CheckError(StreamlibError, AssertionError):
    """An extension breaks a rule of its contract."""
