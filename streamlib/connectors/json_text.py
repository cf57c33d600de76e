"""Columns as JSON text, whole columns at a time.

Texts are escaped, instants and durations are ISO 8601 (UTC where they have a zone), floats that are no
numbers are null: JSON has none of them. `formats.json` reads all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.connectors.instants import check_years
from streamlib.core.errors import SinkError
from streamlib.formats.moments import iso_texts

_TEXT = pa.large_string()
_SPECIAL = r'["\\\x00-\x1f]'
# The backslash comes first: the others bring new ones.
_ESCAPES = [("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")]
_CONTROLS = [(chr(code), f"\\u{code:04x}") for code in range(32) if chr(code) not in "\n\r\t"]


def json_lines(rows: pa.RecordBatch) -> pa.Buffer:
    """The rows as objects, each on a line of its own."""
    lines = _objects(rows.columns, rows.schema.names, "}\n")
    offsets = lines.buffers()[1]
    first, last = (memoryview(offsets).cast("q")[i + lines.offset] for i in (0, len(lines)))
    return lines.buffers()[2][first:last] if len(lines) else pa.py_buffer(b"")


def check_json(schema: pa.Schema) -> None:
    """Raise `SinkError` for a column that has no JSON form."""
    for field in schema:
        if not _has_text(field.type):
            raise SinkError(
                f"JSON can't hold the column {field.name!r}",
                expected="numbers, texts, booleans, dates, times; lists, structs and maps by texts of these",
                found=f"type {field.type}",
                remedy="cast or drop it before the sink, or write Parquet",
            )


def _has_text(dtype: pa.DataType) -> bool:
    if pa.types.is_dictionary(dtype):
        return _has_text(dtype.value_type)
    if pa.types.is_map(dtype):
        return _is_text(dtype.key_type) and _has_text(dtype.item_type)
    if _is_list(dtype):
        return _has_text(dtype.value_type)
    if pa.types.is_struct(dtype):
        return all(_has_text(field.type) for field in dtype.fields)
    known = (pa.types.is_null, pa.types.is_boolean, pa.types.is_primitive, pa.types.is_decimal, _is_text)
    return any(is_it(dtype) for is_it in known) and not pa.types.is_interval(dtype)


def _is_list(dtype: pa.DataType) -> bool:
    return pa.types.is_list(dtype) or pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype)


def _is_text(dtype: pa.DataType) -> bool:
    return pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype)


def _texts(column: pa.Array) -> pa.Array:
    """The JSON text of every value."""
    return pc.coalesce(_known(column), _text("null"))


def _known(column: pa.Array) -> pa.Array:
    """The JSON text of every value that is not null; null for the others."""
    dtype = column.type
    if pa.types.is_dictionary(dtype):
        return _known(column.dictionary_decode())
    if pa.types.is_map(dtype):
        return _map(column)
    if _is_list(dtype):
        return _joined("[", _list(column, _texts(column.flatten())), "]")
    if pa.types.is_struct(dtype):
        names = [field.name for field in dtype.fields]
        return _where(column, _objects(column.flatten(), names, "}"))
    if pa.types.is_floating(dtype):
        return _float(column)
    if pa.types.is_duration(dtype):
        return _duration(column)
    if pa.types.is_timestamp(dtype):
        check_years(column)
        return _quoted(iso_texts(column).cast(_TEXT))
    if pa.types.is_temporal(dtype):
        return _quoted(column.cast(_TEXT))
    return _escaped(column.cast(_TEXT)) if _is_text(dtype) else column.cast(_TEXT)


def _objects(columns: Sequence[pa.Array], names: Sequence[str], end: str) -> pa.Array:
    begins = chain("{", "," * (len(names) - 1))
    keys = [
        _text(f"{begin}{msgspec.json.encode(name).decode()}:")
        for begin, name in zip(begins, names, strict=True)
    ]
    parts = chain.from_iterable(zip(keys, map(_texts, columns), strict=True))
    return pc.binary_join_element_wise(*parts, _text(end), _text(""))


def _float(column: pa.Array) -> pa.Array:
    texts = pc.if_else(pc.is_finite(column), column.cast(_TEXT), None)
    whole = pc.match_substring_regex(texts, r"^-?\d+$")  # 1.0 stays a float for whoever guesses types
    return pc.if_else(whole, _joined("", texts, ".0"), texts)


def _duration(column: pa.Array) -> pa.Array:
    """Seconds with the digits of the unit, such as `-PT1.500000S`."""
    digits = {"s": 0, "ms": 3, "us": 6, "ns": 9}[column.type.unit]
    values = column.cast(pa.int64())
    size = pc.abs_checked(values)
    seconds = pc.divide(size, 10**digits)
    rest = pc.utf8_lpad(pc.subtract(size, pc.multiply(seconds, 10**digits)).cast(_TEXT), digits, "0")
    sign = pc.if_else(pc.less(values, 0), _text('"-PT'), _text('"PT'))
    point = _text("." if digits else "")
    parts = [sign, seconds.cast(_TEXT), point, rest] if digits else [sign, seconds.cast(_TEXT)]
    return pc.binary_join_element_wise(*parts, _text('S"'), _text(""))


def _escaped(texts: pa.Array) -> pa.Array:
    special = pc.match_substring_regex(texts, _SPECIAL)
    if pc.any(special).as_py():
        for character, escape in _ESCAPES:
            texts = pc.replace_substring(texts, character, escape)
        if pc.any(pc.match_substring_regex(texts, r"[\x00-\x1f]")).as_py():
            for character, escape in _CONTROLS:
                texts = pc.replace_substring(texts, character, escape)
    return _quoted(texts)


def _quoted(texts: pa.Array) -> pa.Array:
    return _joined('"', texts, '"')


def _joined(before: str, texts: pa.Array, after: str) -> pa.Array:
    return pc.binary_join_element_wise(_text(before), texts, _text(after), _text(""))


def _list(column: pa.Array, elements: pa.Array) -> pa.Array:
    """For each list its elements, one behind the other, with commas between."""
    lengths = pc.coalesce(pc.list_value_length(column).cast(pa.int64()), pa.scalar(0, pa.int64()))
    ends = pc.cumulative_sum(lengths)
    offsets = pa.concat_arrays([pa.array([0], pa.int64()), ends]).cast(pa.int32())
    return _where(column, pc.binary_join(pa.ListArray.from_arrays(offsets, elements), _text(",")))


def _map(column: pa.Array) -> pa.Array:
    lists = column.cast(
        pa.list_(pa.struct([("key", column.type.key_type), ("value", column.type.item_type)]))
    )
    entries = lists.flatten()
    keys, values = _known(entries.field(0)), _texts(entries.field(1))
    pairs = pc.binary_join_element_wise(keys, values, _text(":"))
    return _joined("{", _list(lists, pairs), "}")


def _where(column: pa.Array, texts: pa.Array) -> pa.Array:
    return pc.if_else(column.is_valid(), texts, None) if column.null_count else texts


def _text(text: str) -> Any:
    return pa.scalar(text, _TEXT)
