"""Several workers as one engine: deals rows out, carries parcels to their owners, passes time on.

Batches go to the workers, in pieces or in turn. Each worker takes its rows as far as the first operators
with state. There they gather until a *wave* is due: level by level parcels reach their owners, first the
rows, then the watermark, which never overtakes a row. What the workers do meanwhile is not waited for,
and replies are taken in the order of tasks, so that the same calls give the same waves and rows.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future

from streamlib.core.batch import Batch
from streamlib.core.contracts import Combines, Operator, OperatorState, Output
from streamlib.core.time import MIN_TIME
from streamlib.plan.bind import BoundFlow
from streamlib.runtime.crew import Crew
from streamlib.runtime.engine import Engine, Stage, blaming, restore_into, snapshot_of
from streamlib.runtime.placement import Placement, levels, placement
from streamlib.runtime.rescale import merged_states, split_states
from streamlib.runtime.worker import Parcel, Reply, Task

GATHERED_ROWS = 1_048_576  # rows until a wave: with some columns of 8 bytes about 50 MB on the workers
GATHERED_BATCHES = 64  # of few rows each: partials of a batch have a cost of their own, however few rows
GATHERED_SECONDS = 0.1  # how long an update, or rows for a process function, may wait for others that come
ALONE_SECONDS = 0.01  # between waves because none come: a wave takes below 1 ms, so below a tenth of the time
AHEAD = 2  # tasks a worker may have: one to do, one to go on with when that is done


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
        self._last = max(self._levels, default=0)
        self._dealt: dict[int, list[tuple[int, int, Batch]]] = {}
        self._tasks: deque[tuple[int, Future[Reply]]] = deque()
        self._gathered: list[frozenset[int]] = [frozenset()] * crew.size
        self._waiting: dict[int, list[Parcel]] = {}
        self._due: dict[int, int] = {}
        self._held: dict[int, int] = {}
        self._next = dict.fromkeys(self._judges, MIN_TIME)
        self._rows = self._batches = 0
        self._since: float | None = None
        self._company = False
        self._ticked = -math.inf  # when `tick` began a wave
        self._late = [0] * crew.size
        self._turn = 0

    # ------------------------------------------------------------------ rows and time

    def push(self, source: str, batch: Batch) -> None:
        """Rows of a source, admitted; operators with state get them with the next wave."""
        self._push(self._sources[source], 0, batch)

    def _push(self, stage: Stage, output: int, batch: Batch) -> None:
        """Rows that came out of a stage beside the workers, mostly a source, go to workers."""
        self._send_rows()  # what came before: a worker's task holds rows of one batch, or order would be lost
        self._rows += batch.num_rows
        self._batches += 1
        self._company = True
        for worker, piece in self._deal(batch):
            self._dealt.setdefault(worker, []).append((stage.number, output, piece))

    def _deal(self, batch: Batch) -> list[tuple[int, Batch]]:
        """Pieces of the batch in order, each for a worker; small batches go to the workers in turn."""
        size, rows = self._crew.size, batch.num_rows
        pieces = max(1, min(size, rows // self._crew.piece))
        bounds = [rows * i // pieces for i in range(pieces + 1)]
        first, self._turn = self._turn, (self._turn + pieces) % size
        parts = [batch] if pieces == 1 else [batch.slice(bounds[i], bounds[i + 1]) for i in range(pieces)]
        return [((first + i) % size, part) for i, part in enumerate(parts)]

    def advance(self, source: str, watermark: int) -> None:
        """The source's watermark is now `watermark`; operators hear of it when it decides something."""
        self._advance_from(self._sources[source], watermark)

    def _advance_from(self, stage: Stage, watermark: int) -> None:
        number = stage.number
        if watermark > self._held.get(number, stage.watermark):
            self._held[number] = watermark
        decides = number in self._held and watermark >= self._next[number]
        if decides or self._rows >= GATHERED_ROWS or self._batches >= GATHERED_BATCHES:
            self._wave()
        else:
            self._send_rows()

    def source_watermark(self, source: str) -> int:
        """The watermark that a source has passed on."""
        return self._held.get(self._sources[source].number, super().source_watermark(source))

    def tick(self, now: float) -> None:
        """Rows that gathered reach their operators when none came since the last tick, or after a while."""
        alone, self._company = not self._company, False
        if not self._rows and not self._held:
            self._since = None
            return
        if self._since is None:
            self._since = now
        at_once = alone and self._idle and now - self._ticked >= ALONE_SECONDS
        if at_once or now - self._since >= GATHERED_SECONDS:
            self._ticked = now
            self._wave()

    @property
    def _idle(self) -> bool:
        """Whether the workers have nothing to do: a wave would make nobody wait."""
        return all(future.done() for _, future in self._tasks)

    def settle(self) -> None:
        """All rows and watermarks reach the operators, and what comes of them the sinks."""
        self._wave()
        self._receive(0)

    def _advance(self, stage: Stage, watermark: int) -> None:
        if self._places[stage.number] is not Placement.ANYWHERE:
            self._due[stage.number] = watermark
        elif stage.operator is None:
            stage.watermark = max(stage.watermark, watermark)
        else:
            self._forward(stage, stage.operator.output_watermark(watermark))

    def take_written(self) -> list[tuple[str, Batch]]:
        """What reached the sinks since the last call, in the order of pieces, then of workers."""
        while self._tasks and self._tasks[0][1].done():
            self._receive(len(self._tasks) - 1)
        return super().take_written()

    # ------------------------------------------------------------------ waves

    def _wave(self) -> None:
        """Level by level: parcels to their owners, then time. The last level is not waited for."""
        if not (self._dealt or self._held or self._tasks or self._waiting or any(self._gathered)):
            return
        for origin, watermark in self._held.items():
            self._forward(self._stages[origin], watermark)
            self._next[origin] = self._deadline_below(self._stages[origin], watermark)
        self._held.clear()
        self._rows = self._batches = 0
        self._since = None
        self._send_rows(self._combining(1))
        while self._last:
            self._receive(0)
            number = min(
                (*self._waiting, *self._due, *frozenset().union(*self._gathered)),
                key=self._levels.__getitem__,
                default=None,
            )
            if number is None or self._pass_level(self._levels[number]):
                return

    def _combining(self, level: int) -> tuple[int, ...]:
        """The operators of a level for which partials gather."""
        return tuple(
            stage.number
            for stage in self._stages
            if self._levels[stage.number] == level and isinstance(stage.operator, Combines)
        )

    def _send_rows(self, asked: tuple[int, ...] = ()) -> None:
        """The rows that were dealt go to their workers, who then hand over what gathered for `asked`."""
        tasks = {worker: Task(rows, asked=asked) for worker, rows in self._dealt.items()}
        self._dealt = {}
        if asked:
            for worker in range(self._crew.size):
                tasks.setdefault(worker, Task(asked=asked))
        self._send(tasks)

    def _pass_level(self, level: int) -> bool:
        """Take a level to its rows and its time; whether that was the last."""
        stages = [number for number, found in enumerate(self._levels) if found == level]
        for number in stages:
            if self._places[number] is Placement.BESIDE:
                self._work_beside(self._stages[number])
        gathered = {w for w, found in enumerate(self._gathered) if not found.isdisjoint(stages)}
        if gathered:  # before the watermark comes
            self._send({worker: Task(asked=tuple(stages)) for worker in sorted(gathered)})
            return False
        parcels = [parcel for n in stages for parcel in self._waiting.pop(n, ())]
        due = {n: self._due.pop(n) for n in stages if n in self._due}
        self._send(self._of_level(parcels, due, self._combining(level + 1)))
        if level == self._last:
            return True
        self._pass(self._receive(0), due)
        return False

    def _work_beside(self, stage: Stage) -> None:
        """Take a stage that works here to its rows and its time, and deal out what it sends on."""
        for parcel in self._waiting.pop(stage.number, ()):
            with blaming(stage.bound):
                outputs = list(stage.process(parcel.content, parcel.port))
            for output, batch in outputs:
                self._push(stage, output, batch)
        self._send_rows()
        if stage.number in self._due:
            super()._advance(stage, self._due.pop(stage.number))

    def _go_on(self, stage: Stage, outputs: Iterable[Output], watermark: int) -> None:
        for output, batch in outputs:
            if batch.num_rows:
                self._push(stage, output, batch)
        self._advance_from(stage, watermark)

    @property
    def waits(self) -> bool:
        """Whether some rows wait for answers, or may come to where they do."""
        on_the_way = self._dealt or self._held or self._tasks or self._waiting or any(self._gathered)
        return self.asks and (bool(on_the_way) or super().waits)

    def _of_level(
        self, parcels: Iterable[Parcel], due: Mapping[int, int], asked: tuple[int, ...]
    ) -> dict[int, Task]:
        """The tasks by worker, in the order of workers; those without any are left out."""
        tasks = {worker: Task(asked=asked) for worker in range(self._crew.size)}
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

    # ------------------------------------------------------------------ tasks and replies

    def _send(self, tasks: Mapping[int, Task]) -> None:
        for worker, task in tasks.items():
            while sum(busy == worker for busy, _ in self._tasks) >= AHEAD:
                self._receive(len(self._tasks) - 1)
            self._tasks.append((worker, self._crew.send(worker, task)))

    def _receive(self, left: int) -> list[Reply]:
        """Take the replies in the order of the tasks until `left` are left."""
        replies = []
        while len(self._tasks) > left:
            worker, future = self._tasks.popleft()
            reply = future.result()
            replies.append(reply)
            self._written += reply.written
            self._late[worker] = reply.late_rows
            self.failures.merge(reply.failures)
            self._gathered[worker] = reply.gathered
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
        self.settle()
        return {**merged_states(self._crew.snapshot()), **self._states_beside()}

    def _states_beside(self) -> dict[str, OperatorState]:
        return {stage.id: snapshot_of(stage, operator) for stage, operator in self._beside()}

    def _beside(self) -> list[tuple[Stage, Operator]]:
        places = self._places
        return [(s, op) for s, _, op in self._stateful() if places[s.number] is Placement.BESIDE]

    def restore(self, states: Mapping[str, OperatorState], watermarks: Mapping[str, int]) -> None:
        """Become what was captured, by however many workers."""
        self._crew.restore(split_states(states, self._crew.size))
        for stage, operator in self._beside():
            restore_into(stage, operator, states[stage.id])
        for source, watermark in watermarks.items():
            self.advance(source, watermark)
        self.settle()
