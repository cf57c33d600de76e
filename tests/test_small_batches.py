"""What a batch of few rows costs: rows that come a few at a time are the latency of a stream."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

import streamlib as sl
from streamlib import col, windows
from streamlib.connectors import memory

ROWS = 100


def calls_of(batches: int, state: Path) -> int:
    """How often Python functions are called in the thread of a job over so many batches."""
    rows = range(batches * ROWS)
    sales = pa.table(
        {
            "at": pa.array([i * 10 for i in rows], pa.timestamp("us", tz="UTC")),
            "shop": [i % 7 for i in rows],
            "price": list(rows),
        }
    )
    source = memory.source(sales, chunk_rows=ROWS)
    stream = sl.read(source, name="sales", event_time="at", watermark=sl.bounded_disorder("1s"))
    dear = stream.filter(col("price") > 3).with_columns(euros=col("price") * 0.9).key_by("shop")
    result = dear.window(windows.tumbling("1h")).aggregate(sales=sl.count(), top=sl.max("euros"))
    flow = sl.Flow("small", result.write(memory.sink(), name="result"))
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        flow.run(state=str(state), progress="none")
    finally:
        sys.setprofile(before)
    return calls


def test_a_batch_of_few_rows_passes_through_few_python_calls(tmp_path):
    # Calls, and not seconds, which other programs take part in. 161 when this was written, and 194 before
    # watermarks and rows went past the operators that have nothing to do with them.
    calls_of(1, tmp_path / "first")  # imports what a run needs
    few, many = calls_of(20, tmp_path / "few"), calls_of(120, tmp_path / "many")
    assert (many - few) / 100 <= 170
