"""What a condition can be over many rows of which only the least and largest values are known.

Sources whose files hold such statistics pass over the parts in which no row can meet a filter. All is
judged by the kernels that judge rows, on the bounds as if they were rows: a comparison with a literal is
monotone in the column. What is not known counts as possible.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Batch, as_arrow
from streamlib.core.contracts import StreamType
from streamlib.core.errors import StreamlibError
from streamlib.core.expressions.ast import Binary, Column, EventTime, Expr, IsNull, Literal, Method, Unary
from streamlib.core.expressions.binding import bind
from streamlib.core.expressions.types import Family, family
from streamlib.core.expressions.walk import nodes
from streamlib.core.time import Micros

Mask: TypeAlias = npt.NDArray[np.bool_]
Possible: TypeAlias = tuple[Mask, Mask]
"""For each part whether some of its rows may be true, and whether some may be false (null is neither)."""

_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_PLAIN = frozenset({Family.BOOL, Family.INT, Family.FLOAT, Family.TEXT, Family.BYTES})
_MOMENTS = frozenset({Family.TIMESTAMP, Family.DATE})


@dataclass(frozen=True)
class Ranges:
    """Bounds of columns in some parts of the data, an entry for each part.

    Attributes:
        rows: how many rows a part has.
        least: by column a bound below all values but null and NaN; null: unknown.
        largest: the same above them.
        nulls: by column how many values are null, -1: unknown.
        event_times: bounds of the event time, in microseconds; None: unknown.
    """

    rows: npt.NDArray[np.int64]
    least: Mapping[str, pa.Array]
    largest: Mapping[str, pa.Array]
    nulls: Mapping[str, npt.NDArray[np.int64]]
    event_times: tuple[Micros, Micros] | None = None


def decidable(condition: Expr, stream: StreamType) -> bool:
    """Whether ranges can say something about a condition, which can't fail on any row of a known range.

    >>> from streamlib.core.expressions import col
    >>> stream = StreamType(pa.schema({"price": pa.int64()}))
    >>> decidable((col("price") > 3) & col("price").is_not_null(), stream)
    True
    >>> decidable(col("price") // 2 > 3, stream)
    False
    """
    match condition:
        case Literal(value=bool() | None):
            return True
        case Unary(operator="~"):
            return decidable(condition.operand, stream)
        case Binary(operator="&" | "|"):
            return decidable(condition.left, stream) and decidable(condition.right, stream)
        case IsNull():
            return isinstance(condition.operand, Column)
        case Column():
            return pa.types.is_boolean(stream.field(condition.name).type)
        case Method(operands=(value, *_)) if not isinstance(value, Column | EventTime):
            return False
        case Binary() | Method():
            return all(_known(left, right, stream) for _, left, right in _comparisons(condition))
    return False


def _known(left: Expr, right: Expr, stream: StreamType) -> bool:
    if isinstance(left, Literal) or not isinstance(right, Literal):
        return False
    if not isinstance(right.value, bool | int | float | str | bytes) and not hasattr(right.value, "year"):
        return False  # decimals and durations: a column may fail to be converted to their type
    if isinstance(left, Column):
        dtype = stream.field(left.name).type
        return family(dtype) in _PLAIN | _MOMENTS and not pa.types.is_float16(dtype)
    return isinstance(left, EventTime)


def _comparisons(condition: Expr) -> Iterator[tuple[str, Expr, Expr]]:
    """The comparisons of a column with a literal that a leaf is made of, or one that no range decides."""
    match condition:
        case Binary(operator=operator) if operator in _MIRRORED:
            if isinstance(condition.left, Literal):
                yield _MIRRORED[operator], condition.right, condition.left
            else:
                yield operator, condition.left, condition.right
        case Method(function="is_between", operands=(value, low, high)):
            closed = dict(condition.options)["closed"]
            yield ">=" if closed in ("both", "left") else ">", value, low
            yield "<=" if closed in ("both", "right") else "<", value, high
        case Method(function="is_in", operands=(value,)):
            yield from (("==", value, Literal(v)) for v in dict(condition.options)["values"] if v is not None)
        case _:
            yield "?", condition, condition


def may_hold(condition: Expr, stream: StreamType, ranges: Ranges) -> Mask:
    """For each part whether some of its rows may meet a `decidable` condition, or may fail at it."""
    try:
        possible, _ = _Judge(stream, ranges).possible(condition)
    except (StreamlibError, pa.ArrowException, OverflowError):  # as it would on the rows
        return np.ones(len(ranges.rows), np.bool_)
    return possible | _may_fail(condition, stream, ranges)


def _may_fail(condition: Expr, stream: StreamType, ranges: Ranges) -> Mask:
    """Moments may not fit another unit; those whose bounds could be computed with do."""
    found = np.zeros(len(ranges.rows), np.bool_)
    for node in nodes(condition):
        if isinstance(node, Column) and family(stream.field(node.name).type) in _MOMENTS:
            found |= _unknown(ranges, node.name) & (ranges.nulls[node.name] != ranges.rows)
    return found


def _unknown(ranges: Ranges, name: str) -> Mask:
    bounds = ranges.least[name], ranges.largest[name]
    found: Mask = np.logical_or(*(b.is_null().to_numpy(zero_copy_only=False) for b in bounds))
    return found


class _Judge:
    """Judges expressions, leaves first."""

    def __init__(self, stream: StreamType, ranges: Ranges) -> None:
        self._stream = stream
        self._ranges = ranges
        self._count = len(ranges.rows)
        self._all = np.ones(self._count, np.bool_)

    def possible(self, condition: Expr) -> Possible:
        """Which of true and false there may be."""
        match condition:
            case Literal():
                return self._all & (condition.value is True), self._all & (condition.value is False)
            case Unary():
                true, false = self.possible(condition.operand)
                return false, true
            case Binary(operator="&"):
                return self._both(self.possible(condition.left), self.possible(condition.right))
            case Binary(operator="|"):
                return self._either(self.possible(condition.left), self.possible(condition.right))
            case IsNull(operand=Column(name=name)):
                nulls = self._ranges.nulls[name]
                some, others = nulls != 0, nulls != self._ranges.rows
                return (others, some) if condition.negated else (some, others)
            case Column():
                return self._compared("==", condition, Literal(True))
        return self._leaf(condition)

    def _both(self, one: Possible, other: Possible) -> Possible:
        return one[0] & other[0], one[1] | other[1]

    def _either(self, one: Possible, other: Possible) -> Possible:
        return one[0] | other[0], one[1] & other[1]

    def _leaf(self, condition: Expr) -> Possible:
        parts = [self._compared(*comparison) for comparison in _comparisons(condition)]
        if isinstance(condition, Method) and condition.function == "is_in":
            true, false = ~self._all, self._all
            for part in parts:
                true, false = self._either((true, false), part)
            return true, self._all
        first, *others = parts
        for other in others:
            first = self._both(first, other)
        return first

    def _compared(self, operator: str, left: Expr, right: Expr) -> Possible:
        """A comparison of a column with a literal, by that of its bounds: false where they are unknown."""
        if operator in ("==", "!="):
            equal = self._holds("<=", left, right, 0) & self._holds(">=", left, right, 1)
            other = ~(self._holds("==", left, right, 0) & self._holds("==", left, right, 1))
            found = (equal, other) if operator == "==" else (other, equal)
        else:  # true first for the least values, or for the largest
            first = 0 if operator in ("<", "<=") else 1
            found = self._holds(operator, left, right, first), ~self._holds(operator, left, right, 1 - first)
        return self._with_nan(operator, left, self._with_unknown(left, found))

    def _holds(self, operator: str, left: Expr, right: Expr, bound: int) -> Mask:
        bound_expr = bind(Binary(operator, left, right), self._stream)
        found = as_arrow(bound_expr.evaluate(self._rows(left, bound)), pa.bool_())
        return found.fill_null(False).to_numpy(zero_copy_only=False)

    def _rows(self, left: Expr, bound: int) -> Batch:
        """The least (0) or the largest (1) values as rows."""
        times = self._ranges.event_times
        if isinstance(left, EventTime):
            assert times is not None
            schema = self._stream.schema
            return Batch(schema, [pa.nulls(self._count, f.type) for f in schema], self._count, times[bound])
        column: Any = (self._ranges.least, self._ranges.largest)[bound]
        schema = self._stream.schema
        return Batch(
            schema,
            [column[f.name] if f.name in column else pa.nulls(self._count, f.type) for f in schema],
            self._count,
        )

    def _with_unknown(self, left: Expr, found: Possible) -> Possible:
        if not isinstance(left, Column):
            return found
        unknown = _unknown(self._ranges, left.name)
        values = self._ranges.nulls[left.name] != self._ranges.rows
        return (found[0] | unknown) & values, (found[1] | unknown) & values

    def _with_nan(self, operator: str, left: Expr, found: Possible) -> Possible:
        """Bounds leave NaN out, for which only `!=` is true."""
        if not isinstance(left, Column) or family(self._stream.field(left.name).type) is not Family.FLOAT:
            return found
        return (self._all, found[1]) if operator == "!=" else (found[0], self._all)
