"""The table that a changelog describes: rows come, are replaced, and go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.changes import Changelog, Changes, adds
from streamlib.core.hashing import check_key_type
from streamlib.state.key_columns import VectorColumn
from streamlib.state.key_slots import KeySlots, Slots

_SLACK = 65_536  # replaced rows or dead slots that are not worth a copy of the rest
_GONE = -1


class CurrentRows(Protocol):
    """A table, change by change."""

    def apply(self, rows: pa.RecordBatch, changes: Changes) -> None:
        """Take changes, in order."""
        ...

    def table(self) -> pa.Table:
        """The rows there are now, as a table of one chunk."""
        ...


def current_rows(schema: pa.Schema, changelog: Changelog) -> CurrentRows:
    """An empty table for the changes of `changelog`.

    Raises `TypeMismatchError` for a changelog without identity whose rows can't be compared.
    """
    if changelog.identity is None:
        return _CountedRows(schema)
    return IdentifiedRows(schema, changelog.identity)


def final_table(
    schema: pa.Schema, changelog: Changelog, changes: Iterable[tuple[pa.RecordBatch, Changes]]
) -> pa.Table:
    """The table at the end of a whole changelog."""
    rows = current_rows(schema, changelog)
    for batch, kinds in changes:
        rows.apply(batch, kinds)
    return rows.table()


class IdentifiedRows:
    """Rows named by columns: a row replaces the one of the same name. They keep the order of arrival."""

    def __init__(self, schema: pa.Schema, identity: tuple[str, ...]) -> None:
        self._schema = schema
        self._identity = [schema.get_field_index(name) for name in identity]
        self._types = [_plain(schema.field(name).type) for name in identity]
        self._clear()

    def _clear(self) -> None:
        self._slots = KeySlots(self._types)
        self._at = VectorColumn(np.dtype(np.int64))  # where in the log the row of a slot stands
        self._log: list[pa.RecordBatch] = []
        self._logged = self._live = 0

    def apply(self, rows: pa.RecordBatch, changes: Changes) -> None:
        """Take changes, in order. Of an update the new row suffices."""
        if not rows.num_rows:
            return
        slots = self._slots.of([_decoded(rows.column(i)) for i in self._identity], rows.num_rows)
        new = len(self._slots) - len(self._at)
        self._at.append(np.full(new, _GONE, np.int64))
        slots, last = _last_of_each(slots, len(self._slots))
        stays = adds(changes.take(last))
        kept = last[stays]
        self._live += len(kept) - int(np.count_nonzero(np.asarray(self._at.take(slots)) != _GONE))
        self._at.put(slots, np.full(len(slots), _GONE, np.int64))
        self._at.put(slots[stays], self._logged + np.arange(len(kept)))
        self._log.append(rows.take(pa.array(kept)) if len(kept) < rows.num_rows else rows)
        self._logged += len(kept)
        if max(self._logged, len(self._slots)) > 2 * self._live + _SLACK:
            self._compact()

    def _compact(self) -> None:
        table = self.table()
        self._clear()
        self.load(table)

    def load(self, table: pa.Table) -> None:
        """Become `table`, which has no two rows of one name."""
        self._clear()
        for batch in table.to_batches():
            self.apply(batch, np.zeros(batch.num_rows, np.int8))

    def table(self) -> pa.Table:
        """The rows there are now, as a table of one chunk."""
        at = np.asarray(self._at.all())
        where = pa.array(at[at != _GONE])
        return pa.Table.from_batches(self._log, self._schema).take(where).combine_chunks()


class _CountedRows:
    """Rows without a name: of equal rows it counts how many there are."""

    def __init__(self, schema: pa.Schema) -> None:
        for field in schema:
            check_key_type(field.name, field.type)
        self._schema = schema
        self._slots = KeySlots([_plain(field.type) for field in schema])
        self._counts = VectorColumn(np.dtype(np.int64))

    def apply(self, rows: pa.RecordBatch, changes: Changes) -> None:
        """Take changes, in order."""
        slots = self._slots.of([_decoded(c) for c in rows.columns], rows.num_rows)
        self._counts.append(np.zeros(len(self._slots) - len(self._counts), np.int64))
        np.add.at(self._counts.all(), slots, np.where(adds(changes), 1, -1))

    def table(self) -> pa.Table:
        """The rows there are now, as a table of one chunk."""
        counts = np.asarray(self._counts.all())
        slots = np.repeat(np.arange(len(counts)), np.maximum(counts, 0))
        columns = [
            pa.array(column).cast(field.type)
            for column, field in zip(self._slots.keys(slots), self._schema, strict=True)
        ]
        return pa.Table.from_arrays(columns, schema=self._schema)


def _last_of_each(slots: Slots, count: int) -> tuple[Slots, npt.NDArray[np.intp]]:
    """The different slots, and the last row of each, in the order of these rows."""
    last = np.full(count, _GONE, np.int64) if count < 4 * len(slots) else None
    if last is None:
        different, reversed_first = np.unique(slots[::-1], return_index=True)
        rows = len(slots) - 1 - reversed_first
        order = np.argsort(rows)
        return different.take(order), rows.take(order)
    last[slots] = np.arange(len(slots))  # of equal slots the last write stays
    rows = np.flatnonzero(last.take(slots) == np.arange(len(slots)))
    return slots.take(rows), rows


def _decoded(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _plain(dtype: pa.DataType) -> pa.DataType:
    return dtype.value_type if pa.types.is_dictionary(dtype) else dtype
