"""Errors of expressions at run time: which rows failed, and what to do."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from streamlib.core.errors import ArithmeticOverflowError, StreamlibError, TypeMismatchError, shown
from streamlib.core.expressions.ast import Expr
from streamlib.core.expressions.types import Family, constructor_text, family, integer_range, type_text


def first_failing_row(attempt: Callable[[int, int], object], rows: int) -> int:
    """The first row on which `attempt(start, stop)` raises; it does for all `rows` together."""
    start, stop = 0, rows
    while stop - start > 1:
        middle = (start + stop) // 2
        try:
            attempt(start, middle)
            start = middle
        except pa.ArrowException:
            stop = middle
    return start


def python_value(scalar: pa.Scalar) -> object:
    """The value for an error message; moments that Python's types can't hold as ticks."""
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        return f"{scalar.value} {scalar.type.unit}"


def overflow(expr: Expr, dtype: pa.DataType, row: int, *operands: object) -> ArithmeticOverflowError:
    """The error for an exact result that leaves `dtype`."""
    least, most = integer_range(dtype)
    return ArithmeticOverflowError(
        f"{shown(expr)} overflows {type_text(dtype)}",
        expected=f"a result from {least} to {most}",
        found=f"the operands {' and '.join(map(str, operands))} in row {row} of the batch",
        remedy=_overflow_remedy(dtype),
    )


def _overflow_remedy(dtype: pa.DataType) -> str:
    if family(dtype) is not Family.INT:
        return "filter such rows out first, or guard them with sl.when(…).then(…)"
    if dtype.bit_width == 64:
        return "compute in floats or decimals: .cast(pa.float64()), .cast(pa.decimal128(19))"
    return "compute in a wider type: .cast(pa.int64())"


def out_of_range(expr: Expr, dtype: pa.DataType, row: int, value: object) -> ArithmeticOverflowError:
    """The error for an operand that does not fit the type in which the operands meet."""
    return ArithmeticOverflowError(
        f"an operand of {shown(expr)} does not fit {type_text(dtype)}",
        expected=f"values in the range of {type_text(dtype)}, the type in which the operands meet",
        found=f"{shown(value)} in row {row} of the batch",
        remedy="filter such rows out first, or cast the operand of the finer unit to the coarser one",
    )


def does_not_cast(expr: Expr, dtype: pa.DataType, row: int, value: object) -> TypeMismatchError:
    """The error for a value that `.cast` can't convert."""
    return TypeMismatchError(
        f"{shown(expr)} failed: a value does not fit {type_text(dtype)}",
        expected=f"values that convert to {type_text(dtype)} without loss, or null",
        found=f"{shown(value)} in row {row} of the batch",
        remedy=_cast_remedy(value, dtype),
    )


def _cast_remedy(value: object, dtype: pa.DataType) -> str:
    if isinstance(value, float) and family(dtype) is Family.INT:
        return "round down first with `// 1`, and guard NaN and large values with sl.when(…).then(…)"
    if isinstance(value, str):
        return "guard such rows with sl.when(…).then(…), filter them out, or correct them in a function"
    return f"cast to a wider type than {constructor_text(dtype)}, or filter such rows out first"


def kernel_failed(expr: Expr, error: pa.ArrowException) -> StreamlibError:
    """Whatever else Arrow refused while rows were computed."""
    return StreamlibError(
        f"{shown(expr)} could not be computed",
        expected="values that Arrow's kernel takes",
        found=str(error).splitlines()[0],
        remedy="filter such rows out first, or guard them with sl.when(…).then(…)",
    )
