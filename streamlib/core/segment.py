"""A segment: an immutable part of a state table, made lazily and known by its identity.

Operators hand the same `Segment` object out in every snapshot that holds it. A checkpoint that meets
it again only names the file it has written, so a checkpoint costs what changed, not what there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from streamlib.core.errors import InvariantError


class Segment:
    """Rows of a state table that never change. Two segments are equal only if they are one object.

    Args:
        build: makes the rows, from values that nobody changes any more. Called at most once, and
            where checkpoints are written: on another thread than the operator's, beside its work.

    >>> segment = Segment(lambda: pa.table({"n": [1, 2]}))
    >>> segment.table().num_rows
    2
    """

    def __init__(self, build: Callable[[], pa.Table]) -> None:
        self._build: Callable[[], pa.Table] | None = build
        self._table: pa.Table | None = None

    @classmethod
    def of(cls, table: pa.Table) -> Segment:
        """A segment of rows that are there already.

        >>> Segment.of(pa.table({"n": [1, 2]})).table()["n"].to_pylist()
        [1, 2]
        """
        return cls(lambda: table)

    def table(self) -> pa.Table:
        """The rows; made when first asked for. Raises what making or loading them raised."""
        if self._table is None:
            if self._build is None:
                raise InvariantError(
                    "a segment was asked for its rows while it made them, or after that failed"
                )
            build, self._build = self._build, None  # what it holds is not needed any more
            self._table = build()
        return self._table

    def made_by(self, made: Callable[[Callable[[], pa.Table]], Callable[[], pa.Table]]) -> None:
        """Rows that are not made yet are made by `made(build)` instead: tests look at what is made when."""
        if self._build is not None:
            self._build = made(self._build)

    def moved(self, load: Callable[[], pa.Table]) -> None:
        """The rows are stored: `load` reads them from there. What is held of them in memory goes."""
        self._build, self._table = load, None


def rows_of(segments: Sequence[Segment]) -> pa.Table | None:
    """The rows of all segments, one after another; None if there are no segments."""
    return pa.concat_tables([segment.table() for segment in segments]) if segments else None
