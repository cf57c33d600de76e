"""The user's own Python a record at a time: `map`, on dicts or on objects of the user's class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from streamlib.core.batch import Batch
from streamlib.core.canonical import function_id
from streamlib.core.contracts import Operator, Output, StreamType
from streamlib.core.errors import DefinitionError, StreamlibError, shown
from streamlib.core.hints import MISSING, function_hints, is_record_class
from streamlib.core.where import caller
from streamlib.operators.identity import check_identity, left_alone
from streamlib.operators.record_functions import (
    Read,
    RecordFunction,
    ResultWriter,
    in_pieces,
    reader,
    record_type,
    result_columns,
)


@dataclass(frozen=True, eq=False)
class Map(RecordFunction):
    """One record in, one record out, by a Python function. Made by `map_spec`."""

    kind: ClassVar[str] = "map"

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        (out,) = self.bind(inputs)
        return _Map(self, reader(self.takes, inputs[0].schema), left_alone(out))


def map_spec(function: Callable[[Any], Any], schema: pa.Schema | None) -> Map:
    """The description of `map` over `function`, whose hints are looked at. Raises as `operators.map` does."""
    parameters, result = function_hints(function)
    name = function_id(function)
    try:
        takes = record_type(parameters[0] if parameters else MISSING, f"the argument of {name}")
        known = schema is not None and not is_record_class(result)
        gives = None if known else record_type(result, f"the result of {name}")
        return Map(function, result_columns(name, result, gives, schema), takes, gives)
    except DefinitionError as error:
        raise error.at("map", caller()) from error.__cause__


class _Map(Operator):
    def __init__(self, spec: Map, read: Read, identity: tuple[str, ...]) -> None:
        self._function = spec.function
        self._schema = spec.schema
        self._read = read
        self._results = ResultWriter(spec.function, spec.gives, spec.schema)
        self._identity = identity

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        for first, rows in in_pieces(batch):
            self._map(rows, first)
        found = batch.replaced(self._schema, self._results.take())
        check_identity(batch, found, self._identity, None, function_id(self._function))
        return ((0, found),)

    def _map(self, rows: Batch, first: int) -> None:
        """Map `rows`, whose first one is row `first` of the batch."""
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
        self._results.add(mapped, place)
