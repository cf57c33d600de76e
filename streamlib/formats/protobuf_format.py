"""Protocol Buffers: messages of a generated class, made into columns field by field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.errors import DefinitionError, FormatError, MissingExtraError, StreamlibError, shown
from streamlib.core.python_values import UNFIT, filled, python_values
from streamlib.core.where import caller
from streamlib.formats.arrays import cut, list_of, map_of, spread, unfit
from streamlib.formats.contract import Decode, Encode, Format
from streamlib.formats.messages import decoder, encoder
from streamlib.formats.protobuf_schema import ProtoField, fields_of

_MICROS = 1_000_000
_MOST_SECONDS = 315_576_000_000  # 10,000 years: what Duration allows, and more than Timestamp does


@dataclass(frozen=True, eq=False, repr=False)
class ProtobufFormat(Format):
    """One message of a class in each message. Made by `protobuf`."""

    kind: ClassVar[str] = "protobuf"

    message: type

    def _fields(self) -> tuple[ProtoField, ...]:
        descriptor: Any = self.message.DESCRIPTOR  # type: ignore[attr-defined]
        return fields_of(descriptor)

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([field.column for field in self._fields()])

    def decoder(self) -> Decode:
        from google.protobuf.message import DecodeError  # noqa: PLC0415 - an extra

        fields, schema, message = self._fields(), self.schema, self.message

        def rows(records: Sequence[Any]) -> pa.RecordBatch:
            columns = [_array(field, records, field.name) for field in fields]
            return pa.RecordBatch.from_arrays(columns, schema=schema)

        def explain(error: Exception, data: Any) -> StreamlibError:
            return FormatError(
                f"this is no protobuf message of {message.__name__}",
                expected=f"one whole {message.__name__}",
                found=f"{shown(data)} ({error})",
                remedy="give the class that it was written with, or skip such messages with on_error=",
            )

        return decoder(schema, _parser(message), rows, explain, (DecodeError, TypeError), self.kind)

    def encoder(self) -> Encode:
        fields, message = self._fields(), self.message

        def messages(rows: pa.RecordBatch) -> pa.Array:
            return pa.array([_written(message(**r)) for r in _dicts(fields, rows.columns)], pa.binary())

        return encoder(self.schema, messages)

    def __repr__(self) -> str:
        return f"formats.protobuf({self.message.__name__})"


def protobuf(message: type) -> ProtobufFormat:
    """Protocol Buffers: in each message one of a class that `protoc` generated.

    Fields become columns of their names. Those that tell whether they were set (messages, `optional`, of a
    `oneof`) are null where they were not; others have their default. Enums are text, `Timestamp` and
    `Duration` are microseconds (finer digits are cut), wrappers such as `Int64Value` are plain values that
    may be null, maps are maps. Unknown fields are ignored; a number that an enum does not know fails.
    Needs `pip install "streamlib[protobuf]"`.

    Args:
        message: the class, for example `bids_pb2.Bid`.

    Raises:
        DefinitionError: no such class, or one of messages that hold themselves or nothing.
        MissingExtraError: protobuf is not installed.

    >>> from google.protobuf.timestamp_pb2 import Timestamp
    >>> form = protobuf(Timestamp)
    >>> form.decoder()(pa.array([Timestamp(seconds=3).SerializeToString()])).rows.to_pylist()
    [{'seconds': 3, 'nanos': 0}]
    """
    try:
        from google.protobuf.message import Message  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError.of("protobuf", "protobuf") from error
    if not isinstance(message, type) or not issubclass(message, Message):
        raise DefinitionError(
            "formats.protobuf needs a class of messages",
            expected="a class that protoc generated, for example bids_pb2.Bid",
            found=shown(message),
            remedy="generate it: protoc --python_out=. bids.proto, and import it",
        ).at(None, caller())
    made = ProtobufFormat(message)
    made.schema  # noqa: B018 - raises for messages that can't become columns
    return made


def _parser(message: Any) -> Callable[[bytes], Any]:
    if not any(getattr(field, "is_required", False) for field in message.DESCRIPTOR.fields):
        return message.FromString

    def parse(data: bytes) -> Any:
        found = message.FromString(data)
        if not found.IsInitialized():
            missing = ", ".join(found.FindInitializationErrors())
            raise TypeError(f"required, and not there: {missing}")
        return found

    return parse


def _written(message: Any) -> bytes:
    return message.SerializeToString(deterministic=True)  # maps in one order, so that replays agree


# --------------------------------------------------------------------------- messages to columns


def _array(field: ProtoField, messages: Sequence[Any], path: str) -> pa.Array:
    """One field of all messages."""
    values = list(map(attrgetter(field.name), messages))
    if field.holds == "list":
        (item,) = field.fields
        return list_of(
            values, field.column.type, _values(item, list(chain.from_iterable(values)), f"{path}[]")
        )
    if field.holds == "map":
        return _map(field, values, path)
    if not field.presence:
        return _values(field, values, path)
    there = np.fromiter((message.HasField(field.name) for message in messages), np.bool_, len(messages))
    if there.all():
        return _values(field, values, path)
    present = [value for value, has in zip(values, there, strict=True) if has]
    return spread(_values(field, present, path), there)


def _map(field: ProtoField, values: list[Any], path: str) -> pa.Array:
    key, item = field.fields
    # the library's order differs from process to process
    pairs = list(chain.from_iterable(sorted(value.items(), key=itemgetter(0)) for value in values))
    keys = _values(key, [k for k, _ in pairs], f"{path}[key]")
    return map_of(values, field.column.type, keys, _values(item, [v for _, v in pairs], f"{path}[]"))


def _values(field: ProtoField, values: list[Any], path: str) -> pa.Array:
    """Values of a field that were all set."""
    dtype = field.column.type
    if field.holds == "message":
        columns = [_array(inner, values, f"{path}.{inner.name}") for inner in field.fields]
        return pa.StructArray.from_arrays(columns, fields=[inner.column for inner in field.fields])
    if field.holds == "moment":
        return _moments(values, dtype, path)
    if field.holds == "wrapper":
        values = [value.value for value in values]
    if field.enum is not None:
        values = _names(field.enum, values, path)
    try:
        return pa.array(values, dtype)
    except UNFIT as error:
        raise unfit(values, dtype, path, error) from error


def _moments(values: list[Any], dtype: pa.DataType, path: str) -> pa.Array:
    seconds = np.array([value.seconds for value in values], np.int64)
    nanos = np.array([value.nanos for value in values], np.int64)
    beyond = (np.abs(seconds) > _MOST_SECONDS) | (np.abs(nanos) >= 1_000_000_000)
    if beyond.any():
        raise FormatError(
            f"a protobuf message can't be read at {path!r}",
            expected="a moment in the years 1 to 9999, or a duration up to 10,000 years",
            found=shown(values[int(np.flatnonzero(beyond)[0])]),
            remedy="correct who sends it, or skip such messages with on_error=",
        )
    return pa.array(seconds * _MICROS + nanos // 1_000).view(dtype)


def _names(enum: Any, values: list[int], path: str) -> list[str]:
    try:
        return [enum[value] for value in values]
    except KeyError as error:
        raise FormatError(
            f"a protobuf message can't be read at {path!r}",
            expected=f"one of {', '.join(enum.values())}",
            found=f"number {error}, which this version of the enum does not know",
            remedy="generate the class again from the newest .proto",
        ) from error


# --------------------------------------------------------------------------- columns to messages


def _dicts(fields: Sequence[ProtoField], columns: Sequence[pa.Array]) -> list[dict[str, Any]]:
    """What the constructor of a message takes, for each row; what is null is left out."""
    names = [field.name for field in fields]
    values = [_python(field, column) for field, column in zip(fields, columns, strict=True)]
    return [
        {name: value for name, value in zip(names, row, strict=True) if value is not None}
        for row in zip(*values, strict=True)
    ]


def _python(field: ProtoField, array: pa.Array) -> list[Any]:
    present = array.drop_null() if array.null_count else array
    if field.holds == "list":
        (item,) = field.fields
        found: list[Any] = cut(_python(item, present.flatten()), pc.list_value_length(present))
    elif field.holds == "map":
        found = _mappings(field, present)
    elif field.holds == "message":
        found = _dicts(field.fields, [pc.struct_field(present, i) for i in range(present.type.num_fields)])
    elif field.holds == "moment":
        found = list(map(_moment(present.type), present.view(pa.int64()).to_pylist()))
    elif field.holds == "wrapper":
        found = [{"value": value} for value in python_values(present, present.type)]
    else:
        found = python_values(present, present.type)
    return filled(array, found)


def _mappings(field: ProtoField, present: pa.Array) -> list[dict[Any, Any]]:
    key, item = field.fields
    entries = present.cast(pa.list_(pa.struct([("key", key.column.type), ("value", item.column.type)])))
    flat = entries.flatten()
    pairs = zip(_python(key, pc.struct_field(flat, 0)), _python(item, pc.struct_field(flat, 1)), strict=True)
    return [dict(each) for each in cut(list(pairs), pc.list_value_length(entries))]


def _moment(dtype: pa.DataType) -> Callable[[int], dict[str, int]]:
    def made(micros: int) -> dict[str, int]:
        seconds, rest = divmod(micros, _MICROS)
        if seconds < 0 and rest and pa.types.is_duration(dtype):  # both parts of a duration have one sign
            seconds, rest = seconds + 1, rest - _MICROS
        return {"seconds": seconds, "nanos": rest * 1_000}

    return made
