"""Factories of `decode` and `encode`: columns of messages."""

from __future__ import annotations

from typing import Any

from streamlib.core.errors import TypeMismatchError, shown
from streamlib.core.policies import ErrorPolicy
from streamlib.core.where import caller
from streamlib.formats.contract import Format
from streamlib.operators.factories.common import Transform, then
from streamlib.operators.messages import DecodeMessages, EncodeMessages


def decode(
    column: str, format: Format, *, into: str | None = None, on_error: ErrorPolicy = "fail"
) -> Transform:
    """The columns of the records in the place of a column of messages; all other columns stay.

    Rows keep their event time. With `formats.arrow` a message may hold any number of records, which are a row
    each. Messages are read many at a time, and those that can't be read fail one by one: unknown fields are
    no failure, a missing field (unless it may be null or has a default) and a value of another type are.

    Args:
        column: the column of messages: bytes or text.
        format: how they are written, for example `sl.formats.json(Bid)`.
        into: the name of a struct column for the records; default: a column for each of their fields.
        on_error: what happens to a message that can't be read: see `map`.

    Raises:
        TypeMismatchError: `format` is none.

    When the flow is bound, raises `UnknownColumnError` or `TypeMismatchError` where the column is not there
    or holds no messages, `DefinitionError` where two columns would have one name, or the stream is keyed by
    the column. When it runs, `FormatError` with the field, what it should be, and what was found.

    >>> from dataclasses import dataclass
    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> @dataclass
    ... class Bid:
    ...     auction: int
    ...     price: float
    >>> lines = ['{"auction": 1, "price": 2.5, "by": 7}', '{"auction": 2}', '{"auction": 3, "price": 4}']
    >>> rows = [{"at": i, "value": line} for i, line in enumerate(lines)]
    >>> texts = sl.read(memory.source(rows), name="texts")
    >>> texts.decode("value", sl.formats.json(Bid), on_error="skip").collect().to_pylist()
    [{'at': 0, 'auction': 1, 'price': 2.5}, {'at': 2, 'auction': 3, 'price': 4.0}]
    """
    return then(DecodeMessages(column, _checked(format, "decode"), into), on_error=on_error)


def encode(format: Format, *, into: str = "value", on_error: ErrorPolicy = "fail") -> Transform:
    """A message of each row in the place of the columns that the format names; all other columns stay.

    Args:
        format: how messages are written; its columns have to be in the stream, with its types.
        into: the name of the column of messages, which comes last.
        on_error: what happens to a row that can't be written: see `map`. A null in a field that is never null
            is one, and so is NaN in JSON.

    Raises:
        TypeMismatchError: `format` is none.

    When the flow is bound, raises `UnknownColumnError` or `TypeMismatchError` where a column is not there or
    has another type, `DefinitionError` where `into` is there already, or the stream is keyed by a column that
    goes.

    >>> import pyarrow as pa
    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> sales = sl.read(memory.source([{"shop": 1, "item": "pen", "price": 3}]), name="sales")
    >>> form = sl.formats.json({"item": pa.string(), "price": pa.int64()})
    >>> sales.encode(form).collect().to_pylist()
    [{'shop': 1, 'value': b'{"item":"pen","price":3}'}]
    """
    return then(EncodeMessages(_checked(format, "encode"), into), on_error=on_error)


def _checked(format: Any, operator: str) -> Format:
    if isinstance(format, Format):
        return format
    raise TypeMismatchError(
        f"`{operator}` needs a format",
        expected="for example sl.formats.json(Bid)",
        found=shown(format),
        remedy="call the format with a class of records, or with names and types of columns",
    ).at(operator, caller())
