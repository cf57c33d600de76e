"""A rule: what a function of the library takes and how it is bound, with what its documentation says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from streamlib.core.expressions import ast
from streamlib.core.expressions.mismatch import unsupported
from streamlib.core.expressions.operands import adapted
from streamlib.core.expressions.types import NUMERIC, Family, family
from streamlib.core.expressions.values import Node


@dataclass(frozen=True)
class Takes:
    """What an operand may be. One that is null and nothing else is taken as `default`."""

    what: str
    families: frozenset[Family]
    default: pa.DataType
    remedy: str


TEXT = Takes(
    "text", frozenset({Family.TEXT}), pa.string(), "convert it first: .cast(pa.string()), or .dt.strftime(…)"
)
NUMBER = Takes("a number", NUMERIC, pa.float64(), "convert it first, for example .cast(pa.float64())")
MOMENT = Takes(
    "a moment or a date",
    frozenset({Family.TIMESTAMP, Family.DATE}),
    pa.timestamp("us"),
    "read it as one first: .str.to_datetime(…), or .cast(pa.timestamp('us'))",
)
CLOCK = Takes(
    "a moment or a time of day",
    frozenset({Family.TIMESTAMP, Family.TIME}),
    pa.timestamp("us"),
    "a date has no time of day; read text with .str.to_datetime(…)",
)
TIMESTAMP = Takes(
    "a moment",
    frozenset({Family.TIMESTAMP}),
    pa.timestamp("us"),
    "make a moment of it first: .cast(pa.timestamp('us')), or .str.to_datetime(…)",
)
DURATION = Takes(
    "a duration",
    frozenset({Family.DURATION}),
    pa.duration("us"),
    "durations are the difference of two moments; parts of a moment are .dt.hour(), .dt.minute(), …",
)
ANY = Takes("a value", frozenset(Family), pa.null(), "")
LIST = Takes(
    "a list", frozenset({Family.LIST}), pa.list_(pa.null()), "make one first, for example with .str.split(…)"
)
STRUCT = Takes(
    "a struct",
    frozenset({Family.STRUCT}),
    pa.struct([]),
    "make one first, for example with .str.json_decode(…)",
)


@dataclass(frozen=True)
class Given:
    """A function as it is bound: the expression, its operands, and its options."""

    expr: ast.Method
    operands: list[Node]
    options: dict[str, Any]

    @property
    def first(self) -> Node:
        """The operand that the function is a method of."""
        return self.operands[0]


@dataclass(frozen=True)
class Rule:
    """One function.

    Attributes:
        takes: what its operands may be; the last one stands for all further ones.
        bind: makes the node, once the operands are checked.
        kernel: what computes it, for the documentation.
        nulls: what it makes of null, for the documentation.
        differs: how it differs from the function of that name in Polars.
    """

    takes: tuple[Takes, ...]
    bind: Callable[[Given], Node]
    kernel: str
    nulls: str = "null"
    differs: str = ""

    def bound(self, expr: ast.Method, operands: list[Node]) -> Node:
        """The node. Raises `TypeMismatchError` for an operand that the function does not take."""
        last = len(self.takes) - 1
        checked = [
            _checked(expr, expr.operands[i], node, self.takes[min(i, last)])
            for i, node in enumerate(operands)
        ]
        return self.bind(Given(expr, checked, dict(expr.options)))


def _checked(expr: ast.Method, operand: ast.Expr, node: Node, takes: Takes) -> Node:
    if takes is ANY:
        return node
    if family(node.dtype) is Family.NULL:
        return adapted(node, takes.default)
    if family(node.dtype) not in takes.families:
        raise unsupported(expr, takes.what, (operand, node.dtype), remedy=takes.remedy)
    return node
