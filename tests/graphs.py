"""Random graphs over random rows: chained and global windows, unions, splits, several sinks, skewed keys."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa

import streamlib as sl
from streamlib import col, windows
from streamlib.connectors import memory, parquet
from streamlib.core.contracts import Sink
from tests.flows import SECOND

SCHEMA = pa.schema([("at", pa.int64()), ("name", pa.string()), ("id", pa.int32()), ("value", pa.int64())])
KEYS = (["name"], ["id"], ["name", "id"], [])
SKEWS = ([1] * 20, [1000] + [1] * 19, [1] + [0] * 19)
"""How often each of 20 keys comes: evenly, mostly the first, only the first."""


def _rows(chance: random.Random) -> dict[str, list[dict[str, Any]]]:
    weights = chance.choice(SKEWS)
    partitions = {}
    for p in range(chance.randint(1, 3)):
        now, rows = chance.randint(-20, 20) * SECOND, []
        for _ in range(chance.randint(0, 80)):
            now += chance.choice([0, 0, 1, 3]) * SECOND
            behind = chance.randint(0, 20) if chance.random() < 0.2 else chance.randint(0, 3)
            (key,) = chance.choices(range(20), weights)
            rows.append(
                {
                    "at": now - behind * SECOND,
                    "name": None if key % 7 == 6 else f"k{key}",
                    "id": None if key % 11 == 10 else key % 5,
                    "value": chance.choice([None, chance.randint(-9, 9)]),
                }
            )
        partitions[f"p{p}"] = rows
    return partitions


class Graph:
    """A graph drawn from a seed. Its sinks are `sink(name)`; `memory` sinks run it without a disk."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(f"graph {seed}")
        self._tables = {name: pa.Table.from_pylist(rows, SCHEMA) for name, rows in _rows(chance).items()}
        self._chunks = [chance.randint(1, 40) for _ in range(30)]
        self._delay = chance.choice([0, 2, 4]) * SECOND
        self._shape = chance.getrandbits(32)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows of the input."""
        return [row for table in self._tables.values() for row in table.to_pylist()]

    def flow(self, attempt: int, *, on_disk: bool = True) -> sl.Flow:
        """The flow; every attempt gets its input in other chunks."""
        stream = sl.read(
            memory.source(self._tables, chunk_rows=self._chunks[attempt]),
            name="rows",
            event_time="at",
            watermark=sl.bounded_disorder(self._delay),
            max_ahead=None,
        )
        ends = self._ends(random.Random(self._shape), stream)
        return sl.Flow("graph", *(end.write(_sink(name, on_disk), name=name) for name, end in ends.items()))

    def _ends(self, chance: random.Random, stream: sl.Stream) -> dict[str, sl.Stream]:
        even, odd = stream.split(col("value") // 2 * 2 == col("value"))
        above = chance.choice([stream, odd.union(even), even.filter(col("value") > 0), stream.union(odd)])
        panes = _windowed(chance, above, "value")
        again = _windowed(chance, panes, "total")
        found = {"panes": panes, "late": panes.late(), "missed": panes.missed(), "again": again}
        if chance.random() < 0.5:
            found["raw"] = above.with_columns(twice=col("value") * 2)
        if chance.random() < 0.5:  # rows that were late for one window may be on time for another
            found["of_late"] = _windowed(chance, panes.late().union(stream), "value")
        if chance.random() < 0.3:
            found["thrice"] = _windowed(chance, again, "total")
        return found

    @property
    def schemas(self) -> dict[str, pa.Schema]:
        """The schemas of the output folders."""
        writes = self.flow(0).bind().writes()
        return {f"/out/{name}": bound.input_types[0].schema for name, (bound, _) in writes.items()}


def _sink(name: str, on_disk: bool) -> Sink:
    return parquet.sink(f"/out/{name}") if on_disk else memory.sink()


def _windowed(chance: random.Random, stream: sl.Stream, value: str) -> sl.Stream:
    size = chance.choice([2, 5, 10, 30]) * SECOND
    every = chance.choice([size, size, 3 * SECOND, size // 2, 2 * size])
    offset = chance.choice([0, SECOND]) % every
    keys = [key for key in chance.choice(KEYS) if key in stream_columns(stream)]
    keyed = stream.key_by(*keys) if keys else stream.select(*stream_columns(stream))
    window = windows.sliding(size, every=min(every, 3 * size), offset=offset)
    return keyed.window(window).aggregate(
        n=sl.count(), total=sl.sum(value), low=sl.min(value), high=sl.max(value), mean=sl.mean(value)
    )


def stream_columns(stream: sl.Stream) -> list[str]:
    """The names of a stream's columns."""
    bound = sl.Flow("columns", stream.write(memory.sink(), name="out")).bind()
    return bound.writes()["out"][0].input_types[0].schema.names
