"""Push-down: what sources need not read, told to those that can spare it. Runners ask for it.

Columns that nobody reads are left out (`projection.py`), and so are the parts of files that hold no row
which passes the filters directly behind a source. Those filters stay, and see all rows that are read;
results, late rows, positions and counts are the same, as if everything had been read. Plans show flows as
they were described, and of each source what it need not read.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import or_

from streamlib.core.contracts import StreamType
from streamlib.core.expressions import Expr
from streamlib.core.expressions.ranges import decidable
from streamlib.core.policies import outcome
from streamlib.core.skipping import EVERY_ROW, Passes, Skips
from streamlib.plan.bind import BoundFlow, rebound
from streamlib.plan.node import Node, Read
from streamlib.plan.projection import projected


def pushed_down(flow: BoundFlow) -> BoundFlow:
    """The same flow over sources that read no more than it needs."""
    return projected(_skipping(flow))


def _skipping(flow: BoundFlow) -> BoundFlow:
    reads: dict[int, tuple[Read, StreamType]] = {}
    for i, needed in rows_to_read(flow).items():
        spec = flow.nodes[i].node.spec
        assert isinstance(spec, Read)
        assert isinstance(spec.source, Skips)
        source = spec.source.skipping(needed, spec.event_time_column())
        reads[i] = replace(spec, source=source), flow.nodes[i].output_types[0]
    return rebound(flow, reads) if reads else flow


def rows_to_read(flow: BoundFlow) -> dict[int, Expr]:
    """By the index of a source that can spare rows: what is true for all that anything below depends on."""
    found: dict[int, Expr] = {}
    for i, bound in enumerate(flow.nodes):
        spec = bound.node.spec
        if isinstance(spec, Read) and isinstance(spec.source, Skips) and _may_skip(bound.node, spec):
            needed = _needed(flow, (i, 0), bound.output_types[0])
            if needed is not None:
                found[i] = needed
    return found


def _may_skip(node: Node, read: Read) -> bool:
    """Whether statistics can tell how far time comes in rows that are left out, and none of them counts."""
    counts_rows_ahead = outcome(node.on_error) != "fail" and read.max_ahead is not None
    return read.event_time is None or (read.event_time_column() is not None and not counts_rows_ahead)


def _needed(flow: BoundFlow, port: tuple[int, int], stream: StreamType) -> Expr | None:
    """What is true for every row of an output that anything below depends on; None: can't be told."""
    wishes = [_passed(flow, i, stream) for i, found in enumerate(flow.nodes) if port in found.inputs]
    wished = [wish for wish in wishes if wish is not None and wish is not EVERY_ROW]
    return reduce(or_, wished) if wished and len(wished) == len(wishes) else None


def _passed(flow: BoundFlow, index: int, stream: StreamType) -> Expr | None:
    """The same for one operator: `stream` has the columns of the source."""
    spec = flow.nodes[index].node.spec
    condition = spec.passes() if isinstance(spec, Passes) else None
    if condition is None or not decidable(condition, stream):
        return None  # it may look at rows otherwise, or fail at them
    below = _needed(flow, (index, 0), stream)
    if below is None or condition is EVERY_ROW:
        return condition if below is None else below
    return condition & below
