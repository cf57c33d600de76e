"""Nodes for functions of the library: on Arrow arrays, on numbers under the nulls, on words of text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.batch import Batch
from streamlib.core.errors import StreamlibError
from streamlib.core.expressions.failures import python_value
from streamlib.core.expressions.operands import spread
from streamlib.core.expressions.types import computing_type
from streamlib.core.expressions.values import (
    Constant,
    Node,
    Value,
    Vector,
    raw_vector,
    to_arrow,
    with_nulls_of,
)

Failed: TypeAlias = Callable[[int, object], StreamlibError]
"""Makes the error for a row and the value in it."""


class OnArrow(Node):
    """A function of Arrow arrays, one for each operand."""

    def __init__(
        self, function: Callable[..., pa.Array], operands: Sequence[Node], dtype: pa.DataType
    ) -> None:
        self.dtype = dtype
        self._function = function
        self._operands = [spread(node) for node in operands]

    def run(self, batch: Batch) -> Value:
        return self._function(*(plain_array(node.run(batch), node.dtype) for node in self._operands))


class OnValues(Node):
    """A function of numpy vectors and Arrow arrays as they come; it may get constants behind the first."""

    def __init__(self, function: Callable[..., Value], operands: Sequence[Node], dtype: pa.DataType) -> None:
        self.dtype = dtype
        self._function = function
        self._operands = [spread(operands[0]), *operands[1:]]

    def run(self, batch: Batch) -> Value:
        return self._function(*(node.run(batch) for node in self._operands))


class OnNumbers(Node):
    """A function of numbers or ticks in numpy, computed under the nulls too; they are null again after it."""

    def __init__(self, function: Callable[..., Vector], operands: Sequence[Node], dtype: pa.DataType) -> None:
        self.dtype = dtype
        self._function = function
        self._operands = [spread(operands[0]), *operands[1:]]

    def run(self, batch: Batch) -> Value:
        values = tuple(node.run(batch) for node in self._operands)
        if any(isinstance(value, Constant) and value.vector is None for value in values):
            return pa.nulls(batch.num_rows, self.dtype)
        return with_nulls_of(values, self._function(*map(raw_vector, values)))


class OnWords(Node):
    """A function of text: of each distinct word once where the text comes as codes of a dictionary.

    Where that is worth more than finding the words (`costly`), they are found first. With `failed` a
    null result of a text is an error.
    """

    def __init__(
        self,
        function: Callable[[pa.Array], pa.Array],
        operand: Node,
        dtype: pa.DataType,
        *,
        costly: bool = False,
        failed: Failed | None = None,
    ) -> None:
        self.dtype = dtype
        self._function = function
        self._operand = spread(operand)
        self._costly = costly
        self._failed = failed

    def run(self, batch: Batch) -> Value:
        words, codes = self._computed(batch)
        result = words if codes is None else words.take(codes)
        if self._failed is not None and result.null_count:
            self._check(result, batch)
        return result

    def encoded(self, batch: Batch) -> Value:
        if self._failed is not None or not _is_text(self.dtype):
            return self.run(batch)
        words, codes = self._computed(batch)
        return words if codes is None else pa.DictionaryArray.from_arrays(codes, words)

    def _computed(self, batch: Batch) -> tuple[pa.Array, pa.Array | None]:
        value: Any = self._operand.encoded(batch)
        if self._costly and not isinstance(value, pa.DictionaryArray):
            value = value.dictionary_encode()
        plain = computing_type(self._operand.dtype)
        if isinstance(value, pa.DictionaryArray):
            if len(value.dictionary) <= len(value):
                return self._function(_as(value.dictionary, plain)), value.indices
            value = value.dictionary_decode()
        return self._function(_as(value, plain)), None

    def _check(self, result: pa.Array, batch: Batch) -> None:
        value = plain_array(self._operand.run(batch), self._operand.dtype)
        lost = pc.and_(pc.is_valid(value), pc.is_null(result))
        row = pc.index(lost, True).as_py()
        if row >= 0:
            assert self._failed is not None
            raise self._failed(row, python_value(value[row]))


def plain_array(value: Value, dtype: pa.DataType) -> pa.Array:
    """The value as an Arrow array of the type that kernels compute in: no dictionary, no view."""
    return _as(to_arrow(value, dtype), computing_type(dtype))


def _as(array: pa.Array, dtype: pa.DataType) -> pa.Array:
    return array if array.type == dtype else array.cast(dtype)


def _is_text(dtype: pa.DataType) -> bool:
    return pa.types.is_string(dtype) or pa.types.is_large_string(dtype)


def null_where(vector: Vector, missing: Vector, dtype: pa.DataType) -> pa.Array:
    """A vector as an array of `dtype`, null where `missing` is true."""
    plain = pa.array(vector, mask=missing) if missing.any() else pa.array(vector)
    return plain if plain.type == dtype else plain.view(dtype)


def is_null(array: pa.Array) -> Vector:
    """Where an array is null."""
    if not array.null_count:
        return np.zeros(len(array), np.bool_)
    return array.is_null().to_numpy(zero_copy_only=False)


def cast_or_null(array: pa.Array, dtype: pa.DataType) -> pa.Array:
    """A strict cast where a value that does not fit is null: halves are tried until it stands alone."""
    words = array.dictionary_encode() if not pa.types.is_nested(array.type) else None
    if words is not None and len(words.dictionary) < len(array):
        return _cast_halves(words.dictionary, dtype).take(words.indices)
    return _cast_halves(array, dtype)


def _cast_halves(array: pa.Array, dtype: pa.DataType) -> pa.Array:
    try:
        return array.cast(dtype, safe=not pa.types.is_floating(dtype))
    except pa.ArrowInvalid:
        if len(array) == 1:
            return pa.nulls(1, dtype)
        half = len(array) // 2
        return pa.concat_arrays([_cast_halves(array[:half], dtype), _cast_halves(array[half:], dtype)])
