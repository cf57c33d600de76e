"""Columns that are made when someone looks at them: a filter must not copy what nobody reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload


class LazyColumns(Sequence[Any]):
    """A sequence of columns, each made once, by its index, from values that nobody changes.

    >>> columns = LazyColumns(3, lambda i: [i, i])
    >>> columns.put(2, "made")
    >>> columns[1], columns[2], len(columns)
    ([1, 1], 'made', 3)
    """

    __slots__ = ("_found", "_make")

    def __init__(self, count: int, make: Callable[[int], Any]) -> None:
        self._make = make
        self._found: list[Any] = [None] * count

    def put(self, index: int, column: Any) -> None:
        """A column that is there already: for who makes the columns, before they are handed on."""
        self._found[index] = column

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        found = self._found[index]
        if found is None:
            found = self._found[index] = self._make(index if index >= 0 else index + len(self))
        return found

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self._found)))

    def __reduce__(self) -> tuple[Any, ...]:
        return (tuple, (list(self),))  # what they are made from stays behind
