"""What went wrong in a CSV file, with its line, column and value, from what pyarrow reports."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

import pyarrow as pa

from streamlib.connectors.csv_dialect import BLOCK_BYTES, Dialect
from streamlib.connectors.places import Place, text_stream
from streamlib.core.errors import SourceError, shown

# pyarrow counts records from 1, with the header and without blank lines; columns as in the file, from 0.
_VALUE = re.compile(r"In CSV column #(\d+):(?: Row #(\d+):)? CSV conversion error to (.+?): (.*)", re.DOTALL)
_INVALID = re.compile(r"invalid value '(.*)'", re.DOTALL)
_SHAPE = re.compile(r"CSV parse error: Row #(\d+): Expected (\d+) columns, got (\d+): (.*)", re.DOTALL)
_SEARCHED = 1_000_000  # records looked through for a line number: half a second


def is_empty(error: Exception) -> bool:
    """Whether pyarrow found nothing at all in the file."""
    return "Empty CSV file" in str(error)


def explain(
    error: Exception, place: Place, path: str, columns: Sequence[str], dialect: Dialect
) -> SourceError:
    """The error for the user; `columns` are the names of all columns in the file, if known."""
    text = str(error)
    if match := _VALUE.match(text):
        return _bad_value(match, place, path, columns, dialect)
    if match := _SHAPE.match(text):
        record, expected, found, content = match.groups()
        return SourceError(
            f"{path!r}, {_position(place, path, int(record), dialect)}: a record of the wrong length",
            expected=f"{expected} values, as many as there are columns",
            found=f"{found}: {shown(content)}",
            remedy="correct the file; a delimiter or line break inside a value needs quotes around it",
        )
    if "straddling object" in text:
        return SourceError(
            f"{path!r} has a record that is too long",
            expected=f"records up to {BLOCK_BYTES >> 20} MiB",
            found="a longer one, or a quote that is never closed",
            remedy="look for a missing quote in the file",
        )
    return SourceError(
        f"{path!r} can't be read",
        expected="CSV in UTF-8",
        found=text.splitlines()[0] if text else type(error).__name__,
        remedy="check that the file is complete and has the delimiter, quote and header given to csv.source",
    )


def _bad_value(
    match: re.Match[str], place: Place, path: str, columns: Sequence[str], dialect: Dialect
) -> SourceError:
    index, record, dtype, reason = match.groups()
    column = repr(columns[int(index)]) if int(index) < len(columns) else f"number {int(index) + 1}"
    line = f", {_position(place, path, int(record), dialect)}" if record else ""
    invalid = _INVALID.fullmatch(reason)
    return SourceError(
        f"{path!r}{line}, column {column}: not a value of type {dtype}",
        expected=dtype,
        found=shown(invalid[1]) if invalid else reason,
        remedy="correct the file, give the column another type in schema=, "
        "or list the text in null_values= if it means null",
    )


def _position(place: Place, path: str, record: int, dialect: Dialect) -> str:
    line = _line(place, path, record, dialect) if record <= _SEARCHED else None
    return f"line {line}" if line is not None else f"record {record:,} (blank lines not counted)"


def _line(place: Place, path: str, record: int, dialect: Dialect) -> int | None:
    """The line where a record begins, counted from 1; quoted line breaks make it differ from `record`."""
    try:
        with text_stream(place, path) as stream:
            text = io.TextIOWrapper(stream, "utf-8-sig", errors="replace", newline="")
            records = csv.reader(
                text,
                delimiter=dialect.delimiter,
                quotechar=dialect.quote or None,
                quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
            )
            before = 0
            for values in records:
                record -= bool(values)  # a blank line is no record
                if record == 0:
                    return before + 1
                before = records.line_num
    except (csv.Error, OSError, pa.ArrowException):
        return None
    return None
