"""Rows in memory: how they may be given, and what is said where they don't fit."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from streamlib.connectors import memory
from streamlib.connectors.positions import BLOCK, Floors
from streamlib.core.contracts import Chunk, SinkContext
from streamlib.core.disk import LocalDisk
from streamlib.core.errors import (
    DefinitionError,
    NotPicklableError,
    SinkError,
    TypeMismatchError,
    UnknownColumnError,
)
from streamlib.core.time import MAX_TIME


def address(column: pa.Array) -> int:
    return column.buffers()[1].address


def first_chunk(source: memory.MemorySource, event_time: str | None = None) -> Chunk:
    chunk = source.open(source.partitions()[0], None, event_time).read()
    assert isinstance(chunk, Chunk)
    return chunk


def test_a_table_of_one_chunk_is_read_without_copying():
    table = pa.table({"id": np.arange(1000)})
    source = memory.source(table, chunk_rows=100)
    assert address(first_chunk(source).rows.column(0)) == address(table["id"].chunk(0))


def test_a_list_is_taken_as_it_is_now():
    rows = [{"id": 1}]
    source = memory.source(rows)
    rows.append({"id": 2})
    assert first_chunk(source).rows.num_rows == 1


def test_records_may_lack_columns_and_show_their_types():
    source = memory.source([{"id": 1}, {"name": "x", "id": 2}])
    assert source.schema() == pa.schema({"id": pa.int64(), "name": pa.string()})
    assert first_chunk(source).rows.to_pylist() == [{"id": 1, "name": None}, {"id": 2, "name": "x"}]


def test_a_schema_casts_and_orders_the_columns():
    source = memory.source(pa.table({"a": [1], "b": [2], "c": [3]}), {"b": pa.float64(), "a": pa.int32()})
    assert source.schema() == pa.schema({"b": pa.float64(), "a": pa.int32()})


def test_metadata_and_nullability_are_no_part_of_the_schema():
    table = pa.table(
        {"id": [1]}, pa.schema([pa.field("id", pa.int64(), False, {"x": "y"})], metadata={"a": "b"})
    )
    assert memory.source(table) == memory.source([{"id": 1}])


def test_floors_are_exact_in_the_middle_of_blocks_too():
    times = np.random.default_rng(0).integers(-(10**9), 10**9, 2 * BLOCK + 77)
    floors = Floors(times)
    for row in (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 76):
        assert floors.at(row) == times[row:].min()
    assert floors.at(len(times)) == MAX_TIME


@pytest.mark.parametrize(
    ("values", "dtype", "micros"),
    [
        ([3, 2], pa.int64(), 2),
        ([3, 2], pa.timestamp("ms", "UTC"), 2_000),
        ([3_999, 2_999], pa.timestamp("ns", "Asia/Tokyo"), 2),
        ([3, 2], pa.timestamp("s"), 2_000_000),
        ([3, 2], pa.date32(), 2 * 86_400_000_000),
        ([3, None], pa.timestamp("us", "UTC"), MAX_TIME),
    ],
)
def test_floors_are_microseconds_whatever_the_unit(values, dtype, micros):
    stored = pa.int32() if dtype == pa.date32() else pa.int64()
    source = memory.source(pa.table({"at": pa.array(values, stored).cast(dtype)}), chunk_rows=1)
    assert first_chunk(source, "at").floor == micros


@pytest.mark.parametrize(
    ("data", "schema", "error", "says"),
    [
        (3, None, DefinitionError, "int: 3"),
        ({"id": [1, 2]}, None, DefinitionError, "pa.table"),
        ([1, 2], None, DefinitionError, "list of dicts"),
        ([], None, DefinitionError, "schema="),
        ([{}], None, DefinitionError, "schema="),
        ({}, None, DefinitionError, "0 partitions"),
        ([{"id": None}], None, DefinitionError, "column 'id'"),
        ([{"id": 1}, {"id": "x"}], None, TypeMismatchError, "'x'"),
        ([{"id": "x"}], {"id": pa.int64()}, TypeMismatchError, "'x'"),
        ([{"id": 2**70}], {"id": pa.int64()}, TypeMismatchError, "does not fit"),
        ([{"idd": 1}], {"id": pa.int64()}, UnknownColumnError, "did you mean 'id'"),
        (pa.table({"id": [1]}), {"idd": pa.int64()}, UnknownColumnError, "did you mean 'id'"),
        (pa.table({"id": ["x"]}), {"id": pa.int64()}, TypeMismatchError, "'x'"),
        ({"p": [{"id": 1}], "q": [{"id": 1.5}]}, None, TypeMismatchError, "partitions 'p' and 'q'"),
    ],
)
def test_rows_that_do_not_fit_are_refused_when_described(data, schema, error, says):
    with pytest.raises(error, match=says):
        memory.source(data, schema)


def test_numbers_below_one_are_refused():
    with pytest.raises(DefinitionError, match="chunk_rows"):
        memory.source([{"id": 1}], chunk_rows=0)
    with pytest.raises(DefinitionError, match="partitions"):
        memory.source([{"id": 1}], partitions=0)
    with pytest.raises(DefinitionError, match="partitions"):
        memory.source({"a": [{"id": 1}]}, partitions=2)


def test_more_partitions_than_rows_leave_some_empty():
    source = memory.source([{"id": 1}], partitions=3)
    assert source.partitions() == ["0", "1", "2"]
    assert [table.num_rows for _, table in source.tables] == [1, 0, 0]


def context(sink_name: str = "out") -> SinkContext:
    return SinkContext("job", sink_name, "attempt", pa.schema({"id": pa.int64()}), LocalDisk())


def written(sink: memory.MemorySink) -> None:
    writer = sink.open(context())
    writer.write(pa.record_batch({"id": [1]}))
    writer.commit(1, writer.prepare(1))


def test_a_cleared_sink_forgets_rows_but_not_what_was_committed():
    sink = memory.sink()
    writer = sink.open(context())
    writer.write(pa.record_batch({"id": [1]}))
    pending = writer.prepare(1)
    writer.commit(1, pending)
    sink.clear()
    writer.commit(1, pending)
    assert sink.table().num_rows == 0
    assert sink.table().schema == pa.schema({"id": pa.int64()})
    assert writer.last_committed() == 1


def test_rows_that_memory_has_lost_are_an_error():
    with pytest.raises(SinkError, match="does not outlive its process"):
        memory.sink().open(context()).commit(7, {"attempt": "earlier", "rows": 3})


def test_two_sinks_are_two_places_and_a_pickle_is_the_same_place():
    sink = memory.sink()
    assert sink != memory.sink()
    written(sink)
    assert pickle.loads(pickle.dumps(sink)) is sink


def test_a_sink_does_not_pretend_to_work_in_another_process():
    pickled = pickle.dumps(memory.sink())
    program = f"import pickle; pickle.loads({pickled!r})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, cwd=Path(__file__).parent.parent, check=False
    )
    assert done.returncode == 1
    assert NotPicklableError.__name__ in done.stderr.decode()
