"""What can be asked of an expression before it meets a stream."""

from __future__ import annotations

from collections.abc import Iterator

from streamlib.core.expressions.ast import Alias, Case, Column, EventTime, Expr


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
