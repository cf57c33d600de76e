"""Admission: which rows of a partition may enter now, and where the watermark stands then.

Lateness must not depend on how rows are cut into batches. Rows within the bound of the watermark
strategy are on time under any watermark and always enter. A row behind its running watermark is
judged by it: where some operator's deadline lies between the watermark at which the operators stand
and the running one, the batch is cut before the row and the watermark advances first. Where all
these operators can, the batch is not cut: it is stamped with the running watermark of such rows.

Over bounded sources lateness does not depend on the interleaving of partitions either: there a row
behind its own partition's watermark waits until the other partitions have come as far. It is then
late exactly if its own partition's past says so, in whatever order the files are read.
"""

from __future__ import annotations

import numpy as np

from streamlib.core.batch import Batch
from streamlib.core.contracts import Json
from streamlib.core.errors import EventTimeError
from streamlib.core.time import MAX_TIME, MIN_TIME, show_duration, show_instant
from streamlib.core.watermarks import LAST_TIME, SourceWatermarks
from streamlib.runtime.engine import Engine


def admit(
    engine: Engine,
    source: str,
    watermarks: SourceWatermarks,
    partition: str,
    batch: Batch,
    aligned: bool,
    stamps: bool,
) -> Batch:
    """The first rows of a batch: those that may enter before the watermark has to advance.

    No rows only if `aligned`, where the partition waits for others; the partition that is furthest
    behind never waits. With `stamps` all of them.
    """
    own = watermarks.partitions[partition].watermark
    times = batch.event_time
    assert times is not None
    least, largest = batch.time_bounds
    if least >= max(own, watermarks.caused_by(largest)):
        return batch  # no row is behind any watermark that these rows can cause
    stands = watermarks.output
    rows, running = watermarks.behind(partition, batch.time_blocks, None if aligned else stands)
    if not len(rows):
        return batch
    if stamps:
        judged_by = np.full(len(times), MIN_TIME)
        judged_by[rows] = running
        return batch.stamped(judged_by)
    if aligned:
        stands = min(stands, engine.judged_at(source))
    cut = running >= engine.deadline_after(source, stands)
    first = int(cut.argmax())
    return batch.slice(0, int(rows[first])) if cut[first] else batch


def too_far_ahead(number: int, time: int, limit: int, now: int) -> EventTimeError:
    """The error of a row further ahead of the clock than `limit`: it would close every window."""
    return EventTimeError(
        f"row {number} lies in the future",
        expected=f"an event time at most {show_duration(limit)} after {show_instant(now)}",
        found=show_instant(time),
        remedy="repair such rows, raise `max_ahead=`, or leave them out: `sl.read(..., on_error=)`",
    )


def check_newest(newest: int, limit: int | None, now: int) -> None:
    """As `check_event_times`, for rows that filters drop and that were not read."""
    if limit is not None and newest > now + limit:
        raise EventTimeError(
            "a row that a filter drops lies in the future",
            expected=f"an event time at most {show_duration(limit)} after {show_instant(now)}",
            found=show_instant(newest),
            remedy="repair such rows, or raise `max_ahead=` of `sl.read`",
        )


class FloorWatermarks:
    """The watermark of a batch run: the least event time not yet read, over all partitions.

    A partition whose floor is unknown holds everything back until it ends, so nothing is ever late.
    """

    def __init__(self, partitions: list[str]) -> None:
        self.floors = dict.fromkeys(partitions, MIN_TIME)

    def read_to(self, partition: str, floor: int | None) -> None:
        """`floor` is the least event time in what follows in this partition (None: unknown)."""
        known = MIN_TIME if floor is None else min(floor, LAST_TIME)  # what follows may lie at MAX_TIME
        self.floors[partition] = max(known, self.floors[partition])

    def finish(self, partition: str) -> None:
        """Nothing follows in this partition."""
        self.floors[partition] = MAX_TIME

    def combine(self, now: float = 0.0) -> int:
        """The least floor, whenever that is."""
        return min(self.floors.values(), default=MAX_TIME)

    def snapshot(self) -> Json:
        """The floors as JSON."""
        return dict(self.floors)

    def restore(self, state: Json, now: float = 0.0) -> None:
        """Become what `snapshot` saw, whenever that is."""
        self.floors.update({name: floor for name, floor in state.items() if name in self.floors})
