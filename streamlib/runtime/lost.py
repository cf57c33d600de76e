"""Records of a source that do not enter, at their places among the rows that do.

A record is lost that the reader could not read, or that has no event time, or one too far ahead. It keeps
its place, so that positions count it and a restart neither loses nor repeats it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from streamlib.core.batch import Batch
from streamlib.core.contracts import Broken
from streamlib.core.errors import SourceError


@dataclass(frozen=True)
class Lost:
    """A record that does not enter.

    Attributes:
        after: how many rows of the batch it came with stand before it.
        position: its number in the partition.
        error: why.
        record: what is there of it: bytes that could not be read, or a row.
    """

    after: int
    position: int
    error: Exception
    record: Broken | Batch


Losses = tuple[Lost, ...]
"""In their order."""


def losses_of(broken: Sequence[Broken], first: int, rows: int) -> Losses:
    """The broken records of a chunk of `rows` rows, whose first record has the number `first`.

    Raises `SourceError` where the reader counts otherwise: a restart would not find its place.
    """
    found = [Lost(b.position - first - i, b.position, b.error, b) for i, b in enumerate(broken)]
    afters = [0, *(lost.after for lost in found), rows]
    if any(after > following for after, following in pairwise(afters)):
        raise SourceError(
            "the reader gave wrong numbers to broken records",
            expected=f"rising numbers from {first} to below {first + rows + len(broken)}",
            found=", ".join(str(b.position) for b in broken[:10]),
            remedy="`Broken.position` is the number of the record in its partition, broken ones counted",
        )
    return tuple(found)


def without_first(batch: Batch, lost: Losses, records: int) -> tuple[Batch, Losses]:
    """Both without the first records, lost ones counted."""
    gone = sum(each.after + i < records for i, each in enumerate(lost))
    rows = records - gone
    return batch.slice(rows, batch.num_rows), shifted(lost[gone:], rows)


def shifted(lost: Losses, rows: int) -> Losses:
    """The same behind `rows` rows fewer."""
    return tuple(replace(each, after=each.after - rows) for each in lost) if rows else lost


def numbers(first: int, lost: Losses, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    """The numbers in the partition of some rows of a batch whose first record has the number `first`."""
    if not lost:
        return (first + rows).astype(np.int64, copy=False)
    before = np.searchsorted([each.after for each in lost], rows, side="right")
    return (first + rows + before).astype(np.int64, copy=False)


def leaving_out(
    batch: Batch, lost: Losses, first: int, failed: Sequence[tuple[int, Exception]]
) -> tuple[Batch, Losses]:
    """The batch without the rows that failed, which are lost as well."""
    rows = np.array([row for row, _ in failed], np.intp)
    good = np.ones(batch.num_rows, np.bool_)
    good[rows] = False
    more = [
        Lost(row - i, number, error, batch.slice(row, row + 1))
        for i, ((row, error), number) in enumerate(
            zip(failed, numbers(first, lost, rows).tolist(), strict=True)
        )
    ]
    gone = np.searchsorted(rows, [each.after for each in lost]).tolist()
    kept = [replace(each, after=each.after - n) for each, n in zip(lost, gone, strict=True)]
    return batch.filter(good), tuple(sorted((*kept, *more), key=lambda each: each.position))
