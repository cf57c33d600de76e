"""Rules of membership and of several operands: `is_in`, `is_between`, `coalesce`, `concat_str`, extremes."""

from __future__ import annotations

from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.errors import StreamlibError, TypeMismatchError, shown
from streamlib.core.expressions import ast
from streamlib.core.expressions.comparison import bind_comparison, bind_logic
from streamlib.core.expressions.literals import literal_type
from streamlib.core.expressions.mismatch import unsupported
from streamlib.core.expressions.operands import coerced, spread, unified
from streamlib.core.expressions.rules.compute import OnArrow
from streamlib.core.expressions.rules.rule import ANY, Given, Rule
from streamlib.core.expressions.types import Family, computing_type, family
from streamlib.core.expressions.values import Constant, Node

_UNEQUALLED = frozenset({Family.LIST, Family.STRUCT, Family.OTHER})


def _bind_is_in(given: Given) -> Node:
    values = [v for v in given.options["values"] if v is not None and v == v]  # noqa: PLR0124 - not NaN
    literals = tuple(ast.Literal(v) for v in values)
    nodes: list[Node] = [Constant(v, literal_type(v)) for v in values]
    operand, *_ = unified(given.expr, (given.expr.operands[0], *literals), [given.first, *nodes])
    if family(operand.dtype) in _UNEQUALLED:
        remedy = "look into lists with .list.contains(…), into structs with .struct.field(…)"
        raise unsupported(
            given.expr, "one plain value a row", (given.expr.operands[0], operand.dtype), remedy=remedy
        )
    chosen = pa.concat_arrays([pa.array([], operand.dtype), *(_one(n, operand.dtype, given) for n in nodes)])
    return OnArrow(partial(_is_in, chosen=_plus_zero(chosen)), [operand], pa.bool_())


def _one(node: Node, dtype: pa.DataType, given: Given) -> pa.Array:
    constant: Any = coerced(node, dtype, given.expr)
    return pa.array([constant.scalar.as_py()], dtype) if family(dtype) is not Family.NULL else pa.nulls(1)


def _plus_zero(array: pa.Array) -> pa.Array:
    return (
        pc.add(array, pa.scalar(0.0, array.type)) if pa.types.is_floating(array.type) else array
    )  # -0.0 is 0.0


def _is_in(array: pa.Array, chosen: pa.Array) -> pa.Array:
    if array.type == pa.null():
        return pa.nulls(len(array), pa.bool_())
    found = pc.is_in(_plus_zero(array), value_set=chosen)
    return pc.if_else(array.is_valid(), found, None) if array.null_count else found


def _bind_between(given: Given) -> Node:
    value, lower, upper = given.expr.operands
    node, low, high = given.operands
    closed = given.options["closed"]
    above = ast.Binary(">=" if closed in {"both", "left"} else ">", value, lower)
    below = ast.Binary("<=" if closed in {"both", "right"} else "<", value, upper)
    return bind_logic(
        ast.Binary("&", above, below), bind_comparison(above, node, low), bind_comparison(below, node, high)
    )


def _bind_missing(negated: bool) -> Any:
    def bind(given: Given) -> Node:
        left, right = (spread(node) for node in given.operands)
        equal = bind_comparison(ast.Binary("==", *given.expr.operands), *given.operands)
        return OnArrow(partial(_equal_missing, negated=negated), [left, right, equal], pa.bool_())

    return bind


def _equal_missing(left: pa.Array, right: pa.Array, equal: pa.Array, negated: bool) -> pa.Array:
    found = pc.or_(equal.fill_null(False), pc.and_(left.is_null(), right.is_null()))
    return pc.invert(found) if negated else found


def _bind_replace(given: Given) -> Node:
    old, new, default = (given.options[name] for name in ("old", "new", "default"))
    keys = _bound_values(given, old)
    targets = [given.options["default"], *new]
    fixed = [Constant(v, literal_type(v)) for v in targets if v is not None]
    results = (
        unified(given.expr, tuple(ast.Literal(v) for v in targets if v is not None), list(fixed))
        if fixed
        else []
    )
    dtype = results[0].dtype if results else pa.null()
    values = pa.array([_cast(v, dtype) for v in new], dtype)
    operand, lookup = keys
    function = partial(
        _replaced,
        old=lookup,
        new=values,
        default=pa.scalar(_cast(default, dtype), dtype),
        strict=given.options["strict"],
        expr=given.expr,
    )
    return OnArrow(function, [operand], dtype)


def _bound_values(given: Given, values: tuple[Any, ...]) -> tuple[Node, pa.Array]:
    nodes: list[Node] = [Constant(v, literal_type(v)) for v in values]
    literals = tuple(ast.Literal(v) for v in values)
    operand, *constants = unified(given.expr, (given.expr.operands[0], *literals), [given.first, *nodes])
    rows = [_one(node, operand.dtype, given) for node in constants]
    return operand, pa.concat_arrays(rows)


def _cast(value: Any, dtype: pa.DataType) -> Any:
    return float(value) if value is not None and pa.types.is_floating(dtype) else value


def _replaced(
    array: pa.Array, old: pa.Array, new: pa.Array, default: pa.Scalar, strict: bool, expr: ast.Expr
) -> pa.Array:
    at = pc.index_in(array, value_set=old)
    unknown = pc.and_(at.is_null(), array.is_valid()) if strict else at.is_null()
    found = new.take(at)
    if not pc.any(unknown).as_py():
        return found
    if strict:
        raise _not_mapped(expr, array, pc.index(unknown, True).as_py())
    return pc.if_else(unknown, default, found)


def _not_mapped(expr: ast.Expr, array: pa.Array, row: int) -> StreamlibError:
    return TypeMismatchError(
        f"{shown(expr)} failed: a value is not in the mapping",
        expected="values that the mapping holds, or null",
        found=f"{shown(array[row].as_py())} in row {row} of the batch",
        remedy="add it, or give what others become: default=None",
    )


def _bind_coalesce(given: Given) -> Node:
    nodes = unified(given.expr, given.expr.operands, given.operands)
    return OnArrow(pc.coalesce, nodes, nodes[0].dtype)


def _bind_extreme(least: bool) -> Any:
    def bind(given: Given) -> Node:
        nodes = unified(given.expr, given.expr.operands, given.operands)
        if family(nodes[0].dtype) in _UNEQUALLED | {Family.BYTES}:
            remedy = "compare the parts that have an order"
            raise unsupported(
                given.expr, "values with an order", (given.expr.operands[0], nodes[0].dtype), remedy=remedy
            )
        kernel = partial(_extreme, least=least)
        return OnArrow(kernel, nodes, nodes[0].dtype)

    return bind


def _extreme(*arrays: pa.Array, least: bool) -> pa.Array:
    result = arrays[0]
    for other in arrays[1:]:
        beyond = (pc.less if least else pc.greater)(other, result)
        if pa.types.is_floating(result.type):
            beyond = pc.or_kleene(beyond, pc.is_nan(result))
        takes = pc.and_(pc.or_kleene(beyond, result.is_null()).fill_null(False), other.is_valid())
        result = pc.if_else(takes, other, result)
    return result


def _bind_concat(given: Given) -> Node:
    nodes = [
        _text(node, operand, given) for node, operand in zip(given.operands, given.expr.operands, strict=True)
    ]
    separator, ignores = given.options["separator"], given.options["ignore_nulls"]
    dtype = pa.large_string() if pa.large_string() in {n.dtype for n in nodes} else pa.string()
    nodes = [coerced(node, dtype, given.expr) for node in nodes]
    return OnArrow(partial(_concat, separator=separator, ignores=ignores), nodes, dtype)


def _text(node: Node, operand: ast.Expr, given: Given) -> Node:
    plain = computing_type(node.dtype)
    kind = family(plain)
    if kind is Family.TEXT:
        return coerced(node, plain, given.expr)
    if kind is Family.NULL or kind in {Family.INT, Family.FLOAT, Family.BOOL, Family.DECIMAL, Family.DATE}:
        return OnArrow(_as_text, [node], pa.string())
    remedy = "make it text first: .dt.strftime(…), .list.join(…), .struct.field(…)"
    raise unsupported(given.expr, "text, numbers, bools, dates", (operand, node.dtype), remedy=remedy)


def _as_text(array: pa.Array) -> pa.Array:
    return array.cast(pa.string())


def _concat(*arrays: pa.Array, separator: str, ignores: bool) -> pa.Array:
    dtype = arrays[0].type
    if not ignores:
        return pc.binary_join_element_wise(*arrays, pa.scalar(separator, dtype))
    # Arrow's own skipping of nulls was seen to lose rows where all are null
    nothing = pa.scalar("", dtype)
    led = [pc.binary_join_element_wise(pa.scalar(separator, dtype), a, nothing).fill_null("") for a in arrays]
    joined = pc.binary_join_element_wise(*led, nothing)
    return pc.utf8_slice_codeunits(joined, start=len(separator)) if separator else joined


def _bind_struct(given: Given) -> Node:
    fields = [
        pa.field(name, computing_type(n.dtype))
        for name, n in zip(given.options["names"], given.operands, strict=True)
    ]
    dtype = pa.struct(fields)
    return OnArrow(partial(_struct, fields=fields), [spread(node) for node in given.operands], dtype)


def _struct(*arrays: pa.Array, fields: list[pa.Field]) -> pa.Array:
    return pa.StructArray.from_arrays(list(arrays), fields=fields)


_SKIPS = "skipped; null where all are"

RULES: dict[str, Rule] = {
    "is_in": Rule((ANY,), _bind_is_in, "Arrow `is_in`", differs="plain values only; NaN is no one's equal"),
    "is_between": Rule((ANY,), _bind_between, "two comparisons and `&`", "Kleene's"),
    "eq_missing": Rule(
        (ANY,),
        _bind_missing(negated=False),
        "Arrow `equal`, `is_null`",
        "a value like others",
        "NaN is no one's equal",
    ),
    "ne_missing": Rule(
        (ANY,),
        _bind_missing(negated=True),
        "Arrow `equal`, `is_null`",
        "a value like others",
        "NaN is no one's equal",
    ),
    "replace_strict": Rule(
        (ANY,),
        _bind_replace,
        "Arrow `index_in`, `take`",
        nulls="null, or what the mapping or `default` says",
        differs="plain values only",
    ),
    "coalesce": Rule((ANY,), _bind_coalesce, "Arrow `coalesce`", _SKIPS),
    "min_horizontal": Rule(
        (ANY,), _bind_extreme(least=True), "Arrow `less`, `if_else`", f"{_SKIPS}; NaN too"
    ),
    "max_horizontal": Rule(
        (ANY,), _bind_extreme(least=False), "Arrow `greater`, `if_else`", f"{_SKIPS}; NaN too"
    ),
    "concat_str": Rule(
        (ANY,), _bind_concat, "Arrow `binary_join_element_wise`", "null, or skipped with `ignore_nulls`"
    ),
    "struct": Rule((ANY,), _bind_struct, "Arrow, a view of the columns", "kept in the fields"),
}
