"""What the demo prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
        stream.reconfigure(line_buffering=True, errors="replace")  # type: ignore[union-attr]


def heading(text: str) -> None:
    print(f"\n{text}\n{'─' * len(text)}")


def _table(columns: dict[str, Sequence[object] | pa.ChunkedArray | pa.Array | np.ndarray]) -> None:
    print("\n" + "\n".join(f"  {line}" for line in format_table(pa.table(columns)).splitlines()) + "\n")


def _right(values: Sequence[str]) -> list[str]:
    width = max(map(len, values))
    return [value.rjust(width) for value in values]


def new_york(instants: pa.ChunkedArray) -> pa.ChunkedArray:
    """Instants as New York's clock shows them."""
    return pc.strftime(instants.cast(pa.timestamp("s", ZONE)), format="%a %d %b %H:%M")


def show_flights(flights: Flights, archive: Path, places: Places) -> None:
    departed = flights.departed
    origin = archive.name if PACKAGE not in archive.parts else f"{PACKAGE} {VERSION}, {archive.name}"
    print(f"{flights.total:,} flights ({origin})")
    print(
        f"{departed.num_rows:,} departed: {places.departures}/, in the order in which they left, one file per airport"
    )
    print(
        f"{flights.cancelled.num_rows:,} cancelled: {places.cancelled}; they never left, so the stream does not have them"
    )
    print(
        f"event time is the scheduled departure on New York's clock: {flights.ambiguous} in the hour that occurs "
        f"twice\n  (taken as its first occurrence), {flights.missing} in the hour that is missing (taken as its end); "
        f"{flights.confirmed:,} agree with the data's own UTC hour"
    )
    print("how far rows come behind the largest event time so far:")
    parts = {"all": departed} | {a: departed.filter(pc.field("origin") == a) for a in AIRPORTS}
    hours = [behind(part["scheduled"]) for part in parts.values()]
    shares = {"behind": 0, "> 1 h": 1, "> 2 h": 2, "> 4 h": 4}
    _table(
        {
            "airport": list(parts),
            "departures": _right([f"{len(h):,}" for h in hours]),
            **{name: _right([f"{(h > limit).mean():.2%}" for h in hours]) for name, limit in shares.items()},
            "> 8 h": [int((h > 8).sum()) for h in hours],
        }
    )


def _delays(rows: pa.Table) -> dict[str, object]:
    return {
        "departures": rows["departures"],
        "mean delay": _right([f"{mean:.1f}" for mean in rows["mean_delay"].to_pylist()]),
        "max delay": rows["max_delay"],
        "over 15 min": _right([f"{share:.0%}" for share in rows["over_15"].to_pylist()]),
    }


def show_results(hourly: pa.Table, sliding: pa.Table, by: str) -> None:
    busy = hourly.filter(pc.field("departures") >= BUSY).sort_by(
        [("mean_delay", "descending"), ("window_start", "ascending")]
    )
    worst = busy.slice(0, TOP)
    if not worst.num_rows:
        return
    print(f"\nthe worst hours of an airport ({BUSY} departures or more; delays in minutes):")
    _table({"airport": worst["origin"], "hour": new_york(worst["window_start"]), **_delays(worst)})
    end = worst["window_end"][0]
    then = (
        sliding.filter(pc.field("window_end") == end)
        .sort_by([("departures", "descending"), (by, "ascending")])
        .slice(0, TOP)
    )
    print(
        f"the three hours until {new_york(pa.chunked_array([pa.array([end.as_py()], end.type)]))[0]}, by {by}:"
    )
    _table({by: then[by], **_delays(then)})


def show_comparison(name: str, key: str, compared: Compared, listed: Path) -> None:
    changed = compared.changed
    print(
        f"{name}: lateness changed {changed.num_rows:,} of {compared.windows:,} windows, "
        f"all named in {listed}; those with the most late rows:"
    )
    top = changed.slice(0, TOP)
    if not top.num_rows:
        return
    before = ["-" if mean is None else f"{mean:.1f}" for mean in top["streamed_mean"].to_pylist()]
    _table(
        {
            key: top[key],
            "window": pc.binary_join_element_wise(
                new_york(top["window_start"]), pc.utf8_slice_codeunits(new_york(top["window_end"]), -5), "–"
            ),
            "late rows": top["late_rows"],
            "streamed": top["streamed_departures"],
            "batch": top["batch_departures"],
            "streamed mean": _right(before),
            "batch mean": _right([f"{mean:.1f}" for mean in top["batch_mean"].to_pylist()]),
        }
    )


def show_kill(before: list[Published]) -> None:
    if sys.stderr.isatty():
        print()  # the dead process left its progress line unfinished
    checkpoints = sorted({file.checkpoint for file in before})
    print(
        f"SIGKILL after checkpoint {checkpoints[-1]}: {len(before)} files with "
        f"{sum(file.rows for file in before):,} rows were published; started again, at full speed:"
    )
