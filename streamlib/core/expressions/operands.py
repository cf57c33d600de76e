"""Brings operands to the types in which their operator computes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pyarrow as pa

from streamlib.core.expressions.ast import Expr, Literal
from streamlib.core.expressions.failures import out_of_range
from streamlib.core.expressions.literals import adapted_type, literal_does_not_fit
from streamlib.core.expressions.mismatch import no_common_type
from streamlib.core.expressions.nodes import Convert, Spread
from streamlib.core.expressions.types import Family, common_type, computing_type, family
from streamlib.core.expressions.values import Constant, Node


def adapted(node: Node, other: pa.DataType) -> Node:
    """The node; a literal, or nothing but nulls, in the type that suits an operand of type `other`."""
    if isinstance(node, Constant):
        return Constant(node.value, adapted_type(node.value, node.dtype, other))
    return (
        node if family(node.dtype) is not Family.NULL else coerced(node, computing_type(other), Literal(None))
    )


def coerced(node: Node, dtype: pa.DataType, expr: Expr) -> Node:
    """The node with its values converted to `dtype`, on behalf of `expr`.

    Raises `TypeMismatchError` for a literal that does not fit.
    """
    if node.dtype == dtype:
        return node
    if not isinstance(node, Constant):
        return Convert(node, dtype, partial(out_of_range, expr, dtype))
    try:
        return Constant(node.value, dtype)
    except pa.ArrowInvalid:
        raise literal_does_not_fit(node.value, dtype) from None


def spread(node: Node) -> Node:
    """The node as one that has a value for every row."""
    return Spread(node) if isinstance(node, Constant) else node


def all_null(dtype: pa.DataType) -> Node:
    """Null in every row."""
    return Spread(Constant(None, dtype))


def is_null_literal(node: Node) -> bool:
    """Whether the node is a literal None, whatever type it took."""
    return isinstance(node, Constant) and node.value is None


def unified(expr: Expr, operands: Sequence[Expr], nodes: Sequence[Node]) -> list[Node]:
    """The nodes in their common type. Literals come last: they adapt to what is fixed."""
    parts = list(zip(operands, nodes, strict=True))
    first, *others = sorted(parts, key=lambda part: isinstance(part[1], Constant))
    common = computing_type(first[1].dtype)
    for part, node in others:
        dtype = adapted(node, common).dtype
        wider = common_type(common, dtype)
        if wider is None:
            raise no_common_type(expr, (first[0], common), (part, dtype))
        common = wider
    return [coerced(node, common, expr) for node in nodes]
