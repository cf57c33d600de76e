"""What keeps some rows of every key and interval of event time: `distinct` and `throttle`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from streamlib.core.batch import Batch, Column
from streamlib.core.contracts import Json, Operator, OperatorSpec, OperatorState, Output, StreamType
from streamlib.core.hashing import check_key_type
from streamlib.core.time import MAX_TIME, MIN_TIME, clamp, show_duration
from streamlib.operators.apart import MOST_SPAN, first_apart
from streamlib.operators.columns_read import all_of
from streamlib.operators.group_tables import key_fields
from streamlib.operators.grouping import decoded_type, key_column
from streamlib.operators.time_slots import TimeSlots
from streamlib.state.key_slots import KeySlots, Slots

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Limiting(OperatorSpec):
    """An operator with the outputs of the rows that are kept, of those that are not, and of late ones."""

    stateful: ClassVar[bool] = True
    keyed: ClassVar[bool] = True

    interval: int

    @property
    def columns_of_key(self) -> tuple[str, ...]:
        """The columns that make a key, behind those of the stream's keys."""
        return ()

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        stream.need(event_time=True, append_only=True)
        key_fields(stream)
        for name in self.columns_of_key:
            check_key_type(name, stream.field(name).type)
        return (stream,) * len(self.outputs)

    def key_names(self, stream: StreamType) -> list[str]:
        """The columns of a key, those of the stream's keys first."""
        return list(dict.fromkeys((*stream.keys, *self.columns_of_key)))

    def reads(
        self, wanted: Sequence[frozenset[str] | None], inputs: Sequence[StreamType]
    ) -> frozenset[str] | None:
        return all_of([*wanted, frozenset(self.key_names(inputs[0]))])

    def state_version(self) -> Json:
        return [self.kind, self.interval, list(self.columns_of_key)]


class _Limiting(Operator):
    """Judges rows by what it knows of their interval and its neighbours.

    Time is looked at in intervals, so that late rows cut a batch once an interval at most.
    """

    back: int
    """How many intervals stay behind the one that holds the watermark."""

    def __init__(self, spec: Limiting, stream: StreamType, nothing: int) -> None:
        self._interval = spec.interval
        self._names = spec.key_names(stream)
        self._types = [decoded_type(stream.schema.field(name).type) for name in self._names]
        self._known = TimeSlots(self._types, len(stream.keys), nothing)
        self._first: int | None = None  # the interval that holds the watermark
        self._late = 0

    @abstractmethod
    def _kept(self, keys: Sequence[Column], intervals: Slots, times: Slots) -> Mask:
        """Which rows are kept; remembers them."""

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        assert batch.event_time is not None
        outputs: list[Output] = []
        if self._first is not None:
            late = batch.event_time // self._interval < self._first - self.back
            if late.any():
                self._late += int(np.count_nonzero(late))
                outputs.append((2, batch.filter(late)))
                batch = batch.filter(~late)
        if batch.num_rows:
            assert batch.event_time is not None
            keys = [key_column(batch.column(name)) for name in self._names]
            kept = self._kept(keys, batch.event_time // self._interval, batch.event_time)
            outputs += [(0, batch.filter(kept)), (1, batch.filter(~kept))]
        return [output for output in outputs if output[1].num_rows]

    def on_watermark(self, watermark: int) -> Iterable[Output]:
        first = watermark // self._interval
        if self._first is None or first > self._first:
            self._first = first
            self._known.drop(first - 2 * self.back)
        return ()

    def deadline_after(self, watermark: int) -> int:
        return (
            MAX_TIME if watermark == MAX_TIME else clamp((watermark // self._interval + 1) * self._interval)
        )

    @property
    def late_rows(self) -> int:
        return self._late

    def snapshot(self) -> OperatorState:
        return OperatorState({"known": self._known.segments()}, {"first": self._first}, {"late": self._late})

    def restore(self, state: OperatorState) -> None:
        self._known.restore(state.table("known"))
        self._first, self._late = state.values["first"], state.counters["late"]


# --------------------------------------------------------------------------- distinct


@dataclass(frozen=True, eq=False)
class Distinct(Limiting):
    """Of rows with the same values, the first to arrive of those less than an interval apart."""

    kind: ClassVar[str] = "distinct"
    outputs: ClassVar[tuple[str, ...]] = ("out", "repeated", "late")

    columns: tuple[str, ...]

    @property
    def columns_of_key(self) -> tuple[str, ...]:
        return self.columns

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        return _Distinct(self, inputs[0], MIN_TIME)

    def describe(self) -> str:
        return f"{', '.join(self.columns)} within {show_duration(self.interval)}"

    @property
    def order_sensitive(self) -> str | None:
        return "of rows with the same values the first to arrive is kept"


class _Distinct(_Limiting):
    """Kept rows of the same values are an interval apart, so each interval has one at most.

    A row is judged by three intervals. One that lies behind the interval before the watermark's is late.
    """

    back = 1

    def _kept(self, keys: Sequence[Column], intervals: Slots, times: Slots) -> Mask:
        own = KeySlots(self._types).of(keys, len(times))
        around = [self._known.of(intervals + step, keys) for step in (-1, 0, 1)]
        kept = np.zeros(len(times), np.bool_)
        most = max(1, MOST_SPAN // self._interval)  # beyond a year the rows of a batch are not all at once
        for start in range(0, len(times), most):
            rows = np.arange(start, min(start + most, len(times)))
            left = self._open(rows, around, times)
            chosen = left[first_apart(own.take(left), times.take(left), self._interval)]
            kept[chosen] = True
            self._known.put(around[1].take(chosen), times.take(chosen))
        return kept

    def _open(self, rows: Slots, around: Sequence[Slots], times: Slots) -> Slots:
        """Those of `rows` that no kept row is less than an interval away from."""
        free = np.ones(len(rows), np.bool_)
        for slots in around:
            last = self._known.get(slots.take(rows))
            free &= (np.abs(times.take(rows) - last) >= self._interval) | (last == MIN_TIME)
        return rows[free]


# --------------------------------------------------------------------------- throttle


@dataclass(frozen=True, eq=False)
class Throttle(Limiting):
    """Of every key and interval of event time the first rows to arrive, so many."""

    kind: ClassVar[str] = "throttle"
    outputs: ClassVar[tuple[str, ...]] = ("out", "over", "late")

    most: int

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        return _Throttle(self, inputs[0])

    def describe(self) -> str:
        return f"{self.most} rows per {show_duration(self.interval)}"

    @property
    def order_sensitive(self) -> str | None:
        return "of an interval the first rows to arrive are kept"

    def state_version(self) -> Json:
        return [self.kind, self.interval, self.most]


class _Throttle(_Limiting):
    """Counts the rows of each interval. A row is late when the watermark has passed its interval."""

    back = 0

    def __init__(self, spec: Throttle, stream: StreamType) -> None:
        super().__init__(spec, stream, 0)
        self._most = spec.most

    def _kept(self, keys: Sequence[Column], intervals: Slots, times: Slots) -> Mask:
        slots = self._known.of(intervals, keys)
        order = np.argsort(slots, kind="stable")
        found, start, count = np.unique(slots.take(order), return_index=True, return_counts=True)
        before = self._known.get(found)
        nth = np.arange(len(order)) - np.repeat(start - before, count)
        self._known.put(found, np.minimum(before + count, self._most))
        kept = np.zeros(len(slots), np.bool_)
        kept[order] = nth < self._most
        return kept
