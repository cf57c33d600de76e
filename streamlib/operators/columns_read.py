"""Which columns operators read: unions of sets in which None stands for all columns."""

from __future__ import annotations

from collections.abc import Iterable


def all_of(parts: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    """The union of sets of columns; None (all columns) where one of them is.

    >>> sorted(all_of([frozenset("a"), frozenset("b")]) or ())
    ['a', 'b']
    """
    found = list(parts)
    return None if None in found else frozenset[str]().union(*(part for part in found if part is not None))
