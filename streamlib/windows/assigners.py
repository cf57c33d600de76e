"""Which windows a row belongs to: pure functions over the numbers of time slices.

Windows that overlap share slices: every window is a whole number of slices of length
`gcd(size, slide)`, so a row is aggregated once, into its slice, and windows merge slices.
Slices are named by a number, not by a time, so that nothing wraps near the limits of int64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from streamlib.core.errors import DefinitionError
from streamlib.core.time import (
    MAX_TIME,
    MIN_TIME,
    Duration,
    Micros,
    add_saturating,
    clamp,
    duration,
    show_duration,
)
from streamlib.windows.contract import Assigned, Indices, Placement, WindowAssigner

FEW_BEHIND = 32  # a row that is held costs up to 300 ns, a row of a slice up to 10


@dataclass(frozen=True, eq=False)
class SlidingWindow(WindowAssigner):
    """Windows `[start, start + size)` for every `start = offset + n * slide`; made by `tumbling`, `sliding`.

    All fields are microseconds. Divisions floor, so windows of negative times follow the same grid.
    """

    size: int
    slide: int
    offset: int = 0

    @property
    def slice_size(self) -> int:
        """Length of a slice in microseconds."""
        return math.gcd(self.size, self.slide)

    def slices(self, times: Micros) -> Micros:
        """The number of the slice of each time: `floor((time - offset) / slice_size)`."""
        length = self.slice_size
        shift = self.offset % length
        numbers = times // length
        if shift:
            numbers -= (times - numbers * length) < shift
        whole = self.offset // length
        return add_saturating(numbers, -whole) if whole else numbers

    def slice_start(self, number: int) -> int:
        """First instant of a slice. Unbounded: may lie outside int64."""
        return self.offset + number * self.slice_size

    def windows_of(self, number: int) -> range:
        """The numbers of the windows that hold a slice; window `n` starts at `offset + n * slide`."""
        per_slide = self.slide // self.slice_size
        per_window = self.size // self.slice_size
        return range(-(-(number - per_window + 1) // per_slide), number // per_slide + 1)

    def slices_of(self, window: int) -> range:
        """The numbers of the slices of a window."""
        first = window * (self.slide // self.slice_size)
        return range(first, first + self.size // self.slice_size)

    def start(self, window: int) -> int:
        """First instant of a window, saturated to int64."""
        return clamp(self.offset + window * self.slide)

    def end(self, window: int) -> int:
        """The instant at which a window is over (exclusive), saturated to int64."""
        return clamp(self.offset + window * self.slide + self.size)

    def end_after(self, time: int) -> int:
        """The least end of any window above `time`: the next moment at which lateness can change."""
        window = (time - self.offset - self.size) // self.slide + 1
        return self.end(window)

    def last_over(self, watermark: int) -> int:
        """The number of the last window that is over at `watermark`. Unbounded: may lie outside int64."""
        if watermark == MAX_TIME:
            return MAX_TIME  # also the windows whose end lies beyond int64
        return (watermark - self.offset - self.size) // self.slide

    def last_windows(self, times: Micros) -> Micros:
        """The number of the last window that starts at or before each time (it may not reach the time)."""
        return self.last_windows_of(self.slices(times))

    def last_windows_of(self, slices: Micros) -> Micros:
        """The number of the last window that starts at or before each slice (it may not reach it)."""
        per_slide = self.slide // self.slice_size
        return slices // per_slide if per_slide > 1 else slices

    def holds(self, windows: Micros, slices: Micros) -> np.ndarray:
        """Whether each window, which starts at or before its slice, reaches it."""
        slice_size = self.slice_size
        return slices - windows * (self.slide // slice_size) < self.size // slice_size

    def windows_holding(self, slices: Micros, first: int, last: int) -> tuple[npt.NDArray[np.intp], Micros]:
        """Every pair of a slice and a window numbered `first` to `last` that holds it: index, number."""
        per_slide = self.slide // self.slice_size
        newest = self.last_windows_of(slices)
        # in its newest window a slice is the n-th; in each window before it comes `per_slide` later
        before = -(-(self.size // self.slice_size - (slices - newest * per_slide)) // per_slide) - 1
        oldest = np.maximum(np.maximum(newest, MIN_TIME + np.maximum(before, 0)) - before, clamp(first))
        newest = np.minimum(newest, clamp(last))
        counts = np.where(oldest <= newest, newest - oldest + 1, 0)
        index = np.repeat(np.arange(len(slices)), counts)
        nth = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
        return index, oldest.take(index) + nth

    def first_open_slice(self, window: int) -> int:
        """The number of the first slice that windows after `window` need."""
        return (window + 1) * (self.slide // self.slice_size)

    def windows_per_row(self) -> int:
        """The most windows that a row can belong to."""
        return -(-self.size // self.slide)

    def starts(self, windows: Micros) -> Micros:
        """`start` of many windows."""
        return self._saturated(windows, self.offset)

    def ends(self, windows: Micros) -> Micros:
        """`end` of many windows."""
        return self._saturated(windows, self.offset + self.size)

    def _saturated(self, windows: Micros, shift: int) -> Micros:
        """`windows * slide + shift`, saturated to int64."""
        wrapped = (shift - MIN_TIME) % 2**64 + MIN_TIME  # into int64
        instants = windows * self.slide + wrapped
        if not len(windows):
            return instants
        low, high = -((shift - MIN_TIME) // self.slide), (MAX_TIME - shift) // self.slide
        if int(windows.min()) < low or int(windows.max()) > high:  # only at the very ends of time
            instants = np.where(windows < low, MIN_TIME, np.where(windows > high, MAX_TIME, instants))
        return instants  # what wrapped between these limits has wrapped back

    # ------------------------------------------------------------------ rows

    @property
    def numbers_tell_starts(self) -> bool:
        """See `Grid`."""
        return True

    def assign(self, times: Micros) -> Assigned:
        rows, windows = self.windows_holding(self.slices(times), MIN_TIME, MAX_TIME)
        return rows, self.starts(windows), self.ends(windows)

    def place(
        self, times: Micros, closed: int | Micros, fired: int = MAX_TIME, shown: Micros | None = None
    ) -> Placement:
        """See `Grid`. A row goes into its one slice if its last window is still open."""
        slices = self.slices(times)
        limit = closed if shown is None else shown
        behind = _behind(times, limit)
        if not len(behind) and self.slide <= self.size:
            return Placement(None, slices)
        inside = None if self.slide <= self.size else self.holds(self.last_windows_of(slices), slices)
        if not len(behind):
            return _placed(slices, inside, behind)
        closed, limit = _at(closed, behind), _at(limit, behind)
        found = slices.take(behind)
        index, windows = self._ended(found, limit)
        newest = self.last_windows_of(found)
        has_window, last_end = self.holds(newest, found), self.ends(newest)
        late, no_more = has_window & (last_end <= closed), has_window & (last_end <= limit)
        last_missed = np.full(len(behind), MIN_TIME)
        last_missed[index] = windows  # of several of a row the last write stays: the largest
        apart = self._apart(closed, len(behind), len(times)) | (last_missed > clamp(fired))
        held = ~no_more & (apart if shown is None else apart | (last_missed > MIN_TIME))
        over = self.ends(windows) <= _at(closed, index)
        missed, updated = np.flatnonzero(over), np.flatnonzero(~over)
        rows = behind.take(index)
        return replace(
            _placed(slices, inside, behind[no_more | held]),
            late=_mask(behind[late], len(times)),
            missed=self._bounds(rows.take(missed), windows.take(missed)) if len(missed) else None,
            held=(behind[held], found[held], last_missed[held]) if held.any() else None,
            updates=(rows.take(updated), windows.take(updated), None) if len(updated) else None,
        )

    def _bounds(self, rows: Indices, windows: Micros) -> tuple[Indices, Micros, Micros]:
        return rows, self.starts(windows), self.ends(windows)

    def _apart(self, closed: int | Micros, behind: int, rows: int) -> bool:
        """Whether all rows behind are better held: a few that lie far back make many slices of a batch."""
        return not isinstance(closed, int) and self.slide < self.size and behind * FEW_BEHIND <= rows

    def _ended(self, slices: Micros, limit: int | Micros) -> tuple[Indices, Micros]:
        """Every pair of a slice and a window of it that ends by `limit`; the windows of a slice in order."""
        last = self.last_over(limit if isinstance(limit, int) else int(limit.max()))
        index, windows = self.windows_holding(slices, MIN_TIME, last)
        if isinstance(limit, int):
            return index, windows
        ended = self.ends(windows) <= limit.take(index)
        return index[ended], windows[ended]

    def describe(self) -> str:
        """The window on one line, as it is written."""
        offset = f", offset {show_duration(self.offset)}" if self.offset else ""
        if self.size == self.slide:
            return f"tumbling {show_duration(self.size)}{offset}"
        return f"sliding {show_duration(self.size)} every {show_duration(self.slide)}{offset}"


def _behind(times: Micros, closed: int | Micros) -> Indices:
    """The rows that are not surely in time for all their windows."""
    if isinstance(closed, int) and (closed == MIN_TIME or int(times.min()) >= closed):
        return np.empty(0, np.intp)
    return np.flatnonzero(times < closed)


def _at(limit: int | Micros, rows: Indices) -> int | Micros:
    return limit if isinstance(limit, int) else limit.take(rows)


def _placed(slices: Micros, inside: npt.NDArray[np.bool_] | None, gone: Indices) -> Placement:
    """All rows in their slices, but those not `inside` (None: all are) and those `gone`."""
    kept = np.ones(len(slices), np.bool_) if inside is None else inside
    kept[gone] = False
    if kept.all():
        return Placement(None, slices)
    rows = np.flatnonzero(kept)
    return Placement(rows, slices.take(rows))


def _mask(rows: Indices, count: int) -> npt.NDArray[np.bool_] | None:
    """Which of `count` rows are named; None if none is."""
    if not len(rows):
        return None
    mask = np.zeros(count, np.bool_)
    mask[rows] = True
    return mask


def tumbling(size: Duration, *, offset: Duration = 0) -> SlidingWindow:
    """Windows of length `size` that neither overlap nor leave gaps.

    Args:
        size: length, > 0.
        offset: shifts the grid, which otherwise starts at the epoch; `>= 0` and `< size`.

    Raises:
        DefinitionError: not a duration, or out of range.

    >>> tumbling("1h").describe()
    'tumbling 1h'
    """
    return _checked(duration(size), duration(size), duration(offset))


def sliding(size: Duration, *, every: Duration, offset: Duration = 0) -> SlidingWindow:
    """Windows of length `size` that start `every` so often (hopping windows).

    Args:
        size: length, > 0.
        every: distance between starts, > 0. Larger than `size` leaves gaps: rows in a gap belong
            to no window.
        offset: shifts the grid, which otherwise starts at the epoch; `>= 0` and `< every`.

    Raises:
        DefinitionError: not a duration, out of range, or so many slices a window that it could not run.

    >>> sliding("3h", every="30min").describe()
    'sliding 3h every 30min'
    """
    return _checked(duration(size), duration(every), duration(offset))


MAX_SLICES = 100_000  # slices a window: a day of 1-second steps is 86,400


def _checked(size: int, slide: int, offset: int) -> SlidingWindow:
    if size <= 0 or slide <= 0:
        raise DefinitionError(
            "a window needs a length",
            expected="a size (and `every`) of at least one microsecond",
            found=f"size {show_duration(size)}, every {show_duration(slide)}",
        )
    if not 0 <= offset < slide:
        raise DefinitionError(
            "the offset does not fit the window",
            expected=f"0 <= offset < {show_duration(slide)}",
            found=show_duration(offset),
            remedy="take it modulo the distance between windows",
        )
    window = SlidingWindow(size, slide, offset)
    if size // window.slice_size > MAX_SLICES:
        raise DefinitionError(
            "this window would be cut into too many slices",
            expected=f"at most {MAX_SLICES} slices of gcd(size, every) a window",
            found=f"{size // window.slice_size} slices of {show_duration(window.slice_size)}",
            remedy="choose a size that is a multiple of `every`",
        )
    return window
