"""Schemas as connectors need them: compared, stripped of what rows don't depend on, and written as code."""

from __future__ import annotations

import pyarrow as pa

from streamlib.core.errors import did_you_mean

_CODE = {
    "bool": "pa.bool_()",
    "float": "pa.float32()",
    "double": "pa.float64()",
    "halffloat": "pa.float16()",
    "date32[day]": "pa.date32()",
    "date64[ms]": "pa.date64()",
    "null": "pa.string()",  # nothing but nulls was seen: text takes whatever comes
}
_VIEWS = {"string_view": pa.string(), "binary_view": pa.binary()}


def plain(schema: pa.Schema) -> pa.Schema:
    """Names and types only: without metadata, and every column nullable.

    Writers differ in both for the same rows, and neither changes what an operator computes. Views of
    strings and bytes become plain ones: Arrow has few kernels for views.

    >>> plain(pa.schema([pa.field("id", pa.int64(), nullable=False)], metadata={"by": "spark"}))
    id: int64
    """
    return pa.schema([pa.field(field.name, _without_views(field.type)) for field in schema])


def _without_views(dtype: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(dtype):
        return pa.dictionary(dtype.index_type, _without_views(dtype.value_type), dtype.ordered)
    if pa.types.is_large_list(dtype):
        return pa.large_list(_field_without_views(dtype.value_field))
    if pa.types.is_list(dtype):
        return pa.list_(_field_without_views(dtype.value_field))
    if pa.types.is_struct(dtype):
        return pa.struct([_field_without_views(dtype.field(i)) for i in range(dtype.num_fields)])
    return _VIEWS.get(str(dtype), dtype)


def _field_without_views(field: pa.Field) -> pa.Field:
    plain_type = _without_views(field.type)
    return field if plain_type == field.type else field.with_type(plain_type)


def recast(column: pa.Array, dtype: pa.DataType) -> pa.Array:
    """The column as `dtype`: as Arrow casts, and dictionaries of other values too."""
    if column.type == dtype:
        return column
    if pa.types.is_dictionary(column.type) and pa.types.is_dictionary(dtype):
        words = recast(column.dictionary, dtype.value_type)
        return pa.DictionaryArray.from_arrays(
            column.indices.cast(dtype.index_type), words, ordered=dtype.ordered
        )
    return column.cast(dtype)


def conform(rows: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The same rows with exactly `schema`, by name; shares all buffers but those of views."""
    if rows.schema.equals(schema, check_metadata=True):
        return rows
    columns = [rows.column(field.name) for field in schema]
    fitted = [recast(c, f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(fitted, schema=schema)


def difference(expected: pa.Schema, found: pa.Schema) -> tuple[str, str] | None:
    """The first column in which two schemas differ, as it was expected and as it was found.

    The order of columns does not count. None where they agree.

    >>> difference(pa.schema({"price": pa.float64()}), pa.schema({"price": pa.string()}))
    ("column 'price' of type double", "column 'price' of type string")
    """
    for field in expected:
        if field.name not in found.names:
            hint = did_you_mean(field.name, found.names)
            return _described(field), f"no column {field.name!r}" + (f" ({hint})" if hint else "")
        if found.field(field.name).type != field.type:
            return _described(field), _described(found.field(field.name))
    for field in found:
        if field.name not in expected.names:
            return f"no column {field.name!r}", _described(field)
    return None


def _described(field: pa.Field) -> str:
    return f"column {field.name!r} of type {field.type}"


def schema_line(schema: pa.Schema) -> str:
    """The `schema=` argument to paste into code.

    >>> print(schema_line(pa.schema({"id": pa.int64(), "at": pa.timestamp("us", "UTC")})))
    schema={"id": pa.int64(), "at": pa.timestamp("us", "UTC")}
    """
    columns = ", ".join(f"{_quoted(field.name)}: {_code(field.type)}" for field in schema)
    return f"schema={{{columns}}}"


def _code(dtype: pa.DataType) -> str:
    if pa.types.is_timestamp(dtype):
        zone = f", {_quoted(dtype.tz)}" if dtype.tz is not None else ""
        return f"pa.timestamp({_quoted(dtype.unit)}{zone})"
    if pa.types.is_time32(dtype) or pa.types.is_time64(dtype):
        return f"pa.time{dtype.bit_width}({_quoted(dtype.unit)})"
    if pa.types.is_duration(dtype):
        return f"pa.duration({_quoted(dtype.unit)})"
    if pa.types.is_decimal(dtype):
        return f"pa.{str(dtype).partition('(')[0]}({dtype.precision}, {dtype.scale})"
    if pa.types.is_list(dtype):
        return f"pa.list_({_code(dtype.value_type)})"
    if pa.types.is_struct(dtype):
        fields = ", ".join(f"{_quoted(field.name)}: {_code(field.type)}" for field in dtype)
        return f"pa.struct({{{fields}}})"
    return _CODE.get(str(dtype), f"pa.{dtype}()")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
