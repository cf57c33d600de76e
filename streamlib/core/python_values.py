"""Columns as lists of Python values, and back without losing anything on the way.

User functions per record get and give Python values. Whole columns are converted at once; what
would be cut silently (a fraction in an integer column) is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Column, as_arrow, as_numpy
from streamlib.core.errors import TypeMismatchError

UNFIT = (pa.ArrowException, OverflowError, TypeError, ValueError)
"""What Arrow raises for a Python value that does not fit a column."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def python_values(column: Column, dtype: pa.DataType) -> list[Any]:
    """The values of a column of `dtype` as Python values, nulls as None.

    Timestamps are datetimes, in UTC where they have a time zone. Python knows microseconds only:
    what is finer is floored. Raises `TypeMismatchError` for a moment beyond the years 1 to 9999.

    >>> python_values(pa.array([1, None]), pa.int64())
    [1, None]
    """
    numbers = None if pa.types.is_temporal(dtype) else as_numpy(column)
    if numbers is not None:
        return numbers.tolist()
    array = as_arrow(column, dtype)
    if pa.types.is_dictionary(dtype):
        words = np.fromiter([*python_values(array.dictionary, dtype.value_type), None], object)
        codes = array.indices.fill_null(len(words) - 1) if array.null_count else array.indices
        return words.take(codes.to_numpy(zero_copy_only=False)).tolist()
    if pa.types.is_timestamp(dtype):
        try:
            return _moments(array)
        except OverflowError as cause:
            raise _beyond_python(array) from cause
    if pa.types.is_duration(dtype):
        return filled(array, array.drop_null().cast(pa.duration("us"), safe=dtype.unit == "s").to_pylist())
    return array.to_pylist()


def _moments(array: pa.Array) -> list[Any]:
    zone = None if array.type.tz is None else "UTC"
    epoch = _EPOCH if zone else _EPOCH.replace(tzinfo=None)
    ticks = array.drop_null().view(pa.int64()).to_numpy()
    micros = ticks // 1_000 if array.type.unit == "ns" else _multiplied(ticks, array.type.unit)
    return filled(array, list(map(epoch.__add__, micros.view("m8[us]").tolist())))


def _beyond_python(array: pa.Array) -> TypeMismatchError:
    ticks = array.drop_null().view(pa.int64()).to_numpy()
    return TypeMismatchError(
        "a moment can't become a Python datetime",
        expected="moments in the years 1 to 9999",
        found=f"moments from {ticks.min()} to {ticks.max()} {array.type.unit} since 1970",
        remedy="filter such rows out first, or use a function on whole columns",
    )


def _multiplied(ticks: np.ndarray, unit: str) -> np.ndarray:
    factor = {"s": 1_000_000, "ms": 1_000, "us": 1}[unit]
    if len(ticks) and max(abs(int(ticks.max())), abs(int(ticks.min()))) > (2**63 - 1) // factor:
        raise OverflowError("a moment beyond the years that Python's datetime knows")
    return ticks * factor


def filled(array: pa.Array, present: list[Any]) -> list[Any]:
    """One value for each row: those of `present` in order, None where the array is null."""
    if not array.null_count:
        return present
    values = np.full(len(array), None, object)
    values[array.is_valid().to_numpy(zero_copy_only=False)] = np.fromiter(present, object, len(present))
    return values.tolist()


def from_python(values: Sequence[Any], field: pa.Field) -> pa.Array:
    """Python values as a column. Raises one of `UNFIT` where a value does not fit the field.

    >>> from_python([1.0, None], pa.field("n", pa.int64())).to_pylist()
    [1, None]
    """
    array = pa.array(values, field.type)
    if pa.types.is_integer(field.type) or pa.types.is_temporal(field.type):
        _check_whole(values)
    if array.null_count and not field.nullable:
        raise ValueError("null in a column that is declared as never null")
    return array


def _check_whole(values: Sequence[Any]) -> None:
    """Refuse fractions, which Arrow would cut without a word; most columns have no such type at all."""
    fractional = (float, Decimal, np.floating)
    if not any(issubclass(kind, fractional) for kind in set(map(type, values))):
        return
    for value in values:
        if isinstance(value, fractional) and value != int(value):
            raise ValueError(f"{value!r} is not whole")


def first_unfit(values: Sequence[Any], field: pa.Field) -> int | None:
    """The first row whose value does not fit the field by itself, None if only all together don't."""
    for row, value in enumerate(values):
        try:
            from_python([value], field)
        except UNFIT:
            return row
    return None
