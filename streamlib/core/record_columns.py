"""Columns as objects of a class of records, and back: whole columns at a time.

A batch becomes one list per field first, then the objects are made by one call of the class each.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from operator import attrgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.batch import Batch, as_arrow
from streamlib.core.errors import (
    TypeMismatchError,
    UnknownColumnError,
    UserFunctionError,
    did_you_mean,
    shown,
)
from streamlib.core.hints import Hint, RecordClass, RecordField
from streamlib.core.python_values import filled, python_values

_READS: dict[type, tuple[Callable[[pa.DataType], bool], ...]] = {
    bool: (pa.types.is_boolean,),
    int: (pa.types.is_integer,),
    float: (pa.types.is_floating, pa.types.is_integer),
    str: (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    bytes: (
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
        lambda dtype: pa.types.is_fixed_size_binary(dtype) and not pa.types.is_decimal(dtype),
    ),
    datetime: (pa.types.is_timestamp,),
    date: (pa.types.is_date,),
    time: (pa.types.is_time,),
    timedelta: (pa.types.is_duration,),
    Decimal: (pa.types.is_decimal,),
    list: (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list),
}
"""Of which column types a Python type can be read."""


class RecordReader:
    """Makes objects of a class of records from batches of one schema.

    Raises `UnknownColumnError` for a field without a column (and without a default), `TypeMismatchError`
    for a column of a type that its field's hint does not take.
    """

    def __init__(self, record: RecordClass, schema: pa.Schema) -> None:
        self._record = record
        self._fields = [field for field in record.fields if _has_column(field, record, schema)]
        self._make = _maker(record, self._fields)
        self._columns = [schema.get_field_index(field.name) for field in self._fields]
        for field, column in zip(self._fields, self._columns, strict=True):
            place = f"field {field.name!r} of {record.cls.__name__}"
            _check_type(field.hint, schema.field(column).type, place)

    @property
    def columns(self) -> list[str]:
        """The columns that are read; others are not looked at."""
        return [field.name for field in self._fields]

    def read(self, batch: Batch) -> list[Any]:
        """One object per row.

        Raises `TypeMismatchError` for a null where the field can't be None. What the class itself
        raises comes through, with a note on the row.
        """
        lists = []
        for field, index in zip(self._fields, self._columns, strict=True):
            array = as_arrow(batch.columns[index], batch.schema.field(index).type)
            lists.append(_values(field.hint, array, f"{self._record.cls.__name__}.{field.name}"))
        return self._make(lists, batch.num_rows)


def _has_column(field: RecordField, record: RecordClass, schema: pa.Schema) -> bool:
    if not field.made:
        return False
    if field.name in schema.names:
        return True
    if field.optional:
        return False
    name = record.cls.__name__
    raise UnknownColumnError(
        f"the stream has no column for field {field.name!r} of {name}",
        expected=f"one of {', '.join(schema.names)}",
        found=f"{name}.{field.name}",
        remedy=did_you_mean(field.name, schema.names)
        or "name the field as a column, give it a default, or take it out of the class",
    )


def _check_type(hint: Hint, dtype: pa.DataType, place: str) -> None:
    plain = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
    if hint.python is Any or (pa.types.is_null(plain) and hint.nullable):
        return
    if hint.record is not None:
        if pa.types.is_struct(plain):
            _check_struct(hint.record, plain, place)
            return
    elif any(reads(plain) for reads in _READS.get(hint.python, ())):
        if hint.item is not None:
            _check_type(hint.item, plain.value_type, f"the items of {place}")
        return
    raise TypeMismatchError(
        f"{place} can't be read from this column",
        expected=f"a column that gives {getattr(hint.python, '__name__', hint.python)}",
        found=f"a column of type {dtype}",
        remedy="change the hint to the column's type, or cast the column before the function",
    )


def _check_struct(record: RecordClass, dtype: pa.DataType, place: str) -> None:
    schema = pa.schema([dtype.field(i) for i in range(dtype.num_fields)])
    for field in record.fields:
        if _has_column(field, record, schema):
            _check_type(field.hint, schema.field(field.name).type, f"{field.name!r} in {place}")


_Make = Callable[[list[list[Any]], int], list[Any]]
"""Makes so many objects of the lists of their fields' values."""


def _maker(record: RecordClass, fields: Sequence[RecordField]) -> _Make:
    names = [field.name for field in fields]
    if not names:
        return lambda lists, count: [record.cls() for _ in range(count)]
    if record.is_dict:
        make = dict_maker(tuple(names))
        return lambda lists, count: list(map(make, *lists))
    positional = [field.name for field in record.fields if field.made and not field.keyword]
    if names == positional[: len(names)]:
        return lambda lists, count: _made(record, map(record.cls, *lists), names, lists)
    by_name = dict_maker(tuple(names))
    return lambda lists, count: _made(
        record, (record.cls(**arguments) for arguments in map(by_name, *lists)), names, lists
    )


@functools.lru_cache(256)
def dict_maker(names: tuple[str, ...]) -> Callable[..., dict[str, Any]]:
    """A function from values to a dict with these keys, in the same order.

    It is compiled for the names, as dataclasses compile theirs: five times as fast as `dict(zip(...))`.

    >>> dict_maker(("a", "b"))(1, 2)
    {'a': 1, 'b': 2}
    """
    values = [f"v{i}" for i in range(len(names))]
    items = ", ".join(f"{name!r}: {value}" for name, value in zip(names, values, strict=True))
    made: Callable[..., dict[str, Any]] = eval(f"lambda {', '.join(values)}: {{{items}}}")
    return made


def _made(record: RecordClass, objects: Any, names: list[str], lists: list[list[Any]]) -> list[Any]:
    made: list[Any] = []
    try:
        made.extend(objects)  # what came before a failure is kept
    except Exception as error:
        values = {name: column[len(made)] for name, column in zip(names, lists, strict=True)}
        error.add_note(f"while {record.cls.__name__} was made of row {len(made)}: {shown(values)}")
        raise
    return made


def _values(hint: Hint, array: pa.Array, place: str) -> list[Any]:
    if array.null_count and not hint.nullable:
        raise TypeMismatchError(
            f"{place} can't be None, and the column holds a null",
            expected=f"{getattr(hint.python, '__name__', hint.python)} in every row",
            found=f"null in row {pc.index(array.is_null(), True).as_py()} of the batch",
            remedy="hint it as `| None`, or filter such rows out (or `fill_null`) before the function",
        )
    if hint.record is not None:
        return filled(array, _structs(hint.record, array.drop_null(), place))
    if hint.item is not None:
        return filled(array, _lists(hint.item, array.drop_null(), place))
    if hint.python is float and pa.types.is_integer(array.type):
        array = array.cast(pa.float64(), safe=False)
    return python_values(array, array.type)


def _structs(record: RecordClass, array: pa.Array, place: str) -> list[Any]:
    names = [array.type.field(i).name for i in range(array.type.num_fields)]
    fields = [field for field in record.fields if field.made and field.name in names]
    lists = [_values(f.hint, pc.struct_field(array, f.name), f"{place}.{f.name}") for f in fields]
    return _maker(record, fields)(lists, len(array))


def _lists(item: Hint, array: pa.Array, place: str) -> list[Any]:
    values = _values(item, array.flatten(), f"an item of {place}")
    ends = np.cumsum(pc.list_value_length(array).to_numpy(zero_copy_only=False), dtype=np.int64).tolist()
    return [values[start:stop] for start, stop in pairwise([0, *ends])]


# --------------------------------------------------------------------------- objects to columns


class RecordWriter:
    """Takes objects of a class of records apart, into one list of values per field."""

    def __init__(self, record: RecordClass) -> None:
        self._record = record
        self._plain = {field.name: _plainer(field.hint) for field in record.fields}

    def check(self, objects: Sequence[Any], who: str, place: Callable[[int], str]) -> None:
        """Raise `UserFunctionError` for an object that is none of the class; `place` describes a row."""
        row = self._unlike(objects)
        if row is None:
            return
        raise UserFunctionError(
            f"{who} did not give a {self._record.cls.__name__}",
            expected=f"{self._record.cls.__name__} with {', '.join(self._record.names)}",
            found=f"{shown(objects[row])} of type {type(objects[row]).__name__} for {place(row)}",
            remedy="return what the type hint says, or correct the hint",
        )

    def _unlike(self, objects: Sequence[Any]) -> int | None:
        kinds = set(map(type, objects))
        if self._record.is_dict:
            every = set(self._record.names)
            needed = {field.name for field in self._record.fields if not field.optional}
            fits = all(issubclass(kind, dict) for kind in kinds) and all(
                needed <= o.keys() <= every for o in objects
            )
            if fits:
                return None
            return next(
                i for i, o in enumerate(objects) if not isinstance(o, dict) or not needed <= o.keys() <= every
            )
        if all(issubclass(kind, self._record.cls) for kind in kinds):
            return None
        return next(i for i, o in enumerate(objects) if not isinstance(o, self._record.cls))

    def values(self, name: str, objects: Sequence[Any]) -> list[Any]:
        """The values of one field; records inside of it as dicts."""
        found = (
            [o.get(name) for o in objects] if self._record.is_dict else list(map(attrgetter(name), objects))
        )
        plain = self._plain[name]
        return found if plain is None else [None if value is None else plain(value) for value in found]


def _plainer(hint: Hint) -> Callable[[Any], Any] | None:
    """How a value becomes what Arrow understands: only records need it."""
    if hint.record is not None:
        return _as_dict(hint.record)
    item = None if hint.item is None else _plainer(hint.item)
    if item is None:
        return None
    return lambda values: [None if value is None else item(value) for value in values]


def _as_dict(record: RecordClass) -> Callable[[Any], Any]:
    parts = [(field.name, _plainer(field.hint)) for field in record.fields]
    get = (lambda o, name: o.get(name)) if record.is_dict else getattr

    def plain(value: Any) -> dict[str, Any]:
        found = {name: get(value, name) for name, _ in parts}
        for name, inner in parts:
            if inner is not None and found[name] is not None:
                found[name] = inner(found[name])
        return found

    return plain
