"""A crew: the workers of a flow behind one contract, wherever they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    def run(self, tasks: Mapping[int, Task]) -> list[Reply]:
        """Give workers their tasks, all at once; the replies, in the order of `tasks`.

        Raises what a worker raised; of several the one that stands first in `tasks`.
        """
        ...

    def snapshot(self) -> list[States]:
        """By worker, the states of its operators."""
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

    def run(self, tasks: Mapping[int, Task]) -> list[Reply]:
        """Run the tasks in their order."""
        return [self._workers[number].run(task) for number, task in tasks.items()]

    def snapshot(self) -> list[States]:
        """Ask every worker."""
        return [worker.snapshot() for worker in self._workers]

    def restore(self, states: Sequence[States]) -> None:
        """Tell every worker."""
        for worker, part in zip(self._workers, states, strict=True):
            worker.restore_part(part)

    def close(self) -> None:
        """Nothing to end."""
