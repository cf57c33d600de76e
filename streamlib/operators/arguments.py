"""The argument of an aggregate: its values in a batch, and the type in which they are kept as state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Column, as_arrow, as_numpy, numpy_type
from streamlib.core.errors import DefinitionError, shown
from streamlib.core.expressions import Expr, col
from streamlib.core.where import caller
from streamlib.operators.bound_aggregate import StateField, Vector
from streamlib.operators.grouping import Codes, decoded


def argument(value: str | Expr) -> Expr:
    """The expression that an aggregate was given as its argument."""
    if isinstance(value, str):
        return col(value)
    if isinstance(value, Expr):
        return value
    raise DefinitionError(
        "an aggregate takes a column",
        expected="a column name or an expression",
        found=shown(value),
        remedy="wrap a constant in `sl.lit(...)`",
    ).at("aggregate", caller())


@dataclass(frozen=True)
class Values:
    """An argument's non-null values in a batch, and the group of each."""

    values: Column
    codes: Codes
    complete: bool
    """Whether no row was null, so that the rows' own count serves."""


def values_of(column: Column, codes: Codes) -> Values:
    """What of a column of a batch is not null."""
    vector = as_numpy(column)
    if vector is not None:
        return Values(_plain(vector), codes, complete=True)
    array = decoded(column)
    if array.null_count:
        codes = codes[array.is_valid().to_numpy(zero_copy_only=False)]
    kept = array.drop_null()
    vector = as_numpy(kept)
    return Values(kept if vector is None else _plain(vector), codes, complete=not array.null_count)


def _plain(vector: Vector) -> Vector:
    return vector.astype(np.int8) if vector.dtype == np.bool_ else vector


def storage(dtype: pa.DataType) -> pa.DataType | None:
    """In which type extremes of a column are kept: integers for whatever is one underneath."""
    if pa.types.is_boolean(dtype):
        return pa.int8()
    if pa.types.is_integer(dtype) or (pa.types.is_floating(dtype) and dtype != pa.float16()):
        return dtype
    if pa.types.is_temporal(dtype) and not pa.types.is_interval(dtype):
        return pa.int64() if dtype.bit_width == 64 else pa.int32()
    if pa.types.is_decimal(dtype):
        return dtype if dtype.bit_width >= 128 else pa.decimal128(dtype.precision, dtype.scale)
    if any(is_type(dtype) for is_type in _TEXT):
        return dtype
    return None


_TEXT = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
)


def as_kept(values: Column, field: StateField) -> Column:
    """Values that are not null in the form in which a column of state keeps them."""
    if field.vector:
        return np.asarray(values).astype(numpy_type(field.dtype), copy=False)
    return as_arrow(values, field.dtype)


def kept_or_null(column: Column, field: StateField) -> Column:
    """All values of a column of a batch in their kept form; an Arrow array where some are null."""
    vector = as_numpy(column)
    if vector is not None:
        return as_kept(vector, field)
    array = decoded(column)
    if not array.null_count and array is not column:  # dictionaries have no plain vector
        return kept_or_null(array, field)
    return array.view(field.dtype) if pa.types.is_temporal(array.type) else array.cast(field.dtype)


def nullable(values: Column, valid: npt.NDArray[np.bool_], dtype: pa.DataType) -> Column:
    """A result column: null where it is not `valid`."""
    if not isinstance(values, np.ndarray) or valid.all():
        return restored(values, dtype)
    return restored(pa.array(values, mask=~valid), dtype)


def restored(values: Column, dtype: pa.DataType) -> Column:
    """From the storage type back to the column's."""
    if pa.types.is_boolean(dtype):
        return as_arrow(values).cast(pa.bool_())
    if pa.types.is_temporal(dtype):
        return as_arrow(values).view(dtype)
    return values if isinstance(values, np.ndarray) else as_arrow(values, dtype)


def scattered(values: Column, groups: npt.NDArray[np.intp], count: int, dtype: pa.DataType) -> Column:
    """A result for each of `count` groups: `values`, as they are kept, of some, and null of the others."""
    if len(groups) == count:
        return restored(values, dtype)
    at = np.full(count, -1, np.int64)
    at[groups] = np.arange(len(groups))
    return restored(as_arrow(values).take(pa.array(at, mask=at < 0)), dtype)
