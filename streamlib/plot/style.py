"""What all plots share: axes, colours that colour-blind readers tell apart, time, legends."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

from streamlib.core.errors import EventTimeError, MissingExtraError, shown
from streamlib.core.time import SECOND, Micros

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""After Okabe and Ito; the order keeps neighbours apart in lightness too. More lines nobody can tell."""
GREY = "#9aa3ad"
SIZE = (9.0, 4.2)  # inches: as wide as a page, flat as time series want it

Times = npt.NDArray[np.datetime64]


def matplotlib(module: str) -> Any:
    """A module of matplotlib, imported when something is drawn."""
    try:
        return importlib.import_module(f"matplotlib.{module}")
    except ImportError as error:
        raise MissingExtraError.of("matplotlib", "plot") from error


def axes(given: Axes | None) -> Axes:
    """The axes to draw into, without what is no data: a frame at the top and right, heavy grid lines."""
    if given is None:
        _, given = matplotlib("pyplot").subplots(figsize=SIZE, layout="constrained")
    assert given is not None
    given.spines[["top", "right"]].set_visible(False)
    given.grid(axis="y", color="#e3e6ea", linewidth=0.8)
    given.set_axisbelow(True)
    return given


def instants(micros: Micros) -> Times:
    """Event times as matplotlib takes them."""
    return micros.astype("datetime64[us]")


def zone(tz: str) -> ZoneInfo:
    """The time zone in which instants are shown."""
    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError, TypeError):
        raise EventTimeError(
            "the time zone is not known",
            expected="a name of the IANA time zone database",
            found=shown(tz),
            remedy='for example tz="UTC" or tz="America/New_York"',
        ) from None


def time_axis(axis: Any, tz: str, offset: bool = True) -> None:
    """Few labels, each as short as its neighbours allow, on the clock of `tz`.

    `offset` tells at the axis' end what the labels leave out.
    """
    dates = matplotlib("dates")
    locator = dates.AutoDateLocator(tz=zone(tz), minticks=4, maxticks=9)
    axis.set_major_locator(locator)
    axis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=zone(tz), show_offset=offset))


def days(micros: Micros, tz: str) -> str:
    """The first and the last day of these event times, on the clock of `tz`; nothing where there are none."""
    if not len(micros):
        return ""
    seconds = (int(micros.min()) // SECOND, int(micros.max()) // SECOND)
    first, last = (
        str((datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=s)).astimezone(zone(tz)).date())
        for s in seconds
    )
    return first if first == last else f"{first} to {last}"


def title_and_legend(ax: Axes, title: str, legend: bool) -> None:
    """The title at the left, and the legend above the axes, where it hides nothing."""
    ax.set_title(title, loc="left", fontsize="large", fontweight="bold", pad=28 if legend else 8)
    if legend:
        ax.legend(
            loc="lower left",
            bbox_to_anchor=(-0.01, 1.0),
            ncols=8,
            frameon=False,
            borderaxespad=0.2,
            handlelength=1.2,
            columnspacing=1.4,
        )
