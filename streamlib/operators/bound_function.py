"""An `AggregateFunction` at work: what its methods get and return, checked."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Batch, Column, as_arrow, as_numpy, numpy_type
from streamlib.core.contracts import StreamType
from streamlib.core.errors import DefinitionError, StreamlibError, UserFunctionError, shown
from streamlib.core.expressions import Bound, Expr, bind, col
from streamlib.operators.bound_aggregate import BoundAggregate, StateField, Vector
from streamlib.operators.grouping import Codes, decoded, decoded_type


class Functions(Protocol):
    """What is used of an `AggregateFunction`; its docstrings are the contract."""

    def state_types(self, *arguments: pa.DataType) -> Mapping[str, pa.DataType]: ...
    def result_type(self, *arguments: pa.DataType) -> pa.DataType: ...
    def create(self, groups: int) -> MutableMapping[str, Column]: ...
    def add(self, state: MutableMapping[str, Column], codes: Codes, *values: Any) -> object: ...
    def merge(
        self, state: MutableMapping[str, Column], codes: Codes, other: MutableMapping[str, Column]
    ) -> object: ...
    def finish(self, state: MutableMapping[str, Column]) -> Column: ...


class BoundFunction(BoundAggregate):
    """Calls the user's methods for all groups of a batch at once."""

    def __init__(
        self, name: str, functions: Functions, arguments: Sequence[str | Expr], stream: StreamType
    ) -> None:
        self.name = name
        self._functions = functions
        self._arguments = [_bound(a, stream, self._class) for a in arguments]
        types = [decoded_type(argument.dtype) for argument in self._arguments]
        self._check_signatures(types)
        self.state = tuple(self._state_field(*item) for item in self._declared(types).items())
        self.dtype = self._functions.result_type(*types)
        if not isinstance(self.dtype, pa.DataType):
            raise self._wrong("result_type", "a pyarrow type", shown(self.dtype))
        if stream.changes is not None and not hasattr(functions, "retract"):
            raise DefinitionError(
                f"{self._class} can't take rows back, and its input is a changelog",
                expected="an append-only stream, or an aggregate with a method `retract`",
                found=f"{name}={functions!r} without one",
                remedy="add `retract(state, codes, *values)`, or let the window above it show "
                "each result once: `.window(...).final_only().aggregate(...)`",
            )

    # ------------------------------------------------------------------ at bind time

    @property
    def _class(self) -> str:
        return type(self._functions).__name__

    def _check_signatures(self, types: Sequence[pa.DataType]) -> None:
        for method, before in (("state_types", 0), ("result_type", 0), ("add", 2)):
            signature = inspect.signature(getattr(self._functions, method))
            try:
                signature.bind(*range(before + len(types)))
            except TypeError as cause:
                expected = (
                    f"{len(types)} arguments" if not before else f"state, codes and {len(types)} arguments"
                )
                raise DefinitionError(
                    f"{self._class}.{method} does not take the arguments of the aggregate",
                    expected=f"a method that takes {expected}",
                    found=f"{method}{signature}",
                    remedy="make each argument a field of type `Argument`, and a parameter of the method",
                ) from cause

    def _declared(self, types: Sequence[pa.DataType]) -> Mapping[str, pa.DataType]:
        declared = self._functions.state_types(*types)
        if not isinstance(declared, Mapping) or not declared:
            raise self._wrong("state_types", "a dict of names and pyarrow types", shown(declared))
        return declared

    def _state_field(self, name: str, dtype: pa.DataType) -> StateField:
        if not isinstance(name, str) or not isinstance(dtype, pa.DataType) or pa.types.is_dictionary(dtype):
            found = f"{shown(name)}: {shown(dtype)}"
            raise self._wrong("state_types", "a name and a plain pyarrow type for each column", found)
        return StateField(name, dtype)

    # ------------------------------------------------------------------ rows and states

    def partial(self, batch: Batch, codes: Codes, count: int, rows: Vector) -> list[Column]:
        return self._rows_into("add", batch, codes, count)

    def retracting(self, batch: Batch, codes: Codes, count: int, rows: Vector) -> list[Column]:
        return self._rows_into("retract", batch, codes, count)

    def _rows_into(self, method: str, batch: Batch, codes: Codes, count: int) -> list[Column]:
        """What `add` or `retract` makes of the state without rows."""
        columns = [argument.evaluate(batch) for argument in self._arguments]
        codes, values = _complete(columns, codes)
        state = self._create(count)
        with self._calling(method, f"{len(codes)} rows of {count} groups"):
            self._returned_nothing(method, getattr(self._functions, method)(state, codes, *values))
        return self._checked(method, state, count)

    def merge(self, states: Sequence[Column], codes: Codes, count: int) -> list[Column]:
        state = self._create(count)
        self._merge(state, codes, states, count)
        return self._checked("merge", state, count)

    def _merge(
        self, state: MutableMapping[str, Column], codes: Codes, states: Sequence[Column], count: int
    ) -> None:
        other = self._named(states)
        with self._calling("merge", f"{len(codes)} states of {count} groups"):
            self._returned_nothing("merge", self._functions.merge(state, codes, other))

    def finish(self, states: Sequence[Column]) -> Column:
        groups = len(states[0])
        with self._calling("finish", f"{groups} groups"):
            result = self._functions.finish(self._named(states))
        return self._fit("finish", "the result", result, self.dtype, groups)

    def _create(self, count: int) -> MutableMapping[str, Column]:
        with self._calling("create", f"{count} groups"):
            state = self._functions.create(count)
        columns = self._checked("create", state, count)
        if len({id(column) for column in columns}) < len(columns):
            raise self._wrong("create", "a new column for each name", "one vector under several names")
        return self._named(columns, writeable=True)

    def _named(self, states: Sequence[Column], *, writeable: bool = False) -> MutableMapping[str, Column]:
        return {
            field.suffix: column if writeable else _read_only(column)
            for field, column in zip(self.state, states, strict=True)
        }

    # ------------------------------------------------------------------ checks of what is returned

    def _checked(self, method: str, state: Any, count: int) -> list[Column]:
        names = [field.suffix for field in self.state]
        if not isinstance(state, Mapping) or set(state) != set(names):
            found = ", ".join(map(str, state)) if isinstance(state, Mapping) else shown(state)
            raise self._wrong(method, f"the state columns {', '.join(names)}", found)
        return [
            self._fit(method, f"state column {f.suffix!r}", state[f.suffix], f.dtype, count, vector=f.vector)
            for f in self.state
        ]

    def _fit(
        self, method: str, what: str, column: Any, dtype: pa.DataType, count: int, *, vector: bool = False
    ) -> Column:
        """The column in the form that is kept: a numpy vector of exactly its type, or an Arrow array."""
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        expected = f"{what} as a vector of {count} values of type {dtype}"
        if not isinstance(column, np.ndarray | pa.Array) or getattr(column, "ndim", 1) != 1:
            raise self._wrong(method, expected, shown(column))
        if len(column) != count:
            raise self._wrong(method, expected, f"{len(column)} values")
        try:
            fitted = _as_vector(column, dtype) if vector else _as_type(column, dtype)
        except (pa.ArrowException, TypeError, ValueError) as cause:
            found = f"type {column.dtype if isinstance(column, np.ndarray) else column.type}: {cause}"
            raise self._wrong(method, expected, found) from cause
        return fitted

    def _returned_nothing(self, method: str, returned: object) -> None:
        if returned is not None:
            raise self._wrong(method, "nothing: `state` is changed in place", shown(returned))

    @contextmanager
    def _calling(self, method: str, of: str) -> Iterator[None]:
        try:
            yield
        except StreamlibError:
            raise
        except Exception as error:
            error.add_note(f"while {self._class}.{method} worked on {of}, for the result {self.name!r}")
            raise

    def _wrong(self, method: str, expected: str, found: str) -> UserFunctionError:
        return UserFunctionError(
            f"{self._class}.{method} gave what can't be used for the result {self.name!r}",
            expected=expected,
            found=found,
            remedy=f"see `AggregateFunction.{method}`",
        )


def _bound(argument: Any, stream: StreamType, owner: str) -> Bound:
    if isinstance(argument, str):
        argument = col(argument)
    if not isinstance(argument, Expr):
        raise DefinitionError(
            f"an argument of {owner} is no column",
            expected="a column name or an expression",
            found=shown(argument),
            remedy="wrap a constant in `sl.lit(...)`",
        )
    return bind(argument, stream)


def _complete(columns: Sequence[Column], codes: Codes) -> tuple[Codes, list[Column]]:
    """The groups and values of the rows without a null."""
    arrays = [c if isinstance(c, np.ndarray) else decoded(c) for c in columns]
    valid: npt.NDArray[np.bool_] | None = None
    for array in arrays:
        if not isinstance(array, np.ndarray) and array.null_count:
            some = array.is_valid().to_numpy(zero_copy_only=False)
            valid = some if valid is None else valid & some
    if valid is not None:
        codes = codes[valid]
        arrays = [a[valid] if isinstance(a, np.ndarray) else a.filter(pa.array(valid)) for a in arrays]
    return codes, [_given(array) for array in arrays]


def _given(array: Column) -> Column:
    vector = as_numpy(array)
    return array if vector is None else _read_only(vector)


def _read_only(column: Column) -> Column:
    """A view that protects what other batches, windows and operators share."""
    if not isinstance(column, np.ndarray):
        return column
    view = column.view()
    view.flags.writeable = False
    return view


def _as_vector(column: Column, dtype: pa.DataType) -> npt.NDArray[Any]:
    if not isinstance(column, np.ndarray):
        if column.null_count:
            raise ValueError(f"{column.null_count} nulls; count what is there in a column beside it")
        column = np.asarray(column.cast(dtype).to_numpy(zero_copy_only=False))
    return column.astype(numpy_type(dtype), casting="safe", copy=False)


def _as_type(column: Column, dtype: pa.DataType) -> Column:
    if not isinstance(column, np.ndarray):
        return as_arrow(column, dtype)
    if pa.types.is_temporal(dtype) and column.dtype.kind in "iu":
        return pa.array(column).cast(pa.int64() if dtype.bit_width == 64 else pa.int32()).view(dtype)
    if StateField("", dtype).vector:
        return column.astype(numpy_type(dtype), casting="safe", copy=False)
    return pa.array(column, dtype)
