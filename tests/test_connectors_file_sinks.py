"""Sinks of files in every format: where files end, folders of partitions, and what values become."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col
from streamlib.connectors import avro, csv, ipc, jsonl, memory, parquet
from streamlib.connectors.file_writer import MAX_OPEN_FILES
from streamlib.connectors.json_text import json_lines
from streamlib.core.contracts import SinkContext
from streamlib.core.disk import LocalDisk
from streamlib.core.errors import DefinitionError, MissingExtraError, SinkError, UnknownColumnError
from tests.file_formats import FORMATS, rows_of, sink_of


def written(sink, *batches: pa.RecordBatch) -> Path:
    """The folder of a sink that got these batches and committed once."""
    writer = sink.open(SinkContext("job", "hot", "a1", batches[0].schema, LocalDisk()))
    for rows in batches:
        writer.write(rows)
    writer.commit(1, json.loads(json.dumps(writer.prepare(1))))
    writer.close()
    return Path(sink.path)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def refused(sink, schema: pa.Schema) -> str:
    with pytest.raises(SinkError) as caught:
        sink.open(SinkContext("job", "hot", "a1", schema, LocalDisk()))
    return str(caught.value)


# --------------------------------------------------------------------------- flows


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_flow_writes_every_format(tmp_path, suffix):
    bids = sl.read(memory.source([{"id": i, "price": i * 10} for i in range(5)]), name="bids")
    flow = sl.Flow("bids", bids.write(sink_of(suffix, tmp_path / "out", 2), name="all"))
    flow.run(state=str(tmp_path / "state"), progress="none")
    paths = sorted((tmp_path / "out").iterdir())
    assert len(paths) == 3
    assert all(path.name.endswith(suffix) and "-all-" in path.name for path in paths)
    rows = [row for path in paths for row in rows_of(suffix, path.read_bytes())]
    assert [(int(row["id"]), int(row["price"])) for row in rows] == [(i, i * 10) for i in range(5)]


def test_sinks_show_the_call_that_makes_them():
    assert (
        repr(csv.sink("out", compress="zst", delimiter=";"))
        == "csv.sink('out', delimiter=';', compress='zst')"
    )
    assert repr(avro.sink("out", 7, max_bytes_per_file=9)) == (
        "avro.sink('out', max_rows_per_file=7, max_bytes_per_file=9)"
    )
    assert jsonl.sink("out", partition_by="day") == jsonl.sink("out", partition_by=["day"])
    assert jsonl.sink("out") != ipc.sink("out")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_bytes_per_file": 0}, "max_bytes_per_file must be positive"),
        ({"max_rows_per_file": True}, "max_rows_per_file must be positive"),
        ({"compress": "gzip"}, "did you mean 'gz'"),
        ({"delimiter": ";;"}, "delimiter must be one character"),
        ({"partition_by": "_day"}, "can't be in the name of a folder"),
        ({"partition_by": "a/b"}, "can't be in the name of a folder"),
        ({"partition_by": ["day", "day"]}, "names a column twice"),
    ],
)
def test_options_that_can_not_be_right_are_refused_at_once(options, says):
    with pytest.raises(DefinitionError, match=says):
        csv.sink("out", **options)


def test_avro_without_its_library_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fastavro", None)
    with pytest.raises(MissingExtraError, match=r"streamlib\[avro\]"):
        avro.sink(tmp_path / "out").open(
            SinkContext("job", "hot", "a1", pa.schema({"id": pa.int64()}), LocalDisk())
        )


# --------------------------------------------------------------------------- where files end


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_ends_where_it_has_its_bytes(tmp_path, suffix):
    limit = 100_000
    rows = pa.record_batch(
        {"id": range(200_000), "text": [f"{i * 7919 % 100_003:x}" for i in range(200_000)]}
    )
    folder = written(sink_of(suffix, tmp_path / "out", max_bytes_per_file=limit), rows)
    *full, last = [path.stat().st_size for path in sorted(folder.iterdir())]
    assert len(full) >= 3
    # what 16,384 rows more make at most, and what the estimate of their share is off
    assert all(limit * 0.8 <= size <= limit + 16_384 * 32 for size in full)
    assert last <= limit + 16_384 * 32
    ids = [int(row["id"]) for path in sorted(folder.iterdir()) for row in rows_of(suffix, path.read_bytes())]
    assert ids == list(range(200_000))


# --------------------------------------------------------------------------- partitions

DAYS = pa.record_batch(
    {
        "id": pa.array(range(6)),
        "day": pa.array([date(2024, 1, 2), date(2024, 1, 1), None, date(2024, 1, 2), None, date(2024, 1, 1)]),
        "place": pa.array(["a/b", "..", "ü &=%", None, "", "..\\.."]),
    }
)


@pytest.mark.parametrize("suffix", FORMATS)
def test_rows_go_to_the_folder_of_their_values_without_these_columns(tmp_path, suffix):
    folder = written(sink_of(suffix, tmp_path / "out", partition_by="day"), DAYS.select(["id", "day"]))
    found = {path: rows_of(suffix, (folder / path).read_bytes()) for path in files(folder)}
    assert {path: [{"id": int(row["id"])} for row in rows] for path, rows in found.items()} == {
        f"day=2024-01-02/job-hot-00000001-000{suffix}": [{"id": 0}, {"id": 3}],
        f"day=2024-01-01/job-hot-00000001-001{suffix}": [{"id": 1}, {"id": 5}],
        f"day=__HIVE_DEFAULT_PARTITION__/job-hot-00000001-002{suffix}": [{"id": 2}, {"id": 4}],
    }
    assert all(list(row) == ["id"] for rows in found.values() for row in rows)


def test_other_engines_read_the_partitions_back(tmp_path):
    folder = written(parquet.sink(tmp_path / "out", partition_by=("day", "place")), DAYS)
    assert all(len(Path(path).parts) == 3 for path in files(folder))
    expected = sorted(DAYS.to_pylist(), key=lambda row: row["id"])
    types = pa.schema({"day": pa.date32(), "place": pa.string()})
    dataset = ds.dataset(folder, partitioning=ds.partitioning(types, flavor="hive"))
    assert sorted(dataset.to_table().select(DAYS.schema.names).to_pylist(), key=lambda r: r["id"]) == expected
    lazy = pl.scan_parquet(folder, hive_schema={"day": pl.Date, "place": pl.String})
    assert lazy.select(DAYS.schema.names).collect().sort("id").to_dicts() == expected
    shown = duckdb.sql(
        "select id, day::date as day, place "
        f"from read_parquet('{folder}/**/*.parquet', hive_partitioning=true, hive_types_autocast=false) "
        "order by id"
    )
    assert [dict(zip(DAYS.schema.names, row, strict=True)) for row in shown.fetchall()] == expected


@given(
    st.lists(st.tuples(st.none() | st.text(max_size=4), st.booleans() | st.none()), min_size=1, max_size=30)
)
def test_partitions_lose_and_reorder_nothing(pairs):
    from streamlib.connectors.partitioning import Partitioning

    names, flags = zip(*pairs, strict=True)
    rows = pa.record_batch(
        {
            "id": range(len(pairs)),
            "name": pa.array(names, pa.string()).dictionary_encode(),
            "flag": pa.array(flags, pa.bool_()),
        }
    )
    parts = list(Partitioning(("name", "flag"), rows.schema).split(rows))
    assert len(parts) == len(set(pairs))
    assert len({folder for folder, _ in parts}) == len(parts)
    for folder, part in parts:
        ids = part["id"].to_pylist()
        assert ids == sorted(ids)
        assert len({pairs[i] for i in ids}) == 1
        assert folder.count("/") == 1
    assert sorted(i for _, part in parts for i in part["id"].to_pylist()) == list(range(len(pairs)))


def test_few_files_are_open_at_once_and_the_oldest_ends_first(tmp_path):
    class Counting(LocalDisk):
        now = most = 0

        def create(self, path):
            file = super().create(path)
            if "probe" in path:
                return file
            self.now += 1
            self.most = max(self.most, self.now)
            close = file.close

            def closed():
                self.now -= not file.closed
                close()

            file.close = closed
            return file

    disk = Counting()
    rows = pa.record_batch({"id": range(1000), "part": [i % 300 for i in range(1000)]})
    sink = parquet.sink(tmp_path / "out", partition_by="part")
    writer = sink.open(SinkContext("job", "hot", "a1", rows.schema, disk))
    writer.write(rows)
    writer.write(rows)
    writer.commit(1, writer.prepare(1))
    assert disk.most == MAX_OPEN_FILES
    assert pl.scan_parquet(tmp_path / "out").select("id").collect()["id"].sort().to_list() == sorted(
        [*range(1000), *range(1000)]
    )
    assert len(files(tmp_path / "out")) == 600
    assert writer.last_committed() == 1


@pytest.mark.parametrize("value", ["x" * 300, "ü" * 60, "__HIVE_DEFAULT_PARTITION__"])
def test_a_value_that_can_name_no_folder_is_refused_when_it_is_written(tmp_path, value):
    with pytest.raises(SinkError, match="can't be the name of a folder"):
        written(parquet.sink(tmp_path / "out", partition_by="k"), pa.record_batch({"k": [value], "v": [1]}))


def test_columns_that_can_not_partition_are_refused_at_the_start(tmp_path):
    schema = pa.schema({"at": pa.timestamp("us", "UTC"), "day": pa.date32()})
    assert ".dt.date()" in refused(parquet.sink(tmp_path / "out", partition_by="at"), schema)
    assert "names all columns" in refused(
        parquet.sink(tmp_path / "out", partition_by=("day",)), schema.remove(0)
    )
    with pytest.raises(UnknownColumnError, match="did you mean 'day'"):
        parquet.sink(tmp_path / "out", partition_by="days").open(
            SinkContext("job", "hot", "a1", schema, LocalDisk())
        )


def test_another_jobs_files_are_noticed_in_partitions_too(tmp_path):
    sink = parquet.sink(tmp_path / "out", partition_by="day")
    written(sink, DAYS.select(["id", "day"]))
    with pytest.raises(SinkError, match="another job's files"):
        sink.open(SinkContext("other", "hot", "a1", DAYS.schema, LocalDisk()))


def test_a_day_of_an_instant_partitions_a_flow(tmp_path):
    at = datetime(2024, 1, 1, 23, 59, tzinfo=UTC)
    events = memory.source([{"id": i, "at": at + timedelta(minutes=i)} for i in range(3)])
    rows = sl.read(events, name="events").with_columns(day=col("at").dt.date())
    flow = sl.Flow("events", rows.write(jsonl.sink(tmp_path / "out", partition_by="day"), name="all"))
    flow.run(state=str(tmp_path / "state"), progress="none")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["day=2024-01-01", "day=2024-01-02"]


# --------------------------------------------------------------------------- values

VALUES = {
    "i": pa.array([1, None, -(2**63)]),
    "u": pa.array([1, None, 2**32 - 1], pa.uint32()),
    "f": pa.array([1.5, None, -1e-300]),
    "s": pa.array(['"q", \\ \n\x01 ü', None, ""]),
    "b": pa.array([True, None, False]),
    "d": pa.array([date(2024, 2, 29), None, date(1, 1, 1)]),
    "t": pa.array(
        [datetime(2024, 1, 1, 12, 0, 0, 1), None, datetime(1969, 12, 31)], pa.timestamp("us", "UTC")
    ),
    "n": pa.array([datetime(2024, 1, 1, 12, 0, 0, 1000), None, datetime(9999, 12, 31)], pa.timestamp("ms")),
    "dec": pa.array([Decimal("1.20"), None, Decimal("-0.01")], pa.decimal128(10, 2)),
    "ti": pa.array([time(1, 2, 3, 4), None, time(0)], pa.time64("us")),
    "c": pa.array(["x", None, "y"]).dictionary_encode(),
}
NESTED = {
    "l": pa.array([[1, None], None, []]),
    "st": pa.array([{"a": 1, "b": 'x"'}, None, {"a": None, "b": None}]),
    "m": pa.array([[("k", 1.5)], None, []], pa.map_(pa.string(), pa.float64())),
    "ll": pa.array([[["a"], None], None, [[]]]),
}
ROWS = pa.record_batch({**VALUES, **NESTED})


def plain_rows(rows: pa.RecordBatch) -> list[dict]:
    return rows.to_pylist(maps_as_pydicts="strict")


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".avro"])
def test_binary_formats_keep_every_value(tmp_path, suffix):
    folder = written(sink_of(suffix, tmp_path / "out"), ROWS)
    (path,) = folder.iterdir()
    found = rows_of(suffix, path.read_bytes())
    maps = [dict(row["m"]) if isinstance(row["m"], list) else row["m"] for row in found]
    assert [{**row, "m": m} for row, m in zip(found, maps, strict=True)] == plain_rows(ROWS)


@pytest.mark.parametrize("options", [{}, {"compress": "gz"}, {"delimiter": ";"}])
def test_what_the_csv_sink_writes_the_csv_source_reads(tmp_path, options):
    rows = pa.record_batch(VALUES)
    folder = written(csv.sink(tmp_path / "out", **options), rows)
    types = {f.name: f.type if f.name != "c" else pa.string() for f in rows.schema}
    delimiter = options.get("delimiter", ",")
    found = sl.read(csv.source(folder, types, delimiter=delimiter), name="x").collect()
    assert found.to_pylist() == rows.to_pylist()


def test_json_lines_hold_what_python_reads(tmp_path):
    (path,) = written(jsonl.sink(tmp_path / "out"), ROWS).iterdir()
    first, second, third = map(json.loads, path.read_text().splitlines())
    assert set(second.values()) == {None}
    assert first == {
        **{name: ROWS[name][0].as_py() for name in ("i", "u", "f", "s", "b", "c", "l", "st", "ll")},
        "d": "2024-02-29",
        "t": "2024-01-01T12:00:00.000001Z",
        "n": "2024-01-01T12:00:00.001",
        "dec": 1.2,
        "ti": "01:02:03.000004",
        "m": {"k": 1.5},
    }
    assert third["m"] == {}
    assert '"dec":1.20,' in path.read_text()  # all digits
    assert third["ll"] == [[]]


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                'na"me': st.none() | st.text(max_size=8),
                "number": st.none() | st.integers(-(2**63), 2**63 - 1),
                "fraction": st.none() | st.floats(),
                "list": st.none()
                | st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=3),
                "lists": st.none()
                | st.lists(st.none() | st.lists(st.none() | st.text(max_size=3), max_size=3), max_size=3),
                "struct": st.none()
                | st.fixed_dictionaries(
                    {"a": st.none() | st.booleans(), "b": st.none() | st.text(max_size=3)}
                ),
            }
        ),
        min_size=1,
        max_size=12,
    ),
    st.data(),
)
def test_json_lines_are_those_of_the_standard_library(rows, data):
    schema = pa.schema(
        {
            'na"me': pa.string(),
            "number": pa.int64(),
            "fraction": pa.float64(),
            "list": pa.list_(pa.float64()),
            "lists": pa.large_list(pa.list_(pa.string())),
            "struct": pa.struct({"a": pa.bool_(), "b": pa.string()}),
        }
    )
    start = data.draw(st.integers(0, len(rows)))
    batch = pa.RecordBatch.from_pylist(rows, schema).slice(start)
    found = [json.loads(line) for line in json_lines(batch).to_pybytes().decode().split("\n") if line]
    for row in rows:
        row["fraction"] = row["fraction"] if math.isfinite(row["fraction"] or 0) else None
    assert found == rows[start:]
    kinds = [type(row["fraction"]) for row in found if row["fraction"] is not None]
    assert set(kinds) <= {float}


@pytest.mark.parametrize(
    ("module", "name", "dtype"),
    [
        (csv, "x", pa.list_(pa.int64())),
        (csv, "x", pa.binary()),
        (jsonl, "x", pa.struct({"a": pa.binary()})),
        (jsonl, "x", pa.map_(pa.int64(), pa.int64())),
        (ipc, "x", pa.list_(pa.dictionary(pa.int32(), pa.string()))),
        (avro, "x", pa.uint64()),
        (avro, "x", pa.timestamp("ns")),
        (avro, "a b", pa.int64()),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)).rpartition(".")[2],
)
def test_columns_that_a_format_lacks_are_refused_at_the_start(tmp_path, module, name, dtype):
    text = refused(module.sink(tmp_path / "out"), pa.schema({name: dtype}))
    assert repr(name) in text
    assert "to do:" in text


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_an_instant_that_has_no_text_is_refused(tmp_path, suffix):
    rows = pa.record_batch({"at": pa.array([0, 10**18], pa.timestamp("us", "UTC"))})
    with pytest.raises(SinkError, match="years from 1 to 9999"):
        written(sink_of(suffix, tmp_path / "out"), rows)


def test_a_null_that_would_be_an_empty_line_of_csv_is_refused(tmp_path):
    with pytest.raises(SinkError, match="would be an empty line"):
        written(csv.sink(tmp_path / "out"), pa.record_batch({"id": pa.array([1, None])}))
