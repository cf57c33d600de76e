"""Sources over files that say themselves which columns they have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import pyarrow as pa

from streamlib.connectors.file_reader import FileReader, Unchanged, drop_rows
from streamlib.connectors.file_schemas import check_same
from streamlib.connectors.files import Files
from streamlib.connectors.partitioned import Partitionable
from streamlib.connectors.positions import row_number
from streamlib.core.contracts import Json
from streamlib.core.errors import SourceError, UnknownColumnError


@dataclass(frozen=True, repr=False)
class DescribedFiles(Partitionable, ABC):
    """Files of one format, each a partition; equal where format, paths and columns are."""

    files: Files
    columns: tuple[str, ...] | None = field(default=None, kw_only=True)
    """The columns that are read; None: all."""
    _bound: dict[str, pa.Schema] = field(default_factory=dict, init=False, compare=False)
    """The schema that was last told, which every file that is opened must still have."""

    @abstractmethod
    def columns_of(self, path: str) -> pa.Schema:
        """The columns of one file. Raises `SourceError` for what is no file of the format."""

    @abstractmethod
    def batches(self, path: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows of one file in order, with these of its columns."""

    @abstractmethod
    def damaged(self, path: str, error: Exception) -> SourceError:
        """What to say of a file that can't be read."""

    @property
    def declared(self) -> None:
        """See `OfFiles.declared`."""

    def schema(self) -> pa.Schema:
        """The columns of the first file; asks every file and raises `SourceError` where one differs."""
        if self.columns is None or "schema" not in self._bound:
            (first, expected), *others = ((p, self.columns_of(p)) for p in self.files.find().values())
            for path, found in others:
                check_same(repr(first), expected, path, found)
            self._bound["schema"] = expected
        return self._chosen(self._bound["schema"])

    def project(self, columns: Sequence[str]) -> Self:
        """See `Projects.project`."""
        made = replace(self, columns=tuple(columns))
        made._bound.update(self._bound)
        return made

    def _chosen(self, whole: pa.Schema) -> pa.Schema:
        return whole if self.columns is None else pa.schema([whole.field(name) for name in self.columns])

    def partitions(self) -> Sequence[str]:
        return list(self.files.find())

    def open(self, partition: str, position: Json | None, event_time: str | None) -> FileReader:
        """See `Source.open`. Reads and discards the chosen columns of what precedes `position`."""
        row = row_number(position, partition)
        path = self.files.path_of(partition)
        wanted = self.schema() if "schema" not in self._bound else self._chosen(self._bound["schema"])
        if event_time is not None and event_time not in wanted.names:
            raise UnknownColumnError.of(event_time, wanted.names)
        unchanged = Unchanged(self.files.place, path)
        check_same("the flow's schema", self._bound["schema"], path, self.columns_of(path))
        rows: Iterator[Any] = drop_rows(self.batches(path, wanted), row, partition)
        return FileReader(rows, row, unchanged, lambda error: self.damaged(path, error))
