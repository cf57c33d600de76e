"""Operators: plain factories for `toolz.pipe`, the fluent `Stream`, and the contracts for your own."""

from streamlib.core.batch import Batch, concat_batches
from streamlib.core.contracts import Operator, OperatorSpec, OperatorState, StreamType
from streamlib.core.segment import Segment
from streamlib.core.time import MAX_TIME, MIN_TIME
from streamlib.operators.aggregate_function import AggregateFunction, Argument
from streamlib.operators.aggregates import count, max, mean, min, sum
from streamlib.operators.collected import approx_count_distinct, collect, count_distinct
from streamlib.operators.factories import (
    WindowedStream,
    aggregate,
    distinct,
    drop,
    explode,
    filter,
    flat_map,
    fold,
    key_by,
    map,
    map_batches,
    reduce,
    rename,
    sample,
    select,
    split,
    stateful_map,
    throttle,
    to_changelog,
    top,
    union,
    window,
    with_columns,
)
from streamlib.operators.picks import arg_max, arg_min, first, last
from streamlib.operators.statistics import median, quantile, std, var
from streamlib.operators.stream import Stream, read
from streamlib.operators.truths import all, any
from streamlib.state.key_groups import key_groups
from streamlib.state.key_slots import KeySlots

__all__ = [
    "MAX_TIME",
    "MIN_TIME",
    "AggregateFunction",
    "Argument",
    "Batch",
    "KeySlots",
    "Operator",
    "OperatorSpec",
    "OperatorState",
    "Segment",
    "Stream",
    "StreamType",
    "WindowedStream",
    "aggregate",
    "all",
    "any",
    "approx_count_distinct",
    "arg_max",
    "arg_min",
    "collect",
    "concat_batches",
    "count",
    "count_distinct",
    "distinct",
    "drop",
    "explode",
    "filter",
    "first",
    "flat_map",
    "fold",
    "key_by",
    "key_groups",
    "last",
    "map",
    "map_batches",
    "max",
    "mean",
    "median",
    "min",
    "quantile",
    "read",
    "reduce",
    "rename",
    "sample",
    "select",
    "split",
    "stateful_map",
    "std",
    "sum",
    "throttle",
    "to_changelog",
    "top",
    "union",
    "var",
    "window",
    "with_columns",
]
