"""Files in folders that tell values of more columns, as Hive lays them out: `day=2024-01-01/region=eu/`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa

from streamlib.connectors.files import Files
from streamlib.connectors.followed import Followable
from streamlib.connectors.partitioning import NULL
from streamlib.connectors.schemas import plain
from streamlib.core.batch import schema_of
from streamlib.core.contracts import (
    Chunk,
    GivesCodes,
    Json,
    KnowsTimes,
    Pause,
    Projects,
    SourceReader,
    StreamType,
)
from streamlib.core.errors import DefinitionError, SourceError, UnknownColumnError, shown
from streamlib.core.expressions import Expr, columns
from streamlib.core.expressions.ast import Binary
from streamlib.core.expressions.ranges import Ranges, may_hold
from streamlib.core.skipping import Skips


class Partitionable(Followable):
    """Gives sources of files the method `partitioned_by`."""

    def partitioned_by(self: Any, by: pa.Schema | Mapping[str, pa.DataType]) -> PartitionedSource:
        """The same files with more columns, whose values are in the names of their folders.

        For what `partition_by=` of sinks writes, and Spark, Hive, DuckDB and Polars: `day=2024-01-01/`.
        Values are percent-decoded, and `__HIVE_DEFAULT_PARTITION__` is null. The columns stand behind those
        of the files. Files whose folders a filter directly behind `sl.read` rules out are not opened.

        Args:
            by: names and types of the columns.

        Raises:
            DefinitionError: no columns, or a type that a text can't become.

        When the flow is bound, raises `SourceError` for a file whose folders lack a column or hold no
        value of its type, and `DefinitionError` for a column that the files have, too.

        >>> from streamlib.connectors import parquet
        >>> parquet.source("in/").partitioned_by({"day": pa.date32()})
        parquet.source('in/').partitioned_by(['day'])
        """
        schema = plain(schema_of(by))
        if not schema.names:
            raise DefinitionError(
                "partitioned_by= names no column",
                expected="at least one column whose values are in the names of folders",
                found=shown(by),
                remedy='give for example {"day": pa.date32()}, or leave it out',
            )
        for column in schema:
            _check_type(column)
        return PartitionedSource(self, schema)


def _check_type(column: pa.Field) -> None:
    try:
        pa.array([], pa.string()).cast(column.type)
    except pa.ArrowNotImplementedError as error:
        raise DefinitionError(
            f"column {column.name!r} can't be told by folders as {column.type}",
            expected="texts, numbers, booleans, dates or timestamps",
            found=str(column.type),
            remedy="give it as pa.string(), and parse it in the flow",
        ) from error


@dataclass(frozen=True, repr=False)
class PartitionedSource(Followable):
    """A source of files with the columns of their folders. Made by `partitioned_by`."""

    inner: Any
    by: pa.Schema
    chosen: tuple[str, ...] | None = None
    """The columns that are read; None: all."""
    only: Expr | None = field(default=None, compare=False)
    """A condition that the values of a file's folders have to be able to meet."""

    @property
    def files(self) -> Files:
        """The files."""
        found: Files = self.inner.files
        return found

    @property
    def declared(self) -> pa.Schema | None:
        """See `OfFiles.declared`."""
        return None if self.inner.declared is None else self._with_folders(self.inner.declared)

    def schema(self) -> pa.Schema:
        """The columns of the files, then those of the folders; looks at every path."""
        schema = self._with_folders(self.inner.schema())
        for path in self.files.find().values():
            self._values(path)
        return schema

    def _with_folders(self, inside: pa.Schema) -> pa.Schema:
        doubled = [name for name in self.by.names if name in inside.names]
        if doubled and self.chosen is None:
            raise DefinitionError(
                f"column {doubled[0]!r} is in the files and in the names of their folders",
                expected="different columns",
                found=f"{', '.join(inside.names)} in the files",
                remedy="leave it out of partitioned_by(...)",
            )
        whole = pa.schema([*inside, *self.by])
        return whole if self.chosen is None else pa.schema([whole.field(name) for name in self.chosen])

    def partitions(self) -> Sequence[str]:
        found: Sequence[str] = self.inner.partitions()
        return found

    def project(self, columns: Sequence[str]) -> PartitionedSource:
        """See `Projects.project`; files of formats that read whole records are read whole."""
        inside = [name for name in columns if name not in self.by.names]
        inner = self.inner
        if isinstance(inner, Projects):  # some column tells how many rows there are
            inner = inner.project(inside or [self.inner.schema().names[0]])
        return replace(self, inner=inner, chosen=tuple(columns))

    def skipping(self, condition: Expr, event_time: str | None) -> PartitionedSource:
        """See `Skips.skipping`: files by their folders, and the rest is the business of the format."""
        of_files = [each for each in _conjuncts(condition) if not columns(each) & set(self.by.names)]
        inner = self.inner
        if isinstance(inner, Skips) and of_files and event_time not in self.by.names:
            inside = of_files[0]
            for each in of_files[1:]:
                inside = inside & each
            inner = inner.skipping(inside, event_time)
        of_folders = [e for e in _conjuncts(condition) if columns(e) and columns(e) <= set(self.by.names)]
        only = self.only
        for each in of_folders:
            only = each if only is None else only & each
        return replace(self, inner=inner, only=only)

    def least_time(self, partition: str, event_time: str) -> int | None:
        """See `KnowsTimes`."""
        if event_time in self.by.names or not isinstance(self.inner, KnowsTimes):
            return None
        if not self._may_meet(self._values(self.files.path_of(partition))):
            return None  # it is not opened, and ends at once
        return self.inner.least_time(partition, event_time)

    def open(self, partition: str, position: Json | None, event_time: str | None) -> SourceReader:
        """See `Source.open`."""
        if event_time is not None and event_time not in (names := self.schema().names):
            raise UnknownColumnError.of(event_time, names)
        values = self._values(self.files.path_of(partition))
        if position is None and not self._may_meet(values):
            return _Ended()
        inside = None if event_time in self.by.names else event_time
        reader = self.inner.open(partition, position, inside)
        return PartitionedReader(reader, values, None if self.chosen is None else list(self.chosen))

    def _values(self, path: str) -> dict[str, pa.Scalar]:
        """What the folders of a file say. Raises `SourceError`."""
        parts = PurePosixPath(path).parts[:-1]
        told = dict(part.split("=", 1) for part in parts if "=" in part)
        return {column.name: _value(told.get(column.name), column, path) for column in self.by}

    def _may_meet(self, values: Mapping[str, pa.Scalar]) -> bool:
        if self.only is None:
            return True
        arrays = {name: pa.array([value.as_py()], value.type) for name, value in values.items()}
        nulls = {name: np.array([array.null_count], np.int64) for name, array in arrays.items()}
        ranges = Ranges(np.array([1], np.int64), arrays, arrays, nulls)
        return bool(may_hold(self.only, StreamType(self.by), ranges)[0])

    def __repr__(self) -> str:
        return f"{self.inner!r}.partitioned_by({self.by.names!r})"


def _conjuncts(condition: Expr) -> Iterator[Expr]:
    """What has to be true all together."""
    if isinstance(condition, Binary) and condition.operator == "&":
        yield from _conjuncts(condition.left)
        yield from _conjuncts(condition.right)
    else:
        yield condition


def _value(text: str | None, column: pa.Field, path: str) -> pa.Scalar:
    if text is None:
        raise SourceError(
            f"no folder of {path!r} tells {column.name!r}",
            expected=f"a folder {column.name}=... above the file",
            found=path,
            remedy="leave the column out of partitioned_by(...), or move the file",
        )
    if text == NULL:
        return pa.scalar(None, column.type)
    try:
        return pa.array([unquote(text, errors="strict")], pa.string()).cast(column.type)[0]
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise SourceError(
            f"the folder {column.name}={text} of {path!r} holds no value of type {column.type}",
            expected=str(column.type),
            found=shown(text),
            remedy="give the column another type in partitioned_by(...), or rename the folder",
        ) from error


class PartitionedReader:
    """Adds the columns of the folders to what a reader gives."""

    def __init__(
        self, reader: SourceReader, values: Mapping[str, pa.Scalar], chosen: Sequence[str] | None
    ) -> None:
        self._reader = reader
        self._values = values
        self._chosen = chosen

    def give_codes(self) -> None:
        """See `GivesCodes`."""
        if isinstance(self._reader, GivesCodes):
            self._reader.give_codes()

    def read(self) -> Chunk | Pause:
        found = self._reader.read()
        if not isinstance(found, Chunk) or not found.rows.num_rows:
            return found
        rows = found.rows
        for name, value in self._values.items():
            rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
        return replace(found, rows=rows if self._chosen is None else rows.select(self._chosen))

    def close(self) -> None:
        self._reader.close()


class _Ended:
    """Reads a file that need not be opened."""

    def read(self) -> Chunk | Pause:
        return Pause.END

    def close(self) -> None: ...
