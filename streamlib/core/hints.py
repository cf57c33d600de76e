"""Type hints as Arrow types: what a function's annotations and a class of records say of columns."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import BuiltinFunctionType, MethodWrapperType, NoneType, UnionType, WrapperDescriptorType
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
import pyarrow as pa

from streamlib.core.errors import DefinitionError
from streamlib.core.where import names_around

_TYPES: dict[object, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
    datetime: pa.timestamp("us", tz="UTC"),
    date: pa.date32(),
    time: pa.time64("us"),
    timedelta: pa.duration("us"),
}
MISSING = inspect.Parameter.empty
"""The annotation of what has none."""

_KNOWN = "bool, int, float, str, bytes, datetime, date, time, timedelta, list[...], a record class, or None"


@dataclass(frozen=True)
class Hint:
    """What an annotation says.

    Attributes:
        python: the Python type of a value; `Any` where it says nothing.
        dtype: the Arrow type it becomes; None where none can be told (`Any`, a bare Decimal).
        nullable: whether None is allowed.
        record: of a class of records, its fields.
        item: of a list, the hint of an element.
    """

    python: Any
    dtype: pa.DataType | None
    nullable: bool = False
    record: RecordClass | None = None
    item: Hint | None = None


@dataclass(frozen=True)
class RecordField:
    """A field of a class of records; `optional` if an object can be made without it."""

    name: str
    hint: Hint
    optional: bool = False
    made: bool = True
    """Whether the constructor takes it."""
    keyword: bool = False
    """Whether the constructor takes it by name only."""


@dataclass(frozen=True)
class RecordClass:
    """A dataclass, TypedDict or msgspec.Struct whose objects are records. Made by `record_class`."""

    cls: type
    fields: tuple[RecordField, ...]

    @property
    def is_dict(self) -> bool:
        """Whether its objects are plain dicts."""
        return typing.is_typeddict(self.cls)

    @property
    def names(self) -> list[str]:
        """The names of the fields."""
        return [field.name for field in self.fields]

    def schema(self) -> pa.Schema:
        """The columns that objects become; fields that can't be None are never null.

        Raises `DefinitionError` for a field whose Arrow type can't be told.
        """
        return pa.schema([self._column(field) for field in self.fields])

    def _column(self, field: RecordField) -> pa.Field:
        if field.hint.dtype is None:
            raise _no_type(field.hint.python, f"field {field.name!r} of {self.cls.__name__}")
        return pa.field(
            field.name, field.hint.dtype, field.hint.nullable or (self.is_dict and field.optional)
        )


def is_record_class(hint: object) -> bool:
    """Whether this is a class whose objects are records: a dataclass, TypedDict or msgspec.Struct."""
    if not isinstance(hint, type):
        return False
    return dataclasses.is_dataclass(hint) or typing.is_typeddict(hint) or issubclass(hint, msgspec.Struct)


@functools.lru_cache(1024)  # hints are read once, where the class is first used: there its names are known
def record_class(cls: type) -> RecordClass:
    """The fields of a class of records.

    Raises `DefinitionError` for hints that can't be resolved or mean no column.

    >>> class Bid(typing.TypedDict):
    ...     price: float
    ...     note: str | None
    >>> record_class(Bid).schema()
    price: double not null
    note: string
    """
    return _record_class(cls, ())


def _record_class(cls: type, above: tuple[type, ...]) -> RecordClass:
    if cls in above:
        raise _no_type(cls, f"{above[-1].__name__}, which holds itself")
    hints = class_hints(cls)
    place = cls.__name__
    fields = tuple(
        dataclasses.replace(f, hint=_hint(hints[f.name], f"{place}.{f.name}", (*above, cls)))
        for f in _fields(cls, hints)
    )
    if not fields:
        raise DefinitionError(
            f"{cls.__name__} has no fields, so its objects are no records",
            expected="a dataclass, TypedDict or msgspec.Struct with a field for each column",
            found=f"class {cls.__name__}",
            remedy="annotate its fields: `price: float`",
        )
    return RecordClass(cls, fields)


def _fields(cls: Any, hints: Mapping[str, object]) -> list[RecordField]:
    unknown = Hint(Any, None)
    if typing.is_typeddict(cls):
        return [
            RecordField(name, unknown, optional=_left_out(cls, name, hint)) for name, hint in hints.items()
        ]
    struct = issubclass(cls, msgspec.Struct)
    names = [f.name for f in (msgspec.structs.fields(cls) if struct else dataclasses.fields(cls))]
    taken = inspect.signature(cls).parameters
    return [
        RecordField(
            name,
            unknown,
            optional=name not in taken or taken[name].default is not MISSING,
            made=name in taken,
            keyword=name in taken and taken[name].kind is inspect.Parameter.KEYWORD_ONLY,
        )
        for name in names
    ]


def _left_out(cls: Any, name: str, hint: object) -> bool:
    """Whether a TypedDict may lack the key; the class does not know where annotations are postponed."""
    origin = get_origin(hint)
    return origin is typing.NotRequired or (name in cls.__optional_keys__ and origin is not typing.Required)


def hint_of(annotation: object, place: str) -> Hint:
    """What an annotation says. Raises `DefinitionError` for one that means no column.

    >>> hint_of(float | None, "x").dtype, hint_of(Annotated[int, pa.int32()], "x").dtype
    (DataType(double), DataType(int32))
    """
    return _hint(annotation, place, ())


def _hint(annotation: Any, place: str, above: tuple[type, ...]) -> Hint:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (typing.Required, typing.NotRequired, typing.Final):
        return _hint(arguments[0], place, above)
    if origin is Annotated:
        return _annotated(arguments, place, above)
    if origin in (typing.Union, UnionType):
        others = [a for a in arguments if a is not NoneType]
        if len(others) == 1:
            return dataclasses.replace(_hint(others[0], place, above), nullable=True)
        raise _no_type(annotation, place)
    if origin in (list, Sequence) and len(arguments) == 1:
        item = _hint(arguments[0], place, above)
        dtype = None if item.dtype is None else pa.list_(item.dtype)
        return Hint(list, dtype, item=item)
    if origin is Literal and len(kinds := {type(a) for a in arguments}) == 1:
        return _hint(kinds.pop(), place, above)
    return _plain(annotation, place, above)


def _plain(annotation: Any, place: str, above: tuple[type, ...]) -> Hint:
    if isinstance(annotation, typing.NewType):
        return _hint(annotation.__supertype__, place, above)
    if annotation in _TYPES:
        return Hint(annotation, _TYPES[annotation])
    if annotation is Any:
        return Hint(Any, None, nullable=True)
    if annotation is Decimal:
        return Hint(Decimal, None)
    if is_record_class(annotation):
        record = _record_class(annotation, above)
        types = [field.hint.dtype for field in record.fields]
        struct = None if None in types else pa.struct([f.with_nullable(True) for f in record.schema()])
        return Hint(annotation, struct, record=record)
    raise _no_type(annotation, place)


def _annotated(arguments: tuple[Any, ...], place: str, above: tuple[type, ...]) -> Hint:
    exact = next((a for a in arguments[1:] if isinstance(a, pa.DataType)), None)
    if exact is None:
        return _hint(arguments[0], place, above)
    try:
        plain = _hint(arguments[0], place, above)
    except DefinitionError:
        plain = Hint(arguments[0], None)
    return dataclasses.replace(plain, dtype=exact)


def _no_type(annotation: object, place: str) -> DefinitionError:
    if annotation is Decimal:
        remedy = "say how many digits: Annotated[Decimal, pa.decimal128(12, 2)], or pass the type yourself"
    else:
        remedy = (
            "use one of these, Annotated[..., pa.<type>()] for an exact Arrow type, or pass the type yourself"
        )
    return DefinitionError(
        f"the type hint of {place} does not say which column type it is",
        expected=_KNOWN,
        found=getattr(annotation, "__name__", None) or str(annotation),
        remedy=remedy,
    )


def class_hints(cls: type) -> dict[str, Any]:
    """The annotations of a class, resolved. Raises `DefinitionError` for those that can't be."""
    try:
        return typing.get_type_hints(cls, localns=names_around(cls.__module__), include_extras=True)
    except (NameError, TypeError) as cause:
        raise unresolved(cls.__name__, cause) from cause


def unresolved(place: str, cause: Exception) -> DefinitionError:
    """The error for hints that name what can't be found."""
    return DefinitionError(
        f"the type hints of {place} can't be read",
        expected="hints whose names are known where the function or class is defined",
        found=str(cause),
        remedy="define the class at the top level of a module (not under TYPE_CHECKING), or pass `schema=`",
    )


# --------------------------------------------------------------------------- functions


def function_hints(function: Callable[..., Any]) -> tuple[list[Any], Any]:
    """The annotations of a function's positional parameters and of its result; `MISSING` where there is none.

    One that is written as text and can't be resolved stays text. Builtins and ufuncs have none.

    >>> def f(x: int, y) -> "float": ...
    >>> function_hints(f) == ([int, MISSING], float)
    True
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return [], MISSING
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    annotations = [p.annotation for p in signature.parameters.values() if p.kind in positional]
    names = _names_seen_by(function)
    return [_evaluated(a, names) for a in annotations], _evaluated(signature.return_annotation, names)


def _names_seen_by(function: Callable[..., Any]) -> dict[str, Any]:
    plain: Any = inspect.unwrap(function)
    while not hasattr(plain, "__globals__") and (inner := _inner(plain)) is not None:
        plain = inspect.unwrap(inner)
    names = names_around(getattr(plain, "__module__", "") or "") | getattr(plain, "__globals__", {})
    code, cells = getattr(plain, "__code__", None), getattr(plain, "__closure__", None)
    if code is not None and cells:  # classes defined beside the function, inside another one
        for name, cell in zip(code.co_freevars, cells, strict=True):
            try:
                names[name] = cell.cell_contents
            except ValueError:
                continue
    return names


def _inner(function: Any) -> Any:
    """The function inside a partial, a bound method or a callable object."""
    if isinstance(function, type | BuiltinFunctionType | MethodWrapperType | WrapperDescriptorType):
        return None  # what is written in C has a `__call__` that has a `__call__`, without an end
    places = ((function, "func"), (function, "__func__"), (type(function), "__call__"))
    return next(
        (found for holder, name in places if (found := getattr(holder, name, None)) is not None), None
    )


def _evaluated(annotation: Any, names: dict[str, Any]) -> Any:
    while isinstance(annotation, str):  # quoted, and again where annotations are postponed
        try:
            annotation = eval(annotation, names)  # as typing.get_type_hints does
        except Exception:
            return annotation
    return NoneType if annotation is None else annotation
