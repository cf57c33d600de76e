"""Avro object container files: records in blocks behind a header that holds their schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from operator import itemgetter
from typing import IO, Any

import pyarrow as pa

from streamlib.formats.arrays import ToArrays
from streamlib.formats.avro_format import load_fastavro, to_leaf
from streamlib.formats.avro_schema import columns_of_avro, without_logical


class AvroBlocks:
    """An open file: its columns, and its rows.

    Whatever fastavro and zlib raise for bytes that are no Avro comes through.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._blocks = load_fastavro().block_reader(file)
        self._schema = json.loads(self._blocks.metadata["avro.schema"])
        self.columns: pa.Schema = columns_of_avro(self._schema)

    def rows(self, columns: pa.Schema, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """All records, with these of the columns, in batches of at least so many rows, the last excepted."""
        arrays = ToArrays(to_leaf, itemgetter)
        records: list[Any] = []
        for found in self._records():
            records += found
            if len(records) >= batch_rows:
                yield arrays.rows(records, columns)
                records = []
        if records:
            yield arrays.rows(records, columns)

    def _records(self) -> Iterator[list[Any]]:
        """The records of each block; dates and moments stay the numbers that they are in the file."""
        fastavro = load_fastavro()
        read, schema = fastavro.schemaless_reader, fastavro.parse_schema(without_logical(self._schema))
        for block in self._blocks:
            yield [read(block.bytes_, schema) for _ in range(block.num_records)]
