"""State that grows for ever, since the source never ends and nothing takes rows or keys away again."""

from __future__ import annotations

from collections.abc import Iterator

from streamlib.core.contracts import OperatorSpec
from streamlib.core.errors import UnboundedError
from streamlib.plan.bind import BoundFlow, BoundNode


def growing(flow: BoundFlow) -> Iterator[tuple[BoundNode, str]]:
    """The operators whose state grows for ever, each with how, and what would bound it."""
    endless = {name for name, (_, read) in flow.reads().items() if not read.source.bounded}
    for bound in flow.nodes:
        spec = bound.node.spec
        if isinstance(spec, OperatorSpec) and endless & bound.sources:
            grows = spec.grows(bound.input_types)
            if grows is not None:
                yield bound, grows


def check_growth(flow: BoundFlow) -> None:
    """Raise `UnboundedError` for an operator that keeps every row of a source without an end.

    With keys there may be few rows of each, and few keys: these are warned of. Without, no job can last.
    """
    for bound, grows in growing(flow):
        spec = bound.node.spec
        assert isinstance(spec, OperatorSpec)
        kept = spec.keeps(bound.input_types)
        if kept is not None and not bound.input_types[0].keys:
            raise bound.node.blame(
                UnboundedError(
                    "the state grows with every row of a source without an end",
                    expected="state that ends with a window, or does not hold every row",
                    found=f"{kept} of every row",
                    remedy=grows.partition("; ")[2] or "aggregate in windows",
                )
            )
