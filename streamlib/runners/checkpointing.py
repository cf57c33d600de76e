"""The checkpoint protocol, step by step, one checkpoint in flight.

capture -> the sinks prepare (their barrier runs behind the rows in their lanes) -> the store makes
the manifest durable -> the sinks commit -> the store forgets what is committed. The loop goes on
while this happens; `poll` moves it forward.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from streamlib.checkpoint.store import Capture, StateStore
from streamlib.core.batch import Batch
from streamlib.core.contracts import Json, SinkWriter
from streamlib.core.later_batch import LaterBatch
from streamlib.plan.node import Node
from streamlib.runners.blame import blaming
from streamlib.runners.lanes import Lane
from streamlib.runtime.pipeline import Captured

T = TypeVar("T")
ENOUGH_TO_DO = 4  # calls in a lane: beyond, both threads work at results, and the queue stays short


@dataclass
class SinkLane:
    """A sink's writer and the lane in which all its calls run. Errors name the sink."""

    node: Node
    writer: SinkWriter
    lane: Lane
    writes: deque[Future[None]] = field(default_factory=deque)

    def write(self, batch: Batch) -> None:
        """Queue rows, for which there has to be room. Raises what an earlier write raised.

        Results that are not made yet are made in the lane, or here where the lane has enough to do.
        """
        self.check()
        if isinstance(batch, LaterBatch) and self.lane.waiting >= ENOUGH_TO_DO:
            batch.make()
        self.writes.append(self.lane.submit(self._write, batch))

    def _write(self, batch: Batch) -> None:
        rows = batch.to_sink()
        if rows.num_rows:
            self.writer.write(rows)

    @property
    def full(self) -> bool:
        """Whether rows have to wait. Raises what an earlier write raised."""
        self.check()
        return self.lane.full

    def check(self) -> None:
        """Raise what a finished write raised."""
        while self.writes and self.writes[0].done():
            self.result(self.writes.popleft())

    def result(self, done: Future[T]) -> T:
        """The result of a finished call. Raises what the call raised."""
        with blaming(self.node):
            return done.result()

    def close(self, left: Callable[[], float]) -> None:
        """End the lane in the seconds that are left, then close the writer.

        Not where a call hangs in it: no other may run beside that.
        """
        if self.lane.close(left()):
            with blaming(self.node):
                self.writer.close()


@dataclass
class InFlight:
    """The checkpoint under way; the stages' futures appear one after another."""

    number: int
    captured: Captured
    finished: bool
    prepared: dict[str, Future[Json]]
    written: Future[Any] | None = None
    committed: list[tuple[SinkLane, Future[None]]] | None = None
    forgotten: Future[None] | None = None


class Checkpointer:
    """Takes checkpoints of one attempt."""

    def __init__(
        self,
        store: StateStore,
        lane: Lane,
        sinks: Mapping[str, SinkLane],
        kind: Mapping[str, Json],
        last_number: int,
    ) -> None:
        self._store = store
        self._lane = lane
        self._sinks = sinks
        self._kind = kind
        self._current: InFlight | None = None
        self.completed = 0
        self.last_number = last_number

    @property
    def in_flight(self) -> bool:
        """Whether a checkpoint is under way."""
        return self._current is not None

    @property
    def written(self) -> Future[Any] | None:
        """The writing of the manifest of the checkpoint under way, once it was asked for."""
        return None if self._current is None else self._current.written

    def begin(self, captured: Captured, finished: bool = False) -> None:
        """Start a checkpoint of `captured`; everything the captured steps wrote is in the lanes already."""
        assert self._current is None, "one checkpoint in flight"
        number = self._store.next_number
        prepared = {name: sink.lane.submit(sink.writer.prepare, number) for name, sink in self._sinks.items()}
        self._current = InFlight(number, captured, finished, prepared)

    def poll(self) -> None:
        """Move the checkpoint on as far as it goes without waiting. Raises what a stage raised."""
        for sink in self._sinks.values():
            sink.check()
        while self._current is not None and self._step(self._current):
            pass

    def _step(self, current: InFlight) -> bool:
        """Start the next stage if the one before is done; whether there was anything to do."""
        if current.written is None:
            return self._write(current)
        if current.committed is None:
            return self._commit(current)
        if current.forgotten is None:
            return self._forget(current)
        if not current.forgotten.done():
            return False
        current.forgotten.result()
        self._current = None
        self.completed += 1
        self.last_number = current.number
        return True

    def _write(self, current: InFlight) -> bool:
        if not all(f.done() for f in current.prepared.values()):
            return False
        prepared = {name: self._sinks[name].result(f) for name, f in current.prepared.items()}
        captured = current.captured
        capture = Capture(
            captured.positions,
            {**self._kind, "sources": captured.watermarks, "failures": captured.failures},
            captured.operators,
            captured.versions,
            prepared,
            current.finished,
        )
        current.written = self._lane.submit(self._store.write, current.number, capture)
        return True

    def _commit(self, current: InFlight) -> bool:
        assert current.written is not None
        if not current.written.done():
            return False
        current.written.result()
        current.committed = self._commits()
        return True

    def _commits(self) -> list[tuple[SinkLane, Future[None]]]:
        pending = ((self._sinks[name], c) for name, commits in self._store.pending.items() for c in commits)
        return [(sink, sink.lane.submit(sink.writer.commit, c.number, c.value)) for sink, c in pending]

    def _forget(self, current: InFlight) -> bool:
        assert current.committed is not None
        if not all(f.done() for _, f in current.committed):
            return False
        for sink, future in current.committed:
            sink.result(future)
        current.forgotten = self._lane.submit(self._acknowledge, current.number)
        return True

    def _acknowledge(self, number: int) -> None:
        for name in list(self._store.pending):
            self._store.acknowledge(name, number)
        self._store.retain()
