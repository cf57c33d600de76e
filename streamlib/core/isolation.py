"""Finding what fails among many, without looking at each where none does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


def isolated(
    count: int,
    attempt: Callable[[int, int], T],
    error: Exception,
    lost: Callable[[int, Exception], T | None],
) -> Iterator[T]:
    """What `attempt(start, stop)` gives for ranges of `count` items, in order, without those that fail.

    For all items together it raised `error`. Each half is tried, and the halves of a half that fails, so
    k bad items cost some k * log2(count) attempts. `lost(i, error)` is told of each, and may raise, or
    answer for it.

    >>> def attempt(start, stop):
    ...     if start <= 2 < stop:
    ...         raise ValueError(2)
    ...     return range(start, stop)
    >>> list(isolated(4, attempt, ValueError(2), lambda i, error: print("lost", i)))
    lost 2
    [range(0, 2), range(3, 4)]
    """
    pending: list[tuple[int, int, Exception | None]] = [(0, count, error)]
    while pending:
        start, stop, failure = pending.pop()
        if failure is None:
            try:
                yield attempt(start, stop)
                continue
            except Exception as found:
                failure = found
        if stop - start == 1:
            answer = lost(start, failure)
            if answer is not None:
                yield answer
            continue
        middle = (start + stop) // 2
        pending += [(middle, stop, None), (start, middle, None)]  # the first half is on top
