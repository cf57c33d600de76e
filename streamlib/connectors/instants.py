"""Instants as text: those with a year of four digits."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.errors import SinkError

_FIRST, _END = -62_135_596_800, 253_402_300_800  # seconds: the years 1 to 9999
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def check_years(column: Any) -> None:
    """Raise `SinkError` for a timestamp that Arrow would write as a text which is no instant.

    Other columns pass.
    """
    if not pa.types.is_timestamp(column.type):
        return
    bounds = pc.min_max(column.cast(pa.int64())).as_py()
    factor = _PER_SECOND[column.type.unit]
    for value in bounds.values():
        if value is not None and not _FIRST * factor <= value < _END * factor:
            raise SinkError(
                "an instant can't be written as text",
                expected="years from 1 to 9999",
                found=f"{value:,} {column.type.unit} since 1970",
                remedy="filter such rows before the sink, or write Parquet",
            )
