"""Python objects of state as bytes, by msgspec and a declared type: never by pickle."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypedDict

import msgspec
import pyarrow as pa

from streamlib.core.errors import DefinitionError, UserFunctionError, shown

_LOOSE = (dict, list, tuple, set, frozenset, Any, object)
"""Types that don't say what is inside: what msgspec knows by another name would come back as that."""


_PYTHON: dict[int, Any] = {
    pa.bool_().id: bool,
    **{pa.type_for_alias(f"{sign}int{bits}").id: int for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **{dtype.id: float for dtype in (pa.float16(), pa.float32(), pa.float64())},
    **{dtype.id: str for dtype in (pa.string(), pa.large_string(), pa.string_view())},
    **{dtype.id: bytes for dtype in (pa.binary(), pa.large_binary(), pa.binary(1), pa.binary_view())},
    **{dtype.id: date for dtype in (pa.date32(), pa.date64())},
    **{dtype.id: time for dtype in (pa.time32("s"), pa.time64("us"))},
    **{dtype.id: Decimal for dtype in (pa.decimal128(1), pa.decimal256(1))},
    pa.timestamp("us").id: datetime,
    pa.duration("us").id: timedelta,
}


def record_dict(schema: pa.Schema) -> Any:
    """The type of a dict with a row's values.

    >>> ObjectCodec(record_dict(pa.schema([("n", pa.int64())]))).encode({"n": 1}).hex()
    '81a16e01'
    """
    return TypedDict("Row", {field.name: _python(field.type) | None for field in schema})  # type: ignore[operator]


def _python(dtype: pa.DataType) -> Any:
    if pa.types.is_dictionary(dtype):
        return _python(dtype.value_type)
    if pa.types.is_list(dtype) or pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype):
        item: Any = _python(dtype.value_type) | None
        return list.__class_getitem__(item)
    if pa.types.is_struct(dtype):
        return record_dict(pa.schema([dtype.field(i) for i in range(dtype.num_fields)]))
    return _PYTHON.get(dtype.id, object)


class ObjectCodec:
    """Encodes objects of a type, and checks that they come back.

    Raises `DefinitionError` for a type that msgspec can't decode.

    >>> codec = ObjectCodec(dict[str, int])
    >>> codec.decode(codec.encode({"a": 1}))
    {'a': 1}
    """

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._encoder = msgspec.msgpack.Encoder()
        try:
            self._decoder = msgspec.msgpack.Decoder(kind)
        except TypeError as cause:
            raise DefinitionError(
                "this type can't be state",
                expected="what msgspec can decode: numbers, texts, lists and dicts of them, a dataclass, "
                "TypedDict or msgspec.Struct",
                found=getattr(kind, "__qualname__", None) or str(kind),
                remedy=str(cause),
            ) from cause

    def encode(self, value: Any) -> bytes:
        """The object as bytes. Raises `UserFunctionError` if it would not come back as it is."""
        try:
            data = self._encoder.encode(value)
            found = self._decoder.decode(data)
        except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as cause:
            raise self._unfit(value, str(cause)) from cause
        if self._kind in _LOOSE and found != value:
            raise self._unfit(value, f"it comes back as {shown(found)}")
        return data

    def decode(self, data: bytes) -> Any:
        """The object that was encoded."""
        return self._decoder.decode(data)

    def _unfit(self, value: Any, why: str) -> UserFunctionError:
        return UserFunctionError(
            "a state can't be stored as its declared type",
            expected=f"an object of {getattr(self._kind, '__qualname__', None) or self._kind}",
            found=f"{shown(value)}: {why}",
            remedy="declare the type of the state as it is, by the function's hint or `state=`",
        )
