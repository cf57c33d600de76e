"""Plots: what they show, read from the lines and labels that they are made of."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import matplotlib as mpl

mpl.use("agg")  # before anything draws: tests have no screen

import matplotlib.dates
import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import plot, windows
from streamlib.connectors import memory
from streamlib.core.errors import DefinitionError, EventTimeError, TypeMismatchError, UnknownColumnError
from streamlib.plot.arrivals import record
from streamlib.testing import rows, scripted

MINUTE = 60 * 1_000_000


@pytest.fixture(autouse=True)
def _closed() -> Any:
    yield
    plt.close("all")


def timed(minutes: list[float], disorder: str = "0s", **columns: list[Any]) -> sl.Stream:
    data = pa.table({"at": [round(m * MINUTE) for m in minutes], **columns})
    return sl.read(memory.source(data), name="rows", event_time="at", watermark=sl.bounded_disorder(disorder))


def counted(stream: sl.Stream, *keys: str, window: Any = None) -> sl.Stream:
    return stream.key_by(*keys).window(window or windows.tumbling("1min")).aggregate(n=sl.count())


def line(ax: Any, label: str) -> list[tuple[float, float]]:
    """A line's points: minutes since the epoch, and values; a gap is a value of None."""
    (found,) = [each for each in ax.get_lines() if each.get_label() == label]
    minutes = matplotlib.dates.date2num(found.get_xdata()) * 24 * 60
    values = [None if np.isnan(y) else y for y in found.get_ydata()]
    return [(round(m, 6), y) for m, y in zip(minutes, values, strict=True)]


# ------------------------------------------------------------------ results of windows


def test_every_window_is_a_step_as_wide_as_it_is_and_a_missing_one_is_a_gap() -> None:
    stream = timed([0, 0.5, 1, 4], key=["a"] * 4)
    ax = plot.windows(counted(stream, "key").collect(), "n")
    assert line(ax, "a") == [(0, 2), (1, 1), (2, 1), (2, None), (4, 1), (5, 1), (5, None)]
    assert ax.get_lines()[0].get_drawstyle() == "steps-post"


def test_each_key_is_a_line_of_its_own_in_the_order_of_names() -> None:
    stream = timed([0, 0, 0, 1], key=["b", "a", None, "b"], half=[1, 2, 1, 1])
    ax = plot.windows(counted(stream, "key").collect(), "n")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["-", "a", "b"]
    assert line(ax, "b")[0] == (0, 1)
    both = plot.windows(counted(stream, "key", "half").collect(), "n")
    assert {each.get_label() for each in both.get_lines()} == {"-, 1", "a, 2", "b, 1"}
    by = plot.windows(counted(stream, "half").collect(), "n", by="half")
    assert line(by, "1")[0] == (0, 2)


def test_overlapping_windows_are_drawn_from_their_end_to_the_next_ones() -> None:
    stream = timed([0, 1], key=["a", "a"])
    table = counted(stream, "key", window=windows.sliding("3min", every="1min")).collect()
    ax = plot.windows(table, "n")
    assert line(ax, "a") == [(1, 1), (2, 2), (3, 2), (4, 1), (5, 1), (5, None)]
    assert ax.get_title(loc="left") == "n per key, windows of 3min every 1min"
    assert ax.get_xlabel() == "end of the window (UTC)"


def test_title_axes_and_units_say_what_is_plotted() -> None:
    ax = plot.windows(counted(timed([0], key=["a"]), "key").collect(), "n", unit="rows", tz="Europe/Rome")
    assert ax.get_title(loc="left") == "n per key, windows of 1min"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("window (Europe/Rome)", "n (rows)")
    labels = ax.xaxis.get_major_formatter().format_ticks(matplotlib.dates.date2num([datetime(1970, 1, 1)]))
    assert labels == ["01:00"], "Rome was an hour ahead"


def test_a_title_of_ones_own_replaces_the_one_there_is() -> None:
    stream = timed([0], key=["a"])
    for ax in (
        plot.windows(counted(stream, "key").collect(), "n", title="mine"),
        plot.watermark(stream, title="mine"),
    ):
        assert ax.get_title(loc="left") == "mine"


def test_of_many_keys_the_largest_are_named_and_the_others_grey() -> None:
    keys = [key for key in range(12) for _ in range(key + 1)]
    ax = plot.windows(counted(timed([0] * len(keys), key=keys), "key").collect(), "n")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        *["10", "11", "5", "6", "7", "8", "9"],
        "5 others",
    ]
    colors = [each.get_color() for each in ax.get_lines()]
    assert len(set(colors)) == 8
    assert len(ax.get_lines()) == 13


def test_without_keys_there_is_one_line_and_no_legend_and_without_rows_there_is_none() -> None:
    table = counted(timed([0, 1], key=["a", "a"]), "key").collect().drop_columns("key")
    ax = plot.windows(table, "n")
    assert line(ax, "n")[0] == (0, 1)
    assert ax.get_legend() is None
    assert list(plot.windows(table.slice(0, 0), "n").get_lines()) == []


def test_axes_that_are_given_are_drawn_into() -> None:
    given = plt.figure().subplots()
    assert plot.windows(counted(timed([0], key=["a"]), "key").collect(), "n", ax=given) is given
    assert len(plt.get_fignums()) == 1


def test_what_cannot_be_plotted_is_refused() -> None:
    table = counted(timed([0], key=["a"]), "key").collect()
    with pytest.raises(UnknownColumnError, match="no column 'm'"):
        plot.windows(table, "m")
    with pytest.raises(UnknownColumnError, match="'window_start'"):
        plot.windows(table.drop_columns("window_start"), "n")
    with pytest.raises(TypeMismatchError, match="'key' can't be plotted"):
        plot.windows(table, "key")
    with pytest.raises(DefinitionError, match="can't be plotted"):
        plot.windows(timed([0]), "n")
    with pytest.raises(EventTimeError, match="time zone is not known"):
        plot.windows(table, "n", tz="Rome")


# ------------------------------------------------------------------ the watermark


MINUTES = [0, 3, 1.5, 6, 2.5, 0.5]  # with a disorder of two minutes: in time, in time, in time, ..., late


def test_each_row_stands_beside_the_watermark_that_it_met() -> None:
    stream = timed(MINUTES, "2min", key=[1] * 6)
    late = counted(stream, "key", window=windows.tumbling("3min")).late()
    found = record(stream, late, None, 100, "10s")
    assert found.event_time.tolist() == [m * MINUTE for m in MINUTES]
    assert (found.watermark[1:] / MINUTE).tolist() == [-2, 1, 1, 4, 4]
    assert found.behind.tolist() == [False, False, False, False, True, True]
    assert found.late.tolist() == [False, False, False, False, True, True]
    wide = counted(stream, "key", window=windows.tumbling("1h")).late()
    assert not record(stream, wide, None, 100, "10s").late.any()


def test_rows_are_drawn_by_what_became_of_them_and_the_watermark_as_a_line() -> None:
    stream = timed([0, 3, 1.5, 6, 3.5, 0.5], "2min", key=[1] * 6)
    late = counted(stream, "key", window=windows.tumbling("3min")).late()
    ax = plot.watermark(stream, late=late)
    by_label = {each.get_label(): each for each in ax.get_lines()}
    assert list(by_label) == [
        "on time: 4",
        "behind the watermark, window still open: 1",
        "late: 1",
        "watermark",
    ]
    assert by_label["on time: 4"].get_xdata().tolist() == [1, 2, 3, 4]
    assert by_label["late: 1"].get_xdata().tolist() == [6]
    assert by_label["watermark"].get_xdata().tolist() == [2, 3, 4, 5, 6], "unknown before the first row"
    assert ax.get_xlabel() == "rows in the order of their arrival"
    assert ax.get_ylabel() == "event time (UTC)"
    assert ax.get_title(loc="left") == "rows: event time against arrival, 1970-01-01"


def test_a_column_can_tell_when_rows_arrived() -> None:
    came = pa.array([10 * MINUTE, 20 * MINUTE], pa.timestamp("us", "UTC"))
    ax = plot.watermark(timed([0, 1], came=came), arrival="came", tz="America/New_York")
    minutes = matplotlib.dates.date2num(ax.get_lines()[0].get_xdata()) * 24 * 60
    assert minutes.round(6).tolist() == [10, 20]
    assert ax.get_xlabel() == "arrival: came (America/New_York)"
    assert ax.get_title(loc="left").endswith("1969-12-31")


def test_only_so_many_rows_are_read_also_of_a_source_that_never_ends() -> None:
    assert len(record(timed([0] * 50), None, None, 20, "10s").event_time) == 20
    data = [{"at": i} for i in range(5)]
    endless = scripted({"p": [rows(data)]}, {"at": pa.int64()}, unbounded=True)
    stream = sl.read(endless, name="rows", event_time="at", watermark=sl.monotone())
    assert len(record(stream, None, None, 20, "10ms").event_time) == 5
    assert len(record(timed([0, 1]).filter(sl.col("at") < 0), None, None, 20, "10s").event_time) == 0
    plot.watermark(timed([0, 1]).filter(sl.col("at") < 0))


def test_a_stream_without_event_time_or_a_wrong_column_is_refused() -> None:
    plain = sl.read(memory.source([{"at": 1}]), name="rows")
    with pytest.raises(EventTimeError, match="no event time"):
        plot.watermark(plain)
    with pytest.raises(UnknownColumnError, match="no column 'cmae'"):
        plot.watermark(timed([0], came=[1]), arrival="cmae")
    with pytest.raises(TypeMismatchError, match="does not say when"):
        plot.watermark(timed([0], came=["noon"]), arrival="came")


# ------------------------------------------------------------------ matplotlib


def test_matplotlib_is_imported_only_to_draw_and_its_absence_says_what_to_install() -> None:
    code = """
import sys
import streamlib as sl
assert "matplotlib" not in sys.modules and "IPython" not in sys.modules
sys.modules["matplotlib"] = None
import pyarrow as pa
try:
    sl.plot.windows(pa.table({"window_start": [0], "window_end": [1], "n": [1]}), "n")
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert 'pip install "streamlib[plot]"' in done.stdout


def test_a_plot_can_be_saved_without_a_screen(tmp_path: Any) -> None:
    ax = plot.watermark(timed([0, 1, 2]))
    ax.figure.savefig(tmp_path / "w.png")  # type: ignore[union-attr]
    assert (tmp_path / "w.png").read_bytes().startswith(b"\x89PNG")


def test_days_of_the_title_are_those_of_the_time_zone() -> None:
    noon = datetime(2013, 7, 10, 12, tzinfo=UTC).timestamp() / 60
    assert (
        plot.watermark(timed([noon, noon + 24 * 60]))
        .get_title(loc="left")
        .endswith("2013-07-10 to 2013-07-11")
    )
