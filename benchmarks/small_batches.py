"""What a small batch costs: rows that come a few at a time are the latency of a stream.

    python benchmarks/small_batches.py [--batches N] [--rounds N] [--json]

A batch of 100 bids goes through four operators (filter, with_columns, key_by, and a tumbling
aggregate that fires by watermark) in a job, by `flow.run`: the source hands so many rows over at a time,
and every turn of the job reads, admits and aggregates one batch. What is shown is the time of the whole
run, divided by its batches; binding and the job's folder, with its fsyncs, are part of it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from bids import DISORDER, make_bids
from rounds import timed

import streamlib as sl
from streamlib import col, windows
from streamlib.connectors import memory

ROWS = (100, 1_000, 10_000)
GOAL = 100  # microseconds for a batch of 100 rows
BATCHES = 10_000  # of 100 rows: 1,000 s of event time, in which 100 windows fire; about a second
_MOST_ROWS = 1_000_000


def four_operators(bids: pa.Table, rows: int) -> sl.Flow:
    """Dear bids in euros, counted and topped per auction over 10 seconds; `rows` come at a time."""
    source = memory.source(bids, chunk_rows=rows)
    stream = sl.read(source, name="bids", event_time="date_time", watermark=sl.bounded_disorder(DISORDER))
    result = (
        stream.filter(col("price") > 1_000)
        .with_columns(euros=col("price") * 0.908)
        .key_by("auction")
        .window(windows.tumbling("10s"))
        .aggregate(bids=sl.count(), top=sl.max("euros"))
    )
    return sl.Flow("small", result.write(memory.sink(), name="result"))


def microseconds(bids: pa.Table, rows: int, folder: Path) -> float:
    """The time of a batch, as the mean of all that the source has."""
    state = Path(tempfile.mkdtemp(dir=folder))
    flow = four_operators(bids, rows)
    seconds, job = timed(lambda: flow.run(state=str(state), progress="none"))
    shutil.rmtree(state)
    if job.outcome != "finished" or job.rows != len(bids):
        raise AssertionError(f"{job.rows} rows entered, the job {job.outcome}")
    return seconds / -(-len(bids) // rows) * 1e6


def measured(batches: int, rounds: int) -> Iterator[tuple[int, float, float, float]]:
    """By rows of a batch: median, least and largest microseconds of a batch."""
    with tempfile.TemporaryDirectory(prefix=".small-", dir=os.environ.get("TMPDIR", ".")) as folder:
        for rows in ROWS:
            bids = make_bids(min(batches * rows, _MOST_ROWS))
            microseconds(bids, rows, Path(folder))
            found = [microseconds(bids, rows, Path(folder)) for _ in range(rounds)]
            yield rows, statistics.median(found), min(found), max(found)


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of small batches.")
    parser.add_argument(
        "--batches", type=int, default=BATCHES, help=f"in a round, fewer if large ({BATCHES})"
    )
    parser.add_argument("--rounds", type=int, default=5, help="of which the median is shown (5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    arguments = parser.parse_args()
    print(f"filter, with_columns, key_by, tumbling aggregate; {arguments.rounds} rounds")
    print(f"goal: {GOAL} us for a batch of 100 rows")
    print(f"{'rows':>7}{'us a batch':>12}   {'spread':<20}{'M rows/s':>9}")
    found = []
    for rows, median, least, most in measured(arguments.batches, arguments.rounds):
        print(
            f"{rows:>7}{median:>12.1f}   {f'[{least:.1f}..{most:.1f}]':<20}{rows / median:>9.2f}", flush=True
        )
        found.append({"rows": rows, "us_per_batch": round(median, 1), "rounds": arguments.rounds})
    if arguments.json:
        print(json.dumps({"batches": found}))


if __name__ == "__main__":
    main()
