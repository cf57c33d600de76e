"""Files of text records in blocks: whole records, as many as fit, with the number of their first line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from streamlib.connectors.places import Place, codec_of, text_stream

BLOCK_BYTES = 4 << 20  # parsed at once, some 50,000 records; one record must fit
PIECE_BYTES = 1 << 20  # of compressed data: of the last, what can be read is found byte by byte, in 0.3 s
HEAD_BYTES = 64 << 10  # some 500 records, in which a header stands and types can be seen
_LF, _CR = b"\n\r"
_MARK = b"\xef\xbb\xbf"  # which some editors put at the beginning of UTF-8


@dataclass(frozen=True)
class Block:
    """Whole records, at least one, or blank lines.

    Attributes:
        data: their bytes.
        line: the number of their first line, from 1.
        last: whether the file ends here, without a line break.
    """

    data: bytes
    line: int
    last: bool = False

    def line_at(self, start: int) -> int:
        """The number of the line at an offset."""
        return self.line + _lines(self.data[:start])

    def behind(self, start: int) -> Block:
        """What begins at an offset."""
        return Block(self.data[start:], self.line_at(start), self.last)


@dataclass(frozen=True)
class TooLong:
    """The first bytes of a record that no block holds; what follows begins behind the next line break."""

    data: bytes
    line: int


@dataclass(frozen=True)
class BrokenOff:
    """Compressed data is damaged or ends too early: what there is of the record that was begun."""

    data: bytes
    line: int
    error: Exception


Cut = Callable[[bytes], int]
"""Where the last whole record of some bytes ends, 0 if none does."""


def read_blocks(place: Place, path: str, cut: Cut) -> Iterator[Block | TooLong | BrokenOff]:
    """The blocks of a file, decompressed, without a byte order mark; `BrokenOff` is the last item.

    Raises what reading raises where the storage fails.
    """
    rest, line, skipping = b"", 1, False
    size = BLOCK_BYTES if codec_of(path) is None else min(PIECE_BYTES, BLOCK_BYTES)
    for piece in _pieces(place, path, size):
        if isinstance(piece, Exception):
            yield BrokenOff(rest, line, piece)
            return
        held = rest + piece
        if skipping:
            end = held.find(b"\n") + 1
            skipping, line, held = not end, line + bool(end), held[end:] if end else b""
        end = cut(held)
        if end:
            yield Block(held[:end], line)
            line += _lines(held[:end])
        elif len(held) > BLOCK_BYTES:
            yield TooLong(held, line)
            end, skipping = len(held), True
        rest = held[end:]
    if rest:
        yield Block(rest, line, last=True)


def head(place: Place, path: str, cut: Cut) -> bytes:
    """The first records of a file, at least one if there is one that a block holds. Raises `OSError`."""
    held, end = b"", 0
    for piece in _pieces(place, path, HEAD_BYTES):
        if isinstance(piece, Exception):
            break
        held += piece
        end = cut(held)
        if len(piece) < HEAD_BYTES:
            return held  # all there is
        if end or len(held) > BLOCK_BYTES:
            break
    return held[: end or None]


def _pieces(place: Place, path: str, size: int) -> Iterator[bytes | Exception]:
    """The bytes of a file, and at the end the error of compressed data that can't be read on."""
    compressed = codec_of(path) is not None
    read = 0
    with text_stream(place, path) as stream:
        try:
            while piece := stream.read(size):
                yield piece if read else piece.removeprefix(_MARK)
                read += len(piece)
            return
        except (pa.ArrowException, OSError) as error:
            if not compressed or getattr(error, "errno", None) is not None:
                raise  # the storage failed, not the data
            failure = error
    yield _salvaged(place, path, read)
    yield failure


def _salvaged(place: Place, path: str, read: int) -> bytes:
    """What can be read of a damaged file behind its first `read` bytes."""
    found = bytearray()
    with text_stream(place, path) as stream:
        left = read
        while left:
            left -= len(stream.read(min(left, PIECE_BYTES)))
        try:
            while byte := stream.read(1):
                found += byte
        except (pa.ArrowException, OSError):
            pass
    return bytes(found) if read else bytes(found).removeprefix(_MARK)


def _lines(data: bytes) -> int:
    codes = np.frombuffer(data, np.uint8)  # which counts six times as fast as bytes do
    return int(np.count_nonzero(codes == _LF) or np.count_nonzero(codes == _CR))
