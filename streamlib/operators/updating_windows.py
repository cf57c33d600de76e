"""Windows that show a result at their end, and take rows afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Batch
from streamlib.core.changes import INSERT
from streamlib.core.contracts import OperatorState, Output, StreamType
from streamlib.core.time import Micros, earlier
from streamlib.operators.cells import Cells
from streamlib.operators.fired_windows import FiredWindows
from streamlib.operators.firing import first_from
from streamlib.operators.group_tables import GroupTables
from streamlib.operators.partials import Block, Partial, PartialAggregator
from streamlib.operators.slices import SliceStore
from streamlib.operators.updates import Updates
from streamlib.operators.window_operator import RESULT, Taken, WindowAggregateOperator, Windowing
from streamlib.windows.contract import Placement


class UpdatingWindowAggregate(WindowAggregateOperator):
    """Shows a result when a window ends, and what becomes of it while the window still takes rows."""

    def __init__(self, windowing: Windowing, stream: StreamType, out: pa.Schema, missed: pa.Schema) -> None:
        super().__init__(windowing, stream, out, missed)
        self.delay = 0
        self.judges_stamped = not self._by_arrival  # updates come after what arrived later
        self._ahead = SliceStore(self._grid, self._aggregator, crowds=False)
        """Updates by window, of windows that have not fired."""
        slices = self._aggregator
        self._windows = PartialAggregator([*self._key_types, pa.int64()], slices.aggregates, slices.own)
        self._fired = FiredWindows(self._windows)
        self._results_can_wait = False
        self._fired_tables = GroupTables([*self._key_names, "__window"], self._windows)
        self._ahead_tables = GroupTables(self._key_names, self._aggregator, "__window")

    def _may_wait(self, batch: Batch) -> bool:
        return False  # a row of a window that was shown is an update at once

    def _place_stamped(self, times: Micros, marks: Micros) -> Placement:
        return self._grid.place(times, self._closed(marks), shown=marks)

    def _add(self, taken: Taken) -> Iterable[Output]:
        fired = self._last_fired()
        for block in taken.held:
            self._held.add(block)
        for block in taken.updates:
            self._ahead.add(block)
        behind: list[Block] = []
        for partial in taken.partials:
            behind += self._split_off(partial, fired)
        return self._update([*behind, *self._take_ahead(fired)])

    def _take_ahead(self, fired: int) -> list[Block]:
        """The updates of windows that have fired by now, up to number `fired`."""
        parts = [block.slice(0, first_from(block, fired + 1)) for block in self._ahead.blocks]
        self._ahead.forget(fired + 1)
        return [block for block in parts if len(block)]

    def _update(self, behind: Sequence[Block]) -> Iterable[Output]:
        """What becomes of fired windows by groups that are numbered by them."""
        if not behind:
            return []
        step = self._fired.update(self._aggregator.merge(behind))
        updates = Updates.of(step, self._aggregator)
        if not len(updates):
            return []
        windows = step.after.renumbered(step.after.numbers.take(updates.groups), updates.groups)
        return [(RESULT, self._batch(windows, updates.results, updates.changes))]

    def _split_off(self, partial: Partial, fired: int) -> list[Block]:
        """Keep what open windows need of a partial; for fired ones, up to number `fired`, its groups."""
        end = self._grid.slices_of(fired).stop
        if isinstance(partial, Cells):
            if partial.first >= end:
                self._slices.add(partial)
                return []
            partial = self._aggregator.block_of(partial)
        stop = first_from(partial, end)
        if not stop:
            self._slices.add(partial)
            return []
        start = first_from(partial, self._grid.first_open_slice(fired))
        if start < len(partial):
            self._slices.add(partial.slice(start, len(partial)))
        late = partial.slice(0, stop)
        over = self._grid.last_over(earlier(self._watermark, self._lateness))
        rows, windows = self._grid.windows_holding(late.numbers, over + 1, fired)
        return [late.renumbered(windows, rows)] if len(rows) else []

    def _fire(self, before: int, watermark: int) -> Iterator[Output]:
        yield from super()._fire(before, watermark)
        yield from self._update(self._take_ahead(self._grid.last_over(watermark)))
        self._fired.forget(self._grid.last_over(earlier(watermark, self._lateness)))

    def _result(self, fired: Block) -> Batch:
        self._fired.add(fired)
        inserted = np.full(len(fired), INSERT, np.int8)
        return self._batch(fired, self._aggregator.finish(fired), inserted)

    def deadline_after(self, watermark: int) -> int:
        """Also the end of a window: which of the late rows its first result holds hangs on it."""
        return min(self._grid.end_after(watermark), super().deadline_after(watermark))

    def snapshot(self) -> OperatorState:
        state = super().snapshot()
        fired = self._fired.segments(self._fired_tables.table)
        ahead = self._ahead.segments(self._ahead_tables.table)
        return replace(state, tables={**state.tables, "fired": fired, "ahead": ahead})

    def restore(self, state: OperatorState) -> None:
        super().restore(state)
        groups = state.table("fired")
        if groups is not None:
            over = self._grid.last_over(earlier(self._watermark, self._lateness))
            self._fired.restore(self._fired_tables.block(groups), over)
        ahead = state.table("ahead")
        if ahead is not None:
            self._ahead.restore(self._ahead_tables.block(ahead), self._last_fired() + 1)
