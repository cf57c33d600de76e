"""How a flow reaches the runners without the plan knowing them: they register themselves here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import pyarrow as pa

from streamlib.core.errors import InvariantError


class Launcher(Protocol):
    """What `Flow.run`, `Flow.backfill` and `collect` call.

    Flows and streams are `Any` here: their modules call this one, so it can't name their types.
    """

    def run(self, flow: Any, **options: Any) -> Any: ...
    def backfill(self, flow: Any, **options: Any) -> Any: ...
    def collect(self, flow: Any) -> Mapping[str, pa.Table]: ...
    def collect_stream(self, stream: Any) -> pa.Table: ...


_launchers: list[Launcher] = []


def register(launcher: Launcher) -> None:
    """Make `launcher` the one that flows use; the face of the package does so when it is imported."""
    _launchers[:] = [launcher]


def launcher() -> Launcher:
    """The registered launcher."""
    if not _launchers:
        raise InvariantError("no runner is registered", remedy="import streamlib before running a flow")
    return _launchers[0]
