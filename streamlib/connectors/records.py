"""Rows given in Python: tables, batches and lists of dicts become one Arrow table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa

from streamlib.connectors.schemas import plain
from streamlib.core.errors import DefinitionError, TypeMismatchError, UnknownColumnError, shown

Record: TypeAlias = Mapping[str, Any]
"""One row: column names and values. A missing column is null."""
Rows: TypeAlias = pa.Table | pa.RecordBatch | Sequence[Record]
"""Rows in Arrow, or as a list of records."""


def as_table(rows: Rows, schema: pa.Schema | None = None) -> pa.Table:
    """The rows as a table with `schema`, or with the schema they have or show.

    Arrow data is not copied unless `schema` asks for a cast or it comes in several chunks.

    Raises:
        DefinitionError: not rows, or a schema that can't be told from them.
        UnknownColumnError: a column is in `schema` and not in a table, or in a record and not in
            `schema`.
        TypeMismatchError: a value does not fit its column.

    >>> as_table([{"id": 1}, {"id": 2, "tag": "x"}]).to_pydict()
    {'id': [1, 2], 'tag': [None, 'x']}
    """
    given: Any = rows
    if isinstance(given, pa.RecordBatch):
        given = pa.Table.from_batches([given])
    if isinstance(given, pa.Table):
        return _cast(given, schema or plain(given.schema)).combine_chunks()
    if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Sequence):
        raise _not_rows(rows)
    if any(not isinstance(record, Mapping) for record in rows):
        raise _not_rows(next(record for record in rows if not isinstance(record, Mapping)))
    return _from_records(rows, schema) if schema is not None else _inferred(rows)


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    missing = [name for name in schema.names if name not in table.schema.names]
    if missing:
        raise UnknownColumnError.of(missing[0], table.schema.names)
    try:
        return table.select(schema.names).cast(schema)
    except pa.ArrowException as error:
        raise _misfit(error) from error


def _from_records(records: Sequence[Record], schema: pa.Schema) -> pa.Table:
    unknown = set[str]().union(*records) - set(schema.names)  # Arrow would drop them silently
    if unknown:
        raise UnknownColumnError.of(min(unknown), schema.names)
    try:
        structs = pa.array(records, pa.struct(list(schema)))
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise _misfit(error) from error
    return pa.Table.from_batches([pa.RecordBatch.from_struct_array(structs)], schema=schema)


def _inferred(records: Sequence[Record]) -> pa.Table:
    if not any(records):
        raise DefinitionError(
            "the schema can't be told from no rows",
            expected="at least one record with a value, or `schema=`",
            found=shown(records),
            remedy='say it, for example schema={"id": pa.int64()}',
        )
    try:
        structs = pa.array(records)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise _misfit(error) from error
    empty = [field.name for field in structs.type if pa.types.is_null(field.type)]
    if empty:
        raise DefinitionError(
            f"the type of column {empty[0]!r} can't be told from nulls",
            expected="a value in some record, or `schema=`",
            found="None in every record",
            remedy=f'say it, for example schema={{"{empty[0]}": pa.string(), ...}}',
        )
    return pa.Table.from_batches([pa.RecordBatch.from_struct_array(structs)])


def _misfit(error: Exception) -> TypeMismatchError:
    return TypeMismatchError(
        "a value does not fit its column",
        expected="one type per column, the one in `schema=` where given",
        found=str(error).splitlines()[0],
        remedy="correct the value, or give the column another type in schema=",
    )


def _not_rows(found: object) -> DefinitionError:
    return DefinitionError(
        "these are not rows",
        expected="a pyarrow Table or RecordBatch, or a list of dicts",
        found=f"{type(found).__name__}: {shown(found)}",
        remedy="convert it, for example with pa.table(...): it takes columns, pandas and Polars frames",
    )
