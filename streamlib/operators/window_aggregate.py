"""Aggregation per key and window: slices of partials, fired by the watermark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Batch, Column, as_arrow, concat_batches
from streamlib.core.canonical import canonical
from streamlib.core.contracts import Json, Operator, OperatorSpec, OperatorState, Output, StreamType
from streamlib.core.errors import DefinitionError, EventTimeError, UnknownColumnError
from streamlib.core.time import MIN_TIME, Micros
from streamlib.operators.aggregates import Aggregate, BoundAggregate
from streamlib.operators.partials import Partial, PartialAggregator
from streamlib.state.key_groups import key_groups
from streamlib.windows.assigners import SlidingWindow

_INSTANT = pa.timestamp("us", tz="UTC")
RESULT, LATE, MISSED = range(3)

MAX_PARTIALS = 32  # a slice: each may be as large as a batch; beyond, they are merged at once


@dataclass(frozen=True, eq=False)
class WindowAggregate(OperatorSpec):
    """One result row per key and window, when the watermark reaches the window's end."""

    kind: ClassVar[str] = "aggregate"
    outputs: ClassVar[tuple[str, ...]] = ("out", "late", "missed")
    stateful: ClassVar[bool] = True

    window: SlidingWindow
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
        for key in stream.keys:
            if stream.schema.get_field_index(key) < 0:
                raise UnknownColumnError.of(key, stream.schema.names)
        bounds = [pa.field("window_start", _INSTANT, False), pa.field("window_end", _INSTANT, False)]
        keys = [stream.schema.field(key) for key in stream.keys]
        results = [
            pa.field(name, BoundAggregate(name, aggregate, stream).dtype)
            for name, aggregate in self.aggregates
        ]
        out = _distinct([*keys, *bounds, *results])
        missed = _distinct([*stream.schema, *bounds])
        return (
            StreamType(out, event_time=True, keys=stream.keys),
            StreamType(stream.schema, event_time=True, keys=stream.keys),
            StreamType(missed, event_time=True, keys=stream.keys),
        )

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        out, _, missed = self.bind(inputs)
        return WindowAggregateOperator(self, inputs[0], out.schema, missed.schema)

    def describe(self) -> str:
        aggregates = ", ".join(f"{name}={aggregate!r}" for name, aggregate in self.aggregates)
        return f"{self.window.describe()}: {aggregates}"

    def state_version(self) -> Json:
        return repr(canonical(self))


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
    """Keeps partials by slice; a window that fires merges the slices it covers."""

    def __init__(self, spec: WindowAggregate, stream: StreamType, out: pa.Schema, missed: pa.Schema) -> None:
        self._window = spec.window
        self._stream = stream
        self._out = out
        self._missed = missed
        self._aggregator = PartialAggregator(
            [stream.schema.field(key).type for key in stream.keys],
            [BoundAggregate(name, aggregate, stream) for name, aggregate in spec.aggregates],
        )
        self._slices: dict[int, list[Partial]] = {}
        self._watermark = MIN_TIME
        self._late_rows = 0

    # ------------------------------------------------------------------ rows

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        times = batch.event_time
        assert times is not None
        if not batch.num_rows:
            return
        if int(times.min()) < self._watermark:
            batch, late = self._split_late(batch, times)
            yield from late
        elif self._window.slide > self._window.size:
            batch = batch.filter(self._in_a_window(times))
        if batch.num_rows:
            self._add(batch)

    def _add(self, batch: Batch) -> None:
        assert batch.event_time is not None
        keys = [batch.column(key) for key in self._stream.keys]
        slices = self._window.slices(batch.event_time)
        for number, partial in self._aggregator.build(batch, keys, slices).items():
            partials = self._slices.setdefault(number, [])
            partials.append(partial)
            if len(partials) > MAX_PARTIALS:
                partials[:] = [self._aggregator.merge(partials)]

    def _in_a_window(self, times: Micros) -> np.ndarray:
        return self._window.ends(self._window.last_windows(times)) > times

    def _split_late(self, batch: Batch, times: Micros) -> tuple[Batch, list[Output]]:
        """The rows that some open window still takes, and the outputs for the windows they missed.

        A row is late for a window whose end the watermark has reached, never by itself.
        """
        last = self._window.last_windows(times)
        ends = self._window.ends(last)
        inside = ends > times
        late = inside & (ends <= self._watermark)
        outputs: list[Output] = []
        if late.any():
            self._late_rows += int(np.count_nonzero(late))
            outputs.append((LATE, batch.filter(late)))
        missed = self._missed_windows(batch, times, last)
        if missed is not None:
            outputs.append((MISSED, missed))
        return batch.filter(inside & ~late), outputs

    def _missed_windows(self, batch: Batch, times: Micros, last: Micros) -> Batch | None:
        """One row for each row and window of it that has fired already."""
        behind = np.flatnonzero(times < self._watermark)
        rows, windows = [], []
        for back in range(self._window.windows_per_row()):
            number = last[behind] - back
            ends = self._window.ends(number)
            missed = (ends > times[behind]) & (ends <= self._watermark)
            rows.append(behind[missed])
            windows.append(number[missed])
        found = np.concatenate(rows)
        if not len(found):
            return None
        return self._with_bounds(batch.take(found), np.concatenate(windows), self._missed)

    def _with_bounds(self, batch: Batch, windows: Micros, schema: pa.Schema) -> Batch:
        numbers, which = np.unique(windows, return_inverse=True)
        starts = np.array([self._window.start(n) for n in numbers.tolist()], np.int64)
        ends = np.array([self._window.end(n) for n in numbers.tolist()], np.int64)
        bounds = [pa.array(v[which]).view(_INSTANT) for v in (starts, ends)]
        return batch.replaced(schema, [*batch.columns, *bounds])

    # ------------------------------------------------------------------ time

    def on_watermark(self, watermark: int) -> Iterable[Output]:
        before, self._watermark = self._watermark, max(watermark, self._watermark)
        due = sorted(
            {
                window
                for number in self._slices
                for window in self._window.windows_of(number)
                if before < self._window.end(window) <= watermark
            }
        )
        fired = [self._fire(window) for window in due]
        self._forget()
        if fired:
            yield RESULT, concat_batches(fired)

    def _fire(self, window: int) -> Batch:
        partials = []
        for number in self._window.slices_of(window):
            found = self._slices.get(number)
            if found:
                if len(found) > 1:  # other windows share the slice: merge it once
                    found[:] = [self._aggregator.merge(found)]
                partials += found
        result = self._aggregator.sparse(self._aggregator.merge(partials))
        start, end = self._window.start(window), self._window.end(window)
        columns: list[Column] = [*result.keys, _repeat(start, result), _repeat(end, result)]
        columns += self._aggregator.finish(result)
        return Batch(self._out, columns, len(result), np.full(len(result), end - 1, np.int64))

    def _forget(self) -> None:
        """Drop the slices whose windows have all fired."""
        for number in [n for n in self._slices if self._over(n)]:
            del self._slices[number]

    def _over(self, number: int) -> bool:
        return self._window.end(self._window.windows_of(number)[-1]) <= self._watermark

    def deadline_after(self, watermark: int) -> int:
        return self._window.end_after(watermark)

    @property
    def late_rows(self) -> int:
        return self._late_rows

    # ------------------------------------------------------------------ state

    def snapshot(self) -> OperatorState:
        values = {
            "watermark": self._watermark,
            "late_rows": self._late_rows,
        }
        numbers, parts = [], []
        for number, partials in self._slices.items():
            partials[:] = [self._aggregator.merge(partials)]
            parts.append(self._aggregator.sparse(partials[0]))
            numbers.append(np.full(len(parts[-1]), number, np.int64))
        if not parts:
            return OperatorState({}, values)
        return OperatorState({"slices": self._state_table(np.concatenate(numbers), parts)}, values)

    def _state_table(self, numbers: Micros, parts: list[Partial]) -> pa.Table:
        columns: dict[str, pa.Array] = {}
        for i, (key, dtype) in enumerate(zip(self._stream.keys, self._aggregator.key_types, strict=True)):
            columns[f"key.{key}"] = pa.concat_arrays([as_arrow(p.keys[i], dtype) for p in parts])
        groups = key_groups(list(columns.values()), len(numbers))
        for i, (name, dtype) in enumerate(self._state_names()):
            columns[name] = pa.concat_arrays([as_arrow(p.states[i], dtype) for p in parts])
        return pa.table({"__key_group": groups, "__slice": numbers, **columns})

    def _state_names(self) -> list[tuple[str, pa.DataType]]:
        names = [("rows", pa.int64())]
        for aggregate in self._aggregator.aggregates:
            names += [(f"{aggregate.name}.{c.suffix}", c.dtype) for c in aggregate.state]
        return names

    def restore(self, state: OperatorState) -> None:
        self._watermark = int(state.values["watermark"])
        self._late_rows = int(state.values["late_rows"])
        if "slices" in state.tables:
            self._slices = self._restored_slices(state.tables)

    def _restored_slices(self, tables: Mapping[str, pa.Table]) -> dict[int, list[Partial]]:
        table = tables["slices"].combine_chunks()
        keys: list[Column] = [_column(table, f"key.{key}") for key in self._stream.keys]
        states: list[Column] = []
        for (name, _), column in zip(self._state_names(), self._aggregator.columns, strict=True):
            array = _column(table, name)
            states.append(array.to_numpy() if column.vector else array)
        numbers = _column(table, "__slice").to_numpy()
        return {n: [p] for n, p in self._aggregator.by_slice(numbers, keys, states).items()}


def _column(table: pa.Table, name: str) -> pa.Array:
    chunked = table.column(name)
    return chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks()


def _repeat(instant: int, like: Partial) -> pa.Array:
    return pa.array(np.full(len(like), instant, np.int64)).view(_INSTANT)
