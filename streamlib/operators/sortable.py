"""Which columns rows can be put in order by."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.errors import TypeMismatchError


def check_order(name: str, dtype: pa.DataType) -> None:
    """Raise `TypeMismatchError` for a column whose values have no order."""
    try:
        pc.sort_indices(pa.table({name: pa.array([], dtype)}), sort_keys=[(name, "descending")])
    except pa.ArrowException:
        raise TypeMismatchError(
            f"{name!r} has no order, so that none of its values is largest",
            expected="numbers, times, texts or bools",
            found=str(dtype),
            remedy="name another column",
        ) from None
