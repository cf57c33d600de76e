"""How filters reach sources that need not read what no filter lets through."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from streamlib.core.contracts import Source
from streamlib.core.expressions import Expr, lit

EVERY_ROW = lit(True)
"""What is true for every row."""


@runtime_checkable
class Passes(Protocol):
    """Optional ability of an operator without state: rows go on with their columns as they are, or go."""

    def passes(self) -> Expr | None:
        """What is true for every row that leaves a trace, `EVERY_ROW` for all; None: can't be told.

        A row for which it is false or null reaches no output. Where the condition can be computed nothing
        else fails. Columns that are dropped may not be spoken of below; the others keep their names.
        """
        ...


@runtime_checkable
class Skips(Protocol):
    """Optional ability of a source that knows bounds of values in parts of its partitions."""

    def skipping(self, condition: Expr, event_time: str | None) -> Source:
        """The same source, that may leave rows out for which `condition` is not true, as `Chunk.left_out`.

        The condition is `decidable` (`core/expressions/ranges.py`). `event_time` names the column
        that is the event time, None where there is none; only rows whose event time is known to be
        there may be left out, and the largest of them is told. Positions count rows that are left out.
        """
        ...
