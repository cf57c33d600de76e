"""Types comparisons and boolean operators, and picks their kernels."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.expressions.ast import Binary
from streamlib.core.expressions.kernels import ArrowOnly, CompareWords, Elementwise, Kernel, Logic, NumpyOnly
from streamlib.core.expressions.mismatch import no_common_type, unsupported
from streamlib.core.expressions.numbers import apply
from streamlib.core.expressions.operands import adapted, all_null, coerced, is_null_literal
from streamlib.core.expressions.types import Family, common_type, family
from streamlib.core.expressions.values import Constant, Node

COMPARISONS = {
    "==": (np.equal, pc.equal),
    "!=": (np.not_equal, pc.not_equal),
    "<": (np.less, pc.less),
    "<=": (np.less_equal, pc.less_equal),
    ">": (np.greater, pc.greater),
    ">=": (np.greater_equal, pc.greater_equal),
}
LOGIC = {
    "&": (np.logical_and, pc.and_kleene),
    "|": (np.logical_or, pc.or_kleene),
    "^": (np.logical_xor, pc.xor),
}
_INCOMPARABLE = frozenset({Family.LIST, Family.STRUCT, Family.OTHER})
_WITHOUT_NUMPY = frozenset({Family.TEXT, Family.BYTES, Family.DECIMAL})


def bind_comparison(expr: Binary, left: Node, right: Node) -> Node:
    """`== != < <= > >=` of two operands of one kind; a bool."""
    left, right = adapted(left, right.dtype), adapted(right, left.dtype)
    found = (expr.left, left.dtype), (expr.right, right.dtype)
    kinds = family(left.dtype), family(right.dtype)
    target = common_type(left.dtype, right.dtype)
    mixed_signs = target is None and kinds == (Family.INT, Family.INT)
    if target is None and not mixed_signs:
        raise no_common_type(expr, *found)
    if _INCOMPARABLE & set(kinds):
        remedy = "map a function over the rows that compares them"
        raise unsupported(expr, "numbers, text, bytes, bools, or moments", *found, remedy=remedy)
    if mixed_signs:
        return apply(NumpyOnly(COMPARISONS[expr.operator][0]), left, right, pa.bool_())
    if is_null_literal(left) or is_null_literal(right) or family(target) is Family.NULL:
        return all_null(pa.bool_())
    if _word_against_constant(left, right):
        return apply(CompareWords(COMPARISONS[expr.operator][1], target), left, right, pa.bool_())
    left, right = coerced(left, target, expr), coerced(right, target, expr)
    return apply(_kernel(expr.operator, target), left, right, pa.bool_())


def bind_logic(expr: Binary, left: Node, right: Node) -> Node:
    """`&`, `|` and `^` of two bools."""
    left, right = adapted(left, pa.bool_()), adapted(right, pa.bool_())
    if left.dtype != pa.bool_() or right.dtype != pa.bool_():
        raise unsupported(
            expr,
            "two bools",
            (expr.left, left.dtype),
            (expr.right, right.dtype),
            remedy="put each comparison in parentheses: (col('a') > 1) & (col('b') < 2)",
        )
    return apply(Logic(*LOGIC[expr.operator]), left, right, pa.bool_())


def _kernel(operator: str, dtype: pa.DataType) -> Kernel:
    numpy, arrow = COMPARISONS[operator]
    if family(dtype) in _WITHOUT_NUMPY:
        return ArrowOnly(arrow, dtype, dtype)
    return Elementwise(numpy, arrow, dtype)


def _word_against_constant(left: Node, right: Node) -> bool:
    words, constant = (right, left) if isinstance(left, Constant) else (left, right)
    encoded = pa.types.is_dictionary(words.dtype) and family(words.dtype) is Family.TEXT
    return encoded and isinstance(constant, Constant)
