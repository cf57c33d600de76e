"""The fluent spelling of the operators: every method calls the factory of the same name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import pyarrow as pa

from streamlib.core.contracts import Source
from streamlib.core.errors import DefinitionError, TypeMismatchError, shown
from streamlib.core.expressions import Expr, col
from streamlib.core.policies import ErrorPolicy, checked_policy
from streamlib.core.time import Duration, duration
from streamlib.core.watermarks import WatermarkStrategy
from streamlib.core.where import caller
from streamlib.operators import factories as op
from streamlib.operators.bound_aggregate import Aggregate
from streamlib.operators.factories import SchemaSpec, WindowedStream
from streamlib.plan.launch import Preview, Until, launcher
from streamlib.plan.node import Node, Port, Read
from streamlib.plan.stream import Handle, checked_name
from streamlib.windows.contract import WindowAssigner

if TYPE_CHECKING:
    from streamlib.formats.contract import Format


class Stream(Handle):
    """Rows that will come: an immutable description, made by `read` and by operators."""

    __slots__ = ()

    def select(self, *columns: str | Expr, on_error: ErrorPolicy = "fail", **named: str | Expr) -> Self:
        """See `operators.select`."""
        return op.select(*columns, on_error=on_error, **named)(self)

    def with_columns(self, *columns: Expr, on_error: ErrorPolicy = "fail", **named: str | Expr) -> Self:
        """See `operators.with_columns`."""
        return op.with_columns(*columns, on_error=on_error, **named)(self)

    def filter(self, condition: Expr, *, on_error: ErrorPolicy = "fail") -> Self:
        """See `operators.filter`."""
        return op.filter(condition, on_error=on_error)(self)

    @overload
    def split(self, condition: Expr, /, *, on_error: ErrorPolicy = "fail") -> tuple[Self, Self]: ...
    @overload
    def split(self, *, on_error: ErrorPolicy = "fail", **conditions: Expr) -> dict[str, Self]: ...
    def split(
        self, *condition: Expr, on_error: ErrorPolicy = "fail", **conditions: Expr
    ) -> tuple[Self, Self] | dict[str, Self]:
        """See `operators.split`."""
        splitting: Any = op.split
        parts: tuple[Self, Self] | dict[str, Self] = splitting(*condition, on_error=on_error, **conditions)(
            self
        )
        return parts

    def drop(self, *columns: str) -> Self:
        """See `operators.drop`."""
        return op.drop(*columns)(self)

    def rename(self, names: Mapping[str, str]) -> Self:
        """See `operators.rename`."""
        return op.rename(names)(self)

    def explode(self, *columns: str, on_error: ErrorPolicy = "fail") -> Self:
        """See `operators.explode`."""
        return op.explode(*columns, on_error=on_error)(self)

    def decode(
        self, column: str, format: Format, *, into: str | None = None, on_error: ErrorPolicy = "fail"
    ) -> Self:
        """See `operators.decode`."""
        return op.decode(column, format, into=into, on_error=on_error)(self)

    def encode(self, format: Format, *, into: str = "value", on_error: ErrorPolicy = "fail") -> Self:
        """See `operators.encode`."""
        return op.encode(format, into=into, on_error=on_error)(self)

    def map(
        self,
        function: Callable[[Any], Any],
        *,
        schema: SchemaSpec | None = None,
        on_error: ErrorPolicy = "fail",
    ) -> Self:
        """See `operators.map`."""
        return op.map(function, schema=schema, on_error=on_error)(self)

    def flat_map(
        self,
        function: Callable[[Any], Iterable[Any]],
        *,
        schema: SchemaSpec | None = None,
        on_error: ErrorPolicy = "fail",
    ) -> Self:
        """See `operators.flat_map`."""
        return op.flat_map(function, schema=schema, on_error=on_error)(self)

    def map_async(
        self,
        function: Callable[[Any], Awaitable[Any]],
        *,
        schema: SchemaSpec | None = None,
        concurrency: int = 100,
        ordered: bool = True,
        timeout: Duration = "10s",
        rate_limit: str | None = None,
        on_error: ErrorPolicy = "fail",
        name: str | None = None,
    ) -> Self:
        """See `operators.map_async`."""
        transform = op.map_async(
            function,
            schema=schema,
            concurrency=concurrency,
            ordered=ordered,
            timeout=timeout,
            rate_limit=rate_limit,
            on_error=on_error,
            name=name,
        )
        return transform(self)

    def map_batches(
        self,
        function: Callable[[Any], Any],
        *,
        schema: SchemaSpec | None = None,
        on_error: ErrorPolicy = "fail",
    ) -> Self:
        """See `operators.map_batches`."""
        return op.map_batches(function, schema=schema, on_error=on_error)(self)

    def stateful_map(
        self,
        function: Callable[[Any, Any], tuple[Any, Any]],
        *,
        initial: Any = None,
        state: Any = None,
        schema: SchemaSpec | None = None,
        ttl: Duration | None = None,
        name: str | None = None,
        on_error: ErrorPolicy = "fail",
    ) -> Self:
        """See `operators.stateful_map`."""
        return op.stateful_map(
            function, initial=initial, state=state, schema=schema, ttl=ttl, name=name, on_error=on_error
        )(self)

    def fold(
        self,
        initial: Any,
        function: Callable[[Any, Any], Any],
        *,
        state: Any = None,
        schema: SchemaSpec | None = None,
        into: str = "value",
        ttl: Duration | None = None,
        name: str | None = None,
        on_error: ErrorPolicy = "fail",
    ) -> Self:
        """See `operators.fold`."""
        return op.fold(
            initial,
            function,
            state=state,
            schema=schema,
            into=into,
            ttl=ttl,
            name=name,
            on_error=on_error,
        )(self)

    def reduce(
        self,
        function: Callable[[Any, Any], Any],
        *,
        ttl: Duration | None = None,
        name: str | None = None,
        on_error: ErrorPolicy = "fail",
    ) -> Self:
        """See `operators.reduce`."""
        return op.reduce(function, ttl=ttl, name=name, on_error=on_error)(self)

    def sample(self, fraction: float, *, by: str | tuple[str, ...] = (), seed: int = 0) -> Self:
        """See `operators.sample`."""
        return op.sample(fraction, by=by, seed=seed)(self)

    def distinct(self, *columns: str, within: Duration, name: str | None = None) -> Self:
        """See `operators.distinct`."""
        return op.distinct(*columns, within=within, name=name)(self)

    def throttle(self, most: int, *, per: Duration, name: str | None = None) -> Self:
        """See `operators.throttle`."""
        return op.throttle(most, per=per, name=name)(self)

    def key_by(self, *columns: str) -> Self:
        """See `operators.key_by`."""
        return op.key_by(*columns)(self)

    def unkey(self) -> Self:
        """See `operators.unkey`."""
        return op.unkey()(self)

    def in_event_time_order(self, *by: str, name: str | None = None) -> Self:
        """See `operators.in_event_time_order`."""
        return op.in_event_time_order(*by, name=name)(self)

    def to_changelog(self, encoding: Literal["retract", "upsert"] = "retract", column: str = "op") -> Self:
        """See `operators.to_changelog`."""
        return op.to_changelog(encoding, column)(self)

    def union(self, *others: Handle) -> Self:
        """See `operators.union`."""
        return op.union(*others)(self)

    def window(
        self, assigner: WindowAssigner, *, name: str | None = None, allowed_lateness: Duration = 0
    ) -> WindowedStream[Self]:
        """See `operators.window`."""
        return op.window(assigner, name=name, allowed_lateness=allowed_lateness)(self)

    def aggregate(
        self,
        *,
        name: str | Aggregate | None = None,
        on_error: ErrorPolicy | Aggregate = "fail",
        **aggregates: Aggregate,
    ) -> Self:
        """See `operators.aggregate`: over all rows so far. After `window`, over each window."""
        return op.aggregate(name=name, on_error=on_error, **aggregates)(self)

    def top(self, n: int, *, by: str) -> Self:
        """See `operators.top`."""
        return op.top(n, by=by)(self)

    def late(self) -> Self:
        """Of an aggregated window: the rows that came too late for all their windows."""
        return self.output("late")

    def missed(self) -> Self:
        """Of an aggregated window: a row for each row and window that had fired before it came.

        Beside the row's columns stand `window_start` and `window_end` of the window it missed: what
        is needed to correct a result afterwards. For tumbling windows these are the rows of `late`.
        Rows that are results of a window themselves have these bounds in the place of their own.
        """
        return self.output("missed")

    def collect(self, n: int | None = None, *, until: Until | None = None) -> pa.Table:
        """Run without a job, and return the rows: as a batch if all sources end.

        Args:
            n: at most that many rows; the run stops when they are there.
            until: stop after a duration, for example `"10s"`, or, given a `datetime`, when the watermark
                has come to it: then the rows before it are complete, and no others are in the table.

        Raises:
            DefinitionError: a source has no end, and neither `n` nor `until` is given.
        """
        return launcher().collect_stream(self, n, until)

    def preview(self, n: int = 5, *, until: Until = "5s") -> Preview:
        """The first rows, found by streaming a sample without a job; nothing is written.

        Stops when there are `n` rows, or at `until` (see `collect`), or after a million rows were
        read. What windows that are still open then hold is shown as well, and said. Works for the
        late rows of a window too. Columns of a `map` or `flat_map` that says none, and of iterators, are
        inferred from the first results, which calls the function once more for those; the line to
        paste is printed.

        >>> import streamlib as sl
        >>> from streamlib.connectors import memory
        >>> bids = sl.read(memory.source([{"item": "pen", "price": 3}] * 100), name="bids")
        >>> bids.with_columns(double=sl.col("price") * 2).preview(2)
        item    price  double
        string  int64  int64
        pen         3       6
        pen         3       6
        (2 rows, the first ones; 16 rows were read)
        """
        return launcher().preview(self, n, until)


def read(
    source: Source,
    *,
    name: str,
    event_time: str | Expr | None = None,
    tz: str | None = None,
    watermark: WatermarkStrategy | None = None,
    max_ahead: Duration | None = "1d",
    on_error: ErrorPolicy = "fail",
) -> Stream:
    """The stream of a source's rows.

    Args:
        source: a connector, for example `parquet.source("history/")`.
        name: the source's name in the flow, by which it can be rebound.
        event_time: the column or expression that says when a row happened: a timestamp, a date, or
            an integer of microseconds since the epoch. Without it windows can't be used.
        tz: time zone in which naive timestamps are to be read. Ambiguous hours (clocks set back)
            count as their first occurrence, missing ones as the moment the clocks were set.
        watermark: how late rows may come; needed with `event_time`: `sl.bounded_disorder("10s")` or
            `sl.monotone()`.
        max_ahead: in streaming, how far before the clock an event time may be; a row further ahead
            would close every window, so it fails. None: no limit.
        on_error: what happens to a record that can't be read, has no event time, or lies too far ahead:
            it stops the job (`"fail"`), is left out and counted (`"skip"`), or becomes a dead letter
            (`sl.dead_letter`). With `sl.retry` a source that can't be reached is opened again where
            reading stood; its `then` is for records.

    Raises:
        DefinitionError: a bad name, or `event_time` without `watermark`, or the reverse.

    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> rows = [{"at": 1_000_000, "price": 3}, {"at": 2_000_000, "price": 5}]
    >>> bids = sl.read(memory.source(rows), name="bids", event_time="at", watermark=sl.monotone())
    >>> bids.filter(sl.col("price") > 3).collect().to_pylist()
    [{'at': 2000000, 'price': 5}]
    """
    if not isinstance(source, Source):
        raise TypeMismatchError(
            "this is not a source",
            expected="a source from streamlib.connectors",
            found=shown(source),
            remedy="for example memory.source(rows) or parquet.source(path)",
        ).at(name, caller())
    if (event_time is None) != (watermark is None):
        raise DefinitionError(
            "`event_time` and `watermark` go together",
            expected="both or neither",
            found=f"event_time={event_time!r}, watermark={watermark!r}",
            remedy='say how late rows may come, for example watermark=sl.bounded_disorder("10s")',
        ).at(name, caller())
    time = col(event_time) if isinstance(event_time, str) else event_time
    ahead = None if max_ahead is None else duration(max_ahead)
    spec = Read(source, time, tz, watermark, ahead)
    checked = checked_name(name, "source")
    return Stream(Port(Node(spec, (), checked, caller(), checked_policy(on_error))))
