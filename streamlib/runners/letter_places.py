"""Where dead letters are, in parts that never change once they are there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

import pyarrow as pa

from streamlib.connectors import memory
from streamlib.connectors.file_sink import FileSink
from streamlib.connectors.files import files_at
from streamlib.connectors.places import LOCAL, Place
from streamlib.core.errors import SourceError, TypeMismatchError, shown
from streamlib.core.letters import LETTERS
from streamlib.plan.dead_letters import shares_columns

Letters = str | PathLike[str] | FileSink | memory.MemorySink
"""Where dead letters are: a folder of Parquet files, or a sink in this program."""

BATCH = 1_024  # letters read at once: each holds a traceback of up to 8 kB


class LetterPlace(Protocol):
    """Dead letters that were committed, in parts."""

    def parts(self) -> Sequence[str]:
        """Names of the parts, in order; a part is whole when it is there, and stays as it is."""
        ...

    def read(self, part: str) -> Iterator[pa.RecordBatch]:
        """The letters of a part."""
        ...

    @property
    def job(self) -> str | None:
        """The id of the job that wrote them, where names tell it."""
        ...


def place_of(letters: Letters) -> LetterPlace:
    """The place that a user named. Raises `SourceError` where no letters can be there."""
    if isinstance(letters, memory.MemorySink):
        return MemoryPlace(letters)
    store = letters.store if isinstance(letters, FileSink) else None
    path = letters.path if isinstance(letters, FileSink) and letters.encoding.name == "parquet" else letters
    if not isinstance(path, str | PathLike):
        raise TypeMismatchError(
            "dead letters are read from a folder or a sink",
            expected="a path, a parquet.sink or a memory.sink",
            found=shown(letters),
        )
    files = files_at(path, (".parquet",), store)
    folder = files.place.absolute(files.paths[0])
    if not files.place.is_folder(folder):
        raise SourceError(
            f"no folder {os.fspath(path)!r}",
            expected="the folder of a sink of dead letters",
            found="nothing of that name",
            remedy="give the path that sl.dead_letter(parquet.sink(...)) was given, from this folder",
        )
    return FolderPlace(os.path.realpath(folder) if files.store is None else folder, files.place)


@dataclass(frozen=True)
class FolderPlace:
    """The folder of a `parquet.sink`: a part is a file."""

    folder: str
    place: Place = LOCAL

    def parts(self) -> Sequence[str]:
        """See `LetterPlace`."""
        paths = [path for path in self.place.below(self.folder) if path.endswith(".parquet")]
        return sorted(path.removeprefix(self.folder).lstrip("/") for path in paths)

    def read(self, part: str) -> Iterator[pa.RecordBatch]:
        """See `LetterPlace`. Raises `SourceError` for a file that holds no letters."""
        import pyarrow.parquet as pq  # noqa: PLC0415

        with self.place.open(f"{self.folder}/{part}") as stream, pq.ParquetFile(stream) as file:
            if not shares_columns(file.schema_arrow):
                raise SourceError(
                    f"{self.folder!r} does not hold dead letters",
                    expected=f"the columns {', '.join(LETTERS.names)}",
                    found=", ".join(file.schema_arrow.names),
                    remedy="give the folder of the sink of dead letters, not that of the results",
                )
            for batch in file.iter_batches(BATCH):
                yield from pa.Table.from_batches([batch]).cast(LETTERS).to_batches()

    @property
    def job(self) -> str | None:
        """See `LetterPlace`: files are called `<job>-<sink>-…`."""
        names = self.parts()
        return unquote(Path(names[0]).name.partition("-")[0]) if names else None


@dataclass(frozen=True)
class MemoryPlace:
    """A sink in this program: a part is what a checkpoint committed."""

    sink: memory.MemorySink

    def parts(self) -> Sequence[str]:
        """See `LetterPlace`. Names are those of this process: no other has these letters."""
        return [f"{os.getpid()} {self.sink!r} {number}" for number, _ in self.sink.commits()]

    def read(self, part: str) -> Iterator[pa.RecordBatch]:
        """See `LetterPlace`."""
        wanted = int(part.rpartition(" ")[2])
        return iter([rows for number, rows in self.sink.commits() if number == wanted])

    @property
    def job(self) -> str | None:
        """See `LetterPlace`."""
        return None
