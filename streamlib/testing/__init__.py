"""What streamlib tests itself with, for users' tests as well: a hand-moved clock, scripted sources."""

from streamlib.testing.clock import ManualClock
from streamlib.testing.sources import fail, pause, rows, scripted

__all__ = ["ManualClock", "fail", "pause", "rows", "scripted"]
