"""Rule of `hash`: the hash of keys, with a seed, and of lists and structs too.

Fixed for ever, as the rules in `core/hashing.py`, of which this adds, modulo 2**64:

    struct   the hashes of its fields, put together as those of the columns of a key.
    list     mix(n + 0x8CB92BA72F3D8DD7 + sum over i of mix(h[i] + (i + 1) * 0x9E3779B97F4A7C15)),
             n the number of elements, h their hashes, nulls among them.
    seeded   mix(h + mix(seed)), h the hash of the value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.batch import Batch, Column
from streamlib.core.errors import KeyTypeError
from streamlib.core.expressions.mismatch import unsupported
from streamlib.core.expressions.operands import spread
from streamlib.core.expressions.rules.rule import ANY, Given, Rule
from streamlib.core.expressions.types import Family, family
from streamlib.core.expressions.values import Node, Value
from streamlib.core.hashing import NULL_HASH, check_key_type, key_hash, put_together
from streamlib.core.mixing import GOLDEN, Hashes, mix

_LIST = np.uint64(0x8CB92BA72F3D8DD7)


def _bind(given: Given) -> Node:
    if not _is_hashable(given.first.dtype):
        raise unsupported(
            given.expr,
            "values of fixed kinds, and lists and structs of them",
            (given.expr.operands[0], given.first.dtype),
            remedy="hash the parts that matter, for example .struct.field(…)",
        )
    return _Hash(spread(given.first), given.options["seed"])


def _is_hashable(dtype: pa.DataType) -> bool:
    match family(dtype):
        case Family.LIST:
            return _is_hashable(dtype.value_type)
        case Family.STRUCT:
            return all(_is_hashable(field.type) for field in dtype.fields)
        case Family.NULL:
            return True
    try:
        check_key_type("value", dtype)
    except KeyTypeError:
        return False
    return True


class _Hash(Node):
    dtype = pa.uint64()
    fresh = True

    def __init__(self, operand: Node, seed: int) -> None:
        self._operand = operand
        self._seed = mix(np.array([seed % 2**64], np.uint64))

    def run(self, batch: Batch) -> Value:
        column: Any = self._operand.encoded(batch)
        return mix(_hashes(column) + self._seed)


def _hashes(column: Column) -> Hashes:
    if isinstance(column, np.ndarray):
        return key_hash([column], len(column))
    kind = family(column.type)
    if kind is Family.NULL:
        return np.full(len(column), NULL_HASH)
    if kind is Family.LIST:
        hashes = _of_lists(column)
    elif kind is Family.STRUCT:
        fields = [_hashes(field) for field in column.flatten()]
        hashes = put_together(fields) if fields else np.zeros(len(column), np.uint64)
    else:
        return key_hash([column], len(column))
    if column.null_count:
        hashes[column.is_null().to_numpy(zero_copy_only=False)] = NULL_HASH
    return hashes


def _of_lists(column: pa.Array) -> Hashes:
    counts = pc.list_value_length(column).fill_null(0).to_numpy().astype(np.int64)
    ends = np.cumsum(counts)
    starts = ends - counts
    places = np.arange(int(counts.sum())) - np.repeat(starts, counts) + 1
    words = mix(_hashes(column.flatten()) + places.astype(np.uint64) * GOLDEN)
    sums = np.concatenate(
        [np.zeros(1, np.uint64), np.cumsum(words)]
    )  # modulo 2**64, so differences are exact
    return mix(sums.take(ends) - sums.take(starts) + counts.astype(np.uint64) + _LIST)


RULES: dict[str, Rule] = {
    "hash": Rule(
        (ANY,),
        _bind,
        "numpy, the rules of `core/hashing.py`",
        "a value like others",
        "the numbers: they never change, where Polars' do with its version",
    ),
}
