"""CSV files: a source over the records of files that are there, with declared columns, and a staged sink."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from streamlib.connectors.calls import as_call
from streamlib.connectors.csv_dialect import Dialect, check_types, header_of
from streamlib.connectors.csv_errors import UnclosedQuote, explain, never_closed
from streamlib.connectors.csv_records import Records
from streamlib.connectors.csv_sink import sink
from streamlib.connectors.file_reader import FileReader, Unchanged, drop_rows
from streamlib.connectors.files import Files, Paths, files_at
from streamlib.connectors.partitioned import Partitionable
from streamlib.connectors.places import COMPRESSED
from streamlib.connectors.positions import row_number
from streamlib.connectors.schemas import conform, plain, schema_line
from streamlib.connectors.sifting import NOTHING, Sifted, broken_off, sift
from streamlib.connectors.stores import S3
from streamlib.connectors.text_blocks import BrokenOff, TooLong, head, read_blocks
from streamlib.core.batch import schema_of
from streamlib.core.contracts import Json
from streamlib.core.errors import (
    DefinitionError,
    SourceError,
    StreamlibError,
    UnknownColumnError,
    did_you_mean,
)

__all__ = ["CsvSource", "sink", "source"]

SUFFIXES = tuple(f"{name}{how}" for name in (".csv", ".tsv") for how in ("", *COMPRESSED))


@dataclass(frozen=True, repr=False)
class CsvSource(Partitionable):
    """CSV files, each a partition. Made by `source`; equal where paths, columns and dialect are."""

    files: Files
    columns: pa.Schema
    dialect: Dialect

    @property
    def declared(self) -> pa.Schema:
        """See `OfFiles.declared`."""
        return self.columns

    def schema(self) -> pa.Schema:
        """The declared columns; reads every header and raises where a column is not in it."""
        for path in self.files.find().values():
            self._columns_of(path)
        return self.columns

    def partitions(self) -> Sequence[str]:
        return list(self.files.find())

    def open(self, partition: str, position: Json | None, event_time: str | None) -> FileReader:
        """See `Source.open`. Parses and discards what precedes `position`; knows no floors."""
        row = row_number(position, partition)
        if event_time is not None and event_time not in self.columns.names:
            raise UnknownColumnError.of(event_time, self.columns.names)
        path = self.files.path_of(partition)
        unchanged = Unchanged(self.files.place, path)
        names = self._columns_of(path)

        def failed(error: Exception) -> StreamlibError:
            return explain(error, repr(path), names)

        return FileReader(drop_rows(self._sifted(path, names), row, partition), row, unchanged, failed)

    def _sifted(self, path: str, names: Sequence[str]) -> Iterator[Sifted]:
        records, number, header = self.dialect.records(), 0, self.dialect.header
        parse = partial(self._parse, names)
        for item in read_blocks(self.files.place, path, records.end):
            if isinstance(item, BrokenOff):
                yield Sifted(number, NOTHING, (broken_off(item, number, path),))
            elif isinstance(item, TooLong):
                raise never_closed(f"{path!r}, line {item.line}", item.data)
            else:
                block = item.behind(records.first(item.data)[1]) if header else item
                header = False
                if block.data:
                    sifted = sift(
                        block,
                        number,
                        path,
                        partial(_closed, records, parse) if block.last else parse,
                        records.spans,
                        lambda error, where: explain(error, where, names),
                    )
                    number += sifted.records
                    yield sifted

    def _parse(self, names: Sequence[str], data: bytes) -> pa.RecordBatch:
        return conform(self.dialect.parse(data, names, self.columns), self.columns)

    def _columns_of(self, path: str) -> list[str]:
        """The names of all columns in the file: its header, or the declared ones without a header."""
        if not self.dialect.header:
            return self.columns.names
        names = header_of(self.files.place, path, self.dialect)
        if names is None:
            raise _no_header(path, self.columns)
        for name in self.columns.names:
            _in_header(name, names, path)
        return names

    def __repr__(self) -> str:
        options = {**self.dialect.given(), "store": self.files.store}
        return as_call("csv.source", self.files.given, self.columns.names, **options)


def source(
    path: Paths,
    schema: pa.Schema | Mapping[str, pa.DataType] | None = None,
    *,
    delimiter: str = ",",
    quote: str = '"',
    header: bool = True,
    null_values: Sequence[str] = ("",),
    store: S3 | None = None,
) -> CsvSource:
    """A replayable, bounded source over CSV files in UTF-8; a position is a row number.

    Quoted values may hold delimiters and line breaks; a doubled quote in them is a quote. Blank
    lines are skipped. Columns of the file that are not in `schema` are ignored. Resuming parses
    the file from its beginning and discards what was read: prefer Parquet for large files.

    Args:
        path: a file, a folder (its `.csv` and `.tsv` files, also with `.gz`, `.bz2` or `.zst` behind, and
            in folders below), a glob, or a list of these. Files are looked up when the flow is bound.
            `"s3://bucket/..."` is in a bucket.
        schema: names and types of the columns to read. A timestamp with a time zone takes values
            with an offset or `Z`, one without takes values without.
        delimiter: one character between values.
        quote: the character around values; "" for none.
        header: whether the first record names the columns. If not, `schema` must have all columns
            of the file, in its order.
        null_values: texts that mean null, in columns of every type; in quotes they are just text.
        store: where the path is, if not on the local disk: `stores.s3(...)`.

    Raises:
        DefinitionError: no `schema` (the remedy holds one to paste, inferred from the first file),
            or a delimiter or quote that is not one character.
        TypeMismatchError: a column has a type that CSV can't be read as.

    When the flow is bound, raises `SourceError` for a path that names nothing, `UnknownColumnError`
    for a column that a file does not have. When it runs, for a file that changed or vanished, and for a
    quote that opens a value and is not closed within 4 MiB. A record of the wrong length, or with a value
    that does not fit, is broken: `sl.read(..., on_error=)` says what happens to it. So is the end of
    compressed data that breaks off.

    >>> source("in/*.csv", {"id": pa.int64(), "name": pa.string()}).columns.names
    ['id', 'name']
    """
    files = files_at(path, SUFFIXES, store)
    dialect = Dialect(delimiter, quote, header, tuple(null_values))
    if schema is None:
        raise _no_schema(files, dialect)
    columns = plain(schema_of(schema))
    if not columns.names or len(set(columns.names)) < len(columns.names):
        raise DefinitionError(
            "the schema can't be read",
            expected="at least one column, each with a name of its own",
            found=", ".join(columns.names) or "no columns",
            remedy="name the columns to read",
        )
    check_types(columns)
    return CsvSource(files, columns, dialect)


def _closed(records: Records, parse: Callable[[bytes], pa.RecordBatch], data: bytes) -> pa.RecordBatch:
    """Parses the end of a file, where Arrow would not mind a quote that is never closed."""
    if records.unclosed(data):
        raise UnclosedQuote(data)
    return parse(data)


def _no_schema(files: Files, dialect: Dialect) -> DefinitionError:
    try:
        first = next(iter(files.find().values()))
        line = schema_line(dialect.parse(head(files.place, first, dialect.records().end), None, None).schema)
        remedy = f"check the types and pass {line}"
    except (SourceError, pa.ArrowException, OSError):
        remedy = 'pass schema=, for example schema={"id": pa.int64(), "name": pa.string()}'
    return DefinitionError(
        "csv.source needs a schema: the same text can be a number, a date or a name",
        expected="schema= with names and types of the columns to read",
        found="none",
        remedy=remedy,
    )


def _no_header(path: str, columns: pa.Schema) -> SourceError:
    return SourceError(
        f"{path!r} is empty",
        expected=f"a header that names {', '.join(columns.names)}",
        found="no line at all",
        remedy="write the header even if there are no rows, or give header=False if files have none",
    )


def _in_header(name: str, names: Sequence[str], path: str) -> None:
    if names.count(name) == 1:
        return
    if name in names:
        raise SourceError(
            f"{path!r} has several columns called {name!r}",
            expected="one column of that name",
            found=", ".join(names),
            remedy="rename the columns in the header",
        )
    raise UnknownColumnError(
        f"no column {name!r} in {path!r}",
        expected=f"one of {', '.join(names)}",
        found=repr(name),
        remedy=did_you_mean(name, names) or "correct schema=, or the delimiter if the names run together",
    )
