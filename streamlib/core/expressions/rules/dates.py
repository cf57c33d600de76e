"""Rules of `.dt` that take moments apart: parts, dates, totals. Integer arithmetic on ticks in numpy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa

from streamlib.core.expressions.failures import out_of_range
from streamlib.core.expressions.nodes import Convert
from streamlib.core.expressions.rules import calendar
from streamlib.core.expressions.rules.clocks import (
    PER_SECOND,
    local_ticks,
    stored_ticks,
    ticks_a_day,
    ticks_a_second,
)
from streamlib.core.expressions.rules.compute import OnValues
from streamlib.core.expressions.rules.rule import CLOCK, DURATION, MOMENT, Given, Rule, Takes
from streamlib.core.expressions.types import Family, family
from streamlib.core.expressions.values import Node, Value, Vector, to_arrow, with_nulls_of

_DAY_PARTS: dict[str, Callable[[Vector], Vector]] = {
    "year": lambda days: calendar.year_month_day(days)[0],
    "month": lambda days: calendar.year_month_day(days)[1],
    "day": lambda days: calendar.year_month_day(days)[2],
    "quarter": lambda days: (calendar.year_month_day(days)[1] + 2) // 3,
    "iso_year": lambda days: calendar.iso_year_week(days)[0],
    "week": lambda days: calendar.iso_year_week(days)[1],
    "weekday": lambda days: (days + 3) % 7 + 1,
    "ordinal_day": lambda days: days - calendar.days_since_1970(calendar.year_month_day(days)[0], 1, 1) + 1,
    "is_leap_year": lambda days: calendar.is_leap_year(calendar.year_month_day(days)[0]),
}
_CLOCK_PARTS = {"hour": (3600, 24), "minute": (60, 60), "second": (1, 60)}
_FRACTIONS = {"millisecond": 1_000, "microsecond": 1_000_000, "nanosecond": 1_000_000_000}
_TOTALS = {"days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1}


_SMALL_TOTALS = {"milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}


def _day_part(value: Value, name: str, dtype: pa.DataType) -> Value:
    days = local_ticks(value, dtype) // ticks_a_day(dtype)
    return with_nulls_of((value,), _DAY_PARTS[name](days))


def _clock_part(value: Value, name: str, dtype: pa.DataType) -> Value:
    seconds, size = _CLOCK_PARTS[name]
    return with_nulls_of((value,), local_ticks(value, dtype) // (seconds * ticks_a_second(dtype)) % size)


def _fraction(value: Value, name: str, dtype: pa.DataType) -> Value:
    ticks, wanted = ticks_a_second(dtype), _FRACTIONS[name]
    within = stored_ticks(value, dtype) % ticks
    return with_nulls_of(
        (value,), within * (wanted // ticks) if wanted >= ticks else within // (ticks // wanted)
    )


def _bind(part: Callable[..., Value], name: str, result: pa.DataType) -> Callable[[Given], Node]:
    def bind(given: Given) -> Node:
        function = partial(part, name=name, dtype=given.first.dtype)
        return OnValues(function, [given.first], result)

    return bind


def _date(value: Value, dtype: pa.DataType) -> Value:
    days = local_ticks(value, dtype) // ticks_a_day(dtype)
    return to_arrow(with_nulls_of((value,), days.astype(np.int32)), pa.int32()).view(pa.date32())


def _bind_date(given: Given) -> Node:
    if given.first.dtype == pa.date32():
        return given.first
    return OnValues(partial(_date, dtype=given.first.dtype), [given.first], pa.date32())


def _time(value: Value, dtype: pa.DataType, result: pa.DataType) -> Value:
    within = local_ticks(value, dtype) % ticks_a_day(dtype)
    plain = with_nulls_of((value,), within.astype(np.int32 if result.bit_width == 32 else np.int64))
    return to_arrow(plain, result) if isinstance(plain, np.ndarray) else plain.view(result)  # type: ignore[union-attr]


def _bind_time(given: Given) -> Node:
    dtype = given.first.dtype
    if family(dtype) is Family.TIME:
        return given.first
    result = pa.time32(dtype.unit) if dtype.unit in {"s", "ms"} else pa.time64(dtype.unit)
    return OnValues(partial(_time, dtype=dtype, result=result), [given.first], result)


def _bind_total(given: Given) -> Node:
    unit = given.expr.function.removeprefix("dt.total_")
    node = given.first
    if unit in _TOTALS:
        ticks = _TOTALS[unit] * ticks_a_second(node.dtype)
        return OnValues(partial(_total, dtype=node.dtype, ticks=ticks), [node], pa.int64())
    return _in_unit(given, pa.duration(_SMALL_TOTALS[unit]), _total)


def _total(value: Value, dtype: pa.DataType, ticks: int) -> Value:
    """Whole units, rounded towards zero, as Polars does."""
    given = stored_ticks(value, dtype)
    whole = given // ticks
    return with_nulls_of((value,), whole + ((given < 0) & (whole * ticks != given)))


def _floored(value: Value, dtype: pa.DataType, ticks: int) -> Value:
    return with_nulls_of((value,), stored_ticks(value, dtype) // ticks)


def _in_unit(given: Given, target: pa.DataType, rounded: Callable[..., Value]) -> Node:
    """The ticks in the unit of `target`; an error where a finer unit can't hold them."""
    node = given.first
    finer = (
        PER_SECOND[target.unit] > ticks_a_second(node.dtype)
        if family(node.dtype) is not Family.DATE
        else True
    )
    if finer:
        node = Convert(node, target, partial(out_of_range, given.expr, target))
    ticks = max(1, ticks_a_second(node.dtype) // PER_SECOND[target.unit])
    return OnValues(partial(rounded, dtype=node.dtype, ticks=ticks), [node], pa.int64())


def _bind_epoch(given: Given) -> Node:
    unit, dtype = given.options["time_unit"], given.first.dtype
    if unit == "d":
        return OnValues(partial(_floored, dtype=dtype, ticks=ticks_a_day(dtype)), [given.first], pa.int64())
    zone = dtype.tz if family(dtype) is Family.TIMESTAMP else None
    return _in_unit(given, pa.timestamp(unit, zone), _floored)


def _as_typed(value: Value, dtype: pa.DataType, ticks: int, result: pa.DataType) -> Value:
    return to_arrow(_floored(value, dtype, ticks), pa.int64()).view(result)


def _bind_unit(given: Given) -> Node:
    unit, dtype = given.options["time_unit"], given.first.dtype
    zoned = family(dtype) is Family.TIMESTAMP
    return _in_unit_typed(given, pa.timestamp(unit, dtype.tz) if zoned else pa.duration(unit))


def _in_unit_typed(given: Given, target: pa.DataType) -> Node:
    if given.first.dtype == target:
        return given.first
    if PER_SECOND[target.unit] > ticks_a_second(given.first.dtype):
        return Convert(given.first, target, partial(out_of_range, given.expr, target))
    ticks = ticks_a_second(given.first.dtype) // PER_SECOND[target.unit]
    function = partial(_as_typed, dtype=given.first.dtype, ticks=ticks, result=target)
    return OnValues(function, [given.first], target)


TICKING = Takes(
    "a moment or a duration",
    frozenset({Family.TIMESTAMP, Family.DURATION}),
    pa.timestamp("us"),
    "a date has no unit: .cast(pa.timestamp('us')) it first",
)
_NUMPY = "numpy, on ticks"
_LOCAL = "numpy, on ticks; Arrow `local_timestamp` in a zone"

RULES: dict[str, Rule] = {
    **{
        name: Rule((MOMENT,), _bind(_day_part, name, pa.int64()), _LOCAL, differs="int64")
        for name in _DAY_PARTS
        if name != "is_leap_year"
    },
    "is_leap_year": Rule((MOMENT,), _bind(_day_part, "is_leap_year", pa.bool_()), _LOCAL),
    **{
        name: Rule((CLOCK,), _bind(_clock_part, name, pa.int64()), _LOCAL, differs="int64")
        for name in _CLOCK_PARTS
    },
    **{
        name: Rule((CLOCK,), _bind(_fraction, name, pa.int64()), _NUMPY, differs="int64")
        for name in _FRACTIONS
    },
    "date": Rule((MOMENT,), _bind_date, _LOCAL),
    "time": Rule(
        (CLOCK,), _bind_time, _LOCAL, differs="in the unit of the moment, where Polars has nanoseconds"
    ),
    **{f"total_{name}": Rule((DURATION,), _bind_total, _NUMPY) for name in (*_TOTALS, *_SMALL_TOTALS)},
    "epoch": Rule((MOMENT,), _bind_epoch, _NUMPY, differs="rounds down before 1970; overflow is an error"),
    "cast_time_unit": Rule(
        (TICKING,), _bind_unit, _NUMPY, differs="rounds down before 1970; overflow is an error"
    ),
}
