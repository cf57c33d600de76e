"""Python values in expressions: which are allowed, their Arrow type, and how they adapt to a column."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from streamlib.core.errors import TypeMismatchError, shown
from streamlib.core.expressions.types import Family, computing_type, family, type_text

LiteralValue: TypeAlias = (
    bool | int | float | Decimal | str | bytes | datetime | date | time | timedelta | None
)
"""What an expression can hold besides columns. Naive datetimes stay naive, aware ones become UTC."""

_TYPES = (
    (type(None), pa.null()),
    (bool, pa.bool_()),
    (float, pa.float64()),
    (str, pa.string()),
    (bytes, pa.binary()),
    (date, pa.date32()),
    (time, pa.time64("us")),
    (timedelta, pa.duration("us")),
)


def normalised(value: object) -> LiteralValue:
    """The value as a plain `LiteralValue`: numpy scalars and subclasses lose their class.

    Raises `TypeMismatchError` for other values, and for those that no Arrow type holds.
    """
    try:
        plain = _plain(_python_scalar(value) if isinstance(value, np.generic) else value)
        pa.scalar(plain, literal_type(plain))
    except (pa.ArrowException, OverflowError, UnicodeError, TypeError) as problem:
        raise _not_a_literal(value, str(problem)) from None
    return plain


def _python_scalar(value: np.generic) -> object:
    item = value.item()
    if isinstance(value, np.datetime64 | np.timedelta64) and isinstance(item, int):
        raise TypeError(f"a {value.dtype} is finer or longer than Python's own types")
    return item


def _plain(value: object) -> LiteralValue:
    # bool comes before int and datetime before date: each is a subclass of the later one.
    if value is None or isinstance(value, bool | Decimal | timedelta):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, datetime):
        return value if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, date) or (isinstance(value, time) and value.tzinfo is None):
        return value
    raise TypeError(f"a {type(value).__qualname__}")


def _not_a_literal(value: object, problem: str) -> TypeMismatchError:
    return TypeMismatchError(
        "this value can't stand in an expression",
        expected="a bool, int (64 bits), float, finite Decimal, str, bytes, datetime, date, time (naive), "
        "timedelta or None",
        found=f"{shown(value)}: {problem}",
        remedy="convert it to one of these, or make it a column",
    )


def literal_type(value: LiteralValue) -> pa.DataType:
    """The type of a literal that stands alone.

    >>> literal_type(3), literal_type(2**63), literal_type(None)
    (DataType(int64), DataType(uint64), DataType(null))
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return pa.uint64() if value >= 2**63 else pa.int64()
    if isinstance(value, datetime):
        return pa.timestamp("us", tz=None if value.tzinfo is None else "UTC")
    if isinstance(value, Decimal):
        return pa.scalar(value).type
    return next(dtype for python, dtype in _TYPES if isinstance(value, python))


def adapted_type(value: LiteralValue, own: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type a literal takes beside an operand of type `other`, so that the operand keeps its own.

    `own` where the value does not fit: an int8 column plus 1000 is an int64.

    >>> adapted_type(1, pa.int64(), pa.int8()), adapted_type(1000, pa.int64(), pa.int8())
    (DataType(int8), DataType(int64))
    """
    candidate = _candidate(value, own, computing_type(other))
    if candidate is None or family(candidate) is Family.FLOAT:
        return own if candidate is None else _wide_enough(value, candidate)
    try:
        literal_array(value, candidate)
    except pa.ArrowInvalid:
        return own
    return candidate


def _candidate(value: LiteralValue, own: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    match family(own), family(other):
        case (Family.NULL, _):
            return other
        case (Family.INT, Family.INT | Family.FLOAT) | (Family.FLOAT, Family.FLOAT):
            return other
        case Family.INT, Family.DECIMAL:
            return pa.decimal128(len(str(abs(int(value)))), 0)  # type: ignore[arg-type]
        case (Family.TEXT, Family.TEXT) | (Family.BYTES, Family.BYTES) | (Family.DURATION, Family.DURATION):
            return other
        case Family.TIMESTAMP, Family.TIMESTAMP if (own.tz is None) == (other.tz is None):
            return other
        case Family.DURATION, Family.TIMESTAMP:
            return pa.duration(other.unit)
    return None


def _wide_enough(value: LiteralValue, candidate: pa.DataType) -> pa.DataType:
    narrow = literal_array(value, candidate)[0].as_py()
    overflowed = narrow is not None and math.isinf(narrow) and not math.isinf(float(value))  # type: ignore[arg-type]
    return pa.float64() if overflowed else candidate


def literal_array(value: LiteralValue, dtype: pa.DataType) -> pa.Array:
    """One row of `dtype`. Raises `pa.ArrowInvalid` where the value does not fit; floats round."""
    target = family(dtype)
    if target is Family.DECIMAL and isinstance(value, int):
        value = Decimal(value)  # Arrow gives every int64 19 digits
    return pa.array([value], literal_type(value)).cast(dtype, safe=target is not Family.FLOAT)


def literal_does_not_fit(value: LiteralValue, dtype: pa.DataType) -> TypeMismatchError:
    """The error for a literal that its place in the expression can't hold."""
    return TypeMismatchError(
        f"{shown(value)} does not fit {type_text(dtype)}",
        expected=f"a value within the range of {type_text(dtype)}, the type of the other operand",
        found=shown(value),
        remedy="give another value, or cast the other operand to a wider type",
    )
