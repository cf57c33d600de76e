"""The user's own Python a batch at a time: `map_batches`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Batch
from streamlib.core.canonical import function_id, function_name
from streamlib.core.changes import kept
from streamlib.core.contracts import Operator, OperatorSpec, Output, StreamType
from streamlib.core.errors import StreamlibError, UserFunctionError, shown
from streamlib.operators.identity import after_function, check_identity, left_alone

ROW = "__row__"
"""The hidden column of `map_batches`: int32, the number of the row in the batch it got."""


@dataclass(frozen=True, eq=False)
class MapBatches(OperatorSpec):
    """One Arrow batch in, one out, by a Python function over whole columns."""

    kind: ClassVar[str] = "map_batches"

    function: Callable[[pa.RecordBatch], pa.RecordBatch]
    schema: pa.Schema | None

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        return (after_function(stream, self._columns(stream)),)

    def _columns(self, stream: StreamType) -> pa.Schema:
        schema = stream.schema if self.schema is None else self.schema
        return pa.schema([f for f in schema if f.name != ROW])

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        (out,) = self.bind(inputs)
        return _MapBatches(self.function, out.schema, self._follows_rows(), left_alone(out))

    def _follows_rows(self) -> bool:
        return self.schema is not None and ROW in self.schema.names

    def describe(self) -> str:
        return function_name(self.function)

    @property
    def order_sensitive(self) -> str | None:
        return None if self._follows_rows() else f"order trusted (return {ROW} to change it)"


class _MapBatches(Operator):
    keeps_stamps: ClassVar[bool] = True

    def __init__(
        self, function: Callable[[Any], Any], schema: pa.Schema, follows: bool, identity: tuple[str, ...]
    ) -> None:
        self._function = function
        self._schema = schema
        self._follows = follows
        self._identity = identity

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        rows = batch.to_arrow().append_column(ROW, pa.array(np.arange(batch.num_rows, dtype=np.int32)))
        result = _one_batch(self._call(rows), self._function)
        self._check_names(result.schema.names)
        parents = self._parents(batch, result)
        try:
            fitted = result.select(self._schema.names).cast(self._schema)
        except (pa.ArrowException, ValueError) as cause:
            raise self._wrong(f"{result.schema.to_string()}", f"{self._schema.to_string()}") from cause
        times, changes, stamps = batch.event_time, batch.changes, batch.judged_by
        if parents is not None:
            times = None if times is None else times.take(parents)
            changes = None if changes is None else kept(changes, parents)
            stamps = None if stamps is None else stamps.take(parents)
        found = Batch(fitted.schema, fitted.columns, fitted.num_rows, times, changes, stamps)
        if batch.origin is not None:
            found.origin = batch.origin if parents is None else batch.origin[parents]
        check_identity(batch, found, self._identity, parents, function_id(self._function))
        return ((0, found),) if fitted.num_rows else ()

    def _call(self, rows: pa.RecordBatch) -> Any:
        try:
            return self._function(rows)
        except StreamlibError:
            raise
        except Exception as error:
            error.add_note(f"while {function_id(self._function)} mapped a batch of {rows.num_rows} rows")
            raise

    def _check_names(self, names: list[str]) -> None:
        expected = [*self._schema.names, *([ROW] if self._follows else [])]
        if sorted(names) not in (sorted(expected), sorted([*self._schema.names, ROW])):
            raise self._wrong(f"columns {', '.join(names)}", f"columns {', '.join(expected)}")

    def _parents(self, batch: Batch, result: pa.RecordBatch) -> npt.NDArray[np.intp] | None:
        """The row that each result row came from; None where they are the same rows in the same order."""
        if ROW not in result.schema.names:
            if result.num_rows != batch.num_rows:
                raise self._wrong(
                    f"{result.num_rows} rows without {ROW}",
                    f"{batch.num_rows} rows, or the column {ROW} that tells which row each came from",
                )
            return None
        given = result.column(ROW)
        if given.null_count or not pa.types.is_integer(given.type):
            raise self._wrong(
                f"{ROW} of type {given.type} with {given.null_count} nulls",
                f"{ROW} as it was given: integers without nulls",
            )
        parents = given.to_numpy().astype(np.intp)
        if len(parents) and not (parents.min() >= 0 and parents.max() < batch.num_rows):
            raise self._wrong(
                f"{ROW} from {parents.min()} to {parents.max()}", f"{ROW} from 0 to {batch.num_rows - 1}"
            )
        if batch.changes is not None and (parents[1:] <= parents[:-1]).any():
            raise self._wrong(
                f"{ROW} that repeats or goes back",
                f"of a changelog, {ROW} rising: rows may be dropped, but neither added nor moved",
            )
        return parents

    def _wrong(self, found: str, expected: str) -> UserFunctionError:
        return UserFunctionError(
            f"{function_id(self._function)} returned a batch that can't be used",
            expected=expected,
            found=found,
            remedy="see `map_batches`; pass `schema=` where the columns change",
        )


def _one_batch(returned: Any, function: Callable[..., Any]) -> pa.RecordBatch:
    if isinstance(returned, pa.Table):
        batches = returned.combine_chunks().to_batches()
        return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=returned.schema)
    if isinstance(returned, pa.RecordBatch):
        return returned
    raise UserFunctionError(
        f"{function_id(function)} did not return a batch",
        expected="a pyarrow.RecordBatch or pyarrow.Table",
        found=shown(returned),
        remedy="return the batch at the end of the function",
    )
