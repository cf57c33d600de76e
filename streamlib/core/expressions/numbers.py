"""Types arithmetic on numbers, and picks its kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.expressions import kernels
from streamlib.core.expressions.ast import Binary, Expr
from streamlib.core.expressions.kernels import ArrowOnly, Elementwise, Kernel, NumpyOnly
from streamlib.core.expressions.mismatch import no_common_type, unsupported
from streamlib.core.expressions.nodes import Apply
from streamlib.core.expressions.operands import all_null, coerced, spread
from streamlib.core.expressions.types import Family, as_decimal, common_type, family
from streamlib.core.expressions.values import Constant, Node

_FLOAT: dict[str, tuple[Any, Any]] = {
    "+": (np.add, pc.add),
    "-": (np.subtract, pc.subtract),
    "*": (np.multiply, pc.multiply),
    "/": (np.true_divide, pc.divide),
}
_FLOAT_DIVISION = {"//": np.floor_divide, "%": np.remainder}
_CHECKED: dict[str, tuple[Any, Any, Callable[[int, int, int, int], tuple[int, int]]]] = {
    "+": (np.add, pc.add_checked, kernels.sum_reach),
    "-": (np.subtract, pc.subtract_checked, kernels.difference_reach),
    "*": (np.multiply, pc.multiply_checked, kernels.product_reach),
}
_DECIMAL = {"+": pc.add, "-": pc.subtract, "*": pc.multiply, "/": kernels.divide_decimals}


def apply(kernel: Kernel, left: Node, right: Node, dtype: pa.DataType) -> Node:
    """The kernel on two operands. It needs one that knows the number of rows."""
    return Apply(kernel, spread(left) if isinstance(right, Constant) else left, right, dtype)


def bind_numbers(expr: Binary, left: Node, right: Node) -> Node:
    """Arithmetic on two numbers that are integers, floats or decimals."""
    kinds = {family(left.dtype), family(right.dtype)}
    if Family.DECIMAL in kinds and Family.FLOAT not in kinds:
        return _bind_decimals(expr, left, right)
    exact = kinds == {Family.INT} and expr.operator != "/"
    floats = pa.float64() if Family.INT in kinds else common_type(left.dtype, right.dtype)
    target = common_type(left.dtype, right.dtype) if exact else floats
    if target is None:
        raise no_common_type(expr, (expr.left, left.dtype), (expr.right, right.dtype))
    left, right = coerced(left, target, expr), coerced(right, target, expr)
    if exact:
        return bind_integers(expr, expr.operator, left, right, target)
    if expr.operator in _FLOAT:
        return apply(Elementwise(*_FLOAT[expr.operator], target), left, right, target)
    return apply(NumpyOnly(_FLOAT_DIVISION[expr.operator]), left, right, target)


def bind_integers(expr: Expr, operator: str, left: Node, right: Node, result: pa.DataType) -> Node:
    """Exact arithmetic on two operands of one integer type; errors speak of `result`."""
    dtype = right.dtype
    if operator in _CHECKED:
        return apply(kernels.CheckedInt(expr, *_CHECKED[operator], dtype, result), left, right, dtype)
    numpy: Callable[[Any, Any], Any] = np.floor_divide if operator == "//" else np.remainder
    if isinstance(right, Constant):
        if right.value == 0:
            return all_null(dtype)
        numpy = np.floor_divide if operator == "//" else kernels.remainder_by_constant
    return apply(kernels.IntDivision(expr, numpy, dtype, result), left, right, dtype)


def _bind_decimals(expr: Binary, left: Node, right: Node) -> Node:
    """Arrow's rules decide on precision and scale; what would need more digits than it has is refused."""
    left = coerced(left, as_decimal(left.dtype), expr)
    right = coerced(right, as_decimal(right.dtype), expr)
    found = (expr.left, left.dtype), (expr.right, right.dtype)
    kernel = _DECIMAL.get(expr.operator)
    if kernel is None:
        remedy = "cast one of them to pa.float64(), or to an integer type"
        raise unsupported(expr, "integers, floats, or durations", *found, remedy=remedy)
    try:
        dtype = kernel(pa.array([], left.dtype), pa.array([], right.dtype)).type
    except pa.ArrowException:
        remedy = "cast them to decimals of less precision, to pa.decimal256(…), or to pa.float64()"
        raise unsupported(
            expr, "decimals whose result has at most 38 (76) digits", *found, remedy=remedy
        ) from None
    return apply(ArrowOnly(kernel, left.dtype, right.dtype), left, right, dtype)
