"""What came when: rows of a stream in the order of their arrival, each beside the watermark it met."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamlib.connectors import memory
from streamlib.core.batch import Batch, as_arrow
from streamlib.core.errors import EventTimeError, TypeMismatchError, UnknownColumnError
from streamlib.core.time import Micros, timestamp_type, to_micros
from streamlib.plan.bind import BoundFlow, bind_flow
from streamlib.plan.launch import Until
from streamlib.plan.node import Node, Write
from streamlib.plan.stream import Handle
from streamlib.runners.collecting import Run, Stop
from streamlib.runners.driver import BatchSize
from streamlib.runners.preview import SampleWorld

ROWS, LATE = "(rows)", "(late)"  # names that no user can give


@dataclass(frozen=True)
class Arrivals:
    """Rows in the order of their arrival, as vectors of one length.

    Attributes:
        event_time: microseconds.
        watermark: at which the sources stood when the row came, in microseconds.
        late: whether the row came out late.
        arrived: when it came, in microseconds, from a column that tells; else None.
    """

    event_time: Micros
    watermark: Micros
    late: npt.NDArray[np.bool_]
    arrived: Micros | None

    @property
    def behind(self) -> npt.NDArray[np.bool_]:
        """Which rows came behind the watermark."""
        return self.event_time < self.watermark


class _Recording(Run):
    """A run, a row at a time, that notes beside each row the watermark before it.

    Late rows come out in the very step in which they came in.
    """

    def __init__(self, flow: BoundFlow, world: SampleWorld, stop: Stop) -> None:
        super().__init__(flow, "streaming", world, stop, BatchSize(1, smallest=1, largest=1))
        self._step = 0
        self._before = self.watermark
        self.steps: dict[str, list[int]] = {ROWS: [], LATE: []}
        self.watermarks: list[int] = []

    def turn(self) -> None:
        self._step += 1
        self._before = self.watermark
        super().turn()

    def take(self, sink: str, batch: Batch) -> None:
        super().take(sink, batch)
        self.steps[sink] += [self._step] * batch.num_rows
        if sink == ROWS:
            self.watermarks += [self._before] * batch.num_rows


def record(stream: Handle, late: Handle | None, arrival: str | None, n: int, until: Until) -> Arrivals:
    """The first `n` rows of a stream."""
    flow = _flow(stream, late)
    dtype = _check(flow, arrival)
    world = SampleWorld()
    run = _Recording(flow, world, _Enough(n, until, world))
    run.go()
    batches = run.found[ROWS]
    times = [batch.event_time for batch in batches if batch.event_time is not None]
    came = np.array(run.steps[ROWS], np.int64)
    arrived = None
    if arrival is not None:
        columns = [to_micros(as_arrow(batch.column(arrival), dtype), "UTC") for batch in batches]
        arrived = np.concatenate([*columns, _NONE])
    return Arrivals(
        np.concatenate([*times, _NONE]),
        np.array(run.watermarks, np.int64),
        np.isin(came, run.steps[LATE]),
        arrived,
    )


_NONE = np.empty(0, np.int64)


class _Enough(Stop):
    """Stops when there are enough rows; late ones come when they come."""

    def __init__(self, n: int, until: Until, world: SampleWorld) -> None:
        super().__init__(n, until, world.clock)

    def enough(self, rows: dict[str, int]) -> bool:
        return super().enough({ROWS: rows[ROWS]})


def _flow(stream: Handle, late: Handle | None) -> BoundFlow:
    ends = [(stream, ROWS)] if late is None else [(stream, ROWS), (late, LATE)]
    return bind_flow("arrivals", [Node(Write(memory.sink()), (end.port,), name) for end, name in ends])


def _check(flow: BoundFlow, arrival: str | None) -> object:
    """The type of the column `arrival`."""
    bound, _ = flow.writes()[ROWS]
    (rows,) = bound.input_types
    if not rows.event_time:
        raise bound.node.blame(
            EventTimeError(
                "the stream has no event time",
                expected="rows with event time, and a watermark",
                found="neither",
                remedy="give `event_time=` and `watermark=` to `sl.read`",
            )
        )
    if arrival is None:
        return None
    if arrival not in rows.schema.names:
        raise UnknownColumnError.of(arrival, rows.schema.names)
    dtype = rows.schema.field(arrival).type
    if not timestamp_type(dtype):
        raise TypeMismatchError(
            f"column {arrival!r} does not say when rows arrived",
            expected="a timestamp, a date, or an integer of microseconds since the epoch",
            found=str(dtype),
            remedy="name another column, or leave `arrival=` out to see the order alone",
        )
    return dtype
