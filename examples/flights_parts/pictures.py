"""The demo's pictures: what was computed around the worst day, and what the watermark saw on it."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.figure import Figure

import streamlib as sl
from flights_parts.arrivals import ZONE
from streamlib import plot, windows
from streamlib.connectors import memory

DAY_BEGINS = time(4)  # on New York's clock: hardly anything leaves then
AROUND = 3  # days before and after the worst one
DOTS = 130  # an inch


def draw(hourly: pa.Table, departed: pa.Table, folder: Path) -> list[Path]:
    """Write both pictures; their paths.

    Args:
        hourly: windows per airport, as streamed.
        departed: all departures in the order of leaving.
        folder: where to.
    """
    day = worst_day(hourly)
    return [
        _save(hours(hourly, day), folder / "hourly.png"),
        _save(arrivals(departed, day), folder / "watermark.png"),
    ]


def worst_day(hourly: pa.Table) -> date:
    """The day on which departures were delayed the most in all."""
    delay = pc.multiply(hourly["mean_delay"], hourly["departures"])
    days = pc.floor_temporal(hourly["window_start"].cast(pa.timestamp("us", ZONE)), unit="day")
    sums = pa.table({"day": days, "delay": delay}).group_by("day").aggregate([("delay", "sum")])
    worst = sums.sort_by([("delay_sum", "descending"), ("day", "ascending")])
    return worst["day"][0].as_py().date()


def hours(hourly: pa.Table, day: date) -> Figure:
    """Departures and their mean delay, hour by hour, in the week around a day."""
    week = between(hourly, "window_start", day - timedelta(AROUND), day + timedelta(AROUND))
    figure = Figure(figsize=(9, 6), layout="constrained")
    counts, delays = figure.subplots(2, sharex=True)
    title = f"Departures of New York's airports around {day}, hour by hour"
    plot.windows(week, "departures", tz=ZONE, title=title, ax=counts)
    plot.windows(week, "mean_delay", unit="minutes", tz=ZONE, title="Their mean delay", ax=delays)
    counts.set_xlabel("")
    delays.get_legend().remove()
    delays.set_title(delays.get_title(loc="left"), loc="left", fontweight="bold", pad=8)
    return figure


def arrivals(departed: pa.Table, day: date) -> Figure:
    """A day's departures as they came, with the watermark two hours behind the newest."""
    rows = sl.read(
        memory.source(between(departed, "departed", day, day)),
        name="departures",
        event_time="scheduled",
        watermark=sl.bounded_disorder("2h"),
    )
    hourly = rows.key_by("origin").window(windows.tumbling("1h")).aggregate(departures=sl.count())
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    plot.watermark(rows, late=hourly.late(), arrival="departed", n=5_000, tz=ZONE, ax=figure.subplots())
    return figure


def between(rows: pa.Table, column: str, first: date, last: date) -> pa.Table:
    """The rows of these days, which begin when the airports sleep."""
    zone = ZoneInfo(ZONE)
    start = datetime.combine(first, DAY_BEGINS, zone)
    end = datetime.combine(last + timedelta(1), DAY_BEGINS, zone)
    return rows.filter((pc.field(column) >= start) & (pc.field(column) < end))


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=DOTS)
    return path
