"""A partition's rows on their way in: decoded chunks that wait, and the position of what entered."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import NamedTuple

import pyarrow as pa

from streamlib.core.batch import Batch, as_arrow, as_numpy, concat_batches
from streamlib.core.contracts import Chunk, Json, LeftOut, StreamType
from streamlib.core.errors import EventTimeError, SourceError
from streamlib.core.expressions import Bound, bind
from streamlib.core.lazy_columns import LazyColumns
from streamlib.core.time import Micros, to_micros
from streamlib.plan.node import Read

SMALLEST_FRONT = 256  # rows: below, the costs of a batch outweigh those of its rows
LARGEST_FRONT = 1_000_000  # rows: the largest batch that any runner asks for
FRONT_GROWTH = 4
ENOUGH_ROWS = 32_768  # from so many on, copying chunks into one costs more than it saves


class EventTimes:
    """Computes the event times of a source's rows."""

    def __init__(self, read: Read, schema: pa.Schema) -> None:
        self.schema = schema
        self._bound: Bound | None = None
        if read.event_time is not None:
            self._bound = bind(read.event_time, StreamType(schema))
        self._tz = read.tz
        plain = self._bound is not None and self._bound.dtype == pa.timestamp("us", tz="UTC")
        name = read.event_time_column() if plain else None
        self._ready = None if name is None else schema.get_field_index(name)
        """The column whose integers are the event times, where there is one."""

    def of(self, batch: Batch) -> Micros | None:
        """Microseconds UTC of every row, or None for a source without event time.

        Raises `EventTimeError` for a null.
        """
        if self._bound is None:
            return None
        if self._ready is not None:
            times = as_numpy(batch.columns[self._ready])
            if times is not None:
                return times
        column = as_arrow(self._bound.evaluate(batch), self._bound.dtype)
        if column.null_count:
            row = column.is_null().index(True).as_py()
            raise EventTimeError(
                f"row {row} of the batch has no event time",
                expected="an event time in every row",
                found=str(batch.slice(row, row + 1).to_arrow().to_pylist()[0]),
                remedy="filter such rows out before the source, or give an expression with `fill_null`",
            )
        try:
            return to_micros(column, self._tz)
        except pa.ArrowException as cause:
            raise EventTimeError(
                "an event time does not fit int64 microseconds",
                expected="an instant within 292,000 years of 1970",
                found=str(cause),
                remedy="filter such rows out before `sl.read` or give another event time",
            ) from cause


class Waiting(NamedTuple):
    """Rows of one chunk that have not entered yet, and what the chunk said of its end."""

    batch: Batch
    next_position: Json
    floor: int | None
    left_out: LeftOut | None = None


class Intake:
    """One partition. Its position counts what entered, never what was read ahead."""

    def __init__(self, times: EventTimes) -> None:
        self._times = times
        self._waiting: deque[Waiting] = deque()
        self._at: Json = None
        self._entered_of_front = 0
        self._skip = 0
        self._read_all = False
        self._appetite = LARGEST_FRONT
        self.rows = 0

    @property
    def start(self) -> Json:
        """Where the reader has to begin: None for the beginning of the partition."""
        return self._at

    @property
    def waiting_rows(self) -> int:
        """Rows that were read and have not entered."""
        return sum(w.batch.num_rows for w in self._waiting)

    @property
    def has_rows(self) -> bool:
        """Whether rows wait."""
        return bool(self._waiting)

    @property
    def ended(self) -> bool:
        """Whether all rows of the partition entered and none will come."""
        return self._read_all and not self._waiting

    def offer(self, chunk: Chunk) -> None:
        """Take a chunk from the reader. After a restore, rows that had entered are skipped."""
        if chunk.left_out is not None:
            entered = min(self._skip, chunk.left_out.rows)
            self._skip -= entered
            if entered == chunk.left_out.rows:
                self._at, self._entered_of_front = chunk.next_position, self._skip
                return
            left_out = replace(chunk.left_out, rows=chunk.left_out.rows - entered)
            nothing = Batch(self._times.schema, (), 0)
            self._waiting.append(Waiting(nothing, chunk.next_position, chunk.floor, left_out))
            return
        # texts may come with dictionaries, where operators take them: plain values all the same
        columns = LazyColumns(chunk.rows.num_columns, chunk.rows.column)
        batch = Batch(self._times.schema, columns, chunk.rows.num_rows)
        if self._skip or not batch.num_rows:
            skipped = min(self._skip, batch.num_rows)
            self._skip -= skipped
            if skipped == batch.num_rows:
                self._at, self._entered_of_front = chunk.next_position, self._skip
                return
            batch = batch.slice(skipped, batch.num_rows)
        batch.event_time = self._times.of(batch)
        self._waiting.append(Waiting(batch, chunk.next_position, chunk.floor))

    def end(self) -> None:
        """The reader has nothing more. Raises `SourceError` if it had fewer rows than had entered."""
        if self._skip:
            raise SourceError(
                "the partition ends before the position in the checkpoint",
                expected=f"at least {self.rows:,} rows, as when the checkpoint was taken",
                found=f"{self.rows - self._skip:,} rows",
                remedy="bring the original data back, or start a new job",
            )
        self._read_all = True

    @property
    def passes_over(self) -> bool:
        """Whether what comes next are rows that were not read."""
        return bool(self._waiting) and self._waiting[0].left_out is not None

    def pass_over(self) -> tuple[LeftOut, int | None]:
        """The next rows, which were not read, enter; what they were, and the floor after them."""
        front = self._waiting.popleft()
        assert front.left_out is not None
        self.rows += front.left_out.rows
        self._at, self._entered_of_front = front.next_position, 0
        return front.left_out, front.floor

    def front(self, limit: int) -> Batch:
        """The next rows: small chunks together, up to `limit` rows.

        Fewer where the last front was cut short by a late row: looking at many rows again and again
        to admit a few would cost the square of them.
        """
        limit = min(limit, self._appetite)
        batches: list[Batch] = []
        rows = 0
        for waiting in self._waiting:
            if batches and (rows >= ENOUGH_ROWS or rows + waiting.batch.num_rows > limit):
                break
            if waiting.left_out is not None:
                break  # the rows behind are judged by what they make of the watermark
            batches.append(waiting.batch)
            rows += waiting.batch.num_rows
        front = concat_batches(batches)
        return front if front.num_rows <= limit else front.slice(0, limit)

    def enter(self, rows: int) -> int | None:
        """The first `rows` rows of `front` entered; the floor after them (None: unknown)."""
        self.rows += rows
        self._appetite = max(SMALLEST_FRONT, rows * FRONT_GROWTH)
        floor: int | None = None
        while rows:
            front = self._waiting.popleft()
            size = front.batch.num_rows
            if rows < size:
                self._waiting.appendleft(front._replace(batch=front.batch.slice(rows, size)))
                self._entered_of_front += rows
                return None
            rows -= size
            self._at, self._entered_of_front, floor = front.next_position, 0, front.floor
        return floor

    def snapshot(self) -> Json:
        """The position: where to read again, how many rows of that to skip, and whether all was read."""
        return {"at": self._at, "skip": self._entered_of_front, "ended": self.ended, "rows": self.rows}

    def restore(self, state: Json) -> None:
        """Become what `snapshot` saw; the reader has to start at `start`."""
        self._at = state["at"]
        self._skip = self._entered_of_front = state["skip"]
        self._read_all = state["ended"]
        self.rows = state["rows"]
