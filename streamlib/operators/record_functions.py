"""What operators share that call the user's Python a record at a time: `map`, `flat_map`, `stateful_map`.

Type hints say what a record is; columns become records, and results columns again, many at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, get_origin

import pyarrow as pa

from streamlib.core.batch import Batch
from streamlib.core.canonical import function_id
from streamlib.core.contracts import OperatorSpec, Rescue, StreamType
from streamlib.core.errors import DefinitionError, UserFunctionError, did_you_mean, shown
from streamlib.core.hints import MISSING, is_record_class, record_class, unresolved
from streamlib.core.isolation import isolated
from streamlib.core.python_values import UNFIT, first_unfit, from_python, python_values
from streamlib.core.record_columns import RecordReader, RecordWriter, dict_maker
from streamlib.operators.identity import after_function

TOGETHER = 2_048  # records that live at a time: more, and the garbage collector walks them again and again
_DICTS = ("dict", "Dict", "Mapping", "MutableMapping", "Record", "Any", "object")

Read = Callable[[Batch], list[Any]]
"""Makes a record of every row."""
Place = Callable[[int], str]
"""Describes a row, for errors."""


@dataclass(frozen=True, eq=False)
class RecordFunction(OperatorSpec):
    """The description of an operator that calls a function with every record.

    Attributes:
        function: the user's.
        schema: the columns that come out.
        takes: the class of the records that go in; None: dicts.
        gives: the class of the records that come out; None: dicts.
    """

    per_record: ClassVar[bool] = True

    function: Callable[..., Any]
    schema: pa.Schema
    takes: type | None = None
    gives: type | None = None

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        reader(self.takes, stream.schema)
        return (after_function(stream, self.schema),)

    def reads(
        self, wanted: Sequence[frozenset[str] | None], inputs: Sequence[StreamType]
    ) -> frozenset[str] | None:
        if self.takes is None:
            return None
        keys = inputs[0].keys if self.keyed else ()
        return frozenset(inputs[0].schema.names).intersection([*record_class(self.takes).names, *keys])

    def describe(self) -> str:
        typed = self.takes is not None or self.gives is not None
        return function_id(self.function) + (f": {_kind(self.takes)} -> {_kind(self.gives)}" if typed else "")


def _kind(cls: type | None) -> str:
    return "dict" if cls is None else cls.__name__


# --------------------------------------------------------------------------- what hints say


def record_type(annotation: Any, place: str) -> type | None:
    """The class of records that a hint names, None for dicts."""
    if is_record_class(annotation):
        record_class(annotation)  # whose own hints are to be understood
        return annotation
    if isinstance(annotation, str):
        if annotation.split("[")[0].split(".")[-1] in _DICTS:  # imported for type checkers only
            return None
        raise unresolved(place, NameError(f"name {annotation!r} is not defined"))
    kind = get_origin(annotation) or annotation
    if kind in (MISSING, Any, object) or (isinstance(kind, type) and issubclass(kind, Mapping)):
        return None
    raise DefinitionError(
        f"{place} is hinted as something that is no record",
        expected="a dataclass, TypedDict or msgspec.Struct, or a dict",
        found=getattr(annotation, "__qualname__", None) or str(annotation),
        remedy="hint the record's class; for a function of single columns use sl.udf",
    )


def unknown_columns(function: Callable[..., Any], hint: Any, *, inferred: bool = True) -> DefinitionError:
    """The error for a function that does not say which columns it returns; maybe a preview infers them."""
    preview = "; `.preview()` infers it and prints the line to paste" if inferred else ""
    return DefinitionError(
        f"it is not known which columns {function_id(function)} returns",
        expected="a result hinted as a dataclass, TypedDict or msgspec.Struct, or `schema=`",
        found="no hint" if hint is MISSING else f"a result hinted as {getattr(hint, '__qualname__', hint)}",
        remedy="write `-> Priced` with `class Priced(TypedDict): price: float`, "
        f'or schema={{"price": pa.float64()}}{preview}',
    )


def result_columns(name: str, gives: type | None, schema: pa.Schema | None) -> pa.Schema:
    """The columns of the results of the function called `name`, by its hint or as `schema=` says them."""
    if gives is None or schema is None:
        return schema if gives is None else record_class(gives).schema()
    record = record_class(gives)
    if set(record.names) != set(schema.names):
        odd = min(set(record.names) ^ set(schema.names))
        raise DefinitionError(
            f"`schema=` and {gives.__name__} have different columns",
            expected=f"the fields of {gives.__name__}: {', '.join(record.names)}",
            found=", ".join(schema.names),
            remedy=did_you_mean(odd, record.names) or "leave `schema=` out, or name every field in it",
        )
    return schema


# --------------------------------------------------------------------------- records and columns


def reader(takes: type | None, schema: pa.Schema) -> Read:
    """Makes records of the class `takes` of rows of a schema. Raises as `RecordReader` does."""
    return _dicts if takes is None else RecordReader(record_class(takes), schema).read


def _dicts(batch: Batch) -> list[Any]:
    if not batch.columns:
        return [{} for _ in range(batch.num_rows)]
    lists = [python_values(c, f.type) for c, f in zip(batch.columns, batch.schema, strict=True)]
    return list(map(dict_maker(tuple(batch.schema.names)), *lists))


def in_pieces(batch: Batch) -> Iterator[tuple[int, Batch]]:
    """The rows of a batch, as many as become records at a time, each with the number of its first."""
    for start in range(0, batch.num_rows, TOGETHER):
        yield start, batch.slice(start, min(start + TOGETHER, batch.num_rows))


def readable(read: Read, rows: Batch, first: int, rescue: Rescue) -> tuple[list[int], list[Any]]:
    """The records of rows that Python can hold, and their numbers, which begin with `first`."""

    def attempt(start: int, stop: int) -> list[Any]:
        return read(rows.slice(start, stop))

    try:
        return list(range(first, first + rows.num_rows)), read(rows)
    except Exception as error:
        lost: set[int] = set()

        def lose(row: int, failure: Exception) -> None:
            rescue.lost(first + row, failure)
            lost.add(row)

        records = [each for part in isolated(rows.num_rows, attempt, error, lose) for each in part]
        return [first + row for row in range(rows.num_rows) if row not in lost], records


class ResultWriter:
    """Collects the records that a function returned, and makes columns of them.

    Args:
        function: the user's, for errors.
        gives: the class of its results; None: dicts.
        schema: the columns that they become.
    """

    def __init__(self, function: Callable[..., Any], gives: type | None, schema: pa.Schema) -> None:
        self._function = function
        self._schema = schema
        self._record: RecordWriter | None = None if gives is None else RecordWriter(record_class(gives))
        self._values: list[list[Any]] = [[] for _ in schema]
        self.rows = 0
        """How many results wait to be taken."""

    def add(self, results: Sequence[Any], place: Place) -> None:
        """Take results. Raises `UserFunctionError` for one that is no record; `place` tells its row."""
        if self._record is None:
            self._check_dicts(results, place)
        else:
            self._record.check(results, function_id(self._function), place)
        for field, column in zip(self._schema, self._values, strict=True):
            column.extend(self._of(field.name, results))
        self.rows += len(results)

    def take(self) -> list[pa.Array]:
        """All results so far as columns. Raises `UserFunctionError` for a value of another type."""
        values, self._values, self.rows = self._values, [[] for _ in self._schema], 0
        return [self._column(field, column) for field, column in zip(self._schema, values, strict=True)]

    def _check_dicts(self, results: Sequence[Any], place: Place) -> None:
        keys = set(self._schema.names)
        for row, result in enumerate(results):
            if not isinstance(result, Mapping) or result.keys() != keys:
                raise UserFunctionError(
                    f"{function_id(self._function)} did not return a record of its schema",
                    expected=f"a dict with the keys {', '.join(self._schema.names)}",
                    found=f"{shown(result)} for {place(row)}",
                    remedy="return exactly the columns of `schema=`",
                )

    def _of(self, name: str, results: Sequence[Any]) -> list[Any]:
        if self._record is None:
            return [record[name] for record in results]
        return self._record.values(name, results)

    def _column(self, field: pa.Field, values: list[Any]) -> pa.Array:
        try:
            return from_python(values, field)
        except UNFIT as cause:
            raise self._mistyped(field, values, cause) from cause

    def _mistyped(self, field: pa.Field, values: list[Any], cause: Exception) -> UserFunctionError:
        row = first_unfit(values, field)
        found = str(cause) if row is None else f"{shown(values[row])} in row {row}"
        hinted = self._record is not None
        return UserFunctionError(
            f"{function_id(self._function)} returned a value of another type",
            expected=f"{field.name!r} of type {field.type}{'' if field.nullable else ', not null'}",
            found=found,
            remedy=f"convert the value, or change {'the hint of the field' if hinted else '`schema=`'}",
        )
