"""The user's own Python per record, with a state per key: `stateful_map`, `fold` and `reduce`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Batch, Column
from streamlib.core.canonical import function_id
from streamlib.core.contracts import Json, Operator, OperatorState, Output, Rescue, StreamType
from streamlib.core.errors import StreamlibError, UserFunctionError, shown
from streamlib.core.time import MAX_TIME, MIN_TIME, clamp, earlier, show_duration
from streamlib.operators.group_tables import key_fields
from streamlib.operators.grouping import key_column
from streamlib.operators.record_functions import RecordFunction, ResultWriter, in_pieces, readable, reader
from streamlib.state.keyed_objects import ABSENT, KeyedObjects, Saved
from streamlib.state.object_codec import ObjectCodec, record_dict

_PARTS = 8  # of a ttl: how exactly a row behind the watermark meets the end of a state, and how often cut

Step = Callable[[Any, Any], tuple[Any, Any]]
"""From a key's state (`ABSENT` where there is none) and a record to the new state and a result."""


@dataclass(frozen=True, eq=False)
class StatefulMap(RecordFunction):
    """One record in, one out, by a Python function that gets a state of the record's key and gives the next.

    Attributes:
        state: the type of the states, for the codec.
        initial: the state of a new key, encoded.
        ttl: how long a state is kept after the newest event time of its key, in microseconds; None: for ever.
    """

    kind: ClassVar[str] = "stateful_map"
    stateful: ClassVar[bool] = True
    keyed: ClassVar[bool] = True
    isolates: ClassVar[bool] = True

    state: Any = None
    initial: bytes | None = None
    ttl: int | None = None

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        stream.need(event_time=self.ttl is not None, append_only=True)
        key_fields(stream)
        reader(self.takes, stream.schema)
        return (replace(stream, schema=self.output_schema(stream)),)

    def output_schema(self, stream: StreamType) -> pa.Schema:
        """The columns that come out: those of the results."""
        return self.schema

    def key_columns(self, stream: StreamType) -> tuple[str, ...]:
        """The columns of the input that stand before those of the results."""
        return ()

    def codec(self, stream: StreamType) -> ObjectCodec:
        """How states are stored."""
        return ObjectCodec(self.state)

    def writer(self, stream: StreamType) -> ResultWriter:
        """What makes columns of results."""
        return ResultWriter(self.function, self.gives, self.schema)

    def step(self, codec: ObjectCodec, stream: StreamType) -> Step:
        """What happens to a record."""
        function, initial, copied = self.function, self.initial, copier(self.schema)

        def step(state: Any, record: Any) -> tuple[Any, Any]:
            if state is ABSENT:  # decoded for each key: a state that is changed in place is nobody else's
                state = None if initial is None else codec.decode(initial)
            found = function(state, record)
            if type(found) is not tuple or len(found) != 2:
                raise _no_pair(function, found, record)
            return found if found[0] is not found[1] else (found[0], copied(found[0]))

        return step

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        (out,) = self.bind(inputs)
        if self.ttl is None:
            return _StatefulMap(self, inputs[0], out.schema)
        return _ExpiringMap(self, inputs[0], out.schema, self.ttl)

    def describe(self) -> str:
        kept = "" if self.ttl is None else f"; state kept for {show_duration(self.ttl)}"
        return super().describe() + kept

    def grows(self, inputs: Sequence[StreamType]) -> str | None:
        return "with every new key; give `ttl=` to bound it" if inputs[0].keys and self.ttl is None else None

    @property
    def order_sensitive(self) -> str | None:
        return "each result depends on the records of its key that came before"

    def state_version(self) -> Json:
        return [self.kind, str(getattr(self.state, "__qualname__", self.state)), self.ttl]


@dataclass(frozen=True, eq=False)
class Fold(StatefulMap):
    """Every record is folded into the state of its key, which is what comes out, behind the key.

    Attributes:
        into: the column of a state that is no record; None where it is one.
    """

    kind: ClassVar[str] = "fold"

    into: str | None = None

    def key_columns(self, stream: StreamType) -> tuple[str, ...]:
        return tuple(key for key in stream.keys if key not in self.schema.names)

    def output_schema(self, stream: StreamType) -> pa.Schema:
        return pa.schema([*(stream.schema.field(key) for key in self.key_columns(stream)), *self.schema])

    def step(self, codec: ObjectCodec, stream: StreamType) -> Step:
        function, initial, into, copied = self.function, self.initial, self.into, copier(self.schema)

        def step(state: Any, record: Any) -> tuple[Any, Any]:
            if state is ABSENT:
                state = None if initial is None else codec.decode(initial)
            state = function(state, record)
            return state, copied(state) if into is None else {into: state}

        return step


@dataclass(frozen=True, eq=False)
class Reduce(StatefulMap):
    """The records of a key, two made one; the first of a key comes out as it is."""

    kind: ClassVar[str] = "reduce"

    def output_schema(self, stream: StreamType) -> pa.Schema:
        return stream.schema if self.gives is None else self.schema

    def codec(self, stream: StreamType) -> ObjectCodec:
        return ObjectCodec(record_dict(stream.schema) if self.gives is None else self.gives)

    def writer(self, stream: StreamType) -> ResultWriter:
        return ResultWriter(self.function, self.gives, self.output_schema(stream))

    def step(self, codec: ObjectCodec, stream: StreamType) -> Step:
        function, copied = self.function, copier(self.output_schema(stream))

        def step(state: Any, record: Any) -> tuple[Any, Any]:
            state = record if state is ABSENT else function(state, record)
            return state, copied(state)

        return step


def copier(schema: pa.Schema) -> Callable[[Any], Any]:
    """How a state becomes a result, that later changes of the state leave alone."""
    return copy.deepcopy if any(pa.types.is_nested(field.type) for field in schema) else copy.copy


def _no_pair(function: Callable[..., Any], found: Any, record: Any) -> UserFunctionError:
    return UserFunctionError(
        f"{function_id(function)} did not return a state and a result",
        expected="a tuple of two: the key's next state, and the record to emit",
        found=f"{shown(found)} for {shown(record)}",
        remedy="end with `return state, result`; for the state as the result use `fold`",
    )


class _StatefulMap(Operator):
    def __init__(self, spec: StatefulMap, stream: StreamType, schema: pa.Schema) -> None:
        codec = spec.codec(stream)
        self._name = function_id(spec.function)
        self._schema = schema
        self._keys = stream.keys
        self._passed_on = spec.key_columns(stream)
        self._read = reader(spec.takes, stream.schema)
        self._step = spec.step(codec, stream)
        self._writer = partial(spec.writer, stream)
        self._results = self._writer()
        self._states = KeyedObjects([field.type for field in key_fields(stream)], codec)

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        for first, rows in in_pieces(batch):
            records = self._read(rows)
            slots = self._states.slots_of([key_column(rows.column(key)) for key in self._keys], rows.num_rows)
            results: list[Any] = []
            try:
                results.extend(self._stepped(slots, records, rows))  # what came before a failure is kept
            except StreamlibError:
                raise
            except Exception as error:
                record = records[min(len(results), len(records) - 1)]
                error.add_note(f"while {self._name} took row {first + len(results)}: {shown(record)}")
                raise
            self._states.changed(slots)
            self._results.add(results, _places(records, first))
        columns: list[Column] = [batch.column(name) for name in self._passed_on]
        return ((0, batch.replaced(self._schema, [*columns, *self._results.take()])),)

    def on_batch_isolating(self, batch: Batch, port: int, rescue: Rescue) -> Iterable[Output]:
        """See `Isolates`. Some records together; where that fails, from the states before, one by one."""
        kept: list[int] = []
        parts: list[list[pa.Array]] = []
        for first, found in in_pieces(batch):
            numbers, records = readable(self._read, found, first, rescue)
            if not records:
                continue
            rows = found if len(records) == found.num_rows else batch.take(np.array(numbers, np.intp))
            keys = [key_column(rows.column(key)) for key in self._keys]
            slots = self._states.slots_of(keys, rows.num_rows)
            before = self._states.saved(slots)
            try:
                parts.append(self._taken(slots, records, rows))
                good = list(range(len(slots)))
            except Exception:
                self._states.put_back(before)
                good = self._one_by_one(slots, rows, numbers, rescue, parts)
            self._states.changed(slots[i] for i in good)
            kept += [numbers[i] for i in good]
        if not kept:
            return ()
        rows = batch if len(kept) == batch.num_rows else batch.take(np.array(kept, np.intp))
        results = [pa.concat_arrays(column) for column in zip(*parts, strict=True)]
        columns: list[Column] = [rows.column(name) for name in self._passed_on]
        return ((0, rows.replaced(self._schema, [*columns, *results])),)

    def _taken(self, slots: list[int], records: list[Any], rows: Batch) -> list[pa.Array]:
        """The results of some records as columns."""
        results = self._writer()
        found = list(self._stepped(slots, records, rows))
        results.add(found, lambda row: f"the record {shown(records[row])}")
        return results.take()

    def _one_by_one(
        self, slots: list[int], rows: Batch, numbers: list[int], rescue: Rescue, parts: list[list[pa.Array]]
    ) -> list[int]:
        """Which rows did not fail; what comes of them is added to `parts`."""
        kept = []
        for i, slot in enumerate(slots):
            again = partial(self._alone, slot, rows.slice(i, i + 1), self._states.saved([slot]))
            try:
                try:
                    parts.append(again())
                except Exception as error:
                    parts.append(rescue.retried(error, again))
            except Exception as final:
                rescue.lost(numbers[i], final)
            else:
                kept.append(i)
        return kept

    def _alone(self, slot: int, row: Batch, before: Saved) -> list[pa.Array]:
        """The result of one record, made anew: the function may have changed it when it got it before."""
        try:
            return self._taken([slot], self._read(row), row)
        except Exception:
            self._states.put_back(before)
            raise

    def _stepped(self, slots: list[int], records: list[Any], rows: Batch) -> Iterator[Any]:
        step, states = self._step, self._states.objects
        for slot, record in zip(slots, records, strict=True):
            states[slot], result = step(states[slot], record)
            yield result

    def snapshot(self) -> OperatorState:
        return OperatorState({"states": self._states.segments()})

    def restore(self, state: OperatorState) -> None:
        self._states.restore(state.table("states"))


def _places(records: list[Any], first: int) -> Callable[[int], str]:
    return lambda row: f"row {first + row}: {shown(records[row])}"


class _ExpiringMap(_StatefulMap):
    """Forgets a state when `ttl` has passed since the newest event time of its key.

    A row meets no state if its own event time is so far behind that, or, for rows behind the watermark,
    if the watermark was. That is judged by the watermark in steps, so that few late rows cut a batch.
    """

    def __init__(self, spec: StatefulMap, stream: StreamType, schema: pa.Schema, ttl: int) -> None:
        super().__init__(spec, stream, schema)
        self._ttl = ttl
        self._parts = max(ttl // _PARTS, 1)
        self._watermark = MIN_TIME

    def _stepped(self, slots: list[int], records: list[Any], rows: Batch) -> Iterator[Any]:
        assert rows.event_time is not None
        step, states, times = self._step, self._states.objects, self._states.times
        past, ttl = self._watermark, self._ttl
        for slot, record, time in zip(slots, records, rows.event_time.tolist(), strict=True):
            last = times[slot]
            known = states[slot] if max(time, past) < last + ttl else ABSENT
            states[slot], result = step(known, record)
            times[slot] = time if known is ABSENT else max(last, time)
            yield result

    def on_watermark(self, watermark: int) -> Iterable[Output]:
        part = watermark // self._parts * self._parts if MIN_TIME < watermark < MAX_TIME else watermark
        if part > self._watermark:
            self._watermark = part
            self._states.forget(earlier(part, self._ttl - 1))  # rows to come would find none of these anyhow
        return ()

    def deadline_after(self, watermark: int) -> int:
        return clamp(watermark // self._parts * self._parts + self._parts)

    def snapshot(self) -> OperatorState:
        state = super().snapshot()
        state.values["watermark"] = self._watermark
        return state

    def restore(self, state: OperatorState) -> None:
        super().restore(state)
        self._watermark = state.values["watermark"]
