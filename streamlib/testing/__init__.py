"""What streamlib tests itself with, for your tests as well: checks of flows, a clock, scripted sources."""

from streamlib.testing.checks import assert_parity, assert_survives
from streamlib.testing.clock import ManualClock
from streamlib.testing.sources import broken, fail, pause, rows, scripted

__all__ = ["ManualClock", "assert_parity", "assert_survives", "broken", "fail", "pause", "rows", "scripted"]
