"""The watermark against arrival: what it waits for, and what comes too late for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from streamlib.core.time import MAX_TIME, MIN_TIME
from streamlib.plan.launch import Until
from streamlib.plan.stream import Handle
from streamlib.plot.arrivals import Arrivals, record
from streamlib.plot.style import COLORS, axes, days, instants, time_axis, title_and_legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, RED, AMBER, BLACK = COLORS[0], COLORS[1], COLORS[5], COLORS[6]


def watermark(
    stream: Handle,
    *,
    late: Handle | None = None,
    arrival: str | None = None,
    n: int = 1_000,
    until: Until = "10s",
    tz: str = "UTC",
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the event times of a stream's first rows in the order of their arrival, and the watermark.

    Streams a sample, a row at a time, without a job. A row behind the watermark is late only where
    its window has closed: those are marked if `late` says which.

    Args:
        stream: the rows, with event time: a source, or what follows it.
        late: the late rows of a window over `stream`: `counts.late()`.
        arrival: a column that says when rows arrived; default: their order alone.
        n: how many rows.
        until: when to stop if they don't come, see `Stream.collect`.
        tz: the time zone in which time is shown.
        title: default: the stream's name and the days.
        ax: axes to draw into; default: new ones.

    Raises:
        MissingExtraError: matplotlib is not installed.
        EventTimeError: the rows have no event time.
        UnknownColumnError, TypeMismatchError: `arrival` is no column of the stream, or no time.

    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> rows = [{"at": second * 1_000_000} for second in (1, 2, 9, 3, 10)]
    >>> bounded = sl.bounded_disorder("5s")
    >>> stream = sl.read(memory.source(rows), name="rows", event_time="at", watermark=bounded)
    >>> [line.get_label() for line in sl.plot.watermark(stream).get_lines()]
    ['on time: 4', 'behind the watermark: 1', 'watermark']
    """
    rows = record(stream, late, arrival, n, until)
    ax = axes(ax)
    x = np.arange(1, len(rows.event_time) + 1) if rows.arrived is None else instants(rows.arrived)
    for mask, label, style in _kinds(rows, late is not None):
        if mask.any() or label == "on time":
            text = f"{label}: {mask.sum():,}"
            ax.plot(x[mask], instants(rows.event_time[mask]), label=text, linestyle="none", **style)
    known = (rows.watermark > MIN_TIME) & (rows.watermark < MAX_TIME)
    ax.plot(
        x[known],
        instants(rows.watermark[known]),
        color=BLACK,
        linewidth=1.3,
        drawstyle="steps-pre",
        label="watermark",
    )
    time_axis(ax.yaxis, tz, offset=False)  # up there it would stand in the legend; the title has the days
    if arrival is None:
        ax.set_xlabel("rows in the order of their arrival")
    else:
        time_axis(ax.xaxis, tz)
        ax.set_xlabel(f"arrival: {arrival} ({tz})")
    ax.margins(x=0.01)
    ax.set_ylabel(f"event time ({tz})")
    told = [f"{stream.port.node.title}: event time against arrival", days(rows.event_time, tz)]
    title_and_legend(ax, title or ", ".join(filter(None, told)), legend=True)
    return ax


FEW = 100  # rows up to which each is to be seen for itself, and not the cloud that they make
Kind = tuple[npt.NDArray[np.bool_], str, dict[str, Any]]


def _kinds(rows: Arrivals, judged: bool) -> Iterator[Kind]:
    """The rows that are drawn alike; what matters most is drawn last, and largest."""
    few = len(rows.late) <= FEW
    size, alpha = (11, 0.9) if few else (5, 0.55)
    on_time = {"marker": ".", "markersize": size, "color": BLUE, "alpha": alpha, "markeredgewidth": 0}
    yield ~rows.behind & ~rows.late, "on time", on_time
    behind = "behind the watermark, window still open" if judged else "behind the watermark"
    yield rows.behind & ~rows.late, behind, {"marker": "o", "markersize": 4, "color": AMBER, "mew": 0}
    yield rows.late, "late", {"marker": "X", "markersize": 7, "color": RED, "mec": "white", "mew": 0.5}
