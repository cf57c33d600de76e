"""What operators that look at one row at a time do to the identity of a changelog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Batch, as_arrow
from streamlib.core.changes import Changelog
from streamlib.core.contracts import StreamType
from streamlib.core.errors import UserFunctionError, shown
from streamlib.core.expressions import Expr
from streamlib.core.expressions.ast import Alias, Column


def carried(stream: StreamType, names: Mapping[str, str]) -> Changelog | None:
    """The changelog after columns were chosen; `names` says how each that stays as it was is called now.

    Without one of its columns the identity is lost: two rows may then look alike.
    """
    if stream.changes is None or stream.changes.identity is None:
        return stream.changes
    if not all(column in names for column in stream.changes.identity):
        return Changelog(None)
    return Changelog(tuple(names[column] for column in stream.changes.identity))


def plain_columns(expressions: Mapping[str, Expr]) -> dict[str, str]:
    """The columns that expressions pass on as they are: their name before, and after."""
    found: dict[str, str] = {}
    for name, expression in expressions.items():
        inner = expression.operand if isinstance(expression, Alias) else expression
        if isinstance(inner, Column):
            found.setdefault(inner.name, name)
    return found


def same_columns(stream: StreamType, schema: pa.Schema) -> dict[str, str]:
    """The columns that a function seems to pass on: those of the same name and type."""
    before = {field.name: field.type for field in stream.schema}
    return {field.name: field.name for field in schema if before.get(field.name) == field.type}


def after_function(stream: StreamType, schema: pa.Schema) -> StreamType:
    """What a stream becomes when a function of the user gives its rows other columns.

    Event time and keys go on; an operator that needs a key column notices if it is gone. Of a
    changelog the identity goes on while its columns are there, of the same types.
    """
    return replace(stream, schema=schema, changes=carried(stream, same_columns(stream, schema)))


def left_alone(out: StreamType) -> tuple[str, ...]:
    """The columns that a function over a changelog has to leave alone."""
    return () if out.changes is None or out.changes.identity is None else out.changes.identity


def check_identity(
    before: Batch, after: Batch, identity: tuple[str, ...], parents: npt.NDArray[np.intp] | None, who: str
) -> None:
    """Raise `UserFunctionError` where a function changed what names a row: its updates would miss it."""
    for name in identity:
        old, new = as_arrow(before.column(name)), as_arrow(after.column(name))
        old = old if parents is None else old.take(pa.array(parents))
        if old.cast(new.type).equals(new):
            continue
        row = next(i for i in range(len(new)) if old[i] != new[i])
        raise UserFunctionError(
            f"{who} changed the column {name!r}, which names the rows of a changelog",
            expected=f"{shown(old[row].as_py())} as it was, so that later changes find the row",
            found=shown(new[row].as_py()),
            remedy=f"leave {name!r} as it is and give the new value a column of its own",
        )
