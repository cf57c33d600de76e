"""Formats without records of their own: bytes as they are, and Arrow's stream format."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pyarrow as pa

from streamlib.core.errors import FormatError, StreamlibError, shown
from streamlib.core.isolation import isolated
from streamlib.formats.contract import Decode, Decoded, Encode, Encoded, Failure, Format, no_message
from streamlib.formats.messages import encoder, together
from streamlib.formats.shapes import Shape, schema_of_shape


@dataclass(frozen=True, eq=False)
class RawFormat(Format):
    """Messages as they are, in one column. Made by `raw`."""

    kind: ClassVar[str] = "raw"
    per_record: ClassVar[bool] = False

    column: str
    text: bool

    @property
    def schema(self) -> pa.Schema:
        dtype = pa.string() if self.text else pa.binary()
        return pa.schema([pa.field(self.column, dtype)])

    def decoder(self) -> Decode:
        return partial(_as_they_are, self.schema)

    def encoder(self) -> Encode:
        return lambda rows: Encoded(rows.column(0).cast(pa.binary()), [])

    def __repr__(self) -> str:
        return f"formats.raw({self.column!r}, text={self.text})"


def raw(column: str = "value", *, text: bool = False) -> RawFormat:
    r"""Messages as they are: one column of bytes, or of text. A null stays null.

    Args:
        column: what the column is called.
        text: whether it is text; a message that is no UTF-8 then fails.

    >>> raw(text=True).decoder()(pa.array([b"a", b"\xff"])).rows.to_pylist()
    [{'value': 'a'}]
    """
    return RawFormat(column, text)


def _as_they_are(schema: pa.Schema, messages: pa.Array) -> Decoded:
    failures: list[Failure] = []
    values = messages.cast(pa.binary())
    dtype = schema.field(0).type

    def lost(row: int, error: Exception) -> None:
        failures.append((row, _no_text(values[row].as_py(), error)))

    try:
        found = values.cast(dtype)
    except pa.ArrowInvalid as error:
        parts = isolated(len(values), lambda start, stop: values[start:stop].cast(dtype), error, lost)
        found = pa.concat_arrays([pa.array([], dtype), *parts])
    kept = np.delete(np.arange(len(values)), [row for row, _ in failures])
    return Decoded(pa.RecordBatch.from_arrays([found], schema=schema), kept, failures)


def _no_text(value: bytes, error: Exception) -> StreamlibError:
    return FormatError(
        "this message is no text",
        expected="UTF-8",
        found=f"{shown(value)} ({str(error).splitlines()[0]})",
        remedy="take it as bytes, without text=True, or skip such messages with on_error=",
    )


@dataclass(frozen=True, eq=False)
class ArrowFormat(Format):
    """An Arrow IPC stream in each message. Made by `arrow`."""

    kind: ClassVar[str] = "arrow"
    per_record: ClassVar[bool] = False
    unfolds: ClassVar[bool] = True

    columns: pa.Schema

    @property
    def schema(self) -> pa.Schema:
        return self.columns

    def decoder(self) -> Decode:
        return partial(_read_streams, self.columns)

    def encoder(self) -> Encode:
        return encoder(self.columns, partial(_streams, self.columns))

    def __repr__(self) -> str:
        return f"formats.arrow({self.columns.names})"


def arrow(shape: Shape) -> ArrowFormat:
    """Arrow IPC: in each message a stream of the columns given, with any number of rows.

    Columns are found by name, and have to be of the type; others are ignored. Rows are written one by one,
    a stream each: that is for a consumer which wants Arrow, not for saving bytes.

    Args:
        shape: names and types of the columns, or a class of records.

    Raises:
        DefinitionError: not a shape.

    >>> form = arrow({"id": pa.int64()})
    >>> batch = pa.record_batch({"id": [1, 2]}, schema=form.schema)
    >>> sink = pa.BufferOutputStream()
    >>> with pa.ipc.new_stream(sink, batch.schema) as stream:
    ...     stream.write_batch(batch)
    >>> found = form.decoder()(pa.array([sink.getvalue().to_pybytes(), b"torn"]))
    >>> found.rows.to_pylist(), found.parents.tolist(), [row for row, _ in found.failures]
    ([{'id': 1}, {'id': 2}], [0, 0], [1])
    """
    return ArrowFormat(schema_of_shape(shape, "formats.arrow"))


def _read_streams(schema: pa.Schema, messages: pa.Array) -> Decoded:
    parts: list[pa.RecordBatch] = []
    parents: list[int] = []
    failures: list[Failure] = []
    for number, message in enumerate(messages.cast(pa.binary())):
        try:
            found = _read_stream(schema, message.as_buffer())
        except StreamlibError as error:
            failures.append((number, error))
        else:
            parts += found
            parents += [number] * sum(rows.num_rows for rows in found)
    return Decoded(together(parts, schema), np.array(parents, np.intp), failures)


def _read_stream(schema: pa.Schema, message: pa.Buffer | None) -> list[pa.RecordBatch]:
    if message is None:
        raise no_message("arrow")
    try:
        with pa.ipc.open_stream(message) as stream:
            table = stream.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable("an Arrow IPC stream", str(error).splitlines()[0]) from error
    columns = []
    for field in schema:
        if table.schema.names.count(field.name) != 1 or table.schema.field(field.name).type != field.type:
            raise _unreadable(
                f"a column {field.name!r} of type {field.type}", str(table.schema).replace("\n", ", ")
            )
        if not field.nullable and table.column(field.name).null_count:
            raise _unreadable(f"a value of {field.name!r} in every row", "null")
        columns.append(table.column(field.name))
    return pa.Table.from_arrays(columns, schema=schema).to_batches()


def _unreadable(expected: str, found: str) -> StreamlibError:
    return FormatError(
        "an arrow message can't be read",
        expected=expected,
        found=found,
        remedy="correct who sends it, or skip such messages with on_error=",
    )


def _streams(schema: pa.Schema, rows: pa.RecordBatch) -> pa.Array:
    return pa.array([_stream(schema, rows.slice(i, 1)) for i in range(rows.num_rows)], pa.binary())


def _stream(schema: pa.Schema, rows: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_batch(rows)
    return sink.getvalue().to_pybytes()
