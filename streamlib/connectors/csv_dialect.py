"""How the characters of a CSV file are to be read, and readers that do it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import pyarrow as pa

from streamlib.connectors.csv_errors import explain
from streamlib.connectors.csv_records import Records
from streamlib.connectors.places import Place
from streamlib.connectors.text_blocks import head
from streamlib.core.errors import DefinitionError, TypeMismatchError


@dataclass(frozen=True)
class Dialect:
    """The settings of `csv.source` that say how text becomes values."""

    delimiter: str
    quote: str
    header: bool
    null_values: tuple[str, ...]

    def __post_init__(self) -> None:
        for name, value in (("delimiter", self.delimiter), ("quote", self.quote or '"')):
            if len(value) != 1 or not value.isascii() or value in "\r\n":
                raise DefinitionError(
                    f"{name} must be one character",
                    expected="one ASCII character, not a line break",
                    found=repr(value),
                    remedy=f'leave {name}= out, or give for example delimiter=";"',
                )

    def given(self) -> dict[str, object]:
        """What differs from the defaults of `csv.source`; None for what does not."""
        usual = Dialect(",", '"', True, ("",))
        pairs = (
            (field.name, getattr(self, field.name), getattr(usual, field.name)) for field in fields(self)
        )
        return {name: None if value == default else value for name, value, default in pairs}

    def records(self) -> Records:
        """What finds records."""
        return Records(self.delimiter, self.quote)

    def parse(self, data: bytes, names: Sequence[str] | None, columns: pa.Schema | None) -> pa.RecordBatch:
        """The rows of some records: these columns of those that `names` says, or all with inferred types.

        Without `names` the first record says them. Raises what pyarrow raises: `ArrowException`.
        """
        from pyarrow import csv  # noqa: PLC0415 - who reads no CSV need not load it

        table = csv.read_csv(
            pa.BufferReader(data),
            read_options=csv.ReadOptions(
                use_threads=False,  # the runner reads partitions on threads of its own
                block_size=len(data) + 1,
                column_names=names,
                autogenerate_column_names=not self.header and names is None,
            ),
            parse_options=csv.ParseOptions(
                delimiter=self.delimiter, quote_char=self.quote or False, newlines_in_values=True
            ),
            convert_options=csv.ConvertOptions(
                column_types=columns,
                include_columns=None if columns is None else columns.names,
                null_values=list(self.null_values),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        batches = table.combine_chunks().to_batches()
        return batches[0] if batches else pa.RecordBatch.from_pylist([], table.schema)


def header_of(place: Place, path: str, dialect: Dialect) -> list[str] | None:
    """The names in the first record of a file, None if there is none. Raises `SourceError`."""
    records = dialect.records()
    try:
        start, stop = records.first(data := head(place, path, records.end))
        names: list[str] = dialect.parse(data[start:stop], None, None).schema.names if stop > start else []
    except (pa.ArrowException, OSError) as error:
        raise explain(error, repr(path), []) from error
    return names or None


def check_types(columns: pa.Schema) -> None:
    """Raise now, not when a file is there, for what CSV can't be read as."""
    dialect = Dialect(",", '"', True, ())
    for field in columns:
        try:
            dialect.parse(b"value\n", None, pa.schema({"value": field.type}))
        except pa.ArrowNotImplementedError as error:
            raise TypeMismatchError(
                f"column {field.name!r} can't be read from CSV as {field.type}",
                expected="numbers, booleans, text, binary, decimals, dates, times or timestamps",
                found=str(field.type),
                remedy="read it as pa.string() and parse it in the flow",
            ) from error
