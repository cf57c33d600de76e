"""A batch over many files has few of them open at a time, and gives the same result."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import streamlib as sl
from streamlib import windows
from streamlib.connectors import memory, parquet
from streamlib.core.contracts import Chunk, Pause
from streamlib.core.errors import SourceError
from streamlib.runtime.pipeline import MOST_OPEN, READ_AHEAD

SECOND = 1_000_000


@dataclass(frozen=True)
class Counting:
    """Many small partitions; counts how many are open."""

    tables: dict[str, pa.Table] = field(compare=False)
    told: bool = True
    open_now: set[str] = field(default_factory=set, compare=False)
    most: list[int] = field(default_factory=lambda: [0], compare=False)
    bounded = True
    replay = "replayable"
    immediate = True

    def schema(self) -> pa.Schema:
        return next(iter(self.tables.values())).schema

    def partitions(self) -> list[str]:
        return list(self.tables)

    def least_time(self, partition: str, event_time: str) -> int | None:
        return min(self.tables[partition]["at"].to_pylist()) if self.told else None

    def open(self, partition: str, position: Any, event_time: str | None) -> Any:
        source, inner = (
            self,
            memory.source({partition: self.tables[partition]}, chunk_rows=2).open(
                partition, position, event_time
            ),
        )
        self.open_now.add(partition)
        self.most[0] = max(self.most[0], len(self.open_now))

        class Reader:
            def read(self) -> Chunk | Pause:
                return inner.read()

            def close(self) -> None:
                source.open_now.discard(partition)
                inner.close()

        return Reader()


def after_each_other(count: int) -> dict[str, pa.Table]:
    """In an order of names that is not that of time."""
    return {
        f"{i * 7919 % count:04}": pa.table(
            {"at": [(i * 5 + j) * SECOND for j in (0, 3, 1, 4, 2)], "n": [i] * 5}
        )
        for i in range(count)
    }


def side_by_side(count: int) -> dict[str, pa.Table]:
    return {f"{i:04}": pa.table({"at": [j * SECOND for j in range(8)], "n": [i] * 8}) for i in range(count)}


def counted(source) -> sl.Stream:
    rows = sl.read(source, name="rows", event_time="at", watermark=sl.monotone(), max_ahead=None)
    return rows.window(windows.tumbling("4s")).aggregate(rows=sl.count(), total=sl.sum("n"))


def found(source) -> list[dict[str, Any]]:
    return sorted(counted(source).collect().to_pylist(), key=repr)


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(
    ("tables", "most"), [(after_each_other, READ_AHEAD + 1), (side_by_side, MOST_OPEN + READ_AHEAD)]
)
def test_few_partitions_are_open_at_a_time(tables, most, told):
    made = tables(100)
    source = Counting(made, told)
    assert found(source) == found(memory.source(pa.concat_tables(made.values())))
    assert source.most[0] <= most if told else source.most[0] <= MOST_OPEN + READ_AHEAD
    assert not source.open_now


def test_a_source_that_is_read_from_its_middle_goes_on_there(tmp_path):
    made = after_each_other(50)

    def run(source, **settings) -> tuple[int, list[dict[str, Any]]]:
        sink = memory.sink()
        flow = sl.Flow("flow", counted(source).write(sink, name="out"))
        result = flow.backfill(progress="none", **settings)
        return result.rows, sorted(sink.table().to_pylist(), key=repr)

    assert run(Counting(made), state=f"{tmp_path}/a") == run(memory.source(made), state=f"{tmp_path}/b")


LIMITED = """
import resource, sys
import streamlib as sl
from streamlib import windows
from streamlib.connectors import parquet
source, out = parquet.source(sys.argv[1]), parquet.sink(sys.argv[1] + ".out")
rows = sl.read(source, name="rows", event_time="at", watermark=sl.monotone(), max_ahead=None)
counts = rows.window(windows.tumbling("4s")).aggregate(rows=sl.count())
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
if sys.argv[2] == "batch":
    print(sum(counts.collect()["rows"].to_pylist()))
else:
    sl.Flow("flow", counts.write(out, name="out")).run(state=sys.argv[1] + ".state", progress="none")
"""


def test_a_batch_over_more_files_than_a_process_may_open_succeeds_and_a_stream_says_why_not(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for name, table in side_by_side(100).items():
        pq.write_table(table, folder / f"{name}.parquet")

    def limited(mode: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-c", LIMITED, str(folder), mode]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    assert limited("batch").stdout == "800\n"
    failed = limited("streaming")
    assert SourceError.__name__ in failed.stderr
    assert "or run it as a batch" in failed.stderr, failed.stderr


def test_files_are_read_in_the_order_of_their_event_times(tmp_path):
    for i in range(5):
        table = pa.table({"at": [(4 - i) * 100 * SECOND], "n": [i]})
        pq.write_table(table, tmp_path / f"{i}.parquet")
    rows = sl.read(
        parquet.source(tmp_path), name="rows", event_time="at", watermark=sl.monotone(), max_ahead=None
    )
    assert rows.collect()["n"].to_pylist() == [4, 3, 2, 1, 0]
