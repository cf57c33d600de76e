"""Window assigners. `windows.tumbling("1h")`, `windows.sliding("3h", every="30min")`."""

from streamlib.windows.assigners import SlidingWindow, sliding, tumbling

__all__ = ["SlidingWindow", "sliding", "tumbling"]
