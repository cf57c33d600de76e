"""Parquet files as a source: what is found, what the statistics tell, what goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streamlib.connectors import parquet, parquet_statistics
from streamlib.core.contracts import Chunk
from streamlib.core.errors import DefinitionError, SourceError
from streamlib.core.time import MAX_TIME

IDS = pa.table({"id": [1, 2, 3], "price": [1.5, 2.5, 3.5]})


def put(path: Path, table: pa.Table = IDS, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def read(source: parquet.ParquetSource, partition: str, event_time: str | None = None) -> list[Chunk]:
    reader = source.open(partition, None, event_time)
    found = []
    while isinstance(answer := reader.read(), Chunk):
        found.append(answer)
    return found


# --------------------------------------------------------------------------- which files


def test_partitions_are_named_from_the_folder_that_the_path_fixes(tmp_path):
    one = put(tmp_path / "data/2024/a.parquet")
    for path in (tmp_path / "data", f"{tmp_path}/data/*/*.parquet", f"{tmp_path}/data/**/*.parquet"):
        assert parquet.source(path).partitions() == ["2024/a.parquet"]
    assert parquet.source(one).partitions() == ["a.parquet"]
    put(tmp_path / "data/2025/b.parquet")
    assert parquet.source(tmp_path / "data").partitions() == ["2024/a.parquet", "2025/b.parquet"]


def test_a_list_names_each_file_once_relative_to_the_common_folder(tmp_path):
    put(tmp_path / "x/a.parquet")
    put(tmp_path / "y/b.parquet")
    source = parquet.source([tmp_path / "y", tmp_path / "x/a.parquet", f"{tmp_path}/x/*"])
    assert source.partitions() == ["x/a.parquet", "y/b.parquet"]


def test_what_tools_keep_beside_data_is_no_data(tmp_path):
    put(tmp_path / "a.parquet")
    put(tmp_path / "_delta_log/b.parquet")
    put(tmp_path / ".hidden.parquet")
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "notes.txt").touch()
    assert parquet.source(tmp_path).partitions() == ["a.parquet"]


def test_a_file_with_wildcards_in_its_name_is_found(tmp_path):
    assert parquet.source(put(tmp_path / "a[1].parquet")).partitions() == ["a[1].parquet"]


def test_relative_paths_start_at_the_working_directory(tmp_path, monkeypatch):
    put(tmp_path / "in/a.parquet")
    monkeypatch.chdir(tmp_path)
    assert parquet.source("in").partitions() == ["a.parquet"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("data/bidz.parquet", "did you mean 'bids.parquet'"),
        ("dada/bids.parquet", "did you mean 'data'"),
        ("dada/*.parquet", "did you mean 'data'"),
        ("data/x*.parquet", "no file matches"),
        ("empty", "no .parquet or .pq file in it"),
        ("zzzzzz", "check the path"),
    ],
)
def test_a_path_that_names_nothing_says_what_is_there(tmp_path, path, says):
    put(tmp_path / "data/bids.parquet")
    (tmp_path / "empty").mkdir()
    source = parquet.source(tmp_path / path)
    for call in (source.schema, source.partitions):
        with pytest.raises(SourceError) as caught:
            call()
        assert path in str(caught.value)
        assert says in str(caught.value)


def test_a_relative_path_that_names_nothing_says_where_it_was_looked_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=f"looked up as {tmp_path}"):
        parquet.source("zzzzzz").partitions()


@pytest.mark.parametrize("path", [[], 3, [3], None])
def test_what_is_no_path_is_refused_when_described(path):
    with pytest.raises(DefinitionError, match="not a path"):
        parquet.source(path)


# --------------------------------------------------------------------------- schemas


def test_the_order_of_columns_metadata_and_nullability_do_not_matter(tmp_path):
    put(tmp_path / "a.parquet")
    fields = [
        pa.field("price", pa.float64(), nullable=False),
        pa.field("id", pa.int64(), metadata={"a": "b"}),
    ]
    put(tmp_path / "b.parquet", pa.table({"price": [9.5], "id": [9]}, pa.schema(fields, {"c": "d"})))
    source = parquet.source(tmp_path)
    assert source.schema() == pa.schema({"id": pa.int64(), "price": pa.float64()})
    (chunk,) = read(source, "b.parquet")
    assert chunk.rows.schema.equals(source.schema(), check_metadata=True)
    assert chunk.rows.to_pylist() == [{"id": 9, "price": 9.5}]


@pytest.mark.parametrize(
    ("other", "expected", "found"),
    [
        ({"id": [1], "price": ["x"]}, "column 'price' of type double", "column 'price' of type string"),
        ({"id": [1], "prize": [1.0]}, "column 'price' of type double", "did you mean 'prize'"),
        ({"id": [1], "price": [1.0], "x": [1]}, "no column 'x'", "column 'x' of type int64"),
    ],
)
def test_files_with_different_columns_are_refused_with_both_names(tmp_path, other, expected, found):
    first, second = put(tmp_path / "a.parquet"), put(tmp_path / "b.parquet", pa.table(other))
    source = parquet.source(tmp_path)
    for call in (source.schema, lambda: source.open("a.parquet", None, None)):
        with pytest.raises(SourceError) as caught:
            call()
        text = str(caught.value)
        assert all(part in text for part in (str(first), str(second), expected, found))


def test_a_file_that_got_other_columns_after_the_flow_was_bound_is_refused(tmp_path):
    path = put(tmp_path / "a.parquet")
    source = parquet.source(tmp_path)
    source.schema()
    put(path, pa.table({"id": [1]}))
    with pytest.raises(SourceError, match="flow's schema"):
        source.open("a.parquet", None, None)
    assert source.schema() == pa.schema({"id": pa.int64()})
    source.open("a.parquet", None, None)


def test_two_columns_of_one_name_are_refused(tmp_path):
    put(tmp_path / "a.parquet", pa.table([[1], [2]], names=["id", "id"]))
    with pytest.raises(SourceError, match="several columns called 'id'"):
        parquet.source(tmp_path).schema()


@pytest.mark.parametrize("content", [b"", b"id,price\n1,2\n", b"PAR1 but no more"])
def test_a_file_that_is_no_parquet_is_named(tmp_path, content):
    (tmp_path / "a.parquet").write_bytes(content)
    source = parquet.source(tmp_path)
    with pytest.raises(SourceError, match=r"a\.parquet' can't be read\n  expected: a complete Parquet file"):
        source.schema()


# --------------------------------------------------------------------------- reading


def test_resuming_reads_only_the_row_groups_that_are_left(tmp_path, monkeypatch):
    put(tmp_path / "a.parquet", pa.table({"id": np.arange(100)}), row_group_size=10)
    asked = []
    original = pq.ParquetFile.iter_batches

    def spy(self, *args, row_groups, **options):
        asked.append(list(row_groups))
        assert options == {"columns": ["id"], "use_threads": True}
        return original(self, *args, row_groups=row_groups, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    for row in (0, 9, 10, 95, 100):
        parquet.source(tmp_path).open("a.parquet", row, None).read()
    assert asked == [list(range(10)), list(range(10)), list(range(1, 10)), [9]]  # at the end: none


@pytest.mark.parametrize("rows", [1_000, 15_000, 40_000])
def test_of_a_file_only_some_row_groups_are_in_memory(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(parquet, "BATCH_ROWS", 10_000)
    ids = pa.table({"id": np.random.default_rng(1).integers(0, 2**63, 1_000_000)})
    put(tmp_path / "a.parquet", ids, row_group_size=rows)
    reader = parquet.source(tmp_path).open("a.parquet", None, None)
    before, most = pa.total_allocated_bytes(), 0
    while isinstance(reader.read(), Chunk):
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < ids.nbytes / 2


@pytest.mark.parametrize("change", ["append", "replace", "remove"])
def test_a_file_that_changes_while_it_is_read_stops_the_job_for_good(tmp_path, monkeypatch, change):
    monkeypatch.setattr(parquet, "BATCH_ROWS", 1)
    path = put(tmp_path / "a.parquet")
    reader = parquet.source(tmp_path).open("a.parquet", None, None)
    reader.read()
    if change == "append":
        with path.open("ab") as file:
            file.write(b"x")
    elif change == "replace":
        put(tmp_path / "new")
        os.replace(tmp_path / "new", path)
    else:
        path.unlink()
    for _ in range(2):
        with pytest.raises(SourceError, match="changed while the job was reading it"):
            reader.read()
    reader.close()


def test_damage_in_the_middle_of_a_file_is_an_error_and_no_end(tmp_path, monkeypatch):
    path = put(tmp_path / "a.parquet", pa.table({"id": np.arange(10_000)}), row_group_size=5_000)
    content = bytearray(path.read_bytes())
    monkeypatch.setattr(parquet, "BATCH_ROWS", 5_000)
    offset = pq.read_metadata(path).row_group(1).column(0).dictionary_page_offset
    content[offset : offset + 40] = b"\xff" * 40
    path.write_bytes(content)
    reader = parquet.source(path).open("a.parquet", None, None)
    reader.read()
    for _ in range(2):
        with pytest.raises(SourceError, match=r"a\.parquet' can't be read"):
            reader.read()


def test_a_file_that_is_gone_at_a_restart_is_named(tmp_path):
    put(tmp_path / "a1.parquet")
    with pytest.raises(SourceError, match=r"'a2.parquet' is gone(.|\n)*did you mean 'a1.parquet'"):
        parquet.source(tmp_path).open("a2.parquet", 2, None)


# --------------------------------------------------------------------------- floors


def floors(tmp_path: Path, monkeypatch, column: pa.Array, **options) -> list[int | None]:
    """Floors after each of six rows in groups of two."""
    monkeypatch.setattr(parquet, "BATCH_ROWS", 1)
    nested = pa.array([{"at": -1}] * 6)  # a leaf of the same name, which must not be taken for it
    put(tmp_path / "a.parquet", pa.table({"s": nested, "at": column}), row_group_size=2, **options)
    return [chunk.floor for chunk in read(parquet.source(tmp_path), "a.parquet", "at")]


@pytest.mark.parametrize(
    ("dtype", "tick"),
    [
        (pa.int64(), 1),
        (pa.int32(), 1),
        (pa.uint32(), 1),
        (pa.timestamp("us", "UTC"), 1),
        (pa.timestamp("us"), 1),
        (pa.timestamp("ms", "Europe/Berlin"), 1_000),
        (pa.timestamp("s", "UTC"), 1_000_000),
        (pa.date32(), 86_400_000_000),
        (pa.date64(), 86_400_000_000),
    ],
)
def test_a_floor_is_the_least_time_of_this_and_the_following_row_groups(tmp_path, monkeypatch, dtype, tick):
    values = [5, 9, 4, 8, 6, 7]
    if dtype == pa.date64():
        values = [date.fromordinal(date(1970, 1, 1).toordinal() + value) for value in values]
    found = floors(tmp_path, monkeypatch, pa.array(values, dtype))
    assert found == [4 * tick, 4 * tick, 4 * tick, 6 * tick, 6 * tick, MAX_TIME]


def test_nanoseconds_are_floored(tmp_path, monkeypatch):
    column = pa.array([5_999, 9_999, 4_999, 8_999, 6_999, 7_999], pa.timestamp("ns", "UTC"))
    assert floors(tmp_path, monkeypatch, column) == [4, 4, 4, 6, 6, MAX_TIME]


def test_nulls_and_groups_of_nothing_else_hold_no_floor_down(tmp_path, monkeypatch):
    column = pa.array([5, None, None, None, 6, 7], pa.timestamp("us", "UTC"))
    assert floors(tmp_path, monkeypatch, column) == [5, 6, 6, 6, 6, MAX_TIME]


def test_without_statistics_only_the_end_is_known(tmp_path, monkeypatch):
    column = pa.array([1, 2, 3, 4, 5, 6], pa.timestamp("us", "UTC"))
    found = floors(tmp_path, monkeypatch, column, write_statistics=False)
    assert found == [None] * 5 + [MAX_TIME]


def test_a_group_without_statistics_hides_what_precedes_it(tmp_path, monkeypatch):
    known = parquet_statistics._least_time
    missing = iter([False, True, False])
    monkeypatch.setattr(
        parquet_statistics, "_least_time", lambda *group: None if next(missing) else known(*group)
    )
    found = floors(tmp_path, monkeypatch, pa.array([1, 2, 3, 4, 5, 6]))
    assert found == [None, None, None, 5, 5, MAX_TIME]


def test_other_encodings_of_time_have_no_floor(tmp_path, monkeypatch):
    column = pa.array([datetime(2024, 1, day) for day in range(1, 7)], pa.timestamp("ns"))
    found = floors(tmp_path, monkeypatch, column, use_deprecated_int96_timestamps=True)
    assert found == [None] * 5 + [MAX_TIME]


# --------------------------------------------------------------------------- the package


def test_importing_connectors_does_not_load_parquet_or_csv():
    program = "import sys, streamlib.connectors; print([m for m in sys.modules if m.startswith('pyarrow.')])"
    root = Path(__file__).parent.parent
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=root, check=True).stdout
    assert b"pyarrow.parquet" not in loaded
    assert b"pyarrow.csv" not in loaded
