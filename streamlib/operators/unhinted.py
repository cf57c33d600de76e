"""`map` and `flat_map` over functions that don't say which columns they return: only a preview runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from streamlib.core.batch import Batch
from streamlib.core.contracts import Operator, OperatorSpec, StreamType
from streamlib.core.errors import InvariantError
from streamlib.core.hints import is_record_class, record_class
from streamlib.operators.record_functions import RecordFunction, reader, unknown_columns


@dataclass(frozen=True, eq=False)
class Unhinted(OperatorSpec):
    """A function whose results have to be seen before their columns are known.

    Attributes:
        function: the user's.
        hint: what it says of its results; maybe nothing.
        takes: the class of the records that go in; None: dicts.
    """

    per_record: ClassVar[bool] = True
    made: ClassVar[type[RecordFunction]]
    """What it becomes when the columns are known."""

    function: Callable[..., Any]
    hint: Any
    takes: type | None

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        reader(self.takes, inputs[0].schema)
        raise unknown_columns(self.function, self.hint)

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        raise InvariantError(f"{self.kind} was built without columns")

    def records(self, rows: Batch) -> list[Any]:
        """What the function is called with."""
        return reader(self.takes, rows.schema)(rows)

    def results(self, record: Any) -> Iterable[Any]:
        """What the function makes of a record."""
        return (self.function(record),)

    def typed(self, result: Any, schema: pa.Schema) -> RecordFunction:
        """The operator over results such as `result`; `schema` is what dicts would have."""
        gives: type | None = type(result) if is_record_class(type(result)) else None
        columns = schema if gives is None else record_class(gives).schema()
        return self.made(self.function, columns, self.takes, gives)
