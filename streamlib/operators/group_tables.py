"""What aggregations share: fields of their results, and their groups as state tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Column, as_arrow
from streamlib.core.contracts import StreamType
from streamlib.core.errors import DefinitionError, UnknownColumnError
from streamlib.core.hashing import check_key_type
from streamlib.operators.grouping import decoded_type
from streamlib.operators.partials import Block, PartialAggregator
from streamlib.state.key_groups import KEY_GROUP_COLUMN, key_groups

INSTANT = pa.timestamp("us", tz="UTC")
WINDOW_BOUNDS = (pa.field("window_start", INSTANT, False), pa.field("window_end", INSTANT, False))
"""The columns of a result that tell its window."""


def key_fields(stream: StreamType) -> list[pa.Field]:
    """The key columns of a result. Raises for a key that is gone or that can't be one (any more)."""
    for key in stream.keys:  # operators since `key_by` may have dropped or changed the column
        if stream.schema.get_field_index(key) < 0:
            raise UnknownColumnError.of(key, stream.schema.names)
        check_key_type(key, stream.schema.field(key).type)
    keys = [stream.schema.field(key) for key in stream.keys]
    return [field.with_type(decoded_type(field.type)) for field in keys]


def result_schema(fields: Sequence[pa.Field]) -> pa.Schema:
    """The schema of a result. Raises `DefinitionError` for a name that occurs twice."""
    names = [field.name for field in fields]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DefinitionError(
            f"two result columns would be called {', '.join(map(repr, twice))}",
            expected="names unlike the keys, `window_start` and `window_end`",
            found=", ".join(names),
            remedy="choose another name for the aggregate, or rename the column before the window",
        )
    return pa.schema(list(fields))


class GroupTables:
    """Writes groups as tables of `__key_group`, a number, keys and states, and reads them back.

    Args:
        keys: names of the columns of the keys.
        aggregator: whose groups they are.
        number: name of the column of the groups' numbers; None if they are all 0.
    """

    def __init__(self, keys: Sequence[str], aggregator: PartialAggregator, number: str | None = None) -> None:
        self._keys = tuple(keys)
        self._aggregator = aggregator
        self._number = number

    def table(self, groups: Block, key_group: Column | None = None) -> pa.Table:
        """The groups as a table; the key group of each is computed unless it is given."""
        columns: dict[str, pa.Array] = {}
        for name, column, dtype in zip(self._keys, groups.keys, self._aggregator.key_types, strict=True):
            columns[name] = as_arrow(column, dtype)
        own = list(columns.values())[: self._aggregator.own]
        if key_group is None:
            key_group = key_groups(own, len(groups))
        fields = self._aggregator.columns
        for name, column, field in zip(self._state_names(), groups.states, fields, strict=True):
            columns[name] = field.stored(column)
        number = {} if self._number is None else {self._number: groups.numbers}
        return pa.table({KEY_GROUP_COLUMN: key_group, **number, **columns})

    def block(self, table: pa.Table) -> Block:
        """The groups that `table` wrote."""
        fields = zip(self._state_names(), self._aggregator.columns, strict=True)
        states = [field.loaded(_column(table, name)) for name, field in fields]
        keys = tuple(_column(table, name) for name in self._keys)
        if self._number is None:
            numbers = np.zeros(table.num_rows, np.int64)
        else:
            numbers = _column(table, self._number).to_numpy()
        return Block(numbers, keys, tuple(states))

    def _state_names(self) -> list[str]:
        pairs = ((a.name, field) for a in self._aggregator.aggregates for field in a.state)
        return ["rows", *(f"result.{name}.{field.suffix}" for name, field in pairs)]


def _column(table: pa.Table, name: str) -> pa.Array:
    chunked = table.column(name)
    return chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks()
