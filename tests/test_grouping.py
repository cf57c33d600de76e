"""Rows sorted into groups: the same groups, whichever way keys are coded."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlib.operators.aggregates import ESTIMATE, ROWS, StateColumn
from streamlib.operators.grouping import Groups, group_rows
from streamlib.operators.sorted_groups import first_and_others

LOW, HIGH = -(2**63), 2**63 - 1
KEY = st.integers(-3, 3) | st.sampled_from([LOW, LOW + 1, HIGH - 1, HIGH]) | st.integers(LOW, HIGH)
SAME_HASH = (
    0,
    pow(0x9E3779B97F4A7C15, -1, 2**64),
)  # as hashes these are 0 and 1: only the lowest bit differs


def check(groups: Groups, keys: list[tuple[object, ...]]) -> None:
    rows = defaultdict(list)
    for row, code in enumerate(groups.codes.tolist()):
        rows[code].append(row)
    assert sorted(rows) == list(range(groups.count))
    assert len({keys[row] for row in groups.first.tolist()}) == groups.count == len(set(keys))
    for code, members in rows.items():
        assert len({keys[row] for row in members}) == 1
        assert groups.first[code] == members[0]


@given(st.lists(st.tuples(KEY, st.integers(-2, 2), KEY), min_size=1, max_size=60), st.data())
def test_rows_of_equal_whole_numbers_are_one_group(rows, data):
    names = data.draw(st.lists(st.sampled_from([0, 1, 2]), min_size=1, max_size=3, unique=True))
    columns = [np.array([row[i] for row in rows], np.int64) for i in names]
    check(group_rows(columns, len(rows)), [tuple(row[i] for i in names) for row in rows])


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint32", "uint64"])
def test_every_type_of_whole_numbers_has_groups(dtype):
    limits = np.iinfo(dtype)
    keys = [limits.min, limits.max, limits.max - 1, limits.min, 1, limits.max] * 3
    check(group_rows([np.array(keys, dtype)], len(keys)), [(key,) for key in keys])


@pytest.mark.parametrize("rows", [1, 2, 4_096, 70_000])
def test_groups_of_any_number_of_rows(rows):
    keys = (
        np.random.default_rng(rows)
        .integers(LOW, HIGH, max(1, rows // 2))
        .take(np.arange(rows) % 1_000_003 // 2)
    )
    check(group_rows([keys], rows), [(key,) for key in keys.tolist()])


def test_keys_whose_hashes_differ_in_the_last_bits_are_told_apart_all_the_same():
    keys = np.array(SAME_HASH * 3, np.uint64)
    assert first_and_others([keys]) is None
    check(group_rows([keys], len(keys)), [(key,) for key in keys.tolist()])


def test_nulls_are_a_group_among_keys_that_lie_far_apart():
    keys = [LOW, None, HIGH, None, 5, HIGH]
    check(group_rows([pa.array(keys, pa.int64())], len(keys)), [(key,) for key in keys])


@given(st.lists(st.tuples(KEY, st.integers(LOW, HIGH)), min_size=1, max_size=40))
def test_values_merge_alike_by_groups_of_either_kind(rows):
    keys, values = (np.array([row[i] for row in rows], np.int64) for i in (0, 1))
    found = first_and_others([keys])
    assert found is not None
    sorted_ = Groups(found[0], others=found[1:])
    plain = Groups(sorted_.first, codes=sorted_.codes)
    for column in (ROWS, ESTIMATE, *(StateColumn("v", pa.int64(), merge) for merge in ("min", "max"))):
        mine, theirs = column.gathered(sorted_, values), column.gathered(plain, values)
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("repeated", [0, 40, 1_000, 3_900])
def test_groups_are_numbered_by_their_first_rows_where_most_keys_occur_once(repeated):
    random = np.random.default_rng(repeated)
    keys = random.integers(LOW, HIGH, 5_000)
    keys[random.permutation(5_000)[:repeated]] = keys[random.integers(0, 5_000, repeated)]
    found = first_and_others([keys, np.arange(5_000) // 1_700])
    assert found is not None
    first, others, codes = found
    assert sorted([*first.tolist(), *others.tolist()]) == list(range(5_000))
    assert (np.diff(first) > 0).all()
    groups = Groups(first, others=(others, codes))
    check(groups, list(zip(keys.tolist(), (np.arange(5_000) // 1_700).tolist(), strict=True)))
