"""Avro files: a source over those that are there, and a staged sink."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from streamlib.connectors.avro_sink import sink
from streamlib.connectors.calls import as_call
from streamlib.connectors.described_files import DescribedFiles
from streamlib.connectors.file_schemas import columns_in
from streamlib.connectors.files import Paths, files_at
from streamlib.connectors.schemas import conform
from streamlib.connectors.stores import S3
from streamlib.core.errors import DefinitionError, SourceError, StreamlibError
from streamlib.formats.avro_blocks import AvroBlocks

__all__ = ["AvroSource", "sink", "source"]

BATCH_ROWS = 8_192  # a record is a Python dict of some hundred bytes for a moment
SUFFIXES = (".avro",)


@dataclass(frozen=True, repr=False)
class AvroSource(DescribedFiles):
    """Avro files, each a partition. Made by `source`; equal where the paths are."""

    def columns_of(self, path: str) -> pa.Schema:
        """See `DescribedFiles.columns_of`."""
        with self._opened(path) as blocks:
            return columns_in(path, blocks.columns)

    def batches(self, path: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """See `DescribedFiles.batches`."""
        with self._opened(path) as blocks:
            chosen = pa.schema([blocks.columns.field(name) for name in schema.names])
            for rows in blocks.rows(chosen, BATCH_ROWS):
                yield conform(rows, schema)

    @contextmanager
    def _opened(self, path: str) -> Iterator[AvroBlocks]:
        try:
            with self.files.place.open(path) as file:
                yield AvroBlocks(file)
        except DefinitionError as error:
            raise SourceError(
                f"{path!r} has a schema that can't become columns",
                expected=error.expected,
                found=error.found,
                remedy="write it again without such types",
            ) from error
        except (StreamlibError, OSError):
            raise
        except Exception as error:  # whatever fastavro and the libraries of its codecs raise for bad bytes
            raise self.damaged(path, error) from error

    def damaged(self, path: str, error: Exception) -> SourceError:
        """See `DescribedFiles.damaged`."""
        return SourceError(
            f"{path!r} can't be read",
            expected="a complete Avro file with its header",
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            remedy="check that it is Avro and was written to its end; remove it from the path if not",
        )

    def __repr__(self) -> str:
        return as_call("avro.source", self.files.given, store=self.files.store)


def source(path: Paths, *, store: S3 | None = None) -> AvroSource:
    """A replayable, bounded source over Avro files; a position is a row number.

    The columns are those of the schema in the files: numbers, texts, bytes, enums (text), fixed, decimals,
    dates, times and timestamps, records, arrays, maps, and unions of one of these with null. Records are
    read one by one, as Avro has them: prefer Parquet for large files. Resuming reads a file from its
    beginning. Needs `pip install "streamlib[avro]"`; codecs other than deflate need their packages.

    Args:
        path: a file, a folder (its `.avro` files, also in folders below), a glob, or a list of these. Files
            are looked up when the flow is bound.
        store: where the path is, if not on the local disk: `stores.s3(...)`.

    When the flow is bound, raises `SourceError` for a path that names nothing, a file that is not Avro, or
    files with different columns (their order does not matter), and `MissingExtraError` without fastavro.
    When it runs, for a file that is damaged, changed or vanished.

    >>> source("history/*.avro")
    avro.source('history/*.avro')
    """
    return AvroSource(files_at(path, SUFFIXES, store))
