"""Connectors: one module per system; each has `source` and `sink` factories where the system has both.

The contracts stand beside them for connectors of your own: a `Source` opens a `SourceReader` per
partition, which answers with a `Chunk` or a `Pause`; a `Sink` opens a `SinkWriter`.
"""

from typing import TYPE_CHECKING

from streamlib.core.contracts import Chunk, Pause, Sink, SinkContext, SinkWriter, Source, SourceReader
from streamlib.core.on_demand import on_demand

if TYPE_CHECKING:
    from streamlib.connectors import (
        avro,
        callback,
        console,
        csv,
        http,
        ipc,
        jsonl,
        memory,
        nexmark,
        null,
        parquet,
        rate,
        stores,
    )
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        modules=(
            "avro",
            "callback",
            "console",
            "csv",
            "http",
            "ipc",
            "jsonl",
            "memory",
            "nexmark",
            "null",
            "parquet",
            "rate",
            "stores",
        ),
    )

__all__ = [
    "Chunk",
    "Pause",
    "Sink",
    "SinkContext",
    "SinkWriter",
    "Source",
    "SourceReader",
    "avro",
    "callback",
    "console",
    "csv",
    "http",
    "ipc",
    "jsonl",
    "memory",
    "nexmark",
    "null",
    "parquet",
    "rate",
    "stores",
]
