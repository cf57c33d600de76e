"""Aggregates: `count`, `sum`, `mean`, `min`, `max`, each a handful of mergeable state columns.

An aggregate keeps columns, not objects. A state column has one way to merge (add, least, largest)
and the value of no rows, so that rows, batches, slices and workers all combine by the same rule,
in any order. Integers are exact: their sum is kept modulo 2^64 beside a floating estimate, which
tells a sum that does not fit int64 from one that merely passed beyond it on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.batch import Batch, Column, as_arrow, numpy_type
from streamlib.core.contracts import StreamType
from streamlib.core.errors import ArithmeticOverflowError, TypeMismatchError, shown
from streamlib.core.expressions import Expr, bind, columns
from streamlib.operators.arguments import Values, argument, nullable, restored, scattered, storage, values_of
from streamlib.operators.bound_aggregate import Aggregate, BoundAggregate, StateField, Vector
from streamlib.operators.filtered import filtered
from streamlib.operators.grouping import Codes, Groups, decoded_type, take_rows
from streamlib.operators.kept_values import Finish, Keeping, kept_values
from streamlib.operators.lists import Lists

Merge = Literal["sum", "min", "max"]


@dataclass(frozen=True)
class StateColumn(StateField):
    """A state column of a built-in aggregate: how two values become one, and the value of no rows."""

    merge: Merge

    def empty(self, count: int) -> Vector:
        """The values of `count` groups without rows."""
        if self.merge == "sum":
            return np.zeros(count, numpy_type(self.dtype))  # which the system has at hand
        return np.full(count, self._identity(), numpy_type(self.dtype))

    def _identity(self) -> float | int:
        if pa.types.is_floating(self.dtype):
            return np.nan  # fmin and fmax take the other one: NaN stays only where all are NaN
        limits = np.iinfo(numpy_type(self.dtype))
        return limits.max if self.merge == "min" else limits.min

    def ufunc(self) -> np.ufunc:
        """The numpy function that merges two values."""
        if self.merge == "sum":
            return np.add
        if pa.types.is_floating(self.dtype):
            return np.fmin if self.merge == "min" else np.fmax
        return np.minimum if self.merge == "min" else np.maximum

    def scatter(self, codes: Codes, count: int, values: Column) -> Column:
        """Merge `values` into `count` groups."""
        if not self.vector:
            return self._scatter_arrow(codes, count, values)
        cells = self.empty(count)
        ufunc = self.ufunc()
        # `reduce` would compute in the values' own type, and `at` is 30 times slower from another one
        values = np.asarray(values).astype(cells.dtype, copy=False)
        with np.errstate(all="ignore"):  # inf - inf is NaN, beyond float64 is inf
            if count == 1 and len(values):
                cells[0] = ufunc.reduce(values)
            else:
                ufunc.at(cells, codes, values)
        return cells

    def gathered(self, groups: Groups, values: Column) -> Column:
        """Merge the values of rows into their groups."""
        if groups.others is None or not self.vector:
            return self.scatter(groups.codes, groups.count, values)
        rows, codes = groups.others
        values = np.asarray(values).astype(numpy_type(self.dtype), copy=False)
        cells = values.take(groups.first)
        with np.errstate(all="ignore"):  # as in `scatter`
            self.ufunc().at(cells, codes, values.take(rows))
        return cells

    def _scatter_arrow(self, codes: Codes, count: int, values: Column) -> pa.Array:
        table = pa.table({"code": codes, "value": as_arrow(values, self.dtype)})
        grouped = table.group_by("code", use_threads=False).aggregate([("value", self.merge)])
        where = pc.index_in(pa.array(np.arange(count)), grouped["code"].combine_chunks())
        return as_arrow(grouped[f"value_{self.merge}"].combine_chunks().take(where), self.dtype)


@dataclass(frozen=True, eq=False)
class BuiltinAggregate(Aggregate):
    """Made by `count`, `sum`, `mean`, `min`, `max`."""

    kind: Literal["count", "sum", "mean", "min", "max"]
    argument: Expr | None = None

    def bind(self, name: str, stream: StreamType) -> BoundAggregate:
        if self.keeps(stream) is None:
            return BoundBuiltin(name, self, stream)
        assert self.argument is not None
        bound = bind(self.argument, stream)
        dtype = decoded_type(bound.dtype)
        _layout(self, dtype)  # which refuses types without an order
        return kept_values(
            name, bound, dtype, dtype, Keeping(counted=True, distinct=True), _extreme(self.kind, dtype)
        )

    def reads(self) -> frozenset[str] | None:
        return frozenset() if self.argument is None else columns(self.argument)

    def keeps(self, stream: StreamType) -> str | None:
        if stream.changes is None or self.kind not in ("min", "max"):
            return None
        return f"the values of {self.argument!r}"

    def __repr__(self) -> str:
        return f"{self.kind}({'' if self.argument is None else repr(self.argument)})"


def count(column: str | Expr | None = None, *, filter: Expr | None = None) -> Aggregate:
    """The number of rows; with `column`, of rows in which it is not null. int64.

    Args:
        column: a name or an expression.
        filter: only rows for which this is true take part, in this as in all other aggregates.

    >>> from streamlib import col
    >>> count(), count("price")
    (count(), count(col('price')))
    >>> from streamlib import col
    >>> count(filter=col("price") > 100)
    count(filter=(col('price') > 100))
    """
    return filtered(BuiltinAggregate("count", None if column is None else argument(column)), filter)


def sum(column: str | Expr, *, filter: Expr | None = None) -> Aggregate:
    """The sum, nulls skipped; 0 where there is nothing to add (as Polars).

    int64 for integers and booleans, float64 for floats, the widest type of their scale for decimals,
    the column's type for durations. Integers and decimals are exact: a result beyond int64, or of
    more digits than the decimal has, raises `ArithmeticOverflowError`.

    >>> sum("price")
    sum(col('price'))
    """
    return filtered(BuiltinAggregate("sum", argument(column)), filter)


def mean(column: str | Expr, *, filter: Expr | None = None) -> Aggregate:
    """The arithmetic mean as float64, nulls skipped; null where there is no value. Booleans are 0 and 1.

    >>> from streamlib import col
    >>> mean(col("delay") > 15)
    mean((col('delay') > 15))
    """
    return filtered(BuiltinAggregate("mean", argument(column)), filter)


def min(column: str | Expr, *, filter: Expr | None = None) -> Aggregate:
    """The least value, of the column's type; nulls and (as Polars) NaNs skipped; null without a value.

    >>> min("price")
    min(col('price'))
    """
    return filtered(BuiltinAggregate("min", argument(column)), filter)


def max(column: str | Expr, *, filter: Expr | None = None) -> Aggregate:
    """The largest value, of the column's type; nulls and (as Polars) NaNs skipped; null without a value.

    >>> max("price")
    max(col('price'))
    """
    return filtered(BuiltinAggregate("max", argument(column)), filter)


# --------------------------------------------------------------------------- bound to a schema

ROWS = StateColumn("rows", pa.int64(), "sum")
_VALID = StateColumn("n", pa.int64(), "sum")


class BoundBuiltin(BoundAggregate):
    """A built-in aggregate: every state column merges by a function of numpy or Arrow."""

    def __init__(self, name: str, aggregate: BuiltinAggregate, stream: StreamType) -> None:
        self.name = name
        self.aggregate = aggregate
        self._bound = None if aggregate.argument is None else bind(aggregate.argument, stream)
        self.argument_type = None if self._bound is None else decoded_type(self._bound.dtype)
        self._columns, self.dtype = _layout(aggregate, self.argument_type)
        if stream.changes is not None:
            self._columns = _retractable(self._columns)
        self.state = self._columns

    def partial(self, batch: Batch, codes: Codes, count: int, rows: Vector) -> list[Column]:
        if self._bound is None:
            return [rows]
        found = values_of(self._bound.evaluate(batch), codes)
        valid = rows if found.complete else np.bincount(found.codes, minlength=count)
        if self.aggregate.kind == "count":
            return [valid]
        if self.aggregate.kind in ("min", "max"):
            return [self._columns[0].scatter(found.codes, count, found.values), valid]
        sums = self._sums(found, count)
        return [*sums, valid] if self.aggregate.kind == "mean" else sums

    def each(self, batch: Batch, rows: Vector) -> list[Column]:
        first = self._columns[0]
        if self._bound is None or self.aggregate.kind == "count" or _NOT_FINITE[0] in self._columns:
            return super().each(batch, rows)
        found = values_of(self._bound.evaluate(batch), rows)
        if not (first.vector and found.complete and isinstance(found.values, np.ndarray)):
            return super().each(batch, rows)
        if found.values.dtype == np.uint64 and first.merge == "sum":  # which may not fit
            return super().each(batch, rows)
        state = found.values.astype(numpy_type(first.dtype), copy=False)
        if first.merge != "sum":
            return [state, rows]
        if state.dtype.kind == "f":
            state = state + 0.0  # a sum of -0.0 is 0.0
        sums: list[Column] = [state, state] if ESTIMATE in self._columns else [state]
        return [*sums, rows] if self.aggregate.kind == "mean" else sums

    def _sums(self, found: Values, count: int) -> list[Column]:
        if _NOT_FINITE[0] in self._columns:
            return self._finite_sums(found, count)
        total = self._columns[0].scatter(found.codes, count, found.values)
        if ESTIMATE not in self._columns:
            return [total]
        values = np.asarray(found.values)
        if len(values) * magnitude(values) < 2**63:  # no sum of these rows can leave int64
            return [total, total]
        return [total, np.bincount(found.codes, weights=values.astype(np.float64), minlength=count)]

    def merge(self, states: Sequence[Column], codes: Codes, count: int) -> list[Column]:
        return [c.scatter(codes, count, s) for c, s in zip(self._columns, states, strict=True)]

    def retracting(self, batch: Batch, codes: Codes, count: int, rows: Vector) -> list[Column]:
        states = self.partial(batch, codes, count, rows)
        return [-s if isinstance(s, np.ndarray) else pc.negate(s) for s in states]

    def _finite_sums(self, found: Values, count: int) -> list[Column]:
        """The sum of the finite values, and how many others there are: infinity can't be taken away."""
        values = np.asarray(found.values).astype(np.float64)
        finite = np.isfinite(values)
        if finite.all():
            none = np.zeros(count, np.int64)
            return [self._columns[0].scatter(found.codes, count, values), none, none, none]
        sums = self._columns[0].scatter(found.codes[finite], count, values[finite])
        others = (np.isnan(values), values == np.inf, values == -np.inf)
        return [sums, *(np.bincount(found.codes[mask], minlength=count) for mask in others)]

    def order_of(self, states: Sequence[Column], rows: Vector) -> Vector | None:
        values = np.asarray(states[0])
        if self.aggregate.kind == "count":
            return values
        # else some results may be null, or a sum may have left int64
        whole = {"sum": values, "min": rows, "max": rows}.get(self.aggregate.kind)
        return values if values.dtype.kind == "i" and len(states) > 1 and states[1] is whole else None

    def finish(self, states: Sequence[Column]) -> Column:
        kind = self.aggregate.kind
        if _NOT_FINITE[0] in self._columns:
            at = len(_NOT_FINITE) + 1
            states = [_with_not_finite(states[:at]), *states[at:]]
        if kind == "count":
            return states[0]
        if kind in ("min", "max"):
            return nullable(states[0], np.asarray(states[1]) > 0, self.dtype)
        if kind == "mean":
            return _mean(states)
        if ESTIMATE in self._columns and states[1] is not states[0]:
            _check_fits(self.name, np.asarray(states[0]), np.asarray(states[1]))
        if self._columns[0].vector:
            return restored(states[0], self.dtype)
        return _decimal_sum(self.name, as_arrow(states[0]), self.dtype)


ESTIMATE = StateColumn("estimate", pa.float64(), "sum")
"""A sum beside the exact one. While no part of that can wrap, the estimate is that very vector."""
_NOT_FINITE = tuple(StateColumn(name, pa.int64(), "sum") for name in ("nan", "infinite", "negative"))
"""Beside the sum of floats that can be taken back: how many NaNs and infinities are among them."""


def _retractable(state: tuple[StateColumn, ...]) -> tuple[StateColumn, ...]:
    """The state columns over a changelog, all sums. Floats need more: infinity can't be taken back."""
    return state if state[0].dtype != pa.float64() else (state[0], *_NOT_FINITE, *state[1:])


def _extreme(kind: str, dtype: pa.DataType) -> Finish:
    """The least or the largest of ordered values; NaN only where there is nothing else."""

    def finish(lists: Lists) -> Column:
        (values,) = lists.columns
        filled = np.flatnonzero(lists.lengths)
        ends = lists.ends().take(filled)
        at = ends - 1
        if kind == "min":
            at = ends - lists.lengths.take(filled)
        elif isinstance(values, np.ndarray) and values.dtype.kind == "f":
            at = at - ((lists.lengths.take(filled) > 1) & np.isnan(values.take(at)))
        return scattered(take_rows(values, at), filled, len(lists.lengths), dtype)

    return finish


def _with_not_finite(states: Sequence[Column]) -> Column:
    total, nan, infinite, negative = (np.asarray(s) for s in states)
    both = (infinite > 0) & (negative > 0)
    values = np.where(infinite > 0, np.inf, np.where(negative > 0, -np.inf, total))
    return np.where((nan > 0) | both, np.nan, values)


def _layout(
    aggregate: BuiltinAggregate, dtype: pa.DataType | None
) -> tuple[tuple[StateColumn, ...], pa.DataType]:
    """The state columns and the result type of an aggregate over a column of `dtype`."""
    kind = aggregate.kind
    if dtype is None or kind == "count":
        return (_VALID,), pa.int64()
    if kind in ("min", "max"):
        kept = storage(dtype)
        if kept is None:
            raise _not_aggregable(aggregate, dtype, "a type with an order")
        return (StateColumn("value", kept, "min" if kind == "min" else "max"), _VALID), dtype
    sums, result = _sum_layout(aggregate, dtype)
    return (sums, result) if kind == "sum" else ((*sums, _VALID), pa.float64())


def _sum_layout(
    aggregate: BuiltinAggregate, dtype: pa.DataType
) -> tuple[tuple[StateColumn, ...], pa.DataType]:
    if pa.types.is_integer(dtype) or pa.types.is_boolean(dtype):
        return (StateColumn("sum", pa.int64(), "sum"), ESTIMATE), pa.int64()
    if pa.types.is_floating(dtype):
        return (StateColumn("sum", pa.float64(), "sum"),), pa.float64()
    if pa.types.is_duration(dtype) and aggregate.kind == "sum":
        return (StateColumn("sum", pa.int64(), "sum"), ESTIMATE), dtype
    if pa.types.is_decimal(dtype):
        # 76 digits hold any sum of values of 38, and of more while there are fewer than 10^38 of them
        result = (pa.decimal256 if dtype.bit_width > 128 else pa.decimal128)(_digits(dtype), dtype.scale)
        return (StateColumn("sum", pa.decimal256(76, dtype.scale), "sum"),), result
    raise _not_aggregable(aggregate, dtype, "a number")


def _digits(dtype: pa.DataType) -> int:
    """How many digits the sum of decimals of a type can show."""
    return 76 if dtype.bit_width > 128 else 38


def _not_aggregable(aggregate: BuiltinAggregate, dtype: pa.DataType, expected: str) -> TypeMismatchError:
    return TypeMismatchError(
        f"{aggregate!r} can't be computed",
        expected=expected,
        found=str(dtype),
        remedy="cast the column, or aggregate another one",
    )


def magnitude(values: Vector) -> int:
    """The largest absolute value of integers; 0 of none."""
    if not len(values):
        return 0
    if values.dtype == np.int64:
        high = int(values.view(np.uint64).max())
        if high < 2**63:  # none is negative, which is known after one pass
            return high
    low, high = int(values.min()), int(values.max())
    return -low if -low > high else high


def _check_fits(name: str, total: Vector, estimate: Vector) -> None:
    """Refuse a sum beyond int64: there the wrapped total and the estimate differ by multiples of 2^64."""
    wrapped = np.abs(estimate - total.astype(np.float64)) > 2.0**63
    if wrapped.any():
        raise ArithmeticOverflowError(
            f"the sum {name!r} does not fit int64",
            expected="a total below 9.2e18 in absolute value",
            found=f"about {estimate[np.flatnonzero(wrapped)[0]]:.3e}",
            remedy="sum a cast of the column: `.cast(pa.float64())` or a decimal",
        )


def _decimal_sum(name: str, total: pa.Array, dtype: pa.DataType) -> pa.Array:
    try:
        return pc.fill_null(total, pa.scalar(0).cast(total.type)).cast(dtype)
    except pa.ArrowInvalid as cause:
        raise ArithmeticOverflowError(
            f"the sum {name!r} does not fit {dtype}",
            expected=f"a total of at most {dtype.precision} digits",
            found=shown(pc.max(pc.abs(total)).as_py()),
            remedy="sum a cast of the column: `.cast(pa.float64())` or a decimal256",
        ) from cause


def _mean(states: Sequence[Column]) -> Column:
    total, parts = _total(states[:-1])
    n = np.asarray(states[-1])
    with np.errstate(invalid="ignore", divide="ignore"):
        return nullable(total / (n * parts), n > 0, pa.float64())


def _total(sums: Sequence[Column]) -> tuple[Vector, float]:
    """The sum in so many parts of a unit: hundredths for decimals of two digits."""
    if not isinstance(sums[0], np.ndarray):  # decimals: Arrow's cast rounds more than once
        parts = sums[0].view(pa.decimal256(76, 0)).cast(pa.float64())
        return np.asarray(pc.fill_null(parts, 0.0)), 10.0 ** sums[0].type.scale
    total = sums[0].astype(np.float64)
    if len(sums) > 1:  # beyond int64 only the estimate is right
        estimate = np.asarray(sums[1])
        total = np.where(np.abs(estimate - total) > 2.0**63, estimate, total)
    return total, 1.0
