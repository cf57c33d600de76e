"""What a checkpoint every second costs: rows a second with them against without, stalls, bytes.

    python benchmarks/checkpoints.py [--seconds N] [--rounds N] [--keys N] [--only A,B] [--json]

Every run is a job of its own with real fsyncs, that long, with a checkpoint every second or none but
the one at its end; the two take turns. A stall is how long the rows' thread waits for a snapshot. Bytes
are those of a checkpoint of all keys, and of the next one, before which one key in a hundred changed;
of short windows, which hold few of the keys, they say nothing. It fails where a run of the full length
came to fewer than twenty checkpoints.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from rounds import Ratios, take_turns

import streamlib as sl
from streamlib import windows
from streamlib.checkpoint.files import state_files
from streamlib.checkpoint.history import list_numbers, read_entry
from streamlib.checkpoint.layout import Layout
from streamlib.checkpoint.manifest import Manifest
from streamlib.connectors import memory
from streamlib.core.contracts import Chunk, Json, Pause, Replay, Sink, SourceReader
from streamlib.core.disk import LocalDisk
from streamlib.runtime.pipeline import Captured, Pipeline

SECONDS = 36  # of a run: at least 20 checkpoints, also where some take longer than their second
LEAST = 20
KEYS = 1_000_000
CHUNK = 65_536
_PREPARED = 64 * CHUNK  # rows made beforehand, which come again and again

SCHEMA = pa.schema({"at": pa.timestamp("us", "UTC"), "key": pa.int64(), "value": pa.int64()})


@dataclass(frozen=True)
class Endless:
    """Random rows without end, a microsecond of event time each.

    Attributes:
        keys: how many there are.
        spread: how far apart they are: 1 for numbers that follow each other.
    """

    keys: int
    spread: int

    bounded: ClassVar[bool] = False
    immediate: ClassVar[bool] = True
    replay: ClassVar[Replay] = "replayable"

    def schema(self) -> pa.Schema:
        return SCHEMA

    def partitions(self) -> Sequence[str]:
        return ["0"]

    def open(self, partition: str, position: Json | None, event_time: str | None) -> SourceReader:
        return _EndlessReader(self, position or 0)


class _EndlessReader:
    def __init__(self, source: Endless, row: int) -> None:
        random = np.random.default_rng(1)
        self._keys = random.integers(0, source.keys, _PREPARED) * source.spread
        self._values = random.integers(0, 1_000, _PREPARED)
        self._row = row

    def read(self) -> Chunk:
        start, first = self._row % _PREPARED, self._row
        self._row += CHUNK
        part = slice(start, start + CHUNK)
        return _chunk(np.arange(first, self._row), self._keys[part], self._values[part], self._row)

    def close(self) -> None: ...


@dataclass(frozen=True)
class InTurns(Endless):
    """All keys, then one in a hundred of them; behind either it waits for a checkpoint that holds it."""

    state: str

    bounded: ClassVar[bool] = True

    def open(self, partition: str, position: Json | None, event_time: str | None) -> SourceReader:
        return _InTurnsReader(self)


class _InTurnsReader:
    def __init__(self, source: InTurns) -> None:
        keys = np.arange(source.keys) * source.spread
        self._parts = [keys, keys[::100]]
        self._state = source.state
        self._rows = 0

    def read(self) -> Chunk | Pause:
        newest = list_numbers(LocalDisk(), Layout(self._state))[-1:]  # retention removes others meanwhile
        if self._rows and self._rows not in _manifests(self._state, newest):
            return Pause.NOT_YET
        if not self._parts:
            return Pause.END
        keys = self._parts.pop(0)
        self._rows += len(keys)
        return _chunk(np.zeros(len(keys), np.int64), keys, keys % 97, self._rows)

    def close(self) -> None: ...


def _chunk(times: Any, keys: Any, values: Any, position: int) -> Chunk:
    at = pa.array(times).view(SCHEMA.field("at").type)
    return Chunk(pa.record_batch([at, pa.array(keys), pa.array(values)], schema=SCHEMA), position)


@dataclass(frozen=True)
class Case:
    """A flow that keeps state."""

    name: str
    spread: int
    stream: Callable[[sl.Stream], sl.Stream]
    share: float = 1.0
    """Of the keys."""

    def flow(self, source: Any, keys: int, sink: Sink) -> sl.Flow:
        rows = sl.read(source, name="rows", event_time="at", watermark=sl.bounded_disorder("1ms"))
        return sl.Flow("checkpoints", self.stream(rows.key_by("key")).write(sink, name="out"))


def _windowed(window: Any) -> Callable[[sl.Stream], sl.Stream]:
    return lambda rows: rows.window(window).aggregate(
        n=sl.count(), total=sl.sum("value"), top=sl.max("value")
    )


def _running(rows: sl.Stream) -> sl.Stream:
    return rows.aggregate(n=sl.count(), total=sl.sum("value"), top=sl.max("value")).filter(sl.col("n") < 0)


def _rarely(stream: Callable[[sl.Stream], sl.Stream]) -> Callable[[sl.Stream], sl.Stream]:
    """Results are made, and then dropped: sinks are measured elsewhere."""
    return lambda rows: stream(rows).filter(sl.col("n") < 0)


CASES = (
    Case("tumbling 10 s", 1, _rarely(_windowed(windows.tumbling("10s"))), 0.1),
    Case("sliding 10 s by 2 s", 1, _rarely(_windowed(windows.sliding("10s", every="2s"))), 0.1),
    Case("always open", 10**12, _rarely(_windowed(windows.tumbling("1d")))),
    Case("running", 10**12, _running),
)


@contextmanager
def stalls() -> Iterator[list[float]]:
    """The seconds of every snapshot that is taken meanwhile."""
    found: list[float] = []
    capture = Pipeline.capture

    def timed(self: Pipeline) -> Captured:
        began = time.perf_counter()
        captured = capture(self)
        found.append(time.perf_counter() - began)
        return captured

    Pipeline.capture = timed  # type: ignore[method-assign]
    try:
        yield found
    finally:
        Pipeline.capture = capture  # type: ignore[method-assign]


def run(flow: sl.Flow, seconds: float, interval: str, folder: Path) -> tuple[float, int]:
    """Seconds a million rows, and the checkpoints, of a job that is drained after a time."""
    with tempfile.TemporaryDirectory(dir=folder) as state:
        job = flow.start(state=state, checkpoint_interval=interval, progress="none")
        time.sleep(seconds)
        rows = job.stats().rows_read
        took = job.stats().seconds
        result = job.drain()
        return took / rows * 1e6, result.checkpoints


def compare(case: Case, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Ratio of rows a second with checkpoints to those without; stalls in milliseconds."""
    keys = max(1, int(arguments.keys * case.share))
    flow = case.flow(Endless(keys, case.spread), keys, _sink(case))
    counts: list[int] = []

    def with_checkpoints() -> float:
        took, count = run(flow, arguments.seconds, arguments.interval, folder)
        counts.append(count)
        return took

    with stalls() as waits:
        run(flow, min(1, arguments.seconds), "1h", folder)
        waits.clear()
        contestants = {"none": lambda: run(flow, arguments.seconds, "1h", folder)[0], "all": with_checkpoints}
        found = take_turns(contestants, arguments.rounds, lambda: None)
    if arguments.seconds >= SECONDS and min(counts) < LEAST:
        raise AssertionError(f"only {min(counts)} checkpoints in {arguments.seconds} s")
    ratios = Ratios(tuple(r["none"] / r["all"] for r in found))
    p50, p99 = np.percentile(np.array(waits) * 1e3, [50, 99])
    return {
        "flow": case.name,
        "keys": keys,
        "ratio": round(ratios.median, 3),
        "spread": [round(min(ratios.values), 3), round(max(ratios.values), 3)],
        "rows_per_s": round(1e6 / min(r["none"] for r in found)),
        "checkpoints": min(counts),
        "stall_ms": {"p50": round(float(p50), 2), "p99": round(float(p99), 2)},
    }


def _sink(case: Case) -> Sink:
    return memory.table_sink() if case.stream is _running else memory.sink()


# --------------------------------------------------------------------------- bytes


def _manifests(state: str, numbers: Sequence[int]) -> dict[int, Manifest]:
    """The manifests among some entries, by how many rows had entered; of several the first."""
    entries = [read_entry(LocalDisk(), Layout(state), number) for number in numbers]
    found: dict[int, Manifest] = {}
    for entry in entries:
        if isinstance(entry, Manifest):
            found.setdefault(entry.positions["rows"]["0"]["rows"], entry)
    return found


def sizes(case: Case, keys: int, folder: Path) -> dict[str, int]:
    """Bytes of the state of all keys, and those written when a hundredth of them has changed."""
    with tempfile.TemporaryDirectory(dir=folder.resolve()) as state:
        flow = case.flow(InTurns(keys, case.spread, state), keys, _sink(case))
        flow.run(state=state, checkpoint_interval="200ms", progress="none")
        manifests = _manifests(state, list_numbers(LocalDisk(), Layout(state)))
        all_, after = manifests[keys], manifests[keys + -(-keys // 100)]
    named = {file.file for file in state_files(all_)}
    return {
        "full": sum(file.length for file in state_files(all_)),
        "one_percent": sum(file.length for file in state_files(after) if file.file not in named),
    }


# --------------------------------------------------------------------------- prints

HEAD = (
    f"{'flow':<23}{'keys':>10}{'M rows/s':>10}  {'with / without':<20}{'checkpoints':>12}"
    f"{'stall p50':>11}{'p99':>9}{'all keys':>11}{'1 % of them':>13}"
)


def line(found: dict[str, Any]) -> str:
    """A row of the table."""
    stall, (low, high), size = found["stall_ms"], found["spread"], found.get("bytes")
    ratio = f"{found['ratio']:.2f} [{low:.2f}..{high:.2f}]"
    shown = [f"{size[name] / 1e6:.2f} MB" for name in ("full", "one_percent")] if size else ["-", "-"]
    return (
        f"{found['flow']:<23}{found['keys']:>10,}{found['rows_per_s'] / 1e6:>10.2f}  {ratio:<20}"
        f"{found['checkpoints']:>12}{stall['p50']:>8.1f} ms{stall['p99']:>6.1f} ms"
        f"{shown[0]:>11}{shown[1]:>13}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="What a checkpoint every second costs.")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of each run ({SECONDS})")
    parser.add_argument("--rounds", type=int, default=3, help="paired rounds (3)")
    parser.add_argument(
        "--keys", type=int, default=KEYS, help=f"({KEYS:,}; a tenth of them with short windows)"
    )
    parser.add_argument("--interval", default="1s", help="between checkpoints (1s)")
    parser.add_argument("--only", default="", help="flows whose names begin so, with commas between")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    arguments = parser.parse_args()
    wanted = tuple(arguments.only.split(","))
    flows = []
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory(prefix=".checkpoints-", dir=os.environ.get("TMPDIR", ".")) as name:
        for case in (case for case in CASES if case.name.startswith(wanted)):
            found = compare(case, arguments, Path(name))
            if case.share == 1:
                found["bytes"] = sizes(case, arguments.keys, Path(name))
            print(line(found), flush=True)
            flows.append(found)
    if arguments.json:
        print(json.dumps({"flows": flows}))


if __name__ == "__main__":
    main()
