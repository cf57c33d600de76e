"""A flow of one's own under test, in a line: as a batch and as streams, and through power cuts."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from streamlib.connectors import memory, parquet
from streamlib.core.batch import Batch
from streamlib.core.contracts import Pause, Sink, Source
from streamlib.core.errors import DefinitionError
from streamlib.core.time import MIN_TIME, show_duration, show_instant
from streamlib.plan.bind import rewritten
from streamlib.plan.flow import Flow
from streamlib.plan.node import Read, Write, WriteLetters
from streamlib.plan.stream import Written
from streamlib.runtime.intake import EventTimes
from streamlib.testing.compare import difference
from streamlib.testing.simulator import live

Tables = Mapping[str, pa.Table]
LONGEST_CHUNKS = 64  # rows: a test's input has some hundred, and is to be cut often


def assert_parity(flow: Flow, *, seeds: Iterable[int] = range(10)) -> Tables:
    """Check that a flow gives the same rows as a batch and as a stream, however its input is cut.

    The flow is run as it is, over the rows of its bounded sources: once as a batch, and for each seed
    as a stream whose input comes in other chunks. Sinks are replaced; nothing is written.

    Args:
        flow: any flow over bounded sources. Rows must come within the bound of disorder: others are
            late in a stream and not in a batch, which is no mistake of the flow. Floats may differ by
            1e-9 of the largest in their column, since the order of additions does.
        seeds: of the chunks, one run each.

    Returns:
        The rows of every sink, by its name, for checks against what they should be. Of a changelog
        these are the rows of the table that it describes.

    Raises:
        AssertionError: the runs differ: says in which sink, the seed, and the first rows that differ.
        DefinitionError: an unbounded source, or a row further behind than the bound.

    >>> import streamlib as sl
    >>> from streamlib import windows
    >>> from streamlib.connectors import memory
    >>> rows = [{"at": i * 1_000_000, "n": i} for i in range(100)]
    >>> clicks = sl.read(memory.source(rows), name="clicks", event_time="at", watermark=sl.monotone())
    >>> totals = clicks.window(windows.tumbling("50s")).aggregate(total=sl.sum("n"))
    >>> flow = sl.Flow("clicks", totals.write(memory.sink(), name="totals"))
    >>> assert_parity(flow)["totals"]["total"].to_pylist()
    [1225, 3725]
    """
    bench = _Bench.of(flow)
    bench.check_disorder()
    batch = flow.collect()
    for seed in seeds:
        _compare(batch, bench.live(seed, crashes=0), f"the stream of seed {seed} is not the batch")
    return batch


def assert_survives(flow: Flow, *, seeds: Iterable[int] = range(10), crashes: int = 2) -> Tables:
    """Check that a flow loses and doubles nothing when the power fails and it starts again.

    For each seed the flow runs in the simulator, on a disk that forgets what was not synced, through
    power cuts at random steps, with its input in other chunks at every start. What is published in
    the end has to be what a run without them publishes. Sinks are replaced; no file is written.

    Args:
        flow: any flow over bounded sources; its rows may be late.
        seeds: of everything random, one life each; a failing seed fails again.
        crashes: power cuts in each life.

    Returns:
        The rows of every sink, by its name.

    Raises:
        AssertionError: the runs differ: says in which sink, the seed, and where the power failed.
        DefinitionError: an unbounded source.
    """
    bench = _Bench.of(flow)
    undisturbed = bench.live(0, crashes=0)
    for seed in seeds:
        bench.cuts = []
        found = bench.live(seed, crashes=crashes)
        where = "; ".join(bench.cuts) or "no power cut"
        _compare(undisturbed, found, f"seed {seed} is not the undisturbed run ({where})")
    return undisturbed


@dataclass
class _Bench:
    """A flow with the rows of its sources, ready to be run in the simulator."""

    flow: Flow
    rows: dict[str, dict[str, pa.Table]]
    cuts: list[str]

    @classmethod
    def of(cls, flow: Flow) -> _Bench:
        reads = flow.bind().reads()
        return cls(flow, {name: _all_rows(name, read.source) for name, (_, read) in reads.items()}, [])

    def live(self, seed: int, crashes: int) -> Tables:
        """What the sinks hold in the end."""
        writes = self.flow.bind().writes()
        schemas = {f"/out/{name}": bound.input_types[0].schema for name, (bound, _) in writes.items()}
        outcome = live(lambda attempt: self._attempt(seed, attempt), schemas, seed, crashes=crashes)
        self.cuts += outcome.crashes
        return {name: outcome.tables[f"/out/{name}"] for name in writes}

    def _attempt(self, seed: int, attempt: int) -> Flow:
        """The flow with its input cut anew, its rows of any time, and its output in `/out`."""
        chance = random.Random(f"{seed} {attempt}")
        specs: dict[int, Read | Write] = {}
        letters: dict[str, Sink] = {}
        for bound in self.flow.bind().nodes:
            spec = bound.node.spec
            if isinstance(spec, Read):
                source = memory.source(self.rows[bound.id], chunk_rows=chance.randint(1, LONGEST_CHUNKS))
                specs[id(bound.node)] = replace(spec, source=source, max_ahead=None)  # the clock is random
            elif isinstance(spec, WriteLetters):
                letters[bound.id] = parquet.sink(f"/out/{bound.id}")
            elif isinstance(spec, Write):
                changelog = bound.input_types[0].changes is not None
                sink = parquet.snapshot_sink if changelog else parquet.sink
                specs[id(bound.node)] = Write(sink(f"/out/{bound.id}"))
        return Flow(
            self.flow.name, *map(Written, rewritten([s.node for s in self.flow.sinks], specs, letters))
        )

    def check_disorder(self) -> None:
        """Refuse rows that a stream may judge late."""
        for name, (bound, read) in self.flow.bind().reads().items():
            for partition, table in self.rows[name].items():
                if read.watermark is not None and table.num_rows:
                    _check_disorder(name, partition, read, table, bound.output_types[0].schema)


def _check_disorder(source: str, partition: str, read: Read, table: pa.Table, schema: pa.Schema) -> None:
    assert read.watermark is not None
    times = EventTimes(read, schema).of(Batch.from_arrow(table.combine_chunks().to_batches()[0]))
    assert times is not None
    newest = np.concatenate([[MIN_TIME], np.maximum.accumulate(times)[:-1]])
    behind = np.where(newest == MIN_TIME, 0, newest - times)
    row = int(behind.argmax())
    if int(behind[row]) > read.watermark.delay:
        raise DefinitionError(
            f"row {row} of partition {partition!r} of source {source!r} may be late in a stream",
            expected=f"rows at most {show_duration(read.watermark.delay)} behind; a batch has no late rows",
            found=f"{show_instant(int(times[row]))}, {show_duration(int(behind[row]))} behind",
            remedy="raise the bound of the watermark; `assert_survives` takes late rows",
        )


def _all_rows(name: str, source: Source) -> dict[str, pa.Table]:
    if not source.bounded:
        raise DefinitionError(
            f"source {name!r} never ends",
            expected="bounded sources, whose rows can be read again and again",
            found=repr(source),
            remedy="give rows: `flow.rebind(sources={...: memory.source(rows)})`",
        )
    return {partition: _read(source, partition) for partition in source.partitions()}


def _read(source: Source, partition: str) -> pa.Table:
    reader = source.open(partition, None, None)
    batches: list[pa.RecordBatch] = []
    try:
        while (chunk := reader.read()) is not Pause.END:
            if chunk is not Pause.NOT_YET and not isinstance(chunk, Pause):
                batches.append(chunk.rows)
    finally:
        reader.close()
    return pa.Table.from_batches(batches, source.schema())


def _compare(expected: Tables, found: Tables, what: str) -> None:
    for name, table in expected.items():
        text = difference(table, found[name])
        if text is not None:
            raise AssertionError(f"sink {name!r}: {what}\n{text}")
