"""A folder that grows: its files one after another, as one partition without an end.

Files are read in the order of their names, so what is late depends on what is in them and not on when
they were seen; the watermark follows them as it follows one log. A position holds the names of the files
that were read, so that a restart reads none of them twice and leaves none out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from streamlib.connectors.files import Files
from streamlib.connectors.sifting import NOTHING
from streamlib.core.contracts import Chunk, GivesCodes, Json, Pause, Projects, Replay, SourceReader
from streamlib.core.errors import DefinitionError, SourceError, UnknownColumnError, shown
from streamlib.core.expressions import Expr
from streamlib.core.skipping import Skips
from streamlib.core.time import Duration, duration, show_duration

PARTITION = "files"


class OfFiles(Protocol):
    """A source whose partitions are files, each with a row number as its position."""

    @property
    def files(self) -> Files: ...
    @property
    def declared(self) -> pa.Schema | None:
        """The columns, where no file is needed to tell them."""
        ...

    def schema(self) -> pa.Schema: ...
    def open(self, partition: str, position: Json | None, event_time: str | None) -> SourceReader: ...


class Followable:
    """What sources of files share: they end, and any part of them is read again; and the method `follow`."""

    @property
    def bounded(self) -> bool:
        return True

    @property
    def replay(self) -> Replay:
        return "replayable"

    def follow(self: Any, every: Duration = "1s") -> FollowedSource:
        """The same files and those that come, without an end: for a folder (or glob) that grows.

        Files are read one after another, in the order of their names: a name has to be greater than those
        before it for its rows to follow theirs in time. A file counts as soon as it is there under its
        name, so writers give it a name that begins with "." or "_" until it is complete, and rename it.
        It is read once: not again if it is changed or replaced, and it may be removed when it was read. A
        name comes back as a new file after it was gone for a look.

        The files are one partition, `"files"`, with one watermark, which stands where the newest file
        ended until the next comes; `idle_after=` and `when_quiet=` of its strategy apply between files.

        Args:
            every: how long to wait before looking again where there was nothing new.

        Raises:
            DefinitionError: not a positive duration, or several paths.

        When the flow is bound, raises `SourceError` if the folder is not there, or if it has no file that
        could tell the columns.

        >>> import pyarrow as pa
        >>> from streamlib.connectors import csv
        >>> csv.source("in/", {"id": pa.int64()}).follow("5s")
        csv.source('in/', ['id']).follow('5s')
        """
        interval = duration(every)
        if interval <= 0:
            raise DefinitionError(
                "a folder can't be looked at all the time",
                expected="a positive duration",
                found=shown(every),
                remedy='give for example "1s"',
            )
        if len(self.files.paths) > 1:
            raise DefinitionError(
                "several paths can't be followed as one",
                expected="one folder or glob, whose files have an order by name",
                found=shown(self.files.given),
                remedy="follow each as a source of its own, and `union` the streams",
            )
        return FollowedSource(self, interval)


@dataclass(frozen=True, repr=False)
class FollowedSource:
    """The files of a folder and those that come. Made by the method `follow` of sources of files."""

    inner: Any
    every: int

    @property
    def bounded(self) -> bool:
        return False

    @property
    def replay(self) -> Replay:
        return "replayable"

    def schema(self) -> pa.Schema:
        """The columns of the files. Raises `SourceError` where none is there that could tell them."""
        if self.inner.files.find(at_least_one=False):
            found: pa.Schema = self.inner.schema()
            return found
        if self.inner.declared is not None:
            return self.inner.declared
        raise SourceError(
            f"no file of {self.inner!r} is there yet that could tell the columns",
            expected="at least one file when the flow is bound",
            found="none",
            remedy="put the first file there, then start the job; formats with schema= need none",
        )

    def partitions(self) -> Sequence[str]:
        return [PARTITION]

    def project(self, columns: Sequence[str]) -> FollowedSource:
        """See `Projects.project`."""
        return replace(self, inner=self.inner.project(columns)) if isinstance(self.inner, Projects) else self

    def skipping(self, condition: Expr, event_time: str | None) -> FollowedSource:
        """See `Skips.skipping`."""
        if not isinstance(self.inner, Skips):
            return self
        return replace(self, inner=self.inner.skipping(condition, event_time))

    def open(self, partition: str, position: Json | None, event_time: str | None) -> FollowedReader:
        """See `Source.open`."""
        if partition != PARTITION:
            raise SourceError(
                f"no partition {partition!r}",
                expected=f"{PARTITION!r}, which all followed files are together",
                found=repr(partition),
                remedy="start a new job if the files were not followed before",
            )
        columns = self.schema().names if event_time is not None else []
        if event_time is not None and event_time not in columns:
            raise UnknownColumnError.of(event_time, columns)
        return FollowedReader(self.inner, _place(position))

    def __repr__(self) -> str:
        return f"{self.inner!r}.follow({show_duration(self.every)!r})"


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A position in all files together.

    Attributes:
        read: the names of the files that were read to their ends; never changed, so that positions share it.
        before: how many records those had.
        file: the one that is being read, None between files.
        row: how many of its records were read.
    """

    read: list[str] = []
    before: int = 0
    file: str | None = None
    row: int = 0

    def as_json(self) -> Json:
        """As a checkpoint holds it."""
        return {"read": self.read, "before": self.before, "file": self.file, "row": self.row}


def _place(position: Json | None) -> Place:
    if position is None:
        return Place()
    try:
        return msgspec.convert(position, Place)
    except msgspec.ValidationError as error:
        raise SourceError(
            f"partition {PARTITION!r} can't be read from the position in the checkpoint",
            expected="the names of the files that were read, and a row",
            found=shown(position),
            remedy="start a new job: the checkpoint was written with another kind of source",
        ) from error


class FollowedReader:
    """Reads file after file. A chunk waits for what follows it, so that the last of a file says so."""

    def __init__(self, source: OfFiles, at: Place) -> None:
        self._source = source
        self._at = at
        self._pending: deque[str] = deque()
        self._reader: SourceReader | None = None
        self._held: Chunk | None = None
        self._codes = False
        if at.file is not None:
            self._open(at.file)

    def give_codes(self) -> None:
        """See `GivesCodes`."""
        self._codes = True
        if isinstance(self._reader, GivesCodes):
            self._reader.give_codes()

    def read(self) -> Chunk | Pause:
        while True:
            if self._reader is None:
                if not self._next_file():
                    return Pause.NOT_YET
                # else rows of this file could be in a checkpoint whose position leaves open which file it is
                return Chunk(NOTHING, self._at.as_json())
            found = self._reader.read()
            if found is Pause.NOT_YET:
                return found
            ready, at = self._held, self._at
            if isinstance(found, Chunk):
                self._at = msgspec.structs.replace(at, row=found.next_position)
                self._held = _counted_from(found, at.before)
            else:
                at = self._finish_file()
            if ready is not None:
                return replace(ready, next_position=at.as_json())

    def _next_file(self) -> bool:
        """Go on with the next file in the order of names, if there is one."""
        if not self._pending:
            names = self._source.files.find(at_least_one=False)
            if names and not names.keys() >= set(self._at.read):
                self._at = msgspec.structs.replace(self._at, read=[n for n in self._at.read if n in names])
            self._pending.extend(sorted(names.keys() - set(self._at.read)))
        if not self._pending:
            return False
        name = self._pending.popleft()
        self._at = msgspec.structs.replace(self._at, file=name, row=0)
        self._open(name)
        return True

    def _open(self, name: str) -> None:
        self._reader = self._source.open(name, self._at.row, None)
        if self._codes and isinstance(self._reader, GivesCodes):
            self._reader.give_codes()

    def _finish_file(self) -> Place:
        reader, file, at = self._reader, self._at.file, self._at
        assert reader is not None
        assert file is not None
        self._reader = self._held = None
        reader.close()
        self._at = Place([*at.read, file], at.before + at.row)
        return self._at

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()


def _counted_from(chunk: Chunk, first: int) -> Chunk:
    """The chunk with broken records numbered behind the records of the files before."""
    if not chunk.broken:
        return chunk
    return replace(chunk, broken=[replace(b, position=first + b.position) for b in chunk.broken])
