"""A bound flow with its partitions: chunks go in, rows are admitted in order, captures come out.

Still pure: a runner reads the chunks, writes what comes out, and decides when to step. Two ways to
admit share everything else: `streaming` follows watermark strategies in arrival order, `batch`
takes the least event time not yet read as the watermark, so that nothing is late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from streamlib.core.batch import Batch
from streamlib.core.contracts import Chunk, Json, OperatorSpec, OperatorState
from streamlib.core.errors import InvariantError, SourceError, StreamlibError
from streamlib.core.letters import letters_from
from streamlib.core.origin import Origin
from streamlib.core.policies import dead_letter_of
from streamlib.core.time import MAX_TIME, MIN_TIME
from streamlib.core.watermarks import LAST_TIME, SourceWatermarks
from streamlib.plan.bind import BoundFlow
from streamlib.plan.node import WriteLetters
from streamlib.runtime.admission import FloorWatermarks, admit, check_newest, too_far_ahead
from streamlib.runtime.engine import Engine
from streamlib.runtime.rescue import Failures
from streamlib.runtime.source_input import SourceInput

Mode = Literal["streaming", "batch"]

MOST_OPEN = 32  # partitions of a batch: a reader may be ahead by 400,000 rows of some 40 bytes, in all 0.5 GB
READ_AHEAD = 3  # partitions of a batch that are opened: the one that enters, and one for each reader thread


@dataclass(frozen=True)
class Captured:
    """All state of a pipeline at a step boundary, in values that later steps don't change."""

    positions: dict[str, dict[str, Json]]
    watermarks: dict[str, Json]
    operators: dict[str, OperatorState]
    versions: dict[str, Json]
    failures: Json = field(default_factory=dict)


class Pipeline:
    """The engine, its sources, and the order in which rows enter.

    Args:
        flow: the bound flow.
        partitions: names of the partitions by source.
        mode: how rows are admitted and watermarks made.
        now: the monotonic clock, seconds.
        engine: that of several workers; by default the operators work right here.
    """

    def __init__(
        self,
        flow: BoundFlow,
        partitions: Mapping[str, Sequence[str]],
        mode: Mode,
        now: float,
        engine: Engine | None = None,
    ) -> None:
        self.engine = Engine(flow) if engine is None else engine
        self.mode = mode
        domains = _time_domains(flow)
        reads = flow.reads()
        self.sources = {
            name: SourceInput.of(bound, read, partitions[name], now, mode == "batch")
            for name, (bound, read) in reads.items()
        }
        for names in domains:
            aligned = mode == "batch" or all(reads[name][1].source.bounded for name in names)
            for name in names:
                self.sources[name].aligned = aligned
                self.sources[name].stamps = self.engine.judges_stamped(name, aligned)
                self.sources[name].codes = _takes_codes(flow, name)
                self.sources[name].tells_origin = _has_letters(flow, name)
        self._domains = [[self.sources[name] for name in names] for names in domains]
        self._may_idle = [s for s in self.sources.values() if s.idle_after is not None]

    # ------------------------------------------------------------------ what comes in

    def offer(self, source: str, partition: str, chunk: Chunk) -> None:
        """Rows that were read; they wait until they are admitted."""
        found = self.sources[source]
        found.open(partition)
        try:
            found.intakes[partition].offer(chunk)
        except StreamlibError as error:
            raise found.blame(partition, error) from error.__cause__

    def end(self, source: str, partition: str, now: float) -> None:
        """Nothing more will be read from a partition."""
        found = self.sources[source]
        found.open(partition)
        try:
            found.intakes[partition].end()
        except StreamlibError as error:
            raise found.blame(partition, error) from error.__cause__
        self._finish_if_ended(found, partition)
        self._advance(found, now)

    def begins(self, source: str, partition: str, least: int | None) -> None:
        """The least event time of a partition of a batch run, before anything of it was read."""
        marks = self.sources[source].watermarks
        assert isinstance(marks, FloorWatermarks)
        marks.read_to(partition, least)

    def step(self, limit: int, now: float, wall: int) -> int:
        """Admit up to `limit` rows in every time domain and advance the watermarks; the rows admitted."""
        rows = 0
        for sources in self._domains:
            rows += self._step_domain(sources, limit, now, wall)
        return rows

    def _step_domain(self, sources: list[SourceInput], limit: int, now: float, wall: int) -> int:
        waiting: list[tuple[SourceInput, str]] = []
        for source, partition in self._candidates(sources):
            if source.intakes[partition].has_rows:
                rows = self._admit(source, partition, limit, now, wall)
                if rows:
                    return rows
                if source.aligned:
                    self._check_may_wait(source, partition)
                    waiting.append((source, partition))
            elif source.aligned:
                return 0  # the others wait until this partition's rows are read
        # where operators hold watermarks back, sources can wait for each other
        return self._admit(*waiting[0], limit, now, wall, wait=False) if waiting else 0

    def _check_may_wait(self, source: SourceInput, partition: str) -> None:
        """The partition that is furthest behind has nobody to wait for, unless operators delay others."""
        if not self.engine.delays:
            raise InvariantError(
                f"partition {partition!r} of {source.name!r}, furthest behind, was told to wait",
                found=self.engine.story(),
            )

    def _candidates(self, sources: list[SourceInput]) -> list[tuple[SourceInput, str]]:
        """Partitions that may enter, the one furthest behind first.

        Of those that are not read yet none, where as many are open as may be: the least event time
        in them still holds the watermark.
        """
        # what is read to its end is not counted, whether the reader has told so yet or not
        by_time = self.mode == "batch"
        full = by_time and sum(s.behind(p) < LAST_TIME for s in sources for p in s.opened) >= MOST_OPEN
        found: list[tuple[SourceInput, str]] = []
        for source in sources:
            upcoming = () if full or not by_time else reversed(source.unopened[-READ_AHEAD:])
            partitions = (*source.opened, *upcoming) if by_time else source.intakes
            found += [(source, partition) for partition in partitions if source.holds(partition)]
        if len(found) > 1:
            found.sort(key=lambda one: (one[0].behind(one[1]), sources.index(one[0]), one[0].places[one[1]]))
        return found

    def to_open(self) -> list[tuple[SourceInput, str]]:
        """Partitions that are to be read now or soon, and are not yet."""
        found: list[tuple[SourceInput, str]] = []
        for sources in self._domains:
            upcoming = self._candidates(sources)[:READ_AHEAD]
            found += [(s, p) for s, p in upcoming if s.by_time and p not in s.opened]
        return found

    def _admit(
        self, source: SourceInput, partition: str, limit: int, now: float, wall: int, *, wait: bool = True
    ) -> int:
        intake = source.intakes[partition]
        if intake.passes_over:
            return self._pass_over(source, partition, now, wall)
        batch = intake.front(limit)
        if isinstance(source.watermarks, SourceWatermarks) and batch.event_time is not None:
            limit_ahead = source.read.max_ahead
            if limit_ahead is not None and batch.time_bounds[1] > wall + limit_ahead:
                rows = np.flatnonzero(batch.event_time > wall + limit_ahead)
                times = batch.event_time.take(rows)
                self._leave_out(source, partition, rows.tolist(), times.tolist(), wall)
                return self._admit(source, partition, limit, now, wall, wait=wait)
            batch = admit(
                self.engine,
                source.name,
                source.watermarks,
                partition,
                batch,
                source.aligned and wait,
                source.stamps,
            )
        if batch.num_rows:
            self._enter(source, partition, batch, now)
        return batch.num_rows

    def _leave_out(
        self, source: SourceInput, partition: str, rows: list[int], times: list[int], wall: int
    ) -> None:
        """Rows at the front that are too far ahead are lost, or the first of them stops the job."""
        intake, limit = source.intakes[partition], source.read.max_ahead
        assert limit is not None
        ahead = zip(rows, times, strict=True)
        failed = [(row, too_far_ahead(intake.number_of(row), time, limit, wall)) for row, time in ahead]
        if not source.rescues:
            raise source.blame(partition, failed[0][1])
        intake.lose(failed)

    def _pass_over(self, source: SourceInput, partition: str, now: float, wall: int) -> int:
        """What comes next are no rows: either they were not read, or none can enter.

        Rows that were not read count, and time goes on as if they had been there.
        """
        intake = source.intakes[partition]
        before = intake.rows
        left_out, floor = intake.pass_over()
        self._lose(source, partition)
        if left_out.newest is None:
            if isinstance(source.watermarks, FloorWatermarks) and floor is not None:
                source.watermarks.read_to(partition, floor)
        else:
            if isinstance(source.watermarks, SourceWatermarks):
                try:
                    check_newest(left_out.newest, source.read.max_ahead, wall)
                except StreamlibError as error:
                    raise source.blame(partition, error) from error.__cause__
            self._time_passed(source, partition, left_out.newest, floor, now)
        self._finish_if_ended(source, partition)
        self._advance(source, now)
        return intake.rows - before

    def _lose(self, source: SourceInput, partition: str) -> None:
        """Records among those that entered were lost: they are counted, or dead letters."""
        lost = source.intakes[partition].take_lost()
        if lost:
            letters = None
            if dead_letter_of(source.bound.node.on_error) is not None:
                records = [(each.position, each.error, each.record) for each in lost]
                letters = letters_from(source.name, partition, records)
            self.engine.lose(source.name, len(lost), letters)

    def _time_passed(
        self, source: SourceInput, partition: str, newest: int, floor: int | None, now: float
    ) -> None:
        source.newest = max(source.newest, newest)
        if isinstance(source.watermarks, SourceWatermarks):
            source.watermarks.observe(partition, newest, now)
        elif floor is not None:
            source.watermarks.read_to(partition, floor)

    def _enter(self, source: SourceInput, partition: str, batch: Batch, now: float) -> None:
        if source.tells_origin:
            numbers = source.intakes[partition].numbers_of(batch.num_rows)
            batch.origin = Origin(source.name, partition, numbers)
        floor = source.intakes[partition].enter(batch.num_rows)
        if source.rescues:
            self._lose(source, partition)
        self.engine.push(source.name, batch)
        if batch.event_time is not None:
            self._time_passed(source, partition, batch.time_bounds[1], floor, now)
        self._finish_if_ended(source, partition)
        self._advance(source, now)

    def _finish_if_ended(self, source: SourceInput, partition: str) -> None:
        if source.intakes[partition].ended:
            source.watermarks.finish(partition)
            source.opened.pop(partition, None)

    def tick(self, now: float) -> None:
        """Time passed: silent partitions become idle, and watermarks move without rows."""
        self.engine.tick(now)
        for source in self._may_idle:
            assert isinstance(source.watermarks, SourceWatermarks)
            waiting = [name for name, intake in source.intakes.items() if intake.has_rows]
            source.watermarks.tick(now, waiting)
            self._advance(source, now)

    def finish(self) -> None:
        """Close all windows, whatever the sources still hold; the job can't go on afterwards."""
        for source in self.sources.values():
            self.engine.advance(source.name, MAX_TIME)

    def _advance(self, source: SourceInput, now: float) -> None:
        self.engine.advance(source.name, source.watermarks.combine(now))

    # ------------------------------------------------------------------ what is known

    @property
    def finished(self) -> bool:
        """Whether every partition ended, all its rows entered, and no row waits for an answer."""
        for source in self.sources.values():
            if not source.ended:
                return False
        return not self.engine.waits

    @property
    def rows(self) -> int:
        """Rows that entered since the job began."""
        return sum(i.rows for s in self.sources.values() for i in s.intakes.values())

    @property
    def newest(self) -> int:
        """The largest event time that entered; `MIN_TIME` before the first."""
        return max((s.newest for s in self.sources.values()), default=MIN_TIME)

    @property
    def watermark(self) -> int:
        """The least watermark of the sources."""
        marks = [self.engine.source_watermark(name) for name in self.sources]
        return min(marks, default=MAX_TIME)

    def settle(self) -> None:
        """All rows that entered reach the operators, and what comes of them can be taken."""
        self.engine.settle()

    def take_written(self) -> list[tuple[str, Batch]]:
        """What reached the sinks since the last call; not of all rows that entered, unless settled."""
        return self.engine.take_written()

    # ------------------------------------------------------------------ state

    def capture(self) -> Captured:
        """Everything a restart needs, as of now; call between steps only."""
        return Captured(
            {s.name: {p: i.snapshot() for p, i in s.intakes.items()} for s in self.sources.values()},
            {s.name: {"marks": s.watermarks.snapshot(), "newest": s.newest} for s in self.sources.values()},
            self.engine.snapshot(),
            self.engine.versions(),
            self.engine.count_failures().snapshot(),
        )

    def restore(self, captured: Captured, now: float) -> None:
        """Become what `capture` saw. Raises before anything changes if the flow does not fit."""
        self.engine.check_versions(captured.versions)
        self.engine.failures = Failures.of(captured.failures)
        for name, positions in captured.positions.items():
            self._check_partitions(name, positions)
        for name, source in self.sources.items():
            for partition, position in captured.positions.get(name, {}).items():
                if partition in source.intakes:
                    source.intakes[partition].restore(position)
            known = captured.watermarks.get(name)
            if known is not None:
                source.newest = known["newest"]
                source.watermarks.restore(known["marks"], now)
        marks = {name: source.watermarks.combine(now) for name, source in self.sources.items()}
        self.engine.restore(captured.operators, marks)

    def _check_partitions(self, name: str, positions: Mapping[str, Json]) -> None:
        if name not in self.sources:
            raise SourceError(
                f"the checkpoint has positions of a source {name!r} that the flow does not have",
                expected=f"sources {', '.join(self.sources)}",
                found=repr(name),
                remedy="keep the source's name, or start anew with another state folder",
            )
        for partition, position in positions.items():
            if partition not in self.sources[name].intakes and not position["ended"]:
                raise SourceError(
                    f"partition {partition!r} of source {name!r} is gone",
                    expected=f"the rest of it, after {position['rows']:,} rows that were read",
                    found=f"partitions {', '.join(self.sources[name].intakes) or 'none'}",
                    remedy="put it back, or start anew with another state folder",
                )


def _has_letters(flow: BoundFlow, source: str) -> bool:
    """Whether rows of a source may become dead letters below it."""
    below = (bound.node for bound in flow.nodes if source in bound.sources and bound.inputs)
    return any(dead_letter_of(node.on_error) is not None for node in below)


def _takes_codes(flow: BoundFlow, source: str) -> bool:
    specs = (bound.node.spec for bound in flow.nodes if source in bound.sources)
    return all(spec.takes_codes for spec in specs if isinstance(spec, OperatorSpec))


def _time_domains(flow: BoundFlow) -> list[list[str]]:
    """The sources, together where some operator sees rows of both: they share their time."""
    domains: list[set[str]] = [{name} for name in flow.reads()]
    for bound in flow.nodes:
        if isinstance(bound.node.spec, WriteLetters):
            continue  # who share a sink of dead letters need not wait for each other
        touched = [d for d in domains if d & bound.sources]
        if len(touched) > 1:
            domains = [d for d in domains if d not in touched] + [set().union(*touched)]
    return [[name for name in flow.reads() if name in domain] for domain in domains]
