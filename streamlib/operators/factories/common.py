"""What the factories share: transforms, and the checks of their arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, TypeVar

import pyarrow as pa

from streamlib.core.contracts import OperatorSpec
from streamlib.core.errors import DefinitionError, TypeMismatchError, shown
from streamlib.core.expressions import Expr, col
from streamlib.core.policies import ErrorPolicy
from streamlib.core.where import caller
from streamlib.plan.stream import Handle

H = TypeVar("H", bound=Handle)
"""The kind of handle that a transform takes and gives."""

SchemaSpec: TypeAlias = pa.Schema | Mapping[str, pa.DataType]


class Transform(Protocol):
    """A function from a stream to a stream of the same kind of handle."""

    def __call__(self, stream: H, /) -> H: ...


def then(
    spec: OperatorSpec, *others: Handle, name: str | None = None, on_error: ErrorPolicy = "fail"
) -> Transform:
    """The transform that puts an operator over a stream (and `others`)."""

    def apply(stream: H, /) -> H:
        return stream.then(spec, *others, name=name, on_error=on_error)

    return apply


def expressions(columns: tuple[str | Expr, ...], named: dict[str, str | Expr]) -> tuple[Expr, ...]:
    """At least one expression, of columns and of `name=expression`."""
    found = [expression(c) for c in columns]
    found += [expression(value).alias(name) for name, value in named.items()]
    if not found:
        raise DefinitionError("no columns were named", expected="at least one column or expression").at(
            None, caller()
        )
    return tuple(found)


def expression(value: str | Expr) -> Expr:
    """An expression, or the column of that name."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, str):
        return col(value)
    raise TypeMismatchError(
        "this is not an expression",
        expected="a column name or an expression such as col('price') * 2",
        found=shown(value),
        remedy="wrap a constant in `sl.lit(...)`",
    ).at(None, caller())


def checked_function(function: Any) -> Any:
    """`function`, if it can be called."""
    if not callable(function):
        raise TypeMismatchError("this is not a function", expected="a callable", found=shown(function)).at(
            None, caller()
        )
    return function


def column_names(operator: str, columns: tuple[str, ...]) -> tuple[str, ...]:
    """At least one name, each once."""
    if not columns or not all(isinstance(c, str) for c in columns) or len(set(columns)) < len(columns):
        raise DefinitionError(
            f"`{operator}` takes columns",
            expected="one or more different column names",
            found=shown(columns),
        ).at(operator, caller())
    return columns
