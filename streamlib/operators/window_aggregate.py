"""Aggregation per key and window: slices of partials, fired by the watermark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Batch, Column, as_numpy
from streamlib.core.canonical import canonical
from streamlib.core.contracts import Json, Operator, OperatorSpec, OperatorState, Output, StreamType
from streamlib.core.errors import EventTimeError
from streamlib.core.segment import Segment
from streamlib.core.time import MIN_TIME, Micros
from streamlib.operators.aggregates import Aggregate
from streamlib.operators.group_tables import GroupTables, key_fields, result_schema
from streamlib.operators.grouping import decoded
from streamlib.operators.partials import Block, Partial, PartialAggregator
from streamlib.operators.slices import SliceStore
from streamlib.windows.assigned import check_windows, grid_of
from streamlib.windows.contract import Placement, WindowAssigner

_INSTANT = pa.timestamp("us", tz="UTC")
_BOUNDS = (pa.field("window_start", _INSTANT, False), pa.field("window_end", _INSTANT, False))
RESULT, LATE, MISSED = range(3)


@dataclass(frozen=True, eq=False)
class WindowAggregate(OperatorSpec):
    """One result row per key and window, when the watermark reaches the window's end."""

    kind: ClassVar[str] = "aggregate"
    outputs: ClassVar[tuple[str, ...]] = ("out", "late", "missed")
    stateful: ClassVar[bool] = True
    keyed: ClassVar[bool] = True

    window: WindowAssigner
    aggregates: tuple[tuple[str, Aggregate], ...]

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        if not stream.event_time:
            raise EventTimeError(
                "a window needs event time",
                expected="a stream with an event time",
                found="a stream without one",
                remedy="give `event_time=` (and `watermark=`) to `sl.read`",
            )
        check_windows(self.window)
        results = [pa.field(name, aggregate.bind(name, stream).dtype) for name, aggregate in self.aggregates]
        out = result_schema([*key_fields(stream), *_BOUNDS, *results])
        missed = result_schema([*(f for f in stream.schema if not _is_bound(f)), *_BOUNDS])
        return (
            StreamType(out, event_time=True, keys=stream.keys),
            stream,
            replace(stream, schema=missed),
        )

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        out, _, missed = self.bind(inputs)
        return WindowAggregateOperator(self, inputs[0], out.schema, missed.schema)

    def describe(self) -> str:
        aggregates = ", ".join(f"{name}={aggregate!r}" for name, aggregate in self.aggregates)
        return f"{self.window.describe()}: {aggregates}"

    def state_version(self) -> Json:
        return repr(canonical(self))


def _is_bound(field: pa.Field) -> bool:
    """Whether this is a bound of the windows from which the rows came; sources lose that it is never null."""
    return field.with_nullable(False) in _BOUNDS


class WindowAggregateOperator(Operator):
    """Judges lateness, keeps aggregated slices, and fires the windows that the watermark closes."""

    def __init__(self, spec: WindowAggregate, stream: StreamType, out: pa.Schema, missed: pa.Schema) -> None:
        self._grid = grid_of(spec.window)
        self._stream = stream
        self._out = out
        self._missed = missed
        keys = [out.field(key).type for key in stream.keys]
        self._aggregator = PartialAggregator(
            keys if self._grid.numbers_tell_starts else [*keys, pa.int64()],
            [aggregate.bind(name, stream) for name, aggregate in spec.aggregates],
            own=len(keys),
        )
        self._slices = SliceStore(self._grid, self._aggregator)
        own_start = [] if self._grid.numbers_tell_starts else ["__window_start"]
        names = [*(f"key.{key}" for key in stream.keys), *own_start]
        self._tables = GroupTables(names, self._aggregator, "__slice")
        self._watermark = MIN_TIME
        self._late_rows = 0

    # ------------------------------------------------------------------ rows

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        partial, outputs = self.combine(batch, port)
        if partial is not None:
            self._slices.add(partial)
        return outputs

    def combine(self, batch: Batch, port: int) -> tuple[Partial | None, list[Output]]:
        """See `Combines`."""
        assert batch.event_time is not None
        if not batch.num_rows:
            return None, []
        placed = self._grid.place(batch.event_time, self._watermark)
        late = self._late_outputs(batch, placed)
        if not len(placed.slices):
            return None, late
        rows = batch if placed.rows is None else batch.take(placed.rows)
        keys = [_decoded(rows.column(key)) for key in self._stream.keys]
        if placed.starts is not None:
            keys.append(placed.starts)
        return self._aggregator.build(rows, keys, placed.slices), late

    def split(self, partial: Partial, owners: npt.NDArray[np.intp]) -> Mapping[int, Partial]:
        """See `Combines`."""
        return self._aggregator.split(partial, owners)

    def merge(self, partials: Sequence[Partial]) -> Iterable[Output]:
        """See `Combines`."""
        for partial in partials:
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
            kept = [c for c, f in zip(found.columns, found.schema, strict=True) if not _is_bound(f)]
            outputs.append((MISSED, found.replaced(self._missed, [*kept, *_bounds(starts, ends)])))
        return outputs

    # ------------------------------------------------------------------ time

    def on_watermark(self, watermark: int) -> Iterable[Output]:
        before = self._watermark
        self._watermark = max(watermark, before)
        if watermark < self._grid.end_after(before):
            return  # no window ends here
        last = self._grid.last_over(watermark)
        for fired in self._slices.fire(self._grid.last_over(before), last):
            yield RESULT, self._result(fired)
        self._slices.forget(self._grid.first_open_slice(last))

    def _result(self, fired: Block) -> Batch:
        ends = self._grid.ends(fired.numbers)
        bounds = _bounds(self._starts(fired), ends)
        keys = fired.keys[: len(self._stream.keys)]
        return Batch(self._out, [*keys, *bounds, *self._aggregator.finish(fired)], len(fired), ends - 1)

    def _starts(self, windows: Block) -> Micros:
        if self._grid.numbers_tell_starts:
            return self._grid.starts(windows.numbers)
        return np.asarray(as_numpy(windows.keys[-1]))

    def deadline_after(self, watermark: int) -> int:
        return self._grid.end_after(watermark)

    @property
    def late_rows(self) -> int:
        return self._late_rows

    # ------------------------------------------------------------------ state

    def snapshot(self) -> OperatorState:
        groups = self._slices.groups()
        segments = [] if groups is None else [Segment.of(self._tables.table(groups))]
        values, counters = {"watermark": self._watermark}, {"late_rows": self._late_rows}
        return OperatorState({"slices": segments}, values, counters)

    def restore(self, state: OperatorState) -> None:
        self._watermark = int(state.values["watermark"])
        self._late_rows = state.counters["late_rows"]
        groups = state.table("slices")
        if groups is not None:
            self._slices.restore(self._tables.block(groups))


def _bounds(starts: Micros, ends: Micros) -> list[pa.Array]:
    return [pa.array(starts).view(_INSTANT), pa.array(ends).view(_INSTANT)]


def _decoded(column: Column) -> Column:
    return column if isinstance(column, np.ndarray) else decoded(column)
