"""Rules of numbers: rounding, roots, logarithms, angles, powers, bounds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.expressions import ast
from streamlib.core.expressions.failures import first_failing_row, overflow, python_value
from streamlib.core.expressions.mismatch import no_common_type, unsupported
from streamlib.core.expressions.nodes import ApplyOne, FromTicks, Ticks
from streamlib.core.expressions.operands import adapted, coerced
from streamlib.core.expressions.rules.compute import OnArrow, OnNumbers
from streamlib.core.expressions.rules.rule import ANY, NUMBER, Given, Rule, Takes
from streamlib.core.expressions.types import (
    NUMERIC,
    Family,
    common_type,
    computing_type,
    family,
    integer_range,
)
from streamlib.core.expressions.values import Constant, Node, Vector

_FLOAT = {
    "sqrt": np.sqrt,
    "cbrt": np.cbrt,
    "exp": np.exp,
    "log10": np.log10,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "arcsin": np.arcsin,
    "arccos": np.arccos,
    "arctan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "degrees": np.degrees,
    "radians": np.radians,
}


def _as_float(given: Given) -> Node:
    """The number as a float: float32 stays, everything else is float64."""
    plain = computing_type(given.first.dtype)
    return coerced(given.first, plain if family(plain) is Family.FLOAT else pa.float64(), given.expr)


def _bind_float(function: Callable[[Vector], Vector]) -> Callable[[Given], Node]:
    def bind(given: Given) -> Node:
        operand = _as_float(given)
        return OnNumbers(function, [operand], operand.dtype)

    return bind


def _bind_log(given: Given) -> Node:
    base = given.options["base"]
    operand = _as_float(given)
    known = {2.718281828459045: np.log, 2.0: np.log2, 10.0: np.log10}.get(base)
    return OnNumbers(known or partial(_log, base=base), [operand], operand.dtype)


def _log(numbers: Vector, base: float) -> Vector:
    return np.log(numbers) / np.log(numbers.dtype.type(base))


def _bind_test(function: Callable[[Vector], Vector], of_integers: bool) -> Callable[[Given], Node]:
    def bind(given: Given) -> Node:
        if family(given.first.dtype) is Family.FLOAT:
            operand = coerced(given.first, computing_type(given.first.dtype), given.expr)
            return OnNumbers(function, [operand], pa.bool_())
        return OnArrow(partial(_always, answer=of_integers), [given.first], pa.bool_())

    return bind


def _always(array: pa.Array, answer: bool) -> pa.Array:
    return pc.if_else(array.is_valid(), answer, None)


def _not_nan(numbers: Vector) -> Vector:
    return ~np.isnan(numbers)


# ------------------------------------------------------------------ signs and rounding


def _bind_abs(given: Given) -> Node:
    dtype = computing_type(given.first.dtype)
    match family(dtype):
        case Family.DURATION:
            inner = Ticks(given.first)
            return FromTicks(
                OnArrow(partial(_abs_checked, expr=given.expr, dtype=dtype), [inner], pa.int64()), dtype
            )
        case Family.INT if pa.types.is_unsigned_integer(dtype):
            return coerced(given.first, dtype, given.expr)
        case Family.INT:
            return OnArrow(partial(_abs_checked, expr=given.expr, dtype=dtype), [given.first], dtype)
        case Family.FLOAT:
            return ApplyOne(np.abs, pc.abs, coerced(given.first, dtype, given.expr), dtype)
    return OnArrow(pc.abs, [given.first], dtype)


def _abs_checked(array: pa.Array, expr: ast.Expr, dtype: pa.DataType) -> pa.Array:
    try:
        return pc.abs_checked(array)
    except pa.ArrowInvalid:
        row = pc.index(array, integer_range(array.type)[0]).as_py()
        raise overflow(expr, dtype, row, array[row].as_py()) from None


def _bind_sign(given: Given) -> Node:
    dtype = computing_type(given.first.dtype)
    return OnArrow(partial(_sign, dtype=dtype), [given.first], dtype)


def _sign(array: pa.Array, dtype: pa.DataType) -> pa.Array:
    return pc.sign(array).cast(dtype)


def _bind_whole(numpy: Any, arrow: Any) -> Callable[[Given], Node]:
    def bind(given: Given) -> Node:
        dtype = computing_type(given.first.dtype)
        operand = coerced(given.first, dtype, given.expr)
        if family(dtype) is Family.INT:
            return operand
        return ApplyOne(numpy if family(dtype) is Family.FLOAT else None, arrow, operand, dtype)

    return bind


def _bind_round(given: Given) -> Node:
    dtype = computing_type(given.first.dtype)
    operand = coerced(given.first, dtype, given.expr)
    if family(dtype) is Family.INT:
        return operand
    mode = {"half_to_even": "half_to_even", "half_away_from_zero": "half_towards_infinity"}[
        given.options["mode"]
    ]
    return OnArrow(
        partial(_rounded, decimals=given.options["decimals"], mode=mode, dtype=dtype), [operand], dtype
    )


def _rounded(array: pa.Array, decimals: int, mode: Any, dtype: pa.DataType) -> pa.Array:
    rounded = pc.round(array, decimals, mode).cast(dtype)
    if decimals <= 0 or not pa.types.is_floating(dtype):
        return rounded
    # Arrow leaves what is nearly round as it is (13.299999999999999): the number next to it is meant.
    power = pa.scalar(10.0 ** min(decimals, 300), pa.float64())
    scaled = pc.multiply(rounded, power)
    nearest = pc.divide(pc.round(scaled), power)
    return pc.if_else(pc.less(pc.abs(scaled), 2.0**52), nearest, rounded).cast(dtype)


# ------------------------------------------------------------------ powers and bounds


def _bind_pow(given: Given) -> Node:
    base, exponent = given.operands
    base, exponent = adapted(base, exponent.dtype), adapted(exponent, base.dtype)
    exact = family(base.dtype) is Family.INT and family(exponent.dtype) is Family.INT
    target = common_type(base.dtype, exponent.dtype) if exact else pa.float64()
    if {computing_type(base.dtype), computing_type(exponent.dtype)} == {pa.float32()}:
        target = pa.float32()
    if target is None:
        left, right = given.expr.operands
        raise no_common_type(given.expr, (left, base.dtype), (right, exponent.dtype))
    operands = [coerced(base, target, given.expr), coerced(exponent, target, given.expr)]
    if not exact:
        return OnNumbers(np.power, operands, target)
    if isinstance(exponent, Constant) and isinstance(exponent.value, int) and exponent.value < 0:
        raise unsupported(
            given.expr,
            "a whole exponent from 0 on for integers",
            (given.expr.operands[1], exponent.dtype),
            remedy="compute in floats: .cast(pa.float64())",
        )
    return OnArrow(partial(_power, expr=given.expr, dtype=target), operands, target)


def _power(base: pa.Array, exponent: pa.Array, expr: ast.Expr, dtype: pa.DataType) -> pa.Array:
    try:
        return pc.power_checked(base, exponent)
    except pa.ArrowInvalid:
        row = first_failing_row(
            lambda a, b: pc.power_checked(base.slice(a, b - a), exponent.slice(a, b - a)), len(base)
        )
        raise overflow(expr, dtype, row, python_value(base[row]), python_value(exponent[row])) from None


def _bind_clip(given: Given) -> Node:
    dtype = computing_type(given.first.dtype)
    operands = [coerced(given.first, dtype, given.expr)]
    for operand, node in zip(given.expr.operands[1:], given.operands[1:], strict=True):
        bound = adapted(node, dtype)
        if common_type(bound.dtype, dtype) != dtype:
            raise no_common_type(given.expr, (given.expr.operands[0], dtype), (operand, bound.dtype))
        operands.append(coerced(bound, dtype, given.expr))
    return OnArrow(_clip, operands, dtype)


def _clip(array: pa.Array, lower: pa.Array, upper: pa.Array) -> pa.Array:
    result = array
    for bound, beyond in ((upper, pc.greater), (lower, pc.less)):  # where they cross, the lower one holds
        if bound.null_count < len(bound):
            result = pc.if_else(beyond(array, bound).fill_null(False), bound, result)
    return result


def _bind_fill_nan(given: Given) -> Node:
    dtype = computing_type(given.first.dtype)
    operand = coerced(given.first, dtype, given.expr)
    if family(dtype) is not Family.FLOAT:
        return operand
    filler = coerced(adapted(given.operands[1], dtype), dtype, given.expr)
    return OnArrow(_fill_nan, [operand, filler], dtype)


def _fill_nan(array: pa.Array, filler: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_nan(array).fill_null(False), filler, array)


_COUNTABLE = Takes(
    "a number or a duration", NUMERIC | {Family.DURATION}, pa.int64(), "convert it first: .cast(pa.float64())"
)
_ORDERED = Takes(
    "a number, a moment or a duration",
    NUMERIC | {Family.TIMESTAMP, Family.DATE, Family.TIME, Family.DURATION},
    pa.int64(),
    "convert it first, for example .cast(pa.float64())",
)

RULES: dict[str, Rule] = {
    **{
        name: Rule((NUMBER,), _bind_float(function), f"numpy `{function.__name__}`")
        for name, function in _FLOAT.items()
    },
    "log": Rule((NUMBER,), _bind_log, "numpy `log`, `log2`, `log10`"),
    "is_nan": Rule((NUMBER,), _bind_test(np.isnan, False), "numpy `isnan`"),
    "is_not_nan": Rule((NUMBER,), _bind_test(_not_nan, True), "numpy `isnan`"),
    "is_finite": Rule((NUMBER,), _bind_test(np.isfinite, True), "numpy `isfinite`"),
    "is_infinite": Rule((NUMBER,), _bind_test(np.isinf, False), "numpy `isinf`"),
    "abs": Rule(
        (_COUNTABLE,), _bind_abs, "numpy `abs`, Arrow `abs_checked`", differs="the least integer is an error"
    ),
    "sign": Rule((NUMBER,), _bind_sign, "Arrow `sign`"),
    "floor": Rule((NUMBER,), _bind_whole(np.floor, pc.floor), "numpy `floor`"),
    "ceil": Rule((NUMBER,), _bind_whole(np.ceil, pc.ceil), "numpy `ceil`"),
    "round": Rule((NUMBER,), _bind_round, "Arrow `round`"),
    "pow": Rule(
        (NUMBER,),
        _bind_pow,
        "Arrow `power_checked`, numpy `power`",
        differs="overflow of integers is an error; integers meet in their common type",
    ),
    "clip": Rule((_ORDERED,), _bind_clip, "Arrow `if_else`", "null; a null bound binds nothing"),
    "fill_nan": Rule((NUMBER, ANY), _bind_fill_nan, "Arrow `if_else`"),
}
