"""`in_event_time_order`: rows wait for the watermark, and go on in the order in which things happened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.batch import Batch, as_arrow, concat_batches
from streamlib.core.contracts import Json, Operator, OperatorSpec, OperatorState, Output, StreamType
from streamlib.core.segment import Segment
from streamlib.core.time import MAX_TIME, MIN_TIME, Micros
from streamlib.operators.columns_read import all_of
from streamlib.operators.sortable import check_order

_TIME = "__event_time"


@dataclass(frozen=True, eq=False)
class InEventTimeOrder(OperatorSpec):
    """All rows in the order of their event times; those of one instant by `by`, then as they arrived."""

    kind: ClassVar[str] = "in_event_time_order"
    outputs: ClassVar[tuple[str, ...]] = ("out", "late")
    stateful: ClassVar[bool] = True

    by: tuple[str, ...]

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        stream.need(event_time=True, append_only=True)
        for name in self.by:
            check_order(name, stream.field(name).type)
        return replace(stream, lateness=0), stream

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        return _InOrder(self, inputs[0].schema)

    def reads(
        self, wanted: Sequence[frozenset[str] | None], inputs: Sequence[StreamType]
    ) -> frozenset[str] | None:
        return all_of([*wanted, frozenset(self.by)])

    def describe(self) -> str:
        return f"then by {', '.join(self.by)}" if self.by else ""

    @property
    def order_sensitive(self) -> str | None:
        return None if self.by else "rows of one instant keep the order in which they arrive"

    def state_version(self) -> Json:
        return list(self.by)


class _InOrder(Operator):
    """Keeps the rows at and after the watermark. What is behind it can't be put in order any more."""

    judges_stamped = True

    def __init__(self, spec: InEventTimeOrder, schema: pa.Schema) -> None:
        self._by = spec.by
        self._schema = schema
        self._waiting: list[Batch] = []
        self._watermark = MIN_TIME
        self._late = 0

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        assert batch.event_time is not None
        passed: int | Micros = self._watermark
        if batch.judged_by is not None:
            passed = np.maximum(batch.judged_by, passed)
        late = batch.event_time < passed
        behind = int(np.count_nonzero(late))
        if behind < batch.num_rows:
            kept = batch.filter(~late) if behind else batch
            self._waiting.append(Batch(self._schema, kept.columns, kept.num_rows, kept.event_time))
        self._late += behind
        return ((1, batch.filter(late)),) if behind else ()

    def on_watermark(self, watermark: int) -> Iterable[Output]:
        self._watermark = watermark
        if not any(self._passed(batch, watermark) for batch in self._waiting):
            return ()
        rows = concat_batches(self._waiting)
        assert rows.event_time is not None
        ready = rows.event_time < watermark if watermark < MAX_TIME else np.ones(rows.num_rows, np.bool_)
        self._waiting = [] if ready.all() else [rows.filter(~ready)]
        return ((0, self._sorted(rows.filter(ready))),)

    def _passed(self, batch: Batch, watermark: int) -> bool:
        return watermark == MAX_TIME or batch.time_bounds[0] < watermark

    def _sorted(self, rows: Batch) -> Batch:
        assert rows.event_time is not None
        if not self._by:
            in_order = bool((rows.event_time[1:] >= rows.event_time[:-1]).all())
            return rows if in_order else rows.take(np.argsort(rows.event_time, kind="stable"))
        columns = [pa.array(rows.event_time), *(as_arrow(rows.column(name)) for name in self._by)]
        columns.append(pa.array(np.arange(rows.num_rows)))  # Arrow's sort does not keep the order of equals
        names = [str(i) for i in range(len(columns))]
        order: npt.NDArray[np.intp] = pc.sort_indices(
            pa.table(columns, names), sort_keys=[(name, "ascending") for name in names]
        ).to_numpy()
        return rows.take(order.astype(np.intp))

    def deadline_after(self, watermark: int) -> int:
        return min(watermark + 1, MAX_TIME)

    @property
    def late_rows(self) -> int:
        return self._late

    # ------------------------------------------------------------------ state

    def snapshot(self) -> OperatorState:
        values, counters = {"watermark": self._watermark}, {"late": self._late}
        if not self._waiting:
            return OperatorState({"rows": []}, values, counters)
        rows = concat_batches(self._waiting)
        table = pa.Table.from_batches([rows.to_arrow()]).append_column(_TIME, pa.array(rows.event_time))
        return OperatorState({"rows": [Segment.of(table)]}, values, counters)

    def restore(self, state: OperatorState) -> None:
        self._watermark, self._late = state.values["watermark"], state.counters["late"]
        table = state.table("rows")
        if table is not None and table.num_rows:
            rows = table.combine_chunks().to_batches()[0]
            columns = [rows.column(name) for name in self._schema.names]
            self._waiting = [Batch(self._schema, columns, rows.num_rows, rows.column(_TIME).to_numpy())]
