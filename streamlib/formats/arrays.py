"""Lists of Python values as Arrow arrays, and back, whole columns at a time, however deep they are nested.

What a plain value looks like is the business of a format (a moment is text in JSON, a number in Avro), and
so is how a field is taken out of a record, or a record made of its fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.errors import FormatError, StreamlibError, shown
from streamlib.core.python_values import UNFIT, filled

ToLeaf = Callable[[list[Any], pa.DataType], pa.Array]
"""Plain values, nulls as None, as an array of the type. Raises one of `UNFIT`."""
FromLeaf = Callable[[pa.Array], list[Any]]
"""The values of an array that is not nested, nulls as None. Raises `FormatError` or one of `UNFIT`."""
Getter = Callable[[str], Callable[[Any], Any]]
"""What takes a field of that name out of a record."""
Maker = Callable[[tuple[tuple[str, str], ...]], Callable[..., Any]]
"""What makes records of the values of their fields; told pairs of a column and its name in messages."""


class ToArrays:
    """Makes arrays of values. Raises `FormatError` with the field for a value that does not fit."""

    def __init__(self, leaf: ToLeaf, get: Getter) -> None:
        self._leaf = leaf
        self._get = get

    def rows(self, records: Sequence[Any], schema: pa.Schema) -> pa.RecordBatch:
        """A row of each record."""
        columns = [self.field(records, field, field.name) for field in schema]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def field(self, records: Iterable[Any], field: pa.Field, path: str) -> pa.Array:
        """One field of all records."""
        return self.array(list(map(self._get(field.name), records)), field.type, path)

    def array(self, values: list[Any], dtype: pa.DataType, path: str) -> pa.Array:
        """The values as an array of a type that may be nested."""
        if pa.types.is_struct(dtype):
            return self._structs(values, dtype, path)
        if is_list(dtype):
            flat = list(chain.from_iterable(value for value in values if value is not None))
            return list_of(values, dtype, self.array(flat, dtype.value_type, f"{path}[]"))
        if pa.types.is_map(dtype):
            present = [value for value in values if value is not None]
            keys = self.array(list(chain.from_iterable(present)), dtype.key_type, f"{path}[key]")
            items = list(chain.from_iterable(value.values() for value in present))
            return map_of(values, dtype, keys, self.array(items, dtype.item_type, f"{path}[]"))
        try:
            return self._leaf(values, dtype)
        except UNFIT as error:
            raise unfit(values, dtype, path, error, self._leaf) from error

    def _structs(self, values: list[Any], dtype: pa.DataType, path: str) -> pa.Array:
        present = [value for value in values if value is not None]
        fields = [dtype.field(i) for i in range(dtype.num_fields)]
        found = pa.StructArray.from_arrays(
            [self.field(present, field, f"{path}.{field.name}") for field in fields], fields=fields
        )
        if len(present) == len(values):
            return found
        return spread(found, np.fromiter((value is not None for value in values), np.bool_, len(values)))


def spread(present: pa.Array, there: npt.NDArray[np.bool_]) -> pa.Array:
    """The values of `present` in order where `there` is true, else null."""
    return present.take(pa.array(np.cumsum(there) - 1, mask=~there))


def is_list(dtype: pa.DataType) -> bool:
    """Whether it is a list of any length."""
    return pa.types.is_list(dtype) or pa.types.is_large_list(dtype)


def _offsets(values: list[Any], large: bool) -> pa.Array:
    lengths = [0 if value is None else len(value) for value in values]
    ends = np.cumsum([0, *lengths]).astype(np.int64 if large else np.int32)
    missing = np.fromiter((value is None for value in values), np.bool_, len(values))
    return pa.array(ends, mask=np.append(missing, False))


def list_of(values: list[Any], dtype: pa.DataType, flat: pa.Array) -> pa.Array:
    """The lists whose elements are `flat`, null where a value is None."""
    large = pa.types.is_large_list(dtype)
    made = pa.LargeListArray if large else pa.ListArray
    return made.from_arrays(_offsets(values, large), flat, type=dtype)


def map_of(values: list[Any], dtype: pa.DataType, keys: pa.Array, items: pa.Array) -> pa.Array:
    """The maps whose entries are `keys` and `items`, null where a value is None."""
    return pa.MapArray.from_arrays(_offsets(values, False), keys, items, type=dtype)


def unfit(
    values: list[Any], dtype: pa.DataType, path: str, error: Exception, leaf: ToLeaf | None = None
) -> StreamlibError:
    """The error for a value that does not fit its column: with a value to see where it is the only one."""
    several = leaf is not None and len(values) > 1
    bad = next((v for v in values if not _fits(v, dtype, leaf)), None) if several and leaf else values[0]
    return FormatError(
        f"the field {path!r} does not fit its column",
        expected=str(dtype),
        found=f"{shown(bad)} ({str(error).splitlines()[0]})",
        remedy="correct who sends it, or give the field another type",
    )


def _fits(value: Any, dtype: pa.DataType, leaf: ToLeaf) -> bool:
    try:
        leaf([value], dtype)
    except UNFIT:
        return False
    return True


@dataclass(frozen=True)
class Names:
    """What the fields of a record are called in messages, and those of the records in them."""

    here: Mapping[str, str]
    inside: Mapping[str, Names]


class ToValues:
    """Takes arrays apart into lists of values."""

    def __init__(self, leaf: FromLeaf, make: Maker) -> None:
        self._leaf = leaf
        self._make = make

    def records(self, rows: pa.RecordBatch, names: Names | None = None) -> list[Any]:
        """A record of each row; `names` says what fields are called in messages where that differs."""
        return self._made(rows.schema.names, rows.columns, names)

    def _made(self, fields: Sequence[str], columns: Sequence[pa.Array], names: Names | None) -> list[Any]:
        here = names.here if names else {}
        inside = names.inside if names else {}
        values = [self.values(c, inside.get(name)) for name, c in zip(fields, columns, strict=True)]
        return list(map(self._make(tuple((name, here.get(name, name)) for name in fields)), *values))

    def values(self, array: pa.Array, names: Names | None = None) -> list[Any]:
        """The values of an array that may be nested."""
        dtype = array.type
        if pa.types.is_struct(dtype):
            present = array.drop_null() if array.null_count else array
            fields = [dtype.field(i).name for i in range(dtype.num_fields)]
            columns = [pc.struct_field(present, i) for i in range(dtype.num_fields)]
            return filled(array, self._made(fields, columns, names))
        if is_list(dtype):
            present = array.drop_null()
            lengths = pc.list_value_length(present)
            return filled(array, cut(self.values(present.flatten(), names), lengths))
        if pa.types.is_map(dtype):
            return self._maps(array)
        if pa.types.is_dictionary(dtype):
            return self._leaf(array.dictionary_decode())
        return self._leaf(array)

    def _maps(self, array: pa.Array) -> list[Any]:
        present, dtype = array.drop_null(), array.type
        entries = present.cast(pa.list_(pa.struct([("key", dtype.key_type), ("value", dtype.item_type)])))
        flat = entries.flatten()
        pairs = zip(self.values(pc.struct_field(flat, 0)), self.values(pc.struct_field(flat, 1)), strict=True)
        return filled(array, [dict(each) for each in cut(list(pairs), pc.list_value_length(entries))])


def cut(values: list[Any], lengths: pa.Array) -> list[list[Any]]:
    """The values as lists of so many each."""
    ends = np.cumsum(lengths.to_numpy(zero_copy_only=False), dtype=np.int64).tolist()
    return [values[start:stop] for start, stop in pairwise([0, *ends])]
