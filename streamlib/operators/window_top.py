"""`top`: of every window the rows that are largest in one column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.batch import Batch, concat_batches
from streamlib.core.contracts import Json, Operator, OperatorSpec, OperatorState, Output, StreamType
from streamlib.core.errors import DefinitionError, UnknownColumnError
from streamlib.core.segment import Segment
from streamlib.operators.group_tables import WINDOW_BOUNDS
from streamlib.operators.sortable import check_order

_START, _END = (field.name for field in WINDOW_BOUNDS)
_TIME = "__event_time"
MOST_WAITING = 65_536  # rows that wait for their windows to end before all but the largest are dropped


@dataclass(frozen=True, eq=False)
class Top(OperatorSpec):
    """The `n` rows of every window that are largest in `by`."""

    kind: ClassVar[str] = "top"
    takes_codes: ClassVar[bool] = True
    stateful: ClassVar[bool] = True

    n: int
    by: str

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        if not stream.event_time or any(field not in stream.schema for field in WINDOW_BOUNDS):
            raise DefinitionError(
                "`top` looks at the rows of a window",
                expected="the result of an aggregated window, with `window_start` and `window_end`",
                found=f"a stream with the columns {', '.join(stream.schema.names)}",
                remedy='put it behind `.window(...).aggregate(...)`, for example `.top(3, by="bids")`',
            )
        if stream.changes is not None:
            raise DefinitionError(
                "the rows of a window have to be there once, before the largest are taken",
                expected="a window that fires once",
                found="a changelog: windows that are corrected later",
                remedy="put `.final_only()` behind `.window(...)`, or allow no lateness",
            )
        for name in (self.by, *stream.keys):
            if stream.schema.get_field_index(name) < 0:
                raise UnknownColumnError.of(name, stream.schema.names)
        check_order(self.by, stream.schema.field(self.by).type)
        return (stream,)

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        return _Top(self, inputs[0])

    def describe(self) -> str:
        return f"the {self.n} largest by {self.by} of every window"

    def state_version(self) -> Json:
        return [self.n, self.by]


class _Top(Operator):
    """Rows wait until the watermark has reached the end of their window; of many the largest are kept."""

    def __init__(self, spec: Top, stream: StreamType) -> None:
        self._n = spec.n
        self._schema = stream.schema
        # where all that counts is equal, the order of the keys decides, never that of arrival
        self._order = [(_END, "ascending"), (_START, "ascending"), (spec.by, "descending")]
        self._order += [(key, "ascending") for key in stream.keys]
        self._waiting: list[Batch] = []
        self._prune_above = MOST_WAITING

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        self._waiting.append(batch)
        if sum(b.num_rows for b in self._waiting) > self._prune_above:
            self._waiting = [self._largest(concat_batches(self._waiting))]
            self._prune_above = MOST_WAITING + 2 * self._waiting[0].num_rows
        return ()

    def on_watermark(self, watermark: int) -> Iterable[Output]:
        if not self._waiting:
            return ()
        rows = concat_batches(self._waiting)
        assert rows.event_time is not None
        over = rows.event_time < watermark  # it is the window's end less one tick
        self._waiting = [] if over.all() else [rows.filter(~over)]
        return ((0, self._largest(rows.filter(over))),) if over.any() else ()

    def _largest(self, rows: Batch) -> Batch:
        """The `n` largest of every window, windows in the order of their ends, the largest first."""
        table = pa.Table.from_batches([rows.to_arrow()])
        order = pc.sort_indices(table, sort_keys=self._order).to_numpy()
        bounds = [table.column(n).chunk(0).view(pa.int64()).to_numpy().take(order) for n in (_START, _END)]
        begins = np.ones(len(order), np.bool_)
        begins[1:] = np.logical_or.reduce([b[1:] != b[:-1] for b in bounds])
        place = np.arange(len(order))
        rank = place - np.maximum.accumulate(np.where(begins, place, 0))
        return rows.take(order[rank < self._n].astype(np.intp))

    # ------------------------------------------------------------------ state

    def snapshot(self) -> OperatorState:
        if not self._waiting:
            return OperatorState({"rows": []})
        rows = concat_batches(self._waiting)
        table = pa.Table.from_batches([rows.to_arrow()]).append_column(_TIME, pa.array(rows.event_time))
        return OperatorState({"rows": [Segment.of(table)]})

    def restore(self, state: OperatorState) -> None:
        table = state.table("rows")
        if table is not None and table.num_rows:
            rows = table.combine_chunks().to_batches()[0]
            times = rows.column(_TIME).to_numpy()
            columns = [rows.column(name) for name in self._schema.names]
            self._waiting = [Batch(self._schema, columns, rows.num_rows, times)]
