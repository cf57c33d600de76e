"""Iterators and generators as a source: rows that the user's own Python makes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeAlias

import pyarrow as pa

from streamlib.connectors.positions import beyond_end, row_number
from streamlib.connectors.records import Columns, as_table, columns_of, from_records, is_arrow
from streamlib.connectors.schemas import schema_line
from streamlib.core.contracts import Chunk, Json, Pause, Replay, Source
from streamlib.core.errors import DefinitionError, SourceError, UnknownColumnError, shown

Make: TypeAlias = Callable[[], Iterable[Any]] | Iterable[Any]
PARTITION = "0"
CHUNK_ROWS = 4_096  # a few MB of Python objects at most, and enough rows for the kernels to pay
AHEAD_CHUNKS = 2  # what an unbounded iterator may be ahead: one chunk is worked on while the next one grows
SAMPLE = 100  # items that a preview looks at to infer the columns
CLOSING = 5.0  # seconds that closing waits for an iterator that is making an item


@dataclass(frozen=True)
class IteratedSource:
    """Rows of a Python iterable. Made by `iterate`; equal where the callable and the columns are."""

    make: Make
    columns: pa.Schema | None
    bounded: bool
    chunk_rows: int
    _used: list[str] = field(default_factory=list, init=False, repr=False, compare=False)
    """Holds an entry once a one-shot iterator was handed out."""

    @property
    def replay(self) -> Replay:
        return "lossy" if self._one_shot else "replayable"

    @property
    def _one_shot(self) -> bool:
        return isinstance(self.make, Iterator)

    def schema(self) -> pa.Schema:
        """The declared columns; raises `DefinitionError` where there are none."""
        if self.columns is None:
            raise DefinitionError(
                "memory.iterate needs a schema: nothing is known of its rows before they are made",
                expected="schema= with names and types of the columns, or a class of records",
                found="none",
                remedy="`.preview()` infers it from the first rows and prints the line to paste",
            )
        return self.columns

    def partitions(self) -> list[str]:
        return [PARTITION]

    def open(self, partition: str, position: Json | None, event_time: str | None) -> IteratedReader:
        """See `Source.open`. What precedes `position` is made again and discarded."""
        row = row_number(position, partition)
        if partition != PARTITION:
            raise SourceError(
                f"no partition {partition!r} of an iterator",
                expected=repr(PARTITION),
                found=repr(partition),
                remedy="start a new job: the source was another one",
            )
        schema = self.schema()
        if event_time is not None and event_time not in schema.names:
            raise UnknownColumnError.of(event_time, schema.names)
        if self._one_shot:  # what was read of it is gone, so there is nothing to skip
            return IteratedReader(self._once(), schema, row, 0, self)
        return IteratedReader(self._again(), schema, row, row, self)

    def _once(self) -> Iterable[Any]:
        if self._used:
            raise SourceError(
                "the iterator was used up by an earlier run",
                expected="an iterable that can be gone through again",
                found=shown(self.make),
                remedy="give the function that makes it: `memory.iterate(rows, ...)`, not `rows()`",
            )
        self._used.append(PARTITION)
        return self._again()

    def _again(self) -> Iterable[Any]:
        made = self.make() if callable(self.make) else self.make
        if isinstance(made, Iterable):
            return made
        raise SourceError(
            "the function of memory.iterate did not return an iterable",
            expected="a generator, or another iterable of records or frames",
            found=f"{shown(made)} of type {type(made).__name__}",
            remedy="`yield` the rows, or return a list of them",
        )

    def inferred(self) -> tuple[Source, str | None]:
        """The source with columns that its first items show, and the line to paste for them."""
        if self.columns is not None:
            return self, None
        items = list(islice(iter(self._again()), SAMPLE))
        frames = [item for item in items[:1] if is_arrow(item)]
        found = as_table(frames[0]) if frames else from_records(items, None)
        line = schema_line(found.schema)
        if self._one_shot:
            raise DefinitionError(
                "the columns of a one-shot iterator can't be inferred without losing its first rows",
                expected="schema=",
                found="none",
                remedy=f"check the types and pass {line}",
            )
        return IteratedSource(self.make, found.schema, self.bounded, self.chunk_rows), line

    def __hash__(self) -> int:
        return hash((self.columns, self.bounded, self.chunk_rows))

    def __repr__(self) -> str:
        name = getattr(self.make, "__qualname__", None) or type(self.make).__name__
        return f"memory.iterate({name}{'' if self.bounded else ', no end'})"


def iterate(
    make: Make,
    schema: Columns | None = None,
    *,
    bounded: bool = False,
    chunk_rows: int = CHUNK_ROWS,
) -> IteratedSource:
    """A source over what a generator yields: records one by one, or frames of them.

    Given as a function (or a list, or anything else that can be gone through again), it is
    replayable: the position is the number of rows, and resuming goes through it again and discards
    that many, so it has to yield the same rows each time. A generator or iterator itself runs once,
    raises when it is asked to run again, and counts as lossy.

    Args:
        make: a function without arguments that returns an iterable, or an iterable. Items are
            dicts, TypedDicts, dataclass or msgspec.Struct objects, or anything that speaks Arrow.
        schema: names and types of the columns, or a class of records. Only `preview` does without:
            it infers one from the first items and prints the line to paste.
        bounded: whether it ends. A batch and a `collect()` without a limit need that; an iterable
            that may not end runs as a stream, in a thread of its own.
        chunk_rows: the most records of one chunk.

    Raises:
        DefinitionError: `make` can be neither called nor gone through, or `chunk_rows` is below 1.

    When it runs, raises what the iterable raises, with a note on the item, and as `source` does for
    items that do not fit.

    >>> def squares():
    ...     for n in range(3):
    ...         yield {"n": n, "square": n * n}
    >>> iterate(squares, {"n": pa.int64(), "square": pa.int64()}, bounded=True)
    memory.iterate(squares)
    """
    if (
        chunk_rows < 1
        or not (callable(make) or isinstance(make, Iterable))
        or isinstance(make, str | Mapping)
    ):
        raise DefinitionError(
            "memory.iterate can't be made of this",
            expected="a function that returns an iterable, or an iterable; chunk_rows from 1 on",
            found=f"{shown(make)} of type {type(make).__name__}, chunk_rows={chunk_rows}",
            remedy="write a generator function, and give it without calling it",
        )
    return IteratedSource(make, None if schema is None else columns_of(schema), bounded, chunk_rows)


class IteratedReader:
    """Reads one iterable: in place where it ends, else from a thread that goes on while it makes rows."""

    def __init__(
        self, items: Iterable[Any], schema: pa.Schema, row: int, skip: int, source: IteratedSource
    ) -> None:
        self._items = _Noting(items)
        size = source.chunk_rows
        self._pump = None if source.bounded else _Pump(self._items, size)
        pieces = _pieces(self._items, size) if self._pump is None else self._pump.pieces()
        self._batches = _skipping(_batches(pieces, schema, size), skip)
        self._row = row

    def read(self) -> Chunk | Pause:
        rows = next(self._batches, Pause.END)
        if isinstance(rows, Pause):
            return rows
        self._row += rows.num_rows
        return Chunk(rows, self._row)

    def close(self) -> None:
        if self._pump is None:
            self._items.close()
        else:
            self._pump.close()


class _Noting:
    """An iterator that says at which item it failed, and can be closed."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._iterator = iter(items)
        self._count = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            item = next(self._iterator)
        except StopIteration:
            raise
        except Exception as error:
            error.add_note(f"while the iterator of the source made item {self._count}")
            raise
        self._count += 1
        return item

    def close(self) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


class _Pump:
    """Goes through an iterable in a thread, up to a bound, so that a slow one keeps nobody waiting."""

    def __init__(self, items: _Noting, size: int) -> None:
        self._items = items
        self._size = size
        self._ready: list[Any] = []
        self._changed = threading.Condition()
        self._ended = self._stopped = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="iterate", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for item in self._items:
                with self._changed:
                    while len(self._ready) >= AHEAD_CHUNKS * self._size and not self._stopped:
                        self._changed.wait()
                    if self._stopped:
                        break
                    self._ready.append(item)
            self._items.close()
        except BaseException as error:  # whatever it is, it is raised where the rows are read
            self._failure = error
        self._ended = True

    def pieces(self) -> Iterator[list[Any] | Pause]:
        """Items as they are there; NOT_YET where there are none. Raises what the iterable raised."""
        while True:
            ended = self._ended  # before the look: what came in between is not overlooked
            with self._changed:
                ready, self._ready = self._ready[: self._size], self._ready[self._size :]
                self._changed.notify()
            if ready:
                yield ready
            elif not ended:
                yield Pause.NOT_YET
            elif self._failure is not None:
                raise self._failure
            else:
                return

    def close(self) -> None:
        """Stop after the item that is being made."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join(CLOSING)


def _pieces(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Items, as many as one chunk takes; frames one by one, since each may be large."""
    records: list[Any] = []
    for item in items:
        if is_arrow(item):
            if records:
                yield records
            yield [item]
            records = []
        else:
            records.append(item)
            if len(records) == size:
                yield records
                records = []
    if records:
        yield records


def _batches(
    pieces: Iterable[list[Any]] | Iterable[list[Any] | Pause], schema: pa.Schema, size: int
) -> Iterator[pa.RecordBatch | Pause]:
    for found in pieces:
        if isinstance(found, Pause):
            yield found
            continue
        for piece in _pieces(found, size):
            table = as_table(piece[0], schema) if is_arrow(piece[0]) else from_records(piece, schema)
            yield from (batch for batch in table.to_batches(max_chunksize=size) if batch.num_rows)


def _skipping(batches: Iterator[pa.RecordBatch | Pause], skip: int) -> Iterator[pa.RecordBatch | Pause]:
    """The batches without the first `skip` rows; pauses in between are kept."""
    left = skip
    while left:
        batch = next(batches, None)
        if isinstance(batch, Pause):
            yield batch
        elif batch is None:
            raise beyond_end(PARTITION, skip, skip - left)
        elif batch.num_rows <= left:
            left -= batch.num_rows
        else:
            yield batch.slice(left)
            left = 0
    yield from batches
