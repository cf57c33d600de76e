"""Errors of connectors, with the name of the source or sink and the line that built it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from streamlib.core.errors import StreamlibError
from streamlib.plan.node import Node


@contextmanager
def blaming(node: Node) -> Iterator[None]:
    """Let errors pass, naming `node`."""
    try:
        yield
    except Exception as error:
        blame(node, error)
        raise


def blame(node: Node, error: Exception) -> None:
    """Name `node` in the text of a `StreamlibError`, else in a note."""
    if isinstance(error, StreamlibError):
        node.blame(error)
        return
    note = f"in operator {node.title!r} ({node.where})"
    if note not in getattr(error, "__notes__", ()):  # a lane gives the same error to every call
        error.add_note(note)
