"""A clock that stands still until a test moves it."""

from __future__ import annotations

from streamlib.core.errors import DefinitionError
from streamlib.core.time import SECOND, Duration, duration, show_instant


class ManualClock:
    """Processing time moved by hand (`Clock`); waiting is over at once and moves it.

    Wall time and monotonic time start far apart, so that code that takes one for the other fails.

    Args:
        now: the wall clock at the start, microseconds since the epoch.
        monotonic: seconds on the other clock at the start.

    >>> clock = ManualClock()
    >>> clock.advance("1min")
    >>> clock.now(), clock.monotonic()
    (60000000, 1060.0)
    """

    def __init__(self, now: int = 0, monotonic: float = 1000.0) -> None:
        self._now = now
        self._start = monotonic
        self._passed = 0  # microseconds: an int, so that many small steps add up exactly

    def now(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return self._start + self._passed / SECOND

    def wait(self, seconds: float) -> None:
        """Let all of that time pass at once; nothing happens for a negative number."""
        self.advance(max(0, round(seconds * SECOND)))

    def advance(self, by: Duration) -> None:
        """Let time pass on both clocks, for example `"10s"`; an int is microseconds."""
        micros = duration(by)
        self._now += micros
        self._passed += micros

    def set(self, now: int) -> None:
        """Let time pass until the wall clock shows `now`. Raises `DefinitionError` if that is past."""
        if now < self._now:
            raise DefinitionError(
                "time does not go back",
                expected=f"an instant from {show_instant(self._now)} on",
                found=show_instant(now),
                remedy="use `adjust` for a wall clock that somebody sets",
            )
        self.advance(now - self._now)

    def adjust(self, now: int) -> None:
        """Set the wall clock alone, back or forward, as an administrator or a leap second does."""
        self._now = now

    def __repr__(self) -> str:
        return f"ManualClock({show_instant(self._now)})"
