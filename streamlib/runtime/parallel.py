"""Several workers as one engine: deals rows out, carries parcels to their owners, passes time on.

A wave begins with the rows of an admitted batch, in pieces, one a worker. Each worker takes its piece as
far as the first operators with state. Level by level parcels then reach their owners, first the rows,
then the watermark: it never overtakes a row. All of it is a function of the calls, so that the same
rows in the same batches give the same waves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from streamlib.core.batch import Batch
from streamlib.core.contracts import OperatorState
from streamlib.plan.bind import BoundFlow
from streamlib.runtime.crew import Crew
from streamlib.runtime.engine import Engine, Stage
from streamlib.runtime.placement import Placement, levels, placement
from streamlib.runtime.rescale import merged_states, split_states
from streamlib.runtime.worker import Parcel, Reply, Task


class ParallelEngine(Engine):
    """The engine's calls over a crew of workers.

    Its own operators see no rows: they answer what admission asks, and tell how time passes through
    the stateless ones.
    """

    def __init__(self, flow: BoundFlow, crew: Crew) -> None:
        super().__init__(flow)
        self._crew = crew
        self._places = [placement(stage) for stage in self._stages]
        self._levels = levels(flow, self._places)
        self._waiting: dict[int, list[Parcel]] = {}
        self._due: dict[int, int] = {}
        self._late = [0] * crew.size
        self._turn = 0

    # ------------------------------------------------------------------ rows and time

    def push(self, source: str, batch: Batch) -> None:
        """Rows of a source, admitted; operators with state get them with the next `advance`."""
        tasks = {worker: Task(rows=[(source, piece)]) for worker, piece in self._deal(batch)}
        self._run(tasks)

    def _deal(self, batch: Batch) -> list[tuple[int, Batch]]:
        """Pieces of the batch in order, each for a worker; small batches go to the workers in turn."""
        size, rows = self._crew.size, batch.num_rows
        pieces = max(1, min(size, rows // self._crew.piece))
        bounds = [rows * i // pieces for i in range(pieces + 1)]
        first, self._turn = self._turn, (self._turn + pieces) % size
        parts = [batch] if pieces == 1 else [batch.slice(bounds[i], bounds[i + 1]) for i in range(pieces)]
        return [((first + i) % size, part) for i, part in enumerate(parts)]

    def advance(self, source: str, watermark: int) -> None:
        """The source's watermark is now `watermark`; what stands before it reaches the operators first."""
        super().advance(source, watermark)
        self._settle()

    def _advance(self, stage: Stage, watermark: int) -> None:
        if self._places[stage.number] is not Placement.ANYWHERE:
            self._due[stage.number] = watermark
        elif stage.operator is None:
            stage.watermark = max(stage.watermark, watermark)
        else:
            self._forward(stage, stage.operator.output_watermark(watermark))

    def take_written(self) -> list[tuple[str, Batch]]:
        """What reached the sinks since the last call, in the order of pieces, then of workers."""
        self._settle()
        return super().take_written()

    # ------------------------------------------------------------------ waves

    def _settle(self) -> None:
        """Level by level: parcels to their owners, then time."""
        while self._waiting or self._due:
            level = min(self._levels[number] for number in (*self._waiting, *self._due))
            stages = [n for n, found in enumerate(self._levels) if found == level]
            parcels = [p for n in stages for p in self._waiting.pop(n, ())]
            due = {n: self._due.pop(n) for n in stages if n in self._due}
            self._pass(self._run(self._tasks(parcels, due)), due)

    def _tasks(self, parcels: Iterable[Parcel], due: Mapping[int, int]) -> dict[int, Task]:
        """The tasks by worker, in the order of workers; those without any are left out."""
        tasks = {worker: Task() for worker in range(self._crew.size)}
        for parcel in parcels:
            tasks[parcel.owner].parcels.append(parcel)
        for number, watermark in due.items():
            single = self._places[number] is Placement.SINGLE
            for worker in (0,) if single else range(self._crew.size):
                tasks[worker].watermarks[number] = watermark
        return {worker: task for worker, task in tasks.items() if task.parcels or task.watermarks}

    def _pass(self, replies: Sequence[Reply], due: Mapping[int, int]) -> None:
        """Pass on what the workers promise together: the least of it."""
        for number in due:
            promised = min(r.promises[number] for r in replies if number in r.promises)
            self._forward(self._stages[number], promised)

    def _run(self, tasks: Mapping[int, Task]) -> list[Reply]:
        replies = self._crew.run(tasks)
        for worker, reply in zip(tasks, replies, strict=True):
            self._written += reply.written
            self._late[worker] = reply.late_rows
            self.failures.merge(reply.failures)
            for parcel in reply.parcels:
                self._waiting.setdefault(parcel.stage, []).append(parcel)
        return replies

    # ------------------------------------------------------------------ state

    @property
    def late_rows(self) -> int:
        """Rows that were late for all their windows, summed over operators and workers."""
        return sum(self._late)

    def snapshot(self) -> dict[str, OperatorState]:
        """By id, the state of every stateful operator, as one worker that owned all of it would tell it."""
        self._settle()
        return merged_states(self._crew.snapshot())

    def restore(self, states: Mapping[str, OperatorState], watermarks: Mapping[str, int]) -> None:
        """Become what was captured, by however many workers."""
        self._crew.restore(split_states(states, self._crew.size))
        for source, watermark in watermarks.items():
            self.advance(source, watermark)
