"""Which Arrow types can meet in an expression, and the type they meet in."""

from __future__ import annotations

import enum
import re

import pyarrow as pa


class Family(enum.Enum):
    """Types that behave alike in expressions."""

    NULL = "null"
    BOOL = "bool"
    INT = "integer"
    FLOAT = "float"
    DECIMAL = "decimal"
    TEXT = "text"
    BYTES = "bytes"
    TIMESTAMP = "timestamp"
    DATE = "date"
    TIME = "time"
    DURATION = "duration"
    LIST = "list"
    STRUCT = "struct"
    OTHER = "other"


NUMERIC = frozenset({Family.INT, Family.FLOAT, Family.DECIMAL})
TEMPORAL = frozenset({Family.TIMESTAMP, Family.DATE, Family.TIME, Family.DURATION})

_FAMILIES = (
    (pa.types.is_integer, Family.INT),
    (pa.types.is_floating, Family.FLOAT),
    (pa.types.is_boolean, Family.BOOL),
    (pa.types.is_string, Family.TEXT),
    (pa.types.is_large_string, Family.TEXT),
    (pa.types.is_timestamp, Family.TIMESTAMP),
    (pa.types.is_duration, Family.DURATION),
    (pa.types.is_date, Family.DATE),
    (pa.types.is_time, Family.TIME),
    (pa.types.is_decimal, Family.DECIMAL),
    (pa.types.is_binary, Family.BYTES),
    (pa.types.is_large_binary, Family.BYTES),
    (pa.types.is_null, Family.NULL),
    (pa.types.is_list, Family.LIST),
    (pa.types.is_large_list, Family.LIST),
    (pa.types.is_fixed_size_list, Family.LIST),
    (pa.types.is_struct, Family.STRUCT),
)
_UNITS = ("s", "ms", "us", "ns")  # coarse to fine
_SPELLING = {"double": "float64", "float": "float32", "halffloat": "float16"}


def family(dtype: pa.DataType) -> Family:
    """The family of a type; dictionaries belong where their values do.

    >>> family(pa.dictionary(pa.int32(), pa.string())).value
    'text'
    """
    plain = computing_type(dtype)
    return next((found for matches, found in _FAMILIES if matches(plain)), Family.OTHER)


def computing_type(dtype: pa.DataType) -> pa.DataType:
    """The type in which kernels compute: dictionaries, views and half floats have few kernels."""
    if pa.types.is_dictionary(dtype):
        return computing_type(dtype.value_type)
    if pa.types.is_float16(dtype):
        return pa.float32()
    if pa.types.is_string_view(dtype):
        return pa.large_string()
    if pa.types.is_binary_view(dtype):
        return pa.large_binary()
    if pa.types.is_fixed_size_binary(dtype) and not pa.types.is_decimal(dtype):
        return pa.binary()
    return pa.date32() if pa.types.is_date64(dtype) else dtype


def common_type(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    """The narrowest type that both convert to with their meaning kept, or None.

    Integers meet floats in float64, although integers beyond 2^53 are rounded there. uint64 and a
    signed integer have no common type: none holds both exactly.

    >>> common_type(pa.int32(), pa.uint16()), common_type(pa.int64(), pa.string())
    (DataType(int32), None)
    """
    left, right = computing_type(left), computing_type(right)
    if left == right:
        return left
    pair = frozenset({family(left), family(right)})
    if Family.NULL in pair:
        return right if family(left) is Family.NULL else left
    if pair <= NUMERIC:
        return _common_number(left, right, pair)
    if pair == {Family.DATE, Family.TIMESTAMP}:
        moments = left if family(left) is Family.TIMESTAMP else right
        return moments if moments.tz is None else None
    return _common_kind(left, right) if len(pair) == 1 else None


def _common_kind(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    match family(left):
        case Family.TEXT:
            return pa.large_string()
        case Family.BYTES:
            return pa.large_binary()
        case Family.TIMESTAMP if (left.tz is None) == (right.tz is None):
            return pa.timestamp(finest(left, right), left.tz if left.tz == right.tz else "UTC")
        case Family.DURATION:
            return pa.duration(finest(left, right))
        case Family.TIME:
            unit = finest(left, right)
            return pa.time32(unit) if unit in {"s", "ms"} else pa.time64(unit)
    return None


def _common_number(left: pa.DataType, right: pa.DataType, pair: frozenset[Family]) -> pa.DataType | None:
    if Family.FLOAT in pair:
        return pa.float64()
    if Family.DECIMAL in pair:
        return _common_decimal(as_decimal(left), as_decimal(right))
    signed, unsigned = (left, right) if pa.types.is_signed_integer(left) else (right, left)
    if pa.types.is_signed_integer(left) == pa.types.is_signed_integer(right):
        return left if left.bit_width > right.bit_width else right
    if signed.bit_width > unsigned.bit_width:
        return signed
    return {8: pa.int16(), 16: pa.int32(), 32: pa.int64()}.get(unsigned.bit_width)


def _common_decimal(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    scale = max(left.scale, right.scale)
    precision = scale + max(left.precision - left.scale, right.precision - right.scale)
    if precision <= 38 and left.bit_width <= 128 and right.bit_width <= 128:
        return pa.decimal128(precision, scale)
    return pa.decimal256(precision, scale) if precision <= 76 else None


def as_decimal(dtype: pa.DataType) -> pa.DataType:
    """The decimal type that holds every value of an integer type; decimals as they are."""
    if not pa.types.is_integer(dtype):
        return dtype
    _, most = integer_range(dtype)
    return pa.decimal128(len(str(most)), 0)


def finest(left: pa.DataType, right: pa.DataType) -> str:
    """The finer of the units of two temporal types."""
    return max(left.unit, right.unit, key=_UNITS.index)


def integer_range(dtype: pa.DataType) -> tuple[int, int]:
    """The least and the largest integer of an integer type, or of a temporal type's ticks."""
    if pa.types.is_unsigned_integer(dtype):
        return 0, 2**dtype.bit_width - 1
    return -(2 ** (dtype.bit_width - 1)), 2 ** (dtype.bit_width - 1) - 1


def type_text(dtype: pa.DataType) -> str:
    """A type's name for people.

    >>> type_text(pa.float64()), type_text(pa.timestamp("us", tz="UTC"))
    ('float64', 'timestamp[us, tz=UTC]')
    """
    return _SPELLING.get(str(dtype), str(dtype))


def constructor_text(dtype: pa.DataType) -> str:
    """The Python that makes a type, for the types that users write.

    >>> constructor_text(pa.float64()), constructor_text(pa.timestamp("us", tz="UTC"))
    ('pa.float64()', "pa.timestamp('us', tz='UTC')")
    """
    name = type_text(dtype)
    if name == "bool":
        return "pa.bool_()"
    if name.startswith("decimal"):
        return f"pa.{name}"
    if name.isidentifier():
        return f"pa.{name}()"
    if temporal := re.fullmatch(r"(\w+)\[(\w+)(?:, tz=(.+))?\]", name):
        kind, unit, zone = temporal.groups()
        arguments = "" if unit == "day" else f"{unit!r}" + (f", tz={zone!r}" if zone else "")
        return f"pa.{kind}({arguments})"
    return name
