"""Windows of any kind, as an assigner tells them: each is a slice of its own, numbered by its end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamlib.core.errors import StreamlibError, UserFunctionError, shown
from streamlib.core.time import MAX_TIME, Micros, clamp, show_instant
from streamlib.windows.assigners import SlidingWindow
from streamlib.windows.contract import Assigned, Grid, Indices, Placement, WindowAssigner

_YEARS = (-62_135_596_800_000_000, 253_402_300_799_000_000)  # 1 to 9999: what calendars reach
_PROBES = np.array(  # the epoch, 2020-01-01, the end of a leap day, and a time within everything
    [0, 1_577_836_800_000_000, 1_583_020_799_999_999, 1_782_909_296_789_012]
)


@dataclass(frozen=True)
class AssignedGrid:
    """The grid of a custom assigner. Windows with the same end differ in their start alone.

    Nothing is known of the windows before rows come, so unless the assigner knows better every instant
    may end one: a row behind the watermark is judged by exactly the watermark that came before it.
    """

    assigner: WindowAssigner

    @property
    def numbers_tell_starts(self) -> bool:
        return False

    def place(
        self, times: Micros, closed: int | Micros, fired: int = MAX_TIME, shown: Micros | None = None
    ) -> Placement:
        # a slice is one window's alone, so that no row is held
        rows, starts, ends = self.assign(times)
        if isinstance(closed, int):
            self._check_next(ends, closed)
        over = ends <= (closed if isinstance(closed, int) else closed.take(rows))
        later = ~over if shown is None else ends > shown.take(rows)
        if later.all():
            return Placement(rows, ends, starts)
        late = _marked(rows[over], len(times)) & ~_marked(rows[~over], len(times))
        missed = (rows[over], starts[over], ends[over]) if over.any() else None
        update = ~over & ~later
        updates = (rows[update], ends[update], starts[update]) if update.any() else None
        found = Placement(rows[later], ends[later], starts[later], late if late.any() else None, missed)
        return replace(found, updates=updates)

    def assign(self, times: Micros) -> tuple[Indices, Micros, Micros]:
        """What the assigner answers, checked."""
        asked = times.view()
        asked.flags.writeable = False
        try:
            answer = self.assigner.assign(asked)
        except StreamlibError:
            raise
        except Exception as error:
            low, high = show_instant(int(times.min())), show_instant(int(times.max()))
            error.add_note(f"while {self._name} assigned windows to {len(times)} times from {low} to {high}")
            raise
        return self._checked(answer, times)

    def check(self, times: Micros) -> None:
        """Raise what is wrong with the answer about some times; also a window that a time is in twice.

        Not looked for in every batch: it takes longer than the windows.
        """
        rows, starts, ends = self.assign(times)
        order = np.lexsort((ends, starts, rows))
        rows, starts, ends = rows[order], starts[order], ends[order]
        again = (np.diff(rows) == 0) & (np.diff(starts) == 0) & (np.diff(ends) == 0)
        if again.any():
            at = int(again.argmax())
            time, start, end = (show_instant(int(v)) for v in (times[rows[at]], starts[at], ends[at]))
            raise self._wrong(
                "each window of a time once: its rows would count twice", f"[{start}, {end}) again for {time}"
            )

    def _checked(self, answer: Assigned, times: Micros) -> tuple[Indices, Micros, Micros]:
        if not isinstance(answer, tuple) or len(answer) != 3:
            raise self._wrong("a tuple of three vectors: rows, starts, ends", shown(answer))
        names = ("rows", "starts", "ends")
        rows, starts, ends = (self._vector(n, v) for n, v in zip(names, answer, strict=True))
        if not len(rows) == len(starts) == len(ends):
            found = f"{len(rows)} rows, {len(starts)} starts, {len(ends)} ends"
            raise self._wrong("as many rows as starts and ends", found)
        if len(rows) and not (int(rows.min()) >= 0 and int(rows.max()) < len(times)):
            expected = f"rows from 0 to {len(times) - 1}, indices into the times"
            raise self._wrong(expected, f"rows from {rows.min()} to {rows.max()}")
        rows = rows.astype(np.intp, copy=False)
        self._check_bounds(times.take(rows), starts, ends)
        return rows, starts, ends

    def _vector(self, name: str, vector: Any) -> npt.NDArray[Any]:
        if not isinstance(vector, np.ndarray) or vector.ndim != 1:
            raise self._wrong(f"{name} as a numpy vector", shown(vector))
        fits = vector.dtype.kind in "iu" if name == "rows" else vector.dtype == np.int64
        if len(vector) and not fits:
            expected = "integers" if name == "rows" else "int64 (microseconds)"
            raise self._wrong(f"{name} of type {expected}", f"{name} of type {vector.dtype}")
        return vector if fits else vector.astype(np.int64)

    def _check_bounds(self, times: Micros, starts: Micros, ends: Micros) -> None:
        outside = (starts > times) | ((times >= ends) & (ends != MAX_TIME))  # the last end is saturated
        if not outside.any():
            return
        at = int(outside.argmax())
        time, start, end = (show_instant(int(v[at])) for v in (times, starts, ends))
        raise self._wrong(
            "windows that hold their row: start <= time < end", f"[{start}, {end}) for the time {time}"
        )

    def _wrong(self, expected: str, found: str) -> UserFunctionError:
        return UserFunctionError(
            f"{self._name} returned windows that can't be used",
            expected=expected,
            found=found,
            remedy="return (rows, starts, ends) as `WindowAssigner.assign` says",
        )

    @property
    def _name(self) -> str:
        return f"{type(self.assigner).__name__}.assign"

    # ------------------------------------------------------------------ numbers

    def windows_of(self, number: int) -> range:
        return range(number, number + 1)

    def slices_of(self, window: int) -> range:
        return range(window, window + 1)

    def windows_holding(self, slices: Micros, first: int, last: int) -> tuple[Indices, Micros]:
        index = np.flatnonzero((slices >= clamp(first)) & (slices <= clamp(last)))
        return index, slices.take(index)

    def windows_per_row(self) -> int:
        return 1

    def first_open_slice(self, window: int) -> int:
        return window + 1

    def last_over(self, watermark: int) -> int:
        return watermark

    def end_after(self, time: int) -> int:
        if not _YEARS[0] <= time <= _YEARS[1]:
            return min(time + 1, MAX_TIME)
        found = self.assigner.end_after(time)
        end = int(found) if isinstance(found, int | np.integer) else None
        if end is None or end <= time:
            raise UserFunctionError(
                f"{type(self.assigner).__name__}.end_after returned no later instant",
                expected=f"an int above {time}, {show_instant(time)}",
                found=shown(found),
                remedy="leave the method out, or see `WindowAssigner.end_after`",
            )
        return min(end, MAX_TIME)

    def _check_next(self, ends: Micros, closed: int) -> None:
        """Refuse windows of which `end_after` did not know: their lateness would depend on batching."""
        if type(self.assigner).end_after is WindowAssigner.end_after:
            return
        following, next_end = ends[ends > closed], self.end_after(closed)
        if len(following) and int(following.min()) < next_end:
            raise UserFunctionError(
                f"{self._name} gave a window of which end_after did not know",
                expected=f"no end between {show_instant(closed)} and {show_instant(next_end)}",
                found=f"a window that ends at {show_instant(int(following.min()))}",
                remedy="leave `end_after` out, or see `WindowAssigner.end_after`",
            )

    def starts(self, windows: Micros) -> Micros:
        raise NotImplementedError("numbers don't tell starts")

    def ends(self, windows: Micros) -> Micros:
        return windows


def _marked(rows: Indices, count: int) -> npt.NDArray[np.bool_]:
    marks = np.zeros(count, np.bool_)
    marks[rows] = True
    return marks


def grid_of(window: WindowAssigner) -> Grid:
    """The windows of an assigner by number: its own where it is regular, else one slice a window."""
    return window if isinstance(window, SlidingWindow) else AssignedGrid(window)


def check_windows(window: WindowAssigner, times: Micros = _PROBES) -> None:
    """Raise what is wrong with the answers of a custom assigner about some times, before there are rows."""
    if not isinstance(window, SlidingWindow):
        grid = AssignedGrid(window)
        grid.check(times)
        for time in _PROBES.tolist():
            grid.end_after(time)
