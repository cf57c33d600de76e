"""Connectors: one module per system; each has `source` and `sink` factories where the system has both."""

from streamlib.connectors import console, csv, memory, parquet

__all__ = ["console", "csv", "memory", "parquet"]
