"""Conditions: expressions that are true or false, of which null counts as false."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Batch, as_arrow, as_numpy
from streamlib.core.contracts import StreamType
from streamlib.core.errors import TypeMismatchError
from streamlib.core.expressions import Bound, Expr, bind


def bound_condition(condition: Expr, stream: StreamType) -> Bound:
    """The condition over rows of `stream`. Raises `TypeMismatchError` for an expression of another type."""
    bound = bind(condition, stream)
    if not pa.types.is_boolean(bound.dtype):
        raise TypeMismatchError(
            "a condition must be true or false",
            expected="an expression of type bool",
            found=f"{condition!r} of type {bound.dtype}",
            remedy="compare it with something, for example `col('price') > 100`",
        )
    return bound


def true_rows(condition: Bound, batch: Batch) -> npt.NDArray[np.bool_]:
    """For which rows the condition is true."""
    found = condition.evaluate(batch)
    if isinstance(found, np.ndarray):
        return found
    mask = as_numpy(found)
    return mask if mask is not None else as_arrow(found).fill_null(False).to_numpy(zero_copy_only=False)
