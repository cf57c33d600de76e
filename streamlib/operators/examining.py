"""What aggregates evaluate of each row, tried before it can touch a state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from streamlib.core.batch import Batch
from streamlib.core.contracts import StreamType
from streamlib.core.expressions import Bound, Expr, bind
from streamlib.core.expressions.ast import Column
from streamlib.operators.bound_aggregate import Aggregate
from streamlib.operators.conditions import bound_condition, true_rows
from streamlib.operators.filtered import Filtered


def examiner(
    aggregates: Iterable[tuple[str, Aggregate]], stream: StreamType
) -> Callable[[Batch], None] | None:
    """What raises for rows at which an argument or a filter fails; None where nothing can."""
    found = [each for _, aggregate in aggregates for each in _examined(aggregate, stream)]

    def examine(batch: Batch) -> None:
        for condition, argument in found:
            rows = batch
            if condition is not None:
                rows = batch.take(np.flatnonzero(true_rows(condition, batch)))
            if argument is not None and rows.num_rows:
                argument.evaluate(rows)

    return examine if found else None


def _examined(aggregate: Aggregate, stream: StreamType) -> Iterator[tuple[Bound | None, Bound | None]]:
    """Expressions, each with the condition that chooses its rows. A plain column can't fail."""
    if isinstance(aggregate, Filtered):
        condition = bound_condition(aggregate.condition, stream)
        yield condition, None
        for _, argument in _examined(aggregate.aggregate, stream):
            yield condition, argument
        return
    for expression in _expressions(vars(aggregate).values()):
        if not isinstance(expression, Column):
            yield None, bind(expression, stream)


def _expressions(values: Iterable[Any]) -> Iterator[Expr]:
    for value in values:
        if isinstance(value, Expr):
            yield value
        elif isinstance(value, tuple | list):
            yield from _expressions(value)
