"""Aggregates that need the values themselves: kept as lists, or as values and how often each is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Batch, Column
from streamlib.core.expressions import Bound
from streamlib.operators.arguments import as_kept, storage, values_of
from streamlib.operators.bound_aggregate import BoundAggregate, StateField, Vector
from streamlib.operators.grouping import Codes, take_rows
from streamlib.operators.lists import Lists, comparable, element_order, starts_anew

_TIMES = StateField("times", pa.large_list(pa.int64()))

Elements = Callable[[Batch, Codes], tuple[Codes, Sequence[Column]]]
"""Which values of a batch are kept: the group of each, and their columns."""

Finish = Callable[[Lists], Column]
"""From the ordered lists of all groups to a result of each."""


@dataclass(frozen=True)
class Keeping:
    """What is kept of the values.

    Attributes:
        counted: how often each is there, so that values can be taken back: over changelogs.
        distinct: each once; where they are counted, each is shown once.
        most: of each group only so many, the first in their order; not where they are counted.
    """

    counted: bool
    distinct: bool = False
    most: int | None = None

    @property
    def merged(self) -> bool:
        """Whether elements are looked at before there is a result."""
        return self.counted or self.distinct or self.most is not None


class KeptValues(BoundAggregate):
    """Keeps elements, which may have several columns: lists of equal lengths, in the order of the first."""

    def __init__(
        self,
        name: str,
        dtype: pa.DataType,
        elements: Sequence[tuple[str, pa.DataType]],
        keeping: Keeping,
        of: Elements,
        finish: Finish,
    ) -> None:
        self.name = name
        self.dtype = dtype
        self._keeping = keeping
        self._of = of
        self._finish = finish
        fields = tuple(StateField(suffix, pa.large_list(kept)) for suffix, kept in elements)
        self.state = (*fields, _TIMES) if keeping.counted else fields

    def partial(self, batch: Batch, codes: Codes, count: int, rows: Vector) -> list[Column]:
        return self._partial(batch, codes, count, 1)

    def retracting(self, batch: Batch, codes: Codes, count: int, rows: Vector) -> list[Column]:
        return self._partial(batch, codes, count, -1)

    def _partial(self, batch: Batch, codes: Codes, count: int, times: int) -> list[Column]:
        owners, columns = self._of(batch, codes)
        if self._keeping.counted:
            columns = [*columns, np.full(len(owners), times, np.int64)]
        return self._lists(owners, count, columns).arrays(self.state)

    def merge(self, states: Sequence[Column], codes: Codes, count: int) -> list[Column]:
        lists = Lists.of(states, self.state)
        return self._lists(lists.owners(codes), count, lists.columns).arrays(self.state)

    def _lists(self, owners: Codes, count: int, columns: Sequence[Column]) -> Lists:
        alone = not len(owners) or int(np.bincount(owners).max()) == 1
        if alone or not self._keeping.merged:
            return Lists.gathered(owners, count, columns)
        numbers = [comparable(c) for c in (columns[:-1] if self._keeping.counted else columns)]
        order = element_order(owners, count, numbers)
        owners, columns = owners.take(order), [take_rows(c, order) for c in columns]
        if self._keeping.counted or self._keeping.distinct:
            first = np.flatnonzero(starts_anew(owners, [n.take(order) for n in numbers]))
            owners, columns = self._once(owners, columns, first)
        lists = Lists(np.bincount(owners, minlength=count), tuple(columns))
        return lists if self._keeping.most is None else lists.first(self._keeping.most)

    def _once(
        self, owners: Codes, columns: list[Column], first: npt.NDArray[np.intp]
    ) -> tuple[Codes, list[Column]]:
        """Equal neighbours as one, with the sum of their times; those that come to nothing go."""
        if self._keeping.counted:
            total = np.add.reduceat(np.asarray(columns.pop()), first)
            there = np.flatnonzero(total)
            first = first.take(there)
            return owners.take(first), [*(take_rows(c, first) for c in columns), total.take(there)]
        return owners.take(first), [take_rows(c, first) for c in columns]

    def finish(self, states: Sequence[Column]) -> Column:
        lists = Lists.of(states, self.state)
        if self._keeping.counted:
            lists = _expanded(lists, self._keeping.distinct)
        return self._finish(lists if self._keeping.merged else lists.ordered())


def kept_values(
    name: str, argument: Bound, kept: pa.DataType, dtype: pa.DataType, keeping: Keeping, finish: Finish
) -> KeptValues:
    """Keeps the values of an argument that are not null, as type `kept`; the results are of type `dtype`."""
    field = StateField("values", storage(kept) or kept)

    def of(batch: Batch, codes: Codes) -> tuple[Codes, Sequence[Column]]:
        found = values_of(argument.evaluate(batch), codes)
        return found.codes, [as_kept(found.values, field)]

    return KeptValues(name, dtype, [(field.suffix, field.dtype)], keeping, of, finish)


def _expanded(lists: Lists, once: bool) -> Lists:
    """The elements as often as they are there, or once."""
    *columns, times = lists.columns
    if once:
        return Lists(lists.lengths, tuple(columns))
    rows = np.repeat(np.arange(len(times)), np.asarray(times))
    lengths = np.bincount(lists.owners().take(rows), minlength=len(lists.lengths))
    return Lists(lengths, tuple(take_rows(c, rows) for c in columns))
