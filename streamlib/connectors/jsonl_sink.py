"""The staged sink of JSON lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, ClassVar

import pyarrow as pa

from streamlib.connectors.compression import Compress, check_compress, compressing, suffixed
from streamlib.connectors.file_sink import MAX_BYTES_PER_FILE, MAX_ROWS_PER_FILE, FileSink, file_sink
from streamlib.connectors.json_text import check_json, json_lines
from streamlib.connectors.open_file import Encoder, Encoding
from streamlib.connectors.stores import S3
from streamlib.core.disk import WritableFile


@dataclass(frozen=True)
class JsonLinesEncoding(Encoding):
    """A JSON object a line; see `Encoding`."""

    name: ClassVar[str] = "jsonl"
    ending: ClassVar[str] = ".jsonl"

    compress: Compress | None = None

    @property
    def suffix(self) -> str:
        return suffixed(self.ending, self.compress)

    def given(self) -> dict[str, object]:
        return {"compress": self.compress}

    def check(self, schema: pa.Schema) -> None:
        check_json(schema)

    def open(self, file: WritableFile, schema: pa.Schema) -> Encoder:
        return _Lines(compressing(file, self.compress))


class _Lines:
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, block: pa.Table) -> None:
        for rows in block.combine_chunks().to_batches():
            self._stream.write(json_lines(rows))
        self._stream.flush()  # the length of the file is looked at now

    def finish(self) -> None:
        self._stream.close()


def sink(
    path: str | PathLike[str],
    max_rows_per_file: int = MAX_ROWS_PER_FILE,
    *,
    max_bytes_per_file: int = MAX_BYTES_PER_FILE,
    partition_by: str | Sequence[str] = (),
    store: S3 | None = None,
    compress: Compress | None = None,
) -> FileSink:
    """An exactly-once sink: a folder of JSON lines, whose readers see only whole checkpoints.

    Each row is an object on a line of its own, with every column; nulls are `null`. Instants and
    durations are ISO 8601 (in UTC, where they have a zone; `PT1.5S`), decimals are numbers with all their
    digits, floats that are no numbers are `null`. `jsonl.source` reads what it writes. When files end, how
    they are called and what is checked at the start is the same as for `parquet.sink`.

    Args:
        path: the folder; created, with its parents, when the job starts. `~` is the home folder. Or
            a prefix in `store`, or `"s3://bucket/prefix"`.
        max_rows_per_file: the most rows of one file.
        max_bytes_per_file: about how long a file gets (compressed): it ends where this is reached.
        partition_by: columns whose values become folders, as in `day=2024-01-01/`, instead of columns.
        store: where the path is, if not on the local disk: `stores.s3(...)`.
        compress: "gz" or "zst"; files end in `.jsonl.gz` or `.jsonl.zst` then.

    Raises:
        DefinitionError: an option that is not as described.

    When the job starts, raises `SinkError` for binary columns and maps whose keys are no texts.

    >>> sink("out/hot")
    jsonl.sink('out/hot')
    """
    check_compress(compress)
    encoding = JsonLinesEncoding(compress)
    return file_sink(path, encoding, max_rows_per_file, max_bytes_per_file, partition_by, store)
