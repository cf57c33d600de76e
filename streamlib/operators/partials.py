"""Partials: aggregated rows of time slices, built a batch at a time and merged when windows fire.

Two forms. `Cells` (`cells.py`) of neighbouring slices over a range of one integer key, in which nothing
is hashed. A `Block` of groups for everything else: slice numbers and key columns beside state columns.
Which one a batch gets is decided in `build`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streamlib.core.batch import Batch, Column, as_arrow, as_numpy, numpy_type
from streamlib.core.changes import adds
from streamlib.core.time import Micros
from streamlib.operators.aggregates import ROWS, StateColumn
from streamlib.operators.bound_aggregate import BoundAggregate, StateField, Vector
from streamlib.operators.cells import CellMerger, Cells, largest
from streamlib.operators.grouping import (
    DIRECT_FACTOR,
    Groups,
    KeyGrid,
    group_rows,
    key_column,
    stable_order,
    take_rows,
)
from streamlib.operators.key_codes import KeyCodes, has_codes
from streamlib.operators.state_columns import each_once, first_alike
from streamlib.state.key_groups import key_groups
from streamlib.windows.contract import Grid

MASKED_OWNERS = 4  # each gets all cells of a batch: more would be sent than picked out


@dataclass(frozen=True)
class Largest:
    """Of every window the `n` groups that are largest in the aggregate `by`."""

    n: int
    by: str


@dataclass(frozen=True)
class Block:
    """Groups: `numbers` (of slices, or of windows), key columns, state columns; one row a group.

    A group may have several rows, until blocks are merged.
    """

    numbers: Micros
    keys: tuple[Column, ...]
    states: tuple[Column, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def slice(self, start: int, stop: int) -> Block:
        """Groups `start:stop`, as views."""
        if start == 0 and stop == len(self):
            return self
        keys = tuple(_slice(k, start, stop) for k in self.keys)
        return Block(self.numbers[start:stop], keys, each_once(self.states, lambda s: _slice(s, start, stop)))

    def renumbered(self, numbers: Micros, rows: np.ndarray | None) -> Block:
        """The groups at `rows` (None: all, as they are) under other numbers."""
        if rows is None:
            return Block(numbers, self.keys, self.states)
        keys = tuple(take_rows(k, rows) for k in self.keys)
        return Block(numbers, keys, each_once(self.states, lambda s: take_rows(s, rows)))


Partial: TypeAlias = Cells | Block
"""The partials of a batch: cells, or a block sorted by slice number."""


def _slice(column: Column, start: int, stop: int) -> Column:
    return column[start:stop] if isinstance(column, np.ndarray) else column.slice(start, stop - start)


class PartialAggregator:
    """Builds and merges partials of fixed keys and aggregates.

    The first `own` key columns (default: all) are the stream's key; others only tell groups apart. A slice
    belongs to so many `windows`.
    """

    def __init__(
        self,
        key_types: Sequence[pa.DataType],
        aggregates: Sequence[BoundAggregate],
        own: int | None = None,
        windows: int = 1,
    ) -> None:
        # what is not in cells is hashed again in each window that fires: for two it pays twice
        self._cells_a_row = DIRECT_FACTOR * min(windows, 2)
        self.key_types = tuple(key_types)
        self.own = len(key_types) if own is None else own
        self.aggregates = tuple(aggregates)
        self.columns: tuple[StateField, ...] = (ROWS, *(c for a in aggregates for c in a.state))
        ends = np.cumsum([1, *(len(a.state) for a in aggregates)]).tolist()
        self._places = list(zip(aggregates, map(slice, ends[:-1], ends[1:]), strict=True))
        # Only built-in aggregates allow to merge column by column, as cells do.
        columnwise = tuple(c for c in self.columns if isinstance(c, StateColumn))
        self._columnwise = columnwise if len(columnwise) == len(self.columns) else None
        only = key_types[0] if len(key_types) == 1 else pa.null()
        self._codes = KeyCodes(only) if has_codes(only) else None
        integers = pa.types.is_integer(only) or self._codes is not None
        self.numbers = self._columnwise if all(c.vector for c in columnwise) else None
        """The state columns, where all are numbers that merge column by column."""
        self._cells = CellMerger(columnwise) if integers and self.numbers is not None else None

    @property
    def only_builtin(self) -> bool:
        """Whether no user's function is called."""
        return self._columnwise is not None

    # ------------------------------------------------------------------ rows to partials

    def build(
        self,
        batch: Batch,
        keys: Sequence[Column],
        slices: Micros,
        grouped: bool = True,
        beside: Cells | None = None,
    ) -> Partial:
        """The partials of the rows of a batch; rows that left the table of a changelog are taken back.

        Cells cover those `beside` where that takes few more, so that these can be taken in.

        This is where the kernel for a batch is chosen:

        - *cells*, where the keys are integers of a range that is small against the rows: 8 ns a row, then
          nothing is hashed any more; texts that come with dictionaries have codes that are such integers;
        - *rows*, sorted by slice and hashed when windows fire (`grouped=False`): 13 ns a row, and 30 when
          they fire, several together. Hashing each batch before would cost 40 more;
        - *groups*, by hashing, where they have to be few at once: before they are sent to other workers.
        """
        if batch.changes is not None:
            keys = [key_column(key) for key in keys]
            return self._build_changes(batch, keys, slices, adds(batch.changes))
        key = self._whole_numbers(keys[0]) if self._cells is not None else None
        if key is not None:
            grid = KeyGrid.of(key, slices)
            if beside is not None:
                both = grid.covering(beside.first, beside.span, beside.low, beside.width)
                grid = both if both.cells <= 2 * grid.cells else grid
            if grid.cells <= self._cells_a_row * batch.num_rows:
                states = self._states(batch, grid.codes(key, slices), grid.cells)
                return Cells(grid.first, grid.low, grid.width, tuple(states))
        keys = [key_column(key) for key in keys]
        return self._build_block(batch, keys, slices) if grouped else self._build_rows(batch, keys, slices)

    def _whole_numbers(self, key: Column) -> Vector | None:
        """The key as numbers that cells can stand for: its own, or codes of its values."""
        if self._codes is not None:
            return self._codes.codes(key)
        numbers = as_numpy(key_column(key))
        return None if numbers is None or numbers.dtype == np.uint64 else numbers

    def _build_rows(self, batch: Batch, keys: Sequence[Column], slices: Micros) -> Block:
        """Every row as a group of its own."""
        order = stable_order(slices)
        if order is not None:
            batch, slices = batch.take(order), slices.take(order)
            keys = [take_rows(key, order) for key in keys]
        rows = np.ones(batch.num_rows, np.int64)
        states: list[Column] = [rows]
        for aggregate in self.aggregates:
            states += aggregate.each(batch, rows)
        return Block(slices, tuple(keys), tuple(states))

    def _build_block(self, batch: Batch, keys: Sequence[Column], slices: Micros) -> Block:
        groups = group_rows([slices, *keys], batch.num_rows)
        states = self._states(batch, groups.codes, groups.count)
        found = tuple(take_rows(key, groups.first) for key in keys)
        return ordered(Block(slices.take(groups.first), found, tuple(states)))

    def _build_changes(
        self, batch: Batch, keys: Sequence[Column], slices: Micros, added: npt.NDArray[np.bool_]
    ) -> Block:
        """Also groups whose rows come to zero: of an update the values differ."""
        groups = group_rows([slices, *keys], batch.num_rows)
        states = self._states(batch.take(np.flatnonzero(added)), groups.codes[added], groups.count)
        if not added.all():
            gone = batch.take(np.flatnonzero(~added))
            taken = self._retracting(gone, groups.codes[~added], groups.count)
            states = self._together(states, taken, groups.count)
        found = tuple(take_rows(key, groups.first) for key in keys)
        return ordered(Block(slices.take(groups.first), found, tuple(states)))

    def _retracting(self, batch: Batch, codes: Micros, count: int) -> list[Column]:
        rows = np.bincount(codes, minlength=count)
        states: list[Column] = [-rows]
        for aggregate in self.aggregates:
            states += aggregate.retracting(batch, codes, count, rows)
        return states

    def _states(self, batch: Batch, codes: Micros, count: int, rows: Vector | None = None) -> list[Column]:
        if rows is None:
            rows = np.bincount(codes, minlength=count)
        states: list[Column] = [rows]
        for aggregate in self.aggregates:
            states += aggregate.partial(batch, codes, count, rows)
        return states

    # ------------------------------------------------------------------ partials by owner

    def split(
        self, partials: Sequence[Partial], owners: npt.NDArray[np.intp], merge: bool = True
    ) -> Mapping[int, Sequence[Partial]]:
        """What each owner of key groups gets of partials, at least one; blocks sorted by slice number.

        `merge` makes one row of each group, where they are expected to be far fewer than rows.
        """
        found: dict[int, list[Partial]] = {}
        cells = [p for p in partials if isinstance(p, Cells)]
        blocks = [p for p in partials if isinstance(p, Block)]
        if cells:
            merged = self.merge_cells(cells)
            cells = cells if merged is None else [merged]
        if self._codes is not None or owners[-1] >= MASKED_OWNERS:
            blocks += map(self.block_of, cells)  # codes of texts are known here only
            cells = []
        for part in cells:
            for owner, masked in self._cells_by_owner(part, owners):
                found.setdefault(owner, []).append(masked)
        if blocks:
            together = self.merge(blocks) if merge else self.concat(blocks)
            for owner, block in self._block_by_owner(ordered(together), owners):
                found.setdefault(owner, []).append(block)
        return found

    def _cells_by_owner(self, cells: Cells, owners: npt.NDArray[np.intp]) -> Iterator[tuple[int, Cells]]:
        """All cells for every owner, those of others without rows: much cheaper than picking cells out."""
        keys = np.arange(cells.low, cells.low + cells.width)
        owner = owners.take(key_groups([keys][: self.own], cells.width))
        rows = cells.states[0].reshape(-1, cells.width)
        for worker in range(int(owners[-1]) + 1):
            own = owner == worker
            if own.any():
                masked = np.where(own, rows, 0).ravel()
                yield worker, _with_rows(cells, masked)

    def _block_by_owner(self, block: Block, owners: npt.NDArray[np.intp]) -> Iterator[tuple[int, Block]]:
        keys = [as_arrow(k, t) for k, t in zip(block.keys, self.key_types, strict=True)]
        owner = owners.take(key_groups(keys[: self.own], len(block)))
        first = int(owner[0])
        if (owner == first).all():
            yield first, block
            return
        for worker in range(int(owners[-1]) + 1):
            rows = np.flatnonzero(owner == worker)
            if len(rows):
                yield worker, block.renumbered(block.numbers.take(rows), rows)

    # ------------------------------------------------------------------ partials to one

    def merge_cells(self, parts: Sequence[Cells]) -> Cells | None:
        """The cells of several partials together; None if they lie too far apart for cells."""
        assert self._cells is not None
        return self._cells.merged(parts)

    def taken_in(self, cells: Cells, small: Cells) -> Cells:
        """`cells`, which cover those of `small`, with what these hold. Changes the vectors of `cells`."""
        assert self._cells is not None
        return self._cells.taken_in(cells, small)

    def cells_in_windows(self, parts: Sequence[Cells], windows: range, window: Grid) -> Cells | None:
        """Cells numbered by windows, each with what its slices hold; None if they lie too far apart."""
        assert self._cells is not None
        return self._cells.in_windows(parts, windows, window)

    def with_groups(self, cells: Cells, block: Block) -> Cells | None:
        """A copy of the cells that holds the groups of a block as well, at least one.

        None if these lie too far apart, or their keys have no cells.
        """
        assert self._cells is not None
        (key,) = block.keys
        numbers = as_numpy(key) if self._codes is None else self._codes.known(as_arrow(key))
        if numbers is None:
            return None
        return self._cells.with_groups(cells, block.numbers, numbers, block.states)

    def block_of(self, cells: Cells, wanted: Largest | None = None) -> Block:
        """The same groups with numbers and a key column, without empty cells.

        Where only the largest of each number are wanted, others may be missing.
        """
        order = None if wanted is None else self._order(cells, wanted.by)
        if wanted is None or order is None:
            present = np.flatnonzero(cells.states[0] != 0)  # of bools it is three times as fast
        else:
            present = largest(order, cells.states[0], cells.width, wanted.n)
        rows, key = cells.places(present)
        states = each_once(cells.states, lambda s: s.take(present))
        if self._codes is not None:
            return Block(rows, (self._codes.values(key),), states)
        return Block(rows, (key.astype(numpy_type(self.key_types[0]), copy=False),), states)

    def _order(self, cells: Cells, by: str) -> Vector | None:
        """A vector that orders the cells as the results of an aggregate do."""
        for aggregate, place in self._places:
            if aggregate.name == by:
                return aggregate.order_of(cells.states[place], cells.states[0])
        return None

    def merge(self, blocks: Sequence[Block]) -> Block:
        """One group for each number and keys, from all groups of the blocks (at least one block)."""
        block = self.concat(blocks)
        groups = group_rows([block.numbers, *block.keys], len(block)) if len(block) else None
        if groups is None or groups.count == len(block):
            return block
        keys = tuple(take_rows(k, groups.first) for k in block.keys)
        return Block(block.numbers.take(groups.first), keys, tuple(self._merged_states(block, groups)))

    def _merged_states(self, block: Block, groups: Groups) -> list[Column]:
        states: list[Column] = []
        if self._columnwise is None:
            states.append(ROWS.scatter(groups.codes, groups.count, block.states[0]))
            for aggregate, place in self._places:
                states += aggregate.merge(block.states[place], groups.codes, groups.count)
            return states
        same = first_alike(self._columnwise, [block.states], times=len(block))
        for i, column in enumerate(self._columnwise):
            known = same[i] < i
            states.append(states[same[i]] if known else column.gathered(groups, block.states[i]))
        return states

    def merge_into(self, known: Block, more: Block) -> Block:
        """The groups of `more`, of which the first ones are the groups of `known`, each with its states."""
        return Block(more.numbers, more.keys, tuple(self._together(known.states, more.states, len(more))))

    def _together(self, some: Sequence[Column], all_: Sequence[Column], count: int) -> list[Column]:
        """The states of `count` groups, merged with other states of the first of them."""
        states: list[Column] = [_merged(ROWS, some[0], all_[0])]
        codes = np.concatenate([np.arange(len(some[0])), np.arange(count)])
        for aggregate, place in self._places:
            columns = [c for c in aggregate.state if isinstance(c, StateColumn) and c.vector]
            if len(columns) == len(aggregate.state):  # as in cells: column by column
                triples = zip(columns, some[place], all_[place], strict=True)
                states += [_merged(c, a, b) for c, a, b in triples]
            else:
                pairs = zip(some[place], all_[place], aggregate.state, strict=True)
                states += aggregate.merge([_concat([a, b], f.dtype) for a, b, f in pairs], codes, count)
        return states

    def concat(self, blocks: Sequence[Block]) -> Block:
        """All groups of the blocks (at least one), one after another."""
        if len(blocks) == 1:
            return blocks[0]
        keys = tuple(_concat([b.keys[i] for b in blocks], t) for i, t in enumerate(self.key_types))
        states: dict[tuple[int, ...], Column] = {}
        places = [tuple(id(b.states[i]) for b in blocks) for i in range(len(self.columns))]
        for i, column in enumerate(self.columns):
            if places[i] not in states:
                states[places[i]] = _concat([b.states[i] for b in blocks], column.dtype)
        return Block(np.concatenate([b.numbers for b in blocks]), keys, tuple(states[p] for p in places))

    def finish(self, block: Block) -> list[Column]:
        """The aggregates' result columns."""
        return [aggregate.finish(block.states[place]) for aggregate, place in self._places]


def _with_rows(cells: Cells, rows: Vector) -> Cells:
    """A copy of the cells with other counts of rows: whose it becomes may take more into it (`taken_in`)."""
    counts = cells.states[0]
    states = each_once(cells.states, lambda state: rows if state is counts else state.copy())
    return Cells(cells.first, cells.low, cells.width, states)


def ordered(block: Block) -> Block:
    """The groups in the order of their numbers."""
    order = stable_order(block.numbers)
    return block if order is None else block.renumbered(block.numbers.take(order), order)


def _merged(column: StateColumn, some: Column, all_: Column) -> Column:
    found = np.array(all_, numpy_type(column.dtype))
    head = found[: len(some)]
    with np.errstate(all="ignore"):  # as in `StateColumn.scatter`
        column.ufunc()(head, some, out=head)
    return found


def _concat(parts: Sequence[Column], dtype: pa.DataType) -> Column:
    if all(isinstance(p, np.ndarray) for p in parts):
        return np.concatenate(parts)
    return pa.concat_arrays([as_arrow(p, dtype) for p in parts])
