"""Kernels over two operands that were brought to their type before: numpy where it can, Arrow elsewhere.

Integers never wrap. numpy's kernels do, so that they run only where the least and largest operands
show that no result can leave the type; else Arrow's checked kernel decides, and names the row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.errors import ArithmeticOverflowError
from streamlib.core.expressions.ast import Expr
from streamlib.core.expressions.failures import first_failing_row, overflow, python_value
from streamlib.core.expressions.types import Family, family, integer_range
from streamlib.core.expressions.values import (
    Constant,
    Value,
    Vector,
    raw_vector,
    to_arrow,
    vector,
    with_nulls_of,
)

ArrowValue: TypeAlias = pa.Array | pa.Scalar


class Kernel(Protocol):
    """Computes a result from two operands, of which at most one is a constant.

    `out`, one of the operands, may be overwritten with the result. Allocating a vector costs more
    than computing it: fresh memory has to be mapped page by page.
    """

    def __call__(self, left: Value, right: Value, out: Vector | None) -> Value: ...


@dataclass(frozen=True)
class Elementwise:
    """Numbers, bools and ticks, by two kernels that agree bit for bit. Both operands are of `dtype`."""

    numpy: Any
    arrow: Callable[..., Any]
    dtype: pa.DataType

    def __call__(self, left: Value, right: Value, out: Vector | None) -> Value:
        a = left if isinstance(left, np.ndarray) else vector(left)
        b = right if isinstance(right, np.ndarray) else vector(right)
        if a is not None and b is not None:
            return self.numpy(a, b, out=out)
        return self.arrow(to_arrow(left, self.dtype), to_arrow(right, self.dtype))


@dataclass(frozen=True)
class Logic:
    """Kleene's `&`, `|`, and `^`. Bits stay packed where both operands have them packed."""

    numpy: Any
    arrow: Callable[..., Any]

    def __call__(self, left: Value, right: Value, out: Vector | None) -> Value:
        if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
            a, b = vector(left), vector(right)
            if a is not None and b is not None:
                return self.numpy(a, b, out=out)
        return self.arrow(to_arrow(left, pa.bool_()), to_arrow(right, pa.bool_()))


@dataclass(frozen=True)
class ArrowOnly:
    """Text, bytes and decimals, which numpy has no kernels for."""

    arrow: Callable[..., Any]
    left: pa.DataType
    right: pa.DataType

    def __call__(self, left: Value, right: Value, out: Vector | None) -> Value:
        return self.arrow(to_arrow(left, self.left), to_arrow(right, self.right))


@dataclass(frozen=True)
class NumpyOnly:
    """Numbers for which Arrow lacks the kernel: computed under the nulls too, then nulled again."""

    numpy: Any

    def __call__(self, left: Value, right: Value, out: Vector | None) -> Value:
        return with_nulls_of((left, right), self.numpy(raw_vector(left), raw_vector(right), out=out))


@dataclass(frozen=True)
class CheckedInt:
    """Exact `+`, `-`, `*` of integers of `dtype`; an `ArithmeticOverflowError` where they don't fit.

    `result` is the type the user sees: that of the integers, or the temporal type whose ticks they are.
    """

    expr: Expr
    numpy: Any
    arrow: Callable[..., Any]
    reach: Callable[[int, int, int, int], tuple[int, int]]
    dtype: pa.DataType
    result: pa.DataType

    def __call__(self, left: Value, right: Value, out: Vector | None) -> Value:
        a, b = vector(left), vector(right)
        if a is not None and b is not None and self._fits(a, b):
            return self.numpy(a, b, out=out)
        x, y = to_arrow(left, self.dtype), to_arrow(right, self.dtype)
        try:
            return self.arrow(x, y)
        except pa.ArrowInvalid:
            raise self._overflow(x, y) from None

    def _fits(self, a: Vector, b: Vector) -> bool:
        low, high = self.reach(*bounds(a), *bounds(b))
        least, most = integer_range(self.dtype)
        return least <= low and high <= most

    def _overflow(self, x: ArrowValue, y: ArrowValue) -> ArithmeticOverflowError:
        rows = len(x) if isinstance(x, pa.Array) else len(y)
        row = first_failing_row(
            lambda start, stop: self.arrow(_rows(x, start, stop), _rows(y, start, stop)), rows
        )
        return overflow(self.expr, self.result, row, _cell(x, row), _cell(y, row))


@dataclass(frozen=True)
class IntDivision:
    """`//` or `%` of integers of `dtype`, rounding down. A zero divisor gives null.

    A constant divisor is not zero: the binder has seen to that.
    """

    expr: Expr
    numpy: Callable[[Any, Any], Any]
    dtype: pa.DataType
    result: pa.DataType

    def __call__(self, left: Value, right: Value, out: Vector | None) -> Value:
        a, b = raw_vector(left), raw_vector(right)
        result = with_nulls_of((left, right), self.numpy(a, b), None if b.ndim == 0 else b == 0)
        if self.numpy is np.floor_divide:
            self._check(left, right, a, b)
        return result

    def _check(self, left: Value, right: Value, a: Vector, b: Vector) -> None:
        """The one quotient that leaves the type is the least integer by -1."""
        least, _ = integer_range(self.dtype)
        if least == 0 or bounds(b)[0] >= 0 or bounds(a)[0] > least:
            return
        wrapped = to_arrow(with_nulls_of((left, right), (a == least) & (b == -1)), pa.bool_())
        if pc.any(wrapped).as_py():
            row = pc.index(wrapped, True).as_py()
            raise overflow(self.expr, self.result, row, least, -1)


def remainder_by_constant(a: Vector, divisor: Vector) -> Vector:
    """`a % divisor` on vectors: numpy divides by a constant three times as fast as it takes remainders."""
    return a - a // divisor * divisor


@dataclass(frozen=True)
class CompareWords:
    """Compares dictionary-encoded text with a constant: each distinct word once."""

    arrow: Callable[..., Any]
    dtype: pa.DataType

    def __call__(self, left: Value, right: Value, out: Vector | None) -> Value:
        encoded: Any = right if isinstance(left, Constant) else left
        if len(encoded.dictionary) > len(encoded):  # a small slice of a batch with many words
            words, indices = encoded.cast(self.dtype), None
        else:
            words, indices = encoded.dictionary.cast(self.dtype), encoded.indices
        operands = (v.scalar if isinstance(v, Constant) else words for v in (left, right))
        matches = self.arrow(*operands)
        return matches if indices is None else matches.take(indices)


def is_quiet(kernel: Kernel) -> bool:
    """Whether a kernel can't make numpy warn, as floats and division by zero do."""
    if isinstance(kernel, Elementwise):
        return family(kernel.dtype) is not Family.FLOAT
    return isinstance(kernel, Logic | ArrowOnly | CheckedInt | CompareWords)


def divide_decimals(x: ArrowValue, y: ArrowValue) -> ArrowValue:
    """`x / y`, null where `y` is zero: decimals have no infinity."""
    return pc.divide(x, pc.if_else(pc.equal(y, pa.scalar(Decimal(0), y.type)), pa.scalar(None, y.type), y))


def join_text(x: ArrowValue, y: ArrowValue) -> ArrowValue:
    """The text of `x` followed by that of `y`, null where either is."""
    return pc.binary_join_element_wise(x, y, pa.scalar("", x.type))


def bounds(numbers: Vector) -> tuple[int, int]:
    """The least and the largest of some integers; zeros for none."""
    if numbers.ndim == 0:
        return int(numbers), int(numbers)
    if not len(numbers):
        return 0, 0
    return int(np.minimum.reduce(numbers)), int(np.maximum.reduce(numbers))


def sum_reach(a: int, b: int, c: int, d: int) -> tuple[int, int]:
    """The bounds of `x + y` for `a <= x <= b` and `c <= y <= d`."""
    return a + c, b + d


def difference_reach(a: int, b: int, c: int, d: int) -> tuple[int, int]:
    """The bounds of `x - y` for `a <= x <= b` and `c <= y <= d`."""
    return a - d, b - c


def product_reach(a: int, b: int, c: int, d: int) -> tuple[int, int]:
    """The bounds of `x * y` for `a <= x <= b` and `c <= y <= d`."""
    corners = a * c, a * d, b * c, b * d
    return min(corners), max(corners)


def _rows(value: ArrowValue, start: int, stop: int) -> ArrowValue:
    return value.slice(start, stop - start) if isinstance(value, pa.Array) else value


def _cell(value: ArrowValue, row: int) -> object:
    return python_value(value[row] if isinstance(value, pa.Array) else value)
