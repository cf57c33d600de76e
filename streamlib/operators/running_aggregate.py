"""Aggregation per key without a window: a table that changes with every batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Batch
from streamlib.core.canonical import canonical
from streamlib.core.changes import Changelog
from streamlib.core.contracts import Json, Operator, OperatorSpec, OperatorState, Output, StreamType
from streamlib.operators.bound_aggregate import Aggregate, keeps, order_sensitive
from streamlib.operators.columns_read import all_of
from streamlib.operators.examining import examiner
from streamlib.operators.group_tables import GroupTables, key_fields, result_schema
from streamlib.operators.grouping import take_rows
from streamlib.operators.keyed_states import KeyedStates
from streamlib.operators.partials import Block, Partial, PartialAggregator
from streamlib.operators.updates import Updates


@dataclass(frozen=True, eq=False)
class RunningAggregate(OperatorSpec):
    """One row per key, of all rows that came so far; it changes with every batch."""

    kind: ClassVar[str] = "aggregate"
    takes_codes: ClassVar[bool] = True
    stateful: ClassVar[bool] = True
    keyed: ClassVar[bool] = True
    isolates: ClassVar[bool] = True

    aggregates: tuple[tuple[str, Aggregate], ...]

    def examiner(self, inputs: Sequence[StreamType]) -> Callable[[Batch], None] | None:
        return examiner(self.aggregates, inputs[0])

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        results = [pa.field(name, a.bind(name, stream).dtype) for name, a in self.aggregates]
        out = result_schema([*key_fields(stream), *results])
        return (StreamType(out, keys=stream.keys, changes=Changelog(stream.keys)),)

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        (out,) = self.bind(inputs)
        return RunningAggregateOperator(self, inputs[0], out.schema)

    def reads(
        self, wanted: Sequence[frozenset[str] | None], inputs: Sequence[StreamType]
    ) -> frozenset[str] | None:
        return all_of([frozenset(inputs[0].keys), *(a.reads() for _, a in self.aggregates)])

    def describe(self) -> str:
        aggregates = ", ".join(f"{name}={aggregate!r}" for name, aggregate in self.aggregates)
        return f"all rows so far: {aggregates}"

    @property
    def order_sensitive(self) -> str | None:
        return order_sensitive(self.aggregates)

    def keeps(self, inputs: Sequence[StreamType]) -> str | None:
        return keeps(self.aggregates, inputs[0])

    def grows(self, inputs: Sequence[StreamType]) -> str | None:
        what = "row" if self.keeps(inputs) else "new key" if inputs[0].keys else None
        return None if what is None else f"with every {what}; aggregate in windows to bound it"

    def state_version(self) -> Json:
        return repr(canonical(self))


class RunningAggregateOperator(Operator):
    """Keeps a group per key and says of each batch which groups it changed."""

    def __init__(self, spec: RunningAggregate, stream: StreamType, out: pa.Schema) -> None:
        self._keys = stream.keys
        self._out = out
        self._aggregator = PartialAggregator(
            [out.field(key).type for key in stream.keys],
            [aggregate.bind(name, stream) for name, aggregate in spec.aggregates],
        )
        self._groups = KeyedStates(self._aggregator)
        self._tables = GroupTables([f"key.{key}" for key in stream.keys], self._aggregator)

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        partial, _ = self.combine(batch, port)
        return () if partial is None else self.merge([[partial]])

    def combine(self, batch: Batch, port: int) -> tuple[Partial | None, list[Output]]:
        """See `Combines`."""
        if not batch.num_rows:
            return None, []
        keys = [batch.column(key) for key in self._keys]
        return self._aggregator.build(batch, keys, np.zeros(batch.num_rows, np.int64)), []

    def split(
        self, partials: Sequence[Partial], owners: npt.NDArray[np.intp]
    ) -> Mapping[int, Sequence[Partial]]:
        """See `Combines`."""
        return self._aggregator.split(partials, owners)

    def merge(self, parts: Sequence[Sequence[Partial]]) -> Iterable[Output]:
        """See `Combines`."""
        partials = (partial for part in parts for partial in part)
        blocks = [p if isinstance(p, Block) else self._aggregator.block_of(p) for p in partials]
        block = blocks[0] if len(blocks) == 1 else self._aggregator.merge(blocks)  # one has each group once
        step = self._groups.add(block)
        updates = Updates.of(step, self._aggregator)
        if not len(updates):
            return ()
        keys = (take_rows(key, updates.groups) for key in step.after.keys)
        return ((0, Batch(self._out, [*keys, *updates.results], len(updates), None, updates.changes)),)

    # ------------------------------------------------------------------ state

    def snapshot(self) -> OperatorState:
        return OperatorState({"groups": self._groups.segments(self._tables.table)})

    def restore(self, state: OperatorState) -> None:
        groups = state.table("groups")
        if groups is not None:
            self._groups.restore(self._tables.block(groups))
