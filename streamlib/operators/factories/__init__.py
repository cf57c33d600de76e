"""The operators as plain factories: each returns a transform, a function from stream to stream.

`toolz.pipe(bids, op.filter(col("price") > 100), op.key_by("auction"))` and the fluent
`bids.filter(col("price") > 100).key_by("auction")` call the same code. A custom operator is a
composition of transforms, for example by `toolz.compose_left`.
"""

from typing import TYPE_CHECKING

from streamlib.core.on_demand import on_demand
from streamlib.operators.factories.columns import drop, filter, rename, select, split, with_columns
from streamlib.operators.factories.common import SchemaSpec, Transform
from streamlib.operators.factories.streams import in_event_time_order, key_by, to_changelog, union, unkey
from streamlib.operators.factories.windowing import WindowedStream, aggregate, top, window

if TYPE_CHECKING:
    from streamlib.operators.factories.functions import flat_map, map, map_async, map_batches
    from streamlib.operators.factories.limiting import distinct, sample, throttle
    from streamlib.operators.factories.messages import decode, encode
    from streamlib.operators.factories.stateful import fold, reduce, stateful_map
    from streamlib.operators.factories.unfolding import explode
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            "streamlib.operators.factories.functions": ("flat_map", "map", "map_async", "map_batches"),
            "streamlib.operators.factories.limiting": ("distinct", "sample", "throttle"),
            "streamlib.operators.factories.messages": ("decode", "encode"),
            "streamlib.operators.factories.stateful": ("fold", "reduce", "stateful_map"),
            "streamlib.operators.factories.unfolding": ("explode",),
        },
    )

__all__ = [
    "SchemaSpec",
    "Transform",
    "WindowedStream",
    "aggregate",
    "decode",
    "distinct",
    "drop",
    "encode",
    "explode",
    "filter",
    "flat_map",
    "fold",
    "in_event_time_order",
    "key_by",
    "map",
    "map_async",
    "map_batches",
    "reduce",
    "rename",
    "sample",
    "select",
    "split",
    "stateful_map",
    "throttle",
    "to_changelog",
    "top",
    "union",
    "unkey",
    "window",
    "with_columns",
]
