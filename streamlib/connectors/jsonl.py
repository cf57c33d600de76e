"""JSON lines: a source over files with an object on each line, and a staged sink."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa

from streamlib.connectors.calls import as_call
from streamlib.connectors.file_reader import FileReader, Unchanged, drop_rows
from streamlib.connectors.files import Files, Paths, files_at
from streamlib.connectors.jsonl_sink import sink
from streamlib.connectors.partitioned import Partitionable
from streamlib.connectors.places import COMPRESSED
from streamlib.connectors.positions import row_number
from streamlib.connectors.schemas import conform, plain, schema_line
from streamlib.connectors.sifting import NOTHING, OR_SAY_WHAT_HAPPENS, Sifted, broken_off, too_long
from streamlib.connectors.stores import S3
from streamlib.connectors.text_blocks import BLOCK_BYTES, Block, BrokenOff, TooLong, head, read_blocks
from streamlib.core.contracts import Broken, Json
from streamlib.core.errors import DefinitionError, SourceError, StreamlibError, UnknownColumnError
from streamlib.formats.contract import Decode, Format
from streamlib.formats.msgspec_formats import json
from streamlib.formats.shapes import Shape

__all__ = ["JsonlSource", "sink", "source"]

SUFFIXES = tuple(f"{name}{how}" for name in (".jsonl", ".ndjson", ".json") for how in ("", *COMPRESSED))


@dataclass(frozen=True, repr=False)
class JsonlSource(Partitionable):
    """Files of JSON lines, each a partition. Made by `source`; equal where paths and columns are."""

    files: Files
    format: Format

    @property
    def declared(self) -> pa.Schema:
        """See `OfFiles.declared`."""
        return plain(self.format.schema)

    def schema(self) -> pa.Schema:
        """The declared columns. Raises `SourceError` where a path names nothing."""
        self.files.find()
        return plain(self.format.schema)

    def partitions(self) -> Sequence[str]:
        return list(self.files.find())

    def open(self, partition: str, position: Json | None, event_time: str | None) -> FileReader:
        """See `Source.open`. Parses and discards what precedes `position`; knows no floors."""
        row = row_number(position, partition)
        columns = plain(self.format.schema)
        if event_time is not None and event_time not in columns.names:
            raise UnknownColumnError.of(event_time, columns.names)
        path = self.files.path_of(partition)
        unchanged = Unchanged(self.files.place, path)
        sifted = drop_rows(self._sifted(path, columns), row, partition)
        return FileReader(sifted, row, unchanged, lambda error: _unreadable(path, error))

    def _sifted(self, path: str, columns: pa.Schema) -> Iterator[Sifted]:
        decode, number = self.format.decoder(), 0
        for item in read_blocks(self.files.place, path, _end_of_line):
            if isinstance(item, BrokenOff):
                found = Sifted(number, NOTHING, (broken_off(item, number, path),))
            elif isinstance(item, TooLong):
                found = Sifted(number, NOTHING, (too_long(item, number, path, BLOCK_BYTES),))
            else:
                found = _decoded(item, number, path, decode, columns)
            number += found.records
            yield found

    def __repr__(self) -> str:
        names = plain(self.format.schema).names
        return as_call("jsonl.source", self.files.given, names, store=self.files.store)


def source(path: Paths, schema: Shape | None = None, *, store: S3 | None = None) -> JsonlSource:
    """A replayable, bounded source over files with a JSON object on each line; a position is a row number.

    What a value has to be is said by `sl.formats.json`: nothing is converted, fields without a column
    are ignored, and a field that may be null may be missing. Blank lines are skipped.

    Args:
        path: a file, a folder (its `.jsonl`, `.ndjson` and `.json` files, also with `.gz`, `.bz2` or `.zst`
            behind, and in folders below), a glob, or a list of these. Files are looked up when the flow
            is bound.
        schema: names and types of the columns to read, or a class of records: a dataclass, TypedDict or
            msgspec.Struct. They may be nested.
        store: where the path is, if not on the local disk: `stores.s3(...)`.

    Raises:
        DefinitionError: no `schema` (the remedy holds one to paste, inferred from the first file).
        TypeMismatchError: a column has a type that JSON can't hold.

    When the flow is bound, raises `SourceError` for a path that names nothing. When it runs, for a file
    that changed or vanished. A line that is no such object, or is longer than 4 MiB, is broken:
    `sl.read(..., on_error=)` says what happens to it. So is the end of compressed data that breaks off.

    >>> source("in/*.jsonl", {"id": pa.int64(), "tags": pa.list_(pa.string())})
    jsonl.source('in/*.jsonl', ['id', 'tags'])
    """
    files = files_at(path, SUFFIXES, store)
    if schema is None:
        raise _no_schema(files)
    return JsonlSource(files, json(schema))


def _end_of_line(data: bytes) -> int:
    return data.rfind(b"\n") + 1


def _decoded(block: Block, first: int, path: str, decode: Decode, columns: pa.Schema) -> Sifted:
    lines = block.data.split(b"\n")
    numbers = [i for i, line in enumerate(lines) if line and not line.isspace()]
    records = lines if len(numbers) == len(lines) else [lines[i] for i in numbers]
    found = decode(pa.array(records, pa.binary()))
    broken = tuple(
        _broken(first + record, path, block.line + numbers[record], records[record], error)
        for record, error in found.failures
    )
    return Sifted(first, conform(found.rows, columns), broken)


def _broken(number: int, path: str, line: int, data: bytes, error: StreamlibError) -> Broken:
    told = SourceError(
        f"{path!r}, line {line}: {error.message}",
        expected=error.expected,
        found=error.found,
        remedy=f"correct the file, give the column another type in schema=, {OR_SAY_WHAT_HAPPENS}",
    )
    return Broken(number, f"{path}, line {line}", data.rstrip(b"\r"), told)


def _unreadable(path: str, error: Exception) -> SourceError:
    return SourceError(
        f"{path!r} can't be read",
        expected="JSON lines in UTF-8",
        found=str(error).splitlines()[0],
        remedy="check that the file is there and may be read",
    )


def _no_schema(files: Files) -> DefinitionError:
    return DefinitionError(
        "jsonl.source needs a schema: the same text can be a date or a name, and a number of two types",
        expected="schema= with names and types of the columns to read, or a class of records",
        found="none",
        remedy=_inferred(files) or 'pass schema=, for example schema={"id": pa.int64(), "name": pa.string()}',
    )


def _inferred(files: Files) -> str | None:
    """What to paste, from the first lines of the first file; None if they don't show it."""
    try:
        first = next(iter(files.find().values()))
        lines = [line for line in head(files.place, first, _end_of_line).split(b"\n") if line.strip()]
        records = pa.array([msgspec.json.decode(line) for line in lines])
        return f"check the types and pass {schema_line(pa.schema(records.type.fields))}"
    except (SourceError, pa.ArrowException, OSError, ValueError, TypeError, AttributeError):
        return None
