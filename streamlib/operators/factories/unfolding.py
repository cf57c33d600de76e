"""The factory of what makes several rows of one, without a function: `explode`."""

from __future__ import annotations

from streamlib.core.policies import ErrorPolicy
from streamlib.operators.explode_lists import Explode
from streamlib.operators.factories.common import Transform, column_names, then


def explode(*columns: str, on_error: ErrorPolicy = "fail") -> Transform:
    """A row for every element of the lists in a column; the other columns are repeated.

    An empty list or a null gives one row with a null, as Polars does with `empty_as_null=True`: no row is
    lost. Several columns are exploded side by side, and their lists have to be of one length. The rows
    inherit the event time. Of a changelog they are deletions and insertions, since an update may have
    other elements than before.

    `on_error` (see `map`) says what happens to a row with lists of different lengths.

    Raises:
        UnknownColumnError, TypeMismatchError: when the flow is bound, for a column that is not of lists.
        DefinitionError: while it runs, for lists of different lengths in a row.

    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> orders = sl.read(memory.source([{"id": 1, "items": ["pen", "cup"]}]), name="orders")
    >>> orders.explode("items").collect().to_pylist()
    [{'id': 1, 'items': 'pen'}, {'id': 1, 'items': 'cup'}]
    """
    return then(Explode(column_names("explode", columns)), on_error=on_error)
