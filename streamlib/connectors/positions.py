"""Positions that are row numbers, and the least event time that follows them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from streamlib.core.contracts import Json
from streamlib.core.errors import SourceError, UnknownColumnError, shown
from streamlib.core.time import MAX_TIME, Micros, to_micros

BLOCK = 65_536  # rows that share one minimum: 8 bytes a block, and a rest that numpy scans in 10 us


def row_number(position: Json | None, partition: str) -> int:
    """The number of the row to read next: `position` itself, 0 where there is none yet.

    Raises `SourceError` for what can't be a row number, as after the source was exchanged for one of
    another kind.
    """
    if position is None:
        return 0
    if isinstance(position, int) and not isinstance(position, bool) and position >= 0:
        return position
    raise SourceError(
        f"partition {partition!r} can't be read from the position in the checkpoint",
        expected="a row number",
        found=shown(position),
        remedy="start a new job: the checkpoint was written with another kind of source",
    )


def beyond_end(partition: str, position: int, rows: int) -> SourceError:
    """The error for a position that no row has: the data became shorter since the checkpoint."""
    return SourceError(
        f"partition {partition!r} ends before the position in the checkpoint",
        expected=f"at least {position:,} rows, as when the checkpoint was taken",
        found=f"{rows:,} rows",
        remedy="bring the original data back, or start a new job",
    )


def event_times(rows: pa.Table | pa.RecordBatch, column: str) -> Micros:
    """The event time of every row in microseconds, `MAX_TIME` where it is null.

    A null never becomes an event (it goes to the dead letters), so it must not hold a floor down.
    Naive timestamps are UTC. Raises `UnknownColumnError`.
    """
    if column not in rows.schema.names:
        raise UnknownColumnError.of(column, rows.schema.names)
    values = rows.column(column)
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if not values.null_count:
        return to_micros(values, "UTC")
    times = np.full(len(values), MAX_TIME, np.int64)
    times[values.is_valid().to_numpy(zero_copy_only=False)] = to_micros(values.drop_null(), "UTC")
    return times


def suffix_minima(times: Micros) -> Micros:
    """Entry `i` is the least of `times[i:]`; one entry more than `times`, the last `MAX_TIME`.

    >>> suffix_minima(np.array([3, 1, 2]))[:3].tolist()
    [1, 1, 2]
    """
    return np.append(np.minimum.accumulate(times[::-1])[::-1], MAX_TIME)


class Floors:
    """The exact least event time from any row on, for rows that are all known.

    It keeps a view of `times` and one number per block: 100 M rows cost 12 kB, not 800 MB.
    """

    def __init__(self, times: Micros) -> None:
        self._times = times
        starts = np.arange(0, len(times), BLOCK)
        blocks = np.minimum.reduceat(times, starts) if len(times) else times
        self._after_block = suffix_minima(blocks)

    def at(self, row: int) -> int:
        """The least event time of row `row` and all that follow, `MAX_TIME` at the end."""
        next_block = -(-row // BLOCK)
        rest = self._times[row : next_block * BLOCK]
        return min(int(rest.min(initial=MAX_TIME)), int(self._after_block[next_block]))
