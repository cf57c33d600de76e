"""`decode` and `encode`: a column of messages as the columns of their records, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Batch, Column, as_arrow
from streamlib.core.contracts import Operator, OperatorSpec, Output, Rescue, StreamType
from streamlib.core.errors import DefinitionError, TypeMismatchError
from streamlib.formats.arrays import is_list
from streamlib.formats.contract import Decoded, Failure, Format
from streamlib.operators.identity import carried
from streamlib.operators.unfolding import MOST_ROWS, unfolded, unfolded_type

_MESSAGES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_string, pa.types.is_large_string)


def _check_unkeyed(stream: StreamType, names: Iterable[str], operator: str) -> None:
    taken = [name for name in names if name in stream.keys]
    if taken:
        raise DefinitionError(
            f"the stream is keyed by {taken[0]!r}, which `{operator}` takes away",
            expected="keys that stay",
            found=f"keys {', '.join(stream.keys)}",
            remedy=f"put `{operator}` before `key_by`, or `.unkey()` before it",
        )


def _without(stream: StreamType, names: Iterable[str]) -> dict[str, str]:
    """The columns that stay, as `carried` takes them."""
    gone = set(names)
    return {name: name for name in stream.schema.names if name not in gone}


# --------------------------------------------------------------------------- decode


@dataclass(frozen=True, eq=False)
class DecodeMessages(OperatorSpec):
    """The columns of the records in the place of a column of messages, or as one struct `into`."""

    kind: ClassVar[str] = "decode"

    column: str
    format: Format
    into: str | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "per_record", self.format.per_record)

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        dtype = stream.field(self.column).type
        if not any(matches(dtype) for matches in _MESSAGES):
            raise TypeMismatchError(
                f"the column {self.column!r} holds no messages",
                expected="binary or text",
                found=str(dtype),
                remedy="name the column of messages",
            )
        _check_unkeyed(stream, [self.column], "decode")
        schema = pa.schema(
            [
                made
                for field in stream.schema
                for made in (self._made() if field.name == self.column else [field])
            ]
        )
        self._check_names(schema)
        if self.format.unfolds:
            return (unfolded_type(stream, schema),)
        return (replace(stream, schema=schema, changes=carried(stream, _without(stream, [self.column]))),)

    def _made(self) -> list[pa.Field]:
        fields = list(self.format.schema)
        return fields if self.into is None else [pa.field(self.into, pa.struct(fields), nullable=False)]

    def _check_names(self, schema: pa.Schema) -> None:
        twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
        if not twice:
            return
        raise DefinitionError(
            f"two columns would be called {', '.join(map(repr, twice))}",
            expected="a name of its own for every column",
            found=f"{twice[0]!r} in the stream and in {self.format!r}",
            remedy="`drop` or `rename` the other column before, or decode `into` a struct with another name: "
            f'`.decode({self.column!r}, ..., into="record")`',
        )

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        (out,) = self.bind(inputs)
        made = _Unfolding if self.format.unfolds else _Decoding
        return made(self, inputs[0].schema.get_field_index(self.column), out.schema)

    def reads(
        self, wanted: Sequence[frozenset[str] | None], inputs: Sequence[StreamType]
    ) -> frozenset[str] | None:
        made = {field.name for field in self._made()}
        return None if wanted[0] is None else (wanted[0] - made) | {self.column}

    def describe(self) -> str:
        into = "" if self.into is None else f", into {self.into}"
        return f"{self.column}: {self.format!r}{into}"


class _Decoding(Operator):
    """Of formats with one record in each message."""

    keeps_stamps: ClassVar[bool] = True

    def __init__(self, spec: DecodeMessages, column: int, schema: pa.Schema) -> None:
        self._decode = spec.format.decoder()
        self._struct = spec.into is not None
        self._column = column
        self._schema = schema

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        return self._outputs(batch, self._decoded(batch, None))

    def on_batch_isolating(self, batch: Batch, port: int, rescue: Rescue) -> Iterable[Output]:
        """See `Isolates`."""
        return self._outputs(batch, self._decoded(batch, rescue))

    def _decoded(self, batch: Batch, rescue: Rescue | None) -> Decoded:
        found = self._decode(as_arrow(batch.columns[self._column]))
        _tell(found.failures, rescue)
        return found

    def _outputs(self, batch: Batch, found: Decoded) -> Iterable[Output]:
        if found.failures:
            good = np.zeros(batch.num_rows, np.bool_)
            good[found.parents] = True
            batch = batch.filter(good)
        return (
            ((0, batch.replaced(self._schema, self._columns(batch, found.rows))),) if batch.num_rows else ()
        )

    def _columns(self, batch: Batch, rows: pa.RecordBatch) -> list[Column]:
        made = rows.columns
        if self._struct:
            made = [pa.StructArray.from_arrays(made, fields=list(rows.schema))]
        return [*batch.columns[: self._column], *made, *batch.columns[self._column + 1 :]]


class _Unfolding(_Decoding):
    """Of formats with any number of records in a message."""

    keeps_stamps: ClassVar[bool] = False

    def _outputs(self, batch: Batch, found: Decoded) -> Iterator[Output]:
        for start in range(0, len(found.parents), MOST_ROWS):
            parents = found.parents[start : start + MOST_ROWS]
            columns = self._columns(batch.take(parents), found.rows.slice(start, MOST_ROWS))
            yield 0, unfolded(batch, self._schema, columns, parents)


def _tell(failures: list[Failure], rescue: Rescue | None) -> None:
    """Tell of the rows that failed; without anybody to tell the first failure is raised."""
    for row, error in failures:
        if rescue is None:
            raise error
        rescue.lost(row, error)


# --------------------------------------------------------------------------- encode


@dataclass(frozen=True, eq=False)
class EncodeMessages(OperatorSpec):
    """A column of messages in the place of the columns of a format."""

    kind: ClassVar[str] = "encode"

    format: Format
    into: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "per_record", self.format.per_record)

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        names = self.format.schema.names
        for field in self.format.schema:
            found = stream.field(field.name).type
            if not _same(found, field.type):
                raise TypeMismatchError(
                    f"the column {field.name!r} has another type than in {self.format!r}",
                    expected=str(field.type),
                    found=str(found),
                    remedy="cast the column before, or give the format's field the column's type",
                )
        _check_unkeyed(stream, names, "encode")
        kept = [field for field in stream.schema if field.name not in names]
        if self.into in (field.name for field in kept):
            raise DefinitionError(
                f"there is a column {self.into!r} already",
                expected="a name that no column has",
                found=f"into={self.into!r}",
                remedy='name the column of messages otherwise: into="message", or `drop` that one before',
            )
        schema = pa.schema([*kept, pa.field(self.into, pa.binary(), nullable=False)])
        return (replace(stream, schema=schema, changes=carried(stream, _without(stream, names))),)

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        (out,) = self.bind(inputs)
        return _Encoding(self.format, inputs[0].schema, out.schema)

    def reads(
        self, wanted: Sequence[frozenset[str] | None], inputs: Sequence[StreamType]
    ) -> frozenset[str] | None:
        return None if wanted[0] is None else (wanted[0] - {self.into}) | frozenset(self.format.schema.names)

    def describe(self) -> str:
        return f"{self.format!r} into {self.into}"


def _same(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether types are the same, whatever they say of nulls inside."""
    if pa.types.is_struct(found) and pa.types.is_struct(wanted):
        names = [[dtype.field(i).name for i in range(dtype.num_fields)] for dtype in (found, wanted)]
        return names[0] == names[1] and all(
            _same(found.field(i).type, wanted.field(i).type) for i in range(found.num_fields)
        )
    if is_list(found) and type(found) is type(wanted):
        return _same(found.value_type, wanted.value_type)
    if pa.types.is_map(found) and pa.types.is_map(wanted):
        return found.key_type == wanted.key_type and _same(found.item_type, wanted.item_type)
    return found == wanted


class _Encoding(Operator):
    keeps_stamps: ClassVar[bool] = True

    def __init__(self, form: Format, before: pa.Schema, after: pa.Schema) -> None:
        self._encode = form.encoder()
        self._columns = [before.get_field_index(name) for name in form.schema.names]
        self._fields = pa.schema([before.field(i).with_nullable(True) for i in self._columns])
        self._kept = [before.get_field_index(name) for name in after.names[:-1]]
        self._schema = after

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        return self._encoded(batch, None)

    def on_batch_isolating(self, batch: Batch, port: int, rescue: Rescue) -> Iterable[Output]:
        """See `Isolates`."""
        return self._encoded(batch, rescue)

    def _encoded(self, batch: Batch, rescue: Rescue | None) -> Iterable[Output]:
        columns = [
            as_arrow(batch.columns[i], self._fields.field(n).type) for n, i in enumerate(self._columns)
        ]
        found = self._encode(pa.RecordBatch.from_arrays(columns, schema=self._fields))
        _tell(found.failures, rescue)
        messages = found.messages
        if found.failures:
            good = np.ones(batch.num_rows, np.bool_)
            good[[row for row, _ in found.failures]] = False
            batch, messages = batch.filter(good), messages.filter(pa.array(good))
        if not batch.num_rows:
            return ()
        kept = [batch.columns[i] for i in self._kept]
        return ((0, batch.replaced(self._schema, [*kept, messages])),)
