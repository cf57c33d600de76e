"""Factories of windows and aggregates."""

from __future__ import annotations

from typing import Generic, Protocol

from streamlib.core.errors import DefinitionError, TypeMismatchError, shown
from streamlib.core.policies import ErrorPolicy
from streamlib.core.time import Duration, duration
from streamlib.core.where import caller
from streamlib.operators.bound_aggregate import Aggregate
from streamlib.operators.factories.common import H, Transform, then
from streamlib.operators.running_aggregate import RunningAggregate
from streamlib.operators.window_aggregate import WindowAggregate
from streamlib.operators.window_top import Top
from streamlib.plan.spec_check import changeable
from streamlib.plan.stream import Handle, checked_name
from streamlib.windows.contract import WindowAssigner


class WindowedStream(Generic[H]):
    """A stream that was cut into windows; `aggregate` makes results of them."""

    __slots__ = ("final", "lateness", "name", "stream", "window")

    def __init__(
        self, stream: H, window: WindowAssigner, name: str | None, lateness: int = 0, final: bool = False
    ) -> None:
        self.stream = stream
        self.window = window
        self.name = name
        self.lateness = lateness
        self.final = final

    def final_only(self) -> WindowedStream[H]:
        """One result per key and window, when no more rows are taken: `allowed_lateness` after its end.

        The result is append-only, and its watermark stays behind by the allowed lateness.
        """
        return WindowedStream(self.stream, self.window, self.name, self.lateness, final=True)

    def aggregate(
        self,
        *,
        name: str | Aggregate | None = None,
        on_error: ErrorPolicy | Aggregate = "fail",
        **aggregates: Aggregate,
    ) -> H:
        """See `operators.aggregate`."""
        return aggregate(name=name, on_error=on_error, **aggregates)(self)

    def __repr__(self) -> str:
        return f"<{self.stream!r} in windows: {self.window.describe()}>"


class Windowing(Protocol):
    """A function that cuts a stream into windows."""

    def __call__(self, stream: H, /) -> WindowedStream[H]: ...


class Aggregating(Protocol):
    """A function that makes results of windows, or of all rows so far."""

    def __call__(self, stream: WindowedStream[H] | H, /) -> H: ...


def window(assigner: WindowAssigner, *, name: str | None = None, allowed_lateness: Duration = 0) -> Windowing:
    """Cut the stream into windows; `aggregate` follows.

    Args:
        assigner: which windows, for example `windows.tumbling("1h")`.
        name: names the state in checkpoints.
        allowed_lateness: how long after its end a window still takes rows. Its result is shown when
            the watermark reaches the end, and shown again, as an update, for every batch that brings
            more rows: the result is a changelog of the keys, `window_start` and `window_end`.
            `.final_only()` waits instead, and shows one result.

    A row is dropped from a window when the watermark has reached the window's end plus the allowed
    lateness; it then appears in the outputs `late` (if that holds for all its windows) and `missed`.

    >>> import streamlib as sl
    >>> from streamlib import windows
    >>> from streamlib.connectors import memory
    >>> rows = [{"at": t} for t in (1_000_000, 25_000_000, 2_000_000)]
    >>> clicks = sl.read(memory.source(rows), name="clicks", event_time="at", watermark=sl.monotone())
    >>> counted = clicks.window(windows.tumbling("10s"), allowed_lateness="1min").aggregate(n=sl.count())
    >>> counted.select("n").collect().to_pylist()
    [{'n': 2}, {'n': 1}]
    """
    if not isinstance(assigner, WindowAssigner):
        raise TypeMismatchError(
            "this is not a window",
            expected='a window from streamlib.windows, for example windows.tumbling("1h")',
            found=shown(assigner),
        ).at("window", caller())
    _check_frozen(assigner, "window")
    checked = None if name is None else checked_name(name, "window")
    lateness = duration(allowed_lateness)

    def apply(stream: H, /) -> WindowedStream[H]:
        return WindowedStream(stream, assigner, checked, lateness)

    return apply


def aggregate(
    *,
    name: str | Aggregate | None = None,
    on_error: ErrorPolicy | Aggregate = "fail",
    **aggregates: Aggregate,
) -> Aggregating:
    """One row per key and window: the keys, `window_start`, `window_end`, and these aggregates by name.

    Args:
        name: names the state in checkpoints, so that it is found again when the flow around it changes;
            with windows it is given to `window`. (An aggregate here is a result column called `name`.)
        on_error: what happens to a row at which the argument or filter of an aggregate fails, before it can
            touch a state: `"fail"`, `"skip"`, `sl.retry(...)` or `sl.dead_letter(sink)`.
        aggregates: the result columns.

    Of a stream without windows: one row per key (without `key_by`: one row) over all rows so far, as a
    changelog of the keys. Each batch emits the groups that it changed: an insertion, the old and the
    new row, or (where the input is a changelog, too) a deletion. How many updates there are depends on
    how rows come in batches, so their rows have no event time; the table that they describe does not.

    A dictionary-encoded key comes out as plain values: batches bring dictionaries of their own.

    Raises:
        DefinitionError: at bind time, over a changelog an aggregate that can't take rows back.

    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> sales = sl.read(memory.source([{"item": "pen", "n": 2}, {"item": "pen", "n": 3}]), name="sales")
    >>> sales.key_by("item").aggregate(sold=sl.sum("n")).collect().to_pylist()
    [{'item': 'pen', 'sold': 5}]
    """
    if isinstance(on_error, Aggregate):
        aggregates, on_error = {"on_error": on_error, **aggregates}, "fail"
    if isinstance(name, Aggregate):
        aggregates, name = {"name": name, **aggregates}, None
    policy = on_error
    checked = None if name is None else checked_name(name, "aggregate")
    if not aggregates or not all(isinstance(a, Aggregate) for a in aggregates.values()):
        raise DefinitionError(
            "a stream is aggregated by named aggregates",
            expected='for example `aggregate(bids=sl.count(), top=sl.max("price"))`',
            found=shown(aggregates),
        ).at("aggregate", caller())
    for each in aggregates.values():
        _check_frozen(each, "aggregate")
    pairs = tuple(aggregates.items())

    def apply(stream: WindowedStream[H] | H, /) -> H:
        if isinstance(stream, WindowedStream):
            if checked is not None:
                raise DefinitionError(
                    "the state of windows is named where they are made",
                    expected=f"`.window(..., name={checked!r}).aggregate(...)`",
                    found=f"`.aggregate(name={checked!r})` behind a window",
                ).at("aggregate", caller())
            spec = WindowAggregate(stream.window, pairs, stream.lateness, stream.final)
            return stream.stream.then(spec, name=stream.name, on_error=policy)
        if isinstance(stream, Handle):
            return stream.then(RunningAggregate(pairs), name=checked, on_error=policy)
        raise TypeMismatchError(
            "only a stream can be aggregated",
            expected="a stream, with or without windows",
            found=shown(stream),
        ).at("aggregate", caller())

    return apply


def top(n: int, *, by: str) -> Transform:
    """Of every window the `n` rows that are largest in the column `by`, the largest first.

    Put it behind an aggregated window. Of equal rows those with lower keys are taken, key column by key
    column; NaN and null come last. So the result does not depend on batches, or on how many workers
    there are. Directly behind a window over one integer key, the other rows are never made.

    Raises:
        DefinitionError: `n` is below 1; when the flow is bound, rows that are not the result of a
            window that fires once.
        UnknownColumnError: when the flow is bound, there is no column `by`, or a key was dropped.

    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> rows = [{"at": 1, "item": "pen"}, {"at": 2, "item": "cup"}, {"at": 3, "item": "cup"}]
    >>> bids = sl.read(memory.source(rows), name="bids", event_time="at", watermark=sl.monotone())
    >>> hot = bids.key_by("item").window(sl.windows.tumbling("1s")).aggregate(bids=sl.count())
    >>> hot.top(1, by="bids").select("item", "bids").collect().to_pylist()
    [{'item': 'cup', 'bids': 2}]
    """
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise DefinitionError(
            "`top` takes a number of rows", expected="a whole number from 1 on", found=shown(n)
        ).at("top", caller())
    if not isinstance(by, str):
        raise TypeMismatchError(
            "`top` ranks by a column",
            expected="the name of a column",
            found=shown(by),
            remedy="compute an expression with `with_columns` first, then name it",
        ).at("top", caller())
    return then(Top(n, by))


def _check_frozen(description: WindowAssigner | Aggregate, operator: str) -> None:
    error = changeable(description)
    if error is not None:
        raise error.at(operator, caller())
