"""Rules of `.list` and `.struct`: index arithmetic on the offsets of lists, Arrow for what is inside."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamlib.core.errors import (
    DefinitionError,
    StreamlibError,
    TypeMismatchError,
    UnknownColumnError,
    shown,
)
from streamlib.core.expressions import ast
from streamlib.core.expressions.failures import overflow
from streamlib.core.expressions.mismatch import no_common_type, unsupported
from streamlib.core.expressions.operands import adapted, coerced
from streamlib.core.expressions.rules.compute import OnArrow, is_null
from streamlib.core.expressions.rules.rule import ANY, LIST, STRUCT, Given, Rule
from streamlib.core.expressions.types import NUMERIC, Family, common_type, computing_type, family
from streamlib.core.expressions.values import Node, Vector


class Parts:
    """A list column taken apart: what is in it, and where each row's elements begin and how many they are."""

    def __init__(self, lists: pa.Array) -> None:
        self.missing = is_null(lists)
        counts = lists.value_lengths()
        self.counts: Vector = counts.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        self.elements = lists.flatten()  # without what stands under nulls
        self.starts: Vector = np.cumsum(self.counts) - self.counts

    def taken(self, at: Vector, missing: Vector) -> pa.Array:
        """One element of each row, null where `missing`."""
        return self.elements.take(pa.array(self.starts + at, mask=missing))

    def sliced(self, first: Vector, counts: Vector, dtype: pa.DataType) -> pa.Array:
        """Some elements of each row, in order."""
        ends = np.cumsum(counts)
        at = np.arange(int(counts.sum())) + np.repeat(self.starts + first - (ends - counts), counts)
        return self.built(self.elements.take(pa.array(at)), counts, dtype)

    def built(self, elements: pa.Array, counts: Vector, dtype: pa.DataType) -> pa.Array:
        """Lists of other elements, null in the same rows."""
        wide = pa.types.is_large_list(dtype)
        offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64 if wide else np.int32))
        kind = pa.LargeListArray if wide else pa.ListArray
        return kind.from_arrays(offsets, elements, type=dtype, mask=pa.array(self.missing))


def _len(lists: pa.Array) -> pa.Array:
    return lists.value_lengths().cast(pa.int64())


def _bind_len(given: Given) -> Node:
    return OnArrow(_len, [given.first], pa.int64())


def _element(given: Given) -> pa.DataType:
    return given.first.dtype.value_type


def _list_type(given: Given) -> pa.DataType:
    dtype = given.first.dtype
    return pa.list_(dtype.value_type) if pa.types.is_fixed_size_list(dtype) else dtype


# ------------------------------------------------------------------ elements


def _bind_get(given: Given) -> Node:
    index = adapted(given.operands[1], pa.int64())
    if family(index.dtype) is not Family.INT:
        raise unsupported(
            given.expr,
            "an integer as the index",
            (given.expr.operands[1], index.dtype),
            remedy="cast it first: .cast(pa.int64())",
        )
    operands = [given.first, coerced(index, pa.int64(), given.expr)]
    return OnArrow(
        partial(_get, strict=not given.options["null_on_oob"], expr=given.expr), operands, _element(given)
    )


def _get(lists: pa.Array, index: pa.Array, strict: bool, expr: ast.Expr) -> pa.Array:
    parts = Parts(lists)
    missing = parts.missing | is_null(index)
    at = index.fill_null(0).to_numpy(zero_copy_only=False)
    inside = (at < parts.counts) & (at >= -parts.counts)
    beyond = ~inside & ~missing
    if strict and beyond.any():
        row = int(np.argmax(beyond))
        raise _out_of_bounds(expr, row, int(at[row]), int(parts.counts[row]))
    return parts.taken(np.where(at < 0, at + parts.counts, at), missing | ~inside)


def _out_of_bounds(expr: ast.Expr, row: int, index: int, count: int) -> StreamlibError:
    return TypeMismatchError(
        f"{shown(expr)} failed: a list is too short",
        expected=f"lists that have an element {index}",
        found=f"{count} elements in row {row} of the batch",
        remedy="take null for such rows with null_on_oob=True",
    )


def _end(lists: pa.Array, last: bool) -> pa.Array:
    parts = Parts(lists)
    at = parts.counts - 1 if last else np.zeros(len(lists), np.int64)
    return parts.taken(at, parts.missing | (parts.counts == 0))


def _bind_end(last: bool) -> Callable[[Given], Node]:
    return lambda given: OnArrow(partial(_end, last=last), [given.first], _element(given))


def _bind_contains(given: Given) -> Node:
    element = computing_type(_element(given))
    item = adapted(given.operands[1], element)
    target = common_type(element, item.dtype)
    if target is None or family(target) in {Family.LIST, Family.STRUCT, Family.OTHER}:
        raise no_common_type(
            given.expr, (given.expr.operands[0], element), (given.expr.operands[1], item.dtype)
        )
    operands = [given.first, coerced(item, target, given.expr)]
    return OnArrow(partial(_contains, target=target), operands, pa.bool_())


def _contains(lists: pa.Array, item: pa.Array, target: pa.DataType) -> pa.Array:
    parts = Parts(lists)
    elements = parts.elements.cast(target, safe=False)
    wanted = item.take(pa.array(np.repeat(np.arange(len(lists)), parts.counts)))
    both_null = pc.and_(elements.is_null(), wanted.is_null())
    if elements.type != pa.null():
        both_null = pc.or_(pc.equal(elements, wanted).fill_null(False), both_null)
    hits = np.concatenate([[0], np.cumsum(both_null.to_numpy(zero_copy_only=False))])
    found = hits[parts.starts + parts.counts] > hits[parts.starts]
    return pa.array(found, mask=parts.missing)


# ------------------------------------------------------------------ parts of lists


def _bind_part(bounds: Callable[..., tuple[Vector, Vector]], *options: str) -> Callable[[Given], Node]:
    def bind(given: Given) -> Node:
        chosen = {name: given.options[name] for name in options}
        dtype = _list_type(given)
        return OnArrow(partial(_part, bounds=partial(bounds, **chosen), dtype=dtype), [given.first], dtype)

    return bind


def _part(lists: pa.Array, bounds: Callable[[Vector], tuple[Vector, Vector]], dtype: pa.DataType) -> pa.Array:
    parts = Parts(lists)
    first, stop = bounds(parts.counts)
    first = np.clip(first, 0, parts.counts)
    return parts.sliced(first, np.maximum(np.clip(stop, 0, parts.counts) - first, 0), dtype)


def _slice(counts: Vector, offset: int, length: int | None) -> tuple[Vector, Vector]:
    first = counts + offset if offset < 0 else np.full_like(counts, min(offset, 2**62))
    return first, counts if length is None else first + min(length, 2**62)


def _head(counts: Vector, n: int) -> tuple[Vector, Vector]:
    return np.zeros_like(counts), np.full_like(counts, n)


def _tail(counts: Vector, n: int) -> tuple[Vector, Vector]:
    return counts - n, counts


def _bind_reverse(given: Given) -> Node:
    dtype = _list_type(given)
    return OnArrow(partial(_reverse, dtype=dtype), [given.first], dtype)


def _reverse(lists: pa.Array, dtype: pa.DataType) -> pa.Array:
    parts = Parts(lists)
    ends = np.repeat(2 * parts.starts + parts.counts - 1, parts.counts)
    backwards = ends - np.arange(len(parts.elements))
    return parts.built(parts.elements.take(pa.array(backwards)), parts.counts, dtype)


def _bind_join(given: Given) -> Node:
    element = computing_type(_element(given))
    if family(element) not in {Family.TEXT, Family.NULL}:
        raise unsupported(
            given.expr,
            "a list of text",
            (given.expr.operands[0], given.first.dtype),
            remedy="cast it: .cast(pa.list_(pa.string()))",
        )
    return OnArrow(partial(_join, separator=given.options["separator"]), [given.first], pa.string())


def _join(lists: pa.Array, separator: str) -> pa.Array:
    parts = Parts(lists)
    present = ~is_null(parts.elements)
    hits = np.concatenate([[0], np.cumsum(present)])
    counts = hits[parts.starts + parts.counts] - hits[parts.starts]
    texts = parts.elements.filter(pa.array(present)).cast(pa.string())
    return pc.binary_join(parts.built(texts, counts, pa.list_(pa.string())), separator)


# ------------------------------------------------------------------ numbers in lists


def _bind_number(
    compute: Callable[..., pa.Array], result: Callable[[pa.DataType], pa.DataType]
) -> Callable[[Given], Node]:
    def bind(given: Given) -> Node:
        element = computing_type(_element(given))
        if family(element) not in NUMERIC - {Family.DECIMAL}:
            raise unsupported(
                given.expr,
                "a list of integers or floats",
                (given.expr.operands[0], given.first.dtype),
                remedy="cast it: .cast(pa.list_(pa.float64()))",
            )
        dtype = result(element)
        return OnArrow(partial(compute, dtype=dtype, expr=given.expr), [given.first], dtype)

    return bind


def _reduced(parts: Parts, values: Vector, ufunc: Any, empty: Any) -> Vector:
    """The reduction of each row's elements; `empty` for rows without any."""
    filled = parts.counts > 0
    result = np.full(len(parts.counts), empty, values.dtype)
    if filled.any():
        result[filled] = ufunc.reduceat(values, parts.starts[filled])
    return result


def _sum(lists: pa.Array, dtype: pa.DataType, expr: ast.Expr) -> pa.Array:
    parts = Parts(lists)
    elements = parts.elements.cast(dtype).fill_null(0)
    values = elements.to_numpy(zero_copy_only=False)
    sums = _reduced(parts, values, np.add, 0)
    if pa.types.is_integer(dtype):
        estimate = _reduced(parts, values.astype(np.float64), np.add, 0.0)
        wrapped = np.abs(estimate - sums.astype(np.float64)) > 2.0**62
        if wrapped.any():
            row = int(np.argmax(wrapped))
            raise overflow(expr, dtype, row, lists[row].as_py())
    return pa.array(sums, dtype, mask=parts.missing)


def _mean(lists: pa.Array, dtype: pa.DataType, expr: ast.Expr) -> pa.Array:
    parts = Parts(lists)
    values = parts.elements.cast(dtype, safe=False).fill_null(0.0).to_numpy(zero_copy_only=False)
    hits = np.concatenate([[0], np.cumsum(~is_null(parts.elements))])
    counts = hits[parts.starts + parts.counts] - hits[parts.starts]
    return pa.array(_reduced(parts, values, np.add, 0.0) / counts, mask=parts.missing | (counts == 0))


def _extreme(lists: pa.Array, dtype: pa.DataType, expr: ast.Expr, least: bool) -> pa.Array:
    parts = Parts(lists)
    holes = is_null(parts.elements)
    floats = pa.types.is_floating(dtype)
    info: Any = np.finfo if floats else np.iinfo
    worst = (
        (np.inf if least else -np.inf) if floats else getattr(info(_numpy(dtype)), "max" if least else "min")
    )
    values = parts.elements.cast(dtype).fill_null(pa.scalar(worst, dtype)).to_numpy(zero_copy_only=False)
    ufunc = (np.fmin if least else np.fmax) if floats else (np.minimum if least else np.maximum)
    hits = np.concatenate([[0], np.cumsum(~holes)])
    none = hits[parts.starts + parts.counts] == hits[parts.starts]
    if floats:
        values = np.where(holes, np.nan, values)
    return pa.array(_reduced(parts, values, ufunc, worst), dtype, mask=parts.missing | none)


def _numpy(dtype: pa.DataType) -> np.dtype[Any]:
    return np.dtype(str(dtype))


def _sum_type(element: pa.DataType) -> pa.DataType:
    if family(element) is Family.FLOAT:
        return element
    return pa.uint64() if element == pa.uint64() else pa.int64()


def _same(element: pa.DataType) -> pa.DataType:
    return element


def _float64(element: pa.DataType) -> pa.DataType:
    return pa.float64()


# ------------------------------------------------------------------ structs


def _bind_field(given: Given) -> Node:
    dtype, name = given.first.dtype, given.options["name"]
    names = [dtype.field(i).name for i in range(dtype.num_fields)]
    if name not in names:
        error = UnknownColumnError.of(name, names)
        error.message = f"{given.expr.operands[0]!r} has no field {name!r}"
        raise error
    if names.count(name) > 1:
        raise DefinitionError(
            f"the field {name!r} is ambiguous",
            expected="one field of that name",
            found=f"{names.count(name)} of them",
            remedy="rename one of them where the struct is made",
        )
    index = names.index(name)
    return OnArrow(partial(_field, index=index), [given.first], dtype.field(index).type)


def _field(structs: pa.Array, index: int) -> pa.Array:
    return structs.flatten()[index]  # which is null where the struct is


_OFFSETS = "numpy, on offsets; Arrow `take`"

RULES: dict[str, Rule] = {
    "len": Rule((LIST,), _bind_len, "Arrow `list_value_length`", differs="int64"),
    "get": Rule((LIST, ANY), _bind_get, _OFFSETS),
    "first": Rule((LIST,), _bind_end(last=False), _OFFSETS),
    "last": Rule((LIST,), _bind_end(last=True), _OFFSETS),
    "contains": Rule(
        (LIST, ANY), _bind_contains, "Arrow `equal`, numpy on offsets", differs="NaN is no one's equal"
    ),
    "slice": Rule((LIST,), _bind_part(_slice, "offset", "length"), _OFFSETS),
    "head": Rule((LIST,), _bind_part(_head, "n"), _OFFSETS),
    "tail": Rule((LIST,), _bind_part(_tail, "n"), _OFFSETS),
    "reverse": Rule((LIST,), _bind_reverse, _OFFSETS),
    "join": Rule((LIST,), _bind_join, "Arrow `binary_join`"),
    "sum": Rule(
        (LIST,),
        _bind_number(_sum, _sum_type),
        "numpy `add.reduceat`",
        differs="int64 for narrow integers too; overflow is an error",
    ),
    "mean": Rule((LIST,), _bind_number(_mean, _float64), "numpy `add.reduceat`"),
    "min": Rule((LIST,), _bind_number(partial(_extreme, least=True), _same), "numpy `fmin.reduceat`"),
    "max": Rule((LIST,), _bind_number(partial(_extreme, least=False), _same), "numpy `fmax.reduceat`"),
}
STRUCTS: dict[str, Rule] = {
    "field": Rule((STRUCT,), _bind_field, "Arrow, a view of the field"),
}
