"""The user's own coroutine a record at a time: `map_async`. The runner makes the calls."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, ClassVar, TypeAlias

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Batch, concat_batches
from streamlib.core.canonical import function_id
from streamlib.core.contracts import (
    Answer,
    Answered,
    Effect,
    Json,
    Operator,
    OperatorState,
    Output,
    StreamType,
)
from streamlib.core.errors import DefinitionError, StateIncompatibleError, StreamlibError, shown
from streamlib.core.hints import MISSING, function_hints, is_record_class
from streamlib.core.isolation import isolated
from streamlib.core.rates import Rate
from streamlib.core.segment import Segment
from streamlib.core.time import MIN_TIME, SECOND, show_duration
from streamlib.core.where import caller
from streamlib.operators.record_functions import (
    RecordFunction,
    ResultWriter,
    reader,
    record_type,
    result_columns,
    unknown_columns,
)

_TIME, _AFTER = "__event_time", "__after"


@dataclass(frozen=True, eq=False)
class MapAsync(RecordFunction):
    """One record in, one record out, by a Python coroutine function. Made by `map_async_spec`.

    Attributes:
        concurrency: rows that are out at a time, at most.
        ordered: whether rows go on in the order in which they came.
        timeout: of an attempt, in microseconds.
        rate: how often attempts begin, at most.
    """

    kind: ClassVar[str] = "map_async"
    stateful: ClassVar[bool] = True
    isolates: ClassVar[bool] = True
    per_record: ClassVar[bool] = False  # the calls are made beside the workers

    concurrency: int = 100
    ordered: bool = True
    timeout: int = 10 * SECOND
    rate: Rate | None = None

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        inputs[0].need(append_only=True)
        return super().bind(inputs)

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        return _MapAsync(self, inputs[0])

    def describe(self) -> str:
        order = "in order" if self.ordered else "in any order"
        rate = "" if self.rate is None else f", {self.rate}"
        limits = f"{self.concurrency} at a time, {order}, each within {show_duration(self.timeout)}{rate}"
        return f"{super().describe()}; {limits}"

    @property
    def order_sensitive(self) -> str | None:
        return None if self.ordered else "rows go on as answers come, between two watermarks"


def map_async_spec(
    function: Callable[[Any], Awaitable[Any]], schema: pa.Schema | None, **limits: Any
) -> MapAsync:
    """The description of `map_async` over `function`. Raises as `operators.map_async` does."""
    name = function_id(function)
    try:
        _check_coroutine(function, name)
        parameters, result = function_hints(function)
        takes = record_type(parameters[0] if parameters else MISSING, f"the argument of {name}")
        known = schema is not None and not is_record_class(result)
        gives = None if known else record_type(result, f"the result of {name}")
        if schema is None and gives is None:
            raise unknown_columns(function, result, inferred=False)
        return MapAsync(function, result_columns(name, gives, schema), takes, gives, **limits)
    except DefinitionError as error:
        raise error.at("map_async", caller()) from error.__cause__


def _check_coroutine(function: Callable[..., Any], name: str) -> None:
    if not any(map(inspect.iscoroutinefunction, (function, type(function).__call__))):
        raise DefinitionError(
            f"{name} is not a coroutine function, so nothing else could be done while it waits",
            expected="a function defined by `async def`",
            found=f"`def {getattr(function, '__name__', name)}`",
            remedy="use `.map` for a function that waits for nothing, or write it with `async def`",
        )


@dataclass(eq=False)
class _Row:
    """A row that was asked about."""

    rows: Batch
    place: int
    record: Any
    answer: Answer | None = None


_Item: TypeAlias = _Row | Batch | int
"""What waits: a row that was asked about, rows that were not yet, a watermark."""


class _MapAsync(Operator):
    """Rows and watermarks wait in their order: first what was asked about, then what was not yet."""

    def __init__(self, spec: MapAsync, stream: StreamType) -> None:
        self._spec = spec
        self._name = function_id(spec.function)
        self._schema = stream.schema
        self._timed = stream.event_time
        self._read = reader(spec.takes, stream.schema)
        self._asked: deque[_Item] = deque()
        self._later: deque[_Item] = deque()
        self._by_number: dict[int, _Row] = {}
        self._number = 0
        self._out = 0  # rows that were asked about and did not go on
        self._came = self._promised = MIN_TIME

    # ------------------------------------------------------------------ what comes in

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        self._later.append(Batch(self._schema, batch.columns, batch.num_rows, batch.event_time))
        return ()

    def on_watermark(self, watermark: int) -> Iterable[Output]:
        if watermark <= self._came:
            return ()  # after a restore the last one comes again
        self._came = watermark
        queue = self._later or self._asked
        if not queue:
            self._promised = watermark
        elif isinstance(queue[-1], int):
            queue[-1] = watermark
        else:
            queue.append(watermark)
        return ()

    def output_watermark(self, watermark: int) -> int:
        return self._promised

    @property
    def pending(self) -> bool:
        """See `Asks`."""
        return bool(self._asked or self._later)

    @property
    def full(self) -> bool:
        """See `Asks`."""
        return bool(self._later)

    # ------------------------------------------------------------------ calls

    def effects(self) -> Sequence[Effect]:
        """See `Asks`: as many rows are out as may be, with those that wait for an earlier one."""
        found: list[Effect] = []
        while self._later and self._out < self._spec.concurrency:
            rows = self._later.popleft()
            assert isinstance(rows, Batch)
            room = self._spec.concurrency - self._out
            if rows.num_rows > room:
                self._later.appendleft(rows.slice(room, rows.num_rows))
                rows = rows.slice(0, room)
            found += self._ask(rows)
            if self._later and isinstance(self._later[0], int):
                self._asked.append(self._later.popleft())
        return found

    def _ask(self, rows: Batch) -> Iterator[Effect]:
        spec = self._spec
        self._out += rows.num_rows
        for place, (function, record) in enumerate(self._records(rows)):
            row = _Row(rows, place, record)
            self._asked.append(row)
            self._by_number[self._number] = row
            yield Effect(self._number, function, record, spec.timeout, spec.rate)
            self._number += 1

    def _records(self, rows: Batch) -> Iterable[tuple[Callable[[Any], Awaitable[Any]], Any]]:
        """What is called for each row; for one that Python can't hold, what raises the error."""

        def attempt(start: int, stop: int) -> list[tuple[Any, Any]]:
            return [(self._spec.function, record) for record in self._read(rows.slice(start, stop))]

        try:
            return attempt(0, rows.num_rows)
        except Exception as error:
            parts = isolated(rows.num_rows, attempt, error, lambda _, failure: [(_raising, failure)])
            return [call for part in parts for call in part]

    def on_answers(self, answers: Sequence[Answer]) -> Iterable[Answered]:
        """See `Asks`."""
        for answer in answers:
            self._by_number.pop(answer.number).answer = answer
        while self._asked:
            ready = self._ready()
            self._out -= len(ready)
            mark = self._asked[0] if self._asked else None
            if isinstance(mark, int):
                self._promised = mark
                self._asked.popleft()
            yield self._answered(ready)
            if not isinstance(mark, int):
                return

    def _ready(self) -> list[_Row]:
        """The rows before the next watermark that can go on; they are taken out."""
        ready: list[_Row] = []
        waiting: list[_Row] = []
        while self._asked and isinstance(row := self._asked[0], _Row):
            if row.answer is not None:
                ready.append(row)
            elif self._spec.ordered:
                break
            else:
                waiting.append(row)
            self._asked.popleft()
        self._asked.extendleft(reversed(waiting))
        return ready

    # ------------------------------------------------------------------ results

    def _answered(self, ready: Sequence[_Row]) -> Answered:
        failed: list[tuple[_Row, Exception]] = []
        good = [row for row in ready if not self._failed(row, failed)]
        parts = list(self._fitting(good, failed)) if good else []
        outputs = [(0, _rows_of(rows).replaced(self._spec.schema, columns)) for rows, columns in parts]
        if not failed:
            return Answered(outputs, self._promised)
        rows, errors = zip(*failed, strict=True)
        return Answered(outputs, self._promised, _rows_of(rows), errors)

    def _failed(self, row: _Row, failed: list[tuple[_Row, Exception]]) -> bool:
        assert row.answer is not None
        error = row.answer.error
        if not isinstance(error, Exception):
            return False
        if not isinstance(error, StreamlibError):
            error.add_note(f"while {self._name} was called with {shown(row.record)}")
        failed.append((row, error))
        return True

    def _fitting(
        self, rows: list[_Row], failed: list[tuple[_Row, Exception]]
    ) -> Iterator[tuple[list[_Row], list[pa.Array]]]:
        """The results that fit the schema, as columns, with their rows."""
        results = [row.answer.result for row in rows if row.answer is not None]

        def attempt(start: int, stop: int) -> tuple[list[_Row], list[pa.Array]]:
            writer = ResultWriter(self._spec.function, self._spec.gives, self._spec.schema)
            writer.add(results[start:stop], lambda row: f"the record {shown(rows[start + row].record)}")
            return rows[start:stop], writer.take()

        try:
            yield attempt(0, len(rows))
        except Exception as error:
            yield from isolated(len(rows), attempt, error, lambda i, wrong: failed.append((rows[i], wrong)))

    # ------------------------------------------------------------------ state

    def snapshot(self) -> OperatorState:
        pieces: list[list[_Item]] = [[]]
        marks: list[int] = []
        for item in (*self._asked, *self._later):
            if isinstance(item, int):
                marks.append(item)
                pieces.append([])
            else:
                pieces[-1].append(item)
        values: Json = {"came": self._came, "promised": self._promised, "marks": marks}
        segments = [Segment(partial(_table, pieces, self._timed))] if self.pending else []
        return OperatorState({"rows": segments}, values)

    def restore(self, state: OperatorState) -> None:
        self._came, self._promised = state.values["came"], state.values["promised"]
        table = state.table("rows")
        if table is None or not table.num_rows:
            return
        self._check_columns(table.schema)
        rows = table.combine_chunks().to_batches()[0]
        after = rows.column(_AFTER).to_numpy()
        times = rows.column(_TIME).to_numpy() if self._timed else None
        columns = [rows.column(name) for name in self._schema.names]
        batch = Batch(self._schema, columns, rows.num_rows, times)
        marks = state.values["marks"]
        bounds = np.searchsorted(after, np.arange(len(marks) + 2))
        for i in range(len(marks) + 1):
            if bounds[i] < bounds[i + 1]:
                self._later.append(batch.slice(int(bounds[i]), int(bounds[i + 1])))
            if i < len(marks):
                self._later.append(marks[i])

    def _check_columns(self, found: pa.Schema) -> None:
        stored = [field for field in found if field.name not in (_TIME, _AFTER)]
        if [(f.name, f.type) for f in stored] == [(f.name, f.type) for f in self._schema]:
            return
        raise StateIncompatibleError(
            "rows wait in the checkpoint for their answers, and they have other columns",
            expected=", ".join(f"{field.name} {field.type}" for field in self._schema),
            found=", ".join(f"{field.name} {field.type}" for field in stored),
            remedy="run the flow as it was until nothing waits, or start anew with another state folder",
        )


async def _raising(error: Exception) -> Any:
    """Stands for the call of a record that could not be made."""
    raise error


def _rows_of(rows: Sequence[_Row]) -> Batch:
    """The input rows, at least one, in their order."""
    parts = [
        batch.take(np.fromiter((row.place for row in group), np.intp))
        for batch, group in ((b, list(g)) for b, g in groupby(rows, attrgetter("rows")))
    ]
    return concat_batches(parts)


def _table(pieces: Sequence[Sequence[_Item]], timed: bool) -> pa.Table:
    """The rows that wait, each with the number of watermarks before it."""
    tables = []
    for after, items in enumerate(pieces):
        asked = [item for item in items if isinstance(item, _Row)]  # all of them come first
        batches = [_rows_of(asked)] if asked else []
        for rows in (*batches, *(item for item in items if isinstance(item, Batch))):
            table = pa.Table.from_batches([rows.to_arrow()])
            if timed:
                table = table.append_column(_TIME, pa.array(rows.event_time))
            tables.append(table.append_column(_AFTER, pa.array(np.full(rows.num_rows, after))))
    return pa.concat_tables(tables)
