"""`col("x").hash()`: values that never change, whatever a column is made of."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib.connectors import memory
from streamlib.core.errors import DefinitionError, TypeMismatchError
from tests.test_key_groups import GOLDEN, WORD, hash_one, hash_row, mix


def hashed(values: list[object], dtype: pa.DataType | None = None, seed: int = 0) -> list[int]:
    rows = memory.source(pa.table({"x": pa.array(values, dtype)}))
    found = sl.read(rows, name="rows").select(h=sl.col("x").hash(seed)).collect()
    assert found.schema.field("h").type == pa.uint64()
    return found["h"].to_pylist()


def seeded(hash: int, seed: int = 0) -> int:
    return mix(hash + mix(seed))


def of_list(hashes: list[int]) -> int:
    return mix(
        len(hashes) + 0x8CB92BA72F3D8DD7 + sum(mix(h + (i + 1) * GOLDEN) for i, h in enumerate(hashes))
    )


def test_golden_values_never_change():
    """Users store them: if this fails, the code is wrong, not the test."""
    assert hashed([1, 0, None]) == [15916886550466581944, 5197578548964807871, 9071725088682436940]
    lists = [[1, None], [], None, [None, 1]]
    expected = [14151875796909290212, 16623756719898909009, 7565200167600366558, 3741334801653413234]
    assert hashed(lists, seed=7) == expected
    structs = [{"a": 1, "b": "x"}, {"a": None, "b": None}, None]
    assert hashed(structs, seed=7) == [7791008906891314397, 17671565302734357230, 7565200167600366558]


@given(
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=9),
    st.integers(0, 2**64),
)
def test_numbers_are_hashed_as_the_rules_say(values, seed):
    assert hashed(values, pa.int64(), seed) == [seeded(hash_one(v), seed & WORD) for v in values]


@given(st.lists(st.none() | st.lists(st.none() | st.text(max_size=9), max_size=4), min_size=1, max_size=6))
def test_lists_are_hashed_as_the_rules_say(values):
    expected = [hash_one(None) if v is None else of_list(list(map(hash_one, v))) for v in values]
    for dtype in (pa.list_(pa.string()), pa.large_list(pa.string_view())):
        assert hashed(values, dtype) == list(map(seeded, expected))


@given(
    st.lists(
        st.fixed_dictionaries({"n": st.none() | st.integers(-9, 9), "s": st.none() | st.text(max_size=9)}),
        min_size=1,
        max_size=6,
    )
)
def test_structs_are_hashed_like_keys_of_several_columns(values):
    dtype = pa.struct({"n": pa.int64(), "s": pa.string()})
    assert hashed(values, dtype) == [seeded(hash_row([v["n"], v["s"]])) for v in values]


@pytest.mark.parametrize(
    ("one", "other", "dtype", "other_dtype"),
    [
        ([1, None], [1, None], pa.int8(), pa.uint64()),
        ([0.0, float("nan")], [-0.0, -float("nan")], pa.float64(), pa.float64()),
        ([0.5], [0.5], pa.float32(), pa.float64()),
        (["a", None], ["a", None], pa.string(), pa.dictionary(pa.int8(), pa.string())),
        (["a"], [b"a"], pa.large_string(), pa.binary()),
        ([True], [1], pa.bool_(), pa.int64()),
        ([Decimal("1.50")], [Decimal("1.50")], pa.decimal128(5, 2), pa.decimal256(40, 2)),
        ([[1, 2]], [[1, 2]], pa.list_(pa.int8()), pa.list_(pa.int64(), 2)),
        ([date(1970, 1, 3)], [2], pa.date32(), pa.int64()),
    ],
)
def test_equal_values_have_equal_hashes(one, other, dtype, other_dtype):
    assert hashed(one, dtype) == hashed(other, other_dtype)


def test_moments_are_hashed_as_what_they_store():
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    micros = round(moment.timestamp() * 1e6)
    assert hashed([moment], pa.timestamp("us", "UTC")) == hashed([micros])


def test_another_seed_gives_another_hash_of_everything():
    for value in (1, "a", None, [1], {"a": 1}):
        assert hashed([value], seed=1) != hashed([value], seed=2)


def test_a_slice_of_lists_is_hashed_like_the_lists():
    table = pa.table({"x": pa.array([[1], [2, 3], None, [4], []])})
    found = []
    for part in (table.slice(0, 2), table.slice(2, 3)):
        parts = sl.read(memory.source(part), name="rows").select(h=sl.col("x").hash())
        found += parts.collect()["h"].to_pylist()
    assert found == hashed(table["x"].to_pylist())


def test_what_has_no_hash_is_refused_before_the_flow_runs():
    maps = memory.source(pa.table({"m": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))}))
    stream = sl.read(maps, name="maps").select(h=sl.col("m").hash())
    with pytest.raises(TypeMismatchError, match="lists and structs of them") as caught:
        stream.collect()
    assert "col('m') is map" in str(caught.value)
    with pytest.raises(DefinitionError, match="seed"):
        sl.col("m").hash(-1)


def test_it_shows_itself_as_it_is_written():
    assert repr(sl.col("x").hash()) == "col('x').hash()"
    assert repr(sl.col("x").hash(seed=3)) == "col('x').hash(3)"
