"""Window assigners. `windows.tumbling("1h")`, `windows.sliding("3h", every="30min")`, or your own."""

from streamlib.windows.assigners import SlidingWindow, sliding, tumbling
from streamlib.windows.contract import WindowAssigner

__all__ = ["SlidingWindow", "WindowAssigner", "sliding", "tumbling"]
