"""The hash of strings and binary, eight bytes at a time; its rule stands in `hashing`."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.mixing import GOLDEN, Hashes, mix

_BYTES = np.uint64(0x8CB92BA72F3D8DD7)
_WORD = 8
_MASKS = np.array([(1 << (8 * n)) - 1 for n in range(_WORD + 1)], np.uint64)
"""By bytes left in a value: the part of a word that is its own."""
_BLOCK_WORDS = 2**18
"""Words hashed at a time, a longer value aside: bounds what is allocated beside the column to a few MiB."""

_Lengths = npt.NDArray[np.int64]


def hash_bytes(column: pa.Array) -> Hashes:
    """Hash each value of a string, binary, fixed-size binary or decimal column; nulls come out arbitrary."""
    if not len(column):
        return np.empty(0, np.uint64)
    starts, lengths, buffer = _layout(column)
    base, end = int(starts[0]), int(starts[-1] + lengths[-1])
    flat = np.zeros(end - base + _WORD, np.uint8)  # a whole word can be read anywhere, also at the end
    if buffer is not None:
        flat[: end - base] = np.frombuffer(buffer, np.uint8, end - base, base)
    words_at = np.ndarray((end - base + 1,), "<u8", buffer=flat.data, strides=(1,))
    counts = np.maximum(1, (lengths + (_WORD - 1)) // _WORD)
    return _hash_blocks(words_at, starts - base, lengths, counts)


def _layout(column: pa.Array) -> tuple[_Lengths, _Lengths, pa.Buffer | None]:
    """Where each value starts, how long it is, and the buffer it lies in."""
    dtype = column.type
    if pa.types.is_string_view(dtype) or pa.types.is_binary_view(dtype):
        column = column.cast(pa.large_binary())
        dtype = column.type
    first, rows = column.offset, len(column)
    if pa.types.is_fixed_size_binary(dtype) or pa.types.is_decimal(dtype):
        width = dtype.byte_width
        return np.arange(first, first + rows) * width, np.full(rows, width), column.buffers()[1]
    wide = pa.types.is_large_string(dtype) or pa.types.is_large_binary(dtype)
    offset_type = np.dtype(np.int64 if wide else np.int32)
    _, ends, data = column.buffers()
    offsets = np.frombuffer(ends, offset_type, rows + 1, first * offset_type.itemsize).astype(np.int64)
    return offsets[:-1], np.diff(offsets), data


def _hash_blocks(words_at: Hashes, starts: _Lengths, lengths: _Lengths, counts: _Lengths) -> Hashes:
    hashes = np.empty(len(starts), np.uint64)
    ends = np.cumsum(counts)
    cuts = np.searchsorted(ends, np.arange(_BLOCK_WORDS, int(ends[-1]), _BLOCK_WORDS))
    bounds = np.unique(np.concatenate([[0], cuts, [len(starts)]]))
    for low, high in pairwise(bounds):
        rows = slice(low, high)
        hashes[rows] = _hash_rows(words_at, starts[rows], lengths[rows], counts[rows])
    return hashes


def _hash_rows(words_at: Hashes, starts: _Lengths, lengths: _Lengths, counts: _Lengths) -> Hashes:
    first_word = np.cumsum(counts) - counts
    total = int(first_word[-1] + counts[-1])
    index = np.arange(total) - np.repeat(first_word, counts)
    done = index * _WORD
    left = np.minimum(np.repeat(lengths, counts) - done, _WORD)
    words = words_at[np.repeat(starts, counts) + done]
    words &= _MASKS.take(left)
    words += (index + 1).astype(np.uint64) * GOLDEN
    sums = np.add.reduceat(mix(words), first_word)
    return mix(sums + lengths.astype(np.uint64) + _BYTES)
