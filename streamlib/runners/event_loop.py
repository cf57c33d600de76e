"""The event loop in which the user's coroutines run: one a process, in a thread of its own.

All runs of a process share it, and it does not end with them: a client that keeps connections open
belongs to the loop in which it opened them, and lives longer than a run.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")

JOIN_TIMEOUT = 1.0  # seconds the thread gets to end: only a coroutine that does not await takes longer


class EventLoop:
    """A loop that runs until the process ends."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, name="streamlib-event-loop", daemon=True)
        self._thread.start()
        atexit.register(self._end)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def _work(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def _end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(JOIN_TIMEOUT)
        if not self._thread.is_alive():
            self.loop.close()


@cache
def event_loop() -> EventLoop:
    """The loop of this process; it starts when it is first asked for."""
    return EventLoop()


os.register_at_fork(after_in_child=event_loop.cache_clear)  # the child has no such thread
