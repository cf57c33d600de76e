"""`to_changelog`: the changes of a table as rows that are only appended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Batch
from streamlib.core.changes import BEFORE, INSERT, symbols
from streamlib.core.contracts import Operator, OperatorSpec, Output, StreamType
from streamlib.core.errors import DefinitionError


@dataclass(frozen=True, eq=False)
class ToChangelog(OperatorSpec):
    """Every change as a row, with what happened in a column of its own."""

    kind: ClassVar[str] = "to_changelog"

    upsert: bool
    column: str

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        if self.column in stream.schema.names:
            raise DefinitionError(
                f"there is a column {self.column!r} already",
                expected="a name for the kind of change that no column has",
                found=", ".join(stream.schema.names),
                remedy='give another one, for example `to_changelog(column="change")`',
            )
        if self.upsert and stream.changes is not None and stream.changes.identity is None:
            raise DefinitionError(
                "an upsert says which row is replaced, and the rows of this changelog have no identity",
                expected="a changelog with identity, as it comes out of an aggregate",
                found="a changelog whose identity was lost: by a union, or a column dropped or replaced",
                remedy='keep the columns that name a row, or use encoding="retract"',
            )
        schema = stream.schema.append(pa.field(self.column, pa.string(), nullable=False))
        return (replace(stream, schema=schema, changes=None),)

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        (out,) = self.bind(inputs)
        return _ToChangelog(out.schema, self.upsert)

    def reads(
        self, wanted: Sequence[frozenset[str] | None], inputs: Sequence[StreamType]
    ) -> frozenset[str] | None:
        return None if wanted[0] is None else wanted[0] - {self.column}

    def describe(self) -> str:
        return f"{'upsert' if self.upsert else 'retract'}, as {self.column!r}"


class _ToChangelog(Operator):
    def __init__(self, schema: pa.Schema, upsert: bool) -> None:
        self._schema = schema
        self._upsert = upsert

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        changes = np.full(batch.num_rows, INSERT, np.int8) if batch.changes is None else batch.changes
        if self._upsert and (changes == BEFORE).any():
            rows = np.flatnonzero(changes != BEFORE)
            batch, changes = batch.take(rows), changes.take(rows)
        columns = [*batch.columns, symbols(changes)]
        return ((0, Batch(self._schema, columns, batch.num_rows, batch.event_time)),)
