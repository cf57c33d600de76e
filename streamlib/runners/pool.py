"""Threads that work for readers and workers, and never keep a process alive."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

JOIN_TIMEOUT = 0.5  # seconds a thread gets to end once it has nothing to do: far more than it needs


class DaemonPool:
    """Threads that make calls in the order in which they were asked for.

    They are daemons, which those of `concurrent.futures` are not: a read that hangs, on a dead mount
    for example, must not keep a process alive that was told to stop.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"streamlib-{name}-{i}", daemon=True)
            for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Queue the call for the next thread that is free."""
        future: Future[T] = Future()
        self._calls.put((future, call))
        return future

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            self._run(*item)
            del item  # else a reader stays until the next call, at the end until the process is gone

    def _run(self, future: Future[Any], call: Callable[[], Any]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = call()
        except BaseException as error:  # whatever it is, the runner has to hear of it
            future.set_exception(error)
        else:
            future.set_result(result)

    def close(self) -> None:
        """End the threads; one that hangs is left behind.

        The others must be gone when the interpreter ends: it stops daemons wherever they are, and
        inside of Arrow's C++ that aborts the process.
        """
        self.finish()
        for thread in self._threads:
            thread.join(JOIN_TIMEOUT)

    def finish(self) -> None:
        """Let the threads end after the calls that they have."""
        for _ in self._threads:
            self._calls.put(None)


class Hands:
    """A thread for each of several workers, in which the calls for that worker are made in order.

    `wake` is called after each of them, from its thread.
    """

    def __init__(self, workers: int, wake: Callable[[], None] = lambda: None) -> None:
        self._pools = [DaemonPool(1, f"worker-{number}") for number in range(workers)]
        self._wake = wake
        self._open: list[Future[Any]] = []

    def submit(self, worker: int, call: Callable[[], T]) -> Future[T]:
        """Queue a call for a worker."""
        future = self._pools[worker].submit(call)
        future.add_done_callback(lambda _: self._wake())
        self._open = [other for other in self._open if not other.done()]
        self._open.append(future)
        return future

    def close(self) -> None:
        """End the threads. Calls that have not begun are not made any more."""
        for future in self._open:
            future.cancel()
        for pool in self._pools:
            pool.finish()
        for pool in self._pools:
            pool.close()
