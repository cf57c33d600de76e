"""A sink that calls a function of the user with the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from streamlib.connectors.calls import as_call
from streamlib.core.batch import Batch
from streamlib.core.canonical import function_name
from streamlib.core.contracts import Delivery, Json, SinkContext
from streamlib.core.errors import DefinitionError, TypeMismatchError, did_you_mean, shown
from streamlib.core.hints import MISSING, function_hints, is_record_class, record_class
from streamlib.core.python_values import python_values
from streamlib.core.record_columns import RecordReader
from streamlib.core.where import caller

__all__ = ["CallbackSink", "sink"]

Per = Literal["batch", "record"]


@dataclass(frozen=True, repr=False)
class CallbackSink:
    """Calls a function with every batch or record. Made by `sink`; equal where the functions are."""

    function: Callable[[Any], Any]
    per: Per
    committed: Callable[[int], Any] | None

    @property
    def delivery(self) -> Delivery:
        return "at_least_once"

    def open(self, context: SinkContext) -> CallbackWriter:
        return CallbackWriter(self, context.schema)

    def __repr__(self) -> str:
        called = None if self.committed is None else _Name(function_name(self.committed))
        per = None if self.per == "batch" else self.per
        return as_call("callback.sink", _Name(function_name(self.function)), per=per, committed=called)


class _Name:
    """A name that shows itself without quotes."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


class CallbackWriter:
    """Calls at once: what a function did can't be taken back."""

    def __init__(self, sink: CallbackSink, schema: pa.Schema) -> None:
        self._sink = sink
        self._records = _reader(sink.function, schema) if sink.per == "record" else None

    def write(self, rows: pa.RecordBatch) -> None:
        if self._records is None:
            if rows.num_rows:
                self._sink.function(rows)
            return
        for number, record in enumerate(self._records(rows)):
            try:
                self._sink.function(record)
            except Exception as error:
                name = function_name(self._sink.function)
                error.add_note(f"while {name} got record {number} of a batch: {shown(record)}")
                raise

    def prepare(self, number: int) -> Json:
        """Tell of commits only who listens to them."""
        return None if self._sink.committed is None else number

    def commit(self, number: int, pending: Json) -> None:
        if self._sink.committed is not None:
            self._sink.committed(number)

    def last_committed(self) -> int:
        return 0

    def close(self) -> None: ...


def _reader(function: Callable[[Any], Any], schema: pa.Schema) -> Callable[[pa.RecordBatch], list[Any]]:
    """Records as the function's hint says: objects of a class, or dicts."""
    hint = (function_hints(function)[0] or [MISSING])[0]
    if is_record_class(hint):
        reader = RecordReader(record_class(hint), schema)
        return lambda rows: reader.read(Batch.from_arrow(rows))
    return _dicts


def _dicts(rows: pa.RecordBatch) -> list[dict[str, Any]]:
    columns = [python_values(column, column.type) for column in rows.columns]
    return [dict(zip(rows.schema.names, values, strict=True)) for values in zip(*columns, strict=True)]


def sink(
    function: Callable[[Any], Any], *, per: Per = "batch", committed: Callable[[int], Any] | None = None
) -> CallbackSink:
    """Call a function with the rows: what there is no connector for.

    The function is called in a thread of its own, with one batch after the other, and the flow waits while
    it works and a bounded number of batches stands before it. What it raises stops the job. It is
    at-least-once: after a crash it gets the rows since the last checkpoint again, so it had better do the
    same thing for the same rows.

    Args:
        function: what to call. Its result is not looked at.
        per: `"batch"`: it gets a `pyarrow.RecordBatch`. `"record"`: it gets each row, as an object of the
            class that its first parameter is hinted as (see `operators.map`), else as a dict.
        committed: called with the number of a checkpoint once that is durable: rows that `function` got
            before it was taken never come again. After a crash it may be called again with a number.

    Raises:
        TypeMismatchError: not a function.
        DefinitionError: `per` is neither.

    >>> import tempfile
    >>> import streamlib as sl
    >>> from streamlib.connectors import memory
    >>> sales = sl.read(memory.source([{"item": "pen", "price": 3}]), name="sales")
    >>> def show(sale: dict) -> None:
    ...     print(sale["item"], sale["price"])
    >>> flow = sl.Flow("show", sales.write(sink(show, per="record"), name="show"))
    >>> _ = flow.run(state=tempfile.mkdtemp(), progress="none")
    pen 3
    """
    for name, given in (("function", function), ("committed", committed)):
        if not callable(given) and not (name == "committed" and given is None):
            raise TypeMismatchError(
                f"{name} is not a function",
                expected="a callable with one argument",
                found=shown(given),
                remedy="give the function itself, without calling it",
            ).at(None, caller())
    if per not in ("batch", "record"):
        raise DefinitionError(
            "the function is called for batches or for records",
            expected='"batch" or "record"',
            found=shown(per),
            remedy=did_you_mean(str(per), ("batch", "record")),
        ).at(None, caller())
    return CallbackSink(function, per, committed)
