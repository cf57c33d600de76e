"""Factories of operators that call the user's own Python with a state per key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamlib.core.batch import schema_of
from streamlib.core.errors import DefinitionError, shown
from streamlib.core.policies import ErrorPolicy
from streamlib.core.time import Duration, duration
from streamlib.core.where import caller
from streamlib.operators.factories.common import SchemaSpec, Transform, checked_function, then
from streamlib.operators.stateful_hints import fold_spec, reduce_spec, stateful_map_spec
from streamlib.operators.stateful_records import StatefulMap
from streamlib.plan.stream import checked_name


def stateful_map(
    function: Callable[[Any, Any], tuple[Any, Any]],
    *,
    initial: Any = None,
    state: Any = None,
    schema: SchemaSpec | None = None,
    ttl: Duration | None = None,
    name: str | None = None,
    on_error: ErrorPolicy = "fail",
) -> Transform:
    """One record in, one out, by a function that remembers: `(state, record)` to `(next state, result)`.

    Every key has a state of its own; without `key_by` there is one. Records and columns as in `map`, with
    the hints of `function`: `def f(state: Stats, sale: Sale) -> tuple[Stats, Priced]`. Event times stay with
    the rows. The records of a key come in the order of arrival.

    Args:
        function: called once per record. It may change the state in place and return it.
        initial: the state of a new key, a copy for each. None only where the hint allows None.
        state: the type of the state, where the hint of the first argument does not say it: what msgspec
            can store (numbers, texts, lists, dicts, a dataclass, TypedDict, msgspec.Struct; no pickles).
        schema: the columns of the results, where hints don't say them.
        ttl: a state is forgotten when so much event time has passed since the newest row of its key; the
            next row begins anew. For rows behind the watermark the watermark decides, in steps of an
            eighth of `ttl`. None: states stay for ever, which `explain` shows.
        name: names the state in checkpoints.
        on_error: what happens to a record at which the function fails, or whose result does not fit (see
            `map`). It leaves no trace in the state, also where the function had changed it in place. To
            that end the function may get the records around it again, from the state before them.

    Raises:
        DefinitionError: hints that don't say what is needed; a type that can't be stored.
        TypeMismatchError: when the flow is bound, a changelog.

    >>> from typing import TypedDict
    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> class Change(TypedDict):
    ...     item: str
    ...     change: int
    >>> def change(last: int | None, sale: dict) -> tuple[int, Change]:
    ...     price = sale["price"]
    ...     return price, Change(item=sale["item"], change=0 if last is None else price - last)
    >>> rows = [{"item": "pen", "price": 3}, {"item": "cup", "price": 9}, {"item": "pen", "price": 5}]
    >>> sales = sl.read(memory.source(rows), name="sales").key_by("item")
    >>> sales.stateful_map(change).collect()["change"].to_pylist()
    [0, 0, 2]
    """
    columns = None if schema is None else schema_of(schema)
    spec = stateful_map_spec(checked_function(function), initial, state, columns, _ttl("stateful_map", ttl))
    return _named(spec, name, on_error)


def fold(
    initial: Any,
    function: Callable[[Any, Any], Any],
    *,
    state: Any = None,
    schema: SchemaSpec | None = None,
    into: str = "value",
    ttl: Duration | None = None,
    name: str | None = None,
    on_error: ErrorPolicy = "fail",
) -> Transform:
    """Fold the records of each key into a state, `(state, record)` to the next state, and emit every state.

    A row per record: the key's columns, and the state behind them; event times stay with the rows. So the
    result is append-only, and the same however rows come in batches. For one row per key that is
    updated use `aggregate`, and an `AggregateFunction` for functions of your own.

    Args:
        initial: the state of a new key, a copy for each; None only where the hint allows None.
        function: called once per record. It may change the state in place and return it.
        state: the type of the state, where the hint of the first argument does not say it.
        schema: the columns of a state that is a dict.
        into: name of the column of a state that is no record, such as an int.
        ttl: see `stateful_map`.
        name: names the state in checkpoints.
        on_error: see `stateful_map`.

    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> def add(total: int, sale: dict) -> int:
    ...     return total + sale["price"]
    >>> rows = [{"item": "pen", "price": 3}, {"item": "cup", "price": 9}, {"item": "pen", "price": 5}]
    >>> sales = sl.read(memory.source(rows), name="sales").key_by("item")
    >>> sales.fold(0, add, into="sold").collect().to_pylist()[-1]
    {'item': 'pen', 'sold': 8}
    """
    if not isinstance(into, str) or not into:
        raise DefinitionError("not a name for a column", expected="a text", found=shown(into)).at(
            "fold", caller()
        )
    columns = None if schema is None else schema_of(schema)
    spec = fold_spec(checked_function(function), initial, state, columns, into, _ttl("fold", ttl))
    return _named(spec, name, on_error)


def reduce(
    function: Callable[[Any, Any], Any],
    *,
    ttl: Duration | None = None,
    name: str | None = None,
    on_error: ErrorPolicy = "fail",
) -> Transform:
    """Make one record of two, key by key: `(record so far, record)` to a record of the same class.

    A row per record, with its event time, as Flink's `reduce` has it: the first of a key as it is, then what
    the function returns. `ttl`, `name` and `on_error`: see `stateful_map`.

    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> def dearest(best: dict, sale: dict) -> dict:
    ...     return sale if sale["price"] > best["price"] else best
    >>> rows = [{"item": "pen", "price": 3}, {"item": "pen", "price": 2}, {"item": "pen", "price": 5}]
    >>> sales = sl.read(memory.source(rows), name="sales").key_by("item")
    >>> sales.reduce(dearest).collect()["price"].to_pylist()
    [3, 3, 5]
    """
    return _named(reduce_spec(checked_function(function), _ttl("reduce", ttl)), name, on_error)


def _named(spec: StatefulMap, name: str | None, on_error: ErrorPolicy) -> Transform:
    return then(spec, name=None if name is None else checked_name(name, "operator"), on_error=on_error)


def _ttl(operator: str, ttl: Duration | None) -> int | None:
    if ttl is None:
        return None
    found = duration(ttl)
    if found <= 0:
        raise DefinitionError(
            "states are kept for a while", expected="a duration above 0, or None", found=f"ttl={ttl!r}"
        ).at(operator, caller())
    return found
