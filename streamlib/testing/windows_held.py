"""Windows of the user's, asked about all event times of a flow's sources."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Batch
from streamlib.core.errors import StreamlibError
from streamlib.core.time import Micros
from streamlib.operators.window_aggregate import WindowAggregate
from streamlib.plan.bind import BoundFlow
from streamlib.plan.node import Read
from streamlib.runtime.intake import EventTimes
from streamlib.windows.assigned import check_windows

MOST_TIMES = 10_000  # of a flow: windows are a function of the time, and real data has few kinds


def event_times(read: Read, table: pa.Table) -> Micros:
    """The event times of the rows, at least one, of a source that has them; without one: that before."""
    batch = Batch.from_arrow(table.combine_chunks().to_batches()[0])
    known = EventTimes(read, table.schema)
    rows = np.arange(batch.num_rows)
    missing = [row for row, _ in known.failing(batch, rows)]
    good = np.delete(rows, missing)
    times = known.of(batch.take(good))
    assert times is not None
    return times[np.maximum(np.searchsorted(good, rows, side="right") - 1, 0)] if len(good) else rows


def check_windows_of(flow: BoundFlow, rows: Mapping[str, Mapping[str, pa.Table]]) -> None:
    """Ask the windows about the event times of the sources above them.

    Raises what is wrong with the windows, naming the operator.
    """
    times = {
        name: event_times(read, table)
        for name, (_, read) in flow.reads().items()
        for table in [pa.concat_tables(rows[name].values())]
        if read.event_time is not None and table.num_rows
    }
    for bound in flow.nodes:
        above = [times[name] for name in sorted(bound.sources) if name in times]
        if isinstance(bound.node.spec, WindowAggregate) and above:
            try:
                check_windows(bound.node.spec.window, np.concatenate(above)[:MOST_TIMES])
            except StreamlibError as error:
                raise bound.node.blame(error) from error.__cause__
