"""Lanes: where I/O happens. Each runs its calls one after another, in order.

A `ThreadLane` runs them on a thread of its own. Whoever queues rows looks at `full` before, so that a
slow sink slows the source. An `InlineLane` runs them at once, for the simulator and for tests.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

QUEUE_LIMIT = 16  # calls that may wait in a lane; a write holds one batch, so this bounds memory


class Lane(Protocol):
    """A serial executor. After a call failed, the calls behind it don't run: they fail with its error."""

    @property
    def full(self) -> bool:
        """Whether rows have to wait: then nothing but the few calls of a checkpoint may be queued."""
        ...

    @property
    def waiting(self) -> int:
        """About how many calls wait."""
        ...

    def submit(self, call: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run `call(*args)` after all earlier calls. Never waits."""
        ...

    def close(self, timeout: float) -> bool:
        """Let the calls in the lane finish, at most so many seconds, then end it; False if one hangs."""
        ...


class InlineLane:
    """Runs every call at once, in the caller's thread."""

    full = False
    waiting = 0
    _failure: BaseException | None = None

    def submit(self, call: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run the call; its exception goes into the future (a simulated crash goes straight up)."""
        done: Future[Any] = Future()
        try:
            if self._failure is not None:
                raise self._failure
            done.set_result(call(*args))
        except Exception as error:
            self._failure = error
            done.set_exception(error)
        return done

    def close(self, timeout: float) -> bool:
        """Nothing is left to do."""
        return True


class ThreadLane:
    """A thread with a queue."""

    def __init__(self, name: str, on_done: Callable[[], None]) -> None:
        self._queue: queue.SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None]
        self._queue = queue.SimpleQueue()
        self._on_done = on_done
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=f"streamlib-{name}", daemon=True)
        self._thread.start()

    @property
    def full(self) -> bool:
        """Whether `QUEUE_LIMIT` calls wait."""
        return self._queue.qsize() >= QUEUE_LIMIT

    @property
    def waiting(self) -> int:
        """The length of the queue."""
        return self._queue.qsize()

    def submit(self, call: Callable[..., Any], *args: Any) -> Future[Any]:
        """Queue the call."""
        future: Future[Any] = Future()
        self._queue.put((future, call, args))
        return future

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            self._run(*item)
            del item  # else the rows of the last write stay until the next one comes
            self._on_done()

    def _run(self, future: Future[Any], call: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if self._failure is not None:
            future.set_exception(self._failure)
            return
        try:
            future.set_result(call(*args))
        except BaseException as error:  # whatever it is, the runner has to hear of it
            self._failure = error
            future.set_exception(error)

    def close(self, timeout: float) -> bool:
        """End the thread after the queued calls; a call that hangs is left behind with its daemon."""
        self._queue.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()
