"""Avro: a record without header in each message, read and written by fastavro."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from streamlib.core.errors import DefinitionError, FormatError, MissingExtraError, StreamlibError, shown
from streamlib.core.hints import is_record_class
from streamlib.core.python_values import from_python, python_values
from streamlib.core.record_columns import dict_maker
from streamlib.core.where import caller
from streamlib.formats.arrays import ToArrays, ToValues
from streamlib.formats.avro_schema import avro_of_columns, columns_of_avro, without_logical
from streamlib.formats.contract import Decode, Encode, Format
from streamlib.formats.messages import decoder, encoder
from streamlib.formats.shapes import Shape, schema_of_shape

_BAD = (
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    OverflowError,
)  # what fastavro raises for bytes


@dataclass(frozen=True, eq=False, repr=False)
class AvroFormat(Format):
    """One Avro record in each message. Made by `avro`."""

    kind: ClassVar[str] = "avro"

    text: str
    """The Avro schema, as JSON."""
    columns: pa.Schema

    @property
    def schema(self) -> pa.Schema:
        return self.columns

    def _parsed(self) -> Any:
        return load_fastavro().parse_schema(without_logical(json.loads(self.text)))

    def decoder(self) -> Decode:
        arrays = ToArrays(to_leaf, itemgetter)
        parse = partial(_read, load_fastavro().schemaless_reader, self._parsed())

        def rows(records: Sequence[Any]) -> pa.RecordBatch:
            return arrays.rows(records, self.columns)

        return decoder(self.columns, parse, rows, _explained, _BAD, self.kind)

    def encoder(self) -> Encode:
        values = ToValues(_from_leaf, lambda fields: dict_maker(tuple(name for name, _ in fields)))
        write = partial(_written, load_fastavro().schemaless_writer, self._parsed())

        def messages(rows: pa.RecordBatch) -> pa.Array:
            return pa.array(list(map(write, values.records(rows))), pa.binary())

        return encoder(self.columns, messages)

    def __repr__(self) -> str:
        return f"formats.avro({self.columns.names})"


def avro(schema: Shape | str | PathLike[str] | Mapping[str, Any]) -> AvroFormat:
    """Avro: a record in each message, without the header of a file and without the id of a registry.

    Messages have to be written with this very schema, since nothing in them says which it was. Numbers,
    texts, bytes, enums (text), fixed, decimals, dates, times and timestamps, records, arrays, maps, and
    unions of one of these with null become columns. Needs `pip install "streamlib[avro]"`.

    Args:
        schema: an Avro schema as a dict, as JSON, or as the path of an `.avsc` file, which is read at once;
            or a class of records, or names and types of columns, of which one is made.

    Raises:
        DefinitionError: no schema, or one that can't become columns.
        TypeMismatchError: a column type that Avro does not have.
        MissingExtraError: fastavro is not installed.

    >>> form = avro({"type": "record", "name": "Bid", "fields": [{"name": "price", "type": "double"}]})
    >>> rows = pa.record_batch({"price": [1.5]}, schema=form.schema)
    >>> form.decoder()(form.encoder()(rows).messages).rows.to_pylist()
    [{'price': 1.5}]
    """
    if isinstance(schema, type) and is_record_class(schema):
        columns = schema_of_shape(schema, "formats.avro")
        parsed = avro_of_columns(columns, schema.__name__)
    elif isinstance(schema, pa.Schema) or _are_columns(schema):
        columns = schema_of_shape(schema, "formats.avro")
        parsed = avro_of_columns(columns, "Record")
    else:
        parsed = _schema(schema)
        columns = columns_of_avro(parsed)
    made = AvroFormat(json.dumps(parsed), columns)
    _checked(made)
    return made


def _are_columns(schema: object) -> bool:
    return isinstance(schema, Mapping) and all(isinstance(each, pa.DataType) for each in schema.values())


def _schema(schema: Any) -> Any:
    if isinstance(schema, Mapping):
        return schema
    try:
        if isinstance(schema, PathLike) or (isinstance(schema, str) and not schema.lstrip().startswith("{")):
            return json.loads(Path(schema).read_text())
        return json.loads(schema)
    except (OSError, TypeError, ValueError) as error:
        raise DefinitionError(
            "formats.avro needs a schema",
            expected="an Avro schema as a dict, as JSON or as the path of a file; a class; or columns",
            found=f"{shown(schema)} ({error})",
        ).at(None, caller()) from error


def _checked(form: AvroFormat) -> None:
    try:
        form._parsed()
    except load_fastavro().schema.SchemaParseException as error:
        raise DefinitionError(
            "formats.avro needs a schema that Avro takes",
            expected="an Avro schema",
            found=str(error),
        ).at(None, caller()) from error


def load_fastavro() -> Any:
    """The package. Raises `MissingExtraError`."""
    try:
        import fastavro  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError.of("fastavro", "avro") from error
    return fastavro


def _read(read: Callable[..., Any], schema: Any, message: bytes) -> Any:
    stream = io.BytesIO(message)
    record = read(stream, schema)
    if stream.tell() != len(message):
        raise ValueError(f"{len(message) - stream.tell()} bytes are left behind the record")
    return record


def _written(write: Callable[..., Any], schema: Any, record: Any) -> bytes:
    stream = io.BytesIO()
    write(stream, schema, record)
    return stream.getvalue()


def _explained(error: Exception, message: Any) -> StreamlibError:
    return FormatError(
        "this is no avro message of the schema",
        expected="one whole record, written with the very schema of formats.avro",
        found=f"{shown(message)} ({str(error) or type(error).__name__})",
        remedy="give the schema that it was written with, or skip such messages with on_error=",
    )


def _number_of(dtype: pa.DataType) -> pa.DataType | None:
    """The integer that stands for a date or moment in messages."""
    if pa.types.is_date32(dtype) or pa.types.is_time32(dtype):
        return pa.int32()
    return pa.int64() if pa.types.is_time64(dtype) or pa.types.is_timestamp(dtype) else None


def to_leaf(values: list[Any], dtype: pa.DataType) -> pa.Array:
    """Plain values of messages as an array: dates and moments are numbers there."""
    number = _number_of(dtype)
    return (
        from_python(values, pa.field("", dtype)) if number is None else pa.array(values, number).view(dtype)
    )


def _from_leaf(array: pa.Array) -> list[Any]:
    number = _number_of(array.type)
    return python_values(array, array.type) if number is None else array.view(number).to_pylist()
