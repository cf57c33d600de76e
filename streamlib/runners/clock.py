"""The real clock, which other threads can wake."""

from __future__ import annotations

import threading
import time


class RealClock:
    """The machine's clock. `wait` returns early after `wake`, so that a loop reacts at once."""

    def __init__(self) -> None:
        self._woken = threading.Event()

    def now(self) -> int:
        """Microseconds since the epoch, UTC."""
        return time.time_ns() // 1_000

    monotonic = staticmethod(time.monotonic)

    def wait(self, seconds: float) -> None:
        """Wait that long, or until someone calls `wake`."""
        self._woken.wait(seconds)
        self._woken.clear()

    def wake(self) -> None:
        """End the current or next `wait`. Safe from any thread and from signal handlers."""
        self._woken.set()
