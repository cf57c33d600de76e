"""Workers that are processes: each has an interpreter, and so a lock, of its own."""

from __future__ import annotations

import multiprocessing
import pickle
import socket
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

from streamlib.core.errors import DefinitionError, NotPicklableError, StreamlibError, WorkerError
from streamlib.core.modules import loaded_files
from streamlib.plan.bind import BoundFlow, BoundNode
from streamlib.plan.dead_letters import without_sink
from streamlib.plan.node import Node, Read, Write
from streamlib.runners.channel import Channel
from streamlib.runners.pool import Hands
from streamlib.runners.station import Segments, serve
from streamlib.runtime.crew import States
from streamlib.runtime.worker import Reply, Task

END_TIMEOUT = 2.0  # seconds a process gets to end by itself once its channel is closed


class _Elsewhere:
    """Stands for a connector: only the coordinator has the real one."""


def packed(flow: BoundFlow) -> bytes:
    """What a worker needs of a flow: its operators, without connectors and their data.

    Raises `NotPicklableError`, naming the operator, for a function that no other process can import.
    """
    try:
        return pickle.dumps(replace(flow, nodes=tuple(_without_ends(bound) for bound in flow.nodes)))
    except StreamlibError:
        raise
    except Exception as error:
        raise NotPicklableError(
            "this flow can't be sent to other processes",
            expected="operators whose settings can be pickled",
            found=f"{type(error).__name__}: {error}",
            remedy='run it with workers="threads"',
        ) from error


def _without_ends(bound: BoundNode) -> BoundNode:
    spec: Any = bound.node.spec
    if isinstance(spec, Read):
        spec = Read(_Elsewhere())  # type: ignore[arg-type]
    elif isinstance(spec, Write):
        spec = Write(_Elsewhere())  # type: ignore[arg-type]
    policy = without_sink(bound.node.on_error, _Elsewhere())
    return replace(bound, node=Node(spec, (), bound.node.name, bound.node.where, policy))


def can_travel(flow: BoundFlow) -> bool:
    """Whether other processes can have the flow's operators."""
    try:
        packed(flow)
    except NotPicklableError:
        return False
    return True


class ProcessCrew:
    """Workers in processes that begin with `start`, and end with this one, however it ends."""

    piece = 1_024  # rows: in a Python function a millisecond, several times what sending them costs

    def __init__(self, flow: BoundFlow, size: int) -> None:
        self.size = size
        self._flow = packed(flow)
        self._processes: list[BaseProcess] = []
        self._channels: list[Channel] = []
        self._segments = [Segments() for _ in range(size)]
        self._hands = Hands(size)
        self._begun: list[Future[Any]] = []

    def start(self) -> None:
        """Start the processes; what they are sent waits until they have begun."""
        spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may never run
        files = loaded_files()
        for number in range(self.size):
            mine, theirs = socket.socketpair()
            process = spawn.Process(
                target=serve, args=(theirs, number, self.size), name=f"streamlib-worker-{number}", daemon=True
            )
            self._channels.append(Channel(mine))
            self._processes.append(process)
            process.start()
            theirs.close()
        for number in range(self.size):
            self._begun.append(self._hands.submit(number, partial(self._ask, number, (files, self._flow))))

    def send(self, worker: int, task: Task) -> Future[Reply]:
        """Send the task, and receive the reply, in a thread of the worker's own."""
        return self._call(worker, "run", task)

    def snapshot(self) -> list[States]:
        """Ask every worker; the rows of segments that it sent before stay where they are."""
        asked = [self._call(number, "snapshot", None) for number in range(self.size)]
        found = [future.result() for future in asked]
        return [segments.received(states) for segments, states in zip(self._segments, found, strict=True)]

    def restore(self, states: Sequence[States]) -> None:
        """Send every worker its part; a failure shows with its next task."""
        parts = [Segments().sent(part) for part in states]
        self._begun = [self._call(number, "restore", part) for number, part in enumerate(parts)]

    def _call(self, number: int, method: str, argument: Any) -> Future[Any]:
        begun = self._begun[number]

        def call() -> Any:
            begun.result()  # a worker that failed to begin says why, whatever it is asked
            return self._ask(number, (method, argument))

        return self._hands.submit(number, call)

    def _ask(self, number: int, message: Any) -> Any:
        try:
            self._channels[number].send(message)
            result, error = self._channels[number].receive()
        except (EOFError, OSError):
            raise self._gone(number) from None
        if error is not None:
            raise error
        return result

    def _gone(self, number: int) -> WorkerError:
        process = self._processes[number]
        process.join(END_TIMEOUT)
        code = process.exitcode
        how = "still running" if code is None else f"signal {-code}" if code < 0 else f"exit code {code}"
        return WorkerError(
            f"worker process {number} of {self.size} has ended",
            expected="a process that lives as long as the job",
            found=how,
            remedy="see what it wrote to stderr; signal 9 may be the system, out of memory",
        )

    def close(self) -> None:
        """Hang up, which ends them; those that don't are killed."""
        for channel in self._channels:
            channel.close()
        end = time.monotonic() + END_TIMEOUT
        for process in self._processes:
            process.join(max(0.0, end - time.monotonic()))
        for process in self._processes:
            if process.is_alive():
                process.kill()
                process.join()
        self._channels, self._processes = [], []
        self._hands.close()


def refuse_while_imported() -> None:
    """Raise `DefinitionError` in a worker process whose script runs the flow again while it is imported."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise DefinitionError(
            "a worker process imports this script, which runs the flow again",
            expected="a script that can be imported without running the flow",
            found="a run at the top level of the script",
            remedy='put it below `if __name__ == "__main__":`, or give workers="threads"',
        )
