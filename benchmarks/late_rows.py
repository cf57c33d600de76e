"""What late rows cost: the same bids without and with some that come behind the watermark.

    python benchmarks/late_rows.py [--rows N] [--rounds N] [--only tumbling,sliding,updating] [--json]

The bids come less than 4 s late, which is the bound of the watermark. Of some, one in a thousand or in a
hundred, the time lies 5 to 15 s back instead: by then some of their windows are over, or all. They are
counted, summed and topped per auction, over 10 seconds (tumbling), from 2 to 2 seconds (sliding), and the
same with an allowed lateness of 10 seconds, where results are corrected (updating).

What is timed is `flow.run` as a whole, from memory. The ratio is the time without late rows over that with
them: 1 where they cost nothing. It is the median of paired rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from bids import DISORDER, make_bids
from rounds import Ratios, take_turns, timed

import streamlib as sl
from streamlib import windows
from streamlib.connectors import memory

ROWS = 2_000_000  # 2,000 s of event time: 200 tumbling windows and 1,000 sliding ones
SHARES = (0.001, 0.01)
EARLIEST, LATEST = 5_000_000, 15_000_000  # microseconds behind the newest row
FLOWS: Mapping[str, tuple[windows.WindowAssigner, int]] = {
    "tumbling": (windows.tumbling("10s"), 0),
    "sliding": (windows.sliding("10s", every="2s"), 0),
    "updating": (windows.sliding("10s", every="2s"), 10_000_000),
}
"""By name, windows and their allowed lateness in microseconds."""


def with_late(bids: pa.Table, share: float) -> pa.Table:
    """The bids, a `share` of them at random with times that lie so far back."""
    random = np.random.default_rng(7)
    times = bids["date_time"].combine_chunks().view(pa.int64()).to_numpy().copy()
    late = np.flatnonzero(random.random(len(times)) < share)
    times[late] = np.maximum.accumulate(times)[late] - random.integers(EARLIEST, LATEST, len(late))
    column = pa.array(times).view(pa.timestamp("us", tz="UTC"))
    return bids.set_column(bids.schema.get_field_index("date_time"), "date_time", column)


def seconds(name: str, bids: pa.Table, folder: Path) -> float:
    """The time of a job over the bids."""
    window, lateness = FLOWS[name]
    source = memory.source(bids)
    stream = sl.read(source, name="bids", event_time="date_time", watermark=sl.bounded_disorder(DISORDER))
    windowed = stream.key_by("auction").window(window, allowed_lateness=lateness)
    result = windowed.aggregate(bids=sl.count(), total=sl.sum("price"), top=sl.max("price"))
    sink = memory.table_sink() if lateness else memory.sink()
    flow = sl.Flow("late_rows", result.write(sink, name="result"))
    state = tempfile.mkdtemp(dir=folder)
    took, job = timed(lambda: flow.run(state=state, progress="none"))
    shutil.rmtree(state)
    if job.outcome != "finished" or job.rows != len(bids):
        raise AssertionError(f"{job.rows} rows entered, the job {job.outcome}")
    return took


def race(name: str, bids: pa.Table, rounds: int, folder: Path) -> list[dict[str, object]]:
    """Print a line for each share of late rows; the same as JSON."""
    inputs = {0.0: bids, **{share: with_late(bids, share) for share in SHARES}}
    contestants = {f"{s:.1%}": partial(seconds, name, found, folder) for s, found in inputs.items()}
    take_turns(contestants, 1, lambda: None)
    turns = take_turns(contestants, rounds, lambda: None)
    lines: list[dict[str, object]] = []
    for share in contestants:
        ratios = Ratios(tuple(turn["0.0%"] / turn[share] for turn in turns))
        speed = len(bids) / statistics.median(turn[share] for turn in turns)
        print(f"{name:<10}{share:>6}{speed / 1e6:>10.2f}   {ratios}", flush=True)
        lines.append(
            {"flow": name, "late": share, "rows_per_s": round(speed), "ratio": round(ratios.median, 3)}
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of late rows.")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"bids ({ROWS:,})")
    parser.add_argument("--rounds", type=int, default=5, help="paired rounds that count (5)")
    parser.add_argument("--only", help=f"flows, by comma: {', '.join(FLOWS)} (all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    arguments = parser.parse_args()
    names = arguments.only.split(",") if arguments.only else list(FLOWS)
    unknown = [name for name in names if name not in FLOWS]
    if unknown:
        parser.error(f"--only takes {', '.join(FLOWS)}; found {', '.join(unknown)}")
    print(f"{arguments.rows:,} bids, {arguments.rounds} rounds; ratio: time without late rows over that with")
    print(f"{'flow':<10}{'late':>6}{'M rows/s':>10}   ratio")
    bids = make_bids(arguments.rows)
    with tempfile.TemporaryDirectory(prefix=".late-", dir=os.environ.get("TMPDIR", ".")) as name:
        lines = [line for flow in names for line in race(flow, bids, arguments.rounds, Path(name))]
    if arguments.json:
        print(json.dumps({"flows": lines}))


if __name__ == "__main__":
    main()
