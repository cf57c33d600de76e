"""Arrow IPC files and streams: a source over those that are there, and a staged sink."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from streamlib.connectors.calls import as_call
from streamlib.connectors.described_files import DescribedFiles
from streamlib.connectors.file_schemas import columns_in
from streamlib.connectors.files import Paths, files_at
from streamlib.connectors.ipc_sink import sink
from streamlib.connectors.places import Place
from streamlib.connectors.schemas import conform
from streamlib.connectors.stores import S3
from streamlib.core.errors import SourceError

__all__ = ["IpcSource", "sink", "source"]

BATCH_ROWS = 131_072  # as for Parquet; a batch in a file may hold all of it, and is handed on in parts
SUFFIXES = (".arrow", ".arrows", ".feather", ".ipc")
_MAGIC = b"ARROW1"  # at the beginning of the file format; a stream begins with its schema


@dataclass(frozen=True, repr=False)
class IpcSource(DescribedFiles):
    """Arrow IPC files, each a partition. Made by `source`; equal where the paths are."""

    def columns_of(self, path: str) -> pa.Schema:
        """See `DescribedFiles.columns_of`."""
        try:
            with _opened(self.files.place, path) as (reader, _):
                return columns_in(path, reader.schema)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, SourceError):
                raise
            raise self.damaged(path, error) from error

    def batches(self, path: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """See `DescribedFiles.batches`."""
        with _opened(self.files.place, path, schema.names) as (reader, whole):
            found = (reader.get_batch(i) for i in range(reader.num_record_batches)) if whole else iter(reader)
            for batch in found:
                batch.validate(full=True)  # kernels trust offsets, and these come from outside
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    yield conform(batch.slice(start, BATCH_ROWS), schema)

    def damaged(self, path: str, error: Exception) -> SourceError:
        """See `DescribedFiles.damaged`."""
        return SourceError(
            f"{path!r} can't be read",
            expected="a complete Arrow IPC file or stream",
            found=str(error).splitlines()[0] if str(error) else "no bytes",
            remedy="check that it is Arrow IPC and was written to its end; remove it from the path if not",
        )

    def __repr__(self) -> str:
        return as_call("ipc.source", self.files.given, store=self.files.store)


def source(path: Paths, *, store: S3 | None = None) -> IpcSource:
    """A replayable, bounded source over Arrow IPC files and streams; a position is a row number.

    Which of the two a file is shows in its first bytes. Columns that a flow does not need are not read.
    Files are read batch by batch, so memory is bounded by one of them, as the writer made it.

    Args:
        path: a file, a folder (its `.arrow`, `.arrows`, `.feather` and `.ipc` files, also in folders below),
            a glob, or a list of these. Files are looked up when the flow is bound.
        store: where the path is, if not on the local disk: `stores.s3(...)`.

    When the flow is bound, raises `SourceError` for a path that names nothing, a file that is not Arrow
    IPC, or files with different columns (their order does not matter). When it runs, for a file that
    is damaged, changed or vanished.

    >>> source("history/*.arrow")
    ipc.source('history/*.arrow')
    """
    return IpcSource(files_at(path, SUFFIXES, store))


@contextmanager
def _opened(place: Place, path: str, columns: Sequence[str] | None = None) -> Iterator[tuple[Any, bool]]:
    """A reader of the file, and whether it knows all batches; with `columns` it gives only these."""
    with place.open(path) as file:
        whole = file.read(len(_MAGIC)) == _MAGIC
        file.seek(0)
        opened = pa.ipc.open_file if whole else pa.ipc.open_stream
        options = pa.ipc.IpcReadOptions(use_threads=False)
        if columns is not None:
            with _opened(place, path) as (all_of_them, _):
                names = all_of_them.schema.names
            options.included_fields = sorted(names.index(name) for name in columns)
        with opened(file, options=options) as reader:
            yield reader, whole
