"""What can be asked of an expression before it meets a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from streamlib.core.expressions.ast import Alias, Case, Column, EventTime, Expr
from streamlib.core.expressions.functions import Call


def nodes(expr: Expr) -> Iterator[Expr]:
    """The expression and everything in it, depth first, left to right."""
    yield expr
    for child in expr.children():
        yield from nodes(child)


def columns(expr: Expr) -> frozenset[str]:
    """The names of the columns it reads.

    >>> sorted(columns((Column("a") + 1) * Column("b")))
    ['a', 'b']
    """
    return frozenset(node.name for node in nodes(expr) if isinstance(node, Column))


def uses_event_time(expr: Expr) -> bool:
    """Whether it reads the event time.

    >>> uses_event_time(Column("a") + 1)
    False
    """
    return any(isinstance(node, EventTime) for node in nodes(expr))


def calls_per_record(value: object) -> bool:
    """Whether a description (an expression, or one that holds some) calls Python for every row.

    >>> calls_per_record((Column("a") + 1, Column("b")))
    False
    """
    if isinstance(value, Expr):
        return any(isinstance(node, Call) and not node.function.vectorized for node in nodes(value))
    if isinstance(value, tuple):
        return any(map(calls_per_record, value))
    if isinstance(value, type):  # a class of records: it has fields, and no values
        return False
    return is_dataclass(value) and any(calls_per_record(getattr(value, f.name)) for f in fields(value))


def output_name(expr: Expr) -> str:
    """The name of the column it makes: its alias, else that of the leftmost column, else `literal`.

    The event time counts as a column `event_time`; of a conditional only the values count.

    >>> output_name(1 + Column("a")), output_name(Column("a").alias("b") * 2)
    ('a', 'b')
    """
    return next(_names(expr), "literal")


def _names(expr: Expr) -> Iterator[str]:
    match expr:
        case Alias() | Column():
            yield expr.name
        case EventTime():
            yield "event_time"
        case Case():
            for _, value in expr.branches:
                yield from _names(value)
            if expr.default is not None:
                yield from _names(expr.default)
        case _:
            for child in expr.children():
                yield from _names(child)
