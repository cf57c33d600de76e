"""Operators that look at one row at a time: `select`, `with_columns`, `filter`, `key_by`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Batch
from streamlib.core.changes import INSERT, Changelog
from streamlib.core.contracts import Operator, OperatorSpec, Output, StreamType
from streamlib.core.errors import DefinitionError, TypeMismatchError, UnknownColumnError
from streamlib.core.expressions import Bound, Expr, bind, columns, output_name
from streamlib.core.expressions.ast import Column as ColumnName
from streamlib.core.hashing import check_key_type
from streamlib.core.lazy_columns import LazyColumns
from streamlib.core.skipping import EVERY_ROW
from streamlib.operators.columns_read import all_of
from streamlib.operators.conditions import bound_condition, true_rows
from streamlib.operators.identity import carried, plain_columns


@dataclass(frozen=True, eq=False)
class Select(OperatorSpec):
    """The named expressions and nothing else."""

    kind: ClassVar[str] = "select"
    takes_codes: ClassVar[bool] = True

    expressions: tuple[Expr, ...]

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        names = _distinct_names(self.expressions)
        bound = [bind(e, stream) for e in self.expressions]
        plain = plain_columns(dict(zip(names, self.expressions, strict=True)))
        before = {after: stream.schema.field(name) for name, after in plain.items()}
        fields = (pa.field(n, b.dtype) for n, b in zip(names, bound, strict=True))
        # what is never null stays so where it is passed on
        schema = pa.schema([before[f.name].with_name(f.name) if f.name in before else f for f in fields])
        changes = carried(stream, plain)
        return (replace(stream, schema=schema, changes=changes),)

    def passes(self) -> Expr | None:
        """See `Passes`."""
        return EVERY_ROW if all(isinstance(e, ColumnName) for e in self.expressions) else None

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        (out,) = self.bind(inputs)
        return _Projection(out.schema, [bind(e, inputs[0]) for e in self.expressions])

    def reads(
        self, wanted: Sequence[frozenset[str] | None], inputs: Sequence[StreamType]
    ) -> frozenset[str] | None:
        return frozenset().union(*map(columns, self.expressions))

    def describe(self) -> str:
        return ", ".join(map(repr, self.expressions))


def _distinct_names(expressions: Sequence[Expr]) -> list[str]:
    names = [output_name(e) for e in expressions]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DefinitionError(
            f"two columns would be called {', '.join(map(repr, twice))}",
            expected="a name of its own for every column",
            found=", ".join(names),
            remedy="rename one with `.alias(...)`",
        )
    return names


@dataclass(frozen=True, eq=False)
class WithColumns(OperatorSpec):
    """All columns, and the named expressions added or put in the place of a column of that name."""

    kind: ClassVar[str] = "with_columns"
    takes_codes: ClassVar[bool] = True

    expressions: tuple[Expr, ...]

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        fields = {f.name: f for f in stream.schema}
        names = _distinct_names(self.expressions)
        for name, expression in zip(names, self.expressions, strict=True):
            if name in stream.keys:
                raise DefinitionError(
                    f"the stream is keyed by {name!r}, which can't be replaced",
                    expected="other column names than the keys",
                    found=repr(expression),
                    remedy="put `with_columns` before `key_by`",
                )
            fields[name] = pa.field(name, bind(expression, stream).dtype)
        untouched = {name: name for name in stream.schema.names if name not in names}
        schema = pa.schema(list(fields.values()))
        return (replace(stream, schema=schema, changes=carried(stream, untouched)),)

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        (out,) = self.bind(inputs)
        computed = {output_name(e): bind(e, inputs[0]) for e in self.expressions}
        kept = inputs[0].schema
        columns: list[Bound | int] = [
            computed[f.name] if f.name in computed else kept.get_field_index(f.name) for f in out.schema
        ]
        return _Projection(out.schema, columns)

    def reads(
        self, wanted: Sequence[frozenset[str] | None], inputs: Sequence[StreamType]
    ) -> frozenset[str] | None:
        computed = frozenset(map(output_name, self.expressions))
        read = frozenset[str]().union(*map(columns, self.expressions))
        return None if wanted[0] is None else (wanted[0] - computed) | read

    def describe(self) -> str:
        return ", ".join(map(repr, self.expressions))


class _Projection(Operator):
    """Columns of the output: expressions, or indices of columns that pass through."""

    keeps_stamps: ClassVar[bool] = True

    def __init__(self, schema: pa.Schema, columns: Sequence[Bound | int]) -> None:
        self._schema = schema
        self._computed = [(i, c.evaluate) for i, c in enumerate(columns) if isinstance(c, Bound)]
        self._passing = [c if isinstance(c, int) else 0 for c in columns]

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        below, passing = batch.columns, self._passing
        columns = LazyColumns(len(passing), lambda i: below[passing[i]])
        for i, evaluate in self._computed:
            columns.put(i, evaluate(batch))
        return ((0, batch.replaced(self._schema, columns)),)


@dataclass(frozen=True, eq=False)
class Filter(OperatorSpec):
    """The rows for which a condition is true; null counts as false. `split` keeps the others apart."""

    kind: ClassVar[str] = "filter"
    takes_codes: ClassVar[bool] = True

    condition: Expr

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        bound_condition(self.condition, stream)
        return (stream,) * len(self.outputs)

    def passes(self) -> Expr | None:
        """See `Passes`."""
        return self.condition if len(self.outputs) == 1 else None

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        return _Filter(bound_condition(self.condition, inputs[0]), len(self.outputs) > 1)

    def reads(
        self, wanted: Sequence[frozenset[str] | None], inputs: Sequence[StreamType]
    ) -> frozenset[str] | None:
        return all_of([*wanted, columns(self.condition)])

    def describe(self) -> str:
        return repr(self.condition)


@dataclass(frozen=True, eq=False)
class Split(Filter):
    """Two streams: the rows for which a condition is true, and all others (false or null)."""

    kind: ClassVar[str] = "split"
    outputs: ClassVar[tuple[str, ...]] = ("out", "rest")


@dataclass(frozen=True, eq=False)
class SplitBy(OperatorSpec):
    """A stream for each named condition, and `rest`: a row goes to the first that is true for it."""

    kind: ClassVar[str] = "split"
    takes_codes: ClassVar[bool] = True

    conditions: tuple[tuple[str, Expr], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", (*(name for name, _ in self.conditions), "rest"))

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        for _, condition in self.conditions:
            bound_condition(condition, stream)
        return (stream,) * len(self.outputs)

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        return _SplitBy([bound_condition(condition, inputs[0]) for _, condition in self.conditions])

    def reads(
        self, wanted: Sequence[frozenset[str] | None], inputs: Sequence[StreamType]
    ) -> frozenset[str] | None:
        return all_of([*wanted, *(columns(condition) for _, condition in self.conditions)])

    def describe(self) -> str:
        return ", ".join(f"{name}: {condition!r}" for name, condition in self.conditions)


class _Filter(Operator):
    keeps_stamps: ClassVar[bool] = True

    def __init__(self, condition: Bound, both: bool) -> None:
        self._condition = condition
        self._both = both

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        mask = true_rows(self._condition, batch)
        outputs = [(0, batch.filter(mask))]
        if self._both:
            outputs.append((1, batch.filter(~mask)))
        return outputs


class _SplitBy(Operator):
    def __init__(self, conditions: Sequence[Bound]) -> None:
        self._conditions = tuple(conditions)

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        left = np.ones(batch.num_rows, np.bool_)
        outputs = []
        for port_out, condition in enumerate(self._conditions):
            mask = true_rows(condition, batch) & left
            left &= ~mask
            outputs.append((port_out, batch.filter(mask)))
        outputs.append((len(self._conditions), batch.filter(left)))
        return [output for output in outputs if output[1].num_rows]


@dataclass(frozen=True, eq=False)
class KeyBy(OperatorSpec):
    """Key the stream by columns: what follows works per combination of their values."""

    kind: ClassVar[str] = "key_by"
    takes_codes: ClassVar[bool] = True

    columns: tuple[str, ...]

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        for name in self.columns:
            index = stream.schema.get_field_index(name)
            if index < 0:
                raise UnknownColumnError.of(name, stream.schema.names)
            check_key_type(name, stream.schema.field(index).type)
        return (replace(stream, keys=self.columns),)

    def passes(self) -> Expr | None:
        """See `Passes`."""
        return EVERY_ROW

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        return Passing()

    def reads(
        self, wanted: Sequence[frozenset[str] | None], inputs: Sequence[StreamType]
    ) -> frozenset[str] | None:
        return all_of([*wanted, frozenset(self.columns)])

    def describe(self) -> str:
        return ", ".join(self.columns)


@dataclass(frozen=True, eq=False)
class Unkey(OperatorSpec):
    """The stream without its keys: what follows works over all rows."""

    kind: ClassVar[str] = "unkey"
    takes_codes: ClassVar[bool] = True

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        return (replace(inputs[0], keys=()),)

    def passes(self) -> Expr | None:
        """See `Passes`."""
        return EVERY_ROW

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        return Passing()

    def reads(
        self, wanted: Sequence[frozenset[str] | None], inputs: Sequence[StreamType]
    ) -> frozenset[str] | None:
        return wanted[0]


class Passing(Operator):
    """Every row on, as it came."""

    keeps_stamps: ClassVar[bool] = True

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        return ((0, batch),)


@dataclass(frozen=True, eq=False)
class Union(OperatorSpec):
    """The rows of all inputs, in the order in which they come; the watermark is the least of theirs.

    With a changelog among them the result is one, and append-only rows are insertions in it. What
    named a row of one input may name a row of another, so the identity is lost.
    """

    kind: ClassVar[str] = "union"
    takes_codes: ClassVar[bool] = True

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        first = inputs[0]
        for i, other in enumerate(inputs[1:], start=2):
            if _columns(other) != _columns(first):
                raise TypeMismatchError(
                    f"input {i} of a union has other columns than input 1",
                    expected=", ".join(f"{f.name} {f.type}" for f in first.schema),
                    found=", ".join(f"{f.name} {f.type}" for f in other.schema),
                    remedy="`select` the same names and types, in the same order, before the union",
                )
        keys = first.keys if all(other.keys == first.keys for other in inputs) else ()
        never_null = [not any(s.schema.field(i).nullable for s in inputs) for i in range(len(first.schema))]
        fields = [f.with_nullable(not never) for f, never in zip(first.schema, never_null, strict=True)]
        changes = Changelog(None) if any(s.changes is not None for s in inputs) else None
        event_time, lateness = all(s.event_time for s in inputs), max(s.lateness for s in inputs)
        return (StreamType(pa.schema(fields), event_time, keys, changes, lateness),)

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        (out,) = self.bind(inputs)
        return _Union(out)


def _columns(stream: StreamType) -> list[tuple[str, pa.DataType]]:
    return [(field.name, field.type) for field in stream.schema]


class _Union(Operator):
    """Every row on, with what all inputs have: nulls where one may hold them, event time where all do."""

    keeps_stamps: ClassVar[bool] = True

    def __init__(self, out: StreamType) -> None:
        self._out = out

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        times = batch.event_time if self._out.event_time else None
        changes = batch.changes
        if changes is None and self._out.changes is not None:
            changes = np.full(batch.num_rows, INSERT, np.int8)
        columns, stamps = batch.columns, batch.judged_by
        found = Batch(self._out.schema, columns, batch.num_rows, times, changes, stamps)
        found.origin = batch.origin
        return ((0, found),)
