"""The driver: reads partitions and steps the pipeline. Jobs and `collect` are built on it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress

from streamlib.core.contracts import Chunk, Counted, GivesCodes, KnowsTimes, Pause, Polled, TakesClock
from streamlib.core.errors import DefinitionError, SourceError
from streamlib.plan.bind import BoundFlow, BoundNode
from streamlib.plan.node import Read
from streamlib.runners.blame import blame, blaming
from streamlib.runners.feeds import Feed, Paced
from streamlib.runners.patience import ClockPatience
from streamlib.runners.reopening import Reopening
from streamlib.runners.world import World
from streamlib.runtime.crew import Crew
from streamlib.runtime.engine import Engine
from streamlib.runtime.parallel import ParallelEngine
from streamlib.runtime.pipeline import Mode, Pipeline
from streamlib.runtime.source_input import SourceInput

BATCH_ROWS = 131_072  # batch runs: per-batch costs vanish, and a few columns of so many rows stay in caches


class BatchSize:
    """How many rows enter at once: what there is when idle, more and more when behind.

    A step is kept near the target time, so that a backlog is worked off at full throughput while
    watermarks, signals and checkpoints still get their turn.
    """

    smallest, largest = 4_096, 65_536  # the kernels work in the cache, and larger batches leave it
    target = 0.05  # seconds a step may take: well below any checkpoint interval

    def __init__(
        self, rows: int = 16_384, smallest: int = smallest, largest: int = largest, *, waits: bool = False
    ) -> None:
        self.rows = rows
        self.waits = waits
        """Whether rows enter only while none before them waits for an answer from the outside."""
        self.smallest = smallest
        self.largest = largest

    def adapt(self, admitted: int, seconds: float) -> None:
        """Learn from a step that took so long."""
        if admitted >= self.rows and seconds < self.target / 2:
            self.rows = min(self.rows * 2, self.largest)
        elif seconds > self.target * 2:
            self.rows = max(self.rows // 2, self.smallest)


class Driver:
    """Partitions being read into a pipeline, whose operators a `crew` may share."""

    def __init__(
        self,
        flow: BoundFlow,
        mode: Mode,
        world: World,
        size: BatchSize | None = None,
        crew: Crew | None = None,
    ) -> None:
        if mode == "batch":
            _check_bounded(flow)
        self._world = world
        self._mode = mode
        self._feeds: list[tuple[SourceInput, str, Feed]] = []
        self._reopening = Reopening(world.clock)
        self._size = size or BatchSize()
        partitions = {name: _partitions(bound, read) for name, (bound, read) in flow.reads().items()}
        self.total_rows: int | None = None
        """Batch runs: rows of all sources, where they all know it."""
        self._crew = crew
        engine = Engine(flow, ClockPatience(world.clock)) if crew is None else ParallelEngine(flow, crew)
        self.pipeline = Pipeline(flow, partitions, mode, world.clock.monotonic(), engine)
        self._caller = world.caller() if engine.asks else None

    def start_workers(self) -> None:
        """Let the workers begin, where there are several; what follows need not wait for them."""
        if self._crew is not None:
            self._crew.start()

    def open(self) -> None:
        """Begin to read every partition that has not ended, where the pipeline's positions say.

        Batch runs do so when the time of a partition comes.
        """
        if self._mode == "batch":
            self.total_rows = self._count()
            self._ask_times()
            return
        for source in self.pipeline.sources.values():
            for partition, intake in source.intakes.items():
                if not intake.ended:
                    self._open(source, partition)

    def _ask_times(self) -> None:
        """How far back the partitions go that are not begun."""
        for source in self.pipeline.sources.values():
            column, asked = source.read.event_time_column(), source.read.source
            if column is None or not isinstance(asked, KnowsTimes):
                continue
            for partition, intake in source.intakes.items():
                if intake.start is None and not intake.ended:
                    with blaming(source.bound.node):
                        self.pipeline.begins(source.name, partition, asked.least_time(partition, column))

    def _open(self, source: SourceInput, partition: str) -> None:
        # only batch runs take their watermark from what follows
        column = source.read.event_time_column() if self._mode == "batch" else None
        source.open(partition)
        try:
            with blaming(source.bound.node):
                reader = source.read.source.open(partition, source.intakes[partition].reads_on_at, column)
        except Exception as error:
            if self._reopening.put_off(source, partition, error):
                return
            raise
        if source.codes and isinstance(reader, GivesCodes):
            reader.give_codes()
        if isinstance(source.read.source, Polled):
            reader = Paced(reader, source.read.source.every, self._world.clock)
        if self._mode == "streaming" and isinstance(reader, TakesClock):
            reader.take_clock(self._world.clock)
        self._feeds.append((source, partition, self._world.feed(source.read.source, reader)))

    def _count(self) -> int | None:
        total = 0
        for source in self.pipeline.sources.values():
            if not isinstance(source.read.source, Counted):
                return None
            with blaming(source.bound.node):
                total += source.read.source.row_count()
        return total

    def read(self) -> None:
        """Offer what was read to partitions that have room for it."""
        if self._mode == "batch":
            for source, partition in self.pipeline.to_open():
                self._open(source, partition)
        for source, partition in self._reopening.take_due() if self._reopening.due else ():
            self._open(source, partition)
        ended = [feed for feed in self._feeds if self._poll(*feed) is Pause.END]
        for feed in ended:
            self._feeds.remove(feed)
            source, partition, reading = feed
            with (
                suppress(Exception)
                if self._reopening.waits(source, partition)
                else blaming(source.bound.node)
            ):
                reading.close()

    def _poll(self, source: SourceInput, partition: str, feed: Feed) -> Chunk | Pause:
        intake = source.intakes[partition]
        if intake.has_rows and intake.waiting_rows >= self._limit:
            return Pause.NOT_YET
        try:
            found = feed.poll()
        except Exception as error:
            if self._reopening.put_off(source, partition, error):
                return Pause.END  # of this reader
            blame(source.bound.node, error)
            error.add_note(f"reading partition {partition!r} after {intake.rows:,} rows that entered")
            raise
        if isinstance(found, Chunk):
            if self._reopening.failed:
                self._reopening.works(source, partition)
            self.pipeline.offer(source.name, partition, found)
        elif found is Pause.END:
            self.pipeline.end(source.name, partition, self._world.clock.monotonic())
        return found

    def step(self) -> int:
        """Hand over answers and admit rows; how many of both."""
        answers = self._answer()
        if self.full:
            return answers
        clock = self._world.clock
        started = clock.monotonic()
        rows = self.pipeline.step(self._limit, started, clock.now())
        self._size.adapt(rows, clock.monotonic() - started)
        return rows + answers

    @property
    def full(self) -> bool:
        """Whether rows have to wait for answers from the outside."""
        engine = self.pipeline.engine
        return self._caller is not None and (engine.full or (self._size.waits and engine.waits))

    def tick(self, now: float) -> None:
        """The monotonic clock stands at `now`; calls to the outside begin that operators want by now."""
        self.pipeline.tick(now)
        self._call()

    def answered(self) -> bool:
        """Hand over answers; whether no row waits for one any more. Called when no rows are to enter."""
        self._answer()
        self.pipeline.settle()
        self._call()
        return not self.pipeline.engine.waits

    def _answer(self) -> int:
        answers = self._caller.answers() if self._caller is not None else ()
        if answers:
            self.pipeline.engine.answer(answers)
        return len(answers)

    def _call(self) -> None:
        if self._caller is not None:
            self._caller.begin(self.pipeline.engine.calls())

    @property
    def replayable(self) -> bool:
        """Whether what was read and did not enter can be read again."""
        return all(s.read.source.replay == "replayable" for s in self.pipeline.sources.values())

    @property
    def _limit(self) -> int:
        return self._size.rows if self._mode == "streaming" else BATCH_ROWS

    def close(self) -> None:
        """Close all readers and end the workers, whatever fails on the way."""
        with ExitStack() as last_first:
            if self._crew is not None:
                last_first.callback(self._crew.close)
            if self._caller is not None:
                last_first.callback(self._caller.close)
            for _, _, feed in self._feeds:
                last_first.callback(feed.close)
        self._feeds.clear()


def _check_bounded(flow: BoundFlow) -> None:
    """Refuse a batch over a source without an end."""
    for name, (bound, read) in flow.reads().items():
        if not read.source.bounded:
            raise bound.node.blame(
                DefinitionError(
                    f"source {name!r} has no end, so a batch over it would not either",
                    expected="bounded sources",
                    found=repr(read.source),
                    remedy="give a bounded one: `flow.backfill(sources={...})`, or run it as a stream",
                )
            )


def _partitions(bound: BoundNode, read: Read) -> Sequence[str]:
    with blaming(bound.node):
        partitions = read.source.partitions()
        if not partitions:
            raise SourceError(
                "the source has no partitions, so it would end before it began",
                expected="at least one partition",
                found=f"none in {read.source!r}",
                remedy="check what the source is to read: a topic or folder may not be there yet",
            )
    return partitions
