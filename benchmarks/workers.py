"""What two workers gain over one, beside a control: what two threads or processes gain on pure work.

    python benchmarks/workers.py [--rows N] [--rounds N] [--only TEXT] [--json]

Each flow runs as a job with checkpoints and their fsyncs, by `flow.run` as a whole, so the start of
processes is part of it. The control is the same work done twice, one after the other and at once: a
Python loop in two processes, or Arrow's `dictionary_encode` in two threads; 2.0 would be ideal.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rounds import Ratios, take_turns, timed

import streamlib as sl
from streamlib import windows
from streamlib.connectors import memory
from streamlib.core.settings import WorkerKind

ROWS = 4_000_000
Row = dict[str, int]


def doubled(row: Row) -> Row:
    """The user's function."""
    return {**row, "value": sum(range(row["value"] % 50))}


def numbered(count: int, row: Row) -> tuple[int, Row]:
    """The user's function with a state: how many rows its key had before."""
    return count + 1, {**row, "value": count}


@sl.udf(pa.float64(), vectorized=True)
def distance(at: np.ndarray, value: np.ndarray) -> Any:
    """The user's function on columns: a great circle from one point to others."""
    angle = np.sin(at / 1e12) * np.sin(value / 1e3) + np.cos(at / 1e12) * np.cos(value / 1e3)
    return 6_371 * np.arccos(np.clip(angle, -1, 1))


@dataclass(frozen=True)
class Case:
    """A flow and how its two workers run; what its control does."""

    name: str
    workers: WorkerKind
    stream: Callable[[pa.Table], sl.Stream]
    keys: Callable[[np.random.Generator, int], Any]


def _read(table: pa.Table) -> sl.Stream:
    return sl.read(memory.source(table), name="rows", event_time="at", watermark=sl.bounded_disorder("1s"))


def _windowed(stream: sl.Stream) -> sl.Stream:
    window = windows.tumbling("1s")
    return stream.key_by("key").window(window).aggregate(n=sl.count(), total=sl.sum("value"))


def _mapped(table: pa.Table) -> sl.Stream:
    return _windowed(_read(table).map(doubled, schema=table.schema))


def _counted(table: pa.Table) -> sl.Stream:
    return _windowed(_read(table).key_by("key").stateful_map(numbered, initial=0, schema=table.schema))


def _far(table: pa.Table) -> sl.Stream:
    rows = _read(table).with_columns(far=distance(sl.col("at"), sl.col("value")))
    return rows.key_by("key").window(windows.tumbling("1s")).aggregate(n=sl.count(), far=sl.max("far"))


def _texts(random: np.random.Generator, rows: int) -> pa.Array:
    names = pa.array([f"channel-{i}" for i in range(10_000)])
    return names.take(pa.array(random.integers(0, len(names), rows)))


def _dense(random: np.random.Generator, rows: int) -> Any:
    return random.integers(0, 100_000, rows)


def _random(random: np.random.Generator, rows: int) -> Any:
    return random.choice(random.integers(-(2**62), 2**62, 1_000_000), rows)


def _plain(table: pa.Table) -> sl.Stream:
    return _windowed(_read(table))


CASES = (
    Case("Python map, then tumbling", "processes", _mapped, _dense),
    Case("Python stateful_map, then tumbling", "processes", _counted, _dense),
    Case("NumPy function, then tumbling", "threads", _far, _dense),
    Case("tumbling, 1 M random int64 keys", "threads", _plain, _random),
    Case("tumbling, 10 k string keys", "threads", _plain, _texts),
    Case("tumbling, 100 k dense int64 keys", "threads", _plain, _dense),
)


def compare(case: Case, rows: int, rounds: int, folder: Path) -> tuple[Ratios, float, float]:
    """Two workers against one: the ratios, and the median rows a second of one worker, and of two."""
    random = np.random.default_rng(1)
    columns = {
        "at": np.arange(rows),
        "key": case.keys(random, rows),
        "value": random.integers(0, 1_000, rows),
    }
    stream = case.stream(pa.table(columns))  # a row a microsecond: 1 M rows in a window
    flow = sl.Flow("workers", stream.write(memory.sink(), name="result"))

    def run(count: int) -> float:
        with tempfile.TemporaryDirectory(dir=folder) as state:
            options = {"checkpoint_interval": "1s", "progress": "none"}
            run_job = partial(flow.run, state=state, parallelism=count, workers=case.workers, **options)
            return timed(run_job)[0]

    run(1)
    found = take_turns({"1": partial(run, 1), "2": partial(run, 2)}, rounds, lambda: None)
    ratios = Ratios(tuple(r["1"] / r["2"] for r in found))
    one, two = (float(np.median([rows / r[n] for r in found])) for n in ("1", "2"))
    return ratios, one, two


def _loop(_: int) -> int:
    return sum(i * i for i in range(5_000_000))


def _encode(seed: int) -> int:
    values = np.random.default_rng(seed).integers(0, 2**62, 2_000_000)
    return len(pa.array(values).dictionary_encode())


def control(workers: WorkerKind) -> float:
    """What two threads or processes gain on work that shares nothing."""
    executor: type[Executor] = ThreadPoolExecutor if workers == "threads" else ProcessPoolExecutor
    work = _encode if workers == "threads" else _loop
    with executor(2) as pool:
        list(pool.map(work, range(2)))  # starts both
        found = take_turns(
            {
                "apart": lambda: timed(lambda: [work(i) for i in range(2)])[0],
                "together": lambda: timed(lambda: list(pool.map(work, range(2))))[0],
            },
            3,
            lambda: None,
        )
    return Ratios(tuple(r["apart"] / r["together"] for r in found)).median


def main() -> None:
    parser = argparse.ArgumentParser(description="Two workers against one.")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"of each flow ({ROWS:,})")
    parser.add_argument("--rounds", type=int, default=3, help="paired rounds (3)")
    parser.add_argument("--only", default="", metavar="TEXT", help="flows with this text in their names")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    arguments = parser.parse_args()
    print(f"{'flow':<36}{'workers':<11}{'1: M rows/s':>12}{'2':>7}   {'speed-up':<20}control")
    found = []
    with tempfile.TemporaryDirectory(prefix=".workers-", dir=os.environ.get("TMPDIR", ".")) as folder:
        for case in (case for case in CASES if arguments.only in case.name):
            ratios, one, two = compare(case, arguments.rows, arguments.rounds, Path(folder))
            ideal = control(case.workers)
            line = f"{case.name:<36}{case.workers:<11}{one / 1e6:>12.2f}{two / 1e6:>7.2f}   {ratios!s:<20}"
            print(f"{line}{ideal:.2f}", flush=True)
            found.append({"flow": case.name, "speed_up": round(ratios.median, 3), "control": round(ideal, 2)})
    if arguments.json:
        print(json.dumps({"flows": found}))


if __name__ == "__main__":
    main()
