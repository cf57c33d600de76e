"""Signals: the first SIGTERM or SIGINT drains the job, the second aborts it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from streamlib.runners.job import Job


class AbortedError(KeyboardInterrupt):
    """A second signal came while the job drained; the last completed checkpoint stands."""


@contextmanager
def draining_on_signals(job: Job) -> Iterator[None]:
    """Turn signals into `job.drain()`; only the main thread can, elsewhere nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise AbortedError(signal.Signals(number).name)
        asked = True
        job.drain()
        # Python refuses a write inside a write of the same stream, which this signal may have interrupted.
        with suppress(RuntimeError):
            line_ends = "\n" if sys.stderr.isatty() else ""  # a living progress line, or ^C
            print(
                f"{line_ends}stopping: one last checkpoint (signal again to abort)",
                file=sys.stderr,
                flush=True,
            )

    before: dict[int, Any] = {n: signal.signal(n, handle) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
