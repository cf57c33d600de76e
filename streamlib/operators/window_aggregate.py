"""Aggregation per key and window: slices of partials, fired by the watermark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import pyarrow as pa

from streamlib.core.batch import Batch
from streamlib.core.canonical import canonical
from streamlib.core.changes import Changelog
from streamlib.core.contracts import Json, Operator, OperatorSpec, StreamType
from streamlib.core.errors import EventTimeError
from streamlib.core.time import show_duration
from streamlib.operators.bound_aggregate import Aggregate, keeps, order_sensitive
from streamlib.operators.columns_read import all_of
from streamlib.operators.examining import examiner
from streamlib.operators.group_tables import WINDOW_BOUNDS, key_fields, result_schema
from streamlib.operators.partials import Largest
from streamlib.operators.updating_windows import UpdatingWindowAggregate
from streamlib.operators.window_operator import LATE, MISSED, WindowAggregateOperator, Windowing, is_bound
from streamlib.operators.window_top import Top
from streamlib.windows.assigned import check_windows
from streamlib.windows.contract import WindowAssigner


@dataclass(frozen=True, eq=False)
class WindowAggregate(OperatorSpec):
    """One result row per key and window, when the watermark reaches the window's end.

    With `lateness` (microseconds) windows take rows until the watermark reaches their end plus that.
    Then either the first result is shown at the end and updates follow, or (`final`) there is one
    result, at the very last.
    """

    kind: ClassVar[str] = "aggregate"
    takes_codes: ClassVar[bool] = True
    outputs: ClassVar[tuple[str, ...]] = ("out", "late", "missed")
    stateful: ClassVar[bool] = True
    keyed: ClassVar[bool] = True
    isolates: ClassVar[bool] = True

    window: WindowAssigner
    aggregates: tuple[tuple[str, Aggregate], ...]
    lateness: int = 0
    final: bool = False
    largest: Largest | None = None
    """Which rows of a window are wanted; others may come as well."""

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        check_time(stream, self.lateness)
        check_windows(self.window)
        results = [pa.field(name, aggregate.bind(name, stream).dtype) for name, aggregate in self.aggregates]
        out = result_schema([*key_fields(stream), *WINDOW_BOUNDS, *results])
        missed = result_schema([*(f for f in stream.schema if not is_bound(f)), *WINDOW_BOUNDS])
        changes, lateness = None, 0
        if self.updates:
            changes, lateness = Changelog((*stream.keys, *(f.name for f in WINDOW_BOUNDS))), self.lateness
        unnamed = None if stream.changes is None else Changelog(None)  # a row can miss many windows
        return (
            StreamType(out, True, stream.keys, changes, lateness),
            stream,
            replace(stream, schema=missed, changes=unnamed),
        )

    def examiner(self, inputs: Sequence[StreamType]) -> Callable[[Batch], None] | None:
        return examiner(self.aggregates, inputs[0])

    @property
    def updates(self) -> bool:
        """Whether a result can change after it was shown."""
        return self.lateness > 0 and not self.final

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        out, _, missed = self.bind(inputs)
        kind = UpdatingWindowAggregate if self.updates else WindowAggregateOperator
        windowing = Windowing(
            self.window, self.aggregates, self.lateness, self.largest, self.order_sensitive is not None
        )
        return kind(windowing, inputs[0], out.schema, missed.schema)

    def reads(
        self, wanted: Sequence[frozenset[str] | None], inputs: Sequence[StreamType]
    ) -> frozenset[str] | None:
        if wanted[LATE] != frozenset() or wanted[MISSED] != frozenset():
            return None  # those rows are the input's, as they came
        return all_of([frozenset(inputs[0].keys), *(a.reads() for _, a in self.aggregates)])

    def describe(self) -> str:
        aggregates = ", ".join(f"{name}={aggregate!r}" for name, aggregate in self.aggregates)
        kept = "" if self.largest is None else f"; keeps the {self.largest.n} largest by {self.largest.by}"
        late = f", allowed lateness {show_duration(self.lateness)}" if self.lateness else ""
        final = ", final results only" if self.final else ""
        return f"{self.window.describe()}{late}{final}: {aggregates}{kept}"

    @property
    def order_sensitive(self) -> str | None:
        return order_sensitive(self.aggregates)

    def keeps(self, inputs: Sequence[StreamType]) -> str | None:
        return keeps(self.aggregates, inputs[0])

    def state_version(self) -> Json:
        return repr(canonical(replace(self, largest=None)))

    def serving(self, reader: OperatorSpec) -> OperatorSpec:
        return replace(self, largest=Largest(reader.n, reader.by)) if isinstance(reader, Top) else self


def check_time(stream: StreamType, lateness: int) -> None:
    """Raise `EventTimeError` where a window can't see all rows of its input in time."""
    if not stream.event_time:
        changelog = stream.changes is not None
        raise EventTimeError(
            "a window needs event time",
            expected="a stream with an event time",
            found="a result over all rows so far, which has none" if changelog else "a stream without one",
            remedy="put the window before that aggregate"
            if changelog
            else "give `event_time=` (and `watermark=`) to `sl.read`",
        )
    if lateness < stream.lateness:
        raise EventTimeError(
            "this window allows less lateness than its input emits, so it would miss updates",
            expected=f"an allowed lateness of at least {show_duration(stream.lateness)}",
            found=show_duration(lateness),
            remedy=f'give `allowed_lateness="{show_duration(stream.lateness)}"`, or make the window above '
            "show results once, by `.final_only()`",
        )
