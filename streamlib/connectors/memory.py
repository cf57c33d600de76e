"""Rows in memory: sources over Arrow data, records and iterators, and sinks to look into afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from streamlib.connectors.iterated import IteratedSource, iterate
from streamlib.connectors.memory_sink import MemorySink, sink
from streamlib.connectors.memory_table_sink import MemoryTableSink, table_sink
from streamlib.connectors.positions import Floors, beyond_end, event_times, row_number
from streamlib.connectors.records import Columns, Rows, as_table, columns_of
from streamlib.connectors.schemas import difference
from streamlib.core.contracts import Chunk, Json, Pause, Replay
from streamlib.core.errors import DefinitionError, SourceError, TypeMismatchError, did_you_mean

__all__ = [
    "IteratedSource",
    "MemorySink",
    "MemorySource",
    "MemoryTableSink",
    "iterate",
    "sink",
    "source",
    "table_sink",
]


@dataclass(frozen=True, repr=False)
class MemorySource:
    """Rows that are already here. Made by `source`.

    Two are equal where partitions, schemas, rows and `chunk_rows` are (a NaN equals nothing, as in
    Arrow).
    """

    immediate: ClassVar[bool] = True

    tables: tuple[tuple[str, pa.Table], ...]
    chunk_rows: int

    @property
    def bounded(self) -> bool:
        return True

    @property
    def replay(self) -> Replay:
        return "replayable"

    def schema(self) -> pa.Schema:
        return self.tables[0][1].schema

    def partitions(self) -> Sequence[str]:
        return [name for name, _ in self.tables]

    def row_count(self) -> int:
        return sum(table.num_rows for _, table in self.tables)

    def open(self, partition: str, position: Json | None, event_time: str | None) -> MemoryReader:
        tables = dict(self.tables)
        if partition not in tables:
            raise SourceError(
                f"no partition {partition!r} in memory",
                expected=f"one of {', '.join(tables)}",
                found=repr(partition),
                remedy=did_you_mean(partition, tables) or "start a new job: the data has changed",
            )
        table = tables[partition]
        row = row_number(position, partition)
        if row > table.num_rows:
            raise beyond_end(partition, row, table.num_rows)
        return MemoryReader(table, row, self.chunk_rows, event_time)

    def __hash__(self) -> int:  # tables can't be hashed; equal sources agree in these
        return hash((self.schema(), self.chunk_rows, *((name, t.num_rows) for name, t in self.tables)))

    def __repr__(self) -> str:
        return f"memory.source({self.row_count()} rows: {', '.join(self.schema().names)})"


class MemoryReader:
    """Hands out slices of one table."""

    def __init__(self, table: pa.Table, row: int, chunk_rows: int, event_time: str | None) -> None:
        self._table = table
        self._row = row
        batches = table.to_batches()
        self._rows = batches[0] if len(batches) == 1 else None
        self._chunk_rows = chunk_rows
        self._floors = Floors(event_times(table, event_time)) if event_time is not None else None

    def read(self) -> Chunk | Pause:
        if self._row == self._table.num_rows:
            return Pause.END
        # More than one batch where a string column exceeds 2 GB: then the first one is shorter.
        rows = self._rows.slice(self._row, self._chunk_rows) if self._rows is not None else self._next()
        self._row += rows.num_rows
        return Chunk(rows, self._row, self._floors.at(self._row) if self._floors else None)

    def _next(self) -> pa.RecordBatch:
        return self._table.slice(self._row, self._chunk_rows).to_batches()[0]

    def close(self) -> None: ...


def source(
    data: Rows | Mapping[str, Rows],
    schema: Columns | None = None,
    chunk_rows: int = 65_536,
    partitions: int | None = None,
) -> MemorySource:
    """A replayable, bounded source over rows in memory; a position is a row number.

    The rows are taken as they are now: a list that is changed later does not change the source.
    Arrow data is not copied, unless it has to be cast, comes in several chunks, or is dealt out; a
    reader or a query, which gives its rows only once, is read at once.

    Args:
        data: anything that speaks Arrow (a pandas or Polars frame, a DuckDB relation, a pyarrow
            Table, RecordBatch or reader), a list of dicts, dataclass or msgspec.Struct objects, or
            a mapping of partition names to any of these. The only partition of plain data is "0".
        schema: names and types of the columns, or a class of records; default: what `data` has, or
            what its records show.
        chunk_rows: the most rows of one chunk.
        partitions: deal plain data out to that many partitions "0", "1", ...: row `i` goes to
            partition `i % partitions`, so that all of them advance together.

    Raises:
        DefinitionError: `data` is not rows, its schema can't be told, or a number is below 1.
        UnknownColumnError: data and `schema` have different columns.
        TypeMismatchError: a value does not fit its column, or partitions differ in schema.

    >>> source([{"id": 1}, {"id": 2}])
    memory.source(2 rows: id)
    >>> source({"a": [{"id": 1}], "b": [{"id": 2}]}).partitions()
    ['a', 'b']
    """
    _at_least_one("chunk_rows", chunk_rows)
    wanted = columns_of(schema) if schema is not None else None
    if isinstance(data, Mapping):
        return MemorySource(_named(data, wanted, partitions), chunk_rows)
    table = as_table(data, wanted)
    if partitions is None:
        return MemorySource((("0", table),), chunk_rows)
    _at_least_one("partitions", partitions)
    hands = [np.arange(first, table.num_rows, partitions) for first in range(partitions)]
    dealt = ((str(i), table.take(pa.array(hand)).combine_chunks()) for i, hand in enumerate(hands))
    return MemorySource(tuple(dealt), chunk_rows)


def _named(
    data: Mapping[str, Rows], schema: pa.Schema | None, partitions: int | None
) -> tuple[tuple[str, pa.Table], ...]:
    if not data or partitions is not None:
        raise DefinitionError(
            "the partitions are not clear",
            expected="a mapping with at least one partition, and no `partitions=` beside it",
            found=f"{len(data)} partitions in the mapping, partitions={partitions}",
            remedy="name the partitions in the mapping, or give plain rows and a number",
        )
    tables = tuple((str(name), as_table(rows, schema)) for name, rows in data.items())
    first_name, first = tables[0]
    for name, table in tables[1:]:
        differing = difference(first.schema, table.schema)
        if differing is not None:
            raise TypeMismatchError(
                f"partitions {first_name!r} and {name!r} have different columns",
                expected=f"{differing[0]}, as in {first_name!r}",
                found=f"{differing[1]} in {name!r}",
                remedy="give all partitions the same columns, or say them with schema=",
            )
    return tuple((name, table.select(first.schema.names)) for name, table in tables)


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise DefinitionError(
            f"{name} must be positive",
            expected="a whole number from 1 on",
            found=repr(value),
            remedy=f"leave {name}= out, or give a larger number",
        )
