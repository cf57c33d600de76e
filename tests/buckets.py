"""A bucket in memory that forgets nothing, and a process that ends before any request to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import obstore
from obstore.store import MemoryStore

from streamlib.testing.disk import SimulatedCrash

_REQUESTS = ("copy", "delete", "get", "head", "list", "list_with_delimiter", "open_writer")


class Requests:
    """Stands for the module obstore; ends the process before request number `ends_before` (from 0)."""

    def __init__(self) -> None:
        self.seen = 0
        self.ends_before: int | None = None
        self.exceptions = obstore.exceptions

    def __getattr__(self, name: str) -> Any:
        function = getattr(obstore, name)
        return self._counted(name, function) if name in _REQUESTS else function

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self._begin(name)
            made = function(*args, **options)
            return _Upload(made, self._begin) if name == "open_writer" else made

        return call

    def _begin(self, name: str) -> None:
        if self.ends_before is not None and self.seen >= self.ends_before:
            raise SimulatedCrash(f"before {name}")
        self.seen += 1


class _Upload:
    def __init__(self, upload: Any, begin: Callable[[str], None]) -> None:
        self.write = upload.write
        self._upload = upload
        self._begin = begin

    def close(self) -> None:
        self._begin("close")
        self._upload.close()


def read_all(store: MemoryStore) -> dict[str, bytes]:
    """The bytes of all objects, by key."""
    keys = sorted(meta["path"] for some in obstore.list(store) for meta in some)
    return {key: bytes(obstore.get(store, key).bytes()) for key in keys}
