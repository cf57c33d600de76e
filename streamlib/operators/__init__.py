"""Operators: plain factories for `toolz.pipe`, and the fluent `Stream` with the same names."""

from streamlib.operators.aggregates import count, max, mean, min, sum
from streamlib.operators.factories import (
    WindowedStream,
    aggregate,
    filter,
    key_by,
    map,
    map_batches,
    select,
    split,
    union,
    window,
    with_columns,
)
from streamlib.operators.stream import Stream, read

__all__ = [
    "Stream",
    "WindowedStream",
    "aggregate",
    "count",
    "filter",
    "key_by",
    "map",
    "map_batches",
    "max",
    "mean",
    "min",
    "read",
    "select",
    "split",
    "sum",
    "union",
    "window",
    "with_columns",
]
