"""Rows given in Python: frames, Arrow data and lists of records become one Arrow table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import pyarrow as pa

from streamlib.connectors.schemas import plain, recast
from streamlib.core.batch import schema_of
from streamlib.core.errors import DefinitionError, TypeMismatchError, UnknownColumnError, shown
from streamlib.core.hints import is_record_class, record_class
from streamlib.core.python_values import UNFIT, first_unfit, from_python
from streamlib.core.record_columns import RecordWriter


@runtime_checkable
class ArrowStream(Protocol):
    """Rows of another library: pandas and Polars frames, DuckDB relations, pyarrow tables and readers."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


@runtime_checkable
class ArrowArray(Protocol):
    """One batch of rows of another library, such as a pyarrow RecordBatch."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...


Record: TypeAlias = Mapping[str, Any]
"""One row: column names and values. A missing column is null."""
Rows: TypeAlias = ArrowStream | ArrowArray | Sequence[Any]
"""Rows in Arrow, or a list of records: dicts, or objects of a dataclass or msgspec.Struct."""
Columns: TypeAlias = pa.Schema | Mapping[str, pa.DataType] | type
"""Names and types of columns, or a class of records (dataclass, TypedDict, msgspec.Struct)."""


def columns_of(schema: Columns) -> pa.Schema:
    """The columns that a `schema=` argument means."""
    if isinstance(schema, type):
        return plain(record_class(schema).schema())
    return plain(schema_of(schema))


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
    if is_arrow(rows):
        table = _arrow(rows)
        return _cast(table, schema or plain(table.schema)).combine_chunks()
    if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Sequence):
        raise _not_rows(rows)
    return from_records(rows, schema)


def is_arrow(rows: object) -> bool:
    """Whether these are rows in Arrow's memory format."""
    return isinstance(rows, ArrowStream | ArrowArray) and not isinstance(rows, type)


def _arrow(rows: Any) -> pa.Table:
    """The rows as a table that shares their memory; a stream that can be read once is read."""
    if _is_pandas(rows):
        _check_doubled([str(name) for name in rows.columns])
    try:
        table = _pandas(rows) if _is_pandas(rows) else pa.table(rows)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise (_not_arrow(rows, error) if _is_pandas(rows) else _not_rows(rows)) from error
    _check_doubled(table.schema.names)
    return table


def _check_doubled(names: Sequence[str]) -> None:
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise DefinitionError(
            f"several columns are called {min(doubled)!r}",
            expected="a name of its own for every column",
            found=", ".join(names),
            remedy="rename or drop columns first",
        )


def _not_arrow(rows: object, error: Exception) -> DefinitionError:
    """Arrow says which column it was, and which value."""
    return DefinitionError(
        f"this {type(rows).__name__} can't become Arrow columns",
        expected="one type of values in each column",
        found="; ".join(str(argument) for argument in error.args),
        remedy="convert that column, for example frame.astype({name: str})",
    )


def _is_pandas(rows: Any) -> bool:
    return type(rows).__module__.split(".")[0] == "pandas" and type(rows).__name__ == "DataFrame"


def _pandas(frame: Any) -> pa.Table:
    """A pandas frame with its index, if that has names; Arrow's stream of it would drop it silently."""
    named = [name is not None for name in frame.index.names]
    table = pa.Table.from_pandas(frame, preserve_index=any(named))
    return table.select([name for name in table.schema.names if not name.startswith("__index_level_")])


def from_records(records: Sequence[Any], schema: pa.Schema | None) -> pa.Table:
    """Dicts, or objects of one class of records, as a table. Raises as `as_table` does."""
    odd = next((record for record in records if not isinstance(record, Mapping)), None)
    if odd is not None and not is_record_class(type(odd)):
        raise _not_rows(odd)
    if odd is not None:
        return _from_objects(records, type(odd), schema)
    return _from_dicts(records, schema) if schema is not None else _inferred(records)


def _from_objects(objects: Sequence[Any], cls: type, schema: pa.Schema | None) -> pa.Table:
    record = record_class(cls)
    writer = RecordWriter(record)
    writer.check(objects, "the rows", lambda row: f"row {row}")
    wanted: pa.Schema = schema or plain(record.schema())
    unknown = set(record.names) ^ set(wanted.names)
    if unknown:
        raise UnknownColumnError.of(min(unknown), wanted.names)
    return _columns(wanted, [writer.values(name, objects) for name in wanted.names])


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    missing = [name for name in schema.names if name not in table.schema.names]
    if missing:
        raise UnknownColumnError.of(missing[0], table.schema.names)
    try:
        columns = [_recast(table.column(field.name), field.type) for field in schema]
    except pa.ArrowException as error:
        raise _misfit(error) from error
    return pa.Table.from_arrays(columns, schema=schema)


def _recast(column: pa.ChunkedArray, dtype: pa.DataType) -> pa.ChunkedArray:
    if column.type == dtype:
        return column
    return pa.chunked_array([recast(chunk, dtype) for chunk in column.chunks], dtype)


def _from_dicts(records: Sequence[Record], schema: pa.Schema) -> pa.Table:
    unknown = set[str]().union(*records) - set(schema.names)  # Arrow would drop them silently
    if unknown:
        raise UnknownColumnError.of(min(unknown), schema.names)
    return _columns(schema, [[record.get(name) for record in records] for name in schema.names])


def _columns(schema: pa.Schema, values: Sequence[list[Any]]) -> pa.Table:
    return pa.Table.from_arrays([_column(*pair) for pair in zip(schema, values, strict=True)], schema=schema)


def _column(field: pa.Field, values: list[Any]) -> pa.Array:
    try:
        return from_python(values, field)
    except UNFIT as error:
        row = first_unfit(values, field)
        where = "" if row is None else f"{shown(values[row])} in row {row}, column {field.name!r}: "
        raise _misfit(error, where) from error


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


def _misfit(error: Exception, where: str = "") -> TypeMismatchError:
    return TypeMismatchError(
        "a value does not fit its column",
        expected="one type per column, the one in `schema=` where given",
        found=where + str(error).splitlines()[0],
        remedy="correct the value, or give the column another type in schema=",
    )


def _not_rows(found: object) -> DefinitionError:
    return DefinitionError(
        "these are not rows",
        expected="a frame or table of pandas, Polars, DuckDB or pyarrow, or a list of dicts or records",
        found=f"{type(found).__name__}: {shown(found)}",
        remedy="convert it: columns by pa.table(...), a lazy frame by .collect()",
    )
