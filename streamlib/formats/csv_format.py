"""CSV: a record in each message, read by pyarrow many at a time."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.errors import DefinitionError, FormatError, StreamlibError, TypeMismatchError, shown
from streamlib.core.isolation import isolated
from streamlib.core.where import caller
from streamlib.formats.contract import Decode, Decoded, Encode, Failure, Format, no_message
from streamlib.formats.messages import encoder, together
from streamlib.formats.moments import iso_texts
from streamlib.formats.shapes import Shape, schema_of_shape

_VALUE = re.compile(r"In CSV column #(\d+):(?: Row #\d+:)? CSV conversion error to (.+?): (.*)", re.DOTALL)
_SHAPE = re.compile(r"CSV parse error:(?: Row #\d+:)? Expected (\d+) columns, got (\d+)", re.DOTALL)


@dataclass(frozen=True, eq=False, repr=False)
class CsvFormat(Format):
    """One CSV record in each message, without a header. Made by `csv`."""

    kind: ClassVar[str] = "csv"
    per_record: ClassVar[bool] = False

    columns: pa.Schema
    delimiter: str
    quote: str
    null_values: tuple[str, ...]

    @property
    def schema(self) -> pa.Schema:
        return self.columns

    def decoder(self) -> Decode:
        return partial(_decode, self, self.parser())

    def parser(self) -> Callable[[bytes], pa.Table]:
        """What reads lines. Raises what pyarrow raises."""
        from pyarrow import csv  # noqa: PLC0415 - who reads no CSV need not load it

        names = self.columns.names
        options = {
            "parse_options": csv.ParseOptions(
                delimiter=self.delimiter,
                quote_char=self.quote or False,
                newlines_in_values=True,
                ignore_empty_lines=False,
            ),
            "convert_options": csv.ConvertOptions(
                column_types=pa.schema([field.with_nullable(True) for field in self.columns]),
                null_values=list(self.null_values),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        }

        def parse(lines: bytes) -> pa.Table:
            reading = csv.ReadOptions(use_threads=False, column_names=names, block_size=len(lines) + 1)
            return csv.read_csv(io.BytesIO(lines), read_options=reading, **options)

        return parse

    def encoder(self) -> Encode:
        return encoder(self.columns, self._lines)

    def _lines(self, rows: pa.RecordBatch) -> pa.Array:
        values = [self._values(column) for column in rows.columns]
        return pc.binary_join_element_wise(*values, self.delimiter.encode(), null_handling="replace")

    def _values(self, column: pa.Array) -> pa.Array:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        textual = _is_text(column.type)
        if pa.types.is_timestamp(column.type):
            return iso_texts(column).cast(pa.binary())
        values = column if textual else column.cast(pa.string())
        values = values.cast(pa.binary())
        if not textual:
            return values
        if not self.quote:
            odd = f"[{re.escape(self.delimiter)}\r\n]"
            if pc.any(pc.match_substring_regex(values, odd)).as_py() or (pc.any(self._nulls(values)).as_py()):
                raise ValueError(
                    "without quotes a text can't hold the delimiter, a line break or what means null"
                )
            return values
        quote = self.quote.encode()
        doubled = pc.replace_substring(values, quote, quote * 2)
        return pc.binary_join_element_wise(quote, doubled, quote, b"")

    def _nulls(self, values: pa.Array) -> pa.Array:
        return pc.is_in(values, value_set=pa.array([text.encode() for text in self.null_values], pa.binary()))

    def split(self, document: bytes) -> Sequence[bytes]:
        """Its records, cut at line breaks that are not in quotes; blank lines are left out."""
        records, begun = [], b""
        for line in document.splitlines(keepends=True):
            begun += line
            if not self.quote or begun.count(self.quote.encode()) % 2 == 0:
                records.append(begun.rstrip(b"\r\n"))
                begun = b""
        return [record for record in [*records, begun] if record]

    def __repr__(self) -> str:
        return f"formats.csv({self.columns.names})"


def csv(
    shape: Shape,
    *,
    delimiter: str = ",",
    quote: str = '"',
    null_values: Sequence[str] = ("",),
) -> CsvFormat:
    """CSV in UTF-8: a record in each message, without a header, with the values of all columns in order.

    Values are read as by `csv.source`: quoted ones may hold delimiters and line breaks, a timestamp with a
    time zone takes values with an offset or `Z`, and nothing is guessed.

    Args:
        shape: names and types of the columns, or a class of records.
        delimiter: one character between values.
        quote: the character around texts; "" for none.
        null_values: texts that mean null, in columns of every type; in quotes they are just text.

    Raises:
        DefinitionError: not a shape, or a delimiter or quote that is not one character.
        TypeMismatchError: a column type that CSV can't hold.

    >>> form = csv({"id": pa.int64(), "name": pa.string()})
    >>> form.decoder()(pa.array(['1,"a, b"', "two,b", "3,"])).rows.to_pylist()
    [{'id': 1, 'name': 'a, b'}, {'id': 3, 'name': None}]
    >>> rows = pa.record_batch({"id": [1], "name": ["a, b"]}, schema=form.schema)
    >>> form.encoder()(rows).messages.to_pylist()
    [b'1,"a, b"']
    """
    schema = schema_of_shape(shape, "formats.csv")
    for name, value in (("delimiter", delimiter), ("quote", quote or '"')):
        if len(value) != 1 or not value.isascii() or value in "\r\n":
            raise DefinitionError(
                f"{name} must be one character",
                expected="one ASCII character, not a line break",
                found=repr(value),
                remedy=f'leave {name}= out, or give for example delimiter=";"',
            ).at(None, caller())
    for field in schema:
        _check_type(field)
    return CsvFormat(schema, delimiter, quote, tuple(null_values))


def _check_type(field: pa.Field) -> None:
    try:
        CsvFormat(pa.schema([field.with_name("value")]), ",", '"', ("",)).parser()(b"\n")
    except pa.ArrowNotImplementedError as error:
        raise TypeMismatchError(
            f"formats.csv can't hold the column {field.name!r}",
            expected="numbers, booleans, text, binary, decimals, dates, times or timestamps",
            found=str(field.type),
            remedy="cast it to text, or take another format",
        ).at(None, caller()) from error


def _is_text(dtype: pa.DataType) -> bool:
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(matches(dtype) for matches in texts) or (
        pa.types.is_fixed_size_binary(dtype) and not pa.types.is_decimal(dtype)
    )


def _decode(form: CsvFormat, parse: Callable[[bytes], pa.Table], messages: pa.Array) -> Decoded:
    values = messages.cast(pa.binary()).to_pylist()
    failures: list[Failure] = [(i, no_message("csv")) for i, value in enumerate(values) if value is None]
    numbers = [i for i, value in enumerate(values) if value is not None] if failures else range(len(values))
    lines = [values[i].rstrip(b"\r\n") for i in numbers]

    def attempt(start: int, stop: int) -> pa.RecordBatch:
        return _block(form, parse, lines[start:stop])

    def lost(row: int, error: Exception) -> None:
        if not isinstance(error, StreamlibError):
            raise error
        failures.append((numbers[row], error))

    try:
        found = attempt(0, len(lines))
    except StreamlibError as error:
        found = together(list(isolated(len(lines), attempt, error, lost)), form.columns)
    kept = np.delete(np.arange(len(values)), [row for row, _ in failures])
    return Decoded(found, kept, sorted(failures, key=lambda failure: failure[0]))


def _block(form: CsvFormat, parse: Callable[[bytes], pa.Table], lines: list[bytes]) -> pa.RecordBatch:
    """The records of lines. A line without a break is one record at most: as many records are one of each."""
    if not lines:
        return together([], form.columns)
    if len(lines) > 1 and any(b"\n" in line or b"\r" in line for line in lines):
        raise _wrong(lines, "one record in one line", "line breaks inside")  # each is then read by itself
    if len(form.columns) > 1 and not all(lines):  # which pyarrow takes for a row of nulls
        raise _wrong(lines, f"{len(form.columns)} values, as many as there are columns", "nothing")
    try:
        table = parse(b"\n".join(lines) + b"\n")
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise _explained(form, error, lines) from error
    if table.num_rows != len(lines):
        raise _wrong(lines, "one record", f"{table.num_rows} records")
    for field in form.columns:
        if not field.nullable and table.column(field.name).null_count:
            raise _field(field.name, str(field.type), "null", lines)
    columns = [column.combine_chunks() for column in table.columns]
    return pa.RecordBatch.from_arrays(columns, schema=form.columns)


def _explained(form: CsvFormat, error: Exception, lines: list[bytes]) -> StreamlibError:
    text = str(error)
    if match := _VALUE.match(text):
        column, dtype, reason = match.groups()
        return _field(form.columns.names[int(column)], dtype, reason, lines)
    if match := _SHAPE.match(text):
        return _wrong(lines, f"{match[1]} values, as many as there are columns", match[2])
    return _wrong(lines, "a CSV record in UTF-8", text.splitlines()[0])


def _field(name: str, expected: str, found: str, lines: list[bytes]) -> StreamlibError:
    return FormatError(
        f"a csv message can't be read at {name!r}",
        expected=expected,
        found=f"{found} in {shown(lines[0])}",
        remedy="correct who sends it, or give the field another type",
    )


def _wrong(lines: list[bytes], expected: str, found: Any) -> StreamlibError:
    return FormatError(
        "this is no csv message",
        expected=expected,
        found=f"{found} in {shown(lines[0])}",
        remedy="correct who sends it, or skip such messages with on_error=",
    )
