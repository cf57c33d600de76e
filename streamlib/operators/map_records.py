"""The user's own Python a record at a time: `map`, on dicts or on objects of the user's class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, get_origin

import pyarrow as pa

from streamlib.core.batch import Batch
from streamlib.core.canonical import function_id
from streamlib.core.contracts import Operator, OperatorSpec, Output, StreamType
from streamlib.core.errors import DefinitionError, StreamlibError, UserFunctionError, did_you_mean, shown
from streamlib.core.hints import (
    MISSING,
    RecordClass,
    function_hints,
    is_record_class,
    record_class,
    unresolved,
)
from streamlib.core.python_values import UNFIT, first_unfit, from_python, python_values
from streamlib.core.record_columns import RecordReader, RecordWriter, dict_maker
from streamlib.core.where import caller
from streamlib.operators.identity import after_function, check_identity, left_alone

TOGETHER = 2_048  # records that live at a time: more, and the garbage collector walks them again and again
_DICTS = ("dict", "Dict", "Mapping", "MutableMapping", "Record", "Any", "object")


@dataclass(frozen=True, eq=False)
class Map(OperatorSpec):
    """One record in, one record out, by a Python function. Made by `map_spec`.

    Attributes:
        function: the user's.
        schema: the columns that come out.
        takes: the class of the records that go in; None: dicts.
        gives: the class of the records that come out; None: dicts.
    """

    kind: ClassVar[str] = "map"
    per_record: ClassVar[bool] = True

    function: Callable[[Any], Any]
    schema: pa.Schema
    takes: type | None = None
    gives: type | None = None

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        if self.takes is not None:
            RecordReader(record_class(self.takes), stream.schema)
        return (after_function(stream, self.schema),)

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        (out,) = self.bind(inputs)
        read = _dicts if self.takes is None else RecordReader(record_class(self.takes), inputs[0].schema).read
        gives = None if self.gives is None else record_class(self.gives)
        return _Map(self.function, read, gives, self.schema, left_alone(out))

    def describe(self) -> str:
        typed = self.takes is not None or self.gives is not None
        return function_id(self.function) + (f": {_kind(self.takes)} -> {_kind(self.gives)}" if typed else "")


def _kind(cls: type | None) -> str:
    return "dict" if cls is None else cls.__name__


def map_spec(function: Callable[[Any], Any], schema: pa.Schema | None) -> Map:
    """The description of `map` over `function`, whose hints are looked at. Raises as `operators.map` does."""
    parameters, result = function_hints(function)
    name = function_id(function)
    try:
        takes = _record(parameters[0] if parameters else MISSING, f"the argument of {name}")
        gives = (
            _record(result, f"the result of {name}") if schema is None or is_record_class(result) else None
        )
        return Map(function, _output(name, result, gives, schema), takes, gives)
    except DefinitionError as error:
        raise error.at("map", caller()) from error.__cause__


def _record(annotation: Any, place: str) -> type | None:
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


def _output(name: str, hint: Any, gives: type | None, schema: pa.Schema | None) -> pa.Schema:
    if schema is None and gives is None:
        raise DefinitionError(
            f"it is not known which columns {name} returns",
            expected="a result hinted as a dataclass, TypedDict or msgspec.Struct, or `schema=`",
            found="no hint"
            if hint is MISSING
            else f"a result hinted as {getattr(hint, '__qualname__', hint)}",
            remedy="write `-> Priced` with `class Priced(TypedDict): price: float`, "
            'or schema={"price": pa.float64()}',
        )
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


def _dicts(batch: Batch) -> list[Any]:
    if not batch.columns:
        return [{} for _ in range(batch.num_rows)]
    lists = [python_values(c, f.type) for c, f in zip(batch.columns, batch.schema, strict=True)]
    return list(map(dict_maker(tuple(batch.schema.names)), *lists))


class _Map(Operator):
    def __init__(
        self,
        function: Callable[[Any], Any],
        read: Callable[[Batch], list[Any]],
        gives: RecordClass | None,
        schema: pa.Schema,
        identity: tuple[str, ...],
    ) -> None:
        self._function = function
        self._read = read
        self._schema = schema
        self._identity = identity
        self._writer = None if gives is None else RecordWriter(gives)

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        values: list[list[Any]] = [[] for _ in self._schema]
        for start in range(0, batch.num_rows, TOGETHER):
            mapped = self._mapped(batch.slice(start, min(start + TOGETHER, batch.num_rows)), start)
            for field, column in zip(self._schema, values, strict=True):
                column.extend(self._values(field.name, mapped))
        columns = [self._column(field, column) for field, column in zip(self._schema, values, strict=True)]
        found = batch.replaced(self._schema, columns)
        check_identity(batch, found, self._identity, None, function_id(self._function))
        return ((0, found),)

    def _mapped(self, rows: Batch, first: int) -> list[Any]:
        """The results of `rows`, whose first one is row `first` of the batch; all are records."""
        records = self._read(rows)

        def place(row: int) -> str:
            return f"row {first + row}: {shown(records[row])}"

        mapped: list[Any] = []
        try:
            mapped.extend(map(self._function, records))  # what came before a failure is kept
        except StreamlibError:
            raise
        except Exception as error:
            error.add_note(f"while {function_id(self._function)} mapped {place(len(mapped))}")
            raise
        if self._writer is None:
            self._check_dicts(mapped, place)
        else:
            self._writer.check(mapped, function_id(self._function), place)
        return mapped

    def _check_dicts(self, mapped: list[Any], place: Callable[[int], str]) -> None:
        keys = set(self._schema.names)
        for row, result in enumerate(mapped):
            if not isinstance(result, Mapping) or result.keys() != keys:
                raise UserFunctionError(
                    f"{function_id(self._function)} did not return a record of its schema",
                    expected=f"a dict with the keys {', '.join(self._schema.names)}",
                    found=f"{shown(result)} for {place(row)}",
                    remedy="return exactly the columns of `schema=`",
                )

    def _values(self, name: str, mapped: list[Any]) -> list[Any]:
        if self._writer is None:
            return [record[name] for record in mapped]
        return self._writer.values(name, mapped)

    def _column(self, field: pa.Field, values: list[Any]) -> pa.Array:
        try:
            return from_python(values, field)
        except UNFIT as cause:
            raise self._mistyped(field, values, cause) from cause

    def _mistyped(self, field: pa.Field, values: list[Any], cause: Exception) -> UserFunctionError:
        row = first_unfit(values, field)
        found = str(cause) if row is None else f"{shown(values[row])} in row {row}"
        hinted = self._writer is not None
        return UserFunctionError(
            f"{function_id(self._function)} returned a value of another type",
            expected=f"{field.name!r} of type {field.type}{'' if field.nullable else ', not null'}",
            found=found,
            remedy=f"convert the value, or change {'the hint of the field' if hinted else '`schema=`'}",
        )
