"""Reads one file in order: counts rows, notices that the file changed, and fails for good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pyarrow as pa

from streamlib.connectors.places import Place
from streamlib.connectors.positions import beyond_end
from streamlib.connectors.sifting import Sifted
from streamlib.core.contracts import Chunk, LeftOut, Pause
from streamlib.core.errors import SourceError, StreamlibError

_NOTHING = pa.record_batch({})

Floor = Callable[[int], int | None]
"""The least event time from a row on, where known."""


class Unchanged:
    """Notices that a file is no longer the one that was opened.

    Rows read before and after a change belong to different files: together they are no result.
    """

    def __init__(self, place: Place, path: str) -> None:
        self._place = place
        self._path = path
        self._seen = place.identity(path)

    def check(self) -> None:
        """Raise `SourceError` if the file was replaced, written to or removed since."""
        now = self._place.identity(self._path)
        if now == self._seen:
            return
        raise SourceError(
            f"{self._path!r} changed while the job was reading it",
            expected="a file that stays as it is while the job runs",
            found="no such file" if now is None else "another length, modification time or file",
            remedy='write files under names that begin with "." or "_", rename them when they are '
            "complete, and start the job again",
        )


Rows: TypeAlias = pa.RecordBatch | LeftOut | Sifted


def drop_rows(batches: Iterator[Any], count: int, partition: str) -> Iterator[Any]:
    """`batches` without the first `count` records. Raises `SourceError` if there are fewer."""
    left = count
    for batch in batches:
        records = _records(batch)
        if left < records:
            yield (
                (batch.without_first(left) if isinstance(batch, Sifted) else batch.slice(left))
                if left
                else batch
            )
        left = max(0, left - records)
    if left:
        raise beyond_end(partition, count, count - left)


class FileReader:
    """A `SourceReader` over the batches of one file; its position is the number of rows before.

    After a failure every read fails in the same way: whoever wants to go on opens the file again.
    """

    def __init__(
        self,
        batches: Iterator[Rows],
        row: int,
        unchanged: Unchanged,
        failed: Callable[[Exception], StreamlibError],
        floor: Floor = lambda row: None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._batches = batches
        self._row = row
        self._unchanged = unchanged
        self._failed = failed
        self._floor = floor
        self._close = close
        self._failure: StreamlibError | None = None

    def read(self) -> Chunk | Pause:
        if self._failure is not None:
            raise self._failure
        try:
            rows = self._next()
            self._unchanged.check()
        except StreamlibError as error:
            self._failure = error
            raise
        except (pa.ArrowException, OSError) as error:
            self._failure = self._failed(error)
            raise self._failure from error
        if rows is None:
            return Pause.END
        if isinstance(rows, LeftOut):
            self._row += rows.rows
            return Chunk(_NOTHING, self._row, self._floor(self._row), rows)
        if isinstance(rows, Sifted):
            self._row += rows.records
            return Chunk(rows.rows, self._row, self._floor(self._row), broken=rows.broken)
        self._row += rows.num_rows
        return Chunk(rows, self._row, self._floor(self._row))

    def _next(self) -> Rows | None:
        return next((rows for rows in self._batches if _records(rows)), None)

    def close(self) -> None:
        self._close()


def _records(rows: Rows) -> int:
    if isinstance(rows, LeftOut):
        return rows.rows
    return rows.records if isinstance(rows, Sifted) else int(rows.num_rows)
