"""Types `+ - * / // %` and unary minus."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.expressions.ast import Binary, Unary
from streamlib.core.expressions.kernels import ArrowOnly, join_text
from streamlib.core.expressions.mismatch import no_common_type, unsupported
from streamlib.core.expressions.nodes import ApplyOne, FromTicks
from streamlib.core.expressions.numbers import apply, bind_integers, bind_numbers
from streamlib.core.expressions.operands import adapted, all_null, coerced, is_null_literal
from streamlib.core.expressions.temporal import bind_temporal, ticks
from streamlib.core.expressions.types import NUMERIC, TEMPORAL, Family, common_type, family
from streamlib.core.expressions.values import Constant, Node


def bind_arithmetic(expr: Binary, left: Node, right: Node) -> Node:
    """`+ - * / // %` of two numbers, of moments and durations, and `+` of two texts."""
    left, right = adapted(left, right.dtype), adapted(right, left.dtype)
    node = _typed(expr, left, right)
    return all_null(node.dtype) if is_null_literal(left) or is_null_literal(right) else node


def _typed(expr: Binary, left: Node, right: Node) -> Node:
    kinds = frozenset({family(left.dtype), family(right.dtype)})
    found = (expr.left, left.dtype), (expr.right, right.dtype)
    if kinds <= NUMERIC:
        return bind_numbers(expr, left, right)
    if kinds == {Family.TEXT} and expr.operator == "+":
        target = common_type(left.dtype, right.dtype)
        left, right = coerced(left, target, expr), coerced(right, target, expr)
        return apply(ArrowOnly(join_text, target, target), left, right, target)
    if kinds & TEMPORAL:
        node = bind_temporal(expr, left, right)
        if node is not None:
            return node
    elif Family.TEXT in kinds and len(kinds) > 1:
        raise no_common_type(expr, *found)
    raise unsupported(
        expr, "two numbers, two texts for `+`, or moments and durations", *found, remedy=_remedy(kinds)
    )


def _remedy(kinds: frozenset[Family]) -> str:
    if Family.BOOL in kinds:
        return "count bools as numbers with .cast(pa.int64()), or combine them with `&` and `|`"
    if Family.DATE in kinds:
        return 'only whole days can be added to a date; cast it to a moment first: .cast(pa.timestamp("us"))'
    if kinds & TEMPORAL:
        return "moments take `+` and `-` of durations, two moments `-`, durations `*` and `//` of integers"
    if kinds == {Family.NULL}:
        return "cast one of them, for example .cast(pa.int64()), so that the result has a type"
    return "cast the operands to numbers first"


def bind_negation(expr: Unary, operand: Node) -> Node:
    """`-operand` of a signed number or a duration."""
    dtype = operand.dtype
    match family(dtype):
        case Family.INT if pa.types.is_signed_integer(dtype):
            return bind_integers(expr, "-", Constant(0, dtype), operand, dtype)
        case Family.DURATION:
            plain = ticks(operand)
            return FromTicks(bind_integers(expr, "-", Constant(0, plain.dtype), plain, dtype), dtype)
        case Family.FLOAT:
            return ApplyOne(np.negative, pc.negate, operand, dtype)
        case Family.DECIMAL:
            return ApplyOne(None, pc.negate, operand, dtype)
    raise unsupported(
        expr,
        "a signed number, or a duration",
        (expr.operand, dtype),
        remedy="negate a bool with `~`; cast an unsigned integer first, for example .cast(pa.int64())",
    )
