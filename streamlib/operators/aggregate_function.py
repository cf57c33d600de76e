"""Aggregates of the user's own: columns of state, and functions over all groups at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, MutableMapping
from dataclasses import Field, fields, is_dataclass
from typing import Any, TypeAlias

import pyarrow as pa

from streamlib.core.batch import Column
from streamlib.core.canonical import canonical
from streamlib.core.contracts import StreamType
from streamlib.core.expressions import Expr, col, columns
from streamlib.operators.bound_aggregate import Aggregate, BoundAggregate
from streamlib.operators.bound_function import BoundFunction
from streamlib.operators.grouping import Codes

Argument: TypeAlias = str | Expr
"""The type of a field of an `AggregateFunction` that is computed for each row: a column or an expression."""

State: TypeAlias = MutableMapping[str, Column]
"""State columns by name, each as long as there are groups: numpy vectors, or Arrow arrays."""


class AggregateFunction(Aggregate, ABC):
    """An aggregate of your own: a frozen description with functions over columns, never over rows.

    Subclasses are `dataclass(frozen=True, eq=False)`. Fields of type `Argument` are the arguments, in
    their order; all other fields are parameters. State is a few named columns with a value for every
    group: `create` makes them, `add` takes rows in, `merge` takes other states in, `finish` makes results
    of them. Rows and states are combined in any order and any grouping (batches, slices that windows
    share, workers, restored checkpoints), so the result must not depend on it: the state from `create`
    changes nothing where it is merged, and ties are broken by values, not by which came first.

    Integers, floats, booleans and instants (as integers of their unit) are numpy vectors, in arguments
    and in state; everything else is an Arrow array. A row with a null in one of its arguments is not
    added. What a method gets may be read only, except for `state` in `add`, `merge` and `retract`, which
    they change in place, or by putting new columns into it.

    Over a changelog an aggregate has to take rows back as well: by an optional method
    `retract(state, codes, *values)`, like `add`. Its `state` may be that of no rows, so that it goes
    below it: what comes of it takes the rows away from the states into which it is merged.

    After the `AggregateFunction` of Flink, whose accumulators are columns here.

    >>> import numpy as np, pyarrow as pa
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, eq=False)
    ... class WeightedMean(AggregateFunction):
    ...     value: Argument
    ...     weight: Argument
    ...
    ...     def state_types(self, value, weight):
    ...         return {"total": pa.float64(), "weight": pa.float64()}
    ...
    ...     def result_type(self, value, weight):
    ...         return pa.float64()
    ...
    ...     def create(self, groups):
    ...         return {"total": np.zeros(groups), "weight": np.zeros(groups)}
    ...
    ...     def add(self, state, codes, value, weight):
    ...         np.add.at(state["total"], codes, value * weight)
    ...         np.add.at(state["weight"], codes, weight)
    ...
    ...     def merge(self, state, codes, other):
    ...         np.add.at(state["total"], codes, other["total"])
    ...         np.add.at(state["weight"], codes, other["weight"])
    ...
    ...     def finish(self, state):
    ...         nothing = state["weight"] == 0
    ...         return pa.array(state["total"] / np.where(nothing, 1, state["weight"]), mask=nothing)
    >>> WeightedMean("price", weight="size")
    WeightedMean(value='price', weight='size')
    """

    @abstractmethod
    def state_types(self, *arguments: pa.DataType) -> Mapping[str, pa.DataType]:
        """Names and types of the state columns, given the types of the arguments.

        Raise a `TypeMismatchError` for arguments that can't be aggregated. State is kept in
        checkpoints under these names; a job whose types change can't go on from them.
        """

    @abstractmethod
    def result_type(self, *arguments: pa.DataType) -> pa.DataType:
        """Type of the result, given the types of the arguments."""

    @abstractmethod
    def create(self, groups: int) -> State:
        """The state of `groups` groups without rows: new columns, which may be changed."""

    @abstractmethod
    def add(self, state: State, codes: Codes, *values: Any) -> None:
        """Take rows into `state`: row `i` belongs to group `codes[i]`, and has a value of each argument."""

    @abstractmethod
    def merge(self, state: State, codes: Codes, other: State) -> None:
        """Take other states into `state`: `codes[i]` is the group into which state `i` of `other` goes.

        Several states may go into the same group, so use `np.add.at(column, codes, ...)` rather
        than `column[codes] += ...`, which would take only one of them.
        """

    @abstractmethod
    def finish(self, state: State) -> Column:
        """The results, one for each group; an Arrow array where some are null."""

    def bind(self, name: str, stream: StreamType) -> BoundAggregate:
        return BoundFunction(name, self, self.arguments(), stream)

    def arguments(self) -> tuple[Argument, ...]:
        """The values of the fields of type `Argument`, in their order."""
        return tuple(getattr(self, f.name) for f in _fields(self) if _is_argument(f))

    def reads(self) -> frozenset[str] | None:
        return frozenset().union(*(columns(col(a) if isinstance(a, str) else a) for a in self.arguments()))

    def canonical(self) -> object:
        """What equality means: the class and its fields; a column's name is the column."""
        shown: list[object] = [canonical(type(self))]
        for field in _fields(self):
            value = getattr(self, field.name)
            named = isinstance(value, str) and _is_argument(field)
            shown.append((field.name, canonical(col(value) if named else value)))
        return tuple(shown)


def _fields(aggregate: AggregateFunction) -> tuple[Field[Any], ...]:
    """The fields; a class that is no dataclass has none."""
    return fields(aggregate) if is_dataclass(aggregate) else ()


def _is_argument(field: Field[Any]) -> bool:
    # `from __future__ import annotations` makes a text of it, which dataclasses read just so
    if isinstance(field.type, str):
        return field.type.rpartition(".")[2] == "Argument"
    return field.type == Argument
