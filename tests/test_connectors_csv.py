"""CSV files: how text becomes values, and what is said where it can't."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from streamlib.connectors import csv, text_blocks
from streamlib.core.contracts import Chunk, Pause
from streamlib.core.errors import DefinitionError, SourceError, TypeMismatchError, UnknownColumnError

SCHEMA = {"id": pa.int64(), "name": pa.string()}


def put(folder: Path, text: str | bytes, name: str = "a.csv") -> Path:
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder / name


def read(source: csv.CsvSource) -> list[dict]:
    found = []
    for partition in source.partitions():
        reader = source.open(partition, None, None)
        while isinstance(answer := reader.read(), Chunk):
            found += answer.rows.to_pylist()
            if answer.broken:
                raise answer.broken[0].error
    return found


def ids(source: csv.CsvSource) -> list[int]:
    return [row["id"] for row in read(source)]


# --------------------------------------------------------------------------- values


def test_quotes_hold_delimiters_line_breaks_and_quotes(tmp_path):
    put(tmp_path, 'id,name\n1,"a,b\nc ""d"""\r\n2,x\n')
    assert read(csv.source(tmp_path, SCHEMA)) == [{"id": 1, "name": 'a,b\nc "d"'}, {"id": 2, "name": "x"}]


def test_nothing_is_null_and_quoted_nothing_is_empty_text(tmp_path):
    put(tmp_path, 'id,name\n,""\n2,\n')
    assert read(csv.source(tmp_path, SCHEMA)) == [{"id": None, "name": ""}, {"id": 2, "name": None}]


def test_null_values_hold_for_every_type(tmp_path):
    put(tmp_path, 'id,name\nNA,NA\n2,"NA"\n')
    found = read(csv.source(tmp_path, SCHEMA, null_values=["NA"]))
    assert found == [{"id": None, "name": None}, {"id": 2, "name": "NA"}]


def test_other_delimiters_quotes_and_no_header(tmp_path):
    put(tmp_path, "1;'a;b'\n2;c\n")
    source = csv.source(tmp_path, SCHEMA, delimiter=";", quote="'", header=False)
    assert read(source) == [{"id": 1, "name": "a;b"}, {"id": 2, "name": "c"}]


def test_without_a_quote_character_quotes_are_text(tmp_path):
    put(tmp_path, 'id,name\n1,"x\n')
    assert read(csv.source(tmp_path, SCHEMA, quote="")) == [{"id": 1, "name": '"x'}]


def test_columns_are_found_by_name_and_others_ignored(tmp_path):
    put(tmp_path, "name,junk,id\nx,?,1\n", "a.csv")
    put(tmp_path, "id,name\n2,y\n", "b.csv")
    assert read(csv.source(tmp_path, SCHEMA)) == [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}]


def test_compressed_files_byte_order_marks_and_blank_lines(tmp_path):
    put(tmp_path, gzip.compress(b"\xef\xbb\xbfid,name\n\n1,x\n\n2,y\n\n"), "a.csv.gz")
    assert ids(csv.source(tmp_path, SCHEMA)) == [1, 2]


@pytest.mark.parametrize(("suffix", "codec"), [("gz", "gzip"), ("bz2", "bz2"), ("zst", "zstd")])
def test_how_a_file_is_compressed_is_told_by_its_name(tmp_path, suffix, codec):
    with pa.CompressedOutputStream(str(tmp_path / f"a.tsv.{suffix}"), codec) as file:
        file.write(b"id\tname\n1\tx\n")
    assert ids(csv.source(tmp_path, SCHEMA, delimiter="\t")) == [1]


def test_files_without_rows_end_at_once(tmp_path):
    put(tmp_path, "id,name\n")
    assert read(csv.source(tmp_path, SCHEMA)) == []
    put(tmp_path, "")
    assert read(csv.source(tmp_path, SCHEMA, header=False)) == []


def test_times_with_a_zone_need_an_offset(tmp_path):
    put(tmp_path, "at\n2024-01-01T12:00:00+02:00\n2024-01-01 10:00:00.5Z\n")
    (first, second) = read(csv.source(tmp_path, {"at": pa.timestamp("us", "UTC")}))
    assert (second["at"] - first["at"]).total_seconds() == 0.5
    put(tmp_path, "at\n2024-01-01T12:00:00\n")
    with pytest.raises(SourceError, match=r"line 2, column 'at'(.|\n)*zone offset"):
        read(csv.source(tmp_path, {"at": pa.timestamp("us", "UTC")}))


# --------------------------------------------------------------------------- the schema


def test_without_a_schema_the_error_holds_one_to_paste(tmp_path):
    put(tmp_path, "id,at,price,ok,day,who,none\n1,2024-01-01T00:00:00Z,1.5,true,2024-01-01,x,\n")
    with pytest.raises(DefinitionError) as caught:
        csv.source(tmp_path)
    line = caught.value.remedy.partition("schema=")[2]
    assert eval(line, {"pa": pa}) == {
        "id": pa.int64(),
        "at": pa.timestamp("s", "UTC"),
        "price": pa.float64(),
        "ok": pa.bool_(),
        "day": pa.date32(),
        "who": pa.string(),
        "none": pa.string(),
    }


@pytest.mark.parametrize("content", [None, b"", b"id\n1,2\n"])
def test_without_a_schema_and_without_a_readable_file_it_is_still_asked_for(tmp_path, content):
    if content is not None:
        put(tmp_path, content)
    with pytest.raises(DefinitionError, match=r"to do: +pass schema="):
        csv.source(tmp_path / "a.csv")


def test_a_column_that_the_file_lacks_is_named_with_the_closest(tmp_path):
    put(tmp_path, "id,nmae\n1,x\n")
    source = csv.source(tmp_path, SCHEMA)
    for call in (source.schema, lambda: source.open("a.csv", None, None)):
        with pytest.raises(UnknownColumnError, match=r"'name' in '.*a\.csv'(.|\n)*did you mean 'nmae'"):
            call()


def test_a_wrong_delimiter_is_suspected(tmp_path):
    put(tmp_path, "id;name\n1;x\n")
    with pytest.raises(UnknownColumnError, match="delimiter"):
        csv.source(tmp_path, SCHEMA).schema()


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    put(tmp_path, "id,name,id\n1,x,2\n")
    with pytest.raises(SourceError, match="several columns called 'id'"):
        csv.source(tmp_path, SCHEMA).schema()


def test_a_header_is_missed_where_there_is_no_line(tmp_path):
    put(tmp_path, "")
    with pytest.raises(SourceError, match=r"is empty\n  expected: a header that names id, name"):
        csv.source(tmp_path, SCHEMA).schema()


@pytest.mark.parametrize("schema", [{}, pa.schema([("id", pa.int64()), ("id", pa.int64())])])
def test_a_schema_without_columns_or_with_doubled_ones_is_refused(schema):
    with pytest.raises(DefinitionError, match="each with a name of its own"):
        csv.source("x.csv", schema)


def test_types_that_no_text_can_be_read_as_are_refused():
    with pytest.raises(TypeMismatchError, match="column 'tags' can't be read from CSV as list"):
        csv.source("x.csv", {"tags": pa.list_(pa.string())})


@pytest.mark.parametrize(
    "options", [{"delimiter": ""}, {"delimiter": "||"}, {"delimiter": "\n"}, {"quote": "é"}]
)
def test_delimiter_and_quote_are_one_character(options):
    with pytest.raises(DefinitionError, match="must be one character"):
        csv.source("x.csv", SCHEMA, **options)


# --------------------------------------------------------------------------- damage


def failure(source: csv.CsvSource) -> str:
    with pytest.raises(SourceError) as caught:
        read(source)
    return str(caught.value)


def test_a_bad_value_is_named_with_line_column_and_value(tmp_path):
    path = put(tmp_path, 'junk,name,id\n?,"two\nlines",1\n\n?,x,one\n')
    text = failure(csv.source(tmp_path, SCHEMA))
    assert f"'{path}', line 5, column 'id': not a value of type int64" in text
    assert "found:    'one'" in text
    assert "null_values=" in text


def test_a_bad_value_far_behind_stands_among_the_rows_around_it(tmp_path, monkeypatch):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 100)
    path = put(tmp_path, "id,name\n" + "1,x\n" * 1000 + "1.5,x\n" + "2,x\n" * 1000)
    reader = csv.source(tmp_path, SCHEMA).open("a.csv", None, None)
    chunks: list[Any] = list(iter(reader.read, Pause.END))
    assert [i for chunk in chunks for i in chunk.rows.to_pydict().get("id", ())] == [1] * 1000 + [2] * 1000
    (broken,) = (broken for chunk in chunks for broken in chunk.broken)
    assert (broken.position, broken.where, broken.data) == (1000, f"{path}, line 1002", b"1.5,x")
    assert "line 1002, column 'id'" in str(broken.error)


def test_a_record_of_the_wrong_length_is_shown(tmp_path):
    put(tmp_path, "id,name\n1,x\n2,y,z\n")
    text = failure(csv.source(tmp_path, SCHEMA))
    assert "line 3: a record of the wrong length" in text
    assert "expected: 2 values" in text
    assert "found:    3: '2,y,z'" in text


def test_a_record_without_end_is_suspected_of_a_missing_quote(tmp_path, monkeypatch):
    monkeypatch.setattr(text_blocks, "BLOCK_BYTES", 100)
    put(tmp_path, 'id,name\n1,"x\n' + "2,yyyy\n" * 100)
    assert "missing quote" in failure(csv.source(tmp_path, SCHEMA))


def test_text_that_is_not_utf8_is_named(tmp_path):
    put(tmp_path, b"id,name\n1,\xff\xfe\n")
    text = failure(csv.source(tmp_path, SCHEMA))
    assert "column 'name'" in text
    assert "UTF8" in text


def test_a_damaged_compressed_file_is_named(tmp_path):
    put(tmp_path, gzip.compress(b"id,name\n1,x\n")[:-12], "a.csv.gz")
    assert "a.csv.gz' can't be read" in failure(csv.source(tmp_path, SCHEMA))


def test_a_file_that_changes_while_it_is_read_stops_the_job(tmp_path):
    path = put(tmp_path, "id,name\n1,x\n")
    reader = csv.source(tmp_path, SCHEMA).open("a.csv", None, None)
    path.write_text("id,name\n1,x\n2,y\n")
    with pytest.raises(SourceError, match="changed while the job was reading it"):
        reader.read()
