"""What a small batch costs: rows that come a few at a time are the latency of a stream.

    python benchmarks/small_batches.py [--batches N] [--rounds N] [--json]

A batch of 100 bids goes through four operators (filter, with_columns, key_by, and a tumbling
aggregate that fires by watermark) and is admitted as in a job; threads, checkpoints and files are left
out. The runners put small chunks that wait together; here the pipeline gets them one at a time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator

import pyarrow as pa
from bids import DISORDER, make_bids
from rounds import timed

import streamlib as sl
from streamlib import col, windows
from streamlib.connectors import memory
from streamlib.core.contracts import Chunk, Pause
from streamlib.runtime.pipeline import Pipeline

ROWS = (100, 1_000, 10_000)
BATCHES = 2_000  # of 100 rows: 200 s of event time, in which 20 windows fire
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


def microseconds(flow: sl.Flow) -> float:
    """The time of a batch, as the mean of all that the source has."""
    bound = flow.bind()
    _, read = bound.reads()["bids"]
    reader = read.source.open("0", None, None)
    arriving = [chunk for chunk in iter(reader.read, Pause.END) if isinstance(chunk, Chunk)]
    pipeline = Pipeline(bound, {"bids": ["0"]}, "streaming", 0.0)
    wall = time.time_ns() // 1_000

    def run() -> int:
        written = 0
        for number, chunk in enumerate(arriving):
            pipeline.offer("bids", "0", chunk)
            pipeline.step(chunk.rows.num_rows, float(number), wall)
            written += sum(batch.num_rows for _, batch in pipeline.take_written())
        return written

    seconds, written = timed(run)
    if not written or pipeline.rows != sum(chunk.rows.num_rows for chunk in arriving):
        raise AssertionError(f"{pipeline.rows} rows entered, {written} came out")
    return seconds / len(arriving) * 1e6


def measured(batches: int, rounds: int) -> Iterator[tuple[int, float, float, float]]:
    """By rows of a batch: median, least and largest microseconds of a batch."""
    for rows in ROWS:
        flow = four_operators(make_bids(min(batches * rows, _MOST_ROWS)), rows)
        microseconds(flow)
        found = [microseconds(flow) for _ in range(rounds)]
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
