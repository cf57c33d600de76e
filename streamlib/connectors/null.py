"""A sink that throws rows away and counts them: to measure a flow, or to run one for its other outputs."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from streamlib.core.contracts import Delivery, Json, SinkContext, Takes

__all__ = ["NullSink", "sink"]


@dataclass(frozen=True, repr=False)
class NullSink:
    """Counts rows. Made by `sink`; all are equal."""

    _counted: list[int] = field(default_factory=lambda: [0], compare=False)

    @property
    def delivery(self) -> Delivery:
        return "at_least_once"

    @property
    def takes(self) -> Takes:
        return "retract"

    @property
    def rows(self) -> int:
        """How many rows came in this process since the sink was made; of a changelog, how many changes."""
        return self._counted[0]

    def open(self, context: SinkContext) -> NullWriter:
        return NullWriter(self._counted)

    def __repr__(self) -> str:
        return "null.sink()"


class NullWriter:
    """Counts at once."""

    def __init__(self, counted: list[int]) -> None:
        self._counted = counted

    def write(self, rows: pa.RecordBatch) -> None:
        self._counted[0] += rows.num_rows

    def prepare(self, number: int) -> Json:
        return None

    def commit(self, number: int, pending: Json) -> None: ...

    def last_committed(self) -> int:
        return 0

    def close(self) -> None: ...


def sink() -> NullSink:
    """Throw rows away, and count them: `rows` of the sink says how many came.

    It takes changelogs, too. Rows are made as for any sink, so what a flow costs without its output is
    measured. It has no transactions: after a crash, rows since the last checkpoint are counted again.

    >>> import tempfile
    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> nowhere = sink()
    >>> sales = sl.read(memory.source([{"price": 3}, {"price": 5}]), name="sales")
    >>> flow = sl.Flow("count", sales.write(nowhere, name="nowhere"))
    >>> _ = flow.run(state=tempfile.mkdtemp(), progress="none")
    >>> nowhere.rows
    2
    """
    return NullSink()
