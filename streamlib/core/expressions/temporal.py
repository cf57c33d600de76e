"""Arithmetic on timestamps, dates and durations: integer arithmetic on their ticks."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.expressions.ast import Binary
from streamlib.core.expressions.kernels import Elementwise
from streamlib.core.expressions.mismatch import no_common_type
from streamlib.core.expressions.nodes import FromTicks, Ticks, ticks_type
from streamlib.core.expressions.numbers import apply, bind_integers
from streamlib.core.expressions.operands import coerced
from streamlib.core.expressions.types import Family, common_type, family, finest
from streamlib.core.expressions.values import Constant, Node

_DAY = timedelta(days=1)


def bind_temporal(expr: Binary, left: Node, right: Node) -> Node | None:
    """The node for an operator with a temporal operand, None where the operator is not defined for it."""
    kinds = family(left.dtype), family(right.dtype)
    match kinds[0], expr.operator, kinds[1]:
        case ((Family.TIMESTAMP | Family.DATE), "-", (Family.TIMESTAMP | Family.DATE)):
            return _between(expr, left, right)
        case (Family.TIMESTAMP, "+" | "-", Family.DURATION) | (Family.DURATION, "+", Family.TIMESTAMP):
            return _shifted(expr, left, right)
        case (Family.DATE, "+" | "-", Family.DURATION) | (Family.DURATION, "+", Family.DATE):
            return _shifted_date(expr, left, right)
        case Family.DURATION, ("+" | "-" | "%" | "//" | "/"), Family.DURATION:
            return _durations(expr, left, right)
        case (Family.DURATION, "*" | "//", Family.INT) | (Family.INT, "*", Family.DURATION):
            return _scaled(expr, left, right)
    return None


def ticks(node: Node) -> Node:
    """The integers behind a temporal operand."""
    if not isinstance(node, Constant):
        return Ticks(node)
    plain = ticks_type(node.dtype)
    return Constant(None if node.vector is None else int(node.vector), plain)


def _between(expr: Binary, left: Node, right: Node) -> Node:
    """The duration from one moment to another. Dates are their midnights, to the microsecond."""
    target = common_type(left.dtype, right.dtype)
    if target is None:
        raise no_common_type(expr, (expr.left, left.dtype), (expr.right, right.dtype))
    if family(target) is Family.DATE:
        target = pa.timestamp("us")
    left, right = coerced(left, target, expr), coerced(right, target, expr)
    return _in_ticks(expr, left, right, pa.duration(target.unit))


def _shifted(expr: Binary, left: Node, right: Node) -> Node:
    """A timestamp moved by a duration, in the finer of their units."""
    moment = left if family(left.dtype) is Family.TIMESTAMP else right
    unit = finest(left.dtype, right.dtype)
    result, step = pa.timestamp(unit, moment.dtype.tz), pa.duration(unit)
    left = coerced(left, result if moment is left else step, expr)
    right = coerced(right, result if moment is right else step, expr)
    return _in_ticks(expr, left, right, result)


def _shifted_date(expr: Binary, left: Node, right: Node) -> Node | None:
    """A date moved by a literal number of whole days: other durations would leave the calendar."""
    step, date = (left, right) if family(left.dtype) is Family.DURATION else (right, left)
    if not isinstance(step, Constant) or (isinstance(step.value, timedelta) and step.value % _DAY):
        return None
    days = Constant(step.value // _DAY if isinstance(step.value, timedelta) else None, pa.int32())
    plain = ticks(coerced(date, pa.date32(), expr))
    first, second = (days, plain) if step is left else (plain, days)
    return FromTicks(bind_integers(expr, expr.operator, first, second, pa.date32()), pa.date32())


def _durations(expr: Binary, left: Node, right: Node) -> Node:
    unit = pa.duration(finest(left.dtype, right.dtype))
    left, right = coerced(left, unit, expr), coerced(right, unit, expr)
    if expr.operator in {"+", "-", "%"}:
        return _in_ticks(expr, left, right, unit)
    if expr.operator == "//":
        return bind_integers(expr, "//", ticks(left), ticks(right), pa.int64())
    shares = coerced(ticks(left), pa.float64(), expr), coerced(ticks(right), pa.float64(), expr)
    return apply(Elementwise(np.true_divide, pc.divide, pa.float64()), *shares, pa.float64())


def _scaled(expr: Binary, left: Node, right: Node) -> Node:
    """A duration times or divided (rounding down) by an integer."""
    result = left.dtype if family(left.dtype) is Family.DURATION else right.dtype
    factors = [ticks(n) if n.dtype == result else coerced(n, pa.int64(), expr) for n in (left, right)]
    return FromTicks(bind_integers(expr, expr.operator, factors[0], factors[1], result), result)


def _in_ticks(expr: Binary, left: Node, right: Node, result: pa.DataType) -> Node:
    return FromTicks(bind_integers(expr, expr.operator, ticks(left), ticks(right), result), result)
