"""Event time: int64 microseconds since the epoch, UTC. Durations, instants and saturating arithmetic."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.errors import DefinitionError, EventTimeError, TypeMismatchError, shown

Micros = npt.NDArray[np.int64]
"""A vector of instants or durations in microseconds."""

MIN_TIME = -(2**63)
"""Before all time: the watermark of an input that has shown nothing yet."""
MAX_TIME = 2**63 - 1
"""After all time: the watermark at the end of all input."""

SECOND = 1_000_000
_UNITS = {
    "us": 1,
    "ms": 1_000,
    "s": SECOND,
    "sec": SECOND,
    "m": 60 * SECOND,
    "min": 60 * SECOND,
    "h": 3600 * SECOND,
    "d": 86400 * SECOND,
}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
_TICKS = {"s": SECOND, "ms": 1_000, "us": 1}

Duration = str | int | timedelta
"""`"10s"`, `"1h30min"`, a `timedelta`, or an int of microseconds."""


def duration(value: Duration) -> int:
    """A duration in microseconds. Negative durations are refused.

    >>> duration("1h30min") == duration(timedelta(minutes=90)) == 5_400_000_000
    True
    """
    if isinstance(value, bool):
        raise _not_a_duration(value)
    if isinstance(value, timedelta):
        micros = value // timedelta(microseconds=1)
    elif isinstance(value, int):
        micros = value
    elif isinstance(value, str):
        micros = _parse_duration(value)
    else:
        raise _not_a_duration(value)
    if not 0 <= micros <= MAX_TIME:
        raise _not_a_duration(value)
    return micros


def _parse_duration(text: str) -> int:
    compact = text.strip().lower()
    parts = _PART.findall(compact)
    if not parts or _PART.sub("", compact).strip() or any(unit not in _UNITS for _, unit in parts):
        raise _not_a_duration(text)
    return sum(_scaled(number, _UNITS[unit]) for number, unit in parts)


def _scaled(number: str, unit: int) -> int:
    return int(number) * unit if number.isdigit() else round(float(number) * unit)


def _not_a_duration(value: object) -> DefinitionError:
    return DefinitionError(
        "not a duration",
        expected=f"a number with a unit ({', '.join(_UNITS)}), a timedelta, or an int of microseconds, >= 0",
        found=shown(value),
        remedy='write for example "10s", "1h30min" or timedelta(minutes=5)',
    )


def show_duration(micros: int) -> str:
    """A duration for people, as `duration` reads it back.

    >>> show_duration(5_400_000_000), show_duration(0)
    ('1h30min', '0s')
    """
    parts = []
    rest = micros
    for unit in ("d", "h", "min", "s", "ms", "us"):
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def show_instant(micros: int) -> str:
    """An instant for people: ISO 8601 in UTC where a `datetime` reaches it, else the number.

    >>> show_instant(0), show_instant(MIN_TIME)
    ('1970-01-01T00:00:00Z', 'before all time')
    """
    if micros == MIN_TIME:
        return "before all time"
    if micros == MAX_TIME:
        return "end of time"
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    except OverflowError:
        return f"{micros} us"
    return moment.isoformat().replace("+00:00", "Z")


def clamp(micros: int) -> int:
    """Saturate a Python integer at the limits of int64."""
    if MIN_TIME <= micros <= MAX_TIME:
        return micros
    return MIN_TIME if micros < 0 else MAX_TIME


def earlier(instant: int, by: int) -> int:
    """`instant - by`, saturated; the ends of time stay what they are.

    >>> earlier(10, 3), earlier(MAX_TIME, 3) == MAX_TIME, earlier(MIN_TIME, 3) == MIN_TIME
    (7, True, True)
    """
    if not by or instant in (MIN_TIME, MAX_TIME):
        return instant
    return clamp(instant - by)


def later(instant: int, by: int) -> int:
    """`instant + by`, saturated; the ends of time stay what they are."""
    return earlier(instant, -by)


def add_saturating(times: Micros, delta: int) -> Micros:
    """`times + delta` without wrapping: results beyond int64 stay at its limits."""
    if delta >= 0:
        return np.minimum(times, MAX_TIME - delta) + delta
    return np.maximum(times, MIN_TIME - delta) + delta


def timestamp_type(dtype: pa.DataType) -> bool:
    """Whether a column of this type can be an event time without conversion by the user."""
    return bool(pa.types.is_timestamp(dtype) or pa.types.is_integer(dtype) or pa.types.is_date(dtype))


def to_micros(values: pa.Array, tz: str | None = None) -> Micros:
    """The event times of a column without nulls, as int64 microseconds UTC.

    Integers are microseconds. Dates are midnight. Nanoseconds are floored. A naive timestamp is
    local time in `tz`: an ambiguous hour (clocks set back) is taken as its first occurrence, a
    missing hour (clocks set forward) as the instant at which the clocks were set.

    Raises `EventTimeError` where a value does not fit, `TypeMismatchError` for other types.
    """
    dtype = values.type
    if pa.types.is_integer(dtype):
        micros: Micros = values.cast(pa.int64()).to_numpy(zero_copy_only=False)
        return micros
    if pa.types.is_date(dtype):
        return to_micros(values.cast(pa.timestamp("ms")), tz or "UTC")
    if not pa.types.is_timestamp(dtype):
        raise TypeMismatchError(
            "this column can't be an event time",
            expected="a timestamp, a date, or an integer of microseconds since the epoch",
            found=str(dtype),
            remedy="cast or parse it to a timestamp first",
        )
    if dtype.tz is None:
        if tz is None:
            raise naive_without_tz(dtype)
        values = pc.assume_timezone(values, tz, ambiguous="earliest", nonexistent="latest")
    return _ticks_to_micros(values.view(pa.int64()).to_numpy(zero_copy_only=False), dtype.unit)


def naive_without_tz(dtype: pa.DataType) -> EventTimeError:
    """The error for a timestamp that does not say in which time zone it is."""
    return EventTimeError(
        "the event time is a naive timestamp",
        expected="a timestamp with a time zone, or `tz=`",
        found=str(dtype),
        remedy='say where the clock hangs, for example `tz="UTC"` or `tz="America/New_York"`',
    )


def _ticks_to_micros(ticks: Micros, unit: str) -> Micros:
    if unit == "us":
        return ticks
    if unit == "ns":
        return ticks // 1_000
    scale = _TICKS[unit]
    if len(ticks) and (int(ticks.max()) > MAX_TIME // scale or int(ticks.min()) < -(MAX_TIME // scale)):
        raise EventTimeError(
            "an event time is further from 1970 than int64 microseconds reach",
            expected="an instant within 292,000 years of 1970",
            found=f"{int(ticks.max())} {unit} / {int(ticks.min())} {unit}",
            remedy="filter such rows out before `sl.read` or give another event time",
        )
    return ticks * scale
