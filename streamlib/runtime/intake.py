"""A partition's rows on their way in: decoded chunks that wait, and the position of what entered."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Batch, as_arrow, as_numpy, concat_batches
from streamlib.core.contracts import Chunk, Json, LeftOut, StreamType
from streamlib.core.errors import EventTimeError, SourceError
from streamlib.core.expressions import Bound, bind
from streamlib.core.isolation import isolated
from streamlib.core.lazy_columns import LazyColumns
from streamlib.core.time import Micros, to_micros
from streamlib.plan.node import Read
from streamlib.runtime.lost import Losses, leaving_out, losses_of, numbers, shifted, without_first

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

    def of(self, batch: Batch, first: int = 0) -> Micros | None:
        """Microseconds UTC of every row, or None for a source without event time.

        Raises `EventTimeError` for a null; `first` is the number of the first row.
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
            raise _missing(batch, row, first + row)
        try:
            return to_micros(column, self._tz)
        except pa.ArrowException as cause:
            raise EventTimeError(
                "an event time does not fit int64 microseconds",
                expected="an instant within 292,000 years of 1970",
                found=str(cause),
                remedy="filter such rows out before `sl.read` or give another event time",
            ) from cause

    def failing(self, batch: Batch, named: npt.NDArray[np.int64]) -> list[tuple[int, Exception]]:
        """The rows whose event time is null or can't be computed, each with its error, in order.

        `named` are the numbers by which errors call the rows.
        """
        assert self._bound is not None
        found: list[tuple[int, Exception]] = []
        rows = np.arange(batch.num_rows)
        try:
            null = as_arrow(self._bound.evaluate(batch), self._bound.dtype).is_null().to_numpy(False)
        except Exception:
            null = np.zeros(batch.num_rows, np.bool_)  # some can't be computed: one by one
        found += [(row, _missing(batch, row, int(named[row]))) for row in rows[null].tolist()]
        rows = rows[~null]

        def attempt(start: int, stop: int) -> None:
            self.of(batch.take(rows[start:stop]), int(named[rows[start]]))

        try:
            if len(rows):
                attempt(0, len(rows))
        except Exception as error:
            list(isolated(len(rows), attempt, error, lambda i, e: found.append((int(rows[i]), e))))
        return sorted(found, key=lambda each: each[0])


def _missing(batch: Batch, row: int, number: int) -> EventTimeError:
    return EventTimeError(
        f"row {number} has no event time",
        expected="an event time in every row",
        found=str(batch.slice(row, row + 1).to_arrow().to_pylist()[0]),
        remedy="give an expression with `fill_null`, or leave such rows out: `sl.read(..., on_error=)`",
    )


@dataclass(slots=True)
class Waiting:
    """Rows of one chunk that have not entered yet, and what the chunk said of its end."""

    batch: Batch
    next_position: Json
    floor: int | None
    left_out: LeftOut | None = None
    lost: Losses = ()

    @property
    def records(self) -> int:
        """How far a position goes by it."""
        left_out = 0 if self.left_out is None else self.left_out.rows
        return self.batch.num_rows + len(self.lost) + left_out


class Intake:
    """One partition. Its position counts what entered, never what was read ahead.

    Records that can't enter stop the job, or, if it `rescues` rows, are lost when those before them entered.
    """

    def __init__(self, times: EventTimes, rescues: bool = False) -> None:
        self._times = times
        self._rescues = rescues
        self._lost: Losses = ()
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
        return sum([w.batch.num_rows + len(w.lost) for w in self._waiting])

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
        if not (chunk.rows.num_rows or chunk.broken) and self._waiting:
            self._waiting[-1] = replace(self._waiting[-1], next_position=chunk.next_position)
            return
        # texts may come with dictionaries, where operators take them: plain values all the same
        columns = LazyColumns(chunk.rows.num_columns, chunk.rows.column)
        batch = Batch(self._times.schema, columns, chunk.rows.num_rows)
        lost: Losses = ()
        if chunk.broken:
            lost = losses_of(chunk.broken, self._number_of_next() - self._skip, batch.num_rows)
        if self._skip or not (batch.num_rows or lost):
            records = batch.num_rows + len(lost)
            skipped = min(self._skip, records)
            self._skip -= skipped
            if skipped == records:
                self._at, self._entered_of_front = chunk.next_position, self._skip
                return
            batch, lost = without_first(batch, lost, skipped)
        if lost and not self._rescues:
            raise lost[0].error
        if batch.num_rows:  # of none the columns may be missing
            try:
                batch.event_time = self._times.of(batch)
            except Exception:
                batch, lost = self._with_times(batch, lost)
        self._waiting.append(Waiting(batch, chunk.next_position, chunk.floor, None, lost))

    def _number_of_next(self) -> int:
        """The number in the partition of what is read next."""
        return self.rows + sum(w.records for w in self._waiting)

    def _with_times(self, batch: Batch, lost: Losses) -> tuple[Batch, Losses]:
        """The rows that have an event time; the others are lost, or the first of them raises."""
        first = self._number_of_next()
        failed = self._times.failing(batch, numbers(first, lost, np.arange(batch.num_rows)))
        if not self._rescues:
            raise failed[0][1]
        batch, lost = leaving_out(batch, lost, first, failed)
        batch.event_time = self._times.of(batch)
        return batch, lost

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
    def reads_on_at(self) -> Json:
        """Where a reader goes on behind all that was read."""
        return self._waiting[-1].next_position if self._waiting else self._at

    @property
    def passes_over(self) -> bool:
        """Whether what comes next are no rows: `pass_over`."""
        return bool(self._waiting) and not self._waiting[0].batch.num_rows

    def pass_over(self) -> tuple[LeftOut, int | None]:
        """What comes next, lost or not read, enters; what it was (maybe no rows), and the floor after it."""
        front = self._waiting.popleft()
        self.rows += front.records
        self._lost += front.lost
        self._at, self._entered_of_front = front.next_position, 0
        return front.left_out or LeftOut(0, None), front.floor

    def lose(self, failed: Sequence[tuple[int, Exception]]) -> None:
        """Some rows of `front`, in order, can't enter."""
        first, start, rest = self.rows, 0, list(failed)
        for i, piece in enumerate(self._waiting):
            stop = start + piece.batch.num_rows
            here = [(row - start, error) for row, error in rest if row < stop]
            rest = rest[len(here) :]
            if here:
                batch, lost = leaving_out(piece.batch, piece.lost, first, here)
                self._waiting[i] = replace(piece, batch=batch, lost=lost)
            start, first = stop, first + piece.records
            if not rest:
                return

    def number_of(self, row: int) -> int:
        """The number in the partition of a row of `front`."""
        return int(self.numbers_of(row + 1)[-1])

    def numbers_of(self, count: int) -> npt.NDArray[np.int64]:
        """The numbers in the partition of the first rows of `front`."""
        first, parts = self.rows, []
        for piece in self._waiting:
            rows = min(count, piece.batch.num_rows)
            parts.append(numbers(first, piece.lost, np.arange(rows)))
            first, count = first + piece.records, count - rows
            if not count:
                break
        return np.concatenate(parts)

    def take_lost(self) -> Losses:
        """What was lost among the records that entered since the last call."""
        lost, self._lost = self._lost, ()
        return lost

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
            if not waiting.batch.num_rows:
                if waiting.left_out is not None:
                    break  # the rows behind are judged by what they make of the watermark
                continue
            batches.append(waiting.batch)
            rows += waiting.batch.num_rows
        front = batches[0] if len(batches) == 1 else concat_batches(batches)
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
                lost = self._lose_first(front, rows)
                left = shifted(front.lost[lost:], rows)
                self._waiting.appendleft(replace(front, batch=front.batch.slice(rows, size), lost=left))
                self._entered_of_front += rows + lost
                return None
            if front.lost:
                self._lose_first(front, rows)
            rows -= size
            self._at, self._entered_of_front, floor = front.next_position, 0, front.floor
        return floor

    def _lose_first(self, front: Waiting, rows: int) -> int:
        """What stands among the first rows, or directly behind them, is lost; how many that are."""
        lost = sum(each.after <= rows for each in front.lost)
        self._lost += front.lost[:lost]
        self.rows += lost
        return lost

    def snapshot(self) -> Json:
        """The position: where to read again, how many rows of that to skip, and whether all was read."""
        return {"at": self._at, "skip": self._entered_of_front, "ended": self.ended, "rows": self.rows}

    def restore(self, state: Json) -> None:
        """Become what `snapshot` saw; the reader has to start at `start`."""
        self._at = state["at"]
        self._skip = self._entered_of_front = state["skip"]
        self._read_all = state["ended"]
        self.rows = state["rows"]
