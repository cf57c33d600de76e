"""Aggregation per key and window: slices of partials, fired by the watermark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Batch, Column, as_arrow, as_numpy
from streamlib.core.canonical import canonical
from streamlib.core.contracts import Json, Operator, OperatorSpec, OperatorState, Output, StreamType
from streamlib.core.errors import DefinitionError, EventTimeError, UnknownColumnError
from streamlib.core.segment import Segment
from streamlib.core.time import MIN_TIME, Micros
from streamlib.operators.aggregates import Aggregate
from streamlib.operators.grouping import decoded, decoded_type
from streamlib.operators.partials import Block, Partial, PartialAggregator
from streamlib.operators.slices import SliceStore
from streamlib.state.key_groups import check_key_type, key_groups
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
        for key in stream.keys:  # operators since `key_by` may have dropped or changed the column
            if stream.schema.get_field_index(key) < 0:
                raise UnknownColumnError.of(key, stream.schema.names)
            check_key_type(key, stream.schema.field(key).type)
        keys = [stream.schema.field(key) for key in stream.keys]
        keys = [field.with_type(decoded_type(field.type)) for field in keys]
        results = [pa.field(name, aggregate.bind(name, stream).dtype) for name, aggregate in self.aggregates]
        out = _distinct([*keys, *_BOUNDS, *results])
        missed = _distinct([*(f for f in stream.schema if not _is_bound(f)), *_BOUNDS])
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


def _distinct(fields: list[pa.Field]) -> pa.Schema:
    names = [field.name for field in fields]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DefinitionError(
            f"two result columns would be called {', '.join(map(repr, twice))}",
            expected="names unlike the keys, `window_start` and `window_end`",
            found=", ".join(names),
            remedy="choose another name for the aggregate, or rename the column before the window",
        )
    return pa.schema(fields)


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
        segments = [] if groups is None else [Segment.of(self._state_table(groups))]
        values, counters = {"watermark": self._watermark}, {"late_rows": self._late_rows}
        return OperatorState({"slices": segments}, values, counters)

    def _state_table(self, groups: Block) -> pa.Table:
        columns: dict[str, pa.Array] = {}
        types = self._aggregator.key_types
        for name, column, dtype in zip(self._key_names(), groups.keys, types, strict=True):
            columns[name] = as_arrow(column, dtype)
        own = [columns[name] for name in self._key_names()[: len(self._stream.keys)]]
        key_group = key_groups(own, len(groups))
        for (name, _), column, field in zip(
            self._state_names(), groups.states, self._aggregator.columns, strict=True
        ):
            columns[name] = field.stored(column)
        return pa.table({"__key_group": key_group, "__slice": groups.numbers, **columns})

    def _key_names(self) -> list[str]:
        starts = [] if self._grid.numbers_tell_starts else ["__window_start"]
        return [*(f"key.{name}" for name in self._stream.keys), *starts]

    def _state_names(self) -> list[tuple[str, pa.DataType]]:
        names = [("rows", pa.int64())]
        for aggregate in self._aggregator.aggregates:
            names += [(f"result.{aggregate.name}.{c.suffix}", c.dtype) for c in aggregate.state]
        return names

    def restore(self, state: OperatorState) -> None:
        self._watermark = int(state.values["watermark"])
        self._late_rows = state.counters["late_rows"]
        groups = state.table("slices")
        if groups is not None:
            self._slices.restore(self._restored(groups))

    def _restored(self, table: pa.Table) -> Block:
        names = [name for name, _ in self._state_names()]
        states = [
            column.loaded(_column(table, name))
            for name, column in zip(names, self._aggregator.columns, strict=True)
        ]
        keys = tuple(_column(table, name) for name in self._key_names())
        return Block(_column(table, "__slice").to_numpy(), keys, tuple(states))


def _bounds(starts: Micros, ends: Micros) -> list[pa.Array]:
    return [pa.array(starts).view(_INSTANT), pa.array(ends).view(_INSTANT)]


def _decoded(column: Column) -> Column:
    return column if isinstance(column, np.ndarray) else decoded(column)


def _column(table: pa.Table, name: str) -> pa.Array:
    chunked = table.column(name)
    return chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks()
