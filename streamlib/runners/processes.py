"""Workers that are processes: each has an interpreter, and so a lock, of its own."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import socket
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.process import BaseProcess
from types import FunctionType
from typing import Any

import pyarrow as pa

from streamlib.core.errors import NotPicklableError, StreamlibError, WorkerError
from streamlib.core.modules import loaded_files
from streamlib.core.segment import Segment
from streamlib.plan.bind import BoundFlow, BoundNode
from streamlib.plan.dead_letters import without_sink
from streamlib.plan.node import Node, Read, Write
from streamlib.runners.carried_states import SegmentsThere, carried
from streamlib.runners.channel import Channel
from streamlib.runners.pool import Hands
from streamlib.runners.station import serve
from streamlib.runtime.crew import States
from streamlib.runtime.worker import Reply, Task

END_TIMEOUT = 2.0  # seconds a process gets to end by itself once its channel is closed


class _Elsewhere:
    """Stands for a connector: only the coordinator has the real one."""


def packed(flow: BoundFlow) -> bytes:
    """What a worker needs of a flow: its operators, without connectors and their data.

    Raises `NotPicklableError`, naming the operator, for a function that no other process can import.
    """
    found = io.BytesIO()
    try:
        _Pickler(found).dump(replace(flow, nodes=tuple(_without_ends(bound) for bound in flow.nodes)))
        return found.getvalue()
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


class _Pickler(pickle.Pickler):
    """Refuses what only a session has, of which other processes can't load the main module."""

    def reducer_override(self, value: Any) -> Any:
        if getattr(value, "__module__", None) == "__main__" and isinstance(value, type | FunctionType):
            main = sys.modules["__main__"]
            file = getattr(main, "__file__", None)
            if getattr(main, "__spec__", None) is None and (file is None or not os.path.exists(file)):
                raise NotPicklableError(
                    "this flow can't be sent to other processes: it was written in a notebook or shell",
                    expected="functions and classes at the top level of a module that can be imported",
                    found=f"{value.__qualname__} of the session",
                    remedy="move it into a file beside the notebook, and import it from there",
                )
        return NotImplemented


@dataclass(frozen=True)
class _Employed:
    """A worker's process, and two connections to it, each used by one thread at a time."""

    name: str
    process: BaseProcess
    calls: Channel
    states: Channel

    @classmethod
    def start(cls, number: int, count: int) -> _Employed:
        """A new process; what it is sent waits until it has begun."""
        spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may never run
        (calls, their_calls), (states, their_states) = socket.socketpair(), socket.socketpair()
        process = spawn.Process(
            target=serve,
            args=(their_calls, their_states, number, count),
            name=f"streamlib-worker-{number}",
            daemon=True,
        )
        found = cls(f"worker process {number} of {count}", process, Channel(calls), Channel(states))
        process.start()
        their_calls.close()
        their_states.close()
        return found

    def call(self, method: str, argument: Any) -> Any:
        """What the worker answers. Raises what it raised."""
        return self._ask(self.calls, method, argument)

    def rows(self, segment: int) -> pa.Table:
        """The rows of a segment of the worker's last snapshot, made beside its calls."""
        return self._ask(self.states, "rows", segment)

    def _ask(self, channel: Channel, method: str, argument: Any) -> Any:
        try:
            channel.send((method, argument))
            result, error = channel.receive()
        except (EOFError, OSError):
            raise self._gone() from None
        if error is not None:
            raise error
        return result

    def _gone(self) -> WorkerError:
        self.process.join(END_TIMEOUT)
        code = self.process.exitcode
        how = "still running" if code is None else f"signal {-code}" if code < 0 else f"exit code {code}"
        return WorkerError(
            f"{self.name} has ended",
            expected="a process that lives as long as the job",
            found=how,
            remedy="see what it wrote to stderr; signal 9 may be the system, out of memory",
        )

    def hang_up(self) -> None:
        """Let it end."""
        self.calls.close()
        self.states.close()


class ProcessCrew:
    """Workers in processes that begin with `start`, and end with this one, however it ends.

    `wake` is called with every reply.
    """

    piece = 1_024  # rows: in a Python function a millisecond, several times what sending them costs

    def __init__(self, flow: BoundFlow, size: int, wake: Callable[[], None] = lambda: None) -> None:
        self.size = size
        self._flow = packed(flow)
        self._employed: list[_Employed] = []
        self._segments: list[SegmentsThere] = []
        self._hands = Hands(size, wake)
        self._begun: list[Future[Any]] = []

    def start(self) -> None:
        """Start the processes; what they are sent waits until they have begun."""
        start = (loaded_files(), self._flow)
        for number in range(self.size):
            self._employed.append(_Employed.start(number, self.size))
            self._segments.append(SegmentsThere(self._employed[number].rows))
        for number, employed in enumerate(self._employed):
            self._begun.append(self._hands.submit(number, partial(employed.call, "begin", start)))

    def send(self, worker: int, task: Task) -> Future[Reply]:
        """Send the task, and receive the reply, in a thread of the worker's own."""
        return self._call(worker, "run", task)

    def snapshot(self) -> list[States]:
        """Ask every worker; the rows of segments stay with the workers until a checkpoint writes them."""
        asked = [self._call(number, "snapshot", None) for number in range(self.size)]
        found = [future.result() for future in asked]
        return [segments.received(states) for segments, states in zip(self._segments, found, strict=True)]

    def restore(self, states: Sequence[States]) -> None:
        """Send every worker its part; a failure shows with its next task."""
        parts = [carried(part, Segment.table) for part in states]
        self._begun = [self._call(number, "restore", part) for number, part in enumerate(parts)]

    def _call(self, number: int, method: str, argument: Any) -> Future[Any]:
        begun, employed = self._begun[number], self._employed[number]

        def call() -> Any:
            begun.result()  # a worker that failed to begin says why, whatever it is asked
            return employed.call(method, argument)

        return self._hands.submit(number, call)

    def close(self) -> None:
        """Hang up, which ends them; those that don't are killed."""
        for employed in self._employed:
            employed.hang_up()
        end = time.monotonic() + END_TIMEOUT
        for employed in self._employed:
            employed.process.join(max(0.0, end - time.monotonic()))
        for employed in self._employed:
            if employed.process.is_alive():
                employed.process.kill()
                employed.process.join()
        self._employed = []
        self._hands.close()
