"""Flows for real processes: paced by the clock, so that there is a middle to stop them in."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import pyarrow as pa

import streamlib as sl
from streamlib import windows
from streamlib.connectors import Pause, console, memory, parquet

SECOND = 1_000_000
ROWS = 4000
TABLE = pa.table(
    {
        "at": pa.array([i * SECOND // 4 for i in range(ROWS)], pa.int64()),
        "key": pa.array([i % 11 for i in range(ROWS)], pa.int64()),
        "value": pa.array([i % 17 for i in range(ROWS)], pa.int64()),
    }
)


@dataclass(frozen=True)
class Paced:
    """Rows from memory, at most so many a second of processing time; without end if `endless`."""

    rows_per_second: float
    endless: bool = False
    bounded: bool = True
    replay: str = "replayable"

    def schema(self):
        return TABLE.schema

    def partitions(self):
        return ["0"]

    def open(self, partition, position, event_time):
        return _Reader(self, memory.source(TABLE, chunk_rows=20).open("0", position, event_time))


class _Reader:
    def __init__(self, source, reader):
        self.source, self.reader, self.rows, self.began = source, reader, 0, time.monotonic()

    def read(self):
        if self.rows > (time.monotonic() - self.began) * self.source.rows_per_second:
            return Pause.NOT_YET
        found = self.reader.read()
        if found is Pause.END:
            return Pause.NOT_YET if self.source.endless else found
        self.rows += found.rows.num_rows
        return found

    def close(self):
        self.reader.close()


class Hanging:
    """A sink whose prepare takes for ever."""

    delivery = "at_least_once"

    def open(self, context):
        writer = console.sink().open(context)
        writer.prepare = lambda number: time.sleep(3600)
        return writer


def panes(rows_per_second: float, endless: bool = False) -> sl.Stream:
    stream = sl.read(
        Paced(rows_per_second, endless), name="rows", event_time="at", watermark=sl.bounded_disorder("2s")
    )
    return stream.key_by("key").window(windows.tumbling("10s")).aggregate(n=sl.count(), total=sl.sum("value"))


def failing(record):
    raise ZeroDivisionError("of the user")


OUT = os.environ.get("FLOW_OUT", "out")
rate = float(os.environ.get("FLOW_RATE", "1e9"))
flow = sl.Flow("paced", panes(rate).write(parquet.sink(OUT), name="panes"))
endless = sl.Flow("endless", panes(rate, endless=True).write(parquet.sink(OUT), name="panes"))
printed = sl.Flow("printed", panes(rate).write(console.sink(), name="panes"))
hanging = sl.Flow("hanging", panes(rate, endless=True).write(Hanging(), name="panes"))
raising = sl.Flow(
    "raising",
    sl.read(memory.source(TABLE), name="rows")
    .map(failing, schema=TABLE.schema)
    .write(console.sink(), name="o"),
)
misspelt = sl.Flow(
    "misspelt",
    sl.read(memory.source(TABLE), name="rows").select("valeu").write(console.sink(), name="o"),
)
