"""A deterministic simulator: a flow under power cuts, replayed exactly from a seed.

The same `Job` that runs on a real machine runs here in a world whose disk forgets what was not
synced, whose clock is seeded, whose sources stutter, and which can end before any step. After each
power cut a new attempt starts on what the disk kept. What is published in the end has to equal the
output of a run that was never disturbed.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from streamlib.core.contracts import Chunk, Clock, Disk, Pause, Source, SourceReader
from streamlib.core.time import SECOND
from streamlib.operators.grouping import decoded_type
from streamlib.plan.bind import BoundFlow
from streamlib.plan.flow import Flow
from streamlib.plan.launch import JobOptions, JobResult
from streamlib.runners.crews import CrewKind
from streamlib.runners.feeds import Feed
from streamlib.runners.job import CHECKPOINT_LANE, Job
from streamlib.runners.lanes import Lane
from streamlib.runners.patience import ClockPatience
from streamlib.runtime.crew import Crew, InlineCrew
from streamlib.runtime.pipeline import Captured
from streamlib.testing.disk import SimDisk, SimulatedCrash
from streamlib.testing.late_lanes import LateLanes
from streamlib.testing.snapshots import SnapshotGuard

if TYPE_CHECKING:
    from streamlib.testing.calls import SimCaller

COMMITTED = "sink commit: sync_dir (output)"
"""The moment by which the first rows are published."""
RESTART_MOMENTS = 80  # about as many as taking the job over, restoring it and opening the sinks have
FOLDERS = ("manifests", "data", "locks", "state")
MAX_ATTEMPTS = 20  # starts of one job: crashes are drawn for the first few, the rest must get through


class SimClock:
    """A clock that starts anywhere and moves a random bit every time it is read."""

    def __init__(self, chance: random.Random, on_wait: Callable[[], None] = lambda: None) -> None:
        self._chance = chance
        self._on_wait = on_wait
        self._seconds = chance.uniform(0, 1e6)
        self._epoch = 1_700_000_000 * SECOND + chance.randrange(10**9) * SECOND

    def now(self) -> int:
        """Microseconds since the epoch."""
        return self._epoch + round(self.monotonic() * SECOND)

    def monotonic(self) -> float:
        """Seconds; up to 20 ms pass with every look."""
        self._seconds += self._chance.uniform(0, 0.02)
        return self._seconds

    def skip(self, seconds: float) -> None:
        """That much time passes at once."""
        self._seconds += seconds

    def wait(self, seconds: float) -> None:
        """That much time passes at once; the lanes get on."""
        self.skip(seconds)
        self._on_wait()


class Moments:
    """Counts the moments at which the world can end, names each, and ends it at the chosen one."""

    def __init__(self, crash_at: int | None) -> None:
        self.crash_at = crash_at
        self.names: list[str] = []
        self.phase = "start"

    def __call__(self, name: str) -> None:
        """A moment of the current phase: the world ends before it, or goes on."""
        self.names.append(f"{self.phase}: {name}")
        if self.crash_at is not None and len(self.names) > self.crash_at:
            raise SimulatedCrash(self.crashed_at)

    @property
    def crashed_at(self) -> str:
        """The name of the moment at which the world ended; what was tried afterwards did not happen."""
        assert self.crash_at is not None
        return self.names[self.crash_at]

    def on_disk(self, operation: str, path: str) -> None:
        """The hook of `SimDisk`."""
        folder = next((part for part in FOLDERS if f"/{part}" in path), "output")
        self(f"{operation} ({folder})")

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Moments inside belong to `phase`."""
        before, self.phase = self.phase, phase
        yield
        self.phase = before  # not after a crash: its name has to stay


class _SimFeed:
    """A reader that has nothing for a while, now and then."""

    def __init__(
        self, reader: SourceReader, clock: SimClock, chance: random.Random, moments: Moments, lanes: LateLanes
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._chance = chance
        self._moments = moments
        self._lanes = lanes

    def poll(self) -> Chunk | Pause:
        """A chunk, unless the source stutters; time passes, however seldom the job looks at the clock."""
        self._moments("read")
        self._clock.skip(self._chance.uniform(0, 0.02))
        self._lanes.step()
        return Pause.NOT_YET if self._chance.random() < 0.2 else self._reader.read()

    def close(self) -> None:
        """Close the reader."""
        self._reader.close()


class SimWorld:
    """One attempt's world on a disk that outlives it."""

    def __init__(self, disk: SimDisk, seed: int, moments: Moments) -> None:
        self._chance = random.Random(seed)
        self._seed = seed
        self._moments = moments
        self._lanes = LateLanes(random.Random(f"{seed} lanes"), moments.during)
        self._clock = SimClock(self._chance, self._lanes.step)
        self._disk = disk
        disk.on_operation = moments.on_disk

    @property
    def disk(self) -> Disk:
        """The simulated disk."""
        return self._disk

    @property
    def clock(self) -> Clock:
        """The simulated clock."""
        return self._clock

    def new_id(self) -> str:
        """Hex digits from the seed."""
        return f"{self._chance.getrandbits(64):016x}"

    def lane(self, name: str) -> Lane:
        """A lane that runs its calls some steps later."""
        return self._lanes.lane("store" if name == CHECKPOINT_LANE else "sink")

    def feed(self, source: Source, reader: SourceReader) -> Feed:
        """A stuttering reader."""
        return _SimFeed(reader, self._clock, self._chance, self._moments, self._lanes)

    def crew(self, flow: BoundFlow, size: int, kind: CrewKind) -> Crew:
        """Workers that take turns in this thread."""
        return InlineCrew(flow, size, ClockPatience(self._clock, f"{self._seed} retries"))

    def caller(self) -> SimCaller:
        """Makes calls one after another; their answers come some steps later."""
        # asyncio takes 30 ms that a run without calls does not pay
        from streamlib.testing.calls import SimCaller  # noqa: PLC0415

        clock, chance = self._clock, random.Random(f"{self._seed} calls")
        return SimCaller(clock.monotonic, clock.skip, chance, self._moments)

    def close(self) -> None:
        """Nothing to end."""


@dataclass
class Outcome:
    """What a simulated life of a job came to.

    Attributes:
        tables: by output folder, all rows that readers see at the end.
        result: of the attempt that finished.
        crashes: the names of the moments at which attempts ended.
        crashed_after_commit: how many of them came after rows had been published.
    """

    tables: dict[str, pa.Table]
    result: JobResult | None
    crashes: list[str] = field(default_factory=list)
    crashed_after_commit: int = 0


def live(
    make_flow: Callable[[int], Flow],
    outputs: dict[str, pa.Schema],
    seed: int,
    *,
    crashes: int,
    interval: str = "250ms",
    parallelism: Sequence[int] = (1,),
) -> Outcome:
    """Run a job to its end through `crashes` power cuts, all drawn from `seed`.

    Args:
        make_flow: the flow for an attempt, given the attempt's number: it may cut its input into
            other chunks each time, but must read the same rows.
        outputs: folders of the staged sinks, with the schemas of their rows.
        seed: everything random comes from it.
        crashes: how many attempts end early.
        interval: the checkpoint interval, in simulated time.
        parallelism: numbers of workers, of which every attempt gets one.
    """
    chance = random.Random(seed)
    disk = SimDisk()
    outcome = Outcome({}, None)
    workers = random.Random(f"{seed} workers").choices(parallelism, k=MAX_ATTEMPTS)
    moments_before = _undisturbed_moments(make_flow, seed, interval) if crashes else []
    for attempt in range(MAX_ATTEMPTS):
        crash_at = None
        if len(outcome.crashes) < crashes:
            crash_at = _crash_point(chance, moments_before, first=not outcome.crashes)
        moments = Moments(crash_at)
        try:
            options = JobOptions("/state", interval, parallelism=workers[attempt])
            outcome.result = _attempt(make_flow(attempt), disk, seed + attempt, moments, options)
        except SimulatedCrash:
            disk.on_operation = _unwatched
            outcome.crashes.append(moments.crashed_at)
            outcome.crashed_after_commit += any(disk.list(folder) for folder in outputs)
            disk.crash(chance)
            continue
        disk.on_operation = _unwatched
        outcome.tables = {folder: published(disk, folder, schema) for folder, schema in outputs.items()}
        return outcome
    raise AssertionError(f"seed {seed}: no attempt of {MAX_ATTEMPTS} finished")


def _unwatched(operation: str, path: str) -> None:
    """The hook of a disk that is only looked at."""


def _attempt(flow: Flow, disk: SimDisk, seed: int, moments: Moments, options: JobOptions) -> JobResult:
    world = SimWorld(disk, seed, moments)
    job = _SimJob(flow, "streaming", options, world)
    job.start()
    moments.phase = "run"
    return job.run()


class _SimJob(Job):
    """A job that notices when a snapshot changes after it was taken."""

    _guard: SnapshotGuard | None = None

    def capture(self) -> Captured:
        if self._guard is None:
            self._guard = SnapshotGuard(self.flow.bind())
        captured = super().capture()
        self._guard.watch(captured.operators)
        return captured


def _undisturbed_moments(make_flow: Callable[[int], Flow], seed: int, interval: str) -> list[str]:
    moments = Moments(None)
    _attempt(make_flow(0), SimDisk(), seed, moments, JobOptions("/state", interval))
    return moments.names


def _crash_point(chance: random.Random, moments: list[str], first: bool) -> int:
    """The index of a moment to end at: any step of the protocol is as likely as any other.

    Three in four come after the first commit. Of later attempts half end while they restart, the
    others in what would be the first half of an undisturbed run: they have less left to do.
    """
    if not first and chance.random() < 0.5:
        return chance.randrange(RESTART_MOMENTS)
    if not first:
        return _crash_point_of_any_step(chance, moments[: len(moments) // 2])
    if chance.random() < 0.75 and COMMITTED in moments:
        skipped = moments.index(COMMITTED)
        return skipped + _crash_point_of_any_step(chance, moments[skipped:])
    return _crash_point_of_any_step(chance, moments)


def _crash_point_of_any_step(chance: random.Random, moments: list[str]) -> int:
    step = chance.choice(sorted(set(moments)))
    return chance.choice([i for i, name in enumerate(moments) if name == step])


def published(disk: Disk, folder: str, schema: pa.Schema) -> pa.Table:
    """All rows in the Parquet files of a folder, sorted by every column that has an order.

    Dictionaries are decoded: files of other attempts may have others.
    """
    tables = [_decoded(pq.read_table(pa.BufferReader(disk.read(f"{folder}/{n}")))) for n in disk.list(folder)]
    table = pa.concat_tables(tables) if tables else _decoded(schema.empty_table())
    ordered = [(f.name, "ascending") for f in table.schema if not pa.types.is_nested(f.type)]
    return table.sort_by(ordered) if ordered else table


def _decoded(table: pa.Table) -> pa.Table:
    """The table with plain columns in the place of those with dictionaries, at the top."""
    fields = [field.with_type(decoded_type(field.type)) for field in table.schema]
    return table.cast(pa.schema(fields, table.schema.metadata))


def crash_table(outcomes: list[Outcome]) -> str:
    """How many crashes hit each step of the protocol, as text."""
    counts = Counter(name for outcome in outcomes for name in outcome.crashes)
    total, after = sum(counts.values()), sum(o.crashed_after_commit for o in outcomes)
    lines = [f"{total} crashes in {len(outcomes)} lives, {after} of them after rows were published"]
    lines += [f"  {count:5}  {name}" for name, count in sorted(counts.items())]
    return "\n".join(lines)
