"""JSON lines: a staged sink."""

from streamlib.connectors.jsonl_sink import sink

__all__ = ["sink"]
