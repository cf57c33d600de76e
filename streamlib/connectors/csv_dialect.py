"""How the characters of a CSV file are to be read, and readers that do it."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa

from streamlib.core.errors import DefinitionError, TypeMismatchError

BLOCK_BYTES = 4 << 20  # parsed at once, some 50,000 rows; one record must fit


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

    def open(self, stream: Any, columns: pa.Schema | None) -> Any:
        """A pyarrow reader of record batches with these columns, or with all and inferred types.

        Raises what pyarrow raises: `ArrowException`, or `OSError`.
        """
        from pyarrow import csv  # noqa: PLC0415 - who reads no CSV need not load it

        names = columns.names if columns is not None else None
        return csv.open_csv(
            stream,
            read_options=csv.ReadOptions(
                use_threads=False,  # the runner reads partitions on threads of its own
                block_size=BLOCK_BYTES,
                column_names=None if self.header else names,
                autogenerate_column_names=not self.header and names is None,
            ),
            parse_options=csv.ParseOptions(
                delimiter=self.delimiter, quote_char=self.quote or False, newlines_in_values=True
            ),
            convert_options=csv.ConvertOptions(
                column_types=columns,
                include_columns=names,
                null_values=list(self.null_values),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )

    def infer(self, stream: Any) -> pa.Schema:
        """All columns of the file, with the types its first block shows. Raises as `open` does."""
        with self.open(stream, None) as reader:
            return reader.schema


def check_types(columns: pa.Schema) -> None:
    """Raise now, not when a file is there, for what CSV can't be read as."""
    dialect = Dialect(",", '"', True, ())
    for field in columns:
        try:
            dialect.open(io.BytesIO(b"value\n"), pa.schema({"value": field.type})).close()
        except pa.ArrowNotImplementedError as error:
            raise TypeMismatchError(
                f"column {field.name!r} can't be read from CSV as {field.type}",
                expected="numbers, booleans, text, binary, decimals, dates, times or timestamps",
                found=str(field.type),
                remedy="read it as pa.string() and parse it in the flow",
            ) from error
