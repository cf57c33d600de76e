"""The race: a streaming job with checkpoints against DuckDB and Polars, which compute it as a batch.

    python benchmarks/race.py [--rows N] [--rounds N] [--quick] [--sink parquet] [--json]

The query is the tumbling one: count, sum and max of the price per auction (int64) over 10 seconds, of
5 M Nexmark-like bids in order of arrival, from memory and from Parquet. What is timed of streamlib is
`flow.run` as a whole: binding, taking the state folder, reading, aggregating, firing by watermark, and
at least five checkpoints with their fsyncs. The engines get 2 threads each. Everyone hands the result
over in memory, as Arrow; with `--sink parquet` streamlib alone writes it to files, exactly once. The
bids are one partition: one table, or one file of many row groups (several files would be several
partitions, which a stream merges by their event times).

The ratio is the time of the faster engine over that of streamlib: above 1, streamlib is faster. It is
the median of paired rounds; a gap that is not the same way in all of them is called equal. Every
result is compared with the others, row for row.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from bids import make_bids, write_bids
from engines import Engine, engines_from_parquet, engines_in_memory
from jobs import Streaming
from rounds import Ratios, take_turns, timed

from streamlib.connectors import memory, parquet
from streamlib.core.contracts import Source

WINDOW = 10_000_000  # microseconds


@dataclass(frozen=True)
class Outcome:
    """What came out for one query over one source."""

    query: str
    source: str
    rows: int
    rounds: list[dict[str, float]]
    checkpoints: int
    waited: bool

    @property
    def ratios(self) -> Ratios:
        """The faster engine's time over streamlib's, by round."""
        return Ratios(tuple(min(r["DuckDB"], r["Polars"]) / r["streamlib"] for r in self.rounds))

    def rows_per_s(self, name: str) -> float:
        """By the median of the contestant's times."""
        return self.rows / statistics.median(r[name] for r in self.rounds)

    def as_json(self) -> dict[str, Any]:
        """The line of `--json`."""
        return {
            "query": self.query,
            "source": self.source,
            "ratio": round(self.ratios.median, 3),
            "rows_per_s": round(self.rows_per_s("streamlib")),
            "rounds": len(self.rounds),
            "checkpoints": self.checkpoints,
        }

    def as_text(self) -> str:
        """The line of the table."""
        names = ("streamlib", "DuckDB", "Polars")
        speeds = "".join(f"{self.rows_per_s(name) / 1e6:>11.1f}" for name in names)
        note = "  (the source waited for checkpoints)" if self.waited else ""
        return (
            f"{self.query:<10}{self.source:<9}{speeds}   {self.ratios!s:<22}{self.ratios.verdict:<9}"
            f"{self.checkpoints}{note}"
        )


HEAD = (
    f"{'query':<10}{'source':<9}{'streamlib':>11}{'DuckDB':>11}{'Polars':>11}   "
    f"{'ratio':<22}{'so it is':<9}checkpoints"
)


class Race:
    """streamlib and the engines over the same bids."""

    def __init__(self, source: str, rows: int, streaming: Streaming, engines: Mapping[str, Engine]) -> None:
        self._source = source
        self._rows = rows
        self._streaming = streaming
        self._engines = engines
        self._results: dict[str, pa.Table] = {}
        self._checkpoints: list[int] = []

    def run(self, rounds: int) -> Outcome:
        """All rounds, after one that does not count."""
        contestants = {"streamlib": self._stream, **{name: self._batch(name) for name in self._engines}}
        take_turns(contestants, 1, self._compare)
        self._checkpoints.clear()
        found = take_turns(contestants, rounds, self._compare)
        return Outcome(
            "tumbling", self._source, self._rows, found, min(self._checkpoints), self._streaming.waits
        )

    def _stream(self) -> float:
        run = self._streaming.run()
        self._results["streamlib"] = run.result
        self._checkpoints.append(run.checkpoints)
        return run.seconds

    def _batch(self, name: str) -> Callable[[], float]:
        def compute() -> float:
            seconds, self._results[name] = timed(self._engines[name])
            return seconds

        return compute

    def _compare(self) -> None:
        """Raise unless all results have the same rows."""
        expected = _in_order(self._results["DuckDB"])
        for name, result in self._results.items():
            if not _in_order(result).equals(expected):
                raise AssertionError(f"{name} and DuckDB computed different results over {self._source}")


def _in_order(result: pa.Table) -> pa.Table:
    """The result in one form for all: integers, sorted by window and auction."""
    if "window_start" in result.column_names:
        start = pc.divide(result["window_start"].cast(pa.int64()), WINDOW)
        result = result.append_column("number", start)
    names = ("number", "auction", "bids", "total", "top")
    plain = pa.table({name: result[name].cast(pa.int64()) for name in names})
    return plain.sort_by([("number", "ascending"), ("auction", "ascending")]).combine_chunks()


def races(rows: int, sink: str, folder: Path) -> list[Race]:
    """The query over bids in memory, and over the same bids in a Parquet file."""
    bids = make_bids(rows)
    path = str(folder / "bids.parquet")
    write_bids(bids, path)

    def streaming(source: Source) -> Streaming:
        return Streaming(source, sink, folder)

    return [
        Race("memory", rows, streaming(memory.source(bids)), engines_in_memory(bids)),
        Race("parquet", rows, streaming(parquet.source(path)), engines_from_parquet(path)),
    ]


def main() -> None:
    arguments = _arguments()
    rows, rounds = (500_000, 3) if arguments.quick else (5_000_000, 7)
    rows, rounds = arguments.rows or rows, arguments.rounds or rounds
    # Not where TMPDIR is unset: /tmp may be memory, where fsync costs nothing.
    with tempfile.TemporaryDirectory(prefix=".race-", dir=os.environ.get("TMPDIR", ".")) as name:
        folder = Path(name).resolve()
        print(f"{rows:,} bids, {rounds} rounds, 2 threads each; state, with fsync, in {folder}")
        print("M rows/s by median time; ratio: the faster engine's time over streamlib's\n")
        print(HEAD)
        outcomes = []
        for race in races(rows, arguments.sink, folder):
            outcomes.append(race.run(rounds))
            print(outcomes[-1].as_text(), flush=True)
    if arguments.json:
        print(json.dumps({"queries": [outcome.as_json() for outcome in outcomes]}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Streaming with checkpoints against batch engines.")
    parser.add_argument("--rows", type=_positive, help="bids, in thousands or more (5,000,000)")
    parser.add_argument("--rounds", type=_positive, help="paired rounds that count (7)")
    parser.add_argument("--quick", action="store_true", help="500,000 bids, 3 rounds")
    parser.add_argument(
        "--sink", choices=("memory", "parquet"), default="memory", help="of streamlib (memory)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    return parser.parse_args()


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


if __name__ == "__main__":
    main()
