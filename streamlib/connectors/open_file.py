"""A staged file while it is written: rows gather to blocks, an encoding makes bytes of them.

What a format has to know is an `Encoding`; staging, rolling, hashing and partitions are the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from hashlib import sha256
from typing import Any, ClassVar, Protocol

import pyarrow as pa

from streamlib.core.contracts import DiskFile
from streamlib.core.disk import WritableFile

BLOCK_ROWS = 131_072  # what the Parquet source reads as one batch; statistics this fine serve as floors
PART_ROWS = 16_384  # so often the length of a file is looked at


class Encoder(Protocol):
    """Makes bytes of one file's rows."""

    def write(self, block: pa.Table) -> None:
        """Write some rows, at least one and at most `BLOCK_ROWS`: a row group, a block, some lines."""
        ...

    def finish(self) -> None:
        """Write what ends the file. The file itself stays open."""
        ...


class Encoding(ABC):
    """A format of files: a frozen, picklable description."""

    name: ClassVar[str]
    """The module that users know: "parquet"."""
    ending: ClassVar[str]
    """How file names end, compression aside: ".csv"."""

    @property
    def suffix(self) -> str:
        """How file names end: ".csv.gz"."""
        return self.ending

    def given(self) -> dict[str, object]:
        """Options that differ from the defaults of the factory; None for those that don't."""
        return {}

    @abstractmethod
    def check(self, schema: pa.Schema) -> None:
        """Raise `SinkError` where a column has a type that the format can't hold."""

    @abstractmethod
    def open(self, file: WritableFile, schema: pa.Schema) -> Encoder:
        """Begin a file."""


class OpenFile:
    """One staged file being written.

    Args:
        staged: its name for the pending commit.
        file: where bytes go.
        encoding: what makes bytes.
        schema: the columns of the rows that will come.
        hold: how many bytes of rows (as Arrow has them) may wait to become a block.
    """

    def __init__(self, staged: str, file: DiskFile, encoding: Encoding, schema: pa.Schema, hold: int) -> None:
        self.staged = staged
        self.rows = 0
        self._schema = schema
        self._hold = hold
        self._out = _Hashing(file)
        self._encoder = encoding.open(self._out, schema)
        self._held: list[pa.RecordBatch] = []
        self._held_rows = 0
        self._held_bytes = 0
        self._encoded = 0  # bytes of the rows of blocks, as Arrow has them

    @property
    def room(self) -> int:
        """How many rows to add next: no block gets more than `BLOCK_ROWS` then."""
        return min(PART_ROWS, BLOCK_ROWS - self._held_rows)

    def add(self, rows: pa.RecordBatch) -> None:
        self._held.append(rows)
        self._held_rows += rows.num_rows
        self._held_bytes += rows.nbytes
        self.rows += rows.num_rows
        if self._held_rows >= BLOCK_ROWS or self._held_bytes >= self._hold:
            self._flush()

    def reaches(self, length: int) -> bool:
        """Whether the file would be at least `length` bytes long if it ended now, as far as is known.

        Rows that wait are taken to shrink as those before did; the first block is written to know.
        """
        if not self._encoded and self._held_bytes >= length:
            self._flush()
        ratio = self._out.position / self._encoded if self._encoded else 0.0
        return self._out.position + self._held_bytes * ratio >= length

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._held, self._schema)
        self._held, self._held_rows = [], 0
        self._encoded, self._held_bytes = self._encoded + self._held_bytes, 0
        for start in range(0, table.num_rows, BLOCK_ROWS):
            self._encoder.write(table.slice(start, BLOCK_ROWS))

    def finish(self) -> dict[str, Any]:
        """End the file and make it durable; what the pending commit needs to know of it."""
        self._flush()
        self._encoder.finish()
        self._out.file.sync()
        self._out.file.close()
        return {"staged": self.staged, "length": self._out.position, "sha256": self._out.hash.hexdigest()}

    def abandon(self) -> None:
        """Close without finishing; the file is good for nothing."""
        self._out.ignore = True
        self._out.file.close()

    def __del__(self) -> None:
        # pyarrow's writers end the file when they are collected. After a crash (in the simulator, or an
        # exception that nobody caught) nobody must write to the disk any more.
        self._out.ignore = True


class _Hashing(WritableFile):
    """A file object for encoders that counts and hashes what passes, so that nothing is read back."""

    def __init__(self, file: DiskFile) -> None:
        self.file = file
        self.hash = sha256()
        self.ignore = False

    def write(self, data: bytes | memoryview | pa.Buffer) -> int:
        size = memoryview(data).nbytes
        if not self.ignore:
            self.file.write(data)
            self.hash.update(data)
            self.position += size
        return size

    def close(self) -> None:
        """The file is closed by `OpenFile`, after its sync."""
