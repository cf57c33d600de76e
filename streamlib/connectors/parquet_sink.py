"""The staged sink of Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import ClassVar

import pyarrow as pa

from streamlib.connectors.file_sink import MAX_BYTES_PER_FILE, MAX_ROWS_PER_FILE, FileSink, file_sink
from streamlib.connectors.open_file import BLOCK_ROWS, Encoder, Encoding
from streamlib.connectors.stores import S3
from streamlib.core.disk import WritableFile
from streamlib.core.errors import SinkError


@dataclass(frozen=True)
class ParquetEncoding(Encoding):
    """Parquet, compressed by Snappy; see `Encoding`."""

    name: ClassVar[str] = "parquet"
    ending: ClassVar[str] = ".parquet"

    def check(self, schema: pa.Schema) -> None:
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

    def open(self, file: WritableFile, schema: pa.Schema) -> Encoder:
        return _RowGroups(file, schema)


class _RowGroups:
    """Makes a row group of every block."""

    def __init__(self, file: WritableFile, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq  # noqa: PLC0415 - 50 ms that flows without Parquet don't pay

        self._parquet = pq.ParquetWriter(file, schema)

    def write(self, block: pa.Table) -> None:
        self._parquet.write_table(block, BLOCK_ROWS)

    def finish(self) -> None:
        self._parquet.close()


def sink(
    path: str | PathLike[str],
    max_rows_per_file: int = MAX_ROWS_PER_FILE,
    *,
    max_bytes_per_file: int = MAX_BYTES_PER_FILE,
    partition_by: str | Sequence[str] = (),
    store: S3 | None = None,
) -> FileSink:
    """An exactly-once sink: a folder of Parquet files, whose readers see only whole checkpoints.

    A file ends at every checkpoint, and earlier where it is full. Files are called
    `<job>-<sink>-<checkpoint>-<sequence>.parquet` and are staged in the sibling folder
    `<path>.staging`, which must be on the same filesystem. The folder belongs to one job.

    Args:
        path: the folder; created, with its parents, when the job starts. `~` is the home folder. Or
            a prefix in `store`, or `"s3://bucket/prefix"`.
        max_rows_per_file: the most rows of one file.
        max_bytes_per_file: about how long a file gets: it ends where this is reached.
        partition_by: columns whose values become folders, as in `day=2024-01-01/region=eu/`, instead
            of columns of the files: texts, integers, booleans or dates. 64 files are open at most.
        store: where the path is, if not on the local disk: `stores.s3(...)`.

    Raises:
        DefinitionError: a limit below 1, or a column whose name can't be that of a folder.

    When the job starts, raises `SinkError` where the folder can't be written or holds another job's
    files. When it commits, where a prepared file has disappeared.

    >>> sink("out/hot")
    parquet.sink('out/hot')
    >>> sink("out/hot", partition_by="day")
    parquet.sink('out/hot', partition_by=('day',))
    """
    return file_sink(path, ParquetEncoding(), max_rows_per_file, max_bytes_per_file, partition_by, store)
