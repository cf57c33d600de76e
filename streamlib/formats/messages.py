"""Messages with one record each: read one by one in C, made into columns all together.

Only where a column can't be made of all records are they cut into halves, until those that fail are alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from streamlib.core.errors import FormatError, StreamlibError, shown
from streamlib.core.isolation import isolated
from streamlib.core.python_values import UNFIT
from streamlib.formats.contract import Decoded, Encoded, Failure, no_message

Explain = Callable[[Exception, Any], StreamlibError]
"""What to tell of an error and the message at which it was raised."""


def decoder(
    schema: pa.Schema,
    parse: Callable[[bytes], Any],
    rows: Callable[[Sequence[Any]], pa.RecordBatch],
    explain: Explain,
    errors: tuple[type[Exception], ...],
    kind: str,
) -> Callable[[pa.Array], Decoded]:
    """The `Decode` of a format.

    Args:
        schema: the columns.
        parse: a record of a message, raising one of `errors`.
        rows: the columns of many records, raising `FormatError`.
        explain: the error to tell of what `parse` raised.
        errors: what `parse` raises for messages that are wrong.
        kind: what the format is called.
    """

    def decode(messages: pa.Array) -> Decoded:
        values = messages.to_pylist()
        records, failures = _parsed(values)
        failed = {row for row, _ in failures}
        numbers = [i for i in range(len(values)) if i not in failed] if failed else range(len(values))
        found = _rows(records, numbers, failures)
        kept = np.delete(np.arange(len(values)), [row for row, _ in failures])
        return Decoded(found, kept, sorted(failures, key=lambda failure: failure[0]))

    def _parsed(values: list[Any]) -> tuple[list[Any], list[Failure]]:
        records: list[Any] = []
        failures: list[Failure] = []
        messages = iter(values)
        while len(records) + len(failures) < len(values):
            try:
                records.extend(map(parse, messages))  # what came before a failure is kept
            except errors as error:
                row = len(records) + len(failures)
                message = values[row]
                failures.append((row, no_message(kind) if message is None else explain(error, message)))
        return records, failures

    def _rows(records: list[Any], numbers: Sequence[int], failures: list[Failure]) -> pa.RecordBatch:
        def lost(row: int, error: Exception) -> None:
            if not isinstance(error, StreamlibError):
                raise error
            failures.append((numbers[row], error))

        try:
            return rows(records)
        except StreamlibError as error:
            parts = isolated(len(records), lambda start, stop: rows(records[start:stop]), error, lost)
            return together(list(parts), schema)

    return decode


def together(parts: Sequence[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """The rows of all parts."""
    table = pa.Table.from_batches(parts, schema=schema).combine_chunks()
    return (
        table.to_batches()[0]
        if table.num_rows
        else pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
    )


def encoder(
    schema: pa.Schema, messages: Callable[[pa.RecordBatch], pa.Array]
) -> Callable[[pa.RecordBatch], Encoded]:
    """The `Encode` of a format: `messages` makes those of many rows; it raises `FormatError` or `UNFIT`."""
    required = [field.name for field in schema if not field.nullable]

    def attempt(rows: pa.RecordBatch) -> pa.Array:
        for name in required:
            if rows.column(name).null_count:
                raise _null(name, str(schema.field(name).type))
        try:
            return messages(rows)
        except UNFIT as error:
            if isinstance(error, StreamlibError):
                raise
            raise _unwritable(rows, error) from error

    def encode(rows: pa.RecordBatch) -> Encoded:
        failures: list[Failure] = []
        try:
            return Encoded(attempt(rows), failures)
        except StreamlibError as error:
            parts = isolated(
                rows.num_rows,
                lambda start, stop: attempt(rows.slice(start, stop - start)),
                error,
                partial(_failed, failures),
            )
            return Encoded(pa.concat_arrays(list(parts)), failures)

    return encode


def _failed(failures: list[Failure], row: int, error: Exception) -> pa.Array:
    if not isinstance(error, StreamlibError):
        raise error
    failures.append((row, error))
    return pa.nulls(1, pa.binary())


def _null(name: str, dtype: str) -> StreamlibError:
    return FormatError(
        f"the field {name!r} can't be null in a message",
        expected=dtype,
        found="null",
        remedy="fill it (`fill_null`), filter such rows out, or hint the field as `| None`",
    )


def _unwritable(rows: pa.RecordBatch, error: Exception) -> StreamlibError:
    return FormatError(
        "a record can't be written as a message",
        expected="values that the format can hold",
        found=f"{_first(rows)}: {str(error).splitlines()[0]}",
        remedy="convert the column before",
    )


def _first(rows: pa.RecordBatch) -> str:
    try:
        return shown(rows.slice(0, 1).to_pylist()[0])
    except (OverflowError, ValueError):  # a moment that Python does not know
        return f"a record of {', '.join(rows.schema.names)}"
