"""What flows between bound nodes: numpy vectors, Arrow arrays, constants, and the ways between them.

Inside an expression a temporal vector in numpy is its integer ticks; `Bound.evaluate` gives it its
type back.
"""

from __future__ import annotations

from functools import reduce
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.batch import Batch, as_numpy
from streamlib.core.expressions.literals import LiteralValue, literal_array

Vector: TypeAlias = npt.NDArray[Any]


class UserRaisedError(Exception):
    """Carries what a user's function raised through the kernels around it; never leaves `Bound.evaluate`.

    Arrow's own errors become ours on the way, and those of the user must not.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class Node:
    """A bound expression: knows its type and computes its rows from a batch."""

    dtype: pa.DataType
    fresh: bool = False
    """Whether a numpy vector that `run` returns is held by nobody else, so that it may be overwritten."""
    quiet: bool = False
    """Whether no kernel in it can make numpy warn: silencing numpy costs more than a kernel over 100 rows."""

    def run(self, batch: Batch) -> Value:
        """One value per row, of `dtype`, or a constant. Raises a `StreamlibError`, or Arrow's own."""
        raise NotImplementedError

    def encoded(self, batch: Batch) -> Value:
        """As `run`, but text may come as codes of a dictionary, so that each word is worked on once."""
        return self.run(batch)


class Constant(Node):
    """A literal in the type that its place in the expression takes, ready for both kinds of kernels.

    Attributes:
        value: what the user wrote.
        scalar: for Arrow kernels.
        vector: for numpy kernels, without dimensions; None for null and for types numpy lacks.
    """

    quiet = True

    def __init__(self, value: LiteralValue, dtype: pa.DataType) -> None:
        self.value = value
        self.dtype = dtype
        row = literal_array(value, dtype)
        self.scalar = row[0]
        plain = as_numpy(row)
        self.vector = None if plain is None else plain.reshape(())

    def run(self, batch: Batch) -> Value:
        return self


Value: TypeAlias = pa.Array | Vector | Constant


def vector(value: Value) -> Vector | None:
    """The value for a numpy kernel; None where it has nulls or no plain numpy form."""
    return value.vector if isinstance(value, Constant) else as_numpy(value)


def to_arrow(value: Value, dtype: pa.DataType) -> pa.Array | pa.Scalar:
    """The value, which is of `dtype`, for an Arrow kernel."""
    if isinstance(value, np.ndarray):
        plain = pa.array(value)
        return plain if plain.type == dtype else plain.view(dtype)
    return value.scalar if isinstance(value, Constant) else value


def raw_vector(value: Value) -> Vector:
    """The numbers or ticks of an array, with whatever stands where it has nulls."""
    if not isinstance(value, np.ndarray | Constant) and value.null_count:
        buffers = [None, *value.buffers()[1:]]
        value = pa.Array.from_buffers(value.type, len(value), buffers, offset=value.offset)
    plain = vector(value)
    assert plain is not None
    return plain


def with_nulls_of(operands: tuple[Value, ...], computed: Vector, missing: Vector | None = None) -> Value:
    """`computed`, null where an operand is null or `missing` is true."""
    arrays = [operand for operand in operands if not isinstance(operand, np.ndarray | Constant)]
    present = [pc.is_valid(array) for array in arrays if array.null_count]
    if missing is not None and missing.any():
        present.append(pa.array(~missing))
    if not present:
        return computed
    plain = pa.array(computed)
    return pc.if_else(reduce(pc.and_, present), plain, pa.scalar(None, plain.type))
