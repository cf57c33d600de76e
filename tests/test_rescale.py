"""From one checkpoint a job goes on with any number of workers, and ends as one worker that ran alone."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamlib as sl
from streamlib import windows
from streamlib.connectors import memory, parquet
from streamlib.plan.launch import JobOptions, JobResult
from streamlib.runners.crews import ThreadCrew
from streamlib.runners.job import Job
from streamlib.runners.processes import ProcessCrew
from streamlib.testing.disk import SimDisk, SimulatedCrash
from streamlib.testing.simulator import Moments, SimWorld, published
from tests.flows import SCHEMA, SECOND, UpdatingCase, applied_rows, random_rows, table_rows
from tests.graphs import Graph

WORKERS = (1, 2, 3, 4)
FEW = max(2, settings().max_examples // 40)  # each is up to six lives of a job
NUMBERED = SCHEMA.append(pa.field("nth", pa.int64()))
Found = dict[str, Any]


def numbered(count: int, row: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return count + 1, {**row, "nth": count}


def doubled(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "value": (row["value"] or 0) * 2}


class Keyed:
    """Python per record, states per key, tables of values and groups without a bound, side by side."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(f"keyed {seed}")
        rows = random_rows(chance)["p0"]  # one partition: the order of its rows is the order of a key's rows
        self._table = pa.Table.from_pylist(rows, SCHEMA)
        self._chunks = [chance.randint(1, 40) for _ in range(30)]
        self._every = chance.choice([2, 5, 9]) * SECOND

    def flow(self, attempt: int) -> sl.Flow:
        """The flow; every attempt gets its input in other chunks."""
        source = memory.source(self._table, chunk_rows=self._chunks[attempt])
        read = sl.read(
            source, name="rows", event_time="at", watermark=sl.bounded_disorder("3s"), max_ahead=None
        )
        stream = read.map(doubled, schema=SCHEMA).key_by("key")
        counted = stream.stateful_map(numbered, initial=0, state=int, schema=NUMBERED)
        once = stream.distinct("key", within=self._every)
        values = stream.window(windows.tumbling(self._every), allowed_lateness="4s").aggregate(
            middle=sl.median("value"), kinds=sl.count_distinct("value"), spread=sl.std("value")
        )
        groups = stream.aggregate(n=sl.count(), low=sl.min("value"), all=sl.collect("value"))
        return sl.Flow(
            "keyed",
            counted.write(parquet.sink("/out/counted"), name="counted"),
            once.write(parquet.sink("/out/once"), name="once"),
            once.late().write(parquet.sink("/out/late"), name="late"),
            stream.throttle(2, per=self._every).write(parquet.sink("/out/some"), name="some"),
            values.write(parquet.snapshot_sink("/out/values"), name="values"),
            groups.write(parquet.snapshot_sink("/out/groups"), name="groups"),
        )

    @property
    def schemas(self) -> dict[str, pa.Schema]:
        """The schemas of the output folders."""
        writes = self.flow(0).bind().writes()
        return {f"/out/{name}": bound.input_types[0].schema for name, (bound, _) in writes.items()}


KINDS = {"graph": Graph, "updating": UpdatingCase, "keyed": Keyed}


class Life:
    """A job on a disk that forgets: started again and again, with a number of workers each time."""

    def __init__(self, case: Any, seed: int, disk: SimDisk | None = None, attempts: int = 0) -> None:
        self._case = case
        self._seed = seed
        self._disk = disk or SimDisk()
        self._attempts = attempts
        self.result: JobResult | None = None
        self.moments = 0

    def attempt(self, workers: int, crash_at: int | None = None) -> bool:
        """Run until the moment of the crash, then lose what was not synced; whether the job finished."""
        moments = Moments(crash_at)
        number, self._attempts = self._attempts, self._attempts + 1
        world = SimWorld(self._disk, self._seed + number, moments)
        options = JobOptions("/state", "250ms", parallelism=workers)
        job = Job(self._case.flow(number), "streaming", options, world)
        try:
            job.start()
            self.result = job.run()
        except SimulatedCrash:
            self._disk.on_operation = _nothing
            self._disk.crash(random.Random(f"{self._seed} {number}"))
        self._disk.on_operation = _nothing
        self.moments = len(moments.names)
        return self.result is not None

    def forked(self) -> Life:
        """Another future of the same disk."""
        return Life(self._case, self._seed, copy.deepcopy(self._disk), self._attempts)

    def found(self) -> Found:
        """What readers see at the end: rows in an order of their own, changes as the table they come to."""
        assert self.result is not None
        found: Found = {"late rows": self.result.late_rows}
        for folder, schema in self._case.schemas.items():
            table = published(self._disk, folder, schema)
            found[folder] = applied_rows(table) if folder == "/out/changes" else _rounded(table_rows(table))
        return found


def _nothing(operation: str, path: str) -> None:
    """The hook of a disk that is only looked at."""


def _rounded(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The last bits of floats depend on the order of additions, which is that of workers; lists have none."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return sorted(value, key=repr)
        return round(value, 6) if isinstance(value, float) else value

    return sorted((tuple(map(plain, row)) for row in rows), key=repr)


def alone(case: Any, seed: int) -> Life:
    """One worker that nobody disturbed."""
    life = Life(case, seed)
    assert life.attempt(1)
    return life


SEEDS = st.integers(0, 10**6)
PARTS = st.floats(0, 1, exclude_max=True)
"""When an attempt ends: as a part of the moments that an undisturbed one has."""


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=FEW)
@given(seed=SEEDS, first=st.sampled_from(WORKERS), part=PARTS)
def test_from_one_checkpoint_every_number_of_workers_comes_to_the_same_end(kind, seed, first, part):
    case = KINDS[kind](seed)
    undisturbed = alone(case, seed)
    life = Life(case, seed)
    life.attempt(first, int(part * undisturbed.moments))
    for workers in WORKERS:
        future = life.forked()
        assert future.attempt(workers)
        assert future.found() == undisturbed.found(), f"{first} workers, then {workers}"


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=FEW)
@given(seed=SEEDS, order=st.permutations(WORKERS), parts=st.lists(PARTS, min_size=3, max_size=3))
def test_the_number_of_workers_may_change_with_every_start(kind, seed, order, parts):
    case = KINDS[kind](seed)
    undisturbed = alone(case, seed)
    life = changed_often(case, seed, order, [int(part * undisturbed.moments) for part in parts])
    assert life.found() == undisturbed.found(), str(order)


def changed_often(case: Any, seed: int, order: list[int], crashes: list[int]) -> Life:
    """A life in which each attempt has another number of workers, and all but the last crash."""
    life = Life(case, seed)
    for workers, crash_at in zip(order, [*crashes, None], strict=True):
        if life.attempt(workers, crash_at):
            break
    return life


@contextmanager
def crews(monkeypatch: pytest.MonkeyPatch, kind: type[ThreadCrew | ProcessCrew]) -> Iterator[None]:
    """Workers of simulated jobs are threads or processes that share every batch; all end, crash or not."""
    with ExitStack() as ends:

        def crew(world: SimWorld, flow: Any, size: int, _: str) -> ThreadCrew | ProcessCrew:
            made = kind(flow, size)
            made.piece = 1
            ends.callback(made.close)
            return made

        monkeypatch.setattr(SimWorld, "crew", crew)
        yield


def crashing_lives_are_as_undisturbed_ones(kind: str, seed: int) -> None:
    case, chance = KINDS[kind](seed), random.Random(f"rescale {seed}")
    undisturbed = alone(case, seed)
    order = chance.sample(WORKERS, 4)
    life = changed_often(case, seed, order, [chance.randrange(undisturbed.moments) for _ in range(3)])
    assert life.found() == undisturbed.found(), f"seed {seed}: {order}"


@pytest.mark.parametrize("kind", KINDS)
def test_threads_may_change_their_number_with_every_start(monkeypatch, kind):
    with crews(monkeypatch, ThreadCrew):
        for seed in range(3):
            crashing_lives_are_as_undisturbed_ones(kind, seed)


@pytest.mark.real
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_processes_may_change_their_number_with_every_start(monkeypatch, kind, seed):
    with crews(monkeypatch, ProcessCrew):
        crashing_lives_are_as_undisturbed_ones(kind, seed)
