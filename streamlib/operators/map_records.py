"""The user's own Python a record at a time: `map`, on dicts or on objects of the user's class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Batch
from streamlib.core.canonical import function_id
from streamlib.core.contracts import Operator, Output, Rescue, StreamType
from streamlib.core.errors import DefinitionError, StreamlibError, shown
from streamlib.core.hints import MISSING, function_hints, is_record_class
from streamlib.core.isolation import isolated
from streamlib.core.where import caller
from streamlib.operators.identity import check_identity, left_alone
from streamlib.operators.record_functions import (
    Read,
    RecordFunction,
    ResultWriter,
    in_pieces,
    readable,
    reader,
    record_type,
    result_columns,
)
from streamlib.operators.unhinted import Unhinted


@dataclass(frozen=True, eq=False)
class Map(RecordFunction):
    """One record in, one record out, by a Python function. Made by `map_spec`."""

    kind: ClassVar[str] = "map"

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        (out,) = self.bind(inputs)
        return _Map(self, reader(self.takes, inputs[0].schema), left_alone(out))


@dataclass(frozen=True, eq=False)
class UnhintedMap(Unhinted):
    """`map` over a function that does not say which columns it returns."""

    kind: ClassVar[str] = "map"
    made: ClassVar[type[RecordFunction]] = Map


def map_spec(function: Callable[[Any], Any], schema: pa.Schema | None) -> Map | UnhintedMap:
    """The description of `map` over `function`, whose hints are looked at. Raises as `operators.map` does."""
    parameters, result = function_hints(function)
    name = function_id(function)
    try:
        takes = record_type(parameters[0] if parameters else MISSING, f"the argument of {name}")
        known = schema is not None and not is_record_class(result)
        gives = None if known else record_type(result, f"the result of {name}")
        if schema is None and gives is None:
            return UnhintedMap(function, result, takes)
        return Map(function, result_columns(name, gives, schema), takes, gives)
    except DefinitionError as error:
        raise error.at("map", caller()) from error.__cause__


def _lost(rescue: Rescue, numbers: Sequence[int], index: int, error: Exception) -> None:
    rescue.lost(numbers[index], error)


class _Map(Operator):
    keeps_stamps: ClassVar[bool] = True

    def __init__(self, spec: Map, read: Read, identity: tuple[str, ...]) -> None:
        self._function = spec.function
        self._schema = spec.schema
        self._read = read
        self._writer = partial(ResultWriter, spec.function, spec.gives, spec.schema)
        self._results = self._writer()
        self._identity = identity

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        for first, rows in in_pieces(batch):
            self._map(rows, first)
        found = batch.replaced(self._schema, self._results.take())
        check_identity(batch, found, self._identity, None, function_id(self._function))
        return ((0, found),)

    def on_batch_isolating(self, batch: Batch, port: int, rescue: Rescue) -> Iterable[Output]:
        """See `Isolates`: no record is given to the function twice, unless the policy tries it again."""
        parts: list[tuple[list[int], list[pa.Array]]] = []
        for first, piece in in_pieces(batch):
            numbers, records = readable(self._read, piece, first, rescue)
            mapped: list[Any] = []
            self._map_rest(numbers, records, mapped, rescue)
            parts += self._fitting(numbers, records, mapped, rescue)
        if not parts:
            return ()
        rows = batch
        if sum(len(numbers) for numbers, _ in parts) < batch.num_rows:
            kept = np.zeros(batch.num_rows, np.bool_)
            kept[[number for found, _ in parts for number in found]] = True
            rows = batch.filter(kept)  # half an update that is left becomes a whole change
        columns = [pa.concat_arrays(found) for found in zip(*(part for _, part in parts), strict=True)]
        found = rows.replaced(self._schema, columns)
        check_identity(rows, found, self._identity, None, function_id(self._function))
        return ((0, found),)

    def _map_rest(self, numbers: list[int], records: list[Any], mapped: list[Any], rescue: Rescue) -> None:
        """Map the records behind the last mapped one; those that fail leave both lists."""
        while len(mapped) < len(records):
            try:
                mapped.extend(map(self._function, islice(records, len(mapped), None)))
            except Exception as error:
                at = len(mapped)
                try:
                    mapped.append(rescue.retried(error, partial(self._function, records[at])))
                except Exception as final:
                    rescue.lost(numbers[at], final)
                    del numbers[at], records[at]

    def _fitting(
        self, numbers: list[int], records: list[Any], mapped: list[Any], rescue: Rescue
    ) -> list[tuple[list[int], list[pa.Array]]]:
        """The results that fit the schema, as columns, with the numbers of their rows."""

        def attempt(start: int, stop: int) -> tuple[list[int], list[pa.Array]]:
            results = self._writer()
            results.add(mapped[start:stop], lambda row: f"the record {shown(records[start + row])}")
            return numbers[start:stop], results.take()

        if not mapped:
            return []
        try:
            return [attempt(0, len(mapped))]
        except Exception as error:
            return list(isolated(len(mapped), attempt, error, partial(_lost, rescue, numbers)))

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
