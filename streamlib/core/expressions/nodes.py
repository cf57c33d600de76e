"""Bound expressions: each node computes its rows from a batch, everything else was settled before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.batch import Batch, as_arrow
from streamlib.core.errors import InvariantError, StreamlibError
from streamlib.core.expressions.failures import first_failing_row, python_value
from streamlib.core.expressions.kernels import Kernel, is_quiet
from streamlib.core.expressions.types import TEMPORAL, Family, common_type, computing_type, family, type_text
from streamlib.core.expressions.values import Constant, Node, UserRaisedError, Value, Vector, to_arrow, vector

EVENT_TIME_TYPE = pa.timestamp("us", tz="UTC")
_NUMPY_FAMILIES = frozenset({Family.BOOL, Family.INT, Family.FLOAT}) | TEMPORAL


class ReadColumn(Node):
    """A column of the batch, by position."""

    quiet = True

    def __init__(self, index: int, dtype: pa.DataType) -> None:
        self.dtype = dtype
        self._index = index
        self._plain = not pa.types.is_dictionary(dtype)
        self._numpy = family(dtype) in _NUMPY_FAMILIES and not pa.types.is_dictionary(dtype)

    def run(self, batch: Batch) -> Value:
        column = batch.columns[self._index]
        if isinstance(column, np.ndarray):
            return column if self._numpy and column.dtype.kind in "biuf" else as_arrow(column, self.dtype)
        if self._plain and isinstance(column, pa.DictionaryArray):  # as a reader gave them
            return as_arrow(column, self.dtype)
        return column

    def encoded(self, batch: Batch) -> Value:
        column = batch.columns[self._index]
        return column if isinstance(column, pa.DictionaryArray) else self.run(batch)


class ReadEventTime(Node):
    """The hidden vector of event times."""

    dtype = EVENT_TIME_TYPE
    quiet = True

    def run(self, batch: Batch) -> Value:
        if batch.event_time is None:
            raise InvariantError("a batch without event times in a stream that has them")
        return batch.event_time


class Spread(Node):
    """A constant, once for every row."""

    fresh = True
    quiet = True

    def __init__(self, constant: Constant) -> None:
        self.dtype = constant.dtype
        self._constant = constant

    def run(self, batch: Batch) -> Value:
        if self._constant.vector is None:
            return pa.repeat(self._constant.scalar, batch.num_rows)
        return np.full(batch.num_rows, self._constant.vector)


class Apply(Node):
    """A kernel on two operands, of which at most one is constant."""

    fresh = True

    def __init__(self, kernel: Kernel, left: Node, right: Node, dtype: pa.DataType) -> None:
        self.dtype = dtype
        self.quiet = is_quiet(kernel) and left.quiet and right.quiet
        self._kernel = kernel
        self._left = left.run
        self._right = right.run
        self._left_reusable = left.fresh and left.dtype == dtype
        self._right_reusable = right.fresh and right.dtype == dtype

    def run(self, batch: Batch) -> Value:
        left, right = self._left(batch), self._right(batch)
        # A fresh node may still hand over a view of an Arrow array: those are read-only.
        if self._left_reusable and isinstance(left, np.ndarray) and left.flags.writeable:
            return self._kernel(left, right, left)
        if self._right_reusable and isinstance(right, np.ndarray) and right.flags.writeable:
            return self._kernel(left, right, right)
        return self._kernel(left, right, None)


class ApplyOne(Node):
    """A pair of kernels on one operand; without a numpy kernel only Arrow's."""

    fresh = True

    def __init__(
        self, numpy: Any, arrow: Callable[[pa.Array], pa.Array], operand: Node, dtype: pa.DataType
    ) -> None:
        self.dtype = dtype
        self._numpy = numpy
        self._arrow = arrow
        self._operand = operand

    def run(self, batch: Batch) -> Value:
        value = self._operand.run(batch)
        plain = vector(value)
        if plain is None or self._numpy is None:
            return self._arrow(to_arrow(value, self._operand.dtype))
        return self._numpy(plain)


class Ticks(Node):
    """The integers behind a temporal operand, so that integer kernels compute with it."""

    def __init__(self, operand: Node) -> None:
        self.dtype = ticks_type(operand.dtype)
        self.fresh, self.quiet = operand.fresh, operand.quiet
        self._operand = operand

    def run(self, batch: Batch) -> Value:
        value = self._operand.run(batch)
        plain = vector(value)
        return to_arrow(value, self._operand.dtype).view(self.dtype) if plain is None else plain


class FromTicks(Node):
    """Integers as the ticks of a temporal type."""

    def __init__(self, operand: Node, dtype: pa.DataType) -> None:
        self.dtype = dtype
        self.fresh, self.quiet = operand.fresh, operand.quiet
        self._operand = operand

    def run(self, batch: Batch) -> Value:
        value = self._operand.run(batch)
        return value if isinstance(value, np.ndarray | Constant) else value.view(self.dtype)


def ticks_type(dtype: pa.DataType) -> pa.DataType:
    """The integer type behind a temporal type."""
    return pa.int32() if dtype.bit_width == 32 else pa.int64()


class NullTest(Node):
    """Whether a value is null, or whether it is not."""

    dtype = pa.bool_()
    fresh = True

    def __init__(self, operand: Node, negated: bool) -> None:
        self._operand = operand
        self._negated = negated
        self._kernel = pc.is_valid if negated else pc.is_null

    def run(self, batch: Batch) -> Value:
        value = self._operand.run(batch)
        return (
            np.full(batch.num_rows, self._negated) if isinstance(value, np.ndarray) else self._kernel(value)
        )


class Fill(Node):
    """The operand, or the filler where it is null; both are of `dtype`."""

    def __init__(self, operand: Node, filler: Node) -> None:
        self.dtype = operand.dtype
        self.fresh = operand.fresh
        self._operand = operand
        self._filler = filler

    def run(self, batch: Batch) -> Value:
        value = self._operand.run(batch)
        if isinstance(value, np.ndarray | Constant) or not value.null_count:
            return value
        return pc.coalesce(value, to_arrow(self._filler.run(batch), self.dtype))


class Convert(Node):
    """A cast, the user's or the one that brings operands to their common type.

    `failed(row, value)` makes the error for the first value that does not fit.
    """

    fresh = True

    def __init__(
        self, operand: Node, dtype: pa.DataType, failed: Callable[[int, object], StreamlibError]
    ) -> None:
        self.dtype = dtype
        self._operand = operand
        self._failed = failed
        self.quiet = operand.quiet and family(operand.dtype) is not Family.FLOAT
        self._numpy = _numpy_target(operand.dtype, dtype)
        self._safe = family(dtype) is not Family.FLOAT  # Arrow calls it unsafe to round 2^53 + 1

    def run(self, batch: Batch) -> Value:
        value = self._operand.run(batch)
        if self._numpy is not None:
            plain = value if isinstance(value, np.ndarray) else vector(value)
            if plain is not None:
                return plain.astype(self._numpy)
        array = to_arrow(value, self._operand.dtype)
        try:
            return self._cast(array)
        except pa.ArrowInvalid:
            row = first_failing_row(
                lambda start, stop: self._cast(array.slice(start, stop - start)), len(array)
            )
            raise self._failed(row, python_value(array[row])) from None

    def _cast(self, array: pa.Array) -> pa.Array:
        return array.cast(self.dtype, safe=self._safe)


def _numpy_target(source: pa.DataType, target: pa.DataType) -> np.dtype[Any] | None:
    """The numpy type for casts that numpy does as Arrow does: to floats, and to wider integers."""
    kinds = family(source), family(target)
    to_float = kinds[0] in {Family.BOOL, Family.INT, Family.FLOAT} and kinds[1] is Family.FLOAT
    widening = kinds == (Family.INT, Family.INT) and common_type(source, target) == target
    plain = computing_type(source) == source and computing_type(target) == target
    return np.dtype(type_text(target)) if plain and (to_float or widening) else None


class Choose(Node):
    """The value of the first branch whose condition is true; all values are of one type.

    Branches are computed for all rows, which is cheapest. One that fails is computed again for the
    rows that take it, so that conditions guard their branches.
    """

    fresh = True

    def __init__(self, branches: list[tuple[Node, Node]], default: Node) -> None:
        self.dtype = default.dtype
        self._conditions = [condition for condition, _ in branches]
        self._values = [value for _, value in branches]
        self._default = default

    def run(self, batch: Batch) -> Value:
        masks = [_truth(condition.run(batch)) for condition in self._conditions]
        result = self._branch(self._default, batch, masks, None)
        for i in reversed(range(len(masks))):
            value = self._branch(self._values[i], batch, masks[:i], masks[i])
            result = self._where(masks[i], value, result)
        return result

    def _where(self, mask: Vector, value: Value, other: Value) -> Value:
        a, b = vector(value), vector(other)
        if a is not None and b is not None:
            return np.where(mask, a, b)
        return pc.if_else(pa.array(mask), to_arrow(value, self.dtype), to_arrow(other, self.dtype))

    def _branch(self, node: Node, batch: Batch, earlier: list[Vector], own: Vector | None) -> Value:
        try:
            return node.run(batch)
        except (StreamlibError, pa.ArrowException, UserRaisedError):
            taken = np.ones(batch.num_rows, np.bool_) if own is None else own
            for mask in earlier:
                taken = taken & ~mask
            if taken.all():
                raise
        try:
            rows = to_arrow(node.run(batch.filter(taken)), self.dtype)
        except StreamlibError as error:
            error.found = f"{error.found}, counting the rows that take the branch"
            raise
        except UserRaisedError as carrier:
            carrier.error.add_note("counting the rows that take the branch")
            raise
        return rows.take(pa.array(np.cumsum(taken) - 1, mask=~taken))


def _truth(value: Value) -> Vector:
    """Where a condition is true: null counts as false."""
    if isinstance(value, np.ndarray):
        return value
    flags = to_arrow(value, pa.bool_())
    return (flags.fill_null(False) if flags.null_count else flags).to_numpy(zero_copy_only=False)
