"""Random inputs and the flows over them, shared by the parity and simulator tests."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

import streamlib as sl
from streamlib import operators as op
from streamlib import windows
from streamlib.connectors import memory, parquet
from streamlib.operators import Operator, OperatorSpec
from streamlib.plan.stream import Written
from streamlib.testing.reference import Expected, Row, reference

SECOND = 1_000_000
SCHEMA = pa.schema([("at", pa.int64()), ("key", pa.string()), ("value", pa.int64())])
Partitions = dict[str, list[dict[str, Any]]]


def random_rows(chance: random.Random, most: int = 80) -> Partitions:
    """One to three partitions with null keys and values, disorder within the bound and beyond it."""
    partitions: Partitions = {}
    for p in range(chance.randint(1, 3)):
        now, rows = chance.randint(-20, 20) * SECOND, []
        for _ in range(chance.randint(0, most)):
            now += chance.randint(0, 3) * SECOND
            behind = chance.randint(0, 20) if chance.random() < 0.2 else chance.randint(0, 4)
            rows.append(
                {
                    "at": now - behind * SECOND,
                    "key": chance.choice(["a", "b", None]),
                    "value": chance.choice([None, chance.randint(-9, 9)]),
                }
            )
        partitions[f"p{p}"] = rows
    return partitions


STATISTICS = {
    "n": sl.count(),
    "total": sl.sum("value"),
    "low": sl.min("value"),
    "high": sl.max("value"),
    "mean": sl.mean("value"),
}


class Case:
    """Random rows, random windows, and the flow that aggregates them, its late rows side by side."""

    folders: tuple[str, ...] = ("/out/panes", "/out/late", "/out/missed")
    lateness = 0

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self.rows = random_rows(chance)
        self.delay = chance.choice([0, 2, 4]) * SECOND
        self.size = chance.choice([5, 10, 15]) * SECOND
        self.slide = chance.choice([self.size, 3 * SECOND, 5 * SECOND, 20 * SECOND])
        self.offset = chance.randrange(self.slide // SECOND) * SECOND
        self.chunks = [chance.randint(1, 40) for _ in range(30)]
        self.cuts = seed % 2 == 0  # then batches are cut before late rows, else these are judged by stamps

    def flow(self, attempt: int) -> sl.Flow:
        """The flow; every attempt gets its input in other chunks."""
        tables = {name: pa.Table.from_pylist(rows, SCHEMA) for name, rows in self.rows.items()}
        source = memory.source(tables, chunk_rows=self.chunks[attempt])
        stream = sl.read(
            source,
            name="rows",
            event_time="at",
            watermark=sl.bounded_disorder(self.delay),
            max_ahead=None,
        )
        stream = stream.then(Untouched()) if self.cuts else stream
        return sl.Flow("case", *self.sinks(stream.key_by("key")))

    def windowed(self, stream: sl.Stream, lateness: int = 0) -> op.WindowedStream[sl.Stream]:
        """The rows in the windows of the case."""
        window = windows.sliding(self.size, every=self.slide, offset=self.offset)
        return stream.window(window, allowed_lateness=lateness)

    def sinks(self, stream: sl.Stream) -> list[Written]:
        """What becomes of the rows."""
        panes = self.windowed(stream).aggregate(**STATISTICS)
        return [
            panes.write(parquet.sink("/out/panes"), name="panes"),
            panes.late().write(parquet.sink("/out/late"), name="late"),
            panes.missed().write(parquet.sink("/out/missed"), name="missed"),
        ]

    @property
    def schemas(self) -> dict[str, pa.Schema]:
        """The schemas of the output folders."""
        writes = self.flow(0).bind().writes()
        return {folder: writes[folder[5:]][0].input_types[0].schema for folder in self.folders}

    def expected(self, *, batch: bool = False) -> Expected:
        """What the naive reference says."""
        rows = {
            name: [Row(r["at"], r["key"], r["value"]) for r in found] for name, found in self.rows.items()
        }
        return reference(
            rows,
            size=self.size,
            slide=self.slide,
            offset=self.offset,
            delay=None if batch else self.delay,
            lateness=self.lateness,
        )


class UpdatingCase(Case):
    """The same over windows that take late rows, with tables and changes in the place of panes."""

    folders = (*Case.folders, "/out/changes", "/out/final", "/out/totals", "/out/sizes")

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.lateness = random.Random(seed).choice([1, 3, 8, 30]) * SECOND

    def sinks(self, stream: sl.Stream) -> list[Written]:
        late = self.windowed(stream, self.lateness)
        panes = late.aggregate(**STATISTICS)
        final = late.final_only().aggregate(**STATISTICS)
        totals = stream.aggregate(**STATISTICS)
        sizes = panes.key_by("n").aggregate(panes=sl.count(), total=sl.sum("total"))
        return [
            panes.write(parquet.snapshot_sink("/out/panes"), name="panes"),
            panes.late().write(parquet.sink("/out/late"), name="late"),
            panes.missed().write(parquet.sink("/out/missed"), name="missed"),
            panes.to_changelog().write(parquet.sink("/out/changes"), name="changes"),
            final.write(parquet.sink("/out/final"), name="final"),
            totals.write(parquet.snapshot_sink("/out/totals"), name="totals"),
            sizes.write(parquet.snapshot_sink("/out/sizes"), name="sizes"),
        ]

    def expected_totals(self) -> list[tuple[Any, ...]]:
        """One row per key, of all rows."""
        found: dict[Any, list[Any]] = {}
        for row in (row for rows in self.rows.values() for row in rows):
            found.setdefault(row["key"], []).append(row["value"])
        return sorted(((key, *_statistics(values)) for key, values in found.items()), key=repr)

    def expected_sizes(self) -> list[tuple[Any, ...]]:
        """One row per number of rows that a pane can have, over the panes."""
        found: dict[int, list[int]] = {}
        for _, _, _, n, total, *_ in pane_rows(self.expected()):
            found.setdefault(n, []).append(total)
        return sorted(((n, len(totals), sum(totals)) for n, totals in found.items()), key=repr)


def pane_rows(expected: Expected) -> list[tuple[Any, ...]]:
    """The panes of the reference as sorted result rows."""
    found = []
    for pane, rows in expected.panes.items():
        found.append((pane.key, pane.start, pane.end, *_statistics([row.value for row in rows])))
    return sorted(found, key=repr)


def _statistics(values: list[Any]) -> tuple[Any, ...]:
    known = [value for value in values if value is not None]
    extremes = (min(known), max(known), sum(known) / len(known)) if known else (None, None, None)
    return (len(values), sum(known), *extremes)


def applied_rows(table: pa.Table) -> list[tuple[Any, ...]]:
    """What changes that were written as rows come to, in whatever order they are read."""
    counts: Counter[tuple[Any, ...]] = Counter()
    for *row, op_ in table_rows(table):
        counts[tuple(row)] += 1 if op_ in ("+I", "+U") else -1
    assert all(count in (0, 1) for count in counts.values())
    return sorted((row for row, count in counts.items() if count), key=repr)


def table_rows(table: pa.Table) -> list[tuple[Any, ...]]:
    """A result table as sorted rows; instants as microseconds."""
    columns = []
    for column in table.columns:
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())  # noqa: PLW2901
        columns.append(column.to_pylist())
    return sorted(zip(*columns, strict=True), key=repr)


def late_rows(expected: Expected) -> list[tuple[Any, ...]]:
    """The late rows of the reference, sorted."""
    return sorted((tuple(row) for row in expected.late), key=repr)


def missed_rows(expected: Expected) -> list[tuple[Any, ...]]:
    """The missed (row, window) pairs of the reference, sorted."""
    return sorted(((*row, pane.start, pane.end) for row, pane in expected.missed), key=repr)


@dataclass(frozen=True, eq=False)
class Untouched(OperatorSpec):
    """Rows as they came, in batches of its own making: before it batches are cut where a row may be late."""

    kind = "untouched"

    def bind(self, inputs):
        return (inputs[0],)

    def build(self, inputs):
        return UntouchedOperator()


class UntouchedOperator(Operator):
    def on_batch(self, batch, port):
        return [(0, type(batch)(batch.schema, batch.columns, batch.num_rows, batch.event_time))]
