"""Parquet files: a source over the row groups of files that are there, and staged sinks."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, TypeVar

import pyarrow as pa

from streamlib.connectors.calls import as_call
from streamlib.connectors.file_reader import FileReader, Unchanged, drop_rows
from streamlib.connectors.file_schemas import check_same, columns_in
from streamlib.connectors.files import Files, Paths, files_at
from streamlib.connectors.parquet_pruning import prune
from streamlib.connectors.parquet_sink import sink
from streamlib.connectors.parquet_snapshot import ParquetSnapshotSink, snapshot_sink
from streamlib.connectors.parquet_statistics import RowGroups, coded_columns
from streamlib.connectors.partitioned import Partitionable
from streamlib.connectors.places import Place
from streamlib.connectors.positions import beyond_end, row_number
from streamlib.connectors.schemas import conform, plain
from streamlib.connectors.stores import S3
from streamlib.core.contracts import Json, LeftOut
from streamlib.core.errors import SourceError, UnknownColumnError
from streamlib.core.expressions import Expr

__all__ = ["ParquetSnapshotSink", "ParquetSource", "sink", "snapshot_sink", "source"]

BATCH_ROWS = 131_072  # a few MB for ten columns: large enough for kernels, small enough for caches
SUFFIXES = (".parquet", ".pq")
_T = TypeVar("_T")


@dataclass(frozen=True, repr=False)
class ParquetSource(Partitionable):
    """Parquet files, each a partition. Made by `source`; equal where the paths are."""

    files: Files
    columns: tuple[str, ...] | None = field(default=None, kw_only=True, repr=False)
    """The columns that are read; None: all."""
    only: tuple[Expr, str | None] | None = field(default=None, kw_only=True, repr=False, compare=False)
    """A condition without which rows need not be read, and the column that is the event time."""
    _bound: dict[str, pa.Schema] = field(default_factory=dict, init=False, repr=False, compare=False)
    """The schema that was last told, which every file that is opened must still have."""

    @property
    def declared(self) -> None:
        """See `OfFiles.declared`."""

    def schema(self) -> pa.Schema:
        """The columns of the first file; reads every footer and raises `SourceError` where one differs."""
        return self._chosen(self._whole())

    def project(self, columns: Sequence[str]) -> ParquetSource:
        """See `Projects.project`."""
        made = replace(self, columns=tuple(columns))
        made._bound.update(self._bound)
        return made

    def skipping(self, condition: Expr, event_time: str | None) -> ParquetSource:
        """See `Skips.skipping`."""
        made = replace(self, only=(condition, event_time))
        made._bound.update(self._bound)
        return made

    def _chosen(self, whole: pa.Schema) -> pa.Schema:
        return whole if self.columns is None else pa.schema([whole.field(name) for name in self.columns])

    def _whole(self) -> pa.Schema:
        if self.columns is not None and "schema" in self._bound:
            return self._bound["schema"]  # the footers were read before the columns were chosen
        place = self.files.place
        (first, expected), *others = (
            (path, _footer_schema(place, path)) for path in self.files.find().values()
        )
        for path, found in others:
            check_same(repr(first), expected, path, found)
        self._bound["schema"] = expected
        return expected

    def partitions(self) -> Sequence[str]:
        return list(self.files.find())

    def row_count(self) -> int:
        return sum(_row_count(self.files.place, path) for path in self.files.find().values())

    def least_time(self, partition: str, event_time: str) -> int | None:
        """See `KnowsTimes`."""
        with _closing(_opened(self.files.place, self.files.path_of(partition))) as file:
            return RowGroups(file.metadata, event_time).floor(0)

    def open(self, partition: str, position: Json | None, event_time: str | None) -> FileReader:
        row = row_number(position, partition)
        path = self.files.path_of(partition)
        schema = self._bound.get("schema") or self._whole()
        unchanged = Unchanged(self.files.place, path)
        file = _opened(self.files.place, path)
        check_same("the flow's schema", schema, path, plain(file.schema_arrow))
        if event_time is not None and event_time not in schema.names:
            raise UnknownColumnError.of(event_time, schema.names)
        groups = RowGroups(file.metadata, event_time)
        if self.only is not None:
            prune(groups, file.metadata, schema, *self.only)
        if row > groups.rows:
            raise beyond_end(partition, row, groups.rows)
        return ParquetReader(
            _Rows(self.files.place, path, file, groups, row, self._chosen(schema), partition),
            row,
            unchanged,
            failed=lambda error: _damaged(path, error),
            floor=groups.floor,
            close=lambda: file.close(force=True),
        )

    def __repr__(self) -> str:
        return as_call("parquet.source", self.files.given, store=self.files.store)


def source(path: Paths, *, store: S3 | None = None) -> ParquetSource:
    """A replayable, bounded source over Parquet files; a position is a row number.

    Files are read row group by row group, so memory is bounded by one (compressed) row group and
    some batches; resuming skips whole row groups. So do filters directly behind `sl.read`, where
    statistics show that no row passes them: comparisons of columns with constants, `is_in`,
    `is_between`, `is_null`, and what `& | ~` make of them. Row-group statistics of the event time tell batch
    runs how far they are; a naive event time is taken as UTC there. Folder names such as
    `region=eu` are columns with `.partitioned_by(...)`.

    Args:
        path: a file, a folder (its `.parquet` and `.pq` files, also in folders below), a glob, or a
            list of these. Files are looked up when the flow is bound. `"s3://bucket/..."` is in a bucket.
        store: where the path is, if not on the local disk: `stores.s3(...)`.

    When the flow is bound, raises `SourceError` for a path that names nothing, a file that is not
    Parquet, or files with different columns (their order does not matter). When it runs, for a file
    that changed or vanished.

    >>> source("history/*.parquet")
    parquet.source('history/*.parquet')
    """
    return ParquetSource(files_at(path, SUFFIXES, store))


class ParquetReader(FileReader):
    """Reads one file; texts as codes where it is told that they are taken."""

    def __init__(self, rows: _Rows, *args: Any, **kwargs: Any) -> None:
        super().__init__(rows.batches(), *args, **kwargs)
        self._rows = rows

    def give_codes(self) -> None:
        self._rows.codes = True


@dataclass
class _Rows:
    """The rows of a file from one on, in batches; how is decided when the first is asked for."""

    place: Place
    path: str
    file: Any
    groups: RowGroups
    row: int
    schema: pa.Schema
    partition: str
    codes: bool = False

    def batches(self) -> Iterator[pa.RecordBatch | LeftOut]:
        file, schema = self.file, self.schema
        coded = [n for n in coded_columns(file) if n in schema.names] if self.codes else []
        if coded:
            file = _opened(self.place, self.path, read_dictionary=coded, metadata=file.metadata)
            schema = _with_codes(schema, coded)
        with _closing(file):
            for run, left_out in self.groups.runs(self.row):
                if left_out is not None:
                    yield left_out
                    continue
                start = self.groups.first_row(run[0])
                batches = self._decoded(file, schema.names, run)
                rest = drop_rows(batches, max(self.row - start, 0), self.partition)
                for rows in _up_to_group_ends(rest, self.groups, max(self.row, start)):
                    yield conform(rows, schema)

    def _decoded(self, file: Any, names: Sequence[str], run: range) -> Iterator[pa.RecordBatch]:
        for groups in self.groups.spans(run, BATCH_ROWS):  # Arrow keeps the bytes of all it was asked for
            # one file is one partition, read in order: Arrow's threads decode its columns side by side
            yield from file.iter_batches(BATCH_ROWS, columns=names, row_groups=groups, use_threads=True)


def _with_codes(schema: pa.Schema, coded: Sequence[str]) -> pa.Schema:
    """The schema with dictionaries, as Parquet's readers make them, for the types of columns."""
    codes = {name: pa.dictionary(pa.int32(), schema.field(name).type) for name in coded}
    return pa.schema([f.with_type(codes.get(f.name, f.type)) for f in schema])


def _up_to_group_ends(
    batches: Iterator[pa.RecordBatch], groups: RowGroups, row: int
) -> Iterator[pa.RecordBatch]:
    """The batches, cut where a row group ends: only there a chunk's floor can rise."""
    for batch in batches:
        edges = [0, *groups.ends_within(row, batch.num_rows), batch.num_rows]
        for start, stop in pairwise(edges):
            yield batch.slice(start, stop - start)
        row += batch.num_rows


def _opened(place: Place, path: str, **options: Any) -> Any:
    """The file, to be closed by `_closing`: pyarrow leaves what it did not open itself open."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - 50 ms that flows without Parquet don't pay

    return _reading(path, lambda: pq.ParquetFile(place.open(path), **options))


@contextmanager
def _closing(file: Any) -> Iterator[Any]:
    try:
        yield file
    finally:
        file.close(force=True)


def _footer_schema(place: Place, path: str) -> pa.Schema:
    with _closing(_opened(place, path)) as file:
        return columns_in(path, file.schema_arrow)


def _row_count(place: Place, path: str) -> int:
    with _closing(_opened(place, path)) as file:
        return int(file.metadata.num_rows)


def _reading(path: str, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except SourceError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: str, error: Exception) -> SourceError:
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return SourceError(
            f"{path!r} can't be opened beside the files that are open",
            expected="at most as many files as a process may have open, since a stream reads all at once",
            found=error.strerror,
            remedy="raise the limit (`ulimit -n`), read fewer files, or run it as a batch: `backfill`",
        )
    return SourceError(
        f"{path!r} can't be read",
        expected="a complete Parquet file",
        found=str(error).splitlines()[0],
        remedy="check that it is Parquet and was written to its end; remove it from the path if not",
    )
