"""Files of JSON lines: how objects become rows, and what is said where they can't."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from streamlib.connectors import jsonl, text_blocks
from streamlib.core.contracts import Pause
from streamlib.core.errors import DefinitionError, SourceError, UnknownColumnError


@dataclass
class Item:
    name: str
    count: int | None = None


@dataclass
class Order:
    id: int
    items: list[Item]


def put(folder: Path, text: str, name: str = "a.jsonl") -> Path:
    (folder / name).write_text(text)
    return folder / name


def read(source: jsonl.JsonlSource) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for partition in source.partitions():
        chunks: list[Any] = list(iter(source.open(partition, None, None).read, Pause.END))
        for chunk in chunks:
            found += chunk.rows.to_pylist()
            if chunk.broken:
                raise chunk.broken[0].error
    return found


def test_a_class_of_records_says_the_columns_nested_ones_too(tmp_path):
    put(tmp_path, '{"id": 1, "items": [{"name": "a", "count": 2}, {"name": "b"}], "more": 1}\n')
    assert read(jsonl.source(tmp_path, Order)) == [
        {"id": 1, "items": [{"name": "a", "count": 2}, {"name": "b", "count": None}]}
    ]


def test_every_name_of_json_lines_counts_and_may_be_compressed(tmp_path):
    for i, suffix in enumerate([".jsonl", ".ndjson", ".json"]):
        put(tmp_path, f'{{"id": {i}}}\n', f"{i}{suffix}")
    with pa.CompressedOutputStream(str(tmp_path / "3.jsonl.zst"), "zstd") as file:
        file.write(b'{"id": 3}')
    put(tmp_path, "?", "_hidden.jsonl")
    assert [row["id"] for row in read(jsonl.source(tmp_path, {"id": pa.int64()}))] == [0, 1, 2, 3]


def test_a_column_may_be_missing_in_some_files_unless_it_is_never_null(tmp_path):
    put(tmp_path, '{"id": 1}\n\n  \n{"name": "x"}')
    columns = {"id": pa.int64(), "name": pa.string()}
    assert read(jsonl.source(tmp_path, columns)) == [{"id": 1, "name": None}, {"id": None, "name": "x"}]
    needed = pa.schema([pa.field("id", pa.int64(), nullable=False), ("name", pa.string())])
    with pytest.raises(SourceError, match=r"a\.jsonl', line 4(.|\n)*'id'(.|\n)*no such field"):
        read(jsonl.source(tmp_path, needed))


def test_files_without_lines_have_no_rows(tmp_path):
    put(tmp_path, "")
    put(tmp_path, "\n\n", "b.jsonl")
    assert read(jsonl.source(tmp_path, {"id": pa.int64()})) == []


def test_a_line_that_is_too_long_is_broken_and_the_next_one_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 100)
    put(tmp_path, '{"id": 1}\n{"id": 2, "x": "' + "y" * 1000 + '"}\n{"id": 3}\n')
    source = jsonl.source(tmp_path, {"id": pa.int64()})
    chunks: list[Any] = list(iter(source.open("a.jsonl", None, None).read, Pause.END))
    assert [row["id"] for chunk in chunks for row in chunk.rows.to_pylist()] == [1, 3]
    (broken,) = (each for chunk in chunks for each in chunk.broken)
    assert (broken.position, broken.where.rsplit(", ")[-1]) == (1, "line 2")
    assert "the record is too long" in str(broken.error)


def test_a_value_of_another_type_is_named_with_file_and_line(tmp_path):
    path = put(tmp_path, '{"id": 1}\n{"id": "2"}\n')
    with pytest.raises(SourceError) as caught:
        read(jsonl.source(tmp_path, {"id": pa.int64()}))
    assert f"'{path}', line 2: a json message can't be read at 'id'" in str(caught.value)
    assert 'found:    str in b\'{"id": "2"}\'' in str(caught.value)


def test_without_a_schema_the_error_holds_one_to_paste(tmp_path):
    lines = [{"id": 1, "price": 1, "tags": ["x"]}, {"id": 2, "price": 1.5, "who": {"name": "y"}}]
    put(tmp_path, "\n".join(map(json.dumps, lines)))
    with pytest.raises(DefinitionError) as caught:
        jsonl.source(tmp_path)
    assert caught.value.remedy is not None
    assert eval(caught.value.remedy.partition("schema=")[2], {"pa": pa}) == {
        "id": pa.int64(),
        "price": pa.float64(),
        "tags": pa.list_(pa.string()),
        "who": pa.struct({"name": pa.string()}),
    }


@pytest.mark.parametrize("content", [None, "", "[1, 2]", "{"])
def test_without_a_schema_and_without_a_readable_file_it_is_still_asked_for(tmp_path, content):
    if content is not None:
        put(tmp_path, content)
    with pytest.raises(DefinitionError, match=r"to do: +pass schema="):
        jsonl.source(tmp_path)


def test_the_event_time_has_to_be_a_column(tmp_path):
    put(tmp_path, "{}")
    with pytest.raises(UnknownColumnError):
        jsonl.source(tmp_path, {"id": pa.int64()}).open("a.jsonl", None, "at")
