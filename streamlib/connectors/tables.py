"""Rows as aligned text, for terminals."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

CELL = 40  # characters of one value: four columns fit a wide terminal


def format_table(table: pa.Table | pa.RecordBatch, max_rows: int | None = None, types: bool = False) -> str:
    """The rows as text: names, with `types` their types, then one line per row, cut after `max_rows`.

    Numbers stand right, with up to three decimals; times are ISO 8601 without empty fractions, in
    UTC where they have a time zone; nulls are "-"; long values are cut, control characters escaped.

    >>> print(format_table(pa.table({"auction": [7, 1007], "price": [1.5, None], "by": ["Ada", "Bo"]})))
    auction  price  by
          7    1.5  Ada
       1007      -  Bo
    """
    hidden = 0 if max_rows is None else max(0, table.num_rows - max_rows)
    shown = table.slice(0, table.num_rows - hidden)
    columns = [
        _padded([field.name, *([str(field.type)] if types else [])], cells, is_number(field.type))
        for field, cells in zip(shown.schema, cell_texts(shown), strict=True)
    ]
    lines = pc.binary_join_element_wise(*columns, "  ").to_pylist() if columns else []
    if hidden:
        lines.append(f"… {hidden:,} more rows")
    return "\n".join(line.rstrip() for line in lines)


def cell_texts(table: pa.Table | pa.RecordBatch) -> list[pa.Array]:
    """Every value as `format_table` shows it, column by column, without padding."""
    columns = [table.column(i) for i in range(table.num_columns)]
    plain = [c.combine_chunks() if isinstance(c, pa.ChunkedArray) else c for c in columns]
    return [_cut(_texts(column)) for column in plain]


def is_number(dtype: pa.DataType) -> bool:
    """Whether values of this type stand at the right."""
    return bool(pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_decimal(dtype))


def _padded(head: list[str], cells: pa.Array, right: bool) -> pa.Array:
    """The head and the values, all of one width."""
    texts = pa.concat_arrays([_cut(pa.array(head)), cells])
    width = pc.max(pc.utf8_length(texts)).as_py()
    return pc.utf8_lpad(texts, width) if right else pc.utf8_rpad(texts, width)


def _texts(values: pa.Array) -> pa.Array:
    dtype = values.type
    if pa.types.is_dictionary(dtype):
        return _texts(values.dictionary_decode())
    if pa.types.is_floating(dtype):
        texts = pc.round(values.cast(pa.float64()), 3).cast(pa.string())
    elif pa.types.is_timestamp(dtype):
        texts = _instants(values)
    elif pa.types.is_nested(dtype) or pa.types.is_duration(dtype) or _is_binary(dtype):
        texts = pa.array([None if value is None else str(value) for value in values.to_pylist()], pa.string())
    else:
        texts = values.cast(pa.string())
    return pc.fill_null(texts, "-")


def _is_binary(dtype: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(dtype) or pa.types.is_large_binary(dtype) or pa.types.is_fixed_size_binary(dtype)
    )


def _instants(values: pa.Array) -> pa.Array:
    if values.type.tz is not None:
        values = values.cast(pa.timestamp(values.type.unit, "UTC"))
    texts = pc.replace_substring(values.cast(pa.string()), " ", "T")
    texts = pc.replace_substring_regex(texts, r"(\.[0-9]*?)0+(Z?)$", r"\1\2")
    return pc.replace_substring_regex(texts, r"\.(Z?)$", r"\1")


def _cut(texts: pa.Array) -> pa.Array:
    # A value from outside must not move the cursor or ring the bell.
    texts = pc.replace_substring(texts, "\n", "\\n")
    texts = pc.replace_substring_regex(texts, r"[[:cntrl:]]", "\ufffd")
    short = pc.binary_join_element_wise(pc.utf8_slice_codeunits(texts, 0, CELL - 1), "…", "")
    return pc.if_else(pc.greater(pc.utf8_length(texts), CELL), short, texts)
