"""A sink that prints rows."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TextIO

import pyarrow as pa

from streamlib.connectors.calls import as_call
from streamlib.connectors.tables import format_table
from streamlib.core.changes import split_changes, symbols
from streamlib.core.contracts import Delivery, Json, SinkContext, Takes
from streamlib.core.errors import DefinitionError


@dataclass(frozen=True, repr=False)
class ConsoleSink:
    """Prints every batch as a table. Made by `sink`."""

    stream: TextIO | None
    limit: int | None

    @property
    def delivery(self) -> Delivery:
        return "at_least_once"

    @property
    def takes(self) -> Takes:
        return "retract"

    def open(self, context: SinkContext) -> ConsoleWriter:
        return ConsoleWriter(context, self)

    def __repr__(self) -> str:
        return as_call("console.sink", stream=self.stream, limit=self.limit)


class ConsoleWriter:
    """Prints at once: what was printed can't be taken back, so there is nothing to commit."""

    def __init__(self, context: SinkContext, sink: ConsoleSink) -> None:
        self._name = context.sink
        self._changes = context.changes is not None
        self._sink = sink

    def write(self, rows: pa.RecordBatch) -> None:
        # Looked up now: notebooks and tests exchange sys.stdout while a job runs.
        stream = self._sink.stream or sys.stdout
        if self._changes:
            rows = _with_symbols(rows)
        unit = "row" if rows.num_rows == 1 else "rows"
        table = format_table(rows, self._sink.limit)
        print(f"{self._name}: {rows.num_rows:,} {unit}\n{table}\n", file=stream, flush=True)

    def prepare(self, number: int) -> Json:
        return None

    def commit(self, number: int, pending: Json) -> None: ...

    def last_committed(self) -> int:
        return 0

    def close(self) -> None: ...


def _with_symbols(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The rows with what happened to each as the first column."""
    rows, changes = split_changes(rows)
    names = ["op", *rows.schema.names]
    return pa.RecordBatch.from_arrays([symbols(changes), *rows.columns], names=names)


def sink(stream: TextIO | None = None, limit: int | None = None) -> ConsoleSink:
    """Print rows as aligned tables; after a restart, rows since the last checkpoint are printed again.

    Of a changelog the first column, `op`, says what happened to a row: inserted (+I), updated (-U the old
    row, +U the new one), or deleted (-D).

    Args:
        stream: where to; default: what `sys.stdout` is at that moment. A description with a stream
            of its own can be pickled only if the stream can.
        limit: the most rows printed of one batch, followed by how many more there were.

    >>> sink(limit=20)
    console.sink(limit=20)
    """
    if limit is not None and limit < 0:
        raise DefinitionError(
            "limit must not be negative",
            expected="a number of rows, or None for all",
            found=repr(limit),
            remedy="leave limit= out to print all rows",
        )
    return ConsoleSink(stream, limit)
