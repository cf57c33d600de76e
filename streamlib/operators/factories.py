"""The operators as plain factories: each returns a transform, a function from stream to stream.

`toolz.pipe(bids, op.filter(col("price") > 100), op.key_by("auction"))` and the fluent
`bids.filter(col("price") > 100).key_by("auction")` call the same code. A custom operator is a
composition of transforms, for example by `toolz.compose_left`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

import pyarrow as pa

from streamlib.core.batch import schema_of
from streamlib.core.contracts import OperatorSpec
from streamlib.core.errors import DefinitionError, TypeMismatchError, shown
from streamlib.core.expressions import Expr, col
from streamlib.core.time import Duration, duration
from streamlib.core.where import caller
from streamlib.operators.aggregates import Aggregate
from streamlib.operators.changelogs import ToChangelog
from streamlib.operators.functions import MapBatches
from streamlib.operators.map_records import map_spec
from streamlib.operators.running_aggregate import RunningAggregate
from streamlib.operators.stateless import Filter, KeyBy, Select, Split, Union, WithColumns
from streamlib.operators.window_aggregate import WindowAggregate
from streamlib.operators.window_top import Top
from streamlib.plan.stream import Handle, checked_name
from streamlib.windows.contract import WindowAssigner

H = TypeVar("H", bound=Handle)


class Transform(Protocol):
    """A function from a stream to a stream of the same kind of handle."""

    def __call__(self, stream: H, /) -> H: ...


def _then(spec: OperatorSpec, *others: Handle) -> Transform:
    def apply(stream: H, /) -> H:
        return stream.then(spec, *others)

    return apply


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

    def aggregate(self, **aggregates: Aggregate) -> H:
        """See `operators.aggregate`."""
        return aggregate(**aggregates)(self)

    def __repr__(self) -> str:
        return f"<{self.stream!r} in windows: {self.window.describe()}>"


SchemaSpec: TypeAlias = pa.Schema | Mapping[str, pa.DataType]


def select(*columns: str | Expr, **named: str | Expr) -> Transform:
    """Only these columns: names, expressions, and `name=expression`. Event times stay with the rows."""
    return _then(Select(_expressions(columns, named)))


def with_columns(*columns: Expr, **named: str | Expr) -> Transform:
    """All columns, and these added, or put in the place of a column of the same name."""
    return _then(WithColumns(_expressions(columns, named)))


def filter(condition: Expr) -> Transform:
    """Only the rows for which `condition` is true; where it is null the row goes."""
    return _then(Filter(_expression(condition)))


def split(condition: Expr) -> Splitting:
    """Two streams: the rows for which `condition` is true, and the others (false or null)."""
    spec = Split(_expression(condition))

    def apply(stream: H, /) -> tuple[H, H]:
        yes = stream.then(spec)
        return yes, yes.output("rest")

    return apply


def map(function: Callable[[Any], Any], *, schema: SchemaSpec | None = None) -> Transform:
    r"""One record in, one record out, by a Python function.

    The type hints of `function` say what a record is. Where its parameter is hinted as a dataclass,
    TypedDict or msgspec.Struct, it gets objects of that class (other columns are not looked at, and
    a field with a default may lack its column), else a dict of all columns. A result of such a class
    gives the output's columns and types; a function that returns a dict says them with `schema=`,
    which also overrides those of the hints. Timestamps with a time zone are datetimes in UTC.

    | hint | column |
    |---|---|
    | `bool`, `int`, `float`, `str`, `bytes` | bool, int64, float64, string, binary |
    | `datetime`, `date`, `time`, `timedelta` | timestamp[us, UTC], date32, time64[us], duration[us] |
    | `list[...]`, a record class | list, struct |
    | `Annotated[Decimal, pa.decimal128(12, 2)]` | exactly that type |
    | `... \| None` | may be null; without it a null is refused (in results: not inside structs) |

    Raises:
        DefinitionError: hints that can't be resolved, or that leave the output's columns open.

    When the flow is bound, raises `UnknownColumnError` for a field without column or default and
    `TypeMismatchError` for a column of another type. What the function raises comes through, with a
    note on function, row and record.

    >>> from dataclasses import dataclass
    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> @dataclass
    ... class Sale:
    ...     item: str
    ...     price: int
    >>> @dataclass
    ... class Label:
    ...     text: str
    >>> def label(sale: Sale) -> Label:
    ...     return Label(f"{sale.item}: {sale.price}")
    >>> sales = sl.read(memory.source([{"item": "pen", "price": 3, "shop": 7}]), name="sales")
    >>> sales.map(label).collect().to_pylist()
    [{'text': 'pen: 3'}]
    """
    return _then(map_spec(_function(function), None if schema is None else schema_of(schema)))


def map_batches(function: Callable[[Any], Any], *, schema: SchemaSpec | None = None) -> Transform:
    """A function from one `pyarrow.RecordBatch` to another.

    The batch has the stream's columns and `__row__` (int32), the number of the row. A function that
    drops, adds or reorders rows names `__row__` in `schema` and returns it: event times follow it.
    Without it the row count must stay, and the order is trusted. `schema` defaults to the input's; a
    batch with other columns is refused.
    """
    return _then(MapBatches(_function(function), None if schema is None else schema_of(schema)))


def key_by(*columns: str) -> Transform:
    """Key the stream by the values of columns. Nulls are a key of their own."""
    if not columns or not all(isinstance(c, str) for c in columns) or len(set(columns)) < len(columns):
        raise DefinitionError(
            "a stream is keyed by columns",
            expected="one or more different column names",
            found=shown(columns),
            remedy="compute an expression with `with_columns` first, then name it",
        ).at("key_by", caller())
    return _then(KeyBy(columns))


def to_changelog(encoding: Literal["retract", "upsert"] = "retract", column: str = "op") -> Transform:
    """The changes of a changelog as rows that are only appended, for sinks and tools that know no changes.

    Args:
        encoding: `retract` keeps all changes: +I inserted, -U the row before an update and +U after
            it, -D deleted. `upsert` leaves -U out: a row replaces the one with the same identity.
        column: name of the string column, the last, with the kind of change.

    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> sales = sl.read(memory.source([{"n": 2}, {"n": 3}], chunk_rows=1), name="sales")
    >>> len(sales.aggregate(sold=sl.sum("n")).to_changelog().collect()) > 0
    True
    """
    if encoding not in ("retract", "upsert") or not isinstance(column, str) or not column:
        raise DefinitionError(
            "not a way to write changes",
            expected='encoding="retract" or encoding="upsert", and the name of a column',
            found=f"encoding={encoding!r}, column={column!r}",
        ).at("to_changelog", caller())
    return _then(ToChangelog(encoding == "upsert", column))


def union(*others: Handle) -> Transform:
    """The rows of the stream and of `others`, which have the same columns."""
    for other in others:
        if not isinstance(other, Handle):
            raise TypeMismatchError(
                "only streams can be united",
                expected="streams",
                found=shown(other),
                remedy="give the streams one by one: `a.union(b, c)`",
            ).at("union", caller())
    return _then(Union(), *others)


class Windowing(Protocol):
    """A function that cuts a stream into windows."""

    def __call__(self, stream: H, /) -> WindowedStream[H]: ...


class Aggregating(Protocol):
    """A function that makes results of windows, or of all rows so far."""

    def __call__(self, stream: WindowedStream[H] | H, /) -> H: ...


class Splitting(Protocol):
    """A function from a stream to two."""

    def __call__(self, stream: H, /) -> tuple[H, H]: ...


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
    checked = None if name is None else checked_name(name, "window")
    lateness = duration(allowed_lateness)

    def apply(stream: H, /) -> WindowedStream[H]:
        return WindowedStream(stream, assigner, checked, lateness)

    return apply


def aggregate(**aggregates: Aggregate) -> Aggregating:
    """One row per key and window: the keys, `window_start`, `window_end`, and these aggregates by name.

    Of a stream without windows: one row per key (without `key_by`: one row) over all rows so far, as a
    changelog of the keys. Each batch emits the groups that it changed: an insertion, the old and the
    new row, or (where the input is a changelog, too) a deletion. How many updates there are depends on
    how rows come in batches, so their rows have no event time; the table that they describe does not.

    A dictionary-encoded key comes out as plain values: batches bring dictionaries of their own.

    Raises:
        DefinitionError: at bind time, `min` or `max` over a changelog: they can't take rows back.

    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> sales = sl.read(memory.source([{"item": "pen", "n": 2}, {"item": "pen", "n": 3}]), name="sales")
    >>> sales.key_by("item").aggregate(sold=sl.sum("n")).collect().to_pylist()
    [{'item': 'pen', 'sold': 5}]
    """
    if not aggregates or not all(isinstance(a, Aggregate) for a in aggregates.values()):
        raise DefinitionError(
            "a stream is aggregated by named aggregates",
            expected='for example `aggregate(bids=sl.count(), top=sl.max("price"))`',
            found=shown(aggregates),
        ).at("aggregate", caller())
    pairs = tuple(aggregates.items())

    def apply(stream: WindowedStream[H] | H, /) -> H:
        if isinstance(stream, WindowedStream):
            spec = WindowAggregate(stream.window, pairs, stream.lateness, stream.final)
            return stream.stream.then(spec, name=stream.name)
        if isinstance(stream, Handle):
            return stream.then(RunningAggregate(pairs))
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
    return _then(Top(n, by))


def _expressions(columns: tuple[str | Expr, ...], named: dict[str, str | Expr]) -> tuple[Expr, ...]:
    found = [_expression(c) for c in columns]
    found += [_expression(value).alias(name) for name, value in named.items()]
    if not found:
        raise DefinitionError("no columns were named", expected="at least one column or expression").at(
            None, caller()
        )
    return tuple(found)


def _expression(value: str | Expr) -> Expr:
    if isinstance(value, Expr):
        return value
    if isinstance(value, str):
        return col(value)
    raise TypeMismatchError(
        "this is not an expression",
        expected="a column name or an expression such as col('price') * 2",
        found=shown(value),
        remedy="wrap a constant in `sl.lit(...)`",
    ).at(None, caller())


def _function(function: Any) -> Any:
    if not callable(function):
        raise TypeMismatchError("this is not a function", expected="a callable", found=shown(function)).at(
            None, caller()
        )
    return function
