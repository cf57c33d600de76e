"""The staged sink of files, for every format: whole files, published by checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

from streamlib.connectors.calls import as_call
from streamlib.connectors.file_writer import FileWriter
from streamlib.connectors.open_file import Encoding
from streamlib.connectors.partitioning import Partitioning, partition_columns
from streamlib.connectors.staging import Staging, local_staging
from streamlib.connectors.stores import S3, located
from streamlib.core.contracts import Delivery, SinkContext
from streamlib.core.errors import DefinitionError, shown

MAX_ROWS_PER_FILE = 5_000_000  # the default
MAX_BYTES_PER_FILE = 1 << 30  # the default: 1 GiB
LARGEST_OBJECT = 4 << 30  # bytes: a server copies 5 GB in one request, and files get somewhat longer


@dataclass(frozen=True, repr=False)
class FileSink:
    """A folder of files in one format. Made by the `sink` of a format; equal where all options are."""

    path: str
    encoding: Encoding
    max_rows_per_file: int = MAX_ROWS_PER_FILE
    max_bytes_per_file: int = MAX_BYTES_PER_FILE
    partition_by: tuple[str, ...] = ()
    store: S3 | None = None
    """None: the local disk."""

    @property
    def delivery(self) -> Delivery:
        return "staged"

    def open(self, context: SinkContext) -> FileWriter:
        """Check that files can be written, staged and published; nothing is shown to readers yet."""
        partitioning = Partitioning(self.partition_by, context.schema)
        self.encoding.check(partitioning.schema)
        staging = self._staging(context)
        staging.open()
        limits = self.max_rows_per_file, self.max_bytes_per_file
        return FileWriter(staging, self.encoding, context.schema, partitioning, *limits)

    def _staging(self, context: SinkContext) -> Staging:
        if self.store is None:
            return local_staging(self.path, context, self.encoding.suffix)
        from streamlib.connectors.object_disk import StoreStaging  # noqa: PLC0415 - an extra, which few need

        return StoreStaging(self.store, self.path, context, self.encoding.suffix)

    def __repr__(self) -> str:
        rows, size = self.max_rows_per_file, self.max_bytes_per_file
        return as_call(
            f"{self.encoding.name}.sink",
            self.path,
            max_rows_per_file=None if rows == MAX_ROWS_PER_FILE else rows,
            max_bytes_per_file=None if size == MAX_BYTES_PER_FILE else size,
            partition_by=self.partition_by or None,
            store=self.store,
            **self.encoding.given(),
        )


def file_sink(
    path: str | PathLike[str],
    encoding: Encoding,
    max_rows_per_file: int,
    max_bytes_per_file: int,
    partition_by: str | Sequence[str],
    store: S3 | None,
) -> FileSink:
    """A `FileSink` of what a user gave. Raises `DefinitionError` for what can't be right."""
    for name, value in (("max_rows_per_file", max_rows_per_file), ("max_bytes_per_file", max_bytes_per_file)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise DefinitionError(
                f"{name} must be positive",
                expected="a whole number from 1 on",
                found=shown(value),
                remedy="leave it out, or give a larger number",
            )
    within, store = located(path, store)
    if store is not None:
        _check_store(within, max_bytes_per_file)
    columns = partition_columns(partition_by)
    return FileSink(within, encoding, max_rows_per_file, max_bytes_per_file, columns, store)


def _check_store(path: str, max_bytes_per_file: int) -> None:
    if not path:
        raise DefinitionError(
            "a sink needs a place of its own in the bucket",
            expected='a prefix: "hot" in store=, or "s3://bucket/hot"',
            found="none",
            remedy="give one: staged objects are beside it",
        )
    if max_bytes_per_file > LARGEST_OBJECT:
        raise DefinitionError(
            "max_bytes_per_file is too large for a store",
            expected=f"at most {LARGEST_OBJECT:,}: servers copy 5 GB in one request",
            found=f"{max_bytes_per_file:,}",
            remedy="leave it out, or give a smaller number",
        )
