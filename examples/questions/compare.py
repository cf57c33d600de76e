"""Tables of three engines, brought to one form, compared and shown."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

CLOSE = 1e-9  # floats: engines add in different orders


def in_order(table: pa.Table) -> pa.Table:
    """The same rows with plain types, sorted by all columns that are exact."""
    plain = table.cast(pa.schema([pa.field(field.name, _plain(field.type)) for field in table.schema]))
    exact = [field.name for field in plain.schema if not pa.types.is_floating(field.type)]
    return plain.sort_by([(name, "ascending") for name in exact])


def _plain(dtype: pa.DataType) -> pa.DataType:
    if pa.types.is_integer(dtype):
        return pa.int64()
    if pa.types.is_timestamp(dtype):
        return pa.timestamp("us", "UTC")
    return pa.string() if pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype) else dtype


def same(left: pa.Table, right: pa.Table) -> bool:
    """Whether both hold the same rows, floats within 1e-9 of each other."""
    if left.schema.names != right.schema.names or left.num_rows != right.num_rows:
        return False
    return all(_same(left[name], right[name]) for name in left.schema.names)


def _same(left: pa.ChunkedArray, right: pa.ChunkedArray) -> bool:
    if not pa.types.is_floating(left.type):
        return left.combine_chunks().equals(right.combine_chunks())
    return np.allclose(left.to_numpy(), right.to_numpy(), rtol=CLOSE, atol=CLOSE, equal_nan=True)


def show(table: pa.Table, rows: int) -> None:
    """Print the first rows."""
    hidden = table.num_rows - rows
    with pl.Config(
        tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, tbl_formatting="NOTHING", tbl_cols=-1
    ):
        print(pl.from_arrow(table.slice(0, rows)))
    if hidden > 0:
        print(f"... and {hidden:,} more")
