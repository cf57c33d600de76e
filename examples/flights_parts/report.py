"""What the demo prints."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import streamlib as sl
from flights_parts.arrivals import AIRPORTS, PACKAGE, VERSION, ZONE, Flights, behind
from streamlib.connectors.tables import format_table

if TYPE_CHECKING:
    from flights_parts.comparison import Compared
    from flights_parts.crash import Published
    from flights_parts.places import Places

TOP = 8  # rows of a table that is sorted: what one takes in at a glance
BUSY = 10  # departures: the mean of fewer says little


class Findings:
    """What was found to hold. What does not hold ends the demo."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def require(self, holds: bool, claim: str, found: str | None = None) -> None:
        """End the demo with an error unless `holds`."""
        if not holds:
            raise sl.StreamlibError(
                "the demo found something that must not be", expected=claim, found=found or "it is not so"
            )

    def add(self, holds: bool, claim: str, found: str | None = None) -> None:
        """Require it, and remember it for the list at the end."""
        self.require(holds, claim, found)
        self._lines.append(claim)

    def print(self) -> None:
        """The list."""
        for line in self._lines:
            print(f"  ✓ {line}")


def write_lines_at_once() -> None:
    """Keep lines in order with those on stderr, also in a log; survive terminals that know no check marks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="replace")


def heading(text: str) -> None:
    print(f"\n{text}\n{'─' * len(text)}")


def _table(title: str, columns: dict[str, Any]) -> None:
    rows = format_table(pa.table(columns)).splitlines()
    print(f"\n{title}\n\n" + "\n".join(f"  {row}" for row in rows))


def _texts(name: str, values: Sequence[object], form: str) -> dict[str, list[str]]:
    """A column of formatted numbers, at the right as numbers are; None is "-"."""
    texts = ["-" if value is None else format(value, form) for value in values]
    width = max(map(len, [name, *texts]))
    return {name.rjust(width): [text.rjust(width) for text in texts]}


def _new_york(instants: pa.ChunkedArray) -> pa.ChunkedArray:
    """Instants as New York's clock shows them."""
    return pc.strftime(instants.cast(pa.timestamp("s", ZONE)), format="%a %d %b %H:%M")


def show_flights(flights: Flights, archive: Path, places: Places) -> None:
    departed, cancelled = flights.departed.num_rows, flights.cancelled.num_rows
    package = f"{PACKAGE} {VERSION}: " if PACKAGE in archive.parts else ""
    print(f"{flights.total:9,} flights of 2013 ({package}{archive.name})")
    print(
        f"{departed:9,} departed: {places.departures}/, in the order in which they left, a file per airport"
    )
    print(f"{cancelled:9,} cancelled: {places.cancelled}; they never left, so the stream does not have them")
    print("\nEvent time is the scheduled departure, read on New York's clock:")
    print(
        f"{flights.ambiguous:9,} in the hour that occurs twice (2013-11-03 01:00), counted as the first one"
    )
    print(f"{flights.missing:9,} in the hour that is missing (2013-03-10 02:00), counted as its end, 03:00")
    print(f"{flights.confirmed:9,} in the same hour in UTC as the data itself says")
    parts = {"all": flights.departed}
    parts |= {airport: flights.departed.filter(pc.field("origin") == airport) for airport in AIRPORTS}
    hours = [behind(part["scheduled"]) for part in parts.values()]
    columns = {"airport": list(parts), **_texts("departures", [len(h) for h in hours], ",")}
    for name, limit in (("behind", 0), ("> 1 h", 1), ("> 2 h", 2), ("> 4 h", 4)):
        columns |= _texts(name, [np.count_nonzero(h > limit) / max(1, len(h)) for h in hours], ".2%")
    columns |= _texts("> 8 h", [np.count_nonzero(h > 8) for h in hours], ",")
    _table("How far departures come behind the largest event time so far (the last column is rows):", columns)


def _delays(rows: pa.Table) -> dict[str, Any]:
    return {
        "departures": rows["departures"],
        **_texts("mean delay", rows["mean_delay"].to_pylist(), ".1f"),
        "max delay": rows["max_delay"],
        **_texts("over 15 min", rows["over_15"].to_pylist(), ".0%"),
    }


def show_late(late: int, missed: int, places: Places) -> None:
    print(f"{late:9,} rows came too late for their hour: {places.stream}/hourly_late/")
    print(f"{missed:9,} times a row came too late for a sliding window: {places.stream}/sliding_missed/")


def show_results(hourly: pa.Table, sliding: pa.Table, by: str) -> None:
    busy = hourly.filter(pc.field("departures") >= BUSY)
    worst = busy.sort_by([("mean_delay", "descending"), ("window_start", "ascending")]).slice(0, TOP)
    if not worst.num_rows:
        return
    _table(
        f"The worst hours of an airport ({BUSY} departures or more; delays in minutes):",
        {"airport": worst["origin"], "hour": _new_york(worst["window_start"]), **_delays(worst)},
    )
    end = worst["window_end"].slice(0, 1)
    then = sliding.filter(pc.field("window_end") == end[0])
    then = then.sort_by([("departures", "descending"), (by, "ascending")]).slice(0, TOP)
    _table(f"The three hours until {_new_york(end)[0]}, by {by}:", {by: then[by], **_delays(then)})


def show_comparison(name: str, key: str, compared: Compared, listed: Path) -> None:
    changed = compared.changed
    print(
        f"\n{name}: lateness changed {changed.num_rows:,} of {compared.windows:,} windows, named in {listed}"
    )
    top = changed.slice(0, TOP)
    if not top.num_rows:
        return
    until = pc.utf8_slice_codeunits(_new_york(top["window_end"]), -5)
    _table(
        "Those that missed the most rows:",
        {
            key: top[key],
            "window": pc.binary_join_element_wise(_new_york(top["window_start"]), until, "–"),
            "late rows": top["late_rows"],
            "streamed": top["streamed_departures"],
            "batch": top["batch_departures"],
            **_texts("streamed mean", top["streamed_mean"].to_pylist(), ".1f"),
            **_texts("batch mean", top["batch_mean"].to_pylist(), ".1f"),
        },
    )


def show_kill(before: list[Published]) -> None:
    if sys.stderr.isatty():
        print()  # the dead process left its progress line unfinished
    last, rows = max(file.checkpoint for file in before), sum(file.rows for file in before)
    print(f"SIGKILL; {len(before)} files with {rows:,} rows are published, up to checkpoint {last}.")
    print("Started again, at full speed:")
