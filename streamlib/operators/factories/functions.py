"""Factories of operators that call the user's own Python: per record, or per batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamlib.core.batch import schema_of
from streamlib.operators.factories.common import SchemaSpec, Transform, checked_function, then
from streamlib.operators.functions import MapBatches
from streamlib.operators.map_records import map_spec


def map(function: Callable[[Any], Any], *, schema: SchemaSpec | None = None) -> Transform:
    r"""One record in, one record out, by a Python function.

    The type hints of `function` say what a record is. Where its parameter is hinted as a dataclass,
    TypedDict or msgspec.Struct, it gets objects of that class (other columns are not looked at, and
    a field with a default may lack its column), else a dict of all columns. A result of such a class
    gives the output's columns and types; a function that returns a dict says them with `schema=`,
    which also overrides those of the hints. Timestamps with a time zone are datetimes in UTC.

    | hint | column |
    |---|---|
    | `bool`, `int`, `float`, `str`, `bytes` | bool, int64, float64, string, binary |
    | `datetime`, `date`, `time`, `timedelta` | timestamp[us, UTC], date32, time64[us], duration[us] |
    | `list[...]`, a record class | list, struct |
    | `Annotated[Decimal, pa.decimal128(12, 2)]` | exactly that type |
    | `... \| None` | may be null; without it a null is refused (in results: not inside structs) |

    Raises:
        DefinitionError: hints that can't be resolved, or that leave the output's columns open.

    When the flow is bound, raises `UnknownColumnError` for a field without column or default and
    `TypeMismatchError` for a column of another type. What the function raises comes through, with a
    note on function, row and record.

    >>> from dataclasses import dataclass
    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> @dataclass
    ... class Sale:
    ...     item: str
    ...     price: int
    >>> @dataclass
    ... class Label:
    ...     text: str
    >>> def label(sale: Sale) -> Label:
    ...     return Label(f"{sale.item}: {sale.price}")
    >>> sales = sl.read(memory.source([{"item": "pen", "price": 3, "shop": 7}]), name="sales")
    >>> sales.map(label).collect().to_pylist()
    [{'text': 'pen: 3'}]
    """
    return then(map_spec(checked_function(function), None if schema is None else schema_of(schema)))


def map_batches(function: Callable[[Any], Any], *, schema: SchemaSpec | None = None) -> Transform:
    """A function from one `pyarrow.RecordBatch` to another.

    The batch has the stream's columns and `__row__` (int32), the number of the row. A function that
    drops, adds or reorders rows names `__row__` in `schema` and returns it: event times follow it.
    Without it the row count must stay, and the order is trusted. `schema` defaults to the input's; a
    batch with other columns is refused.
    """
    return then(MapBatches(checked_function(function), None if schema is None else schema_of(schema)))
