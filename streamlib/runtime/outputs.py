"""Checks of what custom operators return and snapshot, so that a mistake is named where it was made.

Built-in operators are not checked: their tests are, and small batches must stay cheap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Batch, Column
from streamlib.core.contracts import Json, Operator, OperatorSpec, OperatorState, Output, StreamType
from streamlib.core.errors import DefinitionError, StreamlibError, UserFunctionError, shown
from streamlib.core.segment import Segment

_REMEDY = "see `Operator`: every output is a pair (index of the port, Batch)"


def is_custom(operator: Operator) -> bool:
    """Whether an operator is not one of ours."""
    return not type(operator).__module__.startswith("streamlib.")


def check_machine(spec: OperatorSpec, operator: object) -> None:
    """Raise for a machine that is none, or whose state would be lost in silence."""
    name = type(spec).__name__
    if not isinstance(operator, Operator):
        raise UserFunctionError(
            f"{name}.build did not return an operator",
            expected="an object of a subclass of Operator",
            found=shown(operator),
            remedy="return a fresh machine: `return MyOperator(self)`",
        )
    machine = type(operator)
    keeps = machine.snapshot is not Operator.snapshot, machine.restore is not Operator.restore
    if keeps != (spec.stateful, spec.stateful):
        having = " and ".join(n for n, has in zip(("snapshot", "restore"), keeps, strict=True) if has)
        raise DefinitionError(
            f"{name} says stateful = {spec.stateful}, and its machine {machine.__name__} says otherwise",
            expected="`stateful = True` with `snapshot` and `restore`, or none of the three",
            found=f"{machine.__name__} with {having or 'neither `snapshot` nor `restore`'}",
            remedy="state that is not in snapshots is lost by a restart: declare all three",
        )


def checked_outputs(returned: Any, types: Sequence[StreamType], method: str) -> list[Output]:
    """The outputs of `method` as a list, if each is one that the ports can take."""
    if returned is None or not isinstance(returned, Iterable) or isinstance(returned, Batch):
        raise _wrong(method, "an iterable of pairs (port, Batch)", shown(returned))
    outputs = list(returned)
    for output in outputs:
        if not isinstance(output, tuple) or len(output) != 2 or not isinstance(output[1], Batch):
            raise _wrong(method, "pairs (port, Batch)", shown(output))
        port, batch = output
        if not isinstance(port, int) or not 0 <= port < len(types):
            raise _wrong(method, f"a port from 0 to {len(types) - 1}", f"port {shown(port)}")
        _check_batch(batch, types[port], method)
    return outputs


def _check_batch(batch: Batch, expected: StreamType, method: str) -> None:
    if batch.schema is not expected.schema and not batch.schema.equals(expected.schema):
        raise _wrong(method, _columns(expected.schema), _columns(batch.schema))
    if len(batch.columns) != len(batch.schema):
        raise _wrong(method, f"{len(batch.schema)} columns", f"{len(batch.columns)} columns")
    for column, field in zip(batch.columns, batch.schema, strict=True):
        if not isinstance(column, np.ndarray | pa.Array) or len(column) != batch.num_rows:
            size = f"{len(column)} values" if hasattr(column, "__len__") else shown(column)
            raise _wrong(method, f"{batch.num_rows} values in column {field.name!r}", size)
        if not _fits(column, field.type):
            found = column.dtype if isinstance(column, np.ndarray) else column.type
            raise _wrong(method, f"column {field.name!r} of type {field.type}", f"type {found}")
    _check_hidden("event_time", batch.event_time, np.int64, expected.event_time, batch.num_rows, method)
    _check_hidden("changes", batch.changes, np.int8, expected.changes is not None, batch.num_rows, method)


def _fits(column: Column, dtype: pa.DataType) -> bool:
    if not isinstance(column, np.ndarray):
        return column.type == dtype or _same_texts(column.type, dtype)
    if pa.types.is_temporal(dtype) and column.dtype.kind == "i":
        return bool(column.dtype.itemsize * 8 == dtype.bit_width)
    return bool(pa.from_numpy_dtype(column.dtype) == dtype) if column.dtype.kind in "iufb" else False


def _same_texts(found: pa.DataType, dtype: pa.DataType) -> bool:
    """Whether both are codes of one type: how wide the codes are is nobody's business but the batch's."""
    codes = pa.types.is_dictionary(found) and pa.types.is_dictionary(dtype)
    return codes and bool(found.value_type == dtype.value_type)


def _check_hidden(what: str, vector: Any, dtype: type, wanted: bool, rows: int, method: str) -> None:
    if not wanted and vector is None:
        return
    expected = f"`{what}` as {np.dtype(dtype)} vector of {rows} values" if wanted else f"no `{what}`"
    found = f"{what} {shown(vector)}"
    if not wanted or not isinstance(vector, np.ndarray) or vector.shape != (rows,) or vector.dtype != dtype:
        raise _wrong(method, expected, found)


def _columns(schema: pa.Schema) -> str:
    return "columns " + ", ".join(f"{f.name} {f.type}{'' if f.nullable else ' not null'}" for f in schema)


def check_state(state: Any) -> None:
    """Raise for a snapshot that no checkpoint can hold."""
    if not isinstance(state, OperatorState):
        raise _wrong_state("an OperatorState", shown(state))
    for name, segments in state.tables.items():
        if not isinstance(segments, Sequence) or not all(isinstance(s, Segment) for s in segments):
            raise _wrong_state(f"table {name!r} as a list of Segments", shown(segments))
    if not _is_json(state.values):
        raise _wrong_state("values of text, numbers, true, false, None, lists and dicts", shown(state.values))
    if not all(type(count) is int for count in state.counters.values()):
        raise _wrong_state("counters of int", shown(state.counters))


def _is_json(value: Json) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and _is_json(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    return value is None or type(value) in (bool, int, float, str)


def _wrong(method: str, expected: str, found: str) -> StreamlibError:
    return UserFunctionError(
        f"{method} returned what the engine can't take", expected=expected, found=found, remedy=_REMEDY
    )


def _wrong_state(expected: str, found: str) -> StreamlibError:
    return UserFunctionError(
        "snapshot returned what a checkpoint can't hold",
        expected=expected,
        found=found,
        remedy="see `OperatorState`; a table that is small is [Segment.of(table)]",
    )
