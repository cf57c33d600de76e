"""A worker: an engine over the whole flow that owns the state of its key groups.

Rows pass through stateless operators where they are. Before an operator with state they stop: what is
for another worker, or for this one, is a parcel. The coordinator (`parallel.py`) carries parcels, and
says when time goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamlib.core.batch import Batch
from streamlib.core.contracts import Combines, OperatorState, Output
from streamlib.plan.bind import BoundFlow
from streamlib.runtime.engine import Engine, Stage, blaming, restore_into, snapshot_of
from streamlib.runtime.placement import Placement, placement
from streamlib.runtime.rescue import Failures, Patience
from streamlib.state.key_groups import key_groups, owners

COORDINATOR = -1
"""The owner of parcels for stages that work beside the workers."""


@dataclass(frozen=True)
class Parcel:
    """Rows for input `port` of a stage, or a partial of them, on the way to the worker `owner`."""

    stage: int
    port: int
    owner: int
    content: Any


@dataclass
class Task:
    """One step of a worker: in this order rows, parcels, and times of stages (by number).

    Rows come with the stage and the output that they came out of, mostly a source. The stages of parcels
    and times do not lie above each other. In the end the partials that gathered for the stages `asked` are
    handed over.
    """

    rows: list[tuple[int, int, Batch]] = field(default_factory=list)
    parcels: list[Parcel] = field(default_factory=list)
    watermarks: dict[int, int] = field(default_factory=dict)
    asked: tuple[int, ...] = ()


@dataclass
class Reply:
    """What came of a task: parcels and rows for sinks, in order, and what stages promise by number.

    `gathered` are the stages for which the worker now has partials.
    """

    parcels: list[Parcel]
    written: list[tuple[str, Batch]]
    promises: dict[int, int]
    late_rows: int
    failures: Failures
    """Rows that failed in this task and did not stop the job."""
    gathered: frozenset[int]


class Worker(Engine):
    """One of `count` workers, numbered from 0. Called from one thread at a time."""

    def __init__(self, flow: BoundFlow, number: int, count: int, patience: Patience | None = None) -> None:
        super().__init__(flow, patience)
        self._owners = owners(count)
        self._places = [placement(stage) for stage in self._stages]
        elsewhere = {Placement.BESIDE} if number == 0 else {Placement.BESIDE, Placement.SINGLE}
        self._here = [place not in elsewhere for place in self._places]
        self._combining = [s.operator if isinstance(s.operator, Combines) else None for s in self._stages]
        self._sent: list[Parcel] = []
        self._gathered: dict[int, list[Any]] = {}

    def run(self, task: Task) -> Reply:
        """Do what the task says."""
        for number, output, batch in task.rows:
            self._emit(self._stages[number], ((output, batch),))
        for number in sorted({p.stage for p in task.parcels} | task.watermarks.keys()):
            parcels = [p for p in task.parcels if p.stage == number]
            if parcels:
                self._receive(self._stages[number], parcels)
            if number in task.watermarks and self._here[number]:
                self._advance(self._stages[number], task.watermarks[number])
        for number in task.asked:
            if number in self._gathered:
                self._hand_over(self._stages[number], self._gathered.pop(number))
        promises = {n: self._stages[n].watermark for n in task.watermarks if self._here[n]}
        sent, self._sent = self._sent, []
        failures, self.failures = self.count_failures(), Failures()
        gathered = frozenset(self._gathered)
        return Reply(sent, self.take_written(), promises, self.late_rows, failures, gathered)

    # ------------------------------------------------------------------ rows that leave

    def _deliver(self, stage: Stage, port: int, batch: Batch) -> None:
        place = self._places[stage.number]
        if place is Placement.ANYWHERE:
            super()._deliver(stage, port, batch)
        elif place is Placement.SINGLE:
            self._sent.append(Parcel(stage.number, port, 0, batch))
        elif place is Placement.BESIDE:
            self._sent.append(Parcel(stage.number, port, COORDINATOR, batch))
        elif self._combining[stage.number] is not None:
            self._combine(stage, port, batch)
        else:
            self._send(stage, port, self._by_owner(stage, port, batch))

    def _combine(self, stage: Stage, port: int, batch: Batch) -> None:
        operator = self._combining[stage.number]
        assert operator is not None
        if stage.guard is not None:
            with blaming(stage.bound):
                batch, letters = stage.guard.examined(batch, port)
            self._emit(stage, letters)
            if not batch.num_rows:
                return
        with blaming(stage.bound):
            partial, outputs = operator.combine(batch, port)
            outputs = stage.checked(outputs, "combine")
        if partial is not None:
            self._gathered.setdefault(stage.number, []).append(partial)
        self._emit(stage, outputs)

    def _hand_over(self, stage: Stage, partials: Sequence[Any]) -> None:
        operator = self._combining[stage.number]
        assert operator is not None
        with blaming(stage.bound):
            parts = operator.split(partials, self._owners)
        self._send(stage, 0, parts)

    def _by_owner(self, stage: Stage, port: int, batch: Batch) -> Mapping[int, Batch]:
        keys = [batch.column(key) for key in stage.bound.input_types[port].keys]
        owner = self._owners.take(key_groups(keys, batch.num_rows))
        return {int(w): batch.filter(owner == w) for w in np.unique(owner)}

    def _send(self, stage: Stage, port: int, parts: Mapping[int, Any]) -> None:
        self._sent += [Parcel(stage.number, port, owner, part) for owner, part in parts.items()]

    # ------------------------------------------------------------------ rows that arrive, and time

    def _receive(self, stage: Stage, parcels: Sequence[Parcel]) -> None:
        combining = self._combining[stage.number]
        if combining is not None:
            self._ask(stage, combining.merge, [parcel.content for parcel in parcels])
            return
        for parcel in parcels:
            with blaming(stage.bound):
                outputs = stage.process(parcel.content, parcel.port)
            self._emit(stage, outputs)

    def _ask(self, stage: Stage, call: Callable[..., Iterable[Output]], *args: Any) -> None:
        with blaming(stage.bound):
            outputs = stage.checked(call(*args), call.__name__)
        self._emit(stage, outputs)

    def _forward(self, stage: Stage, watermark: int) -> None:
        """Only remember the promise: the coordinator passes time on, when all workers have come as far."""
        stage.watermark = max(stage.watermark, watermark)

    # ------------------------------------------------------------------ state

    def snapshot(self) -> dict[str, OperatorState]:
        """The state of the operators that work here."""
        return {s.id: snapshot_of(s, op) for s, _, op in self._stateful() if self._here[s.number]}

    def restore_part(self, states: Mapping[str, OperatorState]) -> None:
        """Become what this worker's part of a snapshot says."""
        for stage, _, operator in self._stateful():
            if self._here[stage.number]:
                restore_into(stage, operator, states[stage.id])
