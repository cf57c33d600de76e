"""What the fields of Protocol Buffers messages are as columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from streamlib.core.errors import DefinitionError

_TYPES: dict[int, pa.DataType] = {  # by the numbers of FieldDescriptor.TYPE_*
    1: pa.float64(),
    2: pa.float32(),
    3: pa.int64(),
    4: pa.uint64(),
    5: pa.int32(),
    6: pa.uint64(),  # fixed64
    7: pa.uint32(),  # fixed32
    8: pa.bool_(),
    9: pa.string(),
    12: pa.binary(),
    13: pa.uint32(),
    14: pa.string(),  # an enum
    15: pa.int32(),  # sfixed32
    16: pa.int64(),  # sfixed64
    17: pa.int32(),  # sint32
    18: pa.int64(),  # sint64
}

_MOMENTS: dict[str, pa.DataType] = {
    "google.protobuf.Timestamp": pa.timestamp("us", "UTC"),
    "google.protobuf.Duration": pa.duration("us"),
}
_WRAPPERS = frozenset(
    f"google.protobuf.{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)


@dataclass(frozen=True)
class ProtoField:
    """A field of a message, or an element of a repeated one.

    Attributes:
        name: what it is called.
        column: the column it becomes.
        holds: `plain`, `enum`, `moment`, `wrapper`, `message`, `list` or `map`.
        presence: whether a message tells if it was set.
        fields: of a message its fields; of a list or map those of an element: [item], or [key, item].
        enum: the names of an enum by number.
    """

    name: str
    column: pa.Field
    holds: str
    presence: bool = False
    fields: tuple[ProtoField, ...] = ()
    enum: Mapping[int, str] | None = None


def fields_of(descriptor: Any, above: tuple[str, ...] = ()) -> tuple[ProtoField, ...]:
    """The fields of a message, by its descriptor.

    Raises `DefinitionError` for a message without fields, and for one that holds itself.
    """
    if descriptor.full_name in above or not descriptor.fields:
        what = "holds itself" if descriptor.fields else "has no fields"
        raise DefinitionError(
            f"the message {descriptor.full_name} {what}, so it can't become columns",
            expected="messages with fields, nested to a depth that is known",
            found=" > ".join([*above, descriptor.full_name]),
            remedy="read the messages with formats.raw, and take them apart with a function of your own",
        )
    inside = (*above, descriptor.full_name)
    return tuple(_field(field, inside) for field in descriptor.fields)


def _field(field: Any, above: tuple[str, ...]) -> ProtoField:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        key, item = (_single(message.fields_by_name[name], above) for name in ("key", "value"))
        dtype = pa.map_(key.column.type, pa.field("value", item.column.type))
        return ProtoField(field.name, pa.field(field.name, dtype, nullable=False), "map", fields=(key, item))
    if field.is_repeated:
        item = _single(field, above)
        dtype = pa.list_(pa.field("item", item.column.type))
        return ProtoField(field.name, pa.field(field.name, dtype, nullable=False), "list", fields=(item,))
    return _single(field, above)


def _single(field: Any, above: tuple[str, ...]) -> ProtoField:
    presence = field.has_presence and not field.is_repeated and not getattr(field, "is_required", False)
    if field.message_type is not None:
        return _message(field, presence, above)
    dtype = _TYPES[field.type]
    column = pa.field(field.name, dtype, nullable=presence)
    if field.enum_type is None:
        return ProtoField(field.name, column, "plain", presence)
    names = {value.number: value.name for value in reversed(field.enum_type.values)}
    return ProtoField(field.name, column, "enum", presence, enum=names)


def _message(field: Any, presence: bool, above: tuple[str, ...]) -> ProtoField:
    message = field.message_type
    name = message.full_name
    if name in _MOMENTS:
        column = pa.field(field.name, _MOMENTS[name], nullable=presence)
        return ProtoField(field.name, column, "moment", presence)
    if name in _WRAPPERS:
        value = _single(message.fields_by_name["value"], above)
        return ProtoField(field.name, pa.field(field.name, value.column.type, presence), "wrapper", presence)
    fields = fields_of(message, above)
    column = pa.field(field.name, pa.struct([each.column for each in fields]), nullable=presence)
    return ProtoField(field.name, column, "message", presence, fields)
