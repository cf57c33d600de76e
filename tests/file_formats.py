"""Readers of files that are not ours, by the suffix of the files that our sinks write."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

from streamlib.connectors import avro, ipc, jsonl, parquet
from streamlib.connectors import csv as our_csv
from streamlib.connectors.file_sink import FileSink

Rows = list[dict[str, Any]]


def _parquet(data: bytes) -> Rows:
    return pq.read_table(io.BytesIO(data)).to_pylist()


def _ipc(data: bytes) -> Rows:
    return pa.ipc.open_file(data).read_all().to_pylist()


def _avro(data: bytes) -> Rows:
    return list(fastavro.reader(io.BytesIO(data)))


def _csv(data: bytes) -> Rows:
    return list(csv.DictReader(io.StringIO(data.decode())))


def _jsonl(data: bytes) -> Rows:
    return [json.loads(line) for line in data.splitlines()]


def _zst(data: bytes) -> bytes:
    return pa.CompressedInputStream(io.BytesIO(data), "zstd").read()


FORMATS: dict[str, tuple[Callable[..., FileSink], dict[str, Any], Callable[[bytes], Rows]]] = {
    ".parquet": (parquet.sink, {}, _parquet),
    ".arrow": (ipc.sink, {}, _ipc),
    ".avro": (avro.sink, {}, _avro),
    ".csv": (our_csv.sink, {}, _csv),
    ".csv.gz": (our_csv.sink, {"compress": "gz"}, lambda data: _csv(gzip.decompress(data))),
    ".jsonl": (jsonl.sink, {}, _jsonl),
    ".jsonl.zst": (jsonl.sink, {"compress": "zst"}, lambda data: _jsonl(_zst(data))),
}
"""By suffix: the factory, options of it, and how to read the bytes of a file."""


def sink_of(suffix: str, path: Any, max_rows_per_file: int = 5_000_000, **options: Any) -> FileSink:
    """A sink whose files end in `suffix`."""
    factory, given, _ = FORMATS[suffix]
    return factory(path, max_rows_per_file, **given, **options)


def rows_of(suffix: str, data: bytes) -> Rows:
    """The rows of a file that such a sink wrote; in CSV all values are texts."""
    return FORMATS[suffix][2](data)
