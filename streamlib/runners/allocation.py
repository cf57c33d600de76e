"""How the process keeps memory that was freed, while jobs work in it."""

from __future__ import annotations

import ctypes
import functools
import os
from contextlib import suppress

KEPT = 256 << 20  # bytes free at the top of a heap: a few batches with their partials and results
HEAP_LIMIT = 32 << 20  # bytes of one block, the most that glibc takes; larger ones always go back

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # of mallopt(3)
_BY_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@functools.cache
def keep_freed_memory() -> bool:
    """Let the allocator keep what batches free for the next ones; whether it does.

    Every batch needs some MB for moments. By default glibc gives them back to the system at once, and
    takes them again page by page, which costs as much as the work on them. It holds for the process,
    from the first job on. Whoever has set glibc's allocator by its variables is left alone.
    """
    if any(name in os.environ for name in _BY_USER):
        return False
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(_MMAP_THRESHOLD, HEAP_LIMIT) and mallopt(_TRIM_THRESHOLD, KEPT))
    return False
