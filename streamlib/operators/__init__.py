"""Operators: plain factories for `toolz.pipe`, the fluent `Stream`, and the contracts for your own."""

from typing import TYPE_CHECKING

from streamlib.core.batch import Batch, concat_batches
from streamlib.core.contracts import (
    Answer,
    Answered,
    Asks,
    Effect,
    Operator,
    OperatorSpec,
    OperatorState,
    StreamType,
)
from streamlib.core.on_demand import on_demand
from streamlib.core.segment import Segment
from streamlib.core.time import MAX_TIME, MIN_TIME
from streamlib.operators.aggregates import count, max, mean, min, sum
from streamlib.operators.factories import (
    WindowedStream,
    aggregate,
    drop,
    filter,
    in_event_time_order,
    key_by,
    rename,
    select,
    split,
    to_changelog,
    top,
    union,
    unkey,
    window,
    with_columns,
)
from streamlib.operators.stream import Stream, read
from streamlib.state.key_groups import key_groups
from streamlib.state.key_slots import KeySlots

if TYPE_CHECKING:
    from streamlib.operators.aggregate_function import AggregateFunction, Argument
    from streamlib.operators.collected import approx_count_distinct, collect, count_distinct
    from streamlib.operators.factories import (
        decode,
        distinct,
        encode,
        explode,
        flat_map,
        fold,
        map,
        map_async,
        map_batches,
        reduce,
        sample,
        stateful_map,
        throttle,
    )
    from streamlib.operators.picks import arg_max, arg_min, first, last
    from streamlib.operators.statistics import median, quantile, std, var
    from streamlib.operators.truths import all, any
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            "streamlib.operators.aggregate_function": ("AggregateFunction", "Argument"),
            "streamlib.operators.collected": ("approx_count_distinct", "collect", "count_distinct"),
            "streamlib.operators.factories": (
                "decode",
                "distinct",
                "encode",
                "explode",
                "flat_map",
                "fold",
                "map",
                "map_async",
                "map_batches",
                "reduce",
                "sample",
                "stateful_map",
                "throttle",
            ),
            "streamlib.operators.picks": ("arg_max", "arg_min", "first", "last"),
            "streamlib.operators.statistics": ("median", "quantile", "std", "var"),
            "streamlib.operators.truths": ("all", "any"),
        },
    )

__all__ = [
    "MAX_TIME",
    "MIN_TIME",
    "AggregateFunction",
    "Answer",
    "Answered",
    "Argument",
    "Asks",
    "Batch",
    "Effect",
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
    "decode",
    "distinct",
    "drop",
    "encode",
    "explode",
    "filter",
    "first",
    "flat_map",
    "fold",
    "in_event_time_order",
    "key_by",
    "key_groups",
    "last",
    "map",
    "map_async",
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
    "unkey",
    "var",
    "window",
    "with_columns",
]
