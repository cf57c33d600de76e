"""Two contracts: what a user writes (`WindowAssigner`), and what an operator works with (`Grid`)."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from streamlib.core.canonical import Value
from streamlib.core.time import MAX_TIME, Micros

Indices = npt.NDArray[np.intp]
Assigned = tuple[npt.NDArray[np.integer], Micros, Micros]
"""Rows (indices into the times), and the start and the end of a window of each."""


class WindowAssigner(Value):
    """Which windows an event time belongs to: a frozen description with one pure function.

    Subclasses are `dataclass(frozen=True, eq=False)`. A window is `[start, end)`; it fires when the
    watermark reaches its end, and a row is late for it from then on. Windows may have any length, may
    overlap, and may leave gaps. They depend on nothing but the time.
    """

    def assign(self, times: Micros) -> Assigned:
        """The windows of each time: `(rows, starts, ends)`, one entry for each pair of time and window.

        Args:
            times: int64 microseconds since the epoch, UTC; at least one, in any order. Read-only.

        Returns:
            Three vectors of equal length: indices into `times`, in any order, and int64 microseconds
            with `start <= time < end`. A time that has no entry belongs to no window.

        The same time must always get the same windows, whichever times come beside it. It is asked
        about the epoch and a few other instants when a flow is bound.
        """
        raise NotImplementedError

    def end_after(self, time: int) -> int:
        """The least end of any window above `time`, or an earlier instant above `time`: optional, for speed.

        Rows behind the watermark are judged by the watermark that came just before them, so input is cut
        between them at the ends of windows. Unless overridden every instant counts as one, which is right
        for all windows, and slow where many rows are late. Asked about the years 1 to 9999 only.
        """
        return time + 1

    def describe(self) -> str:
        """The windows on one line, for `explain`: the class and its fields, unless overridden."""
        shown = (f"{f.name}={getattr(self, f.name)!r}" for f in fields(self)) if is_dataclass(self) else ()
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclass(frozen=True)
class Placement:
    """Where the rows of a batch go.

    Attributes:
        rows: for each placement the index of its row; None if every row has one, in order.
        slices: for each placement the number of the slice that takes the row.
        starts: for each placement the start of its window, where the slice's number does not tell it.
        late: which rows came too late for all their windows; None if none did.
        missed: rows (indices), starts and ends, an entry for each row and window that was over.
        held: rows (indices), their slices, and the last window that each missed (`MIN_TIME`: none). Where
            it has not fired they must not enter their slices. They have no other placement.
        updates: rows (indices), windows that take the row after they were shown, and their starts (None
            where numbers tell them). Such a row has no placement but these and `held`.
    """

    rows: Indices | None
    slices: Micros
    starts: Micros | None = None
    late: npt.NDArray[np.bool_] | None = None
    missed: tuple[Indices, Micros, Micros] | None = None
    held: tuple[Indices, Micros, Micros] | None = None
    updates: tuple[Indices, Micros, Micros | None] | None = None


class Grid(Protocol):
    """Windows by number, each made of numbered slices, so that windows which overlap can share them.

    Numbers rise with time: of two windows the one with the larger number ends no earlier. They may
    lie outside int64 at the very ends of time.
    """

    @property
    def numbers_tell_starts(self) -> bool:
        """Whether a window's number tells its start. Else the start is kept beside the keys."""
        ...

    def place(
        self, times: Micros, closed: int | Micros, fired: int = MAX_TIME, shown: Micros | None = None
    ) -> Placement:
        """Where rows go whose windows are over if they end at `closed` (of each row, or one) or before.

        Windows up to number `fired` have fired. With `shown` (of each row, at least `closed`) windows that
        end there or before show a result without the row; those that are not over take it afterwards.
        """
        ...

    def windows_of(self, number: int) -> range:
        """The numbers of the windows that hold a slice."""
        ...

    def slices_of(self, window: int) -> range:
        """The numbers of the slices of a window."""
        ...

    def windows_holding(self, slices: Micros, first: int, last: int) -> tuple[Indices, Micros]:
        """Every pair of a slice and a window numbered `first` to `last` that holds it: index, number."""
        ...

    def windows_per_row(self) -> int:
        """The most windows that a slice can belong to."""
        ...

    def first_open_slice(self, window: int) -> int:
        """The number of the first slice that windows after `window` need."""
        ...

    def last_over(self, watermark: int) -> int:
        """The number of the last window that is over at `watermark`."""
        ...

    def end_after(self, time: int) -> int:
        """The least time above `time` at which a window may end, whatever rows there are."""
        ...

    def starts(self, windows: Micros) -> Micros:
        """First instants of windows, where numbers tell them."""
        ...

    def ends(self, windows: Micros) -> Micros:
        """The instants at which windows are over (exclusive), saturated to int64."""
        ...
