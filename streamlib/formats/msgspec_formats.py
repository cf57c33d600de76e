"""JSON and MessagePack: msgspec reads each message into a small struct, Arrow takes columns of these."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from operator import attrgetter
from typing import Any, ClassVar, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.errors import FormatError, StreamlibError, shown
from streamlib.core.hints import record_class
from streamlib.core.python_values import from_python, python_values
from streamlib.formats.arrays import Names, ToArrays, ToValues
from streamlib.formats.contract import Decode, Encode, Format
from streamlib.formats.messages import decoder, encoder
from streamlib.formats.moments import iso_texts
from streamlib.formats.shapes import (
    Plain,
    Shape,
    attribute,
    names_of,
    record_maker,
    schema_of_shape,
    struct_of,
)

_FOUND = re.compile(r"Expected (.*), got (.*?)(?: - at `(.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*?)`(?: - at `(.*)`)?", re.DOTALL)
_BAD = (msgspec.DecodeError, RecursionError, TypeError, UnicodeDecodeError)
_FINER = r"(\.\d{6})\d+"  # digits of a second behind the microseconds
_FIRST, _END = -62_135_596_800_000_000, 253_402_300_800_000_000  # the years 1 to 9999, in microseconds

TEXTUAL: Plain = {datetime: str, date: str}  # Arrow reads columns of them ten times as fast as Python
NATURAL: Plain = {}


@dataclass(frozen=True, eq=False, repr=False)
class _Msgspec(Format):
    """A format that msgspec reads. `shape` is a class of records, or a schema."""

    plain: ClassVar[Plain]

    shape: Shape

    @property
    def schema(self) -> pa.Schema:
        return schema_of_shape(self.shape, f"formats.{self.kind}")

    def _decoder(self, parse: Any, leaf: Any) -> Decode:
        arrays = ToArrays(leaf, lambda name: attrgetter(attribute(name)))
        schema = self.schema

        def rows(records: Sequence[Any]) -> pa.RecordBatch:
            return arrays.rows(records, schema)

        return decoder(schema, parse, rows, self._explained, _BAD, self.kind)

    def struct(self) -> type[msgspec.Struct]:
        """What a message becomes."""
        return struct_of(self.shape, self.plain, f"formats.{self.kind}")

    def _names(self) -> Names | None:
        return names_of(record_class(self.shape)) if isinstance(self.shape, type) else None

    def _explained(self, error: Exception, message: Any) -> StreamlibError:
        return explained(self.kind, error, message)

    def __repr__(self) -> str:
        shape = self.shape.__name__ if isinstance(self.shape, type) else self.schema.names
        return f"formats.{self.kind}({shape})"


M = TypeVar("M", bound=_Msgspec)


@dataclass(frozen=True, eq=False, repr=False)
class JsonFormat(_Msgspec):
    """One JSON object in each message. Made by `json`."""

    kind: ClassVar[str] = "json"
    plain: ClassVar[Plain] = TEXTUAL

    def decoder(self) -> Decode:
        return self._decoder(msgspec.json.Decoder(self.struct()).decode, _from_text)

    def encoder(self) -> Encode:
        values, names = ToValues(_to_text, record_maker), self._names()
        encode = msgspec.json.Encoder().encode
        return encoder(
            self.schema, lambda rows: pa.array(list(map(encode, values.records(rows, names))), pa.binary())
        )

    def split(self, document: bytes) -> Sequence[bytes]:
        """The elements of an array; else each line, or the document itself if it is one object."""
        try:
            if document.lstrip()[:1] == b"[":
                return [bytes(part) for part in msgspec.json.decode(document, type=list[msgspec.Raw])]
            return [bytes(part) for part in msgspec.json.Decoder(msgspec.Raw).decode_lines(document)]
        except msgspec.DecodeError as lines:
            try:
                msgspec.json.decode(document)
            except msgspec.DecodeError:
                raise explained("json", lines, document) from lines
            return [document]


@dataclass(frozen=True, eq=False, repr=False)
class MsgpackFormat(_Msgspec):
    """One MessagePack map in each message. Made by `msgpack`."""

    kind: ClassVar[str] = "msgpack"
    plain: ClassVar[Plain] = NATURAL

    def decoder(self) -> Decode:
        return self._decoder(msgspec.msgpack.Decoder(self.struct()).decode, _from_values)

    def encoder(self) -> Encode:
        values, names = ToValues(_to_values, record_maker), self._names()
        encode = msgspec.msgpack.Encoder().encode
        return encoder(
            self.schema, lambda rows: pa.array(list(map(encode, values.records(rows, names))), pa.binary())
        )


def json(shape: Shape) -> JsonFormat:
    """JSON: an object in each message.

    A field that the class has no default for, and that can't be None, has to be there; of columns given by
    name those that are not nullable. Fields that the class does not have are ignored, unless it is a
    `msgspec.Struct` with `forbid_unknown_fields`; its `rename` and the constraints of `msgspec.Meta` hold.
    Nothing is converted: a number in quotes is no number, 1.0 is no whole number. Timestamps are RFC 3339
    texts with an offset or `Z` (without, where the column has no time zone); digits behind microseconds are
    cut. Dates, times and durations (`PT1.5S`) are texts of ISO 8601, bytes base64, decimals texts or numbers.
    NaN and the infinities can't be written.

    Args:
        shape: a dataclass, TypedDict or msgspec.Struct, or names and types of columns.

    Raises:
        DefinitionError: not a shape. TypeMismatchError: a column type that JSON can't hold.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Bid:
    ...     auction: int
    ...     price: float | None = None
    >>> texts = ['{"auction": 1, "price": 2.5}', '{"auction": 2}', '{"auction": "3"}']
    >>> found = json(Bid).decoder()(pa.array(texts))
    >>> found.rows.to_pylist(), found.parents.tolist()
    ([{'auction': 1, 'price': 2.5}, {'auction': 2, 'price': None}], [0, 1])
    >>> print(found.failures[0][1].reason)
    a json message can't be read at 'auction'
      expected: int
      found:    str in '{"auction": "3"}'
      to do:    correct who sends it, or give the field another type
    """
    return _made(JsonFormat, shape)


def msgpack(shape: Shape) -> MsgpackFormat:
    """MessagePack: a map in each message, with the strictness of `json`.

    Timestamps are its timestamp extension, or texts; bytes are bytes.

    Args:
        shape: a dataclass, TypedDict or msgspec.Struct, or names and types of columns.

    Raises:
        DefinitionError: not a shape. TypeMismatchError: a column type that MessagePack can't hold.

    >>> form = msgpack({"id": pa.int64(), "tag": pa.string()})
    >>> rows = pa.record_batch({"id": [1, 2], "tag": ["a", None]}, schema=form.schema)
    >>> form.decoder()(form.encoder()(rows).messages).rows.equals(rows)
    True
    """
    return _made(MsgpackFormat, shape)


def _made(kind: type[M], shape: Shape) -> M:
    schema = schema_of_shape(shape, f"formats.{kind.kind}")
    made = kind(shape if isinstance(shape, type) else schema)
    made.struct()  # raises for types that messages can't hold
    return made


def explained(kind: str, error: Exception, message: Any) -> StreamlibError:
    """What is wrong with a message, from what msgspec says of it."""
    text = str(error)
    if match := _MISSING.fullmatch(text):
        field, place = match.groups()
        return _at(kind, _path(place, field), "a value", "no such field", message, "or give it a default")
    if (match := _FOUND.fullmatch(text)) is not None:
        expected, found, place = match.groups()
        remedy = "or give the field another type"
        return _at(kind, _path(place), expected.replace("`", ""), found.replace("`", ""), message, remedy)
    return FormatError(
        f"this is no {kind} message",
        expected=f"one whole {kind} object",
        found=f"{shown(message)} ({text})",
        remedy="correct who sends it, or skip such messages with on_error=",
    )


def _path(place: str | None, *fields: str) -> str:
    return ".".join(part for part in [(place or "$").removeprefix("$").removeprefix("."), *fields] if part)


def _at(kind: str, path: str, expected: str, found: str, message: Any, remedy: str) -> StreamlibError:
    where = f" at {path!r}" if path else ""
    return FormatError(
        f"a {kind} message can't be read{where}",
        expected=expected,
        found=f"{found} in {shown(message)}",
        remedy=f"correct who sends it, {remedy}",
    )


# --------------------------------------------------------------------------- plain values


def _from_text(values: list[Any], dtype: pa.DataType) -> pa.Array:
    if not (pa.types.is_timestamp(dtype) or pa.types.is_date(dtype)):
        return _from_values(values, dtype)
    texts = pa.array(values, pa.string())
    try:
        return texts.cast(dtype)
    except pa.ArrowInvalid:
        return pc.replace_substring_regex(texts, _FINER, r"\1").cast(dtype)


def _from_values(values: list[Any], dtype: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(dtype):
        zoned = dtype.tz is not None
        odd = next((v for v in values if v is not None and (v.tzinfo is not None) != zoned), None)
        if odd is not None:
            raise ValueError(f"{odd} {'without' if zoned else 'with'} a time zone")
    return from_python(values, pa.field("", dtype))


def _to_text(array: pa.Array) -> list[Any]:
    dtype = array.type
    if pa.types.is_date(dtype):
        return _years(array).cast(pa.date32()).cast(pa.string()).to_pylist()
    if pa.types.is_timestamp(dtype):
        return iso_texts(_years(array)).to_pylist()
    if pa.types.is_floating(dtype) and not pc.all(pc.is_finite(array)).as_py() and len(array.drop_null()):
        raise ValueError("JSON has neither NaN nor infinities: make them null before")
    return python_values(array, dtype)


def _to_values(array: pa.Array) -> list[Any]:
    return python_values(array, array.type)


def _years(array: pa.Array) -> pa.Array:
    """The array, if all moments lie in the years that texts have four digits for."""
    moments = array.cast(pa.timestamp("us")) if pa.types.is_date(array.type) else array
    bounds = pc.min_max(moments.cast(pa.timestamp("us", moments.type.tz), safe=False).view(pa.int64()))
    least, largest = bounds["min"].as_py(), bounds["max"].as_py()
    if least is not None and not (least >= _FIRST and largest < _END):
        raise ValueError("a moment beyond the years 1 to 9999")
    return array
