"""The staged sink of CSV files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, ClassVar

import pyarrow as pa

from streamlib.connectors.compression import Compress, check_compress, compressing, suffixed
from streamlib.connectors.csv_dialect import Dialect
from streamlib.connectors.file_sink import MAX_BYTES_PER_FILE, MAX_ROWS_PER_FILE, FileSink, file_sink
from streamlib.connectors.instants import check_years
from streamlib.connectors.open_file import Encoder, Encoding
from streamlib.connectors.stores import S3
from streamlib.core.disk import WritableFile
from streamlib.core.errors import SinkError

_NO_TEXT: Sequence[Callable[[pa.DataType], bool]] = (
    pa.types.is_nested,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
    pa.types.is_interval,
)


@dataclass(frozen=True)
class CsvEncoding(Encoding):
    """CSV as `csv.source` reads it: texts in quotes, so that an empty one is no null; see `Encoding`."""

    name: ClassVar[str] = "csv"
    ending: ClassVar[str] = ".csv"

    delimiter: str = ","
    header: bool = True
    compress: Compress | None = None

    @property
    def suffix(self) -> str:
        return suffixed(self.ending, self.compress)

    def given(self) -> dict[str, object]:
        return {
            "delimiter": None if self.delimiter == "," else self.delimiter,
            "header": None if self.header else False,
            "compress": self.compress,
        }

    def check(self, schema: pa.Schema) -> None:
        for field in schema:
            if any(is_it(field.type) for is_it in _NO_TEXT):
                raise SinkError(
                    f"CSV can't hold the column {field.name!r}",
                    expected="numbers, texts, booleans, dates and times",
                    found=f"type {field.type}",
                    remedy="cast it or take its parts before the sink, or write Parquet or JSON lines",
                )

    def open(self, file: WritableFile, schema: pa.Schema) -> Encoder:
        return _Records(compressing(file, self.compress), schema, self)


class _Records:
    def __init__(self, stream: Any, schema: pa.Schema, encoding: CsvEncoding) -> None:
        from pyarrow import csv  # noqa: PLC0415 - who writes no CSV need not load it

        options = csv.WriteOptions(include_header=encoding.header, delimiter=encoding.delimiter)
        self._stream = stream
        self._csv = csv.CSVWriter(stream, schema, write_options=options)

    def write(self, block: pa.Table) -> None:
        if block.num_columns == 1 and block.column(0).null_count:
            raise SinkError(
                f"a null of {block.column_names[0]!r}, the only column, would be an empty line",
                expected="a value, or a second column: readers of CSV skip empty lines",
                found="null",
                remedy="filter such rows, fill them (`.fill_null(...)`), or write Parquet or JSON lines",
            )
        for column in block.columns:
            check_years(column)
        self._csv.write_table(block)
        self._stream.flush()  # the length of the file is looked at now

    def finish(self) -> None:
        self._csv.close()
        self._stream.close()


def sink(
    path: str | PathLike[str],
    max_rows_per_file: int = MAX_ROWS_PER_FILE,
    *,
    max_bytes_per_file: int = MAX_BYTES_PER_FILE,
    partition_by: str | Sequence[str] = (),
    store: S3 | None = None,
    delimiter: str = ",",
    header: bool = True,
    compress: Compress | None = None,
) -> FileSink:
    """An exactly-once sink: a folder of CSV files in UTF-8, whose readers see only whole checkpoints.

    Texts are in quotes and nulls are not, as `csv.source` reads them. When files end, how they are
    called and what is checked at the start is the same as for `parquet.sink`.

    Args:
        path: the folder; created, with its parents, when the job starts. `~` is the home folder. Or
            a prefix in `store`, or `"s3://bucket/prefix"`.
        max_rows_per_file: the most rows of one file.
        max_bytes_per_file: about how long a file gets (compressed): it ends where this is reached.
        partition_by: columns whose values become folders, as in `day=2024-01-01/`, instead of columns.
        store: where the path is, if not on the local disk: `stores.s3(...)`.
        delimiter: one character between values.
        header: whether the first line names the columns.
        compress: "gz" or "zst"; files end in `.csv.gz` or `.csv.zst` then.

    Raises:
        DefinitionError: an option that is not as described.

    When the job starts, raises `SinkError` for nested and binary columns. When it runs, for a null where
    there is one column alone, since that would be an empty line.

    >>> sink("out/hot", compress="gz")
    csv.sink('out/hot', compress='gz')
    """
    Dialect(delimiter, '"', header, ("",))  # which checks the delimiter
    check_compress(compress)
    encoding = CsvEncoding(delimiter, header, compress)
    return file_sink(path, encoding, max_rows_per_file, max_bytes_per_file, partition_by, store)
