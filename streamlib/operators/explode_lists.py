"""`explode`: a row for every element of a list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.batch import Batch, as_arrow
from streamlib.core.contracts import Operator, OperatorSpec, Output, StreamType
from streamlib.core.errors import DefinitionError, TypeMismatchError, shown
from streamlib.operators.unfolding import MOST_ROWS, Parents, unfolded, unfolded_type

Lengths = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Explode(OperatorSpec):
    """One row per element of list columns, whose lists are as long as each other; all else is repeated."""

    kind: ClassVar[str] = "explode"

    columns: tuple[str, ...]

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        for name in self.columns:
            dtype = stream.field(name).type
            if not _is_list(dtype):
                raise TypeMismatchError(
                    f"the column {name!r} can't be exploded",
                    expected="a list",
                    found=str(dtype),
                    remedy="name a column of lists",
                )
        fields = [
            pa.field(field.name, field.type.value_type) if field.name in self.columns else field
            for field in stream.schema
        ]
        return (unfolded_type(stream, pa.schema(fields)),)

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        (out,) = self.bind(inputs)
        return _Explode(self.columns, out.schema)

    def reads(
        self, wanted: Sequence[frozenset[str] | None], inputs: Sequence[StreamType]
    ) -> frozenset[str] | None:
        return None if wanted[0] is None else wanted[0] | frozenset(self.columns)

    def describe(self) -> str:
        return ", ".join(self.columns)


def _is_list(dtype: pa.DataType) -> bool:
    return pa.types.is_list(dtype) or pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype)


class _Explode(Operator):
    def __init__(self, columns: tuple[str, ...], schema: pa.Schema) -> None:
        self._columns = columns
        self._schema = schema

    def on_batch(self, batch: Batch, port: int) -> Iterator[Output]:
        rows_of = np.maximum(self._lengths(batch), 1)
        ends = np.cumsum(rows_of)
        start = 0
        while start < batch.num_rows:  # so many rows at a time as unfold to a bounded number, at least one
            before = ends[start - 1] if start else 0
            stop = max(int(np.searchsorted(ends, before + MOST_ROWS, "right")), start + 1)
            yield 0, self._exploded(batch.slice(start, stop), rows_of[start:stop])
            start = stop

    def _lengths(self, batch: Batch) -> Lengths:
        lengths = [_list_lengths(as_arrow(batch.column(name))) for name in self._columns]
        for name, other in zip(self._columns[1:], lengths[1:], strict=True):
            if (other != lengths[0]).any():
                row = int(np.flatnonzero(other != lengths[0])[0])
                raise DefinitionError(
                    f"the lists of {self._columns[0]!r} and {name!r} can't be exploded together",
                    expected="lists of one length in every row",
                    found=f"{lengths[0][row]} and {other[row]} elements in row {row} of the batch: "
                    f"{shown(as_arrow(batch.column(self._columns[0]))[row].as_py())}",
                    remedy="explode them one after the other, which gives every combination",
                )
        return lengths[0]

    def _exploded(self, batch: Batch, rows_of: Lengths) -> Batch:
        parents: Parents = np.repeat(np.arange(batch.num_rows), rows_of)
        repeated = batch.take(parents)
        columns: list[Any] = [
            _elements(as_arrow(batch.columns[i])) if field.name in self._columns else repeated.columns[i]
            for i, field in enumerate(self._schema)
        ]
        return unfolded(batch, self._schema, columns, parents)


def _list_lengths(array: pa.Array) -> Lengths:
    """The length of each list; 0 for null."""
    return pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)


def _elements(array: pa.Array) -> pa.Array:
    """All elements, and a null for each list that is empty or null."""
    lengths, values = _list_lengths(array), array.drop_null().flatten()
    if lengths.all():
        return values
    rows_of = np.maximum(lengths, 1)
    nothing = np.repeat(lengths == 0, rows_of)
    return values.take(pa.array(np.cumsum(~nothing) - 1, mask=nothing))
