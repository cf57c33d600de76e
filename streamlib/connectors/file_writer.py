"""The writer of staged files: which file a row goes to, and when a file ends. The format is an `Encoding`."""

from __future__ import annotations

from collections import OrderedDict

import pyarrow as pa

from streamlib.connectors.open_file import Encoding, OpenFile
from streamlib.connectors.partitioning import Partitioning
from streamlib.connectors.schemas import conform, difference
from streamlib.connectors.staging import StagedFile, Staging, explained
from streamlib.core.contracts import Json
from streamlib.core.errors import SinkError

MAX_OPEN_FILES = 64  # of one sink: with partitions, the one that was longest without rows ends first
HELD_BYTES = 64 << 20  # of rows that wait to become a block, where there is one file
HELD_BYTES_EACH = 4 << 20  # where there are partitions: 64 files hold 256 MB at most


class FileWriter:
    """Writes for one attempt (`SinkWriter`), and cleans up after earlier ones (`Cleans`)."""

    def __init__(
        self,
        staging: Staging,
        encoding: Encoding,
        schema: pa.Schema,
        partitioning: Partitioning,
        max_rows: int,
        max_bytes: int,
    ) -> None:
        self._staging = staging
        self._encoding = encoding
        self._schema = schema
        self._partitioning = partitioning
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._hold = HELD_BYTES if partitioning.schema.equals(schema) else HELD_BYTES_EACH
        self._created = 0
        self._open: OrderedDict[str, OpenFile] = OrderedDict()
        """By folder; the one that got rows last is the last one."""
        self._finished: list[tuple[str, StagedFile]] = []

    def write(self, rows: pa.RecordBatch) -> None:
        differing = difference(self._schema, rows.schema)
        if differing is not None:
            raise SinkError(
                f"rows for {self._staging.output!r} have other columns than the sink was opened for",
                expected=differing[0],
                found=differing[1],
                remedy="this is a bug of the operator before the sink: please report it",
            )
        with explained(f"rows can't be written for {self._staging.output!r}"):
            for folder, part in self._partitioning.split(conform(rows, self._schema)):
                self._add(folder, part)

    def _add(self, folder: str, rows: pa.RecordBatch) -> None:
        start = 0
        while start < rows.num_rows:
            file = self._file(folder)
            part = rows.slice(start, min(file.room, self._max_rows - file.rows))
            file.add(part)
            start += part.num_rows
            if file.rows >= self._max_rows or file.reaches(self._max_bytes):
                self._end(folder)

    def _file(self, folder: str) -> OpenFile:
        if folder in self._open:
            self._open.move_to_end(folder)
            return self._open[folder]
        if len(self._open) >= MAX_OPEN_FILES:
            self._end(next(iter(self._open)))
        self._created += 1
        staged = self._staging.create(self._created)
        self._open[folder] = OpenFile(*staged, self._encoding, self._partitioning.schema, self._hold)
        return self._open[folder]

    def _end(self, folder: str) -> None:
        self._finished.append((folder, self._open[folder].finish()))
        del self._open[folder]  # after it: `close` removes what could not be finished

    def prepare(self, number: int) -> Json:
        with explained(f"files for {self._staging.output!r} can't be made durable"):
            for folder in list(self._open):
                self._end(folder)
            if not self._finished:
                return None
            self._staging.sync()
        named = [
            {**file, "final": self._staging.final_name(number, sequence, folder)}
            for sequence, (folder, file) in enumerate(self._finished)
        ]
        self._finished = []
        return {"files": named}

    def commit(self, number: int, pending: Json) -> None:
        if pending is None:
            return
        with explained(f"checkpoint {number} can't be published in {self._staging.output!r}"):
            self._staging.publish(pending["files"])

    def last_committed(self) -> int:
        with explained(f"files in {self._staging.output!r} can't be listed"):
            return self._staging.last_committed()

    def close(self) -> None:
        """Remove what was written and not prepared; prepared files wait for their commit."""
        unprepared = [file["staged"] for _, file in self._finished]
        for open_file in self._open.values():
            open_file.abandon()
            unprepared.append(open_file.staged)
        self._open, self._finished = OrderedDict(), []
        with explained(f"unfinished files of {self._staging.output!r} can't be removed"):
            self._staging.discard(unprepared)

    def clean(self, keep: set[str]) -> None:
        """See `Cleans`."""
        with explained(f"old files beside {self._staging.output!r} can't be removed"):
            self._staging.clean(keep)
