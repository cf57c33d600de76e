"""The canonical form of a description: what equality and fingerprints of flows are made of."""

from __future__ import annotations

import enum
import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pyarrow as pa


def canonical(value: Any) -> object:
    """A nested tuple of plain values, equal for descriptions that mean the same.

    Functions are named `module:qualname` where that imports the very same function, else they are
    themselves only (by identity). A description may answer for itself with a method `canonical`.
    """
    if isinstance(value, type):
        return ("class", _class_name(value))
    own = getattr(value, "canonical", None)
    if own is not None:
        return own()
    if is_dataclass(value):
        shown = tuple((f.name, canonical(getattr(value, f.name))) for f in fields(value) if f.compare)
        return (_class_name(type(value)), *shown)
    if isinstance(value, pa.Schema | pa.DataType | pa.Table | pa.RecordBatch):
        return _canonical_arrow(value)
    if isinstance(value, enum.Enum):
        return (type(value).__qualname__, value.name)
    if isinstance(value, Mapping):
        return tuple((k, canonical(v)) for k, v in value.items())
    if isinstance(value, tuple | list):
        return tuple(canonical(v) for v in value)
    if isinstance(value, set | frozenset):  # their order differs from process to process
        return ("set", *sorted((canonical(v) for v in value), key=repr))
    if isinstance(value, np.ndarray):
        return ("array", value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).hexdigest()[:16])
    return ("function", _named_function(value)) if callable(value) else value


def _class_name(kind: type) -> str:
    return f"{_module_name(kind.__module__)}.{kind.__qualname__}"


def _named_function(function: Callable[..., Any]) -> str:
    module, colon, name = function_id(function).partition(":")
    return _module_name(module) + colon + name


def _module_name(module: str) -> str:
    """The name of a module, also where it is run as a script: state fits however a flow is started."""
    if module != "__main__":
        return module
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return str(spec.name).removesuffix(".__main__")
    return module if file is None else Path(file).stem


def _canonical_arrow(value: Any) -> object:
    if isinstance(value, pa.Schema):
        return ("schema", tuple((f.name, str(f.type), f.nullable) for f in value))
    if isinstance(value, pa.DataType):
        return ("type", str(value))
    return ("rows", canonical(value.schema), _content(value))


def _content(rows: pa.Table | pa.RecordBatch) -> str:
    """A hash of the rows: reads all of them, so it is asked for only where flows are compared."""
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
    digest = hashlib.sha256()
    for column in table.columns:
        # what lies in memory under a null is arbitrary, so nulls and values are told apart
        for part in (column.is_null(), column.drop_null()):
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, pa.schema({"": part.type})) as writer:
                writer.write_table(pa.table({"": part}).combine_chunks())
            digest.update(sink.getvalue())
    return digest.hexdigest()[:16]


def function_id(function: Callable[..., Any]) -> str:
    """`module:qualname` for a function that can be imported, else a name for its identity."""
    name = import_name(function)
    return name if name is not None else f"{getattr(function, '__qualname__', '?')}@{id(function):x}"


def function_name(function: Callable[..., Any]) -> str:
    """What people and pictures call a function: the same in every process, unlike its id."""
    name = import_name(function)
    code = getattr(function, "__code__", None)
    if name is not None:
        return name
    if code is None:
        return str(getattr(function, "__qualname__", type(function).__qualname__))
    return f"{function.__qualname__} ({PurePath(code.co_filename).name}:{code.co_firstlineno})"


def import_name(function: Callable[..., Any]) -> str | None:
    """`module:qualname` where importing that gives this very function, else None."""
    module, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if module is None or qualname is None:
        return None
    found: object = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return f"{module}:{qualname}" if found is function else None


def fingerprint(form: object) -> str:
    """A short, stable name for a canonical form."""
    return hashlib.sha256(repr(form).encode()).hexdigest()[:16]


class Value:
    """Equality and hash by canonical form, for descriptions whose fields can't be compared by `==`."""

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and canonical(self) == canonical(other)

    def __hash__(self) -> int:
        return hash(repr(canonical(self)))
