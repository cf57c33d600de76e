"""`any` and `all`: how many rows are true, and how many are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Batch, Column
from streamlib.core.contracts import StreamType
from streamlib.core.expressions import Expr, columns
from streamlib.operators.aggregates import StateColumn
from streamlib.operators.arguments import argument, values_of
from streamlib.operators.bound_aggregate import Aggregate, BoundAggregate, Vector
from streamlib.operators.conditions import bound_condition
from streamlib.operators.filtered import filtered
from streamlib.operators.grouping import Codes


@dataclass(frozen=True, eq=False)
class Truth(Aggregate):
    """Made by `any` and `all`."""

    kind: Literal["any", "all"]
    argument: Expr

    def reads(self) -> frozenset[str] | None:
        return columns(self.argument)

    def bind(self, name: str, stream: StreamType) -> BoundAggregate:
        return BoundTruth(name, self, stream)

    def __repr__(self) -> str:
        return f"{self.kind}({self.argument!r})"


class BoundTruth(BoundAggregate):
    """Counts the rows that decide: true ones for `any`, false ones for `all`."""

    def __init__(self, name: str, aggregate: Truth, stream: StreamType) -> None:
        self.name = name
        self.dtype = pa.bool_()
        self._any = aggregate.kind == "any"
        self._column = StateColumn("true" if self._any else "false", pa.int64(), "sum")
        self.state = (self._column,)
        self._bound = bound_condition(aggregate.argument, stream)

    def partial(self, batch: Batch, codes: Codes, count: int, rows: Vector) -> list[Column]:
        found = values_of(self._bound.evaluate(batch), codes)
        decide = np.asarray(found.values) == self._any
        return [np.bincount(found.codes[decide], minlength=count)]

    def retracting(self, batch: Batch, codes: Codes, count: int, rows: Vector) -> list[Column]:
        (decide,) = self.partial(batch, codes, count, rows)
        return [-np.asarray(decide)]

    def merge(self, states: Sequence[Column], codes: Codes, count: int) -> list[Column]:
        return [self._column.scatter(codes, count, states[0])]

    def finish(self, states: Sequence[Column]) -> Column:
        decided = np.asarray(states[0]) > 0
        return decided if self._any else ~decided


def any(column: str | Expr, *, filter: Expr | None = None) -> Aggregate:
    """Whether a value is true; nulls skipped, false without a value (as Polars).

    >>> from streamlib import col
    >>> any(col("delay") > 60)
    any((col('delay') > 60))
    """
    return filtered(Truth("any", argument(column)), filter)


def all(column: str | Expr, *, filter: Expr | None = None) -> Aggregate:
    """Whether all values are true; nulls skipped, true without a value (as Polars).

    >>> all("on_time")
    all(col('on_time'))
    """
    return filtered(Truth("all", argument(column)), filter)
