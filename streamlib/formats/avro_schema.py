"""Avro's schemas as Arrow's, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from streamlib.core.errors import DefinitionError, TypeMismatchError
from streamlib.formats.arrays import is_list

_TYPES: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
}
_LOGICAL: dict[tuple[str, str], pa.DataType] = {
    ("int", "date"): pa.date32(),
    ("int", "time-millis"): pa.time32("ms"),
    ("long", "time-micros"): pa.time64("us"),
    ("long", "timestamp-millis"): pa.timestamp("ms", "UTC"),
    ("long", "timestamp-micros"): pa.timestamp("us", "UTC"),
    ("long", "timestamp-nanos"): pa.timestamp("ns", "UTC"),
    ("long", "local-timestamp-millis"): pa.timestamp("ms"),
    ("long", "local-timestamp-micros"): pa.timestamp("us"),
    ("long", "local-timestamp-nanos"): pa.timestamp("ns"),
}
"""What is a number in a message and something more in a column."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Json = Any


# --------------------------------------------------------------------------- Avro to Arrow


def columns_of_avro(schema: Json) -> pa.Schema:
    """The columns of a record schema (parsed JSON); what is no union with null is never null.

    Integers of dates and moments keep their unit, a `uuid` is text, an enum is text, and a fixed is bytes
    of that length. Raises `DefinitionError` for what is no record, for a type that holds itself, and for
    unions other than with null.

    >>> columns_of_avro({"type": "record", "name": "Bid", "fields": [
    ...     {"name": "price", "type": ["null", "double"]},
    ...     {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}]})
    price: double
    at: timestamp[ms, tz=UTC] not null
    """
    if not isinstance(schema, Mapping) or schema.get("type") not in ("record", "error"):
        raise _no_column(schema, "the schema")
    return pa.schema(_fields(schema, {}, ()))


def _fields(record: Mapping[str, Json], names: dict[str, Json], above: tuple[str, ...]) -> list[pa.Field]:
    names[record["name"].rpartition(".")[2]] = record
    inside = (*above, record["name"].rpartition(".")[2])
    if not record["fields"]:
        raise _no_column(record, f"{record['name']!r}, which has no fields,")
    return [_field(field["name"], field["type"], names, inside) for field in record["fields"]]


def _field(name: str, schema: Json, names: dict[str, Json], above: tuple[str, ...]) -> pa.Field:
    if not isinstance(schema, list):
        return pa.field(name, _type(schema, names, above), nullable=schema == "null")
    others = [each for each in schema if each != "null"]
    if len(others) != 1:
        raise _no_column(schema, f"{name!r}, which may be of several types,")
    return pa.field(name, _type(others[0], names, above), nullable="null" in schema)


def _type(schema: Json, names: dict[str, Json], above: tuple[str, ...]) -> pa.DataType:
    if isinstance(schema, str):
        return _TYPES[schema] if schema in _TYPES else _named(schema, names, above)
    kind = schema["type"]
    if isinstance(kind, dict | list):
        return _type(kind, names, above)
    if kind == "record":
        return pa.struct(_fields(schema, names, above))
    if kind == "array":
        return pa.list_(_field("item", schema["items"], names, above))
    if kind == "map":
        return pa.map_(pa.string(), _field("value", schema["values"], names, above))
    if kind in ("enum", "fixed"):
        names[schema["name"].rpartition(".")[2]] = schema
    return _plain(kind, schema)


def _named(name: str, names: dict[str, Json], above: tuple[str, ...]) -> pa.DataType:
    name = name.rpartition(".")[2]
    if name in above:
        raise _no_column(name, "a type that holds itself")
    if name not in names:
        raise _no_column(name, "a type that is not known")
    return _type(names[name], names, above)


def _plain(kind: str, schema: Json) -> pa.DataType:
    logical = schema.get("logicalType", "")
    if logical == "decimal":
        digits = schema["precision"]
        return (pa.decimal128 if digits <= 38 else pa.decimal256)(digits, schema.get("scale", 0))
    if kind == "fixed":
        return pa.binary(schema["size"])
    plain = pa.string() if kind == "enum" else _TYPES.get(kind)
    found = _LOGICAL.get((kind, logical), plain)
    if found is None:
        raise _no_column(schema, "a type")
    return found


def _no_column(schema: Json, what: str) -> DefinitionError:
    return DefinitionError(
        f"Avro: {what} can't become columns",
        expected="a record of plain types, records, arrays, maps, and unions of one of these with null",
        found=str(schema)[:120],
        remedy="read the messages with formats.raw, and take them apart with a function of your own",
    )


def without_logical(schema: Json) -> Json:
    """The same schema with dates and moments as numbers and UUIDs as text: what they are in messages."""
    if isinstance(schema, list):
        return [without_logical(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    plain = {key: value for key, value in schema.items() if key not in ("default", "aliases", "doc")}
    if plain.get("logicalType") != "decimal":
        plain.pop("logicalType", None)
    for key in ("type", "items", "values"):
        if key in plain:
            plain[key] = without_logical(plain[key])
    if "fields" in plain:
        plain["fields"] = [without_logical(field) for field in plain["fields"]]
    return plain


# --------------------------------------------------------------------------- Arrow to Avro


def avro_of_columns(columns: pa.Schema, name: str) -> Json:
    """The record schema of columns. Raises `TypeMismatchError` for a type that Avro does not have.

    >>> avro_of_columns(pa.schema({"price": pa.float64()}), "Bid")["fields"]
    [{'name': 'price', 'type': ['null', 'double'], 'default': None}]
    """
    return _record(list(columns), name, "")


def _record(fields: list[pa.Field], name: str, above: str) -> Json:
    made: list[Json] = []
    for field in fields:
        path = f"{above}.{field.name}".lstrip(".")
        if not _NAME.fullmatch(field.name):
            raise _no_avro(path, "a name of letters, digits and underscores", repr(field.name))
        kind = _avro(field.type, f"{name}_{field.name}", path)
        entry = {"name": field.name, "type": ["null", kind] if field.nullable else kind}
        made.append(entry | {"default": None} if field.nullable else entry)
    return {"type": "record", "name": name, "fields": made}


def _avro(dtype: pa.DataType, name: str, path: str) -> Json:
    if pa.types.is_dictionary(dtype):
        return _avro(dtype.value_type, name, path)
    if pa.types.is_struct(dtype):
        return _record([dtype.field(i) for i in range(dtype.num_fields)], name, path)
    if is_list(dtype):
        return {"type": "array", "items": _item(dtype.value_field, name, path)}
    if pa.types.is_map(dtype) and pa.types.is_string(dtype.key_type):
        return {"type": "map", "values": _item(dtype.item_field, name, path)}
    if pa.types.is_decimal(dtype):
        return {"type": "bytes", "logicalType": "decimal", "precision": dtype.precision, "scale": dtype.scale}
    if pa.types.is_fixed_size_binary(dtype):
        return {"type": "fixed", "name": name, "size": dtype.byte_width}
    return _number(dtype) or _no_type(path, dtype)


def _number(dtype: pa.DataType) -> Json:
    if pa.types.is_timestamp(dtype) and dtype.tz is not None:
        dtype = pa.timestamp(dtype.unit, "UTC")
    for (kind, logical), known in _LOGICAL.items():
        if dtype == known:
            return {"type": kind, "logicalType": logical}
    return _PLAIN.get(dtype)


def _no_type(path: str, dtype: pa.DataType) -> Json:
    expected = "a type that Avro has (timestamps in ms, us or ns; no durations, no uint64)"
    raise _no_avro(path, expected, str(dtype))


def _item(field: pa.Field, name: str, path: str) -> Json:
    kind = _avro(field.type, f"{name}_{field.name}", f"{path}[]")
    return ["null", kind] if field.nullable else kind


_PLAIN: dict[pa.DataType, str] = {
    **{dtype: name for name, dtype in _TYPES.items()},
    **dict.fromkeys((pa.int8(), pa.int16(), pa.uint8(), pa.uint16()), "int"),
    pa.uint32(): "long",
    pa.large_string(): "string",
    pa.large_binary(): "bytes",
}


def _no_avro(path: str, expected: str, found: str) -> TypeMismatchError:
    return TypeMismatchError(
        f"formats.avro can't hold the column {path!r}",
        expected=expected,
        found=found,
        remedy="cast or rename the column, or take another format",
    )
