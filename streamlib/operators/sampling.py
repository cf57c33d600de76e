"""`sample`: a fixed part of the rows, chosen by a hash of what is in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from streamlib.core.batch import Batch, Column
from streamlib.core.contracts import Operator, OperatorSpec, Output, StreamType
from streamlib.core.errors import DefinitionError, TypeMismatchError
from streamlib.core.hashing import check_key_type, key_hash
from streamlib.core.mixing import mix
from streamlib.operators.columns_read import all_of


@dataclass(frozen=True, eq=False)
class Sample(OperatorSpec):
    """The rows whose hash falls into a fraction of all hashes.

    Attributes:
        fraction: from 0 to 1.
        by: the columns that are hashed; empty: all that can be, and the event time.
        seed: another one chooses other rows.
    """

    kind: ClassVar[str] = "sample"

    fraction: float
    by: tuple[str, ...]
    seed: int

    def bind(self, inputs: Sequence[StreamType]) -> tuple[StreamType, ...]:
        (stream,) = inputs
        for name in self.by:
            check_key_type(name, stream.field(name).type)
        if not self._columns(stream) and not self._by_time(stream):
            raise DefinitionError(
                "there is nothing by which rows could be chosen",
                expected="a column of numbers, texts or times",
                found=", ".join(f"{field.name} {field.type}" for field in stream.schema),
                remedy="compute such a column first and give it with `by=`",
            )
        return (stream,)

    def build(self, inputs: Sequence[StreamType]) -> Operator:
        return _Sample(self, self._columns(inputs[0]), self._by_time(inputs[0]))

    def _by_time(self, stream: StreamType) -> bool:
        """Changes of one row have event times of their own, and belong together."""
        return not self.by and stream.event_time and stream.changes is None

    def _columns(self, stream: StreamType) -> tuple[str, ...]:
        return self.by or tuple(field.name for field in stream.schema if _hashable(field))

    def reads(
        self, wanted: Sequence[frozenset[str] | None], inputs: Sequence[StreamType]
    ) -> frozenset[str] | None:
        return all_of([*wanted, frozenset(self.by) if self.by else None])

    def describe(self) -> str:
        by = f" by {', '.join(self.by)}" if self.by else ""
        return f"{self.fraction:g} of the rows{by}, seed {self.seed}"


def _hashable(field: pa.Field) -> bool:
    try:
        check_key_type(field.name, field.type)
    except TypeMismatchError:
        return False
    return True


class _Sample(Operator):
    def __init__(self, spec: Sample, columns: tuple[str, ...], by_time: bool) -> None:
        self._columns = columns
        self._by_time = by_time
        self._seed = mix(np.array([spec.seed], np.int64).astype(np.uint64))
        self._below = np.uint64(min(int(spec.fraction * 2**64), 2**64 - 1))
        self._all = spec.fraction >= 1

    def on_batch(self, batch: Batch, port: int) -> Iterable[Output]:
        if self._all:
            return ((0, batch),)
        columns: list[Column] = [batch.column(name) for name in self._columns]
        if self._by_time and batch.event_time is not None:
            columns.append(batch.event_time)
        hashes = mix(key_hash(columns, batch.num_rows) + self._seed)
        return ((0, batch.filter(hashes < self._below)),)
