"""A sink that prints rows."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TextIO

import pyarrow as pa

from streamlib.connectors.tables import format_table
from streamlib.core.contracts import Delivery, Json, SinkContext
from streamlib.core.errors import DefinitionError


@dataclass(frozen=True)
class ConsoleSink:
    """Prints every batch as a table. Made by `sink`."""

    stream: TextIO | None
    limit: int | None

    @property
    def delivery(self) -> Delivery:
        return "at_least_once"

    def open(self, context: SinkContext) -> ConsoleWriter:
        return ConsoleWriter(context.sink, self)


class ConsoleWriter:
    """Prints at once: what was printed can't be taken back, so there is nothing to commit."""

    def __init__(self, name: str, sink: ConsoleSink) -> None:
        self._name = name
        self._sink = sink

    def write(self, rows: pa.RecordBatch) -> None:
        # Looked up now: notebooks and tests exchange sys.stdout while a job runs.
        stream = self._sink.stream or sys.stdout
        unit = "row" if rows.num_rows == 1 else "rows"
        table = format_table(rows, self._sink.limit)
        print(f"{self._name}: {rows.num_rows:,} {unit}\n{table}\n", file=stream, flush=True)

    def prepare(self, number: int) -> Json:
        return None

    def commit(self, number: int, pending: Json) -> None: ...

    def last_committed(self) -> int:
        return 0

    def close(self) -> None: ...


def sink(stream: TextIO | None = None, limit: int | None = None) -> ConsoleSink:
    """Print rows as aligned tables; after a restart, rows since the last checkpoint are printed again.

    Args:
        stream: where to; default: what `sys.stdout` is at that moment. A description with a stream
            of its own can be pickled only if the stream can.
        limit: the most rows printed of one batch, followed by how many more there were.

    >>> sink(limit=20)
    ConsoleSink(stream=None, limit=20)
    """
    if limit is not None and limit < 0:
        raise DefinitionError(
            "limit must not be negative",
            expected="a number of rows, or None for all",
            found=repr(limit),
            remedy="leave limit= out to print all rows",
        )
    return ConsoleSink(stream, limit)
