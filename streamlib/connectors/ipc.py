"""Arrow IPC files: a staged sink."""

from streamlib.connectors.ipc_sink import sink

__all__ = ["sink"]
