"""The staged sink of Arrow IPC files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import ClassVar

import pyarrow as pa

from streamlib.connectors.file_sink import MAX_BYTES_PER_FILE, MAX_ROWS_PER_FILE, FileSink, file_sink
from streamlib.connectors.open_file import Encoder, Encoding
from streamlib.connectors.stores import S3
from streamlib.core.disk import WritableFile
from streamlib.core.errors import SinkError


@dataclass(frozen=True)
class IpcEncoding(Encoding):
    """The file format of Arrow; see `Encoding`."""

    name: ClassVar[str] = "ipc"
    ending: ClassVar[str] = ".arrow"

    def check(self, schema: pa.Schema) -> None:
        for field in schema:
            if pa.types.is_nested(field.type) and "dictionary<" in str(field.type):
                raise SinkError(
                    f"an Arrow file can't hold the column {field.name!r}",
                    expected="no dictionaries in nested columns: a file has one, and batches differ",
                    found=f"type {field.type}",
                    remedy="cast it to plain values before the sink",
                )

    def open(self, file: WritableFile, schema: pa.Schema) -> Encoder:
        return _Batches(file, schema)


class _Batches:
    """Makes a record batch of every block."""

    def __init__(self, file: WritableFile, schema: pa.Schema) -> None:
        self._schema = pa.schema([field.with_type(_plain(field.type)) for field in schema])
        self._ipc = pa.ipc.new_file(pa.PythonFile(file, "w"), self._schema)

    def write(self, block: pa.Table) -> None:
        self._ipc.write_table(block.cast(self._schema).combine_chunks())

    def finish(self) -> None:
        self._ipc.close()


def _plain(dtype: pa.DataType) -> pa.DataType:
    return dtype.value_type if pa.types.is_dictionary(dtype) else dtype


def sink(
    path: str | PathLike[str],
    max_rows_per_file: int = MAX_ROWS_PER_FILE,
    *,
    max_bytes_per_file: int = MAX_BYTES_PER_FILE,
    partition_by: str | Sequence[str] = (),
    store: S3 | None = None,
) -> FileSink:
    """An exactly-once sink: a folder of Arrow IPC files (Feather), whose readers see only whole checkpoints.

    Files end in `.arrow`, are not compressed, and can be memory-mapped. When files end, how they are
    called and what is checked at the start is the same as for `parquet.sink`. Dictionaries become
    plain values.

    Args:
        path: the folder; created, with its parents, when the job starts. `~` is the home folder. Or
            a prefix in `store`, or `"s3://bucket/prefix"`.
        max_rows_per_file: the most rows of one file.
        max_bytes_per_file: about how long a file gets: it ends where this is reached.
        partition_by: columns whose values become folders, as in `day=2024-01-01/`, instead of columns.
        store: where the path is, if not on the local disk: `stores.s3(...)`.

    Raises:
        DefinitionError: an option that is not as described.

    >>> sink("out/hot", 1_000_000)
    ipc.sink('out/hot', max_rows_per_file=1000000)
    """
    return file_sink(path, IpcEncoding(), max_rows_per_file, max_bytes_per_file, partition_by, store)
