"""The staged Parquet sink: whole files, written beside the output and published by commit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from os import PathLike, fspath
from typing import Any

import pyarrow as pa

from streamlib.connectors.calls import as_call
from streamlib.connectors.schemas import conform, difference
from streamlib.connectors.staging import StagedFile, Staging, explained
from streamlib.core.contracts import Delivery, DiskFile, Json, SinkContext
from streamlib.core.disk import WritableFile
from streamlib.core.errors import DefinitionError, SinkError

ROW_GROUP_ROWS = 131_072  # what the source reads as one batch; statistics this fine serve as floors
ROW_GROUP_BYTES = 64 << 20  # wide rows are written earlier: this bounds what a writer holds


MAX_ROWS_PER_FILE = 5_000_000  # the default


@dataclass(frozen=True, repr=False)
class ParquetSink:
    """A folder of Parquet files. Made by `sink`; equal where path and file size are."""

    path: str
    max_rows_per_file: int

    @property
    def delivery(self) -> Delivery:
        return "staged"

    def open(self, context: SinkContext) -> ParquetWriter:
        """Check that files can be written, staged and published; nothing is shown to readers yet."""
        check_schema(context.schema)
        staging = Staging(self.path, context, ".parquet")
        staging.open()
        return ParquetWriter(staging, context.schema, self.max_rows_per_file)

    def __repr__(self) -> str:
        rows = None if self.max_rows_per_file == MAX_ROWS_PER_FILE else self.max_rows_per_file
        return as_call("parquet.sink", self.path, max_rows_per_file=rows)


def sink(path: str | PathLike[str], max_rows_per_file: int = MAX_ROWS_PER_FILE) -> ParquetSink:
    """An exactly-once sink: a local folder of Parquet files, whose readers see only whole checkpoints.

    A file ends at every checkpoint, and earlier where it is full. Files are called
    `<job>-<sink>-<checkpoint>-<sequence>.parquet` and are staged in the sibling folder
    `<path>.staging`, which must be on the same filesystem. The folder belongs to one job.

    Args:
        path: the folder; created, with its parents, when the job starts. `~` is the home folder.
        max_rows_per_file: the most rows of one file.

    When the job starts, raises `SinkError` where the folder can't be written or holds another job's
    files. When it commits, where a prepared file has disappeared.

    >>> sink("out/hot")
    parquet.sink('out/hot')
    """
    if max_rows_per_file < 1:
        raise DefinitionError(
            "max_rows_per_file must be positive",
            expected="a whole number from 1 on",
            found=repr(max_rows_per_file),
            remedy="leave it out, or give a larger number",
        )
    return ParquetSink(fspath(path), max_rows_per_file)


class ParquetWriter:
    """Writes for one attempt (`SinkWriter`), and cleans up after earlier ones (`Cleans`)."""

    def __init__(self, staging: Staging, schema: pa.Schema, max_rows_per_file: int) -> None:
        self._staging = staging
        self._schema = schema
        self._max_rows = max_rows_per_file
        self._created = 0
        self._open: StagedParquet | None = None
        self._finished: list[StagedFile] = []

    def write(self, rows: pa.RecordBatch) -> None:
        differing = difference(self._schema, rows.schema)
        if differing is not None:
            raise SinkError(
                f"rows for {self._staging.output!r} have other columns than the sink was opened for",
                expected=differing[0],
                found=differing[1],
                remedy="this is a bug of the operator before the sink: please report it",
            )
        with explained(f"rows can't be written for {self._staging.output!r}"):
            for part in self._parts(conform(rows, self._schema)):
                self._opened().add(part)

    def _parts(self, rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The rows cut so that each part fits the file that is open when it is asked for."""
        start = 0
        while start < rows.num_rows:
            room = self._max_rows - (self._open.rows if self._open else 0)
            if not room:
                self._roll()
                continue
            yield rows.slice(start, room)
            start += room

    def _opened(self) -> StagedParquet:
        if self._open is None:
            self._created += 1
            self._open = StagedParquet(*self._staging.create(self._created), self._schema)
        return self._open

    def _roll(self) -> None:
        if self._open is not None:
            self._finished.append(self._open.finish())
            self._open = None

    def prepare(self, number: int) -> Json:
        with explained(f"files for {self._staging.output!r} can't be made durable"):
            self._roll()
            if not self._finished:
                return None
            self._staging.sync()
        named = [
            {**file, "final": self._staging.final_name(number, sequence)}
            for sequence, file in enumerate(self._finished)
        ]
        self._finished = []
        return {"files": named}

    def commit(self, number: int, pending: Json) -> None:
        if pending is None:
            return
        with explained(f"checkpoint {number} can't be published in {self._staging.output!r}"):
            self._staging.publish(pending["files"])

    def last_committed(self) -> int:
        return self._staging.last_committed()

    def close(self) -> None:
        """Remove what was written and not prepared; prepared files wait for their commit."""
        unprepared = [file["staged"] for file in self._finished]
        if self._open is not None:
            self._open.abandon()
            unprepared.append(self._open.staged)
        self._open, self._finished = None, []
        with explained(f"unfinished files of {self._staging.output!r} can't be removed"):
            self._staging.discard(unprepared)

    def clean(self, keep: set[str]) -> None:
        """See `Cleans`."""
        with explained(f"old files beside {self._staging.output!r} can't be removed"):
            self._staging.clean(keep)


class StagedParquet:
    """One file being written: rows are held until they fill a row group."""

    def __init__(self, staged: str, file: DiskFile, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq  # noqa: PLC0415 - 50 ms that flows without Parquet don't pay

        self.staged = staged
        self.rows = 0
        self._schema = schema
        self._out = _Hashing(file)
        self._parquet = pq.ParquetWriter(self._out, schema)
        self._held: list[pa.RecordBatch] = []
        self._held_rows = 0
        self._held_bytes = 0

    def add(self, rows: pa.RecordBatch) -> None:
        self._held.append(rows)
        self._held_rows += rows.num_rows
        self._held_bytes += rows.nbytes
        self.rows += rows.num_rows
        if self._held_rows >= ROW_GROUP_ROWS or self._held_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            self._parquet.write_table(pa.Table.from_batches(self._held, self._schema), ROW_GROUP_ROWS)
        self._held, self._held_rows, self._held_bytes = [], 0, 0

    def finish(self) -> dict[str, Any]:
        """Footer, fsync, close; what the pending commit needs to know of the file."""
        self._flush()
        self._parquet.close()
        self._out.file.sync()
        self._out.file.close()
        return {"staged": self.staged, "length": self._out.position, "sha256": self._out.hash.hexdigest()}

    def abandon(self) -> None:
        """Close without finishing; the file is good for nothing."""
        self._out.ignore = True
        self._out.file.close()

    def __del__(self) -> None:
        # pyarrow's writer adds a footer when it is collected. After a crash (in the simulator, or an
        # exception that nobody caught) nobody must write to the disk any more.
        self._out.ignore = True


class _Hashing(WritableFile):
    """A file object for pyarrow that counts and hashes what passes, so that nothing is read back."""

    def __init__(self, file: DiskFile) -> None:
        self.file = file
        self.hash = sha256()
        self.ignore = False

    def write(self, data: bytes | memoryview | pa.Buffer) -> int:
        size = memoryview(data).nbytes
        if not self.ignore:
            self.file.write(data)
            self.hash.update(data)
            self.position += size
        return size

    def close(self) -> None:
        """The file is closed by `StagedParquet`, after its sync."""


def check_schema(schema: pa.Schema) -> None:
    """Find out now, not at the first row, whether Parquet has all the types."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        pq.ParquetWriter(pa.BufferOutputStream(), schema).close()
    except pa.ArrowException as error:
        raise SinkError(
            "Parquet can't hold these columns",
            expected="types that Parquet knows",
            found=str(error).splitlines()[0],
            remedy="cast or drop the column before the sink",
        ) from error
