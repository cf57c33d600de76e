"""Snapshots under watch: what an operator handed out must not change until it is written."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Mapping

import pyarrow as pa

from streamlib.core.contracts import OperatorSpec, OperatorState
from streamlib.core.errors import CheckError
from streamlib.core.segment import Segment
from streamlib.plan.bind import BoundFlow
from streamlib.plan.node import Node

OURS = "streamlib."


class SnapshotGuard:
    """Compares the rows of each segment when it was handed out and when it is written.

    Only of operators that are not ours: what theirs are made of is not to be touched twice.
    """

    def __init__(self, flow: BoundFlow) -> None:
        specs = {bound.id: bound.node for bound in flow.nodes if isinstance(bound.node.spec, OperatorSpec)}
        self._nodes = {id: n for id, n in specs.items() if not type(n.spec).__module__.startswith(OURS)}
        self._seen: weakref.WeakSet[Segment] = weakref.WeakSet()

    def watch(self, states: Mapping[str, OperatorState]) -> None:
        """Remember the rows of the segments that are new."""
        for operator, node in self._nodes.items():
            for table, segments in states[operator].tables.items() if operator in states else ():
                for segment in segments:
                    if segment not in self._seen:
                        self._seen.add(segment)
                        segment.made_by(_unchanged(node, table))


def _unchanged(node: Node, name: str) -> Callable[[Callable[[], pa.Table]], Callable[[], pa.Table]]:
    """Wraps the making of the segment: it is made now, and again when it is written."""

    def made(build: Callable[[], pa.Table]) -> Callable[[], pa.Table]:
        before = _digests(build())

        def rebuild() -> pa.Table:
            table = build()
            after = _digests(table)
            changed = [column for column in after if after[column] != before.get(column)]
            if changed:
                raise node.blame(_changed(name, changed))
            return table

        return rebuild

    return made


def _changed(table: str, columns: list[str]) -> CheckError:
    return CheckError(
        f"table {table!r} of a snapshot changed after the snapshot, before it was written",
        expected="rows that stay as they were: checkpoints are written beside the work that goes on",
        found=f"other values in {', '.join(map(repr, columns))}",
        remedy="in `snapshot` copy what you change in place: `self.counts.copy()`, not it or a slice",
    )


def _digests(table: pa.Table) -> dict[str, bytes]:
    """By column a hash of its values."""
    found = {}
    for i, name in enumerate(table.schema.names):
        sink = pa.BufferOutputStream()
        one = table.select([i])
        with pa.ipc.new_stream(sink, one.schema) as writer:
            writer.write_table(one)
        found[name] = hashlib.blake2b(sink.getvalue()).digest()
    return found
