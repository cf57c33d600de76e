"""What went wrong with a record of CSV, with column and value, from what pyarrow reports."""

from __future__ import annotations

import re
from collections.abc import Sequence

from streamlib.connectors.sifting import OR_SAY_WHAT_HAPPENS, SHOWN_BYTES
from streamlib.core.errors import SourceError, shown

# pyarrow counts columns as in the file, from 0
_VALUE = re.compile(r"In CSV column #(\d+):(?: Row #\d+:)? CSV conversion error to (.+?): (.*)", re.DOTALL)
_INVALID = re.compile(r"invalid value '(.*)'", re.DOTALL)
_SHAPE = re.compile(r"CSV parse error: Row #\d+: Expected (\d+) columns, got (\d+): (.*)", re.DOTALL)


def explain(error: Exception, where: str, columns: Sequence[str]) -> SourceError:
    """The error for the user; `columns` are the names of all columns in the file, if known."""
    if isinstance(error, SourceError):
        return error  # of the storage, which says it better
    text = str(error)
    if isinstance(error, UnclosedQuote):
        return never_closed(where, error.data)
    if match := _VALUE.match(text):
        return _bad_value(match, where, columns)
    if match := _SHAPE.match(text):
        expected, found, content = match.groups()
        return SourceError(
            f"{where}: a record of the wrong length",
            expected=f"{expected} values, as many as there are columns",
            found=f"{found}: {shown(content)}",
            remedy="correct the file (a delimiter or line break inside a value needs quotes around it), "
            f"{OR_SAY_WHAT_HAPPENS}",
        )
    return SourceError(
        f"{where} can't be read",
        expected="CSV in UTF-8",
        found=text.splitlines()[0] if text else type(error).__name__,
        remedy="check that the file is complete and has the delimiter, quote and header given to csv.source",
    )


class UnclosedQuote(ValueError):
    """A quote without an end, where Arrow would take the end of the file for it."""

    def __init__(self, data: bytes) -> None:
        super().__init__("a quote is never closed")
        self.data = data


def never_closed(where: str, data: bytes) -> SourceError:
    """The error for a quote without an end, which makes one record of all that follows."""
    return SourceError(
        f"{where}: a quote is never closed",
        expected="a second quote at the end of the value",
        found=f"a record that begins with {shown(data[:SHOWN_BYTES])}",
        remedy="look for a missing quote in the file, or for a text that begins with one and has no other",
    )


def _bad_value(match: re.Match[str], where: str, columns: Sequence[str]) -> SourceError:
    index, dtype, reason = match.groups()
    column = repr(columns[int(index)]) if int(index) < len(columns) else f"number {int(index) + 1}"
    invalid = _INVALID.fullmatch(reason)
    return SourceError(
        f"{where}, column {column}: not a value of type {dtype}",
        expected=dtype,
        found=shown(invalid[1]) if invalid else reason,
        remedy="correct the file, give the column another type in schema=, "
        f"list the text in null_values= if it means null, {OR_SAY_WHAT_HAPPENS}",
    )
