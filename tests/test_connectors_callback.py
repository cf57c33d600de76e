"""Sinks that call a function, and the one that throws rows away."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib.connectors import callback, memory, null
from streamlib.core.contracts import Sink, SinkContext, SinkWriter
from streamlib.core.disk import LocalDisk
from streamlib.core.errors import ChangelogError, DefinitionError, TypeMismatchError, UnknownColumnError

ROWS = [{"item": f"i{i}", "price": i} for i in range(10)]
SCHEMA = pa.schema({"item": pa.string(), "price": pa.int64()})


@dataclass
class Sale:
    item: str
    price: int


def sales() -> sl.Stream:
    return sl.read(memory.source(ROWS, schema=SCHEMA, chunk_rows=4), name="sales")


def run(sink: Any, tmp_path: Any, stream: sl.Stream | None = None) -> Any:
    flow = sl.Flow("f", (stream or sales()).write(sink, name="out"))
    return flow.run(state=tmp_path / "s", progress="none")


def writer(sink: Any, schema: pa.Schema = SCHEMA) -> SinkWriter:
    assert isinstance(sink, Sink)
    made = sink.open(SinkContext("job", "out", "a1", schema, LocalDisk()))
    assert isinstance(made, SinkWriter)
    return made


def test_a_function_gets_every_batch_in_order(tmp_path: Any) -> None:
    got: list[pa.RecordBatch] = []
    run(callback.sink(got.append), tmp_path)
    assert all(isinstance(batch, pa.RecordBatch) and batch.num_rows for batch in got)
    assert pa.Table.from_batches(got).to_pylist() == ROWS


def test_a_function_gets_every_record_as_a_dict_or_as_its_hint_says(tmp_path: Any) -> None:
    got: list[Any] = []

    def take(sale: Sale) -> None:
        got.append(sale)

    run(callback.sink(take, per="record"), tmp_path / "a")
    assert got == [Sale(**row) for row in ROWS]
    got.clear()
    run(callback.sink(got.append, per="record"), tmp_path / "b")
    assert got == ROWS


def test_what_the_function_raises_stops_the_job_with_the_record(tmp_path: Any) -> None:
    def take(sale: dict[str, Any]) -> None:
        if sale["price"] == 6:
            raise ValueError("too dear")

    with pytest.raises(ValueError, match="too dear") as error:
        run(callback.sink(take, per="record"), tmp_path)
    assert "'price': 6" in "\n".join(error.value.__notes__)


def test_a_listener_is_told_of_checkpoints_after_the_rows_before_them(tmp_path: Any) -> None:
    told: list[Any] = []

    def take(batch: pa.RecordBatch) -> None:
        told.extend(batch["price"].to_pylist())

    def committed(number: int) -> None:
        told.append(f"checkpoint {number}")

    run(callback.sink(take, committed=committed), tmp_path)
    assert [each for each in told if isinstance(each, int)] == list(range(10))
    assert str(told[-1]).startswith("checkpoint")


def test_commits_can_be_repeated_and_an_early_end_is_quiet() -> None:
    numbers: list[int] = []
    for sink in (callback.sink(print, committed=numbers.append), callback.sink(list), null.sink()):
        made = writer(sink)
        assert sink.delivery == "at_least_once"
        made.write(pa.RecordBatch.from_pylist([], SCHEMA))
        pending = made.prepare(1)
        made.commit(1, pending)
        made.commit(1, pending)
        assert made.last_committed() == 0
        made.close()
    assert numbers == [1, 1]


def test_a_record_class_that_does_not_fit_the_rows_is_told_when_the_job_starts() -> None:
    with pytest.raises(UnknownColumnError):
        writer(callback.sink(_take, per="record"), pa.schema({"item": pa.string()}))


def _take(sale: Sale) -> None: ...


def test_nowhere_counts_rows_and_takes_changelogs(tmp_path: Any) -> None:
    nowhere = null.sink()
    run(nowhere, tmp_path / "a")
    assert nowhere.rows == 10
    changes = sales().aggregate(n=sl.count())
    run(nowhere, tmp_path / "b", changes)
    assert nowhere.rows > 10
    with pytest.raises(ChangelogError):
        run(callback.sink(print), tmp_path / "c", changes)


def test_sinks_are_values_and_say_what_they_can(tmp_path: Any) -> None:
    assert null.sink() == null.sink()
    assert repr(null.sink()) == "null.sink()"
    sink = callback.sink(_take, per="record", committed=print)
    assert pickle.loads(pickle.dumps(sink)) == sink != callback.sink(_take)
    assert "_take, per='record', committed=builtins:print)" in repr(sink)
    flow = sl.Flow("f", sales().write(sink, name="out"))
    assert "at-least-once" in str(flow.guarantee())


def test_what_can_not_be_called_is_refused() -> None:
    wrong: Any = 3
    with pytest.raises(TypeMismatchError):
        callback.sink(wrong)
    with pytest.raises(TypeMismatchError):
        callback.sink(print, committed=wrong)
    with pytest.raises(DefinitionError, match="did you mean 'record'"):
        callback.sink(print, per="records")  # type: ignore[arg-type]
