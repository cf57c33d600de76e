"""Avro files as a source; those that the sink writes come back as they were."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import col
from streamlib.connectors import avro, memory
from streamlib.core.contracts import Pause
from streamlib.core.errors import SchemaChangedError, SourceError
from streamlib.testing import assert_parity, assert_survives


def logical(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "logicalType": name}


FIELDS: dict[str, Any] = {
    "id": "long",
    "name": ["null", "string"],
    "kind": {"type": "enum", "name": "Kind", "symbols": ["buy", "sell"]},
    "day": logical("int", "date"),
    "at": logical("long", "timestamp-micros"),
    "clock": logical("long", "time-micros"),
    "price": {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2},
    "tags": {"type": "array", "items": "string"},
    "place": {"type": "record", "name": "Place", "fields": [{"name": "x", "type": "double"}]},
}
SCHEMA = {
    "type": "record",
    "name": "Row",
    "fields": [{"name": name, "type": kind} for name, kind in FIELDS.items()],
}
ROWS = [
    {
        "id": i,
        "name": None if i % 3 == 0 else f"n{i}",
        "kind": "buy" if i % 2 else "sell",
        "day": date(2026, 1, 1 + i % 28),
        "at": datetime(2026, 1, 1, 0, 0, i % 60, i, tzinfo=UTC),
        "clock": time(12, 0, i % 60),
        "price": Decimal(i).scaleb(-2),
        "tags": ["a"] * (i % 3),
        "place": {"x": i / 2},
    }
    for i in range(200)
]


def put(path: Path, rows: Any = ROWS, schema: Any = SCHEMA, codec: str = "deflate", block: int = 500) -> Path:
    with path.open("wb") as file:
        fastavro.writer(file, schema, rows, codec=codec, sync_interval=block)
    return path


def read(source: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for partition in source.partitions():
        for chunk in iter(source.open(partition, None, None).read, Pause.END):
            found += chunk.rows.to_pylist()
    return found


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_values_of_all_types_come_as_columns(tmp_path: Path, codec: str) -> None:
    put(tmp_path / "a.avro", codec=codec)
    source = avro.source(tmp_path)
    assert [str(field.type) for field in source.schema()][3:7] == [
        "date32[day]",
        "timestamp[us, tz=UTC]",
        "time64[us]",
        "decimal128(8, 2)",
    ]
    assert read(source) == ROWS


def test_what_the_sink_writes_is_read_back(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": [1, 2, None],
            "at": pa.array([0, 1, None], pa.timestamp("us", "UTC")),
            "tags": [["a"], [], None],
            "ok": [True, None, False],
        }
    )
    rows = sl.read(memory.source(table), name="rows")
    flow = sl.Flow("out", rows.write(avro.sink(str(tmp_path / "out")), name="files"))
    flow.run(state=str(tmp_path / "state"), progress="none")
    back = sl.read(avro.source(tmp_path / "out"), name="back").collect()
    assert back.to_pylist() == table.to_pylist()


def test_a_reader_goes_on_at_every_position(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avro, "BATCH_ROWS", 40)
    put(tmp_path / "a.avro")
    source = avro.source(tmp_path)
    source.schema()
    for position in (0, 1, 39, 40, 199, 200):
        chunks: list[Any] = list(iter(source.open("a.avro", position, None).read, Pause.END))
        assert [row["id"] for chunk in chunks for row in chunk.rows.to_pylist()] == list(range(position, 200))
        assert not chunks or chunks[-1].next_position == 200


def test_only_the_columns_that_a_flow_needs_are_made(tmp_path: Path) -> None:
    put(tmp_path / "a.avro")
    rows = sl.read(avro.source(tmp_path), name="rows")
    large = rows.filter(col("id") >= 190).select("id")
    assert "reads only id" in sl.Flow("large", large.write(memory.sink(), name="out")).explain()
    assert large.collect()["id"].to_pylist() == list(range(190, 200))


def test_a_flow_over_avro_gives_the_same_in_every_run_and_survives(tmp_path: Path) -> None:
    put(tmp_path / "a.avro", ROWS[:60])
    put(tmp_path / "b.avro", ROWS[60:90])
    rows = sl.read(avro.source(tmp_path), name="rows", event_time="at", watermark=sl.bounded_disorder("1min"))
    counts = rows.key_by("kind").window(sl.windows.tumbling("20s")).aggregate(n=sl.count(), x=sl.sum("id"))
    flow = sl.Flow("counts", counts.write(memory.sink(), name="out"))
    assert_parity(flow)
    assert_survives(flow)


def test_files_with_other_columns_are_named(tmp_path: Path) -> None:
    put(tmp_path / "a.avro")
    other = {"type": "record", "name": "Row", "fields": [{"name": "id", "type": "int"}]}
    put(tmp_path / "b.avro", [{"id": 1}], other)
    with pytest.raises(SchemaChangedError, match=r"b\.avro' does not have the columns of .*a\.avro"):
        avro.source(tmp_path).schema()


def test_a_schema_without_columns_is_refused_with_the_file(tmp_path: Path) -> None:
    either = {"type": "record", "name": "Row", "fields": [{"name": "v", "type": ["int", "string"]}]}
    put(tmp_path / "a.avro", [{"v": 1}], either)
    with pytest.raises(SourceError, match=r"a\.avro' has a schema that can't become columns"):
        avro.source(tmp_path).schema()


@pytest.mark.parametrize("content", [b"", b"no avro at all", b"Obj\x01"])
def test_what_is_no_avro_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.avro").write_bytes(content)
    with pytest.raises(SourceError, match=r"a\.avro' can't be read"):
        avro.source(tmp_path).schema()


@pytest.mark.parametrize("cut", [1, 10, 700])
def test_a_file_that_breaks_off_is_named(tmp_path: Path, cut: int) -> None:
    path = put(tmp_path / "a.avro")
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(SourceError, match=r"a\.avro' can't be read"):
        read(avro.source(tmp_path))


def test_damaged_bytes_are_an_error_and_no_rows_of_their_own(tmp_path: Path) -> None:
    path = put(tmp_path / "a.avro")
    good = path.read_bytes()
    middle = len(good) - 2000
    path.write_bytes(good[:middle] + bytes(50) + good[middle + 50 :])
    with pytest.raises(SourceError, match=r"a\.avro' can't be read"):
        read(avro.source(tmp_path))
