"""Batches that are made when someone looks at them: results that only a sink reads are made in its thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from streamlib.core.batch import Batch

_MADE = frozenset({"columns", "event_time", "num_rows"})


class LaterBatch(Batch):
    """Rows that `make` makes, once, in the thread of whoever looks first; maybe none. Append-only.

    `make` reads values that nobody changes, so that it gives the same rows whenever it is called.

    >>> batch = LaterBatch(pa.schema([("x", pa.int64())]), lambda: Batch(pa.schema([]), [], 3))
    >>> batch.made, batch.num_rows, batch.made
    (False, 3, True)
    """

    __slots__ = ("_lock", "_make", "on_error")

    def __init__(self, schema: pa.Schema, make: Callable[[], Batch]) -> None:
        # the slots of `_MADE` stay empty, so that `__getattr__` is asked for them
        self.schema = schema
        self.changes = self.judged_by = self.origin = None
        self._time_bounds = self._time_blocks = None
        self._make: Callable[[], Batch] | None = make
        self._lock = threading.Lock()  # two sinks may look at once
        self.on_error: Callable[[Exception], None] | None = None
        """Told what goes wrong while the rows are made, before it is raised."""

    @property
    def made(self) -> bool:
        """Whether the rows are there."""
        return self._make is None

    def make(self) -> None:
        """Make the rows, unless they are there. Raises what is wrong with them."""
        with self._lock:
            if self._make is None:
                return
            try:
                found = self._make()
            except Exception as error:
                if self.on_error is not None:
                    self.on_error(error)
                raise
            self.columns, self.event_time, self.num_rows = found.columns, found.event_time, found.num_rows
            self._make = None

    def __getattr__(self, name: str) -> Any:
        if name not in _MADE:
            raise AttributeError(name)
        self.make()
        return getattr(self, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return Batch, (self.schema, self.columns, self.num_rows, self.event_time)
