"""The key hash: its written-down rules against a second implementation, its golden values, its spread."""

from __future__ import annotations

import datetime as dt
import math
import struct
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlib.core.errors import TypeMismatchError
from streamlib.core.hashing import check_key_type, key_hash
from streamlib.state.key_groups import KEY_GROUPS, key_groups

WORD = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


# --------------------------------------------------------------------------- the rules, once more


def mix(z: int) -> int:
    z &= WORD
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & WORD
    z = (z ^ z >> 27) * 0x94D049BB133111EB & WORD
    return z ^ z >> 31


def hash_bytes(data: bytes) -> int:
    words = [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8)] or [0]
    return mix(len(data) + 0x8CB92BA72F3D8DD7 + sum(mix(w + (i + 1) * GOLDEN) for i, w in enumerate(words)))


def hash_one(value: object) -> int:
    """The hash of one value, as the documentation of `hashing` says."""
    if value is None:
        return 0xA0761D6478BD642F
    if isinstance(value, int):
        return mix(int(value) + GOLDEN)
    if isinstance(value, float):
        canonical = math.nan if math.isnan(value) else value + 0.0
        bits = (
            0x7FF8000000000000 if math.isnan(value) else struct.unpack("<Q", struct.pack("<d", canonical))[0]
        )
        return mix(bits + 0xD1B54A32D192ED03)
    if isinstance(value, Decimal):
        return hash_bytes(int(value.scaleb(2)).to_bytes(32, "little", signed=True))
    assert isinstance(value, str | bytes)
    return hash_bytes(value.encode() if isinstance(value, str) else value)


def hash_row(values: list[object]) -> int:
    first, *others = map(hash_one, values)
    for value in others:
        first = mix(first * 0xD6E8FEB86659FD93 + value)
    return first


def hashes(*columns) -> list[int]:
    return key_hash(columns, len(columns[0])).tolist()


# --------------------------------------------------------------------------- golden values


STRINGS = [
    "0x1ad77112a04fdeab",
    "0xf336ae112dc54d68",
    "0xa0761d6478bd642f",
    "0xdcbf266080e6cc31",
    "0x14a6887771a52a91",
    "0xff24ff7f33d926b2",
]
INTEGERS = [
    "0xe220a8397b1dcdaf",
    "0x910a2dec89025cc1",
    "0xe4d971771b652c20",
    "0xa0761d6478bd642f",
    "0x2a67d7552e039ea7",
    "0x481ec0a212a9f3db",
]
FLOATS = [
    "0x8209b480faed1b10",
    "0x8209b480faed1b10",
    "0x99f4f599c960f517",
    "0x199fc54ecb10491b",
    "0xea8f06aa484e21ce",
    "0xa0761d6478bd642f",
]
DECIMALS = ["0x386c33b50dfc495f", "0xf38fe99602ec7ae5"]
PAIRS = [
    "0x8bb82083f0502b7f",
    "0xf24f3fa4d93bbbee",
    "0xa630a1bb927ccac0",
    "0xdb13b4eb6cdb406a",
    "0x8743c7d3cb6bd708",
    "0xa70dec613144deda",
]
GROUPS = [13, 121, 80, 110, 10, 127]


def test_golden_values_never_change():
    """They stand in checkpoints: if this fails, the code is wrong, not the test."""
    keys = pa.array(["", "a", None, "auction-7", "an identifier of more than sixteen bytes", "é"])
    assert [hex(h) for h in hashes(keys)] == STRINGS
    numbers = pa.array([0, 1, -1, None, 2**63 - 1, -(2**63)])
    assert [hex(h) for h in hashes(numbers)] == INTEGERS
    floats = pa.array([0.0, -0.0, 1.5, math.nan, math.inf, None])
    assert [hex(h) for h in hashes(floats)] == FLOATS
    assert [
        hex(h) for h in hashes(pa.array([Decimal("1.50"), Decimal("-2.25")], pa.decimal128(9, 2)))
    ] == DECIMALS
    assert [hex(h) for h in hashes(keys, numbers)] == PAIRS
    assert key_groups([keys], 6).tolist() == GROUPS


# --------------------------------------------------------------------------- properties

int32s = st.integers(-(2**31), 2**31 - 1)
decimals = st.integers(-(10**6), 10**6).map(lambda n: Decimal(n).scaleb(-2))
COLUMNS = {
    "int64": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "int32": (pa.int32(), int32s),
    "int8": (pa.int8(), st.integers(-128, 127)),
    "bool": (pa.bool_(), st.booleans()),
    "float64": (pa.float64(), st.floats()),
    "float32": (pa.float32(), st.floats(width=32)),
    "string": (pa.string(), st.text(max_size=40)),
    "large_string": (pa.large_string(), st.text(max_size=20)),
    "string_view": (pa.string_view(), st.text(max_size=40)),
    "binary": (pa.binary(), st.binary(max_size=40)),
    "large_binary": (pa.large_binary(), st.binary(max_size=40)),
    "binary_view": (pa.binary_view(), st.binary(max_size=40)),
    "fixed": (pa.binary(11), st.binary(min_size=11, max_size=11)),
    "decimal128": (pa.decimal128(20, 2), decimals),
    "decimal256": (pa.decimal256(40, 2), decimals),
}


@pytest.mark.parametrize("kind", COLUMNS)
@given(data=st.data())
def test_each_hash_is_what_the_rules_say(kind, data):
    dtype, values = COLUMNS[kind]
    rows = data.draw(st.lists(st.none() | values, max_size=30))
    assert hashes(pa.array(rows, dtype)) == [hash_one(value) for value in rows]


@pytest.mark.parametrize("kind", COLUMNS)
@given(data=st.data())
def test_slices_and_dictionaries_do_not_matter(kind, data):
    dtype, values = COLUMNS[kind]
    rows = data.draw(st.lists(st.none() | values, max_size=30))
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    column = pa.array(rows, dtype)
    expected = hashes(column)[start:stop]
    assert hashes(column.slice(start, stop - start)) == expected
    if kind not in ("string_view", "binary_view", "decimal256"):  # Arrow does not encode these
        encoded = column.dictionary_encode()
        assert hashes(encoded.slice(start, stop - start)) == expected


@given(st.lists(st.integers(0, 127), max_size=30))
def test_width_signs_and_numpy_do_not_matter(rows):
    expected = hashes(pa.array(rows, pa.int64()))
    for dtype in (pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()):
        column = pa.array(rows, dtype)
        assert hashes(column) == expected
        assert hashes(column.to_numpy(zero_copy_only=False)) == expected
    assert hashes(np.array(rows, ">i4")) == expected
    assert hashes(np.repeat(np.array(rows, np.int64), 2)[::2]) == expected


@given(st.lists(st.floats(width=16), max_size=30))
def test_the_width_of_floats_does_not_matter_and_zeros_and_nans_are_one(rows):
    expected = [hash_one(value) for value in rows]
    for dtype in (np.float16, np.float32, np.float64):
        values = np.array(rows, dtype)
        assert hashes(values) == expected
        assert hashes(pa.array(values)) == expected
    assert hashes(np.array([-0.0])) == hashes(np.array([0.0]))
    other_nan = np.array([0xFFF8000000000123], np.uint64).view(np.float64)
    assert hashes(other_nan) == hashes(np.array([np.nan]))


@given(st.lists(st.tuples(st.none() | st.integers(-9, 9), st.none() | st.text(max_size=9)), max_size=20))
def test_several_columns_are_combined_in_order(rows):
    numbers = pa.array([row[0] for row in rows], pa.int64())
    words = pa.array([row[1] for row in rows], pa.string())
    assert hashes(numbers, words) == [hash_row([number, word]) for number, word in rows]
    assert hashes(words, numbers) == [hash_row([word, number]) for number, word in rows]


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=30), st.integers(1, 40))
def test_the_size_of_the_blocks_does_not_matter(rows, block):
    expected = [hash_bytes(row) for row in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streamlib.core.hash_bytes._BLOCK_WORDS", block)
        assert hashes(pa.array(rows, pa.binary())) == expected


# --------------------------------------------------------------------------- examples


def test_temporal_columns_are_hashed_as_the_integers_they_store():
    moment = dt.datetime(2024, 5, 17, 12, 30, tzinfo=dt.UTC)
    for dtype in (pa.timestamp("ms", "UTC"), pa.timestamp("ns"), pa.duration("s"), pa.time64("us")):
        column = pa.array([5, None, 7], pa.int64()).view(dtype)
        assert hashes(column) == hashes(pa.array([5, None, 7]))
    assert hashes(pa.array([moment.date()], pa.date32())) == hashes(np.array([19860]))
    column = pa.array([moment], pa.timestamp("us"))
    assert hashes(column) == hashes(column.to_numpy(zero_copy_only=False))


def test_numpy_text_is_hashed_like_arrow_text():
    words = ["", "a", "longer than eight"]
    assert hashes(np.array(words)) == hashes(np.array(words, object)) == hashes(pa.array(words))


def test_lookalikes_differ():
    assert hashes(np.array([1])) != hashes(np.array([1.0]))
    assert hashes(np.array([0])) != hashes(pa.array([None], pa.int64()))
    assert len(set(hashes(pa.array([b"", b"\0", b"\0" * 8, b"\0" * 9], pa.binary())))) == 4
    left, right = pa.array(["ab", "a"]), pa.array(["c", "bc"])
    assert len(set(hashes(left, right))) == 2


def test_a_dictionary_with_nulls_and_unused_values():
    encoded = pa.DictionaryArray.from_arrays(pa.array([1, None, 2, 1], pa.int8()), pa.array(["x", "y", None]))
    assert hashes(encoded) == hashes(pa.array(["y", None, None, "y"]))
    assert hashes(encoded.slice(1, 1)) == [hash_one(None)]
    assert hashes(encoded.slice(0, 0)) == []


def test_an_extension_type_is_hashed_like_its_storage():
    storage = pa.array([b"0123456789abcdef", None], pa.binary(16))
    assert hashes(pa.ExtensionArray.from_storage(pa.uuid(), storage)) == hashes(storage)
    check_key_type("id", pa.uuid())


def test_no_columns_are_one_group():
    assert key_groups([], 3).tolist() == [0, 0, 0]


def test_groups_are_small_integers_in_range():
    groups = key_groups([np.arange(100_000)], 100_000)
    assert groups.dtype == np.int16
    assert (groups.min(), groups.max()) == (0, KEY_GROUPS - 1)


def test_an_input_column_is_not_changed():
    numbers, floats = np.arange(10), np.array([np.nan, -0.0])
    key_hash([numbers, numbers], 10)
    key_hash([floats], 2)
    assert numbers.tolist() == list(range(10))
    assert np.signbit(floats[1])


@pytest.mark.parametrize(
    "column",
    [
        np.arange(12_800),
        np.arange(12_800) * 1024,
        np.arange(12_800) << 40,
        -np.arange(12_800),
        np.arange(12_800) / 8,
        1_700_000_000_000_000 + np.arange(12_800) * 1_000_000,
        pa.array([f"user-{i}" for i in range(12_800)]),
        pa.array([f"{i:016d}" for i in range(12_800)]),
        pa.array([f"{i % 113:08d}{i // 113:08d}" for i in range(12_800)]),
        pa.array([i.to_bytes(8, "big") + bytes(8) for i in range(12_800)]),
        pa.array([Decimal(i) / 4 for i in range(12_800)], pa.decimal128(12, 2)),
    ],
)
def test_structured_keys_spread_evenly(column):
    counts = np.bincount(key_groups([column], 12_800), minlength=KEY_GROUPS)
    chi_squared = float(((counts - 100) ** 2 / 100).sum())
    assert len(set(hashes(column))) == 12_800
    assert chi_squared < 220  # 127 degrees of freedom: one in a million at random


def test_pairs_spread_evenly():
    left, right = np.divmod(np.arange(12_800), 113)
    counts = np.bincount(key_groups([left, right], 12_800), minlength=KEY_GROUPS)
    assert float(((counts - 100) ** 2 / 100).sum()) < 220


# --------------------------------------------------------------------------- types

GOOD = [dtype for dtype, _ in COLUMNS.values()]
GOOD += [pa.date64(), pa.time32("s"), pa.timestamp("us", "UTC"), pa.dictionary(pa.int8(), pa.string())]
BAD = [
    pa.list_(pa.int64()),
    pa.large_list(pa.int64()),
    pa.list_(pa.int64(), 2),
    pa.struct({"a": pa.int64()}),
    pa.map_(pa.string(), pa.int64()),
    pa.null(),
    pa.month_day_nano_interval(),
    pa.run_end_encoded(pa.int32(), pa.int64()),
    pa.dictionary(pa.int8(), pa.list_(pa.int64())),
]


@pytest.mark.parametrize("dtype", GOOD, ids=str)
def test_key_types_that_are_taken(dtype):
    check_key_type("k", dtype)
    assert key_hash([pa.array([None, None], dtype)], 2).tolist() == [hash_one(None)] * 2
    assert key_hash([pa.array([], dtype)], 0).tolist() == []


@pytest.mark.parametrize("dtype", BAD, ids=str)
def test_key_types_that_are_refused(dtype):
    with pytest.raises(TypeMismatchError, match="'k' can't be a key"):
        check_key_type("k", dtype)
    with pytest.raises(TypeMismatchError):
        key_hash([pa.nulls(2, dtype)], 2)
