"""What the hints of a stateful function say: the types of its state, its records and its results."""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import pyarrow as pa

from streamlib.core.canonical import function_id
from streamlib.core.errors import DefinitionError, shown
from streamlib.core.hints import MISSING, function_hints, hint_of, is_record_class, record_class
from streamlib.core.where import caller
from streamlib.operators.record_functions import record_type, result_columns
from streamlib.operators.stateful_records import Fold, Reduce, StatefulMap
from streamlib.state.object_codec import ObjectCodec


def stateful_map_spec(
    function: Callable[[Any, Any], Any], initial: Any, state: Any, schema: pa.Schema | None, ttl: int | None
) -> StatefulMap:
    """The description of `stateful_map`. Raises as `operators.stateful_map` does."""
    given, record, result = _hints(function)
    name = function_id(function)
    try:
        kind = _state_type(name, state, given, initial)
        takes = record_type(record, f"the second argument of {name}")
        item = get_args(result)[1] if get_origin(result) is tuple and len(get_args(result)) == 2 else MISSING
        known = schema is not None and not is_record_class(item)
        gives = None if known else record_type(item, f"the result of {name}")
        columns = _pair_columns(name, item, gives, schema)
        return StatefulMap(function, columns, takes, gives, kind, _encoded(kind, initial, name), ttl)
    except DefinitionError as error:
        raise error.at("stateful_map", caller()) from error.__cause__


def fold_spec(
    function: Callable[[Any, Any], Any],
    initial: Any,
    state: Any,
    schema: pa.Schema | None,
    into: str,
    ttl: int | None,
) -> Fold:
    """The description of `fold`. Raises as `operators.fold` does."""
    given, record, _ = _hints(function)
    name = function_id(function)
    try:
        kind = _state_type(name, state, given, initial)
        takes = record_type(record, f"the second argument of {name}")
        data = _encoded(kind, initial, name)
        bare = _without_none(kind)
        if is_record_class(bare):
            columns = result_columns(name, bare, schema)
            return Fold(function, columns, takes, bare, kind, data, ttl)
        if schema is not None:
            return Fold(function, schema, takes, None, kind, data, ttl)
        hint = hint_of(kind, f"the state of {name}")
        if hint.dtype is None:
            raise DefinitionError(
                f"it is not known which column the state of {name} becomes",
                expected="a state of a type with a column, or `schema=` for a dict",
                found=str(kind),
                remedy='hint the state, or give schema={"total": pa.int64()}',
            )
        columns = pa.schema([pa.field(into, hint.dtype, hint.nullable)])
        return Fold(function, columns, takes, None, kind, data, ttl, into)
    except DefinitionError as error:
        raise error.at("fold", caller()) from error.__cause__


def reduce_spec(function: Callable[[Any, Any], Any], ttl: int | None) -> Reduce:
    """The description of `reduce`. Raises as `operators.reduce` does."""
    first, second, result = _hints(function)
    name = function_id(function)
    try:
        kinds = {
            record_type(hint, f"a record of {name}")
            for hint in (first, second, result)
            if hint is not MISSING
        }
        if len(kinds) > 1:
            raise DefinitionError(
                f"{name} does not give what it takes",
                expected="one class of records, for both arguments and the result",
                found=", ".join(sorted("dict" if kind is None else kind.__name__ for kind in kinds)),
                remedy="use `fold` for a state of another type",
            )
        kind = kinds.pop() if kinds else None
        columns = pa.schema([]) if kind is None else record_class(kind).schema()
        return Reduce(function, columns, kind, kind, kind, None, ttl)
    except DefinitionError as error:
        raise error.at("reduce", caller()) from error.__cause__


def _hints(function: Callable[..., Any]) -> tuple[Any, Any, Any]:
    parameters, result = function_hints(function)
    first, second, *_ = [*parameters, MISSING, MISSING]
    return first, second, result


def _pair_columns(name: str, item: Any, gives: type | None, schema: pa.Schema | None) -> pa.Schema:
    if schema is None and gives is None:
        raise DefinitionError(
            f"it is not known which columns {name} returns",
            expected="a result hinted as a tuple of the state and a record class, or `schema=`",
            found="no such hint",
            remedy="write `-> tuple[float, Priced]` with `class Priced(TypedDict): price: float`, "
            'or schema={"price": pa.float64()}',
        )
    return result_columns(name, gives, schema)


def _state_type(name: str, state: Any, hint: Any, initial: Any) -> Any:
    """The type of states: as given, else as hinted, else that of the initial one."""
    if state is not None:
        return state
    if hint is not MISSING and not isinstance(hint, str) and hint is not Any:
        return hint
    if initial is not None:
        return type(initial)
    raise DefinitionError(
        f"it is not known what the state of {name} is",
        expected="a type for the first argument, `state=`, or an initial state",
        found="no hint" if hint is MISSING else f"the hint {hint}",
        remedy="hint it: `def f(total: float | None, sale: Sale)`, or give `initial=0.0`",
    )


def _without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        others = [part for part in get_args(kind) if part is not NoneType]
        return others[0] if len(others) == 1 else kind
    return kind


def _encoded(kind: Any, initial: Any, name: str) -> bytes | None:
    codec = ObjectCodec(kind)
    if initial is not None:
        return codec.encode(initial)
    optional = get_origin(kind) in (Union, UnionType) and NoneType in get_args(kind)
    if optional or kind in (Any, object):
        return None
    raise DefinitionError(
        f"there is no state for {name} to begin with",
        expected="`initial=`, or a hint that allows None, which a new key then has",
        found=f"the state {getattr(kind, '__qualname__', None) or shown(kind)} and no initial one",
        remedy="give `initial=`, or hint the state as `... | None`",
    )
