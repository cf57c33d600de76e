"""The contract of an aggregate: its description, and at work state columns made of rows and of states."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Batch, Column, as_arrow, numpy_type
from streamlib.core.canonical import Value
from streamlib.core.contracts import StreamType
from streamlib.operators.grouping import Codes

Vector = npt.NDArray[Any]


@dataclass(frozen=True)
class StateField:
    """One column of an aggregate's state: its name within the aggregate, and its type."""

    suffix: str
    dtype: pa.DataType

    @property
    def vector(self) -> bool:
        """Whether numpy holds it, without nulls; other types (strings, decimals) stay Arrow arrays."""
        if pa.types.is_floating(self.dtype):
            return not pa.types.is_float16(self.dtype)
        return bool(pa.types.is_integer(self.dtype) or pa.types.is_boolean(self.dtype))

    def loaded(self, array: pa.Array) -> Column:
        """The column as it is kept, from an array of `dtype`."""
        return np.asarray(array.to_numpy(zero_copy_only=False)) if self.vector else array

    def stored(self, column: Column) -> pa.Array:
        """The reverse of `loaded`. Integers that stand for floats are rounded."""
        if isinstance(column, np.ndarray) and pa.types.is_floating(self.dtype):
            column = column.astype(numpy_type(self.dtype), copy=False)
        return as_arrow(column, self.dtype)


class BoundAggregate(ABC):
    """An aggregate over a known schema.

    Rows, batches, slices and workers all combine by the same rule: states of some groups are merged
    into the states of others, in any order and any grouping, and the result is the same. Columns
    that were handed in are never changed; what is returned is as long as there are groups.

    Attributes:
        name: the result column.
        state: the state columns.
        dtype: type of the result.
    """

    name: str
    state: tuple[StateField, ...]
    dtype: pa.DataType

    @abstractmethod
    def partial(self, batch: Batch, codes: Codes, count: int, rows: Vector) -> list[Column]:
        """States of `count` groups from the rows of `batch`.

        `codes` holds the group of each row, `rows` how many rows each group has (maybe 0).
        """

    def each(self, batch: Batch, rows: Vector) -> list[Column]:
        """As `partial`, for a group of every row; `rows` holds ones."""
        return self.partial(batch, np.arange(batch.num_rows), batch.num_rows, rows)

    @abstractmethod
    def merge(self, states: Sequence[Column], codes: Codes, count: int) -> list[Column]:
        """States of `count` groups from others: `codes` holds the group into which each is merged."""

    def order_of(self, states: Sequence[Column], rows: Vector) -> Vector | None:
        """Integers that order the groups as the results do, without making these; None if unknown.

        `rows` counts the rows of each group; of groups without rows it does not matter.
        """
        return None

    @abstractmethod
    def finish(self, states: Sequence[Column]) -> Column:
        """The result column of groups whose state columns are `states`."""

    def retracting(self, batch: Batch, codes: Codes, count: int, rows: Vector) -> list[Column]:
        """As `partial`, but states that take the rows away from those into which they are merged.

        Called over changelogs only: an aggregate without such states refuses to be bound to one.
        """
        raise NotImplementedError


class Aggregate(Value):
    """What to compute over the rows of a group: a frozen description."""

    def bind(self, name: str, stream: StreamType) -> BoundAggregate:
        """The aggregate over rows of `stream`, its result in the column `name`.

        Raises a `StreamlibError` for whatever can be known to fail.
        """
        raise NotImplementedError

    def reads(self) -> frozenset[str] | None:
        """The columns that it looks at; None where that can't be told."""
        return None

    @property
    def order_sensitive(self) -> str | None:
        """Why the result depends on the order in which rows arrive; None where it does not."""
        return None

    def keeps(self, stream: StreamType) -> str | None:
        """What its state keeps of every row, and so grows with the rows; None where it does not."""
        return None


def order_sensitive(aggregates: Iterable[tuple[str, Aggregate]]) -> str | None:
    """See `OperatorSpec.order_sensitive`."""
    found = (f"{name}: {a.order_sensitive}" for name, a in aggregates if a.order_sensitive is not None)
    return "; ".join(found) or None


def keeps(aggregates: Iterable[tuple[str, Aggregate]], stream: StreamType) -> str | None:
    """See `OperatorSpec.keeps`."""
    found = dict.fromkeys(a.keeps(stream) for _, a in aggregates)
    return ", ".join(kept for kept in found if kept is not None) or None
