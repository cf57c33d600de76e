"""Computes `udf`s: rows and columns into the user's Python, and its results back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.batch import Batch, as_arrow, as_numpy
from streamlib.core.errors import UserFunctionError, shown
from streamlib.core.expressions.failures import python_value
from streamlib.core.expressions.functions import Call
from streamlib.core.expressions.types import Family, family, type_text
from streamlib.core.expressions.values import Node, UserRaisedError, Value, to_arrow
from streamlib.core.python_values import UNFIT, first_unfit, from_python, python_values

_NUMPY = frozenset({Family.BOOL, Family.INT, Family.FLOAT, Family.TIMESTAMP, Family.DATE, Family.DURATION})


def bind_call(expr: Call, arguments: Sequence[Node]) -> Node:
    """The call on arguments that have a value for every row."""
    kind = CallColumns if expr.function.vectorized else CallRows
    return kind(expr, arguments)


class _Calling(Node):
    """What both kinds share: arguments without the rows to skip, and results back among them."""

    def __init__(self, expr: Call, arguments: Sequence[Node]) -> None:
        self.dtype = expr.function.dtype
        self._expr = expr
        self._function = expr.function.function
        self._skips = expr.function.nulls == "skip"
        self._arguments = arguments

    def run(self, batch: Batch) -> Value:
        arrays = [to_arrow(node.run(batch), node.dtype) for node in self._arguments]
        present = self._present(arrays)
        if present is None:
            return self._compute(arrays, None)
        rows = pa.array(np.flatnonzero(present))
        results = self._compute([array.take(rows) for array in arrays], rows)
        return results.take(pa.array(np.cumsum(present) - 1, mask=~present))

    def _present(self, arrays: Sequence[pa.Array]) -> np.ndarray | None:
        """The rows without nulls, if some are skipped."""
        holes = [array for array in arrays if array.null_count] if self._skips else []
        if not holes:
            return None
        valid = reduce(pc.and_, [pc.is_valid(array) for array in holes])
        return valid.to_numpy(zero_copy_only=False)

    def _compute(self, arrays: Sequence[pa.Array], rows: pa.Array | None) -> pa.Array:
        raise NotImplementedError

    def _wrong(self, expected: str, found: str) -> UserFunctionError:
        return UserFunctionError(
            f"{self._expr.function.name} returned what can't be used",
            expected=expected,
            found=found,
            remedy="correct the function, or give sl.udf another result type",
        )

    def _described(self, values: Sequence[object]) -> str:
        """The arguments by name and value; each cut short."""
        named = zip(self._expr.arguments, values, strict=True)
        return ", ".join(f"{argument!r} = {shown(value)}" for argument, value in named)


class CallRows(_Calling):
    """One call for every row."""

    def _compute(self, arrays: Sequence[pa.Array], rows: pa.Array | None) -> pa.Array:
        values = [python_values(a, n.dtype) for a, n in zip(arrays, self._arguments, strict=True)]
        results: list[Any] = []
        try:
            results.extend(map(self._function, *values))  # what came before a failure is kept
        except Exception as error:
            error.add_note(
                f"while {self._expr.function.name} computed {self._place(values, rows, len(results))}"
            )
            raise UserRaisedError(error) from error
        field = pa.field("", self.dtype)
        try:
            return from_python(results, field)
        except UNFIT as cause:
            raise self._mistyped(results, values, rows, field, cause) from cause

    def _mistyped(
        self,
        results: list[Any],
        values: list[list[Any]],
        rows: pa.Array | None,
        field: pa.Field,
        cause: Exception,
    ) -> UserFunctionError:
        row = first_unfit(results, field)
        found = str(cause)
        if row is not None:
            kind = type(results[row]).__qualname__
            found = f"{shown(results[row])} of type {kind} for {self._place(values, rows, row)}"
        return self._wrong(f"values of type {type_text(self.dtype)}, or None", found)

    def _place(self, values: list[list[Any]], rows: pa.Array | None, row: int) -> str:
        """A row and its values for people; `rows` are those that were not skipped."""
        number = row if rows is None else rows[row].as_py()
        return f"row {number} of the batch: {self._described([column[row] for column in values])}"


class CallColumns(_Calling):
    """One call for every batch."""

    def _compute(self, arrays: Sequence[pa.Array], rows: pa.Array | None) -> pa.Array:
        count = len(arrays[0])
        if not count:
            return pa.array([], self.dtype)
        try:
            returned = self._function(*(self._given(array) for array in arrays))
        except Exception as error:
            first = self._described([python_value(array[0]) for array in arrays])
            error.add_note(
                f"while {self._expr.function.name} computed a batch of {count} rows; the first: {first}"
            )
            raise UserRaisedError(error) from error
        result = self._arrow(returned)
        if len(result) != count:
            raise self._wrong(f"a column of {count} rows, as many as it was given", f"{len(result)} rows")
        return result

    def _given(self, array: pa.Array) -> pa.Array | np.ndarray:
        if self._skips and family(array.type) in _NUMPY and not pa.types.is_dictionary(array.type):
            if pa.types.is_temporal(array.type):
                return array.to_numpy(zero_copy_only=False)
            return as_numpy(array)
        return array

    def _arrow(self, returned: object) -> pa.Array:
        try:
            column = _column(returned)
            if column is None:
                raise self._wrong(
                    "a numpy array of one dimension, a pyarrow.Array, or a series of Polars or pandas",
                    f"{shown(returned)} of type {type(returned).__qualname__}",
                )
            return self._cast(column)
        except UNFIT as cause:
            if isinstance(cause, UserFunctionError):
                raise
            raise self._wrong(
                f"values of type {type_text(self.dtype)}", str(cause).splitlines()[0]
            ) from cause

    def _cast(self, column: pa.Array) -> pa.Array:
        # as `cast` in expressions: strict, but floats may round
        return (
            as_arrow(column)
            if column.type == self.dtype
            else column.cast(self.dtype, safe=family(self.dtype) is not Family.FLOAT)
        )


def _column(returned: Any) -> pa.Array | None:
    if isinstance(returned, pa.Array):
        return returned
    if isinstance(returned, np.ndarray):
        return pa.array(returned) if returned.ndim == 1 else None
    if isinstance(returned, pa.ChunkedArray) or hasattr(returned, "__arrow_c_stream__"):
        chunked = returned if isinstance(returned, pa.ChunkedArray) else pa.chunked_array(returned)
        return chunked.combine_chunks()
    return pa.array(returned) if hasattr(returned, "__arrow_c_array__") else None
