"""Arrow IPC files and streams as a source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib.connectors import ipc
from streamlib.core.contracts import Pause
from streamlib.core.errors import SchemaChangedError, SourceError

TABLE = pa.table({"id": range(100), "name": [f"n{i}" for i in range(100)], "tags": [["a"]] * 100})


def put(path: Path, table: pa.Table = TABLE, rows: int = 30, **options: Any) -> Path:
    make = pa.ipc.new_stream if path.suffix == ".arrows" else pa.ipc.new_file
    with make(str(path), table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return path


def read(source: Any) -> pa.Table:
    found = []
    for partition in source.partitions():
        chunks: list[Any] = list(iter(source.open(partition, None, None).read, Pause.END))
        found += [chunk.rows for chunk in chunks]
    return pa.Table.from_batches(found, source.schema())


@pytest.mark.parametrize("name", ["a.arrow", "a.arrows", "a.feather"])
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_files_and_streams_are_told_apart_and_read_whole(tmp_path, name, compression):
    put(tmp_path / name, compression=compression)
    source = ipc.source(tmp_path)
    assert source.schema() == TABLE.schema
    assert read(source).equals(TABLE)


def test_a_stream_under_the_name_of_a_file_is_read_all_the_same(tmp_path):
    put(tmp_path / "a.arrows").rename(tmp_path / "a.arrow")
    assert read(ipc.source(tmp_path)).equals(TABLE)


def test_only_the_columns_that_a_flow_needs_are_read(tmp_path):
    put(tmp_path / "a.arrow")
    assert read(ipc.source(tmp_path).project(["tags", "id"])).equals(TABLE.select(["tags", "id"]))
    rows = sl.read(ipc.source(tmp_path), name="rows")
    assert rows.select("id").collect()["id"].to_pylist() == list(range(100))


def test_a_large_batch_is_handed_on_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(ipc, "BATCH_ROWS", 40)
    put(tmp_path / "a.arrow", rows=100)
    chunks: list[Any] = list(iter(ipc.source(tmp_path).open("a.arrow", None, None).read, Pause.END))
    assert [chunk.rows.num_rows for chunk in chunks] == [40, 40, 20]


def test_dictionaries_that_grow_are_read(tmp_path):
    words = [pa.array(["a", "b"]).dictionary_encode(), pa.array(["c", "a"]).dictionary_encode()]
    batches = [pa.record_batch({"word": each}) for each in words]
    with pa.ipc.new_stream(str(tmp_path / "a.arrows"), batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    assert read(ipc.source(tmp_path))["word"].to_pylist() == ["a", "b", "c", "a"]


def test_files_with_other_columns_are_named(tmp_path):
    put(tmp_path / "a.arrow")
    put(tmp_path / "b.arrow", TABLE.set_column(0, "id", TABLE["id"].cast(pa.int32())))
    with pytest.raises(SchemaChangedError, match=r"b\.arrow' does not have the columns of .*a\.arrow"):
        ipc.source(tmp_path).schema()


def test_the_order_of_columns_does_not_count(tmp_path):
    put(tmp_path / "a.arrow")
    put(tmp_path / "b.arrow", TABLE.select(["tags", "name", "id"]))
    assert read(ipc.source(tmp_path)).equals(pa.concat_tables([TABLE, TABLE]).combine_chunks())


@pytest.mark.parametrize("content", [b"", b"no arrow at all", b"ARROW1\0\0"])
def test_what_is_no_arrow_is_named(tmp_path, content):
    (tmp_path / "a.arrow").write_bytes(content)
    with pytest.raises(SourceError, match=r"a\.arrow' can't be read"):
        ipc.source(tmp_path).schema()


def test_a_file_that_breaks_off_is_named(tmp_path):
    path = put(tmp_path / "a.arrows")
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(SourceError, match=r"a\.arrows' can't be read"):
        read(ipc.source(tmp_path))


def test_a_file_that_changes_while_it_is_read_stops_the_job(tmp_path):
    path = put(tmp_path / "a.arrow")
    reader = ipc.source(tmp_path).open("a.arrow", None, None)
    put(path, TABLE.slice(50))
    with pytest.raises(SourceError, match="changed while the job was reading it"):
        reader.read()
