"""Formats: how records are written as messages, one by one, and read again many at a time.

A format is a frozen description. `decode` and `encode` of a stream use it, and so do connectors.
"""

from typing import TYPE_CHECKING

from streamlib.core.on_demand import on_demand

if TYPE_CHECKING:
    from streamlib.formats.avro_format import avro
    from streamlib.formats.contract import Decoded, Encoded, Format
    from streamlib.formats.csv_format import csv
    from streamlib.formats.msgspec_formats import json, msgpack
    from streamlib.formats.plain_formats import arrow, raw
    from streamlib.formats.protobuf_format import protobuf
else:
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            "streamlib.formats.avro_format": ("avro",),
            "streamlib.formats.contract": ("Decoded", "Encoded", "Format"),
            "streamlib.formats.csv_format": ("csv",),
            "streamlib.formats.msgspec_formats": ("json", "msgpack"),
            "streamlib.formats.plain_formats": ("arrow", "raw"),
            "streamlib.formats.protobuf_format": ("protobuf",),
        },
    )

__all__ = ["Decoded", "Encoded", "Format", "arrow", "avro", "csv", "json", "msgpack", "protobuf", "raw"]
