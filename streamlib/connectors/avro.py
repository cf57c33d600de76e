"""Avro files: a staged sink."""

from streamlib.connectors.avro_sink import sink

__all__ = ["sink"]
