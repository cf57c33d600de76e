"""The user's own Python, any number of records for each record: `flat_map`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, get_args, get_origin

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Batch
from streamlib.core.canonical import function_id
from streamlib.core.contracts import Operator, Output, StreamType
from streamlib.core.errors import DefinitionError, StreamlibError, UserFunctionError, shown
from streamlib.core.hints import MISSING, function_hints, is_record_class
from streamlib.core.where import caller
from streamlib.operators.record_functions import (
    Read,
    RecordFunction,
    ResultWriter,
    in_pieces,
    reader,
    record_type,
    result_columns,
)
from streamlib.operators.unfolding import MOST_ROWS, unfolded, unfolded_type
from streamlib.operators.unhinted import Unhinted


@dataclass(frozen=True, eq=False)
class FlatMap(RecordFunction):
    """One record in, any number out, by a Python function. Made by `flat_map_spec`."""

    kind: ClassVar[str] = "flat_map"

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        reader(self.takes, stream.schema)
        return (unfolded_type(stream, self.schema),)

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        return _FlatMap(self, reader(self.takes, inputs[0].schema))


@dataclass(frozen=True, eq=False)
class UnhintedFlatMap(Unhinted):
    """`flat_map` over a function that does not say which columns it returns."""

    kind: ClassVar[str] = "flat_map"
    made: ClassVar[type[RecordFunction]] = FlatMap

    def results(self, record: Any) -> Iterable[Any]:
        """What the function makes of a record."""
        return _iterable(self.function, self.function(record), record)


def flat_map_spec(
    function: Callable[[Any], Iterable[Any]], schema: pa.Schema | None
) -> FlatMap | UnhintedFlatMap:
    """The description of `flat_map` over `function`. Raises as `operators.flat_map` does."""
    parameters, result = function_hints(function)
    name = function_id(function)
    try:
        takes = record_type(parameters[0] if parameters else MISSING, f"the argument of {name}")
        item = _item(result, name)
        known = schema is not None and not is_record_class(item)
        gives = None if known else record_type(item, f"an item of the result of {name}")
        if schema is None and gives is None:
            return UnhintedFlatMap(function, item, takes)
        return FlatMap(function, result_columns(name, gives, schema), takes, gives)
    except DefinitionError as error:
        raise error.at("flat_map", caller()) from error.__cause__


def _item(hint: Any, name: str) -> Any:
    """What the hint of a result says of the records in it."""
    origin = get_origin(hint) or hint
    if hint is MISSING or isinstance(hint, str) or hint is Any:
        return MISSING
    iterable = isinstance(origin, type) and issubclass(origin, Iterable)
    if iterable and not is_record_class(hint) and not issubclass(origin, Mapping | str | bytes):
        arguments = get_args(hint)
        return arguments[0] if arguments else MISSING
    raise DefinitionError(
        f"the result of {name} is hinted as something that is no iterable of records",
        expected="for example `-> Iterable[Word]` or `-> list[Word]`",
        found=getattr(hint, "__qualname__", None) or str(hint),
        remedy="return or yield any number of records; for one each use `map`",
    )


def _iterable(function: Callable[..., Any], found: Any, record: Any) -> Iterable[Any]:
    """What a function returned, if it is an iterable of records."""
    if isinstance(found, Mapping | str | bytes) or not isinstance(found, Iterable):
        raise UserFunctionError(
            f"{function_id(function)} did not return an iterable of records",
            expected="an iterable: a list, maybe empty, or a generator",
            found=f"{shown(found)} of type {type(found).__name__} for {shown(record)}",
            remedy="return `[record]` for one record, `[]` for none, or `yield` them",
        )
    return found


class _FlatMap(Operator):
    def __init__(self, spec: FlatMap, read: Read) -> None:
        self._function = spec.function
        self._schema = spec.schema
        self._read = read
        self._results = ResultWriter(spec.function, spec.gives, spec.schema)

    def on_batch(self, batch: Batch, port: int) -> Iterator[Output]:
        for _, rows in in_pieces(batch):
            yield from self._unfold(rows)

    def _unfold(self, rows: Batch) -> Iterator[Output]:
        """What comes of `rows`, in batches of a bounded number of rows."""
        records = self._read(rows)
        results: list[Any] = []
        parents: list[int] = []
        for row, record in enumerate(records):
            found = self._called(record)
            while piece := self._some(found, MOST_ROWS - len(results), record):
                results += piece
                parents += itertools.repeat(row, len(piece))
                if len(results) < MOST_ROWS:
                    break
                yield self._output(rows, records, results, parents)
                results, parents = [], []
        if results:
            yield self._output(rows, records, results, parents)

    def _called(self, record: Any) -> Iterator[Any]:
        try:
            found = self._function(record)
        except StreamlibError:
            raise
        except Exception as error:
            raise self._noted(error, record) from None
        return iter(_iterable(self._function, found, record))

    def _some(self, found: Iterator[Any], count: int, record: Any) -> list[Any]:
        try:
            return list(itertools.islice(found, count))
        except StreamlibError:
            raise
        except Exception as error:
            raise self._noted(error, record) from None

    def _noted(self, error: Exception, record: Any) -> Exception:
        error.add_note(f"while {function_id(self._function)} unfolded {shown(record)}")
        return error

    def _output(self, rows: Batch, records: list[Any], results: list[Any], parents: list[int]) -> Output:
        self._results.add(results, lambda i: shown(records[parents[i]]))
        return 0, unfolded(rows, self._schema, self._results.take(), np.array(parents, np.intp))
