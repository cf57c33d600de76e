"""Expressions on a few plain values: to try them out, and for tests of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from streamlib.core.batch import Batch, as_arrow
from streamlib.core.contracts import StreamType
from streamlib.core.expressions.ast import Expr
from streamlib.core.expressions.binding import bind


def evaluate(expr: Expr, **columns: Sequence[Any] | pa.Array) -> list[Any]:
    """The values of an expression on a few rows, as Python values; columns are lists or Arrow arrays.

    Raises what binding and computing raise, as in a flow.

    >>> from streamlib.core.expressions import col
    >>> evaluate(col("price") * 2, price=[1, None])
    [2, None]
    """
    arrays = {n: v if isinstance(v, pa.Array) else pa.array(v) for n, v in columns.items()}
    rows = pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))
    bound = bind(expr, StreamType(rows.schema))
    return as_arrow(bound.evaluate(Batch.from_arrow(rows)), bound.dtype).to_pylist()
