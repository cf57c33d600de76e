"""The race: streaming jobs with checkpoints against DuckDB and Polars, which compute the same as a batch.

    python benchmarks/race.py [--only tumbling,sliding,strings,random] [--source memory|parquet]
        [--rows N] [--rounds N] [--quick] [--keys nexmark|uniform|zipf] [--disorder SECONDS]
        [--sink parquet] [--json]

- tumbling: count, sum and max of the price per auction (int64) over 10 seconds.
- sliding: of every 10 seconds, from 2 to 2 seconds, the auction with the most bids.
- strings: as tumbling, per channel (10,000 texts), from Parquet.
- random: as tumbling, per client (a million random int64), from memory.

All over 20 M Nexmark-like bids in order of arrival. What is timed of streamlib is `flow.run` as a whole:
binding, taking the state folder, reading, aggregating, firing by watermark, and at least five
checkpoints with their fsyncs. The engines get 2 threads each, and the same rows. Everyone hands the
result over in memory, as Arrow; with `--sink parquet` streamlib alone writes it to files, exactly once.
The bids are one partition: one table, or one file of many row groups (several files would be several
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
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from bids import DISORDER, make_bids, write_bids
from engines import Engine, engines_from_parquet, engines_in_memory
from jobs import Streaming
from queries import QUERIES, Query
from rounds import Ratios, take_turns, timed

from streamlib.connectors import memory, parquet


@dataclass(frozen=True)
class Outcome:
    """What came out for one query over one source."""

    query: Query
    source: str
    rows: int
    rounds: list[dict[str, float]]
    checkpoints: int
    waited: bool

    @property
    def ratios(self) -> Ratios:
        """The faster engine's time over streamlib's, by round."""
        return Ratios(tuple(min(r["DuckDB"], r["Polars"]) / r["streamlib"] for r in self.rounds))

    @property
    def goal(self) -> float:
        """What the ratio is to be."""
        return self.query.goals[self.source]

    def rows_per_s(self, name: str) -> float:
        """By the median of the contestant's times."""
        return self.rows / statistics.median(r[name] for r in self.rounds)

    def as_json(self) -> dict[str, Any]:
        """The line of `--json`."""
        return {
            "query": self.query.name,
            "source": self.source,
            "ratio": round(self.ratios.median, 3),
            "goal": self.goal,
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
            f"{self.query.name:<10}{self.source:<9}{speeds}   {self.ratios!s:<22}{self.goal:<6}"
            f"{self.ratios.verdict:<9}{self.checkpoints}{note}"
        )


HEAD = (
    f"{'query':<10}{'source':<9}{'streamlib':>11}{'DuckDB':>11}{'Polars':>11}   "
    f"{'ratio':<22}{'goal':<6}{'so it is':<9}checkpoints"
)


class Race:
    """streamlib and the engines over the same bids."""

    def __init__(
        self, query: Query, source: str, rows: int, streaming: Streaming, engines: Mapping[str, Engine]
    ) -> None:
        self._query = query
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
            self._query, self._source, self._rows, found, min(self._checkpoints), self._streaming.waits
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
        expected = _in_order(self._results["DuckDB"], self._query)
        for name, result in self._results.items():
            if not _in_order(result, self._query).equals(expected):
                raise AssertionError(
                    f"{name} and DuckDB computed different results of {self._query.name} over {self._source}"
                )


def _in_order(result: pa.Table, query: Query) -> pa.Table:
    """The result in one form for all: integers and texts, sorted by window and key."""
    if "window_start" in result.column_names:
        result = result.append_column("number", pc.divide(_whole(result["window_start"]), query.every))
    plain = pa.table({name: _whole(result[name]) for name in query.columns})
    return plain.sort_by([(name, "ascending") for name in query.columns[:2]]).combine_chunks()


def _whole(column: pa.ChunkedArray) -> pa.ChunkedArray:
    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    return column.cast(pa.string() if text else pa.int64())


def races(bids: pa.Table, sink: str, folder: Path, only: Collection[tuple[str, str]]) -> Iterator[Race]:
    """The races over bids in memory and over the same bids in a Parquet file, one after another."""
    path = folder / "bids.parquet"
    for query in QUERIES:
        for source in query.goals:
            if (query.name, source) not in only:
                continue
            if source == "memory":
                streaming = Streaming(query, memory.source(bids), sink, folder)
                yield Race(query, source, len(bids), streaming, engines_in_memory(query, bids))
                continue
            if not path.exists():
                write_bids(bids, str(path))
            streaming = Streaming(query, parquet.source(path), sink, folder)
            yield Race(query, source, len(bids), streaming, engines_from_parquet(query, str(path)))


def main() -> None:
    arguments = _arguments()
    rows, rounds = (500_000, 3) if arguments.quick else (20_000_000, 5)
    rows, rounds = arguments.rows or rows, arguments.rounds or rounds
    # Not where TMPDIR is unset: /tmp may be memory, where fsync costs nothing.
    with tempfile.TemporaryDirectory(prefix=".race-", dir=os.environ.get("TMPDIR", ".")) as name:
        folder = Path(name).resolve()
        print(f"{rows:,} bids, {rounds} rounds, 2 threads each; state, with fsync, in {folder}")
        print("M rows/s by median time; ratio: the faster engine's time over streamlib's\n")
        print(HEAD)
        outcomes = []
        bids = make_bids(rows, keys=arguments.keys, disorder=round(arguments.disorder * 1e6))
        for race in races(bids, arguments.sink, folder, _selected(arguments)):
            outcomes.append(race.run(rounds))
            print(outcomes[-1].as_text(), flush=True)
    if arguments.json:
        print(json.dumps({"queries": [outcome.as_json() for outcome in outcomes]}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Streaming with checkpoints against batch engines.")
    parser.add_argument("--rows", type=_positive, help="bids, in thousands or more (20,000,000)")
    parser.add_argument("--rounds", type=_positive, help="paired rounds that count (5)")
    parser.add_argument("--quick", action="store_true", help="500,000 bids, 3 rounds")
    names = [query.name for query in QUERIES]
    parser.add_argument("--only", help=f"queries, by comma: {', '.join(names)} (all)")
    parser.add_argument("--source", choices=("memory", "parquet"), help="from one source (both)")
    parser.add_argument(
        "--keys", choices=("nexmark", "uniform", "zipf"), default="nexmark", help="of auctions (nexmark)"
    )
    parser.add_argument(
        "--disorder", type=float, default=DISORDER / 1e6, help="seconds that bids come late at most (4)"
    )
    parser.add_argument(
        "--sink", choices=("memory", "parquet"), default="memory", help="of streamlib (memory)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    arguments = parser.parse_args()
    unknown = set((arguments.only or "").split(",")) - {"", *names}
    if unknown or not 0 <= arguments.disorder <= DISORDER / 1e6:
        parser.error(f"--only takes {', '.join(names)}; --disorder 0 to {DISORDER / 1e6:.0f} seconds")
    return arguments


def _selected(arguments: argparse.Namespace) -> set[tuple[str, str]]:
    """The names of queries and sources that race."""
    names = arguments.only.split(",") if arguments.only else [query.name for query in QUERIES]
    return {
        (query.name, source)
        for query in QUERIES
        for source in query.goals
        if query.name in names and arguments.source in (None, source)
    }


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value


if __name__ == "__main__":
    main()
