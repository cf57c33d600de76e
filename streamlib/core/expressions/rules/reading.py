"""Rules of dates and times as text: read by regular expressions and calendar arithmetic, written by Arrow."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.errors import StreamlibError, TypeMismatchError, shown
from streamlib.core.expressions.ast import Method
from streamlib.core.expressions.rules import calendar
from streamlib.core.expressions.rules.clocks import PER_SECOND, local_ticks, ticks_a_second
from streamlib.core.expressions.rules.compute import Failed, OnArrow, OnWords, is_null, null_where
from streamlib.core.expressions.rules.rule import TEXT, Given, Rule, Takes
from streamlib.core.expressions.rules.zones import replaced
from streamlib.core.expressions.spaces.formats import MONTHS, Part, Reading, reading, writing, written
from streamlib.core.expressions.types import Family, computing_type, family
from streamlib.core.expressions.values import Node, Vector, raw_vector

_DEFAULTS = {
    "date": (reading("%Y-%m-%d", "date"),),
    "time": (reading("%H:%M:%S%.f", "time"), reading("%H:%M", "time")),
    "datetime": tuple(
        reading(f"%Y-%m-%d{mark}{clock}", "datetime") for mark in "T " for clock in ("%H:%M:%S%.f", "%H:%M")
    ),
    "zoned": tuple(
        reading(f"%Y-%m-%d{mark}{clock}%z", "datetime") for mark in "T " for clock in ("%H:%M:%S%.f", "%H:%M")
    ),
}
_INTEGER = pa.int64()
_DAY_SECONDS = 86_400


class Parts:
    """The parts of texts that match a format, as vectors; anything where they don't."""

    def __init__(self, texts: pa.Array, format: Reading) -> None:
        found = pc.extract_regex(texts, pattern=format.pattern)
        self.matched = ~is_null(found)
        self._fields = {d: found.field(i) for i, d in enumerate(format.directives)}

    def has(self, *directives: str) -> bool:
        """Whether the format has one of these directives."""
        return any(d in self._fields for d in directives)

    def number(self, *directives: str, default: int = 0) -> Vector:
        """The number of the first of these directives that the format has."""
        name = next((d for d in directives if d in self._fields), None)
        if name is None:
            return np.full(len(self.matched), default, np.int64)
        digits = pc.if_else(pa.array(self.matched), pc.utf8_ltrim(self._fields[name], characters=" +"), "0")
        return pc.utf8_trim_whitespace(digits).cast(_INTEGER).to_numpy()

    def text(self, directive: str) -> pa.Array:
        """The letters of a directive in small."""
        return pc.if_else(pa.array(self.matched), pc.ascii_lower(self._fields[directive]), "")


def _nanoseconds(parts: Parts) -> Vector:
    for directive in (".f", ".3f", ".6f", ".9f", "3f", "6f", "9f"):
        if parts.has(directive):
            digits = pc.utf8_rpad(pc.utf8_ltrim(parts.text(directive), characters="."), width=9, padding="0")
            return digits.cast(_INTEGER).to_numpy()
    return parts.number()


def _hour(parts: Parts) -> tuple[Vector, Vector]:
    if not parts.has("I"):
        hour = parts.number("H")
        return hour, hour < 24
    hour = parts.number("I")
    afternoon = pc.equal(parts.text("p" if parts.has("p") else "P"), "pm").to_numpy(zero_copy_only=False)
    return hour % 12 + 12 * afternoon, (hour >= 1) & (hour <= 12)


def _clock(parts: Parts) -> tuple[Vector, Vector]:
    """The nanoseconds since midnight, and where they are valid."""
    hour, good = _hour(parts)
    minute, second = parts.number("M"), parts.number("S")
    good = good & (minute < 60) & (second < 60)
    return (hour * 3600 + minute * 60 + second) * 1_000_000_000 + _nanoseconds(parts), good


def _month(parts: Parts) -> Vector:
    for directive in ("b", "B"):
        if parts.has(directive):
            short = pc.utf8_slice_codeunits(parts.text(directive), start=0, stop=3)
            return pc.index_in(short, value_set=pa.array(MONTHS, short.type)).fill_null(
                0
            ).to_numpy() + np.int64(1)
    return parts.number("m", default=1)


def _days(parts: Parts) -> tuple[Vector, Vector]:
    """The days since 1970, and where they are valid."""
    year = parts.number("Y", "y")
    if not parts.has("Y"):
        year = np.where(year < 70, year + 2000, year + 1900)  # as POSIX and chrono
    if parts.has("j"):
        ordinal = parts.number("j")
        return calendar.days_since_1970(year, 1, 1) + ordinal - 1, (ordinal >= 1) & (
            ordinal <= 365 + calendar.is_leap_year(year)
        )
    month, day = _month(parts), parts.number("d", "e")
    good = (month >= 1) & (month <= 12)
    safe = np.where(good, month, 1)
    return calendar.days_since_1970(year, safe, day), good & (day >= 1) & (
        day <= calendar.month_length(year, safe)
    )


def _offset(parts: Parts) -> tuple[Vector, Vector]:
    """The seconds that local time is ahead of UTC."""
    if not parts.has("z"):
        return parts.number(), np.ones(len(parts.matched), np.bool_)
    text = pc.replace_substring(parts.text("z"), pattern=":", replacement="")
    text = pc.if_else(pc.or_(pc.equal(text, "z"), pc.equal(text, "")), "+0000", text)
    hours, minutes = (
        pc.utf8_slice_codeunits(text, start=a, stop=b).cast(_INTEGER).to_numpy() for a, b in ((1, 3), (3, 5))
    )
    sign = np.where(pc.starts_with(text, pattern="-").to_numpy(zero_copy_only=False), -1, 1)
    return sign * (hours * 3600 + minutes * 60), (hours < 24) & (minutes < 60)


def _read_dates(texts: pa.Array, format: Reading) -> pa.Array:
    parts = Parts(texts, format)
    days, good = _days(parts)
    return null_where(days.astype(np.int32), ~(good & parts.matched), pa.date32())


def _read_times(texts: pa.Array, format: Reading) -> pa.Array:
    parts = Parts(texts, format)
    nanoseconds, good = _clock(parts)
    return null_where(nanoseconds // 1_000, ~(good & parts.matched), pa.time64("us"))


def _read_moments(texts: pa.Array, format: Reading, unit: str) -> pa.Array:
    """Naive moments, in UTC where the format has an offset. What the unit can't hold is null."""
    parts = Parts(texts, format)
    (days, day_good), (clock, clock_good), (offset, offset_good) = _days(parts), _clock(parts), _offset(parts)
    per_second = PER_SECOND[unit]
    seconds = days * 86_400 + clock // 1_000_000_000 - offset
    limit = (2**63 - 1) // per_second - 1
    good = parts.matched & day_good & clock_good & offset_good & (np.abs(seconds) <= limit)
    within = clock % 1_000_000_000 // (1_000_000_000 // per_second)
    ticks = np.where(good, seconds, 0) * per_second + within
    return null_where(ticks, ~good, pa.timestamp(unit))


def _first_that_reads(texts: pa.Array, formats: tuple[Reading, ...], read: Any) -> pa.Array:
    result = read(texts, formats[0])
    for format in formats[1:]:
        if result.null_count > texts.null_count:
            result = pc.coalesce(result, read(texts, format))
    return result


def _bind_simple(given: Given, kind: str, read: Any, dtype: pa.DataType) -> Node:
    format = given.options["format"]
    formats = _DEFAULTS[kind] if format is None else (reading(format, kind),)  # type: ignore[arg-type]
    function = partial(_first_that_reads, formats=formats, read=read)
    return OnWords(function, given.first, dtype, costly=True, failed=_failed(given, dtype))


def _bind_date(given: Given) -> Node:
    return _bind_simple(given, "date", _read_dates, pa.date32())


def _bind_time(given: Given) -> Node:
    return _bind_simple(given, "time", _read_times, pa.time64("us"))


def _bind_datetime(given: Given) -> Node:
    offsets: tuple[Reading, ...]
    naive: tuple[Reading, ...]
    format, zone, unit = (given.options[name] for name in ("format", "time_zone", "time_unit"))
    read = partial(_read_moments, unit=unit)
    if format is not None:
        form = reading(format, "datetime")
        offsets, naive = ((form,), ()) if "z" in form.directives else ((), (form,))
        target = zone or ("UTC" if offsets else None)
    else:
        dates = (reading("%Y-%m-%d", "datetime"),)
        offsets, naive, target = (_DEFAULTS["zoned"] if zone else ()), (*_DEFAULTS["datetime"], *dates), zone
    function = partial(
        _moments,
        offsets=offsets,
        naive=naive,
        read=read,
        zone=target,
        ambiguous=given.options["ambiguous"],
        expr=given.expr,
    )
    dtype = pa.timestamp(unit, target)
    return OnWords(function, given.first, dtype, costly=True, failed=_failed(given, dtype))


def _moments(
    texts: pa.Array,
    offsets: tuple[Reading, ...],
    naive: tuple[Reading, ...],
    read: Any,
    zone: str | None,
    ambiguous: str,
    expr: Method,
) -> pa.Array:
    results = []
    if naive:
        local = _first_that_reads(texts, naive, read)
        # "null" where "raise" may fail: words that no row has must not raise, and those that rows have do
        decided = "null" if ambiguous == "raise" else ambiguous
        results.append(local if zone is None else replaced(local, zone, decided, "null", expr))
    if offsets:
        utc = _first_that_reads(texts, offsets, read)
        results.append(utc.view(pa.timestamp(utc.type.unit, zone)))
    return results[0] if len(results) == 1 else pc.coalesce(*results)


def _failed(given: Given, dtype: pa.DataType) -> Failed | None:
    return (
        partial(_unreadable, given.expr, given.options["format"], dtype) if given.options["strict"] else None
    )


def _unreadable(
    expr: Method, format: str | None, dtype: pa.DataType, row: int, value: object
) -> StreamlibError:
    expected = (
        f"text that {'is ISO 8601' if format is None else f'{format!r} describes'}, and a {dtype} that exists"
    )
    return TypeMismatchError(
        f"{shown(expr)} failed: a text can't be read",
        expected=f"{expected}, or null",
        found=f"{shown(value)} in row {row} of the batch",
        remedy="correct the format, or take null for such texts with strict=False",
    )


# ------------------------------------------------------------------ writing


def _bind_strftime(given: Given) -> Node:
    kind = family(given.first.dtype)
    written(given.options["format"], day=kind is not Family.TIME, clock=kind is not Family.DATE)
    dtype = computing_type(given.first.dtype)
    return OnArrow(
        partial(_write, pieces=writing(given.options["format"]), dtype=dtype), [given.first], pa.string()
    )


def _write(values: pa.Array, pieces: list[tuple[str, Part]], dtype: pa.DataType) -> pa.Array:
    if family(dtype) is Family.DATE:
        parts = [_each_once(values, format) for format, _ in pieces]
    else:
        ticks = local_ticks(values, dtype)
        parts = [_shown(values, ticks, dtype, format, part) for format, part in pieces]
    if not parts:
        return pc.if_else(values.is_valid(), "", None)
    if len(parts) == 1 and pieces[0][1] != "fraction":
        return parts[0]
    joined = pc.binary_join_element_wise(*parts, "")
    return pc.if_else(values.is_valid(), joined, pa.scalar(None, joined.type))


def _shown(values: pa.Array, local: Vector, dtype: pa.DataType, format: str, part: Part) -> pa.Array:
    """One part of moments: without their fraction, which Arrow would print with the second."""
    per_second = ticks_a_second(dtype)
    if part == "fraction":
        return _fraction(local % per_second, format, per_second)
    if part == "zone":
        seconds, zone = raw_vector(values).astype(np.int64) // per_second, getattr(dtype, "tz", None)
    else:
        seconds, zone = _within(local // per_second, part), None
    return _each_once(null_where(seconds, is_null(values), pa.timestamp("s", zone)), format)


def _within(seconds: Vector, part: Part) -> Vector:
    """What is the same for all moments that look alike in a part: few values, whatever the moments are."""
    if part == "day":
        return seconds - seconds % _DAY_SECONDS
    return seconds % 60 if part == "second" else seconds % _DAY_SECONDS // 60 * 60


def _each_once(moments: pa.Array, format: str) -> pa.Array:
    """Arrow takes microseconds to write a moment, so that equal ones are written once."""
    codes = moments.dictionary_encode()
    return pc.strftime(codes.dictionary, format=format, locale="C").take(codes.indices)


def _fraction(within: Vector, directive: str, per_second: int) -> pa.Array:
    nanoseconds = pc.utf8_lpad(
        pa.array(within * (1_000_000_000 // per_second)).cast(pa.string()), width=9, padding="0"
    )
    if directive == ".f":
        return _shortest(nanoseconds, within, per_second)
    digits = pc.utf8_slice_codeunits(nanoseconds, start=0, stop=int(directive[-2]))
    return pc.binary_join_element_wise(".", digits, "") if directive.startswith(".") else digits


def _shortest(nanoseconds: pa.Array, within: Vector, per_second: int) -> pa.Array:
    """The fraction in 3, 6 or 9 digits, as few as show all of it, none for none."""
    exact = within * (1_000_000_000 // per_second)
    stop = np.where(exact % 1_000_000 == 0, 3, np.where(exact % 1_000 == 0, 6, 9))
    texts = pa.array([""] * len(exact), pa.string())
    for digits in (3, 6, 9):
        shown_digits = pc.binary_join_element_wise(
            ".", pc.utf8_slice_codeunits(nanoseconds, start=0, stop=digits), ""
        )
        texts = pc.if_else(pa.array((stop == digits) & (exact != 0)), shown_digits, texts)
    return texts


_WHEN = Takes(
    "a moment, a date or a time of day",
    frozenset({Family.TIMESTAMP, Family.DATE, Family.TIME}),
    pa.timestamp("us"),
    "numbers become text by .cast(pa.string()); durations by their .dt.total_seconds()",
)
_READ = "Arrow `extract_regex`, numpy; each distinct text once"

RULES: dict[str, Rule] = {
    "to_date": Rule((TEXT,), _bind_date, _READ, differs="the default format is `%Y-%m-%d` alone"),
    "to_datetime": Rule(
        (TEXT,),
        _bind_datetime,
        _READ,
        differs="the default formats are ISO 8601 only; microseconds; `%f` is refused",
    ),
    "to_time": Rule((TEXT,), _bind_time, _READ, differs="microseconds; the default format takes `%H:%M` too"),
}
WRITING: dict[str, Rule] = {
    "strftime": Rule(
        (_WHEN,), _bind_strftime, "Arrow `strftime`", differs="`%f` is refused: `%.f`, `%3f`, `%6f`, `%9f`"
    ),
}
