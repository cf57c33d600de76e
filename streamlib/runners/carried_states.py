"""States of operators between the coordinator and a worker process: of segments numbers travel, then rows.

A snapshot tells the numbers of its segments. Their rows are made in the worker's process when the
thread that writes checkpoints asks for them, on a connection of its own, so that work goes on meanwhile.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

import pyarrow as pa

from streamlib.core.contracts import OperatorState, States
from streamlib.core.errors import InvariantError
from streamlib.core.segment import Segment

Carried = Mapping[str, OperatorState]
"""States with something else in the place of segments: their numbers, or their rows."""


def carried(states: States, make: Callable[[Any], Any]) -> dict[str, OperatorState]:
    """The states with what `make` makes of each of their segments."""
    return {
        id: replace(state, tables={name: [make(s) for s in found] for name, found in state.tables.items()})
        for id, state in states.items()
    }


class SegmentsHere:
    """The segments of a worker's last snapshot, in its process."""

    def __init__(self) -> None:
        self._numbers: dict[Segment, int] = {}
        self._segments: dict[int, Segment] = {}
        self._next = itertools.count()

    def numbered(self, states: States) -> Carried:
        """A snapshot with numbers of segments, those of the last one under the numbers that they have."""
        before, self._numbers = self._numbers, {}

        def number(segment: Segment) -> int:
            found = before.get(segment)
            self._numbers[segment] = next(self._next) if found is None else found
            return self._numbers[segment]

        found = carried(states, number)
        self._segments = {number: segment for segment, number in self._numbers.items()}
        return found

    def rows(self, number: int) -> pa.Table:
        """The rows of a segment, asked for once. They are not kept: the coordinator stores them."""
        segment = self._segments[number]
        table = segment.table()
        segment.moved(_stored_elsewhere)
        return table


def _stored_elsewhere() -> NoReturn:
    raise InvariantError("a worker asked for the rows of a segment that the coordinator has stored")


class SegmentsThere:
    """The segments of a worker's last snapshot, on the side of the coordinator.

    A segment that was in the snapshot before is the same object as there, so that checkpoints only name it.
    """

    def __init__(self, fetch: Callable[[int], pa.Table]) -> None:
        self._fetch = fetch
        self._known: dict[int, Segment] = {}

    def received(self, states: Carried) -> dict[str, OperatorState]:
        """The snapshot that a worker told by numbers; rows of segments are fetched when they are needed."""
        before, self._known = self._known, {}

        def segment(number: int) -> Segment:
            found = before.get(number)
            self._known[number] = Segment(partial(self._fetch, number)) if found is None else found
            return self._known[number]

        return carried(states, segment)
