"""What is checked of an option when an expression is written: each kind of option in one place."""

from __future__ import annotations

import re
import zoneinfo
from datetime import timedelta
from functools import cache
from typing import Any, Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.errors import DefinitionError, did_you_mean, shown
from streamlib.core.time import duration, show_duration

Every: TypeAlias = "str | int | timedelta"
TimeUnit: TypeAlias = Literal["s", "ms", "us", "ns"]
Span: TypeAlias = "tuple[Literal['ticks', 'weeks', 'months'], int]"
"""Windows of so many microseconds, weeks or months."""

_CALENDAR = {"w": ("weeks", 1), "mo": ("months", 1), "q": ("months", 3), "y": ("months", 12)}


def integer(value: Any, option: str, least: int | None = None) -> int:
    """A whole number, at least `least` where that is given."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or (least is not None and value < least):
        bound = "" if least is None else f" from {least} on"
        raise DefinitionError(
            f"{option} is no number that fits",
            expected=f"an int{bound}",
            found=shown(value),
            remedy=f"write a plain number, for example {option}={max(least or 0, 1)}",
        )
    return int(value)


def text(value: Any, option: str) -> str:
    """A plain string."""
    if not isinstance(value, str):
        raise DefinitionError(
            f"{option} is no text",
            expected="a string, the same for every row",
            found=shown(value),
            remedy="write a plain string; what differs by row takes when(…).then(…), or sl.udf",
        )
    return str.__str__(value)


def nonempty(value: Any, option: str) -> str:
    """A plain string of at least one character."""
    if not text(value, option):
        raise DefinitionError(
            f"{option} is empty", expected="at least one character", found="''", remedy=f"give {option}"
        )
    return text(value, option)


def character(value: Any, option: str) -> str:
    """A single character."""
    if len(text(value, option)) != 1:
        raise DefinitionError(
            f"{option} is no single character",
            expected="a string of one character",
            found=shown(value),
            remedy='write for example " " or "0"',
        )
    return text(value, option)


def choice(value: Any, option: str, allowed: tuple[str, ...]) -> str:
    """One of a few words."""
    if value not in allowed:
        raise DefinitionError(
            f"{option} is unknown",
            expected=f"one of {', '.join(map(repr, allowed))}",
            found=shown(value),
            remedy=did_you_mean(str(value), allowed) or "write one of the above",
        )
    return str(value)


def unit(value: Any) -> str:
    """A unit of time as Arrow and Polars name it."""
    return choice(value, "time_unit", ("s", "ms", "us", "ns"))


def regex(value: Any, literal: bool) -> str:
    """A pattern that Arrow's RE2 takes; a plain text where it is `literal`."""
    pattern = text(value, "pattern")
    if literal:
        return pattern
    try:
        pc.match_substring_regex(pa.array([""]), pattern=pattern)
    except pa.ArrowInvalid as problem:
        reason = str(problem).splitlines()[0].removeprefix("Invalid regular expression: ")
        raise DefinitionError(
            "this is no regular expression of RE2",
            expected="a pattern in RE2's syntax: no look-around, no back references",
            found=f"{shown(pattern)}: {reason}",
            remedy="correct the pattern, or search for the very text with literal=True",
        ) from None
    return pattern


def zone(value: Any) -> str:
    """The name of a time zone."""
    name = text(value, "time_zone")
    try:
        pc.local_timestamp(pa.array([0], pa.timestamp("us", name)))
    except pa.ArrowInvalid:
        raise DefinitionError(
            "no such time zone",
            expected="a name of the IANA database, or an offset such as '+02:00'",
            found=shown(name),
            remedy=did_you_mean(name, _zones()) or 'write for example "Europe/Berlin", or "UTC"',
        ) from None
    return name


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def span(value: Any) -> Span:
    """The length of calendar windows: a duration, or whole weeks, months, quarters or years.

    >>> span("15min"), span("2w"), span("1q")
    (('ticks', 900000000), ('weeks', 2), ('months', 3))
    """
    calendar = re.fullmatch(r"\s*(\d+)\s*(w|mo|q|y)\s*", value) if isinstance(value, str) else None
    try:
        if calendar:
            kind, size = _CALENDAR[calendar[2]]
            found: Any = (kind, int(calendar[1]) * size)
        else:
            found = ("ticks", duration(value))
    except DefinitionError as error:
        error.expected = "a duration above zero, or whole weeks (w), months (mo), quarters (q) or years (y)"
        error.remedy = 'write for example "15min", "1h", "1d", "1w", "1mo"'
        raise
    if not found[1]:
        raise DefinitionError(
            "windows without a length",
            expected="a duration above zero",
            found=shown(value),
            remedy='write for example "1h"',
        )
    return found


def span_text(given: Span) -> str:
    """A span as it is written.

    >>> span_text(span("90min")), span_text(span("1q"))
    ('1h30min', '3mo')
    """
    kind, count = given
    return show_duration(count) if kind == "ticks" else f"{count}{'w' if kind == 'weeks' else 'mo'}"


def arrow_type(value: Any, option: str = "dtype") -> pa.DataType:
    """An Arrow type."""
    if not isinstance(value, pa.DataType):
        raise DefinitionError(
            f"{option} is no type",
            expected="an Arrow type, for example pa.float64()",
            found=shown(value),
            remedy="import pyarrow as pa, and write pa.int64(), pa.struct({…}), …",
        )
    return value
