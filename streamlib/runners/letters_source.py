"""Dead letters of one operator as a source: the records that failed, as they came to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.contracts import Chunk, Json, Pause
from streamlib.core.errors import TypeMismatchError
from streamlib.core.letters import ARROW, from_data
from streamlib.runners.letter_places import LetterPlace

TIME = "__event_time__"
"""The column with the event times of records that had one; the flow drops it."""


@dataclass(frozen=True)
class Addressed:
    """Letters of one input of one operator.

    Attributes:
        operator: its id; of what a source could not let in, the source's name.
        port: which of its inputs.
    """

    operator: str
    port: int

    def among(self, letters: pa.RecordBatch) -> pa.RecordBatch:
        """Those letters that are its own and hold records."""
        own = pc.and_(pc.equal(letters["operator"], self.operator), pc.equal(letters["input"], self.port))
        return letters.filter(pc.and_(own, pc.equal(letters["format"], ARROW)))


@dataclass(frozen=True)
class LettersSource:
    """The records of letters in some parts of a place; a partition is a part."""

    place: LetterPlace
    names: tuple[str, ...]
    address: Addressed
    columns: pa.Schema
    timed: bool
    count: int
    bounded: Literal[True] = True
    replay: Literal["replayable"] = "replayable"

    def schema(self) -> pa.Schema:
        return self.columns.append(pa.field(TIME, pa.timestamp("us", "UTC"))) if self.timed else self.columns

    def partitions(self) -> Sequence[str]:
        return self.names

    def row_count(self) -> int:
        return self.count

    def open(self, partition: str, position: Json | None, event_time: str | None) -> _Reader:
        return _Reader(self, partition, position or 0)

    def records(self, letters: pa.RecordBatch) -> pa.RecordBatch:
        """The records that letters hold; raises `TypeMismatchError` for one of other columns."""
        rows = [self._record(data.as_py()) for data in letters["data"]]
        (records,) = pa.concat_tables(rows).combine_chunks().to_batches()
        return records.append_column(TIME, letters["event_time"]) if self.timed else records

    def _record(self, data: bytes) -> pa.Table:
        table = from_data(data)
        check_fits(self.address, table.schema, self.columns)
        return table.select(self.columns.names).cast(self.columns)


class _Reader:
    """Reads the records of one part; the position is how many of them were given."""

    def __init__(self, source: LettersSource, part: str, position: int) -> None:
        self._source = source
        self._batches = self._own(part, position)
        self._at = position

    def _own(self, part: str, skip: int) -> Iterator[pa.RecordBatch]:
        for batch in self._source.place.read(part):
            own = self._source.address.among(batch)
            rest = own.slice(min(skip, own.num_rows))
            skip -= own.num_rows - rest.num_rows
            if rest.num_rows:
                yield rest

    def read(self) -> Chunk | Pause:
        letters = next(self._batches, None)
        if letters is None:
            return Pause.END
        self._at += letters.num_rows
        return Chunk(self._source.records(letters), self._at)

    def close(self) -> None: ...


def check_fits(address: Addressed, found: pa.Schema, expected: pa.Schema) -> None:
    """Raise `TypeMismatchError` for a record that the operator's input can't be given."""
    types = {field.name: field.type for field in found}
    if types == {field.name: field.type for field in expected}:
        return
    raise TypeMismatchError(
        f"dead letters of {address.operator!r} do not fit the flow",
        expected=_columns(expected),
        found=f"a record with {_columns(found)}",
        remedy="redrive them through a flow whose operator takes these columns, or give `operator=` to "
        "redrive the letters of others",
    )


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema) or "no columns"
