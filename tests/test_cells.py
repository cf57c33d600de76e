"""Cells that take others in, against merging them: the same numbers, whichever way."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from streamlib.operators.aggregates import ESTIMATE, ROWS, StateColumn, magnitude
from streamlib.operators.cells import CellMerger, Cells
from streamlib.operators.grouping import KeyGrid

SUM = StateColumn("sum", pa.int64(), "sum")
TOP = StateColumn("value", pa.int64(), "max")
COLUMNS = (ROWS, SUM, ESTIMATE, TOP, StateColumn("n", pa.int64(), "sum"))
LIMIT = 2**63 - 1


def cells_of(grid: KeyGrid, rows: list[tuple[int, int, int]]) -> Cells:
    """Cells of rows of slice, key and value, as a batch makes them: shared vectors for shared states."""
    slices, keys, values = (np.array([row[i] for row in rows], np.int64) for i in range(3))
    codes = grid.codes(keys, slices)
    counts = np.bincount(codes, minlength=grid.cells)
    total, top = SUM.scatter(codes, grid.cells, values), TOP.scatter(codes, grid.cells, values)
    fits = len(rows) * max(abs(int(v)) for v in values) < 2**63
    estimate = total if fits else ESTIMATE.scatter(codes, grid.cells, values.astype(np.float64))
    return Cells(grid.first, grid.low, grid.width, (counts, total, estimate, top, counts))


def grid_of(rows: list[tuple[int, int, int]]) -> KeyGrid:
    slices, keys = (np.array([row[i] for row in rows], np.int64) for i in range(2))
    return KeyGrid.of(keys, slices)


ROW = st.tuples(
    st.integers(-3, 3), st.integers(-5, 5), st.integers(-10, 10) | st.sampled_from([LIMIT, -LIMIT])
)


@given(st.lists(ROW, min_size=1, max_size=20), st.lists(ROW, min_size=1, max_size=8))
def test_cells_that_take_others_in_are_what_merging_gives(many, few):
    small = cells_of(grid_of(few), few)
    grid = grid_of(many).covering(small.first, small.span, small.low, small.width)
    kept = [state.copy() for state in small.states]
    merged = CellMerger(COLUMNS).merged([cells_of(grid, many), small])
    found = cells_of(grid, many)
    assert found.cover(small)
    taken = CellMerger(COLUMNS).taken_in(found, small)
    assert merged is not None
    assert (taken.first, taken.low, taken.width) == (merged.first, merged.low, merged.width)
    for mine, theirs in zip(taken.states, merged.states, strict=True):
        exact = {mine.dtype.kind, theirs.dtype.kind} == {"i"}
        np.testing.assert_allclose(mine, theirs, rtol=0 if exact else 1e-12)
        assert not exact or (mine == theirs).all()
    assert all((a == b).all() for a, b in zip(small.states, kept, strict=True)), "others may still hold it"


def groups_of(cells: Cells) -> dict[tuple[int, int], list[float]]:
    """The states of the cells that have rows, by slice and key."""
    places = np.flatnonzero(cells.states[0])
    numbers, keys = (part.tolist() for part in cells.places(places))
    states = [state.take(places).tolist() for state in cells.states]
    return {(n, k): list(found) for n, k, *found in zip(numbers, keys, *states, strict=True)}


@given(st.lists(ROW, min_size=1, max_size=12), st.integers(-4, 4), st.integers(1, 8))
def test_the_slices_between_two_numbers_hold_what_they_held(rows, start, count):
    cells = cells_of(grid_of(rows), rows)
    kept = {place: states for place, states in groups_of(cells).items() if 0 <= place[0] - start < count}
    found = cells.between(start, start + count)
    assert kept == ({} if found is None else groups_of(found))
    if found is not None and 2 * found.span < cells.span:
        assert not any(np.shares_memory(a, b) for a in found.states for b in cells.states)
        keys = {key for _, key in kept}
        assert not keys or (found.low, found.width) == (min(keys), max(keys) - min(keys) + 1)


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(-5, 5)), min_size=1), st.integers(-(2**63), 2**63 - 20)
)
def test_codes_of_cells_are_right_up_to_the_ends_of_int64(rows, shift):
    shift = max(shift, -(2**63) + 5)
    slices, keys = (np.array([row[i] for row in rows], np.int64) for i in range(2))
    keys = keys + shift
    grid = KeyGrid.of(keys, slices)
    expected = [
        (int(s) - grid.first) * grid.width + int(k) - grid.low for s, k in zip(slices, keys, strict=True)
    ]
    assert grid.codes(keys, slices).tolist() == expected


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, -1, -(2**63), 2**63 - 1])),
    st.sampled_from(["int64", "uint64"]),
)
def test_the_largest_absolute_value_is_exact_at_the_ends_of_integers(values, dtype):
    array = np.array([value + 2**63 if dtype == "uint64" else value for value in values], dtype)
    assert magnitude(array) == max((abs(value) for value in array.tolist()), default=0)
