"""`drop` and `rename`: which columns there are, and what they are called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import pyarrow as pa

from streamlib.core.batch import Batch
from streamlib.core.contracts import Operator, OperatorSpec, Output, StreamType
from streamlib.core.errors import DefinitionError
from streamlib.core.expressions import Expr, lit
from streamlib.core.lazy_columns import LazyColumns
from streamlib.operators.identity import carried


@dataclass(frozen=True, eq=False)
class Drop(OperatorSpec):
    """All columns but these."""

    kind: ClassVar[str] = "drop"
    takes_codes: ClassVar[bool] = True

    columns: tuple[str, ...]

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        for name in self.columns:
            stream.field(name)
        fields = [field for field in stream.schema if field.name not in self.columns]
        if not fields:
            raise DefinitionError(
                "no column would be left",
                expected="at least one column that stays",
                found=f"drop({', '.join(map(repr, self.columns))})",
                remedy="keep one of them",
            )
        changes = carried(stream, {field.name: field.name for field in fields})
        return (replace(stream, schema=pa.schema(fields), changes=changes),)

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        (stream,) = inputs
        (out,) = self.bind(inputs)
        return _Choosing(out.schema, [stream.schema.get_field_index(name) for name in out.schema.names])

    def reads(
        self, wanted: Sequence[frozenset[str] | None], inputs: Sequence[StreamType]
    ) -> frozenset[str] | None:
        left = [name for name in inputs[0].schema.names if name not in self.columns]
        return frozenset(left[:1] if wanted[0] == frozenset() else left if wanted[0] is None else wanted[0])

    def passes(self) -> Expr | None:
        """See `Passes`."""
        return lit(True)

    def narrowed(self, stream: StreamType) -> Drop:
        return replace(self, columns=tuple(name for name in self.columns if name in stream.schema.names))

    def describe(self) -> str:
        return ", ".join(self.columns)


@dataclass(frozen=True, eq=False)
class Rename(OperatorSpec):
    """The same columns, some with other names: pairs of the name before and after."""

    kind: ClassVar[str] = "rename"
    takes_codes: ClassVar[bool] = True

    names: tuple[tuple[str, str], ...]

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        for name, _ in self.names:
            stream.field(name)
        names = dict(zip(stream.schema.names, stream.schema.names, strict=True)) | dict(self.names)
        twice = sorted({name for name in names.values() if list(names.values()).count(name) > 1})
        if twice:
            raise DefinitionError(
                f"two columns would be called {', '.join(map(repr, twice))}",
                expected="a name of its own for every column",
                found=self.describe(),
                remedy="choose another name, or `drop` the other column first",
            )
        schema = pa.schema([field.with_name(names[field.name]) for field in stream.schema])
        keys = tuple(names.get(key, key) for key in stream.keys)
        return (replace(stream, schema=schema, keys=keys, changes=carried(stream, names)),)

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        (out,) = self.bind(inputs)
        return _Choosing(out.schema, range(len(out.schema)))

    def reads(
        self, wanted: Sequence[frozenset[str] | None], inputs: Sequence[StreamType]
    ) -> frozenset[str] | None:
        before = {after: name for name, after in self.names}
        return None if wanted[0] is None else frozenset(before.get(name, name) for name in wanted[0])

    def narrowed(self, stream: StreamType) -> Rename:
        return replace(self, names=tuple(pair for pair in self.names if pair[0] in stream.schema.names))

    def describe(self) -> str:
        return ", ".join(f"{before} -> {after}" for before, after in self.names)


class _Choosing(Operator):
    """The columns at some indices, under other names."""

    keeps_stamps: ClassVar[bool] = True

    def __init__(self, schema: pa.Schema, indices: Sequence[int]) -> None:
        self._schema = schema
        self._indices = tuple(indices)

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        below, indices = batch.columns, self._indices
        columns = LazyColumns(len(indices), lambda i: below[indices[i]])
        return ((0, batch.replaced(self._schema, columns)),)
