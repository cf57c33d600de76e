"""Rules of `.dt` that move moments: windows, months, offsets, in local time."""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa

from streamlib.core.errors import ArithmeticOverflowError, shown
from streamlib.core.expressions.mismatch import unsupported
from streamlib.core.expressions.rules import calendar
from streamlib.core.expressions.rules.clocks import local_ticks, moments_at, stored_ticks, ticks_a_day
from streamlib.core.expressions.rules.compute import OnArrow, is_null, null_where
from streamlib.core.expressions.rules.rule import MOMENT, Given, Rule
from streamlib.core.expressions.spaces.checks import Span, span_text
from streamlib.core.expressions.types import Family, computing_type, family
from streamlib.core.expressions.values import Node, Vector

_DAY = 86_400_000_000
_MONDAY = 4  # days from 1970, a Thursday, to a Monday


def _moved(given: Given, move: partial[Vector]) -> Node:
    """A node that gives each moment the local time that `move` makes of its local time."""
    dtype = computing_type(given.first.dtype)
    return OnArrow(partial(_run_moved, move=move, dtype=dtype, expr=given.expr), [given.first], dtype)


def _run_moved(moments: pa.Array, move: partial[Vector], dtype: pa.DataType, expr: object) -> pa.Array:
    missing = is_null(moments)
    stored = stored_ticks(moments, dtype)
    local = local_ticks(moments, dtype)
    moved = moments_at(move(local), missing, dtype, stored)
    _check_range(moved, stored, missing, dtype, expr)
    return null_where(moved.astype(np.int32) if dtype == pa.date32() else moved, missing, dtype)


def _check_range(moved: Vector, stored: Vector, missing: Vector, dtype: pa.DataType, expr: object) -> None:
    """A result that wrapped is further away than any step: more than half of all ticks."""
    far = np.abs(moved.astype(np.float64) - stored.astype(np.float64)) > 2.0**62
    if dtype == pa.date32():
        far = np.abs(moved) > 2**31 - 1
    far &= ~missing
    if far.any():
        row = int(np.argmax(far))
        raise ArithmeticOverflowError(
            f"{shown(expr)} leaves {dtype}",
            expected="a moment that the type can hold",
            found=f"{stored[row]} ticks in row {row} of the batch",
            remedy="filter such rows out first, or guard them with sl.when(…).then(…)",
        )


# ------------------------------------------------------------------ truncate


def _bind_truncate(given: Given) -> Node:
    dtype = computing_type(given.first.dtype)
    every: Span = given.options["every"]
    kind, size = every
    day = ticks_a_day(dtype)
    if kind == "months":
        return _moved(given, partial(_months_down, size=size, day=day))
    origin = _MONDAY * day if kind == "weeks" else 0
    ticks, rest = (size * 7 * day, 0) if kind == "weeks" else divmod(size * day, _DAY)
    if (rest and size > _DAY // day) or (rest and family(dtype) is Family.DATE):
        raise unsupported(
            given.expr,
            f"windows of whole {'days' if day == 1 else dtype.unit} for {span_text(every)}",
            (given.expr.operands[0], given.first.dtype),
            remedy="cast it to a finer unit first: .cast(pa.timestamp('us'))",
        )
    return given.first if ticks <= 1 else _moved(given, partial(_ticks_down, size=ticks, origin=origin))


def _ticks_down(local: Vector, size: int, origin: int) -> Vector:
    return local - (local - origin) % size


def _months_down(local: Vector, size: int, day: int) -> Vector:
    year, month, _ = calendar.year_month_day(local // day)
    months = (year - 1970) * 12 + month - 1
    months -= months % size
    return calendar.days_since_1970(1970 + months // 12, months % 12 + 1, 1) * day


# ------------------------------------------------------------------ offsets


def _bind_offset(given: Given) -> Node:
    dtype = computing_type(given.first.dtype)
    kind, size = given.options["by"]
    day = ticks_a_day(dtype)
    sign = -1 if given.options["negative"] else 1
    if kind == "months":
        return _moved(given, partial(_months_on, count=sign * size, day=day))
    if kind == "weeks":
        return _moved(given, partial(_ticks_on, step=sign * size * 7 * day))
    if size % _DAY == 0:
        return _moved(given, partial(_ticks_on, step=sign * (size // _DAY) * day))
    if day == 1 or size * day % _DAY:
        raise unsupported(
            given.expr,
            f"a type with a unit fine enough for {span_text((kind, size))}",
            (given.expr.operands[0], given.first.dtype),
            remedy="cast it to a finer unit first: .cast(pa.timestamp('us'))",
        )
    step = partial(_exactly_on, step=sign * size * day // _DAY, dtype=dtype, expr=given.expr)
    return OnArrow(step, [given.first], dtype)


def _exactly_on(moments: pa.Array, step: int, dtype: pa.DataType, expr: object) -> pa.Array:
    missing, stored = is_null(moments), stored_ticks(moments, dtype)
    moved = stored + step
    _check_range(moved, stored, missing, dtype, expr)
    return null_where(moved, missing, dtype)


def _ticks_on(local: Vector, step: int) -> Vector:
    return local + step


def _months_on(local: Vector, count: int, day: int) -> Vector:
    days = local // day
    year, month, of_month = calendar.year_month_day(days)
    months = year * 12 + month - 1 + count
    year, month = months // 12, months % 12 + 1
    last = calendar.month_length(year, month)
    return calendar.days_since_1970(year, month, np.minimum(of_month, last)) * day + (local - days * day)


def _month_start(local: Vector, day: int) -> Vector:
    days = local // day
    return local - (calendar.year_month_day(days)[2] - 1) * day


def _month_end(local: Vector, day: int) -> Vector:
    year, month, of_month = calendar.year_month_day(local // day)
    return local + (calendar.month_length(year, month) - of_month) * day


def _bind_month_start(given: Given) -> Node:
    return _moved(given, partial(_month_start, day=ticks_a_day(computing_type(given.first.dtype))))


def _bind_month_end(given: Given) -> Node:
    return _moved(given, partial(_month_end, day=ticks_a_day(computing_type(given.first.dtype))))


_KERNEL = "numpy, on ticks; Arrow `local_timestamp` and `assume_timezone` in a zone"
_SKIPPED = "a start that the clock skips is where it goes on, where Polars raises"

RULES: dict[str, Rule] = {
    "truncate": Rule(
        (MOMENT,),
        _bind_truncate,
        _KERNEL,
        differs=f"minutes are `min` or `m`, as everywhere in streamlib; {_SKIPPED}; overflow is an error",
    ),
    "offset_by": Rule(
        (MOMENT,), _bind_offset, _KERNEL, differs=f"one unit of months or weeks at a time; {_SKIPPED}"
    ),
    "month_start": Rule((MOMENT,), _bind_month_start, _KERNEL, differs=_SKIPPED),
    "month_end": Rule((MOMENT,), _bind_month_end, _KERNEL, differs=_SKIPPED),
}
