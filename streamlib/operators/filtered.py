"""`filter=` of an aggregate: only the rows for which a condition is true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamlib.core.batch import Batch, Column
from streamlib.core.contracts import StreamType
from streamlib.core.errors import TypeMismatchError, shown
from streamlib.core.expressions import Bound, Expr, columns
from streamlib.core.where import caller
from streamlib.operators.bound_aggregate import Aggregate, BoundAggregate, Vector
from streamlib.operators.columns_read import all_of
from streamlib.operators.conditions import bound_condition, true_rows
from streamlib.operators.grouping import Codes


@dataclass(frozen=True, eq=False)
class Filtered(Aggregate):
    """An aggregate of the rows for which `condition` is true."""

    aggregate: Aggregate
    condition: Expr

    def reads(self) -> frozenset[str] | None:
        return all_of([self.aggregate.reads(), columns(self.condition)])

    @property
    def order_sensitive(self) -> str | None:
        return self.aggregate.order_sensitive

    def keeps(self, stream: StreamType) -> str | None:
        return self.aggregate.keeps(stream)

    def bind(self, name: str, stream: StreamType) -> BoundAggregate:
        return BoundFiltered(self.aggregate.bind(name, stream), bound_condition(self.condition, stream))

    def __repr__(self) -> str:
        head = repr(self.aggregate)[:-1]
        return f"{head}{'' if head.endswith('(') else ', '}filter={self.condition!r})"


def filtered(aggregate: Aggregate, condition: Expr | None) -> Aggregate:
    """The aggregate with a `filter=` as it was given."""
    if condition is None:
        return aggregate
    if not isinstance(condition, Expr):
        raise TypeMismatchError(
            "`filter=` of an aggregate is a condition",
            expected="an expression of type bool, for example `col('price') > 100`",
            found=shown(condition),
        ).at("aggregate", caller())
    return Filtered(aggregate, condition)


class BoundFiltered(BoundAggregate):
    """Lets an aggregate see some of the rows. A group may have none of them."""

    def __init__(self, aggregate: BoundAggregate, condition: Bound) -> None:
        self.name = aggregate.name
        self.state = aggregate.state
        self.dtype = aggregate.dtype
        self._aggregate = aggregate
        self._condition = condition

    def partial(self, batch: Batch, codes: Codes, count: int, rows: Vector) -> list[Column]:
        return self._aggregate.partial(*self._some(batch, codes, count, rows))

    def retracting(self, batch: Batch, codes: Codes, count: int, rows: Vector) -> list[Column]:
        return self._aggregate.retracting(*self._some(batch, codes, count, rows))

    def _some(self, batch: Batch, codes: Codes, count: int, rows: Vector) -> tuple[Batch, Codes, int, Vector]:
        mask = true_rows(self._condition, batch)
        if mask.all():
            return batch, codes, count, rows
        codes = codes[mask]
        return batch.take(np.flatnonzero(mask)), codes, count, np.bincount(codes, minlength=count)

    def merge(self, states: Sequence[Column], codes: Codes, count: int) -> list[Column]:
        return self._aggregate.merge(states, codes, count)

    def finish(self, states: Sequence[Column]) -> Column:
        return self._aggregate.finish(states)

    def order_of(self, states: Sequence[Column], rows: Vector) -> Vector | None:
        return self._aggregate.order_of(states, rows)
