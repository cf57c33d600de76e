"""The hash of keys, written down and the same for ever.

A pure function of the key's value. Checkpoints depend on it, so the rules below are fixed for ever;
tests hold golden values. All arithmetic is modulo 2**64.

    mix(z)   z ^= z >> 30; z *= 0xBF58476D1CE4E5B9; z ^= z >> 27; z *= 0x94D049BB133111EB; z ^= z >> 31
             (the finaliser of splitmix64)
    integer  mix(v + 0x9E3779B97F4A7C15), v the value in two's complement, whatever its width.
             Booleans are 0 and 1; dates, times, timestamps and durations the integer they store,
             in the unit of their type (a numpy column does not know its unit).
    float    mix(b + 0xD1B54A32D192ED03), b the bits of the value as a float64; -0.0 counts as 0.0,
             every NaN as 0x7FF8000000000000.
    bytes    mix(n + 0x8CB92BA72F3D8DD7 + sum over i of mix(w[i] + (i + 1) * 0x9E3779B97F4A7C15)),
             n the length in bytes, w the bytes as little-endian 64-bit words, the last one filled
             up with zeros; at least one word. Strings are their UTF-8 bytes.
    decimal  the unscaled integer as 32 bytes, little-endian, two's complement, hashed as bytes.
    null     0xA0761D6478BD642F
    key      the hash h of its first column; then for each further column, with hash c,
             h = mix(h * 0xD6E8FEB86659FD93 + c). No columns at all: 0.

Equal values have equal hashes whatever the batch, slice, dictionary, integer or float width, and
whether they stand in numpy or Arrow. Callers hash distinct keys where they have them interned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Column
from streamlib.core.errors import KeyTypeError
from streamlib.core.hash_bytes import hash_bytes
from streamlib.core.mixing import GOLDEN, Hashes, mix

_FLOAT = np.uint64(0xD1B54A32D192ED03)
_NAN = np.uint64(0x7FF8000000000000)
NULL_HASH = np.uint64(0xA0761D6478BD642F)
_NEXT_COLUMN = np.uint64(0xD6E8FEB86659FD93)

_types = pa.types
_BYTE_TYPES: tuple[Callable[[Any], bool], ...] = (
    _types.is_string,
    _types.is_large_string,
    _types.is_string_view,
    _types.is_binary,
    _types.is_large_binary,
    _types.is_binary_view,
    _types.is_fixed_size_binary,
)


def key_hash(columns: Sequence[Column], num_rows: int) -> Hashes:
    """The 64-bit hash of each row's key, by the rules at the top of this file.

    Raises `KeyTypeError` for a column that `check_key_type` refuses.
    """
    if not columns:
        return np.zeros(num_rows, np.uint64)
    return put_together(map(_hash_column, columns))


def put_together(columns: Iterable[Hashes]) -> Hashes:
    """The hash of each row's key from those of its columns, at least one."""
    hashes, *others = columns
    for other in others:
        hashes = mix(hashes * _NEXT_COLUMN + other)
    return hashes


def check_key_type(name: str, dtype: pa.DataType) -> None:
    """Raise `KeyTypeError` if the column `name` of type `dtype` can't be a key."""
    plain = _plain_type(dtype)
    if not (_is_integral(plain) or _types.is_floating(plain) or _is_bytes(plain) or _types.is_decimal(plain)):
        raise KeyTypeError(
            f"the column {name!r} can't be a key",
            expected="booleans, numbers, decimals, strings, binary, dates, times or timestamps",
            found=str(dtype),
            remedy="key by a column made from it, for example one of its fields or its text",
        )


def _plain_type(dtype: pa.DataType) -> pa.DataType:
    while True:
        if isinstance(dtype, pa.BaseExtensionType):
            dtype = dtype.storage_type
        elif _types.is_dictionary(dtype):
            dtype = dtype.value_type
        else:
            return dtype


def _is_integral(dtype: pa.DataType) -> bool:
    temporal = _types.is_temporal(dtype) and not _types.is_interval(dtype)
    return temporal or _types.is_integer(dtype) or _types.is_boolean(dtype)


def _is_bytes(dtype: pa.DataType) -> bool:
    return any(matches(dtype) for matches in _BYTE_TYPES)


def _hash_column(column: Column) -> Hashes:
    if isinstance(column, np.ndarray):
        if column.dtype.kind in "bui":
            return _hash_integers(column)
        if column.dtype.kind == "f":
            return _hash_floats(column)
        if column.dtype.kind in "mM":
            return _hash_integers(column.view(np.int64))
        return _hash_arrow(pa.array(column))
    return _hash_arrow(column)


def _hash_arrow(column: pa.Array) -> Hashes:
    if isinstance(column.type, pa.BaseExtensionType):
        return _hash_arrow(column.storage)
    if _types.is_dictionary(column.type):
        return _hash_dictionary(column)
    hashes = _hash_values(column)
    if column.null_count:
        hashes[column.is_null().to_numpy(zero_copy_only=False)] = NULL_HASH
    return hashes


def _hash_dictionary(column: pa.DictionaryArray) -> Hashes:
    if len(column.dictionary) > len(column):  # a slice of something large: most values are not in it
        return _hash_arrow(column.dictionary_decode())
    by_code = np.append(_hash_arrow(column.dictionary), NULL_HASH)  # never empty, so that code 0 can be taken
    hashes = by_code.take(column.indices.fill_null(0).to_numpy(zero_copy_only=False))
    if column.indices.null_count:
        hashes[column.indices.is_null().to_numpy(zero_copy_only=False)] = NULL_HASH
    return hashes


def _hash_values(column: pa.Array) -> Hashes:
    """Hash the values; what comes out for nulls is arbitrary."""
    dtype = column.type
    if _is_bytes(dtype):
        return hash_bytes(column)
    if _types.is_decimal(dtype):
        wide = column.cast(pa.decimal256(76, dtype.scale))
        return hash_bytes(wide)
    if _types.is_boolean(dtype):
        return _hash_integers(column.fill_null(False).to_numpy(zero_copy_only=False))
    if _types.is_floating(dtype):
        return _hash_floats(_fixed_width(column, "f"))
    check_key_type("key", dtype)
    return _hash_integers(_fixed_width(column, "u" if _types.is_unsigned_integer(dtype) else "i"))


def _fixed_width(column: pa.Array, kind: str) -> npt.NDArray[Any]:
    """The values as they lie in memory, also where they are null."""
    if not len(column):
        return np.empty(0, np.int64)
    dtype = np.dtype(f"{kind}{column.type.bit_width // 8}")
    return np.frombuffer(column.buffers()[1], dtype, len(column), column.offset * dtype.itemsize)


def _hash_integers(values: npt.NDArray[Any]) -> Hashes:
    return mix(values.astype(np.uint64) + GOLDEN)


def _hash_floats(values: npt.NDArray[Any]) -> Hashes:
    numbers = values.astype(np.float64) + 0.0  # -0.0 + 0.0 is 0.0
    bits = numbers.view(np.uint64)
    bits[np.isnan(numbers)] = _NAN
    return mix(bits + _FLOAT)
