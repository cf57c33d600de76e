"""Factories of operators that call the user's own Python: per record, or per batch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from streamlib.core.batch import schema_of
from streamlib.core.errors import DefinitionError, shown
from streamlib.core.policies import ErrorPolicy
from streamlib.core.rates import Rate, rate
from streamlib.core.time import Duration, duration
from streamlib.core.where import caller
from streamlib.operators.async_records import map_async_spec
from streamlib.operators.factories.common import SchemaSpec, Transform, checked_function, then
from streamlib.operators.flat_map_records import flat_map_spec
from streamlib.operators.functions import MapBatches
from streamlib.operators.map_records import map_spec


def map(
    function: Callable[[Any], Any], *, schema: SchemaSpec | None = None, on_error: ErrorPolicy = "fail"
) -> Transform:
    r"""One record in, one record out, by a Python function.

    The type hints of `function` say what a record is. Where its parameter is hinted as a dataclass,
    TypedDict or msgspec.Struct, it gets objects of that class (other columns are not looked at, and
    a field with a default may lack its column), else a dict of all columns. A result of such a class
    gives the output's columns and types; a function that returns a dict says them with `schema=`,
    which also overrides those of the hints. `preview` alone infers them, from the first results, and
    prints the line to paste. Timestamps with a time zone are datetimes in UTC.

    | hint | column |
    |---|---|
    | `bool`, `int`, `float`, `str`, `bytes` | bool, int64, float64, string, binary |
    | `datetime`, `date`, `time`, `timedelta` | timestamp[us, UTC], date32, time64[us], duration[us] |
    | `list[...]`, a record class | list, struct |
    | `Annotated[Decimal, pa.decimal128(12, 2)]` | exactly that type |
    | `... \| None` | may be null; without it a null is refused (in results: not inside structs) |

    `on_error` says what happens to a record at which the function fails, or whose result does not fit:
    `"fail"` (the default), `"skip"`, `sl.retry(...)` or `sl.dead_letter(sink)`.

    Raises:
        DefinitionError: hints that can't be resolved.

    When the flow is bound, raises `DefinitionError` where the output's columns are not known,
    `UnknownColumnError` for a field without column or default, and `TypeMismatchError` for a column of
    another type. What the function raises comes through, with a note on function, row and record.

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
    spec = map_spec(checked_function(function), None if schema is None else schema_of(schema))
    return then(spec, on_error=on_error)


def flat_map(
    function: Callable[[Any], Iterable[Any]],
    *,
    schema: SchemaSpec | None = None,
    on_error: ErrorPolicy = "fail",
) -> Transform:
    """One record in, any number of records out, by a Python function or generator.

    Records and columns as in `map`, with a result hinted as `Iterable[Rec]`, `list[Rec]` or the like. The
    rows inherit the event time of the record they were made of. Of a changelog they are deletions and
    insertions, so the function has to give the same records for the same record. Results are taken as
    they come and go on in batches of at most 65,536 rows. With `on_error` (see `map`) a batch that fails is
    tried again as a whole, then cut until the records that fail are alone.

    Raises:
        DefinitionError: as `map`, and for a result hinted as something else.

    >>> from collections.abc import Iterator
    >>> from typing import TypedDict
    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> class Word(TypedDict):
    ...     word: str
    >>> def words(line: dict) -> Iterator[Word]:
    ...     for word in line["text"].split():
    ...         yield Word(word=word)
    >>> lines = sl.read(memory.source([{"text": "to be or"}, {"text": ""}, {"text": "not"}]), name="lines")
    >>> lines.flat_map(words).collect()["word"].to_pylist()
    ['to', 'be', 'or', 'not']
    """
    spec = flat_map_spec(checked_function(function), None if schema is None else schema_of(schema))
    return then(spec, on_error=on_error)


def map_async(
    function: Callable[[Any], Awaitable[Any]],
    *,
    schema: SchemaSpec | None = None,
    concurrency: int = 100,
    ordered: bool = True,
    timeout: Duration = "10s",
    rate_limit: str | None = None,
    on_error: ErrorPolicy = "fail",
    name: str | None = None,
) -> Transform:
    """One record in, one record out, by a coroutine function that waits for the outside, such as a service.

    `function` is an `async def` that gets a record and returns one; hints and `schema=` say which, as in
    `map`. Many calls wait at a time, in one event loop that all runs of a process share, so a client such as
    `httpx.AsyncClient` may live in the module of the flow. The loop has one thread: what does not await
    holds all calls up. The results have the event times of their records, and no watermark passes a row
    that waits, so windows behind it are what they would be behind `map`.

    While more rows come than are answered, the sources wait. Calls that are pending when a checkpoint is
    taken are made again after a restart from it: the service may see a call twice, the results count once.

    Args:
        function: the coroutine function.
        schema: the columns of its results, where it returns dicts.
        concurrency: how many rows are out at a time: asked about, or answered and behind one that is not.
        ordered: rows go on in the order in which they came. False: as answers come, but not past a watermark.
        timeout: how long an attempt may take. Then it is cancelled, and has failed.
        rate_limit: how often attempts may begin, evenly spread: `"100/s"`, `"30/min"`.
        on_error: what happens to a record whose call fails, or whose result does not fit: `"fail"`, `"skip"`,
            `sl.retry(...)`, `sl.dead_letter(sink)`. Others go on while one is tried again.
        name: the operator's name in checkpoints.

    Raises:
        DefinitionError: no coroutine function, limits out of range, unknown columns (see `map`).

    >>> from typing import TypedDict
    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> class Priced(TypedDict):
    ...     item: str
    ...     price: int
    >>> async def priced(sale: dict) -> Priced:
    ...     return Priced(item=sale["item"], price=len(sale["item"]))  # await client.get(...)
    >>> sales = sl.read(memory.source([{"item": "pen"}, {"item": "paper"}]), name="sales")
    >>> sales.map_async(priced, timeout="2s").collect().to_pylist()
    [{'item': 'pen', 'price': 3}, {'item': 'paper', 'price': 5}]
    """
    columns = None if schema is None else schema_of(schema)
    spec = map_async_spec(
        checked_function(function),
        columns,
        concurrency=_positive(concurrency, "concurrency"),
        ordered=ordered,
        timeout=_positive(duration(timeout), "timeout"),
        rate=None if rate_limit is None else _rate(rate_limit),
    )
    return then(spec, name=name, on_error=on_error)


def _rate(text: str) -> Rate:
    try:
        return rate(text)
    except DefinitionError as error:
        raise error.at("map_async", caller()) from None


def _positive(value: int, option: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise DefinitionError(
            f"`{option}` of map_async is out of range", expected="more than 0", found=shown(value)
        ).at("map_async", caller())
    return value


def map_batches(
    function: Callable[[Any], Any], *, schema: SchemaSpec | None = None, on_error: ErrorPolicy = "fail"
) -> Transform:
    """A function from one `pyarrow.RecordBatch` to another.

    The batch has the stream's columns and `__row__` (int32), the number of the row. A function that
    drops, adds or reorders rows names `__row__` in `schema` and returns it: event times follow it.
    Without it the row count must stay, and the order is trusted. `schema` defaults to the input's; a
    batch with other columns is refused.

    With `on_error` (see `map`) a batch that fails is tried again, then cut into halves, and the halves
    again, until the rows that fail are alone.
    """
    spec = MapBatches(checked_function(function), None if schema is None else schema_of(schema))
    return then(spec, on_error=on_error)
