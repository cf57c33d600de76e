"""The benchmarks run, on a few rows; what they measure there means nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks.bids import DISORDER, ROW_GROUP_ROWS, make_bids, write_bids

ROOT = Path(__file__).parent.parent
KEYS = ["query", "source", "ratio", "goal", "rows_per_s", "rounds", "checkpoints"]


def run(script: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    paths = (str(ROOT), os.environ.get("PYTHONPATH", ""))
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / script), *arguments],
        env={**os.environ, "TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def last_line(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("sink", ["memory", "parquet"])
def test_the_race_ends_with_one_json_object(tmp_path, sink):
    done = run("race.py", "--rows", "20000", "--rounds", "1", "--sink", sink, "--json", folder=tmp_path)
    queries = last_line(done)["queries"]
    assert [list(query) for query in queries] == [KEYS] * 6
    assert [(query["query"], query["source"]) for query in queries] == [
        ("tumbling", "memory"),
        ("tumbling", "parquet"),
        ("sliding", "memory"),
        ("sliding", "parquet"),
        ("strings", "parquet"),
        ("random", "memory"),
    ]
    for query in queries:
        assert query["checkpoints"] >= 5
        assert query["rounds"] == 1
        assert query["ratio"] > 0
        assert query["rows_per_s"] > 0
    assert list(tmp_path.iterdir()) == []


def test_the_race_says_how_to_get_the_engines(tmp_path):
    (tmp_path / "polars.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'polars'\", name='polars')"
    )
    paths = os.pathsep.join([str(tmp_path), str(ROOT / "benchmarks")])
    done = subprocess.run(
        [sys.executable, "-c", "import engines"],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 1
    assert "needs polars: pip install 'streamlib[duckdb,polars]'" in done.stderr


def test_small_batches_end_with_one_json_object(tmp_path):
    done = run("small_batches.py", "--rounds", "1", "--batches", "200", "--json", folder=tmp_path)
    assert [batch["rows"] for batch in last_line(done)["batches"]] == [100, 1_000, 10_000]


def test_workers_end_with_one_json_object(tmp_path):
    done = run("workers.py", "--only", "NumPy", "--rounds", "1", "--rows", "2000", "--json", folder=tmp_path)
    flows = last_line(done)["flows"]
    assert [list(flow) for flow in flows] == [["flow", "speed_up", "control"]]
    assert all(flow["speed_up"] > 0 and flow["control"] > 0 for flow in flows)
    assert list(tmp_path.iterdir()) == []


def test_import_time_ends_with_one_json_object(tmp_path):
    found = last_line(run("import_time.py", "--rounds", "1", "--json", folder=tmp_path))
    assert list(found) == ["seconds", "goal", "rounds"]


def test_late_rows_end_with_one_json_object(tmp_path):
    done = run("late_rows.py", "--rounds", "1", "--rows", "20000", "--json", folder=tmp_path)
    flows = last_line(done)["flows"]
    assert [list(flow) for flow in flows] == [["flow", "late", "rows_per_s", "ratio"]] * 9
    assert [flow["ratio"] for flow in flows if flow["late"] == "0.0%"] == [1] * 3
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_end_with_one_json_object(tmp_path):
    short = ("--seconds", "0.5", "--rounds", "1", "--interval", "100ms", "--keys", "20000")
    found = last_line(run("checkpoints.py", *short, "--json", folder=tmp_path))
    assert all(flow["ratio"] > 0 and flow["checkpoints"] > 0 for flow in found["flows"])
    sizes = {flow["flow"]: flow["bytes"] for flow in found["flows"] if "bytes" in flow}
    assert list(sizes) == ["always open", "running"]
    assert all(0 < 20 * size["one_percent"] < size["full"] for size in sizes.values())
    assert list(tmp_path.iterdir()) == []


def test_bids_come_from_the_seed_alone():
    assert make_bids(5_000, seed=3).equals(make_bids(5_000, seed=3))
    assert not make_bids(5_000, seed=3).equals(make_bids(5_000, seed=4))


def test_bids_are_less_behind_than_the_bound_and_not_in_order():
    times = make_bids(20_000)["date_time"].combine_chunks().view("int64")
    newest = pc.cumulative_max(times)
    behind = pc.max(pc.subtract(newest, times)).as_py()
    assert 0 < behind < DISORDER


def test_bids_are_one_file_of_many_row_groups(tmp_path):
    bids = make_bids(2 * ROW_GROUP_ROWS + 1)
    write_bids(bids, str(tmp_path / "bids.parquet"))
    assert pq.ParquetFile(tmp_path / "bids.parquet").num_row_groups == 3
    assert pq.read_table(tmp_path / "bids.parquet").equals(bids)
