"""Where records of CSV begin and end, by the rules by which Arrow reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from streamlib.connectors.text_blocks import Block

_BREAKS = b"\r\n"


class Records:
    r"""Finds records in bytes that begin with one.

    A quote opens a value where it is its first character, and in it a doubled one stands for itself;
    anywhere else it is text. A line break outside of quotes ends a record: `\n`, `\r\n` or `\r`.
    """

    def __init__(self, delimiter: str, quote: str) -> None:
        self._quote = quote.encode()
        d, q = re.escape(delimiter.encode()), re.escape(self._quote)
        plain = rb"[^%b\r\n]*+" % d
        quoted = rb"%b[^%b]*+(?:%b%b[^%b]*+)*+%b%b" % (q, q, q, q, q, q, plain) if quote else None
        value = plain if quoted is None else rb"(?:%b|(?!%b)%b)" % (quoted, q, plain)
        values = rb"%b(?:%b%b)*+" % (value, d, value)
        self._whole = re.compile(rb"(%b)(?:\r\n|\n|\r(?!\Z))" % values)
        self._last = re.compile(rb"(%b)(?:\r\n|\n|\r|\Z)" % values)
        self._before = np.zeros(
            256, np.bool_
        )  # what a quote that opens stands behind, or one that closes before
        self._before[list(delimiter.encode() + _BREAKS + self._quote)] = True

    def end(self, data: bytes) -> int:
        """Where the last whole record ends, 0 if none does."""
        if not self._quote or self._quote not in data:
            return _line_end(data, 0, len(data))
        quotes = np.flatnonzero(np.frombuffer(data, np.uint8) == self._quote[0])
        if self._regular(data, quotes):
            return self._end_outside(data, quotes)
        return max((end for _, end in self._walk(self._whole, data)), default=0)

    def spans(self, block: Block) -> list[tuple[int, int]]:
        """The records of a block, without blank lines; the last of a file may be one with an open quote."""
        data = block.data
        found = list(self._walk(self._last if block.last else self._whole, data))
        end = found[-1][1] if found else 0
        return [(a, b) for a, b in (*found, (end, len(data))) if data[a:b].strip(_BREAKS)]

    def unclosed(self, data: bytes) -> bool:
        """Whether data at the end of a file ends inside of quotes."""
        return max((end for _, end in self._walk(self._last, data)), default=0) < len(data)

    def first(self, data: bytes) -> tuple[int, int]:
        """The first record that is no blank line; an empty one at the end if there is none."""
        found = self._walk(self._last, data)
        return next((s for s in found if data[s[0] : s[1]].strip(_BREAKS)), (len(data), len(data)))

    def _walk(self, pattern: re.Pattern[bytes], data: bytes) -> Iterator[tuple[int, int]]:
        start = 0
        while start < len(data) and (match := pattern.match(data, start)) is not None:
            yield start, match.end()
            start = match.end()

    def _regular(self, data: bytes, quotes: np.ndarray) -> bool:
        """Whether every second quote opens or closes a value, so that counting tells what is inside."""
        codes = np.frombuffer(data, np.uint8)
        opening, closing = quotes[0::2], quotes[1::2]
        opening = opening[1:] if opening[0] == 0 else opening
        closing = closing[:-1] if len(closing) and closing[-1] == len(data) - 1 else closing
        return bool(self._before[codes[opening - 1]].all() and self._before[codes[closing + 1]].all())

    def _end_outside(self, data: bytes, quotes: np.ndarray) -> int:
        """The last line break that has an even number of quotes before it."""
        for i in range(len(quotes) // 2 * 2, -1, -2):
            start = int(quotes[i - 1]) if i else 0
            stop = int(quotes[i]) if i < len(quotes) else len(data)
            end = _line_end(data, start, stop)
            if end:
                return end
        return 0


def _line_end(data: bytes, start: int, stop: int) -> int:
    """Where the last line in a range ends. A CR at the end of the data may be half of a break."""
    found = data.rfind(b"\n", start, stop)
    return (found if found >= 0 else data.rfind(b"\r", start, min(stop, len(data) - 1))) + 1
