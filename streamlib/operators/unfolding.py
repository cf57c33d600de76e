"""What operators share that make several rows of one: whose event time and kind of change they have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Batch, Column
from streamlib.core.changes import DELETE, INSERT, Changelog, adds
from streamlib.core.contracts import StreamType

MOST_ROWS = 65_536  # of an output batch: as many as a stream admits at once, whatever a row unfolds to

Parents = npt.NDArray[np.intp]
"""The row that each row was made of, in rising order."""


def unfolded_type(stream: StreamType, schema: pa.Schema) -> StreamType:
    """What a stream becomes whose rows are unfolded: several may then have what named one."""
    return replace(stream, schema=schema, changes=None if stream.changes is None else Changelog(None))


def unfolded(batch: Batch, schema: pa.Schema, columns: list[Column], parents: Parents) -> Batch:
    """Rows made of those of `batch`, with the event time of their parents.

    Of an update the old rows are deleted and the new ones inserted: they need not be as many.
    """
    times = None if batch.event_time is None else batch.event_time.take(parents)
    changes = None
    if batch.changes is not None:
        changes = np.where(adds(batch.changes), INSERT, DELETE).astype(np.int8).take(parents)
    found = Batch(schema, columns, len(parents), times, changes)
    if batch.origin is not None:
        found.origin = batch.origin[parents]
    return found
