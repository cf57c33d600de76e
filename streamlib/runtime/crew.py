"""A crew: the workers of a flow behind one contract, wherever they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Protocol

from streamlib.core.contracts import OperatorState
from streamlib.plan.bind import BoundFlow
from streamlib.runtime.rescue import Patience
from streamlib.runtime.worker import Reply, Task, Worker

States = Mapping[str, OperatorState]


class Crew(Protocol):
    """Workers, numbered from 0. After an error they can't be used any more.

    Attributes:
        size: how many workers there are.
        piece: the fewest rows worth the trip to another worker.
    """

    @property
    def size(self) -> int: ...
    @property
    def piece(self) -> int: ...

    def start(self) -> None:
        """Let the workers begin. Called once, before all else."""
        ...

    def send(self, worker: int, task: Task) -> Future[Reply]:
        """Give a worker a task, which it does after those that it has. The future raises what it raised."""
        ...

    def snapshot(self) -> list[States]:
        """By worker, the states of its operators. Called while no worker has a task."""
        ...

    def restore(self, states: Sequence[States]) -> None:
        """Give every worker its part of a snapshot."""
        ...

    def close(self) -> None:
        """End the workers, whatever they do. May be called twice."""
        ...


class InlineCrew:
    """Workers in the caller's thread, one after another: for tests and the simulator."""

    piece = 1

    def __init__(self, flow: BoundFlow, size: int, patience: Patience | None = None) -> None:
        self.size = size
        self._workers = [Worker(flow, number, size, patience) for number in range(size)]

    def start(self) -> None:
        """Nothing to start."""

    def send(self, worker: int, task: Task) -> Future[Reply]:
        """Do the task."""
        return done(lambda: self._workers[worker].run(task))

    def snapshot(self) -> list[States]:
        """Ask every worker."""
        return [worker.snapshot() for worker in self._workers]

    def restore(self, states: Sequence[States]) -> None:
        """Tell every worker."""
        for worker, part in zip(self._workers, states, strict=True):
            worker.restore_part(part)

    def close(self) -> None:
        """Nothing to end."""


def done(call: Callable[[], Reply]) -> Future[Reply]:
    """A call that was made, its outcome in a future."""
    future: Future[Reply] = Future()
    try:
        future.set_result(call())
    except Exception as error:
        future.set_exception(error)
    return future
