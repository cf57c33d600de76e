"""The naive reference: event-time windows in plain Python, a row at a time.

It shares no code with the engine. It says what a windowed aggregation over bounded partitions has
to give, lateness included, and what is left out.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MINUS_INFINITY = float("-inf")


class Row(NamedTuple):
    """A row: event time in microseconds, key, value (None: null)."""

    time: int
    key: Hashable
    value: Any


class Pane(NamedTuple):
    """A result's identity: key and window bounds in microseconds."""

    key: Hashable
    start: int
    end: int


@dataclass
class Expected:
    """What has to come out.

    Attributes:
        panes: the rows of every key and window, in arrival order of each partition.
        late: rows late for all their windows.
        missed: (row, window) for every window that was over when its row came.
    """

    panes: dict[Pane, list[Row]] = field(default_factory=dict)
    late: list[Row] = field(default_factory=list)
    missed: list[tuple[Row, Pane]] = field(default_factory=list)


def windows_of(time: int, size: int, slide: int, offset: int) -> list[tuple[int, int]]:
    """All `[start, start + size)` with `start = offset + n * slide` that hold `time`.

    >>> windows_of(7, size=10, slide=5, offset=0)
    [(0, 10), (5, 15)]
    """
    start = offset + (time - offset) // slide * slide
    found = []
    while start + size > time:
        found.append((start, start + size))
        start -= slide
    return found[::-1]


def reference(
    partitions: Mapping[str, Sequence[Row]],
    *,
    size: int,
    slide: int | None = None,
    offset: int = 0,
    delay: int | None,
    lateness: int = 0,
) -> Expected:
    """Window the rows. `delay` is the bound of disorder; None for a batch, where nothing is late.

    A row is late for a window if its own partition had already shown an event time of at least
    `window end + delay + lateness` before it; `lateness` is what the window allows.
    """
    expected = Expected()
    for rows in partitions.values():
        newest: float = MINUS_INFINITY
        for row in rows:
            watermark = MINUS_INFINITY if delay is None else newest - delay - lateness
            _place(expected, row, watermark, windows_of(row.time, size, slide or size, offset))
            newest = max(newest, row.time)
    return expected


def _place(expected: Expected, row: Row, watermark: float, windows: list[tuple[int, int]]) -> None:
    taken = 0
    for start, end in windows:
        pane = Pane(row.key, start, end)
        if end <= watermark:
            expected.missed.append((row, pane))
        else:
            expected.panes.setdefault(pane, []).append(row)
            taken += 1
    if windows and not taken:
        expected.late.append(row)
