"""Cells: partials of neighbouring slices over a range of one integer key, addressed without hashing.

Merging them is adding rectangles of arrays. A window is the sum of its slices, so that all windows
that fire together are filled by a few additions a partial, however many keys there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamlib.core.batch import Column, numpy_type
from streamlib.core.time import Micros
from streamlib.operators.aggregates import StateColumn
from streamlib.operators.bound_aggregate import Vector
from streamlib.operators.grouping import KeyGrid, direct_limit
from streamlib.operators.state_columns import each_once, first_alike
from streamlib.windows.contract import Grid


@dataclass(frozen=True)
class Cells:
    """Cell `i` belongs to slice (or window) `first + i // width` and key `low + i % width`.

    `states[0]` counts the rows of each, maybe 0. One vector may be several states: the count of an
    aggregate is that of the rows where none is null.
    """

    first: int
    low: int
    width: int
    states: tuple[Vector, ...]

    def __len__(self) -> int:
        return len(self.states[0])

    @property
    def span(self) -> int:
        """How many slices."""
        return len(self) // self.width

    @property
    def slices(self) -> range:
        """Their numbers."""
        return range(self.first, self.first + self.span)

    def places(self, cells: npt.NDArray[np.intp]) -> tuple[Micros, Vector]:
        """The slices and the keys of some cells, in their order."""
        ends = np.arange(1, self.span + 1) * self.width
        lengths = np.diff(np.searchsorted(cells, ends), prepend=0)
        keys = cells - np.repeat(ends - self.width - self.low, lengths)  # cheaper than dividing
        return np.repeat(np.arange(self.span) + self.first, lengths), keys

    def between(self, start: int, stop: int) -> Cells | None:
        """What the slices `start <= n < stop` hold, as views; None if none is here.

        Where that is less than half it is a copy, without keys at the ends that have no rows: a small
        rest must not hold the memory of all, nor be added up with more than it has.
        """
        begin, end = max(start - self.first, 0), min(stop - self.first, self.span)
        if begin >= end:
            return None
        if end - begin == self.span:
            return self
        cut = slice(begin * self.width, end * self.width)
        states = each_once(self.states, lambda s: s[cut])
        found = Cells(self.first + begin, self.low, self.width, states)
        return found._trimmed() if 2 * (end - begin) < self.span else found

    def _trimmed(self) -> Cells:
        """A copy without the keys below and above those that have rows."""
        shape = (self.span, self.width)
        used = np.flatnonzero(self.states[0].reshape(shape).any(axis=0))
        low, high = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, self.width)
        states = each_once(self.states, lambda s: s.reshape(shape)[:, low:high].flatten())
        return Cells(self.first, self.low + low, high - low, states)

    def cover(self, others: Cells) -> bool:
        """Whether there is a cell for each of the others."""
        return (
            self.first <= others.first
            and others.slices.stop <= self.slices.stop
            and self.low <= others.low
            and others.low + others.width <= self.low + self.width
        )


Placing = Callable[[Cells], Iterator[tuple[slice, slice]]]
"""Which rows of a rectangle get which slices of some cells, one pair after another."""


def largest(order: Vector, rows: Vector, width: int, n: int) -> npt.NDArray[np.intp]:
    """The cells of the `n` groups of every slice that come last in `order`; maybe some more.

    Of equal ones the first is kept: that of the lower key.
    """
    least = np.iinfo(order.dtype).min
    table = (order if order is rows else np.where(rows > 0, order, least)).reshape(-1, width)
    if n == 1:
        found: npt.NDArray[np.intp] = np.arange(len(table)) * width + table.argmax(axis=1)
        filled = rows.take(found) > 0
        if order is rows or filled.all():
            return found[filled]
    if n >= width:
        return np.flatnonzero(rows > 0)
    limit = np.partition(table, width - n, axis=1)[:, width - n, None]
    return np.flatnonzero((table >= limit).ravel() & (rows > 0))


class CellMerger:
    """Merges cells column by column."""

    def __init__(self, columns: Sequence[StateColumn]) -> None:
        self._columns = tuple(columns)

    def merged(self, parts: Sequence[Cells]) -> Cells | None:
        """All parts together; None if they lie too far apart to be worth the empty cells."""
        if len(parts) == 1:
            return parts[0]
        slices = range(min(p.first for p in parts), max(p.slices.stop for p in parts))
        return self._together(parts, slices)

    def taken_in(self, cells: Cells, small: Cells) -> Cells:
        """`cells`, which cover those of `small`, with what these hold. Changes the vectors of `cells`."""
        start, low = small.first - cells.first, small.low - cells.low
        place = (slice(start, start + small.span), slice(low, low + small.width))
        same = first_alike(self._columns, [cells.states, small.states])
        states: list[Vector] = []
        for i, column in enumerate(self._columns):  # none is changed before all that must differ were copied
            vector, dtype = cells.states[i], numpy_type(column.dtype)
            apart = any(vector is other for other in states)
            states.append(states[same[i]] if same[i] < i else vector.astype(dtype, copy=apart))
        shape, of_small = (cells.span, cells.width), (small.span, small.width)
        with np.errstate(all="ignore"):  # as in `StateColumn.scatter`
            for i, column in enumerate(self._columns):
                if same[i] == i:
                    some = states[i].reshape(shape)[place]
                    column.ufunc()(some, small.states[i].reshape(of_small), out=some)
        return Cells(cells.first, cells.low, cells.width, tuple(states))

    def with_groups(
        self, cells: Cells, numbers: Vector, keys: Vector, states: Sequence[Column]
    ) -> Cells | None:
        """A copy of the cells that holds some groups as well, maybe several a cell; None as in `merged`."""
        grid = KeyGrid.of(keys, numbers).covering(cells.first, cells.span, cells.low, cells.width)
        if grid.cells > direct_limit(len(cells)):
            return None
        codes, start = grid.codes(keys, numbers), cells.first - grid.first
        places = [(cells, [(slice(start, start + cells.span), slice(0, cells.span))])]
        same = first_alike(self._columns, [cells.states, states], times=len(codes) + 1)
        found: list[Vector] = []
        for i, column in enumerate(self._columns):
            if same[i] < i:
                found.append(found[same[i]])
                continue
            vector = _filled(column, i, places, grid.span, grid.low, grid.width)
            with np.errstate(all="ignore"):  # as in `StateColumn.scatter`
                column.ufunc().at(vector, codes, np.asarray(states[i]).astype(vector.dtype, copy=False))
            found.append(vector)
        return Cells(grid.first, grid.low, grid.width, tuple(found))

    def in_windows(self, parts: Sequence[Cells], windows: range, window: Grid) -> Cells | None:
        """The windows `windows` (neighbours), each the merge of its slices; None as in `merged`.

        No part reaches beyond the slices of these windows.
        """
        layout = _Layout(windows, window)
        slices = range(window.slices_of(windows.start).start, window.slices_of(windows.stop - 1).stop)
        if layout.step > 1 or len(slices) > 2 * len(windows):  # few windows: not all slices at once
            most = min(window.windows_per_row(), len(windows))
            return self._rectangle(parts, windows, layout.places, most * sum(map(len, parts)))
        merged = self._together(parts, slices)
        return None if merged is None else self._running(merged, windows, layout.slices_a_window)

    def _together(self, parts: Sequence[Cells], slices: range) -> Cells | None:
        if len(parts) == 1 and parts[0].slices == slices:
            return parts[0]

        def whole(part: Cells) -> Iterator[tuple[slice, slice]]:
            start = part.first - slices.start
            yield slice(start, start + part.span), slice(0, part.span)

        return self._rectangle(parts, slices, whole, sum(map(len, parts)))

    def _running(self, cells: Cells, windows: range, length: int) -> Cells:
        """Windows of `length` slices, from each slice one."""
        if length == 1:
            return cells
        same = first_alike(self._columns, [cells.states], times=length)
        states: list[Vector] = []
        for i, column in enumerate(self._columns):
            if same[i] < i:
                states.append(states[same[i]])
            else:
                table = cells.states[i].astype(numpy_type(column.dtype), copy=False)
                states.append(
                    _running(table.reshape(cells.span, cells.width), length, column.ufunc()).ravel()
                )
        return Cells(windows.start, cells.low, cells.width, tuple(states))

    def _rectangle(self, parts: Sequence[Cells], rows: range, placing: Placing, cells: int) -> Cells | None:
        low = min(p.low for p in parts)
        width = max(p.low + p.width for p in parts) - low
        if len(rows) * width > direct_limit(cells):
            return None
        places = [(part, list(placing(part))) for part in parts]
        same = first_alike(self._columns, [p.states for p in parts])
        states: list[Vector] = []
        for i, column in enumerate(self._columns):
            again = same[i] < i
            states.append(states[same[i]] if again else _filled(column, i, places, len(rows), low, width))
        return Cells(rows.start, low, width, tuple(states))


def _filled(
    column: StateColumn,
    i: int,
    places: Sequence[tuple[Cells, list[tuple[slice, slice]]]],
    rows: int,
    low: int,
    width: int,
) -> Vector:
    flat, ufunc = column.empty(rows * width), column.ufunc()
    cells = flat.reshape(rows, width)
    with np.errstate(all="ignore"):  # as in `StateColumn.scatter`
        for part, pairs in places:
            values = part.states[i].reshape(part.span, part.width)
            columns = slice(part.low - low, part.low - low + part.width)
            for target, source in pairs:
                some = cells[target, columns]
                ufunc(some, values[source], out=some)
    return flat


def _running(table: Vector, length: int, ufunc: np.ufunc) -> Vector:
    """Row `i` is the merge of the rows `i` to `i + length - 1`, in a logarithm of steps."""
    count, begin, size = len(table) - length + 1, 0, 1
    found: Vector | None = None
    with np.errstate(all="ignore"):
        while True:  # `table` holds the merges of `size` rows each
            if length & size:
                some = table[begin : begin + count]
                found = some if found is None else ufunc(found, some)
                begin += size
            if found is not None and begin == length:
                return found
            table = ufunc(table[:-size], table[size:])
            size *= 2


class _Layout:
    """Which slices windows hold: window `n` those from `n * step` on."""

    def __init__(self, windows: range, window: Grid) -> None:
        self.slices_a_window = len(window.slices_of(0))
        self.step = window.slices_of(1).start - window.slices_of(0).start
        self._windows = windows
        self._window = window

    def places(self, part: Cells) -> Iterator[tuple[slice, slice]]:
        """By slice or by the n-th slice of all windows, whichever takes fewer steps."""
        return self._by_slice(part) if part.span < self.slices_a_window else self._by_nth(part)

    def _by_slice(self, part: Cells) -> Iterator[tuple[slice, slice]]:
        for i, number in enumerate(part.slices):
            holding = self._window.windows_of(number)
            start, stop = self._clipped(holding.start, holding.stop)
            if start < stop:
                yield self._rows(start, stop), slice(i, i + 1)

    def _by_nth(self, part: Cells) -> Iterator[tuple[slice, slice]]:
        for nth in range(self.slices_a_window):
            # the windows whose n-th slice is one of the part's
            start, stop = (-(-(end - nth) // self.step) for end in (part.slices.start, part.slices.stop))
            start, stop = self._clipped(start, stop)
            if start < stop:
                source = start * self.step + nth - part.first
                yield (
                    self._rows(start, stop),
                    slice(source, source + (stop - start - 1) * self.step + 1, self.step),
                )

    def _clipped(self, start: int, stop: int) -> tuple[int, int]:
        return max(start, self._windows.start), min(stop, self._windows.stop)

    def _rows(self, start: int, stop: int) -> slice:
        return slice(start - self._windows.start, stop - self._windows.start)
