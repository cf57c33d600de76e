"""Aggregates that say how values are spread: `var`, `std`, `median`, `quantile`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Batch, Column, as_arrow
from streamlib.core.contracts import StreamType
from streamlib.core.errors import DefinitionError, TypeMismatchError, shown
from streamlib.core.expressions import Bound, Expr, bind, columns
from streamlib.core.where import caller
from streamlib.operators.arguments import argument, nullable, values_of
from streamlib.operators.bound_aggregate import Aggregate, BoundAggregate, StateField, Vector
from streamlib.operators.filtered import filtered
from streamlib.operators.grouping import Codes, decoded_type
from streamlib.operators.kept_values import Finish, Keeping, kept_values
from streamlib.operators.lists import Lists

Interpolation = Literal["nearest", "lower", "higher", "midpoint", "linear"]


@dataclass(frozen=True, eq=False)
class Spread(Aggregate):
    """Made by `var` and `std`."""

    kind: Literal["var", "std"]
    argument: Expr
    ddof: int

    def reads(self) -> frozenset[str] | None:
        return columns(self.argument)

    def bind(self, name: str, stream: StreamType) -> BoundAggregate:
        bound = _numbers(self, self.argument, stream)
        if stream.changes is None:
            return BoundSpread(name, self, bound)
        return kept_values(name, bound, pa.float64(), pa.float64(), Keeping(counted=True), self._of_lists)

    def keeps(self, stream: StreamType) -> str | None:
        return None if stream.changes is None else f"the values of {self.argument!r}"

    def _of_lists(self, lists: Lists) -> Column:
        count = len(lists.lengths)
        return self.result(_moments(np.asarray(lists.columns[0]), lists.owners(), count, lists.lengths))

    def result(self, moments: Sequence[Vector]) -> Column:
        """The result column of groups with these numbers, means and squares."""
        n, _, squares = moments
        enough = n > self.ddof
        found = squares / np.where(enough, n - self.ddof, 1)
        return nullable(np.sqrt(found) if self.kind == "std" else found, enough, pa.float64())

    def __repr__(self) -> str:
        return f"{self.kind}({self.argument!r}{'' if self.ddof == 1 else f', ddof={self.ddof}'})"


class BoundSpread(BoundAggregate):
    """How many, their mean, and the sum of squared distances from it: so nothing large is subtracted.

    Merged as by Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances" (1979), any number of states at a time.
    """

    def __init__(self, name: str, aggregate: Spread, bound: Bound) -> None:
        self.name = name
        self.dtype = pa.float64()
        self.state = (
            StateField("n", pa.int64()),
            StateField("mean", pa.float64()),
            StateField("squares", pa.float64()),
        )
        self._aggregate = aggregate
        self._bound = bound

    def partial(self, batch: Batch, codes: Codes, count: int, rows: Vector) -> list[Column]:
        found = values_of(self._bound.evaluate(batch), codes)
        n = rows if found.complete else np.bincount(found.codes, minlength=count)
        return list(_moments(_floats(found.values), found.codes, count, n))

    def merge(self, states: Sequence[Column], codes: Codes, count: int) -> list[Column]:
        n, mean, squares = (np.asarray(s) for s in states)
        total = np.bincount(codes, weights=n, minlength=count)
        there = np.flatnonzero(n)
        near = np.zeros(count)
        near[codes.take(there)] = mean.take(there)
        with np.errstate(all="ignore"):  # infinities
            centre = near + _sums(n * (mean - near.take(codes)), codes, count) / np.maximum(total, 1)
            apart = np.where(n > 0, mean - centre.take(codes), 0.0)
            distances = squares + n * apart * apart
        return [total.astype(np.int64), centre, _sums(distances, codes, count)]

    def finish(self, states: Sequence[Column]) -> Column:
        return self._aggregate.result([np.asarray(s) for s in states])


def _moments(values: Vector, codes: Codes, count: int, n: Vector) -> tuple[Vector, Vector, Vector]:
    """Of `n` values of each group: how many, their mean, the sum of squared distances from it."""
    with np.errstate(all="ignore"):  # infinities: their spread is NaN
        if len(values) == count and bool((n == 1).all()):  # each value alone
            mean = np.empty(count)
            mean[codes] = values
            return n, mean, mean - mean
        near = np.zeros(count)
        near[codes] = values  # one of each group: a sum of large values would lose their digits
        mean = near + _sums(values - near.take(codes), codes, count) / np.maximum(n, 1)
        apart = values - mean.take(codes)
        return n, mean, _sums(apart * apart, codes, count)


def _sums(values: Vector, codes: Codes, count: int) -> Vector:
    return np.bincount(codes, weights=values, minlength=count)


def _floats(values: Column) -> Vector:
    if isinstance(values, np.ndarray):
        return values.astype(np.float64, copy=False)
    return np.asarray(as_arrow(values).cast(pa.float64()))  # decimals


@dataclass(frozen=True, eq=False)
class Quantile(Aggregate):
    """Made by `median` and `quantile`."""

    kind: Literal["median", "quantile"]
    argument: Expr
    quantiles: tuple[float, ...]
    several: bool
    interpolation: Interpolation

    def reads(self) -> frozenset[str] | None:
        return columns(self.argument)

    def bind(self, name: str, stream: StreamType) -> BoundAggregate:
        bound = _numbers(self, self.argument, stream)
        dtype = pa.list_(pa.float64()) if self.several else pa.float64()
        keeping = Keeping(counted=stream.changes is not None)
        return kept_values(name, bound, pa.float64(), dtype, keeping, self._finish())

    def keeps(self, stream: StreamType) -> str | None:
        return f"the values of {self.argument!r}"

    def _finish(self) -> Finish:
        def finish(lists: Lists) -> Column:
            found = [quantile_of(lists, q, self.interpolation) for q in self.quantiles]
            filled = lists.lengths > 0
            if not self.several:
                return nullable(found[0], filled, pa.float64())
            flat = np.stack(found, axis=1)[filled].ravel()
            ends = np.concatenate([[0], np.cumsum(filled * len(found))]).astype(np.int32)
            return pa.ListArray.from_arrays(pa.array(ends), pa.array(flat), mask=pa.array(~filled))

        return finish

    def __repr__(self) -> str:
        if self.kind == "median":
            return f"median({self.argument!r})"
        of = list(self.quantiles) if self.several else self.quantiles[0]
        how = "" if self.interpolation == "nearest" else f", interpolation={self.interpolation!r}"
        return f"quantile({self.argument!r}, {of!r}{how})"


def quantile_of(lists: Lists, q: float, interpolation: Interpolation) -> Vector:
    """A quantile of each ordered list; of empty ones anything."""
    values = np.asarray(lists.columns[0])
    if not len(values):
        return np.zeros(len(lists.lengths))
    starts = lists.ends() - lists.lengths
    last = np.maximum(lists.lengths - 1, 0)
    place = q * last
    low, high = np.floor(place).astype(np.int64), np.ceil(place).astype(np.int64)
    if interpolation == "nearest":
        low = high = np.floor(place + 0.5).astype(np.int64)  # halves go up
    elif interpolation == "lower":
        high = low
    elif interpolation == "higher":
        low = high
    most = len(values) - 1  # lists that are empty may stand at the end
    below = values.take(np.minimum(starts + low, most))
    above = values.take(np.minimum(starts + high, most))
    share = (low < high) * (0.5 if interpolation == "midpoint" else place - low)
    with np.errstate(all="ignore"):
        between = below + (above - below) * share
        apart = np.isinf(above - below) & (np.isfinite(below + above) | (interpolation == "midpoint"))
        between = np.where(apart, below * (1 - share) + above * share, between)
    return np.where((share == 0) | (below == above), below, between)


def _numbers(aggregate: Aggregate, column: Expr, stream: StreamType) -> Bound:
    bound = bind(column, stream)
    dtype = decoded_type(bound.dtype)
    number = pa.types.is_integer(dtype) or pa.types.is_floating(dtype)
    if not (number or pa.types.is_boolean(dtype) or pa.types.is_decimal(dtype)):
        raise TypeMismatchError(
            f"{aggregate!r} can't be computed",
            expected="a number",
            found=str(dtype),
            remedy="cast the column, for example durations to int64 microseconds",
        )
    return bound


def var(column: str | Expr, *, ddof: int = 1, filter: Expr | None = None) -> Aggregate:
    """The variance as float64, nulls skipped; null where there are no more than `ddof` values.

    Args:
        column: numbers or booleans (0 and 1).
        ddof: what is taken from the number of values that the squares are divided by: 1 for a sample
            (as Polars), 0 for all there is.
        filter: only rows for which this is true take part.

    Numerically stable, also where the values are large and close together. An infinity or a NaN among
    the values makes NaN. Over a changelog the state keeps every value.

    >>> var("price")
    var(col('price'))
    """
    return filtered(Spread("var", argument(column), _checked_ddof(ddof)), filter)


def std(column: str | Expr, *, ddof: int = 1, filter: Expr | None = None) -> Aggregate:
    """The standard deviation: the root of `var`.

    >>> std("price", ddof=0)
    std(col('price'), ddof=0)
    """
    return filtered(Spread("std", argument(column), _checked_ddof(ddof)), filter)


def median(column: str | Expr, *, filter: Expr | None = None) -> Aggregate:
    """The exact median as float64, nulls skipped: the mean of the two middle values. Null without a value.

    NaN counts as the largest value, as in Polars. The state keeps every value.

    >>> median("price")
    median(col('price'))
    """
    return filtered(Quantile("median", argument(column), (0.5,), False, "linear"), filter)


def quantile(
    column: str | Expr,
    quantile: float | Sequence[float],
    *,
    interpolation: Interpolation = "nearest",
    filter: Expr | None = None,
) -> Aggregate:
    """Exact quantiles as float64, nulls skipped; a list where several are asked for. Null without a value.

    Args:
        column: numbers or booleans (0 and 1); integers beyond 2^53 are rounded.
        quantile: from 0 to 1, or several such.
        interpolation: which value where the quantile lies between two: the `nearest` (as Polars; in the
            middle the larger), the `lower`, the `higher`, the `midpoint`, or on the line between: `linear`.
        filter: only rows for which this is true take part.

    NaN counts as the largest value, as in Polars. The state keeps every value.

    >>> quantile("delay", [0.5, 0.99], interpolation="linear")
    quantile(col('delay'), [0.5, 0.99], interpolation='linear')
    """
    several = isinstance(quantile, Sequence) and not isinstance(quantile, str)
    wanted = tuple(quantile) if isinstance(quantile, Sequence) else (quantile,)
    numbers = bool(wanted) and all(isinstance(q, int | float) and 0 <= q <= 1 for q in wanted)
    if not numbers or interpolation not in get_args(Interpolation):
        raise DefinitionError(
            "not a quantile",
            expected=f"one or more numbers from 0 to 1, and one of {', '.join(get_args(Interpolation))}",
            found=f"{shown(quantile)}, interpolation={interpolation!r}",
            remedy='for example `quantile("delay", 0.9)`',
        ).at("aggregate", caller())
    aggregate = Quantile("quantile", argument(column), tuple(map(float, wanted)), several, interpolation)
    return filtered(aggregate, filter)


def _checked_ddof(ddof: int) -> int:
    if not isinstance(ddof, int) or ddof < 0:
        raise DefinitionError(
            "`ddof` is a number of values", expected="a whole number from 0 on", found=shown(ddof)
        ).at("aggregate", caller())
    return ddof
