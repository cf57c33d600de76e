"""Results of windows over time, a line for each key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.connectors.tables import cell_texts, is_number
from streamlib.core.errors import DefinitionError, TypeMismatchError, UnknownColumnError, shown
from streamlib.core.time import Micros, show_duration, to_micros
from streamlib.plot.style import COLORS, GREY, axes, instants, time_axis, title_and_legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes

START, END = "window_start", "window_end"
Values = npt.NDArray[np.float64]


def windows(
    table: pa.Table,
    y: str,
    *,
    by: str | Sequence[str] | None = None,
    unit: str | None = None,
    tz: str = "UTC",
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot a result of windows over time: a line for each key.

    Every window is drawn as a step as wide as it is; where there was none, there is a gap. Windows
    that overlap are drawn from their end to the next one's. Of more than seven keys those with the
    largest sums are named, the others are grey.

    Args:
        table: rows with `window_start` and `window_end`, for example from `collect`.
        y: the column to plot.
        by: the columns that tell lines apart; default: those before `window_start`, the keys.
        unit: of `y`, for the axis.
        tz: the time zone in which time is shown.
        title: default: what is plotted, for which keys and windows.
        ax: axes to draw into; default: new ones.

    Raises:
        MissingExtraError: matplotlib is not installed.
        DefinitionError: `table` is no table.
        UnknownColumnError: the table does not have one of the columns.
        TypeMismatchError: `y` is not a number.

    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> rows = [{"at": second * 1_000_000, "item": "pen"} for second in range(100)]
    >>> stream = sl.read(memory.source(rows), name="rows", event_time="at", watermark=sl.monotone())
    >>> sold = stream.key_by("item").window(sl.windows.tumbling("1min")).aggregate(sold=sl.count())
    >>> sl.plot.windows(sold.collect(), "sold").get_title(loc="left")
    'sold per item, windows of 1min'
    """
    keys = _checked(table, y, by)
    panes = _Panes(table, y, keys)
    lines = panes.lines()
    ax = axes(ax)
    for line in lines[len(COLORS) :]:
        ax.plot(instants(line.times), line.values, color=GREY, linewidth=0.8, drawstyle="steps-post")
    named = sorted(lines[: len(COLORS)], key=lambda line: line.label)
    for line, color in zip(named, COLORS, strict=False):
        ax.plot(instants(line.times), line.values, color=color, drawstyle="steps-post", label=line.label or y)
    if len(lines) > len(COLORS):
        ax.plot([], [], color=GREY, linewidth=0.8, label=f"{len(lines) - len(COLORS):,} others")
    time_axis(ax.xaxis, tz)
    ax.margins(x=0.01)
    ax.set_xlabel(f"{'end of the window' if panes.overlap else 'window'} ({tz})")
    ax.set_ylabel(y if unit is None else f"{y} ({unit})")
    title_and_legend(ax, title or panes.title(y, keys), legend=bool(keys) and bool(lines))
    return ax


def _checked(table: pa.Table, y: str, by: str | Sequence[str] | None) -> list[str]:
    """The columns that tell lines apart."""
    if not isinstance(table, pa.Table):
        raise DefinitionError(
            "this can't be plotted",
            expected="a pyarrow.Table of results of windows",
            found=shown(table),
            remedy="use for example `stream.collect()`, or `preview().table`",
        )
    names = table.column_names
    if by is None:
        keys = names[: names.index(START)] if START in names else []
    else:
        keys = [by] if isinstance(by, str) else list(by)
    for name in (START, END, y, *keys):
        if name not in names:
            raise UnknownColumnError.of(name, names)
    if not is_number(table.schema.field(y).type):
        raise TypeMismatchError(
            f"column {y!r} can't be plotted over time",
            expected="numbers",
            found=str(table.schema.field(y).type),
            remedy="name a column of numbers, or use it in `by=`",
        )
    return keys


@dataclass(frozen=True)
class _Line:
    """What is drawn of a key: each value holds until the next time; NaN is a gap."""

    label: str
    times: Micros
    values: Values


class _Panes:
    """Windows in order of time, their bounds in microseconds."""

    def __init__(self, table: pa.Table, y: str, keys: Sequence[str]) -> None:
        rows = table.combine_chunks()
        self._start = to_micros(pa.concat_arrays(rows[START].chunks), "UTC") if rows.num_rows else _NONE
        self._end = to_micros(pa.concat_arrays(rows[END].chunks), "UTC") if rows.num_rows else _NONE
        self._values = pc.fill_null(rows[y].cast(pa.float64()), np.nan).to_numpy()
        self._labels = _labels(rows.select(keys))
        # Both columns: a window that starts again before it ends is another one that overlaps it.
        bounds = np.unique(np.stack([self._start, self._end], axis=1), axis=0)
        self.sizes = np.unique(bounds[:, 1] - bounds[:, 0])
        self.overlap = bool((bounds[1:, 0] < bounds[:-1, 1]).any()) and len(self.sizes) == 1
        starts = np.unique(self._start)
        self._slide = int(np.diff(starts).min(initial=int(self.sizes.max(initial=0))))

    def lines(self) -> list[_Line]:
        """A line for each key, those with the largest sums first."""
        groups = {label: np.flatnonzero(self._labels == label) for label in np.unique(self._labels)}
        sums = {label: np.nansum(np.abs(self._values[rows])) for label, rows in groups.items()}
        return [self._line(label, groups[label]) for label in sorted(groups, key=lambda x: (-sums[x], x))]

    def _line(self, label: str, rows: npt.NDArray[np.intp]) -> _Line:
        rows = rows[np.argsort(self._start[rows], kind="stable")]
        begins = self._end[rows] if self.overlap else self._start[rows]
        ends = begins + self._slide if self.overlap else self._end[rows]
        # Behind every window its end, as a gap; where the next one begins right there, it replaces it.
        times = np.stack([begins, ends], axis=1).ravel()
        values = np.stack([self._values[rows], np.full(len(rows), np.nan)], axis=1).ravel()
        closes = np.append(begins[1:] > ends[:-1], True)
        return _stepped(label, times, values, closes)

    def title(self, y: str, keys: Sequence[str]) -> str:
        """What is plotted, for which keys, over which windows."""
        per = f" per {', '.join(keys)}" if keys else ""
        if len(self.sizes) != 1:
            return f"{y}{per}"
        every = f" every {show_duration(self._slide)}" if self.overlap else ""
        return f"{y}{per}, windows of {show_duration(int(self.sizes[0]))}{every}"


_NONE = np.empty(0, np.int64)


def _stepped(label: str, times: Micros, values: Values, closes: npt.NDArray[np.bool_]) -> _Line:
    """Keep the ends of those windows that no other one follows directly.

    Such an end comes twice: with the window's value, so that its step is drawn, and as a gap.
    """
    repeats = np.ones(len(times), np.intp)
    repeats[1::2] = np.where(closes, 2, 0)
    kept = np.repeat(np.arange(len(times)), repeats)
    drawn = values[kept]
    first_of_two = np.flatnonzero((kept % 2 == 1) & np.append(kept[1:] == kept[:-1], False))
    drawn[first_of_two] = values[kept[first_of_two] - 1]
    return _Line(label, times[kept], drawn)


def _labels(keys: pa.Table) -> npt.NDArray[np.str_]:
    """The key of each row as text."""
    if not keys.num_columns:
        return np.full(keys.num_rows, "")
    texts = pc.binary_join_element_wise(*cell_texts(keys), ", ")
    return np.array(texts.to_pylist(), np.str_)
