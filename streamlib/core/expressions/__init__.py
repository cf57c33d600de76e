r"""Expressions on columns: what a user writes, and the bound form that computes batches.

`col`, `lit`, `event_time` and `when` begin an expression, operators and the methods of `Expr` extend
it (`spaces`), `bind` checks it against a stream and settles its types and kernels, `Bound.evaluate` computes.

What they mean is as in Polars, unless said here:

| of | holds |
|---|---|
| null | spreads through arithmetic and comparisons; `&` and `\|` are Kleene's; NaN is not null |
| comparisons | are of one kind of values; with NaN only `!=` is true (IEEE); uint64 with int64 is exact |
| literals | take the other operand's type if they fit: int8 + 1 is int8, int8 + 1000 is int64 |
| integers | never wrap: `ArithmeticOverflowError`; int8 with uint8 is int16; uint64 with int64 is refused |
| integer with float | is float64, also where an integer beyond 2^53 is rounded |
| `/` | is float64 (float32 for two float32); by zero inf or NaN |
| `//` and `%` | are Python's: they round down, `1.0 // 0.1` is 9.0; integers by zero give null |
| decimals | have Arrow's precision and scale; by zero null; no `//` and `%`; with a float: float64 |
| text | is joined by `+`; dictionary-encoded text is compared by its words, and results as plain text |
| moments | minus moments are durations; plus or minus durations moments, in the finer unit |
| dates | are their midnights, and stay dates plus or minus a literal of whole days |
| time zones | naive and zoned timestamps don't meet; `cast` adds and drops UTC only |
| durations | know `+ - / // %` of each other, `*` and `//` of integers |
| `cast` | is strict: no text that does not parse, no 1.5 to int64, no lost ticks; floats may round |
| `udf` | is a Python function of the user: nulls are skipped unless it asks for them |
| functions | are those of Polars, by their names; docs/expressions.md says where they differ |
| `when` | takes null for false, unifies the types of branches; a branch fails only on rows that take it |
"""

from streamlib.core.expressions.ast import Expr, Operand
from streamlib.core.expressions.binding import Bound, bind
from streamlib.core.expressions.builders import (
    Then,
    When,
    coalesce,
    col,
    concat_str,
    event_time,
    format,
    lit,
    max_horizontal,
    min_horizontal,
    struct,
    when,
)
from streamlib.core.expressions.functions import Function, udf
from streamlib.core.expressions.literals import LiteralValue
from streamlib.core.expressions.trying import evaluate
from streamlib.core.expressions.walk import columns, output_name, uses_event_time

__all__ = [
    "Bound",
    "Expr",
    "Function",
    "LiteralValue",
    "Operand",
    "Then",
    "When",
    "bind",
    "coalesce",
    "col",
    "columns",
    "concat_str",
    "evaluate",
    "event_time",
    "format",
    "lit",
    "max_horizontal",
    "min_horizontal",
    "output_name",
    "struct",
    "udf",
    "uses_event_time",
    "when",
]
