"""Windows at work: rows become partials of slices, and the watermark fires windows of these."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Batch, Column, as_numpy, concat_batches
from streamlib.core.changes import Changes
from streamlib.core.contracts import Operator, OperatorState, Output, StreamType
from streamlib.core.later_batch import LaterBatch
from streamlib.core.segment import Segment
from streamlib.core.time import MIN_TIME, Micros, add_saturating, earlier, later
from streamlib.operators.bound_aggregate import Aggregate
from streamlib.operators.firing import MakeBlock, runs
from streamlib.operators.group_tables import INSTANT, WINDOW_BOUNDS, GroupTables
from streamlib.operators.held_back import HeldBack, blocks_by_owner
from streamlib.operators.partials import Block, Largest, Partial, PartialAggregator
from streamlib.operators.slices import SliceStore
from streamlib.windows.assigned import grid_of
from streamlib.windows.contract import Placement, WindowAssigner

RESULT, LATE, MISSED = range(3)
SMALL_ROWS = 8_192  # rows of small batches that wait, to be taken in together: a kernel costs a few us a call
MOST_SMALL = 512  # batches
MANY_ROWS = 2  # rows a group from which on it pays to group a batch before it is sent to other workers


@dataclass(frozen=True)
class Windowing:
    """What is to be done. See `WindowAggregate`."""

    window: WindowAssigner
    aggregates: Sequence[tuple[str, Aggregate]]
    lateness: int
    largest: Largest | None
    by_arrival: bool
    """Whether results depend on the order in which rows arrive."""


@dataclass(frozen=True)
class Taken:
    """What came of rows: partials by slice, those of rows that are held back, and updates by window."""

    partials: Sequence[Partial] = ()
    held: Sequence[Block] = ()
    updates: Sequence[Block] = ()

    def __bool__(self) -> bool:
        return bool(self.partials or self.held or self.updates)

    @classmethod
    def of(cls, parts: Sequence[Taken]) -> Taken:
        """All of some, in order."""
        return cls(
            [partial for part in parts for partial in part.partials],
            [block for part in parts for block in part.held],
            [block for part in parts for block in part.updates],
        )


class WindowAggregateOperator(Operator):
    """Judges lateness, keeps aggregated slices, and fires the windows that the watermark closes.

    Each window shows one result. With lateness it waits for that: everything happens as if the
    watermark stayed that much behind.
    """

    def __init__(self, windowing: Windowing, stream: StreamType, out: pa.Schema, missed: pa.Schema) -> None:
        self.delay = windowing.lateness
        self._grid = grid_of(windowing.window)
        self._by_arrival = windowing.by_arrival
        # rows that are held back come to a window after others that arrived later
        self.judges_stamped = self._grid.windows_per_row() == 1 or not self._by_arrival
        self._stream = stream
        self._out = out
        self._missed = missed
        keys = [out.field(key).type for key in stream.keys]
        self._key_types = keys if self._grid.numbers_tell_starts else [*keys, pa.int64()]
        aggregates = [aggregate.bind(name, stream) for name, aggregate in windowing.aggregates]
        shared = self._grid.windows_per_row()
        self._aggregator = PartialAggregator(self._key_types, aggregates, len(keys), shared)
        self._slices = SliceStore(self._grid, self._aggregator)
        self._held = HeldBack(self._grid, self._key_types, aggregates, len(keys))
        self._largest = windowing.largest
        own_start = [] if self._grid.numbers_tell_starts else ["__window_start"]
        self._key_names = [*(f"key.{key}" for key in stream.keys), *own_start]
        self._tables = GroupTables(self._key_names, self._aggregator, "__slice")
        self._held_tables = GroupTables([*self._key_names, "__missed"], self._held.aggregator, "__slice")
        self._lateness = windowing.lateness
        self._watermark = MIN_TIME
        self._decides_at = MIN_TIME  # the least watermark that does anything; small batches ask often
        self._late_rows = 0
        self._small: list[Batch] = []
        self._small_rows = 0
        # users' functions work in the thread of the rows, and updates change what others see
        self._results_can_wait = self._aggregator.only_builtin and stream.changes is None
        self._groups = True

    # ------------------------------------------------------------------ rows

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        if batch.num_rows < SMALL_ROWS and self._may_wait(batch):
            self._small.append(batch)
            self._small_rows += batch.num_rows
            return () if self._small_rows < SMALL_ROWS and len(self._small) < MOST_SMALL else self._flush()
        before = self._flush() if self._by_arrival else ()
        return [*before, *self._take_in(batch)]

    def _may_wait(self, batch: Batch) -> bool:
        """Whether nothing is decided about the rows before a window fires: none is late for any."""
        closed = earlier(self._watermark, self._lateness)
        return batch.num_rows > 0 and batch.judged_by is None and batch.least_time >= closed

    def _flush(self) -> Iterable[Output]:
        """Take in the small batches that wait. No window has ended since they came."""
        if not self._small:
            return ()
        small, self._small, self._small_rows = self._small, [], 0
        return self._take_in(concat_batches(small))

    def _take_in(self, batch: Batch) -> Iterable[Output]:
        taken, outputs = self._taken(batch, grouped=False)
        return [*outputs, *self._add(taken)] if taken else outputs

    def combine(self, batch: Batch, port: int) -> tuple[Taken | None, list[Output]]:
        """See `Combines`."""
        taken, outputs = self._taken(batch, grouped=self._groups)
        if self._groups and taken and any(isinstance(partial, Block) for partial in taken.partials):
            # groups as many as rows are hashed where they fire
            self._groups = sum(map(len, taken.partials)) * MANY_ROWS <= batch.num_rows
        return taken or None, outputs

    def _taken(self, batch: Batch, grouped: bool) -> tuple[Taken, list[Output]]:
        assert batch.event_time is not None
        if not batch.num_rows:
            return Taken(), []
        placed = self._place(batch, batch.event_time)
        taken = Taken(
            self._partials(batch, placed, grouped),
            self._held_back(batch, placed),
            self._updates(batch, placed),
        )
        return taken, self._late_outputs(batch, placed)

    def _place(self, batch: Batch, times: Micros) -> Placement:
        """Where the rows go: judged by the watermark, or by stamps that are later."""
        if batch.judged_by is None:
            closed = earlier(self._watermark, self._lateness)
            return self._grid.place(times, MIN_TIME if batch.time_bounds[0] >= closed else closed)
        return self._place_stamped(times, np.maximum(batch.judged_by, self._watermark))

    def _place_stamped(self, times: Micros, marks: Micros) -> Placement:
        return self._grid.place(times, self._closed(marks), fired=self._last_fired())

    def _closed(self, marks: Micros) -> Micros:
        """What closes windows at these watermarks: they are over if they end there or before."""
        return add_saturating(marks, -self._lateness) if self._lateness else marks

    def _partials(self, batch: Batch, placed: Placement, grouped: bool) -> tuple[Partial, ...]:
        if not len(placed.slices):
            return ()
        rows = batch if placed.rows is None else batch.take(placed.rows)
        beside = None if grouped else self._slices.beside(rows.num_rows)
        keys = self._keys(rows, placed.starts)
        return (self._aggregator.build(rows, keys, placed.slices, grouped, beside),)

    def _held_back(self, batch: Batch, placed: Placement) -> tuple[Block, ...]:
        if placed.held is None:
            return ()
        found, slices, missed = placed.held
        rows = batch.take(found)
        return (self._held.build(rows, self._keys(rows, None), slices, missed),)

    def _updates(self, batch: Batch, placed: Placement) -> tuple[Block, ...]:
        if placed.updates is None:
            return ()
        found, windows, starts = placed.updates
        rows = batch.take(found)
        partial = self._aggregator.build(rows, self._keys(rows, starts), windows)
        return (partial if isinstance(partial, Block) else self._aggregator.block_of(partial),)

    def _keys(self, rows: Batch, starts: Micros | None) -> list[Column]:
        keys = [rows.column(key) for key in self._stream.keys]
        return keys if starts is None else [*keys, starts]

    def _last_fired(self) -> int:
        """The number of the last window that has fired."""
        return self._grid.last_over(earlier(self._watermark, self.delay))

    def split(self, taken: Sequence[Taken], owners: npt.NDArray[np.intp]) -> Mapping[int, Taken]:
        """See `Combines`."""
        merge, self._groups = self._groups, True
        together = Taken.of(taken)
        partials = self._aggregator.split(together.partials, owners, merge) if together.partials else {}
        held = blocks_by_owner(self._held.aggregator, together.held, owners)
        updates = blocks_by_owner(self._aggregator, together.updates, owners)
        workers = sorted({*partials, *held, *updates})
        return {w: Taken(partials.get(w, ()), held.get(w, ()), updates.get(w, ())) for w in workers}

    def merge(self, parts: Sequence[Taken]) -> Iterable[Output]:
        """See `Combines`."""
        return self._add(Taken.of(parts))

    def _add(self, taken: Taken) -> Iterable[Output]:
        """Take what belongs to keys that this operator owns."""
        for block in taken.held:
            self._held.add(block)
        for partial in taken.partials:
            self._slices.add(partial)
        return ()

    def _late_outputs(self, batch: Batch, placed: Placement) -> list[Output]:
        """The rows that were late for all their windows, and one for each row and window it missed."""
        outputs: list[Output] = []
        if placed.late is not None:
            self._late_rows += int(np.count_nonzero(placed.late))
            outputs.append((LATE, batch.filter(placed.late)))
        if placed.missed is not None:
            rows, starts, ends = placed.missed
            found = batch.take(rows)
            kept = [c for c, f in zip(found.columns, found.schema, strict=True) if not is_bound(f)]
            outputs.append((MISSED, found.replaced(self._missed, [*kept, *_bounds(starts, ends)])))
        return outputs

    # ------------------------------------------------------------------ time

    def on_watermark(self, watermark: int) -> Iterable[Output]:
        after = max(watermark, self._watermark)
        if after < self._decides_at:
            self._watermark = after
            return ()
        ended, ends = earlier(self._watermark, self.delay), earlier(after, self.delay)
        # rows that wait are judged by the watermark at which they came
        outputs = () if ends < self._grid.end_after(ended) else self._flush()
        self._watermark = after
        self._decides_at = self.deadline_after(after)
        return itertools.chain(outputs, self._fire(ended, ends))

    def _fire(self, before: int, watermark: int) -> Iterator[Output]:
        """The results of the windows that end after `before` and by `watermark`."""
        if watermark < self._grid.end_after(before):
            return  # no window ends here
        over, last = self._grid.last_over(before), self._grid.last_over(watermark)
        held = self._held.in_windows(over + 1, last)
        for make in self._slices.fire(over, last, self._largest, held):
            if self._results_can_wait:
                yield RESULT, LaterBatch(self._out, functools.partial(self._made, make))
                continue
            fired = make()
            groups = fired if self._stream.changes is None else _with_rows(fired)
            if len(groups):
                yield RESULT, self._result(groups)
        self._slices.forget(self._grid.first_open_slice(last))
        self._held.forget(self._grid.first_open_slice(last))

    def _made(self, make: MakeBlock) -> Batch:
        return self._result(make())

    def _result(self, fired: Block) -> Batch:
        return self._batch(fired, self._aggregator.finish(fired), None)

    def _batch(self, windows: Block, results: list[Column], changes: Changes | None) -> Batch:
        begins, lengths = runs(windows.numbers)  # a window has many groups, which come together
        numbers = windows.numbers.take(begins)
        ends = self._grid.ends(numbers)
        if self._grid.numbers_tell_starts:
            starts = np.repeat(self._grid.starts(numbers), lengths)
        else:
            starts = np.asarray(as_numpy(windows.keys[-1]))
        keys = windows.keys[: len(self._stream.keys)]
        columns = [*keys, *_bounds(starts, np.repeat(ends, lengths)), *results]
        return Batch(self._out, columns, len(windows), np.repeat(ends - 1, lengths), changes)

    def deadline_after(self, watermark: int) -> int:
        return later(self._grid.end_after(earlier(watermark, self._lateness)), self._lateness)

    @property
    def late_rows(self) -> int:
        return self._late_rows

    # ------------------------------------------------------------------ state

    def snapshot(self) -> OperatorState:
        self._flush()
        tables: dict[str, Sequence[Segment]] = {
            "slices": self._slices.segments(self._tables.table),
            "crowded": self._slices.crowded.segments(self._tables.table),
            "held": self._held.segments(self._held_tables.table),
        }
        return OperatorState(tables, {"watermark": self._watermark}, {"late_rows": self._late_rows})

    def restore(self, state: OperatorState) -> None:
        self._watermark = int(state.values["watermark"])
        self._late_rows = state.counters["late_rows"]
        open_ = self._grid.first_open_slice(self._last_fired())
        groups, crowded, held = (state.table(name) for name in ("slices", "crowded", "held"))
        if groups is not None:
            self._slices.restore(self._tables.block(groups), open_)
        if crowded is not None:
            self._slices.crowded.restore(self._tables.block(crowded), open_)
        if held is not None:
            self._held.restore(self._held_tables.block(held), open_)


def is_bound(field: pa.Field) -> bool:
    """Whether this is a bound of the windows from which the rows came; sources lose that it is never null."""
    return field.with_nullable(False) in WINDOW_BOUNDS


def _with_rows(groups: Block) -> Block:
    """Without the groups of which a changelog took all rows back."""
    rows = np.flatnonzero(np.asarray(groups.states[0]) > 0)
    return groups if len(rows) == len(groups) else groups.renumbered(groups.numbers.take(rows), rows)


def _bounds(starts: Micros, ends: Micros) -> list[pa.Array]:
    return [pa.array(starts).view(INSTANT), pa.array(ends).view(INSTANT)]
