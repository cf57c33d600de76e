"""A sink that keeps the table of a changelog in memory, for notebooks and tests."""

from __future__ import annotations

import pyarrow as pa

from streamlib.connectors.memory_sink import InMemory, MemoryWriter
from streamlib.core.changes import split_changes
from streamlib.core.contracts import SinkContext, Takes
from streamlib.core.errors import SinkError
from streamlib.state.current_rows import IdentifiedRows


class MemoryTableSink(InMemory):
    """The rows that a changelog leaves, as of the last commit. Made by `table_sink`."""

    kind = "table_sink"

    def __init__(self) -> None:
        super().__init__()
        self._rows: IdentifiedRows | None = None
        self._owner: tuple[str, str] | None = None

    @property
    def takes(self) -> Takes:
        return "upsert"

    def open(self, context: SinkContext) -> MemoryWriter:
        """A new job begins with an empty table. Raises `SinkError` for one whose table is not here."""
        assert context.changes is not None
        assert context.changes.identity is not None
        owner = context.job, context.sink
        if owner != self._owner:
            if context.restored:
                raise SinkError(
                    f"the table of checkpoint {context.restored} is not in memory",
                    expected="the sink and the process in which the job ran before",
                    found="another: memory does not outlive its process",
                    remedy="start a new job, or write to parquet.snapshot_sink, which survives",
                )
            self._rows, self._owner = IdentifiedRows(context.schema, context.changes.identity), owner
        return MemoryWriter(self, context)

    def table(self) -> pa.Table:
        """The current rows, as of the last commit; no columns before the first `open`."""
        return pa.table({}) if self._rows is None else self._rows.table()

    def show(self, rows: list[pa.RecordBatch]) -> None:
        """Apply the changes of a commit."""
        assert self._rows is not None
        for batch in rows:
            self._rows.apply(*split_changes(batch))


def table_sink() -> MemoryTableSink:
    """A staged sink for changelogs: `table()` gives the rows there are, as of the last commit.

    A row replaces the one with the same identity; deleted rows go. The table ends with the process.

    >>> table_sink().table().num_rows
    0
    """
    return MemoryTableSink()
