"""Where expressions begin: `col`, `lit`, `event_time` and `when`."""

from __future__ import annotations

from dataclasses import dataclass

from streamlib.core.errors import DefinitionError, shown
from streamlib.core.expressions.ast import (
    Case,
    Column,
    EventTime,
    Expr,
    Method,
    Operand,
    argument_text,
    as_expr,
)


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


def coalesce(*exprs: Operand) -> Expr:
    """The first of the values that is not null.

    >>> import streamlib as sl
    >>> sl.evaluate(sl.coalesce(sl.col("a"), sl.col("b"), 0), a=[1, None, None], b=[2, 3, None])
    [1, 3, 0]
    """
    return Method("coalesce", _some("coalesce", exprs))


def min_horizontal(*exprs: Operand) -> Expr:
    """The least of the values of a row; nulls and NaN are left out.

    >>> import streamlib as sl
    >>> sl.evaluate(sl.min_horizontal(sl.col("a"), sl.col("b")), a=[1, None], b=[2, 3])
    [1, 3]
    """
    return Method("min_horizontal", _some("min_horizontal", exprs))


def max_horizontal(*exprs: Operand) -> Expr:
    """The largest of the values of a row; nulls and NaN are left out.

    >>> import streamlib as sl
    >>> sl.evaluate(sl.max_horizontal(sl.col("a"), sl.col("b")), a=[1, None], b=[2, 3])
    [2, 3]
    """
    return Method("max_horizontal", _some("max_horizontal", exprs))


def concat_str(*exprs: Operand, separator: str = "", ignore_nulls: bool = False) -> Expr:
    """The values as one text, with `separator` between them; null where one is, unless nulls are ignored.

    Plain strings are literals. Numbers, bools and dates become text by themselves.

    >>> import streamlib as sl
    >>> sl.evaluate(sl.concat_str(sl.col("a"), sl.col("b"), separator="-"), a=["x", "y"], b=[1, None])
    ['x-1', None]
    """
    if not isinstance(separator, str):
        raise DefinitionError(
            "the separator is no text",
            expected="a string",
            found=shown(separator),
            remedy='write separator=", "',
        )
    options = (("separator", separator), ("ignore_nulls", ignore_nulls))
    return Method("concat_str", _some("concat_str", exprs), options)


def format(template: str, *exprs: Operand) -> Expr:
    """The template with each `{}` replaced by the value of the next expression; null where one is.

    >>> import streamlib as sl
    >>> sl.evaluate(sl.format("{} to {}", sl.col("a"), sl.col("b")), a=["EWR"], b=["SFO"])
    ['EWR to SFO']
    """
    texts = template.split("{}") if isinstance(template, str) else []
    if len(texts) != len(exprs) + 1 or not exprs:
        raise DefinitionError(
            "the template does not fit its expressions",
            expected=f"a string with {len(exprs)} times {{}}, one for each expression",
            found=shown(template),
            remedy='write for example sl.format("{} to {}", sl.col("origin"), sl.col("dest"))',
        )
    pieces: list[Operand] = [texts[0]]
    for expr, text in zip(exprs, texts[1:], strict=True):
        pieces += [expr, text]
    return concat_str(*(piece for piece in pieces if not (isinstance(piece, str) and piece == "")))


def struct(**fields: Operand) -> Expr:
    """The values as one struct with these fields; never null itself.

    >>> import streamlib as sl
    >>> sl.evaluate(sl.struct(x=sl.col("a"), y=1), a=[1, None])
    [{'x': 1, 'y': 1}, {'x': None, 'y': 1}]
    """
    return Method("struct", _some("struct", tuple(fields.values())), (("names", tuple(fields)),))


def _some(function: str, exprs: tuple[Operand, ...]) -> tuple[Expr, ...]:
    if not exprs:
        raise DefinitionError(
            f"{function} of nothing",
            expected="at least one expression",
            found=f"{function}()",
            remedy=f'write for example sl.{function}(sl.col("a"), sl.col("b"))',
        )
    return tuple(map(as_expr, exprs))
