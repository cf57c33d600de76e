"""Where expressions begin: `col`, `lit`, `event_time` and `when`."""

from __future__ import annotations

from dataclasses import dataclass

from streamlib.core.expressions.ast import Case, Column, EventTime, Expr, Operand, argument_text, as_expr


def col(name: str) -> Expr:
    """The column called `name`.

    >>> col("price") * 0.908
    (col('price') * 0.908)
    """
    return Column(name)


def lit(value: Operand) -> Expr:
    """A value that is the same in every row; beside a column it takes the column's type if it fits.

    Aware datetimes become UTC. Raises `TypeMismatchError` for a value that no Arrow type holds.

    >>> lit(3) - col("a")
    (3 - col('a'))
    """
    return as_expr(value)


def event_time() -> Expr:
    """The event time of the row, a timestamp in microseconds UTC.

    >>> from datetime import timedelta
    >>> event_time() - timedelta(seconds=1)
    (event_time() - datetime.timedelta(seconds=1))
    """
    return EventTime()


def when(condition: Operand) -> When:
    """Begin a conditional: `when(c).then(x)`, more `.when(…).then(…)`, at last `.otherwise(y)`.

    The first condition that is true decides; null counts as false. Without `.otherwise` the rest
    is null. A branch may fail only on rows that take it: `when(col("a") > 0).then(…)` guards.

    >>> when(col("price") > 100).then("high").otherwise("low")
    when(col('price') > 100).then('high').otherwise('low')
    """
    return When((), as_expr(condition))


@dataclass(frozen=True, eq=False, repr=False)
class When:
    """A condition that waits for its `.then`; no expression yet."""

    branches: tuple[tuple[Expr, Expr], ...]
    condition: Expr

    def then(self, value: Operand) -> Then:
        """The value (a string is a literal) where the condition is true."""
        return Then((*self.branches, (self.condition, as_expr(value))))

    def __repr__(self) -> str:
        before = f"{Case(self.branches)!r}." if self.branches else ""
        return f"{before}when({argument_text(self.condition)})"


class Then(Case):
    """A conditional that is complete, and can be continued."""

    def when(self, condition: Operand) -> When:
        """Another branch, for rows that no earlier condition took."""
        return When(self.branches, as_expr(condition))

    def otherwise(self, value: Operand) -> Expr:
        """The value of the rows that no condition took."""
        return Case(self.branches, as_expr(value))
