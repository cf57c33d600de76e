"""Rows by the values of some columns, as folders that tell them: `day=2024-01-01/region=eu`.

This is Hive's layout, which pyarrow, Polars, DuckDB and Spark read: values are percent-encoded UTF-8, a
null is `__HIVE_DEFAULT_PARTITION__`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.errors import DefinitionError, SinkError, UnknownColumnError, shown

NULL = "__HIVE_DEFAULT_PARTITION__"
LONGEST = 255  # bytes of a folder's name that filesystems take

_NAME = re.compile(r"[^\s._=/%\\][^=/%\\\x00-\x1f]*")


def partition_columns(names: str | Sequence[str]) -> tuple[str, ...]:
    """The columns as a description holds them. Raises `DefinitionError` for what can't name a folder."""
    columns = (names,) if isinstance(names, str) else tuple(names)
    for name in columns:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise DefinitionError(
                "partition_by= holds what can't be in the name of a folder",
                expected='columns whose names begin with no "." or "_" and have no "=", "/", "%" or "\\"',
                found=shown(name),
                remedy="rename the column before the sink",
            )
    if len(set(columns)) < len(columns):
        raise DefinitionError(
            "partition_by= names a column twice",
            expected="each column once",
            found=", ".join(columns),
            remedy="leave the second one out",
        )
    return columns


class Partitioning:
    """Splits rows; `schema` is what is left for the files."""

    def __init__(self, columns: tuple[str, ...], schema: pa.Schema) -> None:
        for name in columns:
            if name not in schema.names:
                raise UnknownColumnError.of(name, schema.names)
            _check_type(name, schema.field(name).type)
        self._columns = columns
        self.schema = pa.schema([field for field in schema if field.name not in columns])
        if not self.schema.names:
            raise SinkError(
                "partition_by= names all columns",
                expected="at least one column that is left for the files",
                found=", ".join(columns),
                remedy="leave one of them out of partition_by=",
            )

    def split(self, rows: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Folders and their rows, in the order in which they came, without the columns of the folders."""
        if not self._columns or not rows.num_rows:
            yield "", rows
            return
        codes, texts = _coded(rows, self._columns)
        rest = rows.select(self.schema.names)
        order = np.argsort(codes, kind="stable")
        ends = np.flatnonzero(np.diff(codes[order])) + 1
        sorted_rows = rest.take(pa.array(order)) if len(ends) else rest
        edges = [0, *ends.tolist(), rows.num_rows]
        for start, stop in pairwise(edges):
            first = order[start]
            folder = "/".join(folders[index[first]] for folders, index in texts)
            yield folder, sorted_rows.slice(start, stop - start)


_Texts = list[tuple[list[str], npt.NDArray[np.int32]]]


def _coded(rows: pa.RecordBatch, columns: tuple[str, ...]) -> tuple[npt.NDArray[np.int64], _Texts]:
    """A code for each row's combination of values; by column the folders, and which of them a row has."""
    texts: _Texts = []
    codes = np.zeros(rows.num_rows, np.int64)
    for name in columns:
        column = rows.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        encoded = column.dictionary_encode("encode")
        index = encoded.indices.to_numpy()
        words = encoded.dictionary.cast(pa.string()).to_pylist()
        texts.append(([_folder(name, word) for word in words], index))
        if len(texts) > 1:  # small numbers again, so that the product below always fits
            codes = np.unique(codes, return_inverse=True)[1]
        codes = codes * len(words) + index
    return codes, texts


def _folder(column: str, value: str | None) -> str:
    folder = f"{column}={NULL if value is None else quote(value, safe=' ')}"
    if value == NULL or len(folder.encode()) > LONGEST:
        raise SinkError(
            f"a value of {column!r} can't be the name of a folder",
            expected=f"at most {LONGEST} bytes, percent-encoded, and not {NULL!r}, which means null",
            found=shown(value),
            remedy="partition by another column, or by a shorter one made of it",
        )
    return folder


def _check_type(name: str, dtype: pa.DataType) -> None:
    value = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
    is_any = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_integer,
        pa.types.is_boolean,
        pa.types.is_date,
    )
    if not any(is_it(value) for is_it in is_any):
        raise SinkError(
            f"rows can't be partitioned by {name!r}",
            expected="a column of texts, integers, booleans or dates",
            found=f"type {dtype}",
            remedy=f'make one before the sink, for example .with_columns(day=col("{name}").dt.date()), '
            'and give partition_by="day"',
        )
