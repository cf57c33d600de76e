"""Records that can't be read, told apart from the rows between which they stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from streamlib.connectors.text_blocks import Block, BrokenOff, TooLong
from streamlib.core.contracts import Broken
from streamlib.core.errors import SourceError, StreamlibError, shown
from streamlib.core.isolation import isolated

NOTHING = pa.record_batch({})
SHOWN_BYTES = 1024  # of a record that is too long: it may be all of a file
OR_SAY_WHAT_HAPPENS = "or say what happens to such records: `sl.read(..., on_error=)`"
"""The end of what to do about a record that is wrong."""
UNREADABLE = (pa.ArrowException, ValueError, StreamlibError)
"""What parsing raises for a record that is wrong."""


@dataclass(frozen=True)
class Sifted:
    """Rows, and among them the records that could not be read, by their numbers in the file.

    Attributes:
        first: the number of the first record.
    """

    first: int
    rows: pa.RecordBatch
    broken: tuple[Broken, ...] = ()

    @property
    def records(self) -> int:
        """How many there are."""
        return self.rows.num_rows + len(self.broken)

    def without_first(self, records: int) -> Sifted:
        """What stands behind the first `records`."""
        first = self.first + records
        left = tuple(each for each in self.broken if each.position >= first)
        return Sifted(first, self.rows.slice(records - (len(self.broken) - len(left))), left)


Spans = Sequence[tuple[int, int]]
"""Where records begin and end in bytes."""


def sift(
    block: Block,
    first: int,
    path: str,
    parse: Callable[[bytes], pa.RecordBatch],
    spans: Callable[[Block], Spans],
    explain: Callable[[Exception, str], StreamlibError],
) -> Sifted:
    """The records of a block, of which `first` is the number of the first in the file `path`.

    Args:
        block: the records.
        first: the number of the first.
        path: of the file.
        parse: the rows of records; raises where one of them can't be read.
        spans: where the records are; asked for only if some can't be read.
        explain: the error to tell, from what `parse` raised for a record and where it is.
    """
    broken: list[Broken] = []

    def attempt(start: int, stop: int) -> pa.RecordBatch:
        return parse(block.data[found[start][0] : found[stop - 1][1]])

    def lost(record: int, error: Exception) -> None:
        if not isinstance(error, UNREADABLE):
            raise error
        start, stop = found[record]
        line, data = block.line_at(start), block.data[start:stop].rstrip(b"\r\n")
        told = explain(error, f"{path!r}, line {line}")
        if told is not error:
            told.__cause__ = error
        broken.append(Broken(first + record, f"{path}, line {line}", data, told))

    try:
        return Sifted(first, parse(block.data))
    except UNREADABLE as error:
        found = spans(block)
        parts = list(isolated(len(found), attempt, error, lost))
    rows = pa.Table.from_batches(parts).combine_chunks().to_batches() if parts else []
    return Sifted(first, rows[0] if rows else NOTHING, tuple(broken))


def too_long(item: TooLong, number: int, path: str, limit: int) -> Broken:
    """The record that does not fit into a block."""
    where = f"{path!r}, line {item.line}"
    return Broken(
        number,
        f"{path}, line {item.line}",
        item.data[:SHOWN_BYTES],
        SourceError(
            f"{where}: the record is too long",
            expected=f"records up to {limit >> 20} MiB",
            found=f"a longer one, that begins with {shown(item.data[:SHOWN_BYTES])}",
            remedy="split the record, or write such data as Parquet or Arrow",
        ),
    )


def broken_off(item: BrokenOff, number: int, path: str) -> Broken:
    """What is left of a file whose compressed data can't be read on."""
    return Broken(
        number,
        f"{path}, line {item.line}",
        item.data,
        SourceError(
            f"{path!r} can't be read beyond line {item.line}",
            expected="compressed data that is complete",
            found=str(item.error).splitlines()[0],
            remedy="write the file again; with on_error= the rows before go on",
        ),
    )
