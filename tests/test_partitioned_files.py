"""Files whose folders tell values of more columns."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import streamlib as sl
from streamlib import col
from streamlib.connectors import avro, csv, ipc, jsonl, memory, parquet
from streamlib.core.contracts import Pause
from streamlib.core.errors import DefinitionError, SourceError, UnknownColumnError

DAY = {"day": pa.date32()}
FIRST, SECOND = datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)


def put(folder: Path, day: str, ids: list[int], suffix: str) -> Path:
    path = folder / f"day={day}" / f"a{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"id": pa.array(ids, pa.int64())})
    if suffix == ".parquet":
        pq.write_table(table, path)
    elif suffix == ".arrow":
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    elif suffix == ".avro":
        schema = {"type": "record", "name": "Row", "fields": [{"name": "id", "type": ["null", "long"]}]}
        with path.open("wb") as file:
            fastavro.writer(file, schema, table.to_pylist())
    elif suffix == ".csv":
        path.write_text("".join(f"{i}\n" for i in ["id", *ids]))
    else:
        path.write_text("".join(json.dumps({"id": i}) + "\n" for i in ids))
    return path


SOURCES: dict[str, Any] = {
    ".parquet": parquet.source,
    ".arrow": ipc.source,
    ".avro": avro.source,
    ".csv": lambda path: csv.source(path, {"id": pa.int64()}),
    ".jsonl": lambda path: jsonl.source(path, {"id": pa.int64()}),
}


@pytest.fixture(params=SOURCES)
def suffix(request) -> str:
    return request.param


def stream(source: Any) -> sl.Stream:
    return sl.read(source, name="rows")


def rows(stream: sl.Stream) -> list[dict[str, Any]]:
    return sorted(stream.collect().to_pylist(), key=repr)


def test_folders_become_columns_behind_those_of_the_files(tmp_path, suffix):
    put(tmp_path, "2024-01-01", [1, 2], suffix)
    put(tmp_path, "2024-01-02", [3], suffix)
    put(tmp_path, "__HIVE_DEFAULT_PARTITION__", [4], suffix)
    source = SOURCES[suffix](tmp_path).partitioned_by(DAY)
    assert source.schema() == pa.schema({"id": pa.int64(), **DAY})
    expected = [(1, FIRST), (2, FIRST), (3, SECOND), (4, None)]
    assert rows(stream(source)) == [{"id": i, "day": day} for i, day in expected]
    assert {row["day"] for row in rows(stream(source).select("day"))} == {FIRST, SECOND, None}
    assert rows(stream(source).select("id")) == [{"id": i} for i in (1, 2, 3, 4)]


def test_files_that_a_filter_rules_out_are_not_opened(tmp_path, suffix):
    put(tmp_path, "2024-01-01", [1, 2], suffix)
    put(tmp_path, "2024-01-02", [3], suffix)
    found = stream(SOURCES[suffix](tmp_path).partitioned_by(DAY))
    assert rows(found.filter((col("day") > FIRST) & (col("id") > 0))) == [{"id": 3, "day": SECOND}]
    assert rows(found.filter(col("day").is_null())) == []
    source = SOURCES[suffix](tmp_path).partitioned_by(DAY).skipping(col("day") > FIRST, None)
    source.schema()
    for path in (tmp_path / "day=2024-01-01").iterdir():
        path.write_bytes(b"\0\0\0 damaged")
    first, second = source.partitions()
    assert source.open(first, None, None).read() is Pause.END
    assert source.open(second, None, None).read().rows.to_pylist() == [{"id": 3, "day": SECOND}]


def test_what_a_sink_partitioned_is_read_again(tmp_path):
    table = pa.table({"id": [1, 2, 3, 4], "region": ["eu", "a/b c", None, "ü%"], "even": [False, True] * 2})
    flow = sl.Flow(
        "flow",
        sl.read(memory.source(table), name="rows").write(
            parquet.sink(str(tmp_path / "out"), partition_by=["region", "even"]), name="out"
        ),
    )
    flow.backfill(state=str(tmp_path / "state"), progress="none")
    source = parquet.source(tmp_path / "out").partitioned_by({"region": pa.string(), "even": pa.bool_()})
    assert sorted(stream(source).collect().to_pylist(), key=lambda row: row["id"]) == table.to_pylist()


def test_positions_and_broken_records_are_those_of_the_files(tmp_path):
    path = put(tmp_path, "2024-01-01", [1, 2, 3], ".csv")
    path.write_text("id\n1\nx\n3\n")
    source = SOURCES[".csv"](tmp_path).partitioned_by(DAY)
    chunk = source.open("day=2024-01-01/a.csv", 1, None).read()
    assert chunk.rows.to_pylist() == [{"id": 3, "day": FIRST}]
    assert [each.position for each in chunk.broken] == [1]
    assert rows(sl.read(source, name="rows", on_error="skip")) == [
        {"id": 1, "day": FIRST},
        {"id": 3, "day": FIRST},
    ]


def test_partitioned_folders_can_be_followed(tmp_path):
    put(tmp_path, "2024-01-01", [1], ".csv")
    source = SOURCES[".csv"](tmp_path).partitioned_by(DAY).follow()
    reader = source.open("files", None, None)
    first = list(iter(reader.read, Pause.NOT_YET))
    put(tmp_path, "2024-01-02", [2], ".csv")
    second = list(iter(reader.read, Pause.NOT_YET))
    assert [row for chunk in first + second for row in chunk.rows.to_pylist()] == [
        {"id": 1, "day": FIRST},
        {"id": 2, "day": SECOND},
    ]
    assert repr(source).endswith(".partitioned_by(['day']).follow('1s')")


def test_folders_without_a_value_or_with_another_are_named(tmp_path):
    path = put(tmp_path, "today", [1], ".csv")
    with pytest.raises(SourceError, match=r"folder day=today of .*a\.csv' holds no value of type date32"):
        SOURCES[".csv"](tmp_path).partitioned_by(DAY).schema()
    with pytest.raises(SourceError, match=r"no folder of .*a\.csv' tells 'region'"):
        SOURCES[".csv"](path).partitioned_by({"region": pa.string()}).schema()


def test_columns_that_are_doubled_or_can_t_be_are_refused(tmp_path):
    put(tmp_path, "2024-01-01", [1], ".csv")
    with pytest.raises(DefinitionError, match="'id' is in the files and in the names"):
        SOURCES[".csv"](tmp_path).partitioned_by({"id": pa.int64()}).schema()
    with pytest.raises(DefinitionError, match="names no column"):
        SOURCES[".csv"](tmp_path).partitioned_by({})
    with pytest.raises(DefinitionError, match="can't be told by folders as list"):
        SOURCES[".csv"](tmp_path).partitioned_by({"tags": pa.list_(pa.string())})
    with pytest.raises(UnknownColumnError, match="did you mean 'day'"):
        SOURCES[".csv"](tmp_path).partitioned_by(DAY).open("day=2024-01-01/a.csv", None, "dy")


def test_descriptions_are_equal_where_they_mean_the_same():
    def made(**by: pa.DataType) -> Any:
        return parquet.source("in").partitioned_by(by)

    assert made(day=pa.date32()) == made(day=pa.date32()).skipping(col("day") > FIRST, None)
    assert hash(made(day=pa.date32())) == hash(made(day=pa.date32()))
    assert made(day=pa.date32()) != made(day=pa.string())
