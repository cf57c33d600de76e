"""A source that gives rows again together with the records that could not be read among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from streamlib.core.contracts import Broken, Chunk, Json, Pause


@dataclass(frozen=True, eq=False)
class ReplayedSource:
    """Partitions of rows with broken records at their places, in chunks of some records."""

    rows: Mapping[str, pa.Table]
    broken: Mapping[str, Sequence[Broken]]
    chunk: int
    bounded: Literal[True] = True
    replay: Literal["replayable"] = "replayable"

    def schema(self) -> pa.Schema:
        return next(iter(self.rows.values())).schema

    def partitions(self) -> Sequence[str]:
        return list(self.rows)

    def open(self, partition: str, position: Json | None, event_time: str | None) -> _Reader:
        return _Reader(self.rows[partition], self.broken[partition], self.chunk, position or 0)


class _Reader:
    def __init__(self, rows: pa.Table, broken: Sequence[Broken], chunk: int, position: int) -> None:
        self._rows = rows
        self._broken = broken
        self._numbers = np.array([b.position for b in broken], np.int64)
        self._chunk = chunk
        self._at = position

    def read(self) -> Chunk | Pause:
        end = min(self._at + self._chunk, self._rows.num_rows + len(self._broken))
        if end == self._at:
            return Pause.END
        first, last = np.searchsorted(self._numbers, [self._at, end]).tolist()
        rows = self._rows.slice(self._at - first, (end - last) - (self._at - first))
        self._at = end
        (batch,) = rows.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], rows.schema)]
        return Chunk(batch, end, broken=self._broken[first:last])

    def close(self) -> None: ...
