"""Rules of JSON: documents are decoded by msgspec, each distinct text once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
import pyarrow as pa

from streamlib.core.errors import StreamlibError, TypeMismatchError, shown
from streamlib.core.expressions.ast import Method
from streamlib.core.expressions.rules.compute import OnWords
from streamlib.core.expressions.rules.rule import TEXT, Given, Rule
from streamlib.core.expressions.spaces.json_paths import Steps, path_steps
from streamlib.core.expressions.types import computing_type, type_text
from streamlib.core.expressions.values import Node
from streamlib.core.python_values import UNFIT, from_python

_ABSENT = object()


def _documents(texts: pa.Array) -> Iterator[Any]:
    """The decoded texts; `_ABSENT` for null and for what is no JSON."""
    decode = msgspec.json.Decoder().decode
    for text in texts.to_pylist():
        try:
            yield _ABSENT if text is None else decode(text)
        except (msgspec.DecodeError, RecursionError):
            yield _ABSENT


def _bind_path(given: Given) -> Node:
    dtype = computing_type(given.first.dtype)
    function = partial(_match, steps=path_steps(given.options["json_path"]), dtype=dtype)
    return OnWords(function, given.first, dtype, costly=True)


def _match(texts: pa.Array, steps: Steps, dtype: pa.DataType) -> pa.Array:
    return pa.array([_as_text(_walked(document, steps)) for document in _documents(texts)], dtype)


def _walked(value: Any, steps: Steps) -> Any:
    for step in steps:
        if isinstance(step, str) and isinstance(value, dict):
            value = value.get(step, _ABSENT)
        elif isinstance(step, int) and isinstance(value, list) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return _ABSENT
    return value


def _as_text(value: Any) -> str | None:
    if value is _ABSENT or value is None:
        return None
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _bind_decode(given: Given) -> Node:
    dtype = given.options["dtype"]
    failed = partial(_undecodable, given.expr, dtype) if given.options["strict"] else None
    return OnWords(partial(_decode, dtype=dtype), given.first, dtype, costly=True, failed=failed)


def _decode(texts: pa.Array, dtype: pa.DataType) -> pa.Array:
    field = pa.field("", dtype)
    values = [None if document is _ABSENT else document for document in _documents(texts)]
    try:
        return from_python(values, field)
    except UNFIT:  # one by one, so that one text does not spoil the others
        return pa.array([_fitting(value, field) for value in values], dtype)


def _fitting(value: Any, field: pa.Field) -> Any:
    try:
        return from_python([value], field)[0].as_py()
    except UNFIT:
        return None


def _undecodable(expr: Method, dtype: pa.DataType, row: int, value: object) -> StreamlibError:
    return TypeMismatchError(
        f"{shown(expr)} failed: a text is no JSON of this type",
        expected=f"JSON that fits {type_text(dtype)}, or null",
        found=f"{shown(value)} in row {row} of the batch",
        remedy="correct the type, or take null for such texts with strict=False",
    )


_KERNEL = "msgspec, a Python loop; each distinct text once"

RULES: dict[str, Rule] = {
    "json_path_match": Rule((TEXT,), _bind_path, _KERNEL, differs="one place: no wildcards, no filters"),
    "json_decode": Rule(
        (TEXT,),
        _bind_decode,
        _KERNEL,
        differs="the JSON document `null` needs `strict=False`; fields are never renamed",
    ),
}
