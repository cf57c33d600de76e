"""A flow of one's own under test, in a line: as a batch and as streams, and through power cuts."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from streamlib.connectors import memory, parquet
from streamlib.core.contracts import Broken, OperatorSpec, Pause, Sink, Source
from streamlib.core.errors import DefinitionError
from streamlib.core.time import MIN_TIME, show_duration, show_instant
from streamlib.plan.bind import rewritten
from streamlib.plan.flow import Flow
from streamlib.plan.node import Read, Write, WriteLetters
from streamlib.plan.stream import Written
from streamlib.testing.compare import difference
from streamlib.testing.laws import check_laws
from streamlib.testing.recorded import recording
from streamlib.testing.replayed import ReplayedSource
from streamlib.testing.simulator import live
from streamlib.testing.windows_held import check_windows_of, event_times

Tables = Mapping[str, pa.Table]
WORKERS = (1, 2, 3)
LONGEST_CHUNKS = 64  # rows: a test's input has some hundred, and is to be cut often
MOST_CHUNKS = 100  # of a partition: each is a step of the job, and has costs of its own


def assert_parity(flow: Flow, *, seeds: Iterable[int] = range(10)) -> Tables:
    """Check that a flow gives the same rows as a batch and as a stream, however its input comes.

    The flow is run as it is, over the rows of its bounded sources: once as a batch, and for each seed
    as a stream whose input comes in other chunks, in another order within the bound of disorder, and
    to 1, 2 or 3 workers in turn. Sinks are replaced; nothing is written. Aggregates of your own have to
    keep their laws on the rows that they were given: put together in any order and grouping, these give
    the same. Where an operator says that it is `order_sensitive`, rows keep their order.

    Give it data with all that may come: some hundred rows, two partitions, nulls, equal times.

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
            Or an aggregate breaks a law, or windows hold a row twice (`CheckError`, in four parts).
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
    watched, aggregates = recording(flow)
    batch = watched.collect()
    check_laws(aggregates)
    for i, seed in enumerate(seeds):
        workers = WORKERS[i % len(WORKERS)]
        found = bench.reordered(seed).live(seed, crashes=0, workers=(workers,))
        of = f"{workers} worker{'s' if workers > 1 else ''}"
        _compare(batch, found.tables, f"the stream of seed {seed} is not the batch ({of})")
    return batch


def assert_survives(flow: Flow, *, seeds: Iterable[int] = range(10), crashes: int = 2) -> Tables:
    """Check that a flow loses and doubles nothing when the power fails and it starts again.

    For each seed the flow runs in the simulator, on a disk that forgets what was not synced, through
    power cuts at random steps, with its input in other chunks and 1 to 3 workers at every start, and
    checkpoints that are written some steps after they were taken. What is published in the end, and the
    number of late rows, have to be those of a run without power cuts. Sinks are replaced; no file is
    written. Aggregates of your own have to keep their laws, as in `assert_parity`.

    Args:
        flow: any flow over bounded sources; its rows may be late, and some should.
        seeds: of everything random, one life each; a failing seed fails again.
        crashes: power cuts in each life.

    Returns:
        The rows of every sink, by its name.

    Raises:
        AssertionError: the runs differ: says in which sink, the seed, and where the power failed.
            Or a snapshot changes after it was taken, an aggregate breaks a law, or windows hold a row
            twice (`CheckError`, in four parts).
        DefinitionError: an unbounded source.
    """
    bench = _Bench.of(flow)
    watched, aggregates = recording(flow)
    undisturbed = replace(bench, flow=watched).live(0, crashes=0)
    check_laws(aggregates)
    for seed in seeds:
        found = bench.live(seed, crashes=crashes, workers=WORKERS)
        where = "; ".join(found.crashes) or "no power cut"
        what = f"seed {seed} is not the undisturbed run ({where})"
        _compare(undisturbed.tables, found.tables, what)
        _compare_late_rows(undisturbed, found, what)
    return undisturbed.tables


@dataclass(frozen=True)
class _Ends:
    """What a life came to: the rows of the sinks by their names, and how many rows were late."""

    tables: Tables
    late_rows: int
    crashes: list[str]


@dataclass(frozen=True)
class _Bench:
    """A flow with the rows of its sources, ready to be run in the simulator."""

    flow: Flow
    rows: dict[str, dict[str, pa.Table]]
    broken: dict[str, dict[str, Sequence[Broken]]]

    @classmethod
    def of(cls, flow: Flow) -> _Bench:
        bound = flow.bind()
        found = {name: _all_rows(name, read.source) for name, (_, read) in bound.reads().items()}
        rows = {name: {p: table for p, (table, _) in parts.items()} for name, parts in found.items()}
        broken = {name: {p: broken for p, (_, broken) in parts.items()} for name, parts in found.items()}
        check_windows_of(bound, rows)
        return cls(flow, rows, broken)

    def live(self, seed: int, crashes: int, workers: Sequence[int] = (1,)) -> _Ends:
        """What the sinks hold in the end."""
        writes = self.flow.bind().writes()
        schemas = {f"/out/{name}": bound.input_types[0].schema for name, (bound, _) in writes.items()}
        outcome = live(
            lambda attempt: self._attempt(seed, attempt), schemas, seed, crashes=crashes, parallelism=workers
        )
        assert outcome.result is not None
        tables = {name: outcome.tables[f"/out/{name}"] for name in writes}
        return _Ends(tables, outcome.result.late_rows, outcome.crashes)

    def _attempt(self, seed: int, attempt: int) -> Flow:
        """The flow with its input cut anew, its rows of any time, and its output in `/out`."""
        chance = random.Random(f"{seed} {attempt}")
        specs: dict[int, Read | Write] = {}
        letters: dict[str, Sink] = {}
        for bound in self.flow.bind().nodes:
            spec = bound.node.spec
            if isinstance(spec, Read):
                least = -(-max(table.num_rows for table in self.rows[bound.id].values()) // MOST_CHUNKS) or 1
                chunk = chance.randint(least, max(LONGEST_CHUNKS, 2 * least))
                source = self._source(bound.id, chunk)
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

    def _source(self, name: str, chunk: int) -> Source:
        if any(self.broken[name].values()):
            return ReplayedSource(self.rows[name], self.broken[name], chunk)
        return memory.source(self.rows[name], chunk_rows=chunk)

    def reordered(self, seed: int) -> _Bench:
        """The same rows in another order, which the watermarks allow; in their own where that matters."""
        bound = self.flow.bind()
        if any(b.node.spec.order_sensitive for b in bound.nodes if isinstance(b.node.spec, OperatorSpec)):
            return self
        chance = np.random.default_rng(random.Random(f"{seed} order").getrandbits(64))
        rows = {
            name: {partition: _reordered(read, table, chance) for partition, table in self.rows[name].items()}
            for name, (_, read) in bound.reads().items()
        }
        return replace(self, rows=rows)

    def check_disorder(self) -> None:
        """Refuse rows that a stream may judge late."""
        for name, (_, read) in self.flow.bind().reads().items():
            for partition, table in self.rows[name].items():
                if read.watermark is not None and table.num_rows:
                    _check_disorder(name, partition, read, table)


def _reordered(read: Read, table: pa.Table, chance: np.random.Generator) -> pa.Table:
    """The rows in the order of their times, of which each was put off by less than the bound of disorder."""
    if not table.num_rows or (read.event_time is not None and read.watermark is None):
        return table
    if read.watermark is None:
        return table.take(chance.permutation(table.num_rows))
    times = event_times(read, table)
    return table.take(
        np.argsort(times + chance.integers(0, read.watermark.delay + 1, len(times)), kind="stable")
    )


def _check_disorder(source: str, partition: str, read: Read, table: pa.Table) -> None:
    assert read.watermark is not None
    times = event_times(read, table)
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


_Read = tuple[pa.Table, Sequence[Broken]]
"""The rows of a partition, and the records that can't be read."""


def _all_rows(name: str, source: Source) -> dict[str, _Read]:
    if not source.bounded:
        raise DefinitionError(
            f"source {name!r} never ends",
            expected="bounded sources, whose rows can be read again and again",
            found=repr(source),
            remedy="give rows: `flow.rebind(sources={...: memory.source(rows)})`",
        )
    return {partition: _read(source, partition) for partition in source.partitions()}


def _read(source: Source, partition: str) -> _Read:
    reader = source.open(partition, None, None)
    batches: list[pa.RecordBatch] = []
    broken: list[Broken] = []
    try:
        while (chunk := reader.read()) is not Pause.END:
            if chunk is not Pause.NOT_YET and not isinstance(chunk, Pause):
                batches += [chunk.rows] if chunk.rows.num_rows else []
                broken += chunk.broken
    finally:
        reader.close()
    return pa.Table.from_batches(batches, source.schema()), broken


def _compare(expected: Tables, found: Tables, what: str) -> None:
    for name, table in expected.items():
        text = difference(table, found[name])
        if text is not None:
            raise AssertionError(f"sink {name!r}: {what}\n{text}")


def _compare_late_rows(expected: _Ends, found: _Ends, what: str) -> None:
    if expected.late_rows != found.late_rows:
        raise AssertionError(
            f"{what}\nlate rows: {found.late_rows} instead of {expected.late_rows}; a counter that is not in "
            "the snapshot's `counters`, or not restored, is lost; without `deadline_after` which rows are "
            "late depends on batches"
        )
