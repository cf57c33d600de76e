"""How a flow reaches the runners without the plan knowing them: they register themselves here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from streamlib.core.errors import InvariantError

if TYPE_CHECKING:
    from streamlib.plan.flow import Flow
    from streamlib.plan.stream import Handle


class Launcher(Protocol):
    """What `Flow.run`, `Flow.backfill` and `collect` call."""

    def run(self, flow: Flow, **options: Any) -> Any: ...
    def backfill(self, flow: Flow, **options: Any) -> Any: ...
    def collect(self, flow: Flow) -> Mapping[str, pa.Table]: ...
    def collect_stream(self, stream: Handle) -> pa.Table: ...


_launchers: list[Launcher] = []


def register(launcher: Launcher) -> None:
    """Make `launcher` the one that flows use; the face of the package does so when it is imported."""
    _launchers[:] = [launcher]


def launcher() -> Launcher:
    """The registered launcher."""
    if not _launchers:
        raise InvariantError("no runner is registered", remedy="import streamlib before running a flow")
    return _launchers[0]
