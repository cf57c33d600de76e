"""What a record is: a class of the user, or columns by name; and the msgspec structs that messages become.

Nobody sees an object of the user's class, so messages become small structs of our own with the same fields:
names, defaults, constraints (`msgspec.Meta`) and strictness are those of the class.
"""

from __future__ import annotations

import dataclasses
import functools
import keyword
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from operator import or_
from types import UnionType
from typing import Annotated, Any, TypeAlias, get_args, get_origin

import msgspec
import pyarrow as pa

from streamlib.core.batch import schema_of
from streamlib.core.errors import DefinitionError, TypeMismatchError, shown
from streamlib.core.hints import Hint, RecordClass, class_hints, is_record_class, record_class
from streamlib.core.where import caller
from streamlib.formats.arrays import Names, is_list

Shape: TypeAlias = type | pa.Schema | Mapping[str, pa.DataType]
"""A class of records (dataclass, TypedDict, msgspec.Struct), or names and types of columns."""

Plain: TypeAlias = Mapping[type, Any]
"""Which Python type a format reads instead: text in the place of a datetime, for example."""


def schema_of_shape(shape: Shape, who: str) -> pa.Schema:
    """The columns of a shape. Raises `DefinitionError` for what is none."""
    if isinstance(shape, type) and is_record_class(shape):
        return record_class(shape).schema()
    if not isinstance(shape, pa.Schema | Mapping):
        raise DefinitionError(
            f"{who} needs to know what a record is",
            expected="a dataclass, TypedDict or msgspec.Struct, or columns: {'price': pa.float64()}",
            found=shown(shape),
            remedy="define a class with a field for each column, and pass the class itself",
        ).at(None, caller())
    schema = schema_of(shape)
    if not schema.names or len(set(schema.names)) < len(schema.names):
        raise DefinitionError(
            f"{who} can't have these columns",
            expected="at least one column, each with a name of its own",
            found=", ".join(schema.names) or "no columns",
        ).at(None, caller())
    return schema


def struct_of(shape: Shape, plain: Plain, who: str) -> type[msgspec.Struct]:
    """The struct that messages of a shape become; fields that can't be missing have no default.

    Raises `TypeMismatchError` for a column type that messages can't hold.
    """
    if isinstance(shape, type):
        for field in record_class(shape).schema():
            python_type(field.type, plain, who, field.name)
        return _of_class(shape, plain)
    return _of_fields(list(schema_of(shape)), plain, who)


def attribute(name: str) -> str:
    """What the field of a column is called in a struct: attributes are identifiers, columns need not be."""
    plain = name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("__")
    return name if plain else f"f{name.encode().hex()}"


def _struct(name: str, fields: list[Any], names: Mapping[str, str], **options: Any) -> type[msgspec.Struct]:
    renamed = {attribute(field): called for field, called in names.items()}
    return msgspec.defstruct(name, fields, rename=renamed, kw_only=True, gc=False, module=__name__, **options)


@functools.lru_cache(1024)
def record_maker(fields: tuple[tuple[str, str], ...]) -> Callable[..., Any]:
    """What makes records of the values of their fields; told pairs of a column and its name in messages."""
    names = {attribute(field): called for field, called in fields}
    return msgspec.defstruct(
        "Record", [(name, Any) for name in names], rename=names, gc=False, module=__name__
    )


# --------------------------------------------------------------------------- of a class


def names_of(hint: Hint | RecordClass | None) -> Names | None:
    """What a class calls its fields in messages; None where there are no records."""
    if isinstance(hint, Hint):
        return names_of(hint.record or hint.item)
    if hint is None:
        return None
    inside = {field.name: names_of(field.hint) for field in hint.fields}
    return Names(_encoded(hint.cls), {name: names for name, names in inside.items() if names is not None})


def _encoded(cls: Any) -> dict[str, str]:
    if _is_struct(cls):
        return {field.name: field.encode_name for field in msgspec.structs.fields(cls)}
    return {name: name for name in record_class(cls).names}


def _of_class(cls: Any, plain: Plain) -> type[msgspec.Struct]:
    hints, defaults = class_hints(cls), _defaults(cls)
    record = record_class(cls)
    fields: list[Any] = []
    for field in record.fields:
        name, kind = attribute(field.name), _replaced(hints[field.name], plain)
        if field.optional and record.is_dict:
            fields.append((name, kind | None, None))
        else:
            fields.append((name, kind, *defaults.get(field.name, ())))
    return _struct(cls.__name__, fields, _encoded(cls), **_strictness(cls))


def _strictness(cls: Any) -> dict[str, Any]:
    if not _is_struct(cls):
        return {}
    own = cls.__struct_config__
    return {"forbid_unknown_fields": own.forbid_unknown_fields, "tag": own.tag, "tag_field": own.tag_field}


def _defaults(cls: Any) -> dict[str, tuple[Any]]:
    """The defaults of fields that have one, as msgspec takes them."""
    if dataclasses.is_dataclass(cls):
        return _defaults_in(dataclasses.fields(cls), dataclasses.MISSING)
    return _defaults_in(msgspec.structs.fields(cls), msgspec.NODEFAULT) if _is_struct(cls) else {}


def _defaults_in(fields: Sequence[Any], missing: object) -> dict[str, tuple[Any]]:
    made = {f.name: (f.default,) for f in fields if f.default is not missing}
    factories = {
        f.name: (msgspec.field(default_factory=f.default_factory),)
        for f in fields
        if f.default_factory is not missing
    }
    return made | factories


def _is_struct(cls: type) -> bool:
    return issubclass(cls, msgspec.Struct)


def _replaced(hint: Any, plain: Plain) -> Any:
    """The hint with classes of records as structs, and what `plain` names as what it says."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (typing.Required, typing.NotRequired, typing.Final):
        return _replaced(arguments[0], plain)
    if origin is Annotated:
        inner = _replaced(arguments[0], plain)
        metas = tuple(meta for meta in arguments[1:] if isinstance(meta, msgspec.Meta))
        return Annotated[(inner, *metas)] if metas and inner is arguments[0] else inner
    if origin in (typing.Union, UnionType):
        return functools.reduce(or_, (_replaced(a, plain) for a in arguments))
    if origin is not None and origin is not typing.Literal:
        return list[_replaced(arguments[0], plain)]  # type: ignore[misc]
    if isinstance(hint, typing.NewType):
        return _replaced(hint.__supertype__, plain)
    if is_record_class(hint):
        return _of_class(hint, plain)
    return plain.get(hint, hint) if isinstance(hint, type) else hint


# --------------------------------------------------------------------------- of columns

_KINDS: tuple[tuple[Callable[[pa.DataType], bool], Any], ...] = (
    (pa.types.is_boolean, bool),
    (pa.types.is_integer, int),
    (pa.types.is_floating, float),
    (pa.types.is_decimal, Decimal),
    (pa.types.is_string, str),
    (pa.types.is_large_string, str),
    (pa.types.is_binary, bytes),
    (pa.types.is_large_binary, bytes),
    (pa.types.is_fixed_size_binary, bytes),
    (pa.types.is_timestamp, datetime),
    (pa.types.is_date32, date),
    (pa.types.is_time, time),
    (pa.types.is_duration, timedelta),
)


def _of_fields(fields: list[pa.Field], plain: Plain, who: str) -> type[msgspec.Struct]:
    made: list[Any] = []
    for field in fields:
        kind = python_type(field.type, plain, who, field.name)
        name = attribute(field.name)
        made.append((name, kind | None, None) if field.nullable else (name, kind))
    return _struct("Record", made, {field.name: field.name for field in fields})


def python_type(dtype: pa.DataType, plain: Plain, who: str, path: str) -> Any:
    """What a value of an Arrow type is in a message. Raises `TypeMismatchError` where there is no such."""
    if pa.types.is_dictionary(dtype):
        return python_type(dtype.value_type, plain, who, path)
    if pa.types.is_struct(dtype):
        return _of_fields([dtype.field(i) for i in range(dtype.num_fields)], plain, who)
    if is_list(dtype):
        return list[_item(dtype.value_field, plain, who, path)]  # type: ignore[misc]
    if pa.types.is_map(dtype) and pa.types.is_string(dtype.key_type):
        return dict[str, _item(dtype.item_field, plain, who, path)]  # type: ignore[misc]
    kind = next((kind for matches, kind in _KINDS if matches(dtype)), None)
    if kind is None or pa.types.is_float16(dtype):
        raise TypeMismatchError(
            f"{who} can't hold the column {path!r}",
            expected="booleans, numbers, text, binary, decimals, dates, times, timestamps, durations, "
            "and lists, structs and maps by text of these",
            found=str(dtype),
            remedy="cast the column, or leave it out",
        ).at(None, caller())
    return plain.get(kind, kind)


def _item(field: pa.Field, plain: Plain, who: str, path: str) -> Any:
    kind = python_type(field.type, plain, who, f"{path}[]")
    return kind | None if field.nullable else kind
