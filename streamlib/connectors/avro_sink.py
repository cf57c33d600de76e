"""The staged sink of Avro files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from types import ModuleType
from typing import Any, ClassVar

import pyarrow as pa

from streamlib.connectors.file_sink import MAX_BYTES_PER_FILE, MAX_ROWS_PER_FILE, FileSink, file_sink
from streamlib.connectors.open_file import Encoder, Encoding
from streamlib.connectors.stores import S3
from streamlib.core.disk import WritableFile
from streamlib.core.errors import MissingExtraError, SinkError

BLOCK_BYTES = 64 << 10  # between sync markers, before compression: readers skip and split there
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class AvroEncoding(Encoding):
    """Avro object container files, compressed by deflate; see `Encoding`."""

    name: ClassVar[str] = "avro"
    ending: ClassVar[str] = ".avro"

    def check(self, schema: pa.Schema) -> None:
        _fastavro()
        avro_schema(schema)

    def open(self, file: WritableFile, schema: pa.Schema) -> Encoder:
        return _Records(file, schema)


class _Records:
    def __init__(self, file: WritableFile, schema: pa.Schema) -> None:
        writer: Any = _fastavro().Writer
        self._numbers = pa.schema([field.with_type(_number(field.type)) for field in schema])
        self._avro = writer(file, avro_schema(schema), codec="deflate", sync_interval=BLOCK_BYTES)

    def write(self, block: pa.Table) -> None:
        # Record by record: Avro is a format of records, and fastavro takes dicts.
        for record in _in_units(block, self._numbers).to_pylist(maps_as_pydicts="strict"):
            self._avro.write(record)

    def finish(self) -> None:
        self._avro.flush()


def _fastavro() -> ModuleType:
    try:
        from fastavro import write  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError.of("fastavro", "avro") from error
    return write


def _number(dtype: pa.DataType) -> pa.DataType:
    """The integers that Avro stores for a type, which spares making Python's dates and times of them."""
    if pa.types.is_timestamp(dtype) or pa.types.is_time64(dtype):
        return pa.int64()
    return pa.int32() if pa.types.is_date32(dtype) or pa.types.is_time32(dtype) else dtype


def _in_units(block: pa.Table, numbers: pa.Schema) -> pa.Table:
    """The block with times as the numbers that the schema speaks of."""
    columns = []
    for column, field in zip(block.columns, numbers, strict=True):
        dtype = column.type
        if pa.types.is_timestamp(dtype) and dtype.unit == "s":
            column = column.cast(pa.timestamp("ms", dtype.tz))  # noqa: PLW2901
        elif pa.types.is_time32(dtype) and dtype.unit == "s":
            column = column.cast(pa.time32("ms"))  # noqa: PLW2901
        columns.append(column.cast(field.type))
    return pa.Table.from_arrays(columns, schema=numbers)


_SIMPLE = {
    pa.bool_(): "boolean",
    pa.int8(): "int",
    pa.int16(): "int",
    pa.int32(): "int",
    pa.uint8(): "int",
    pa.uint16(): "int",
    pa.int64(): "long",
    pa.uint32(): "long",
    pa.float16(): "float",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.string(): "string",
    pa.large_string(): "string",
    pa.binary(): "bytes",
    pa.large_binary(): "bytes",
    pa.null(): "null",
}


def avro_schema(schema: pa.Schema) -> dict[str, Any]:
    """The Avro schema of rows: every field may be null. Raises `SinkError` for types and names it lacks."""
    return _record("row", schema)


def _record(name: str, fields: Sequence[pa.Field]) -> dict[str, Any]:
    for field in fields:
        if not _NAME.fullmatch(field.name):
            raise SinkError(
                f"Avro can't hold a field called {field.name!r}",
                expected="names of the letters A to Z, digits and _, not beginning with a digit",
                found=repr(field.name),
                remedy="rename the column before the sink",
            )
    # Named by the way to it: no two records of a schema may share a name.
    types = [(field.name, _nullable(f"{name}_{field.name}", field.type)) for field in fields]
    return {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in types]}


def _nullable(name: str, dtype: pa.DataType) -> Any:
    avro = _avro_type(name, dtype)
    return avro if avro == "null" else ["null", avro]


def _avro_type(name: str, dtype: pa.DataType) -> Any:
    if dtype in _SIMPLE:
        return _SIMPLE[dtype]
    if pa.types.is_dictionary(dtype):
        return _avro_type(name, dtype.value_type)
    if pa.types.is_date32(dtype):
        return {"type": "int", "logicalType": "date"}
    if pa.types.is_decimal(dtype):
        size = {"precision": dtype.precision, "scale": dtype.scale}
        return {"type": "bytes", "logicalType": "decimal", **size}
    if (pa.types.is_timestamp(dtype) or pa.types.is_time(dtype)) and dtype.unit != "ns":
        return _time(dtype)
    if pa.types.is_map(dtype) and dtype.key_type in (pa.string(), pa.large_string()):
        return {"type": "map", "values": _nullable(f"{name}_value", dtype.item_type)}
    if pa.types.is_list(dtype) or pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype):
        return {"type": "array", "items": _nullable(f"{name}_item", dtype.value_type)}
    if pa.types.is_struct(dtype):
        return _record(name, dtype.fields)
    raise SinkError(
        f"Avro can't hold {name.removeprefix('row_')!r}",
        expected="numbers that fit 64 signed bits, texts, bytes, dates, times to the microsecond, and lists, "
        "structs and maps of these",
        found=f"type {dtype}",
        remedy='cast it before the sink, for example to pa.int64() or pa.timestamp("us", "UTC")',
    )


def _time(dtype: pa.DataType) -> dict[str, Any]:
    unit = "micros" if dtype.unit == "us" else "millis"
    if pa.types.is_timestamp(dtype):
        kind = "timestamp" if dtype.tz else "local-timestamp"
        return {"type": "long", "logicalType": f"{kind}-{unit}"}
    return {"type": "long" if unit == "micros" else "int", "logicalType": f"time-{unit}"}


def sink(
    path: str | PathLike[str],
    max_rows_per_file: int = MAX_ROWS_PER_FILE,
    *,
    max_bytes_per_file: int = MAX_BYTES_PER_FILE,
    partition_by: str | Sequence[str] = (),
    store: S3 | None = None,
) -> FileSink:
    """An exactly-once sink: a folder of Avro files, whose readers see only whole checkpoints.

    Every field may be null; times are logical types. Files are compressed by deflate. Needs
    `pip install "streamlib[avro]"`. It is by far the slowest of the formats, as fastavro takes one
    Python record after the other. When files end, how they are called and what is checked at the
    start is the same as for `parquet.sink`.

    Args:
        path: the folder; created, with its parents, when the job starts. `~` is the home folder. Or
            a prefix in `store`, or `"s3://bucket/prefix"`.
        max_rows_per_file: the most rows of one file.
        max_bytes_per_file: about how long a file gets: it ends where this is reached.
        partition_by: columns whose values become folders, as in `day=2024-01-01/`, instead of columns.
        store: where the path is, if not on the local disk: `stores.s3(...)`.

    Raises:
        DefinitionError: an option that is not as described.

    When the job starts, raises `MissingExtraError` without fastavro, `SinkError` for names and types that
    Avro does not have (nanoseconds and uint64 among them).

    >>> sink("out/hot", partition_by=["day"])
    avro.sink('out/hot', partition_by=('day',))
    """
    return file_sink(path, AvroEncoding(), max_rows_per_file, max_bytes_per_file, partition_by, store)
