"""Aggregates against plain Python: every type, every kind of key, any split, snapshots in the middle."""

from __future__ import annotations

import math
import random
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col, windows
from streamlib.connectors import memory
from streamlib.core.batch import Batch
from streamlib.core.contracts import OperatorState, StreamType
from streamlib.core.errors import ArithmeticOverflowError, StateIncompatibleError, TypeMismatchError
from streamlib.core.time import MAX_TIME
from streamlib.operators.window_aggregate import WindowAggregate

TEN = windows.tumbling(10)
DAY = datetime(2024, 2, 29, tzinfo=UTC)


def read(table: pa.Table, chunk: int = 1 << 16) -> sl.Stream:
    source = memory.source(table, chunk_rows=chunk)
    return sl.read(source, name="rows", event_time="at", watermark=sl.monotone(), max_ahead=None)


def aggregated(
    table: pa.Table, keys: list[str], window: Any = TEN, chunk: int = 1 << 16, **aggregates: Any
) -> pa.Table:
    stream = read(table, chunk)
    keyed = stream.key_by(*keys) if keys else stream
    return keyed.window(window).aggregate(**aggregates).collect()


def only(values: pa.Array, **aggregates: Any) -> dict[str, Any]:
    """The aggregates of one window over all values."""
    table = pa.table({"at": pa.array([0] * len(values), pa.int64()), "v": values})
    (row,) = aggregated(table, [], **aggregates).to_pylist()
    return row


# --------------------------------------------------------------------------- the reference


def plain(values: list[Any], kind: str) -> Any:
    """What an aggregate of Python values is."""
    values = [v for v in values if v is not None]
    with localcontext(prec=76):
        return _plain(values, kind)


def _plain(values: list[Any], kind: str) -> Any:
    if kind == "count":
        return len(values)
    if kind == "sum":
        return (
            math.fsum(values)
            if values and isinstance(values[0], float) and all(map(math.isfinite, values))
            else sum(values[1:], values[0])
            if values
            else 0
        )
    if kind == "mean":
        return sum(values) / len(values) if values else None
    comparable = [v for v in values if not (isinstance(v, float) and math.isnan(v))] or values
    if not comparable:
        return None
    return min(comparable) if kind == "min" else max(comparable)


def same(found: Any, expected: Any) -> bool:
    if isinstance(found, float) and isinstance(expected, Decimal):
        expected = float(expected)  # the mean of decimals
    if isinstance(expected, float) or isinstance(found, float):
        if expected is None or found is None:
            return found is expected
        return (
            (math.isnan(found) and math.isnan(expected))
            or found == expected
            or math.isclose(found, expected, rel_tol=1e-6)
        )
    if isinstance(found, timedelta) and expected == 0:
        return found == timedelta()  # there is nothing to add, and no other zero of this type
    if isinstance(found, Decimal):
        return found == expected
    return found == expected and (isinstance(found, int) or type(found) is type(expected))


INTS = {t: (t, [0, 1, lo, hi, 5, None, 7]) for t, lo, hi in [
    (pa.int8(), -128, 127), (pa.int16(), -(2**15), 2**15 - 1), (pa.int32(), -(2**31), 2**31 - 1),
    (pa.int64(), -(2**40), 2**40), (pa.uint8(), 0, 255), (pa.uint16(), 0, 2**16 - 1),
    (pa.uint32(), 0, 2**32 - 1), (pa.uint64(), 0, 2**40),
]}  # fmt: skip
VALUES: list[tuple[pa.DataType, list[Any]]] = [
    *INTS.values(),
    (pa.float32(), [0.5, -2.25, None, 1e10, 3.0]),
    (pa.float64(), [0.1, -2.25, None, 1e300, 3.0]),
    (pa.float64(), [1.0, math.inf, 2.0, None]),
    (pa.float32(), [1.0, -math.inf, 2.0, None]),
    (pa.float64(), [1.0, math.nan, -3.0, None]),
    (pa.float64(), [math.nan, math.nan]),
    (pa.float64(), [math.inf, -math.inf]),
    (pa.bool_(), [True, False, None, True]),
    (pa.decimal128(9, 2), [Decimal("1.10"), Decimal("-22.35"), None, Decimal("9999999.99")]),
    (pa.decimal256(50, 3), [Decimal("1.100"), None, Decimal(10**40)]),
    (pa.decimal32(5, 1), [Decimal("1.1"), None, Decimal("-22.3")]),
    (pa.string(), ["b", "", None, "ä", "aa"]),
    (pa.large_string(), ["b", None, "aa"]),
    (pa.binary(), [b"b", None, b"\xff", b""]),
    (pa.binary(2), [b"bb", None, b"\xff\x00"]),
    (pa.dictionary(pa.int8(), pa.string()), ["b", None, "aa", "b"]),
    (pa.date32(), [date(2024, 2, 29), None, date(1900, 1, 1)]),
    (pa.date64(), [date(2024, 2, 29), None, date(1900, 1, 1)]),
    (pa.time32("s"), [time(1), None, time(23, 59)]),
    (pa.time64("us"), [time(1), None, time(23, 59, 0, 1)]),
    (pa.timestamp("us"), [datetime(2024, 1, 1), None, datetime(1900, 1, 1)]),
    (pa.timestamp("ms", tz="UTC"), [DAY, None, DAY - timedelta(days=99999)]),
    (pa.duration("us"), [timedelta(1), None, timedelta(-7)]),
    (pa.duration("s"), [timedelta(1), timedelta(2)]),
]
SUMMABLE = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
    pa.types.is_decimal,
    pa.types.is_duration,
)
MEANABLE = SUMMABLE[:4]


def kinds_of(dtype: pa.DataType) -> dict[str, Any]:
    kinds = {"count": sl.count("v"), "min": sl.min("v"), "max": sl.max("v")}
    if any(is_type(dtype) for is_type in SUMMABLE):
        kinds["sum"] = sl.sum("v")
    if any(is_type(dtype) for is_type in MEANABLE):
        kinds["mean"] = sl.mean("v")
    return kinds


@pytest.mark.parametrize(
    ("dtype", "values"), VALUES, ids=lambda v: str(v) if isinstance(v, pa.DataType) else None
)
@pytest.mark.parametrize("chunk", [1, 2, 100])
@pytest.mark.filterwarnings("error")
def test_every_type_is_aggregated_as_plain_python_does(dtype, values, chunk):
    """In three groups: all the values, nothing but nulls, one value."""
    groups = {0: values, 1: [None, None], 2: values[:1]}
    for key_type in (pa.int64(), pa.string()):
        keys = [k for k, found in groups.items() for _ in found]
        data = [v for found in groups.values() for v in found]
        order = list(range(len(data)))
        random.Random(chunk).shuffle(order)
        table = pa.table({
            "at": [i % 10 for i in sorted(order)],
            "k": pa.array([keys[i] for i in order]).cast(key_type),
            "v": pa.array([data[i] for i in order], dtype),
        })  # fmt: skip
        kinds = kinds_of(dtype)
        found = aggregated(table, ["k"], chunk=chunk, n=sl.count(), **kinds)
        assert found.num_rows == 3
        for row in found.to_pylist():
            group = groups[int(row["k"])]
            assert row["n"] == len(group)
            for kind in kinds:
                assert same(row[kind], plain(group, kind)), (kind, row[kind], plain(group, kind))


@pytest.mark.parametrize(
    ("dtype", "values"), VALUES, ids=lambda v: str(v) if isinstance(v, pa.DataType) else None
)
def test_results_have_the_types_that_binding_promised(dtype, values):
    table = pa.table({"at": [0] * len(values), "v": pa.array(values, dtype)})
    stream = read(table).window(TEN).aggregate(**kinds_of(dtype))
    bound = sl.Flow("f", stream.write(memory.sink(), name="out")).bind().writes()["out"][0]
    found = stream.collect()
    assert found.schema == bound.input_types[0].schema
    found.validate(full=True)
    kept = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
    assert found.schema.field("min").type == found.schema.field("max").type == kept
    assert found.schema.field("count").type == pa.int64()


@pytest.mark.parametrize(
    "dtype", [pa.list_(pa.int64()), pa.struct({"x": pa.int64()}), pa.null(), pa.month_day_nano_interval()]
)
def test_types_without_order_are_refused_at_bind_time(dtype):
    table = pa.table({"at": pa.array([], pa.int64()), "v": pa.array([], dtype)})
    for aggregate in (sl.min("v"), sl.sum("v"), sl.mean("v")):
        with pytest.raises(TypeMismatchError, match="can't be computed"):
            sl.Flow("f", read(table).window(TEN).aggregate(x=aggregate).write(memory.sink(), name="o")).bind()
    assert aggregated(table, [], x=sl.count("v")).num_rows == 0


@pytest.mark.parametrize("dtype", [pa.string(), pa.date32(), pa.timestamp("us")])
def test_text_and_instants_have_no_sum(dtype):
    table = pa.table({"at": pa.array([], pa.int64()), "v": pa.array([], dtype)})
    with pytest.raises(TypeMismatchError, match="a number"):
        aggregated(table, [], x=sl.sum("v"))


@pytest.mark.parametrize("dtype", [pa.decimal128(9, 2), pa.decimal256(50, 2), pa.decimal32(9, 2)])
def test_the_mean_of_decimals_is_rounded_once(dtype):
    prices = [Decimal("-3.30"), None, Decimal("-3.30"), Decimal("-3.30")]
    assert only(pa.array(prices, dtype), mean=sl.mean("v"))["mean"] == -3.3
    assert only(pa.array([None, None], dtype), mean=sl.mean("v"))["mean"] is None


def test_an_aggregate_takes_an_expression():
    found = only(
        pa.array([1, None, 3]),
        big=sl.sum(col("v") > 1),
        twice=sl.max(col("v") * 2),
        share=sl.mean(col("v") > 1),
    )
    assert (found["big"], found["twice"], found["share"]) == (1, 6, 0.5)


def test_count_of_a_dictionary_leaves_out_words_that_are_null():
    words = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 0], pa.int8()), pa.array(["a", None]))
    assert (
        only(words, n=sl.count("v"), rows=sl.count(), least=sl.min("v")).items()
        >= {"n": 2, "rows": 4, "least": "a"}.items()
    )


# --------------------------------------------------------------------------- keys

NAN, OTHER_NAN = math.nan, float(np.copysign(np.nan, -1.0))
KEYS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "dense": (pa.int64(), [0, 1, 2, 3]),
    "negative": (pa.int64(), [-1, -(2**63), 2**63 - 1, 0]),
    "int8": (pa.int8(), [-128, 127, 0]),
    "int32": (pa.int32(), [-(2**31), 2**31 - 1, None]),
    "uint8": (pa.uint8(), [0, 255]),
    "uint64": (pa.uint64(), [2**63, 2**64 - 1, 0, None]),
    "string": (pa.string(), ["", "a", "ab", None]),
    "large_string": (pa.large_string(), ["", "a", None]),
    "binary": (pa.binary(), [b"", b"\0", b"\0\0"]),
    "bool": (pa.bool_(), [True, False, None]),
    "float64": (pa.float64(), [0.0, 1.5, None, math.inf]),
    "float32": (pa.float32(), [0.0, 0.1, None]),
    "float16": (pa.float16(), [0.0, 0.5, None]),
    "timestamp": (pa.timestamp("us", tz="UTC"), [DAY, None, DAY - timedelta(microseconds=1)]),
    "seconds": (pa.timestamp("s"), [datetime(2024, 1, 1), None]),
    "date": (pa.date32(), [date(2024, 1, 1), date(1900, 1, 1), None]),
    "duration": (pa.duration("us"), [timedelta(1), timedelta(-1)]),
    "time": (pa.time32("s"), [time(1), None]),
    "decimal": (pa.decimal128(9, 2), [Decimal("1.10"), Decimal("-1.10"), None]),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), ["a", "b", None]),
}  # fmt: skip


def counted(table: pa.Table, keys: list[str]) -> dict[tuple[Any, ...], tuple[int, int]]:
    rows = table.to_pylist()
    found = {tuple(row[k] for k in keys): (row["n"], row["total"]) for row in rows}
    assert len(found) == len(rows)
    return found


def expected_counts(table: pa.Table, keys: list[str]) -> dict[tuple[Any, ...], tuple[int, int]]:
    expected: dict[tuple[Any, ...], tuple[int, int]] = {}
    for row in table.to_pylist():
        key = tuple(row[k] for k in keys)
        n, total = expected.get(key, (0, 0))
        expected[key] = (n + 1, total + row["v"])
    return expected


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize("name", KEYS)
def test_keys_of_every_type_are_grouped_as_python_groups_them(name, chunk):
    dtype, keys = KEYS[name]
    chance = random.Random(name)
    table = pa.table({
        "at": [0] * 60,
        "k": pa.array([chance.choice(keys) for _ in range(60)], dtype),
        "v": [chance.randint(-9, 9) for _ in range(60)],
    })  # fmt: skip
    found = aggregated(table, ["k"], chunk=chunk, n=sl.count(), total=sl.sum("v"))
    assert counted(found, ["k"]) == expected_counts(table, ["k"])


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize(
    "names",
    [
        [],
        ["dense", "string"],
        ["negative", "negative"],
        ["uint64", "date"],
        ["bool", "decimal", "dictionary"],
    ],
)
def test_several_keys_and_none(names, chunk):
    chance = random.Random(0)
    columns = {
        f"k{i}": pa.array([chance.choice(KEYS[n][1]) for _ in range(80)], KEYS[n][0])
        for i, n in enumerate(names)
    }
    table = pa.table({"at": [0] * 80, "v": list(range(80)), **columns})
    found = aggregated(table, list(columns), chunk=chunk, n=sl.count(), total=sl.sum("v"))
    assert counted(found, list(columns)) == expected_counts(table, list(columns))


@pytest.mark.parametrize("dtype", [pa.float64(), pa.float32(), pa.float16()])
@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_zeros_of_both_signs_are_one_key_and_so_are_all_nans(dtype, chunk):
    keys = pa.array(np.array([0.0, -0.0, NAN, OTHER_NAN, 0.0, OTHER_NAN], dtype.to_pandas_dtype()))
    found = aggregated(pa.table({"at": [0] * 6, "k": keys}), ["k"], chunk=chunk, n=sl.count()).to_pylist()
    assert sorted((str(abs(row["k"])), row["n"]) for row in found) == [("0.0", 3), ("nan", 3)]


def test_a_dictionary_of_few_codes_may_have_more_words_over_time():
    """Batches bring dictionaries of their own: together they have more words than int8 can number."""
    few = pa.dictionary(pa.int8(), pa.string())

    def encoded(batch):
        return batch.set_column(1, "k", batch["k"].cast(few))

    table = pa.table({"at": [0] * 300, "k": [str(i) for i in range(300)]})
    schema = pa.schema({"at": pa.int64(), "k": few})
    stream = read(table, chunk=100).map_batches(encoded, schema=schema).key_by("k")
    found = stream.window(TEN).aggregate(n=sl.count()).collect()
    assert sorted(found["k"].to_pylist()) == sorted(str(i) for i in range(300))
    assert found.schema.field("k").type == pa.string()


# --------------------------------------------------------------------------- exact numbers

BIG = 2**63 - 1


@given(
    values=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=12),
    chunk=st.integers(1, 12),
    keyed=st.booleans(),
)
def test_integer_sums_are_exact_or_refused_for_every_split(values, chunk, keyed):
    table = pa.table({"at": [0] * len(values), "k": [0] * len(values), "v": pa.array(values, pa.int64())})
    keys = ["k"] if keyed else []
    if -(2**63) <= sum(values) < 2**63:
        assert aggregated(table, keys, chunk=chunk, x=sl.sum("v"))["x"].to_pylist() == [sum(values)]
    else:
        with pytest.raises(ArithmeticOverflowError, match="does not fit int64"):
            aggregated(table, keys, chunk=chunk, x=sl.sum("v"))
    (mean,) = aggregated(table, keys, chunk=chunk, x=sl.mean("v"))["x"].to_pylist()
    assert math.isclose(mean, sum(values) / len(values), rel_tol=1e-9, abs_tol=1e4)


@given(values=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=8), chunk=st.integers(1, 8))
def test_unsigned_sums_are_exact_or_refused_too(values, chunk):
    table = pa.table({"at": [0] * len(values), "v": pa.array(values, pa.uint64())})
    if sum(values) < 2**63:
        assert aggregated(table, [], chunk=chunk, x=sl.sum("v"))["x"].to_pylist() == [sum(values)]
    else:
        with pytest.raises(ArithmeticOverflowError):
            aggregated(table, [], chunk=chunk, x=sl.sum("v"))
    (mean,) = aggregated(table, [], chunk=chunk, x=sl.mean("v"))["x"].to_pylist()
    assert math.isclose(mean, sum(values) / len(values), rel_tol=1e-9)


def test_a_mean_of_large_integers_does_not_wrap():
    assert only(pa.array([BIG, BIG, BIG, BIG]), x=sl.mean("v"))["x"] == pytest.approx(BIG)
    assert only(pa.array([2**64 - 1], pa.uint64()), x=sl.mean("v"))["x"] == pytest.approx(2**64)
    assert only(pa.array([2**53 + 1, 1]), x=sl.mean("v"))["x"] == (2**53 + 2) / 2


@pytest.mark.parametrize("chunk", [1, 2, 9])
def test_a_decimal_sum_of_too_many_digits_is_refused_not_wrapped(chunk):
    most = Decimal("9" * 38)
    for values, fits in (
        ([most, most, most.copy_negate()], True),
        ([most, Decimal(1)], False),
        ([most] * 4, False),
    ):
        table = pa.table({"at": [0] * len(values), "v": pa.array(values, pa.decimal128(38, 0))})
        if fits:
            assert aggregated(table, [], chunk=chunk, x=sl.sum("v"))["x"].to_pylist() == [most]
        else:
            with pytest.raises(ArithmeticOverflowError, match="at most 38 digits"):
                aggregated(table, [], chunk=chunk, x=sl.sum("v"))


@pytest.mark.parametrize("keys", [[], ["k"]])
@pytest.mark.parametrize("dtype", [pa.float32(), pa.float16()])
def test_narrow_floats_are_summed_as_float64(keys, dtype):
    """Alone in its window or beside others, a key has the same sum."""
    big = 2.0**24 if dtype == pa.float32() else 2.0**11
    values = np.array([big, 1, 1, 1], dtype.to_pandas_dtype())
    found = aggregated(
        pa.table({"at": [0] * 4, "k": [1] * 4, "v": values}), keys, x=sl.sum("v"), m=sl.mean("v")
    )
    assert found["x"].to_pylist() == [big + 3]
    assert found["m"].to_pylist() == [(big + 3) / 4]


# --------------------------------------------------------------------------- any split, any crash

AGGREGATES = {
    "n": sl.count(), "values": sl.count("v"), "total": sl.sum("v"), "mean": sl.mean("v"), "low": sl.min("v"),
    "high": sl.max("v"), "word": sl.max("s"), "price": sl.sum("d"),
}  # fmt: skip
ROW = st.tuples(
    st.integers(-30, 30),
    st.one_of(st.none(), st.integers(-3, 3)),
    st.one_of(st.none(), st.integers(-(2**40), 2**40)),
    st.one_of(st.none(), st.sampled_from(["", "a", "b"])),
)


def table_of(rows: list[tuple[Any, ...]]) -> pa.Table:
    times, keys, values, words = zip(*rows, strict=True) if rows else ([], [], [], [])
    prices = [None if v is None else Decimal(v % 1000).scaleb(-2) for v in values]
    return pa.table({
        "at": pa.array(times, pa.int64()), "k": pa.array(keys, pa.int64()), "v": pa.array(values, pa.int64()),
        "s": pa.array(words, pa.string()), "d": pa.array(prices, pa.decimal128(9, 2)),
    })  # fmt: skip


def machine(spec: WindowAggregate, stream: StreamType) -> Any:
    spec.bind([stream])
    return spec.build([stream])


def rows_of(outputs: Any) -> list[tuple[int, tuple[Any, ...]]]:
    return [
        (port, tuple(row.values()))
        for port, batch in outputs
        for row in sorted(batch.to_arrow().to_pylist(), key=repr)
    ]


@given(
    rows=st.lists(ROW, max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=5),
    keys=st.sampled_from([(), ("k",), ("s",), ("k", "s")]),
    slide=st.sampled_from([3, 10, 15]),
)
@settings(max_examples=60)
def test_neither_cuts_nor_restores_in_the_middle_change_a_result(rows, cuts, keys, slide):
    table = table_of(rows)
    stream = StreamType(table.schema, True, keys)
    spec = WindowAggregate(windows.sliding(10, every=slide), tuple(AGGREGATES.items()))
    batch = Batch.from_arrow(
        table.combine_chunks().to_batches()[0] if rows else pa.RecordBatch.from_pylist([], table.schema),
        np.array([r[0] for r in rows], np.int64),
    )
    bounds = [0, *sorted(c for c in cuts if c < len(rows)), len(rows)]

    def run(restoring: bool, bounds: list[int]) -> list[Any]:
        operator = machine(spec, stream)
        found, watermark = [], -(2**63)
        for start, stop in pairwise(bounds):
            found += rows_of(operator.on_batch(batch.slice(start, stop), 0))
            if restoring:
                state = operator.snapshot()
                state_table = state.table("slices")
                if state_table is not None:
                    groups = state_table.column("__key_group")
                    assert groups.type == pa.int16()
                    assert all(0 <= g < 128 for g in groups.to_pylist())
                operator = machine(spec, stream)
                operator.restore(OperatorState(dict(state.tables), dict(state.values), dict(state.counters)))
            watermark = max(watermark, stop - 20)
            found += rows_of(operator.on_watermark(watermark))
        found += rows_of(operator.on_watermark(MAX_TIME))
        return [*found, operator.late_rows]

    assert run(True, bounds) == run(False, bounds)
    whole = machine(spec, stream)
    cut = machine(spec, stream)
    list(whole.on_batch(batch, 0))
    for start, stop in pairwise(bounds):
        list(cut.on_batch(batch.slice(start, stop), 0))
    assert rows_of(whole.on_watermark(MAX_TIME)) == rows_of(cut.on_watermark(MAX_TIME))


@pytest.mark.parametrize("name", KEYS)
def test_keys_of_every_type_survive_a_restore(name):
    dtype, keys = KEYS[name]
    schema = pa.schema({"at": pa.int64(), "k": dtype, "v": pa.int64()})
    stream = StreamType(schema, True, ("k",))
    spec = WindowAggregate(TEN, (("n", sl.count()), ("low", sl.min("v"))))
    rows = pa.RecordBatch.from_arrays(
        [pa.array([0] * 9), pa.array((keys * 9)[:9], dtype), pa.array(range(9))], schema=schema
    )
    batch = Batch.from_arrow(rows, np.zeros(9, np.int64))
    straight, first, second = (machine(spec, stream) for _ in range(3))
    for operator in (straight, first):
        list(operator.on_batch(batch, 0))
    second.restore(first.snapshot())
    for operator in (straight, second):
        list(operator.on_batch(batch.slice(0, 4), 0))
    assert rows_of(second.on_watermark(10)) == rows_of(straight.on_watermark(10))


def test_a_snapshot_is_not_changed_by_what_follows():
    stream = StreamType(pa.schema({"at": pa.int64(), "k": pa.int64()}), True, ("k",))
    operator = machine(WindowAggregate(TEN, (("n", sl.count()),)), stream)
    batch = Batch(stream.schema, [np.zeros(5, np.int64), np.arange(5)], 5, np.zeros(5, np.int64))
    list(operator.on_batch(batch, 0))
    state = operator.snapshot()
    before = state.table("slices").to_pylist()
    for _ in range(40):
        list(operator.on_batch(batch, 0))
    list(operator.on_watermark(MAX_TIME))
    assert state.table("slices").to_pylist() == before
    assert (state.values, state.counters) == ({"watermark": -(2**63)}, {"late_rows": 0})


@pytest.mark.parametrize("key", ["value", "n", "sum", "rows"])
def test_no_name_of_key_or_aggregate_gets_in_the_way_of_another_in_the_state(key):
    """The least `key` and the key `value` were once both kept as `key.value`."""
    schema = pa.schema({"at": pa.int64(), key: pa.string(), "v": pa.int64()})
    stream = StreamType(schema, True, (key,))
    aggregates = (
        ("key", sl.min("v")),
        ("slice", sl.mean("v")),
        ("__key", sl.sum("v")),
        ("result", sl.max("v")),
    )
    spec = WindowAggregate(TEN, aggregates)
    rows = pa.RecordBatch.from_arrays(
        [pa.array([0, 0]), pa.array(["a", "b"]), pa.array([1, 2])], schema=schema
    )
    batch = Batch.from_arrow(rows, np.zeros(2, np.int64))
    first, second = machine(spec, stream), machine(spec, stream)
    list(first.on_batch(batch, 0))
    second.restore(first.snapshot())
    assert rows_of(second.on_watermark(10)) == rows_of(first.on_watermark(10))


def test_state_of_other_aggregates_is_refused(tmp_path):
    def flow(**aggregates):
        table = pa.table({"at": [0], "v": [1]})
        return sl.Flow("f", read(table).window(TEN).aggregate(**aggregates).write(memory.sink(), name="out"))

    flow(x=sl.sum("v")).run(state=str(tmp_path), progress="none")
    with pytest.raises(StateIncompatibleError, match="another shape"):
        flow(x=sl.max("v")).run(state=str(tmp_path), progress="none")


# --------------------------------------------------------------------------- large


@pytest.mark.parametrize("spread", ["dense", "random", "negative"])
def test_a_million_integer_keys_in_one_window(spread):
    keys = np.arange(1_000_000)
    if spread == "random":
        keys = np.unique(np.random.default_rng(1).integers(-(2**63), 2**63 - 1, 1_000_000))
    elif spread == "negative":
        keys = -keys
    table = pa.table({"at": np.zeros(len(keys), np.int64), "k": keys, "v": np.ones(len(keys), np.int64)})
    found = aggregated(table, ["k"], n=sl.count(), total=sl.sum("v"), high=sl.max("v"))
    assert found.num_rows == len(keys)
    assert len(found["k"].unique()) == len(keys)
    assert found["n"].unique().to_pylist() == found["total"].unique().to_pylist() == [1]


def test_a_million_rows_of_one_key():
    values = np.arange(1_000_000)
    table = pa.table({"at": np.zeros(len(values), np.int64), "k": np.full(len(values), 7), "v": values})
    (row,) = aggregated(table, ["k"], n=sl.count(), total=sl.sum("v"), mean=sl.mean("v")).to_pylist()
    assert (row["n"], row["total"], row["mean"]) == (1_000_000, 499_999_500_000, 499_999.5)


def test_a_hundred_thousand_words_as_keys():
    words = pa.array([f"user-{i % 100_000}" for i in range(300_000)])
    table = pa.table({"at": np.zeros(300_000, np.int64), "k": words})
    found = aggregated(table, ["k"], n=sl.count())
    assert found.num_rows == len(found["k"].unique()) == 100_000
    assert found["n"].unique().to_pylist() == [3]
