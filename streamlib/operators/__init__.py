"""Operators: plain factories for `toolz.pipe`, the fluent `Stream`, and the contracts for your own."""

from streamlib.core.batch import Batch
from streamlib.core.contracts import Operator, OperatorSpec, OperatorState, StreamType
from streamlib.operators.aggregate_function import AggregateFunction, Argument
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
    to_changelog,
    union,
    window,
    with_columns,
)
from streamlib.operators.stream import Stream, read

__all__ = [
    "AggregateFunction",
    "Argument",
    "Batch",
    "Operator",
    "OperatorSpec",
    "OperatorState",
    "Stream",
    "StreamType",
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
    "to_changelog",
    "union",
    "window",
    "with_columns",
]
