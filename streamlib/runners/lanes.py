"""Lanes: where I/O happens. Each runs its calls one after another, in order.

A `ThreadLane` runs them on a thread of its own behind a bounded queue, so that a slow sink slows
the source. An `InlineLane` runs them at once, for the simulator and for tests.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

QUEUE_LIMIT = 16  # calls that wait in a lane; a write holds one batch, so this bounds memory


class Lane(Protocol):
    """A serial executor. After a call failed, the calls behind it don't run."""

    def submit(self, call: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run `call(*args)` after all earlier calls; wait while the lane is full."""
        ...

    def close(self, timeout: float) -> None:
        """Let the calls in the lane finish, at most so many seconds, then end it."""
        ...


class InlineLane:
    """Runs every call at once, in the caller's thread."""

    def submit(self, call: Callable[..., Any], *args: Any) -> Future[Any]:
        """Run the call; its exception goes into the future (a simulated crash goes straight up)."""
        done: Future[Any] = Future()
        try:
            done.set_result(call(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    def close(self, timeout: float) -> None:
        """Nothing is left to do."""


class LaneFailedError(RuntimeError):
    """An earlier call of this lane failed; this one did not run."""


class ThreadLane:
    """A thread with a bounded queue."""

    def __init__(self, name: str, on_done: Callable[[], None]) -> None:
        self._queue: queue.Queue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None]
        self._queue = queue.Queue(QUEUE_LIMIT)
        self._on_done = on_done
        self._failed = False
        self._thread = threading.Thread(target=self._work, name=f"streamlib-{name}", daemon=True)
        self._thread.start()

    def submit(self, call: Callable[..., Any], *args: Any) -> Future[Any]:
        """Queue the call; blocks while the queue is full."""
        future: Future[Any] = Future()
        self._queue.put((future, call, args))
        return future

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            future, call, args = item
            if self._failed:
                future.set_exception(LaneFailedError("an earlier call failed"))
                continue
            try:
                future.set_result(call(*args))
            except BaseException as error:  # whatever it is, the runner has to hear of it
                self._failed = True
                future.set_exception(error)
            self._on_done()

    def close(self, timeout: float) -> None:
        """End the thread after the queued calls; a call that hangs is left behind with its daemon."""
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)
