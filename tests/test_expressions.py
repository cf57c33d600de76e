"""Expressions against Polars, Python and themselves: numpy and Arrow must not be told apart."""

from __future__ import annotations

import dataclasses
import math
import operator
import pickle
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import streamlib as sl
from streamlib.core.batch import Batch, as_arrow, as_numpy
from streamlib.core.contracts import StreamType
from streamlib.core.errors import (
    ArithmeticOverflowError,
    DefinitionError,
    EventTimeError,
    StreamlibError,
    TypeMismatchError,
    UnknownColumnError,
)
from streamlib.core.expressions import (
    Bound,
    Expr,
    bind,
    col,
    columns,
    event_time,
    lit,
    output_name,
    uses_event_time,
    when,
)
from streamlib.core.expressions.values import Node

# A third of the profile's examples for each of many properties: every example runs in four layouts.
QUICK = settings(max_examples=settings.default.max_examples // 3)
SIGNED = [pa.int8(), pa.int16(), pa.int32(), pa.int64()]
UNSIGNED = [pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
INTS = SIGNED + UNSIGNED
FLOATS = [pa.float32(), pa.float64()]
ARITHMETIC = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}
COMPARISONS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


# ------------------------------------------------------------------ evaluating in every layout


def run(expr: Expr, given_columns: dict[str, pa.Array], times: np.ndarray | None = None) -> pa.Array:
    """The result, after checking that no layout of the same rows gives another one, nor another error."""
    outcomes = [_outcome(expr, batch, skip) for batch, skip in _layouts(given_columns, times)]
    first = outcomes[0]
    for other in outcomes[1:]:
        assert _shown(other) == _shown(first)
    if isinstance(first, StreamlibError):
        raise first
    return first


def _layouts(given_columns: dict[str, pa.Array], times: np.ndarray | None) -> list[tuple[Batch, int]]:
    """Arrow, numpy where it can, Arrow with an offset, and Arrow with nulls in every column before."""
    schema = pa.schema({name: array.type for name, array in given_columns.items()})
    rows = len(next(iter(given_columns.values()))) if given_columns else 0 if times is None else len(times)
    arrow = list(given_columns.values())
    vectors = [as_numpy(a) if pa.types.is_boolean(a.type) or a.type.num_fields == 0 else None for a in arrow]
    numpy = [a if v is None else v for a, v in zip(arrow, vectors, strict=True)]
    padded = [pa.concat_arrays([pa.nulls(3, a.type), a]) for a in arrow]
    later = None if times is None else np.concatenate([np.zeros(3, np.int64), times])
    return [
        (Batch(schema, arrow, rows, times), 0),
        (Batch(schema, numpy, rows, times), 0),
        (Batch(schema, [a.slice(3) for a in padded], rows, times), 0),
        (Batch(schema, padded, rows + 3, later), 3),
    ]


def _outcome(expr: Expr, batch: Batch, skip: int) -> pa.Array | StreamlibError:
    bound = bind(expr, StreamType(batch.schema, batch.event_time is not None))
    before = _bytes(batch)
    try:
        column = bound.evaluate(batch)
    except StreamlibError as error:
        return error
    assert _bytes(batch) == before, "an operand was overwritten"
    assert len(column) == batch.num_rows
    if isinstance(column, np.ndarray):
        assert pa.from_numpy_dtype(column.dtype) == bound.dtype
    else:
        assert column.type == bound.dtype
    result = as_arrow(column)
    result.validate(full=True)
    return result.slice(skip)


def _bytes(batch: Batch) -> list[bytes]:
    buffers = [b for c in batch.columns for b in ([c.data] if isinstance(c, np.ndarray) else c.buffers())]
    return [bytes(b) for b in buffers if b is not None]


def _shown(outcome: pa.Array | StreamlibError) -> object:
    if isinstance(outcome, StreamlibError):
        return type(outcome)
    return [outcome.type, *map(repr, outcome.to_pylist())]  # repr tells -0.0 from 0.0, and nan is nan


def values(expr: Expr, **given_columns: pa.Array) -> list[object]:
    return run(expr, given_columns).to_pylist()


def dtype_of(expr: Expr, **types: pa.DataType) -> pa.DataType:
    return bind(expr, StreamType(pa.schema(types))).dtype


# ------------------------------------------------------------------ random columns


def limits(dtype: pa.DataType) -> tuple[int, int]:
    info = np.iinfo(str(dtype))
    return int(info.min), int(info.max)


def cells(dtype: pa.DataType) -> st.SearchStrategy[object]:
    if pa.types.is_boolean(dtype):
        return st.booleans()
    if pa.types.is_integer(dtype):
        low, high = limits(dtype)
        edges = [v for v in (low, low + 1, -1, 0, 1, 2, high - 1, high) if low <= v]
        small = st.integers(max(low, -12), 12)
        return small | st.sampled_from(edges) | st.integers(low, high)
    if pa.types.is_floating(dtype):
        return st.floats(width=dtype.bit_width) | st.sampled_from([0.0, -0.0, 1.0, -1.5, math.inf, math.nan])
    if pa.types.is_date(dtype):
        return st.dates()
    if pa.types.is_timestamp(dtype):
        zone = None if dtype.tz is None else UTC
        return st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda t: t.replace(tzinfo=zone))
    if pa.types.is_duration(dtype):
        return st.timedeltas(timedelta(days=-9999), timedelta(days=9999)) | st.just(timedelta(0))
    return st.text("abéz", max_size=3)


@st.composite
def tables(draw: st.DrawFn, *choices: list[pa.DataType]) -> dict[str, pa.Array]:
    """Columns a, b, … of one length, of types chosen from `choices`; each with or without nulls."""
    rows = draw(st.integers(0, 6))
    table = {}
    for name, types in zip("abcd", choices, strict=False):
        dtype = draw(st.sampled_from(types))
        cell = cells(dtype)
        maybe = draw(st.sampled_from([cell, st.none() | cell]))
        table[name] = pa.array(draw(st.lists(maybe, min_size=rows, max_size=rows)), dtype)
    return table


def polars(expr: pl.Expr, table: dict[str, pa.Array]) -> list[object]:
    return (
        pl.DataFrame({n: pl.from_arrow(a) for n, a in table.items()}).select(expr.alias("x"))["x"].to_list()
    )


def same(left: list[object], right: list[object]) -> bool:
    return list(map(repr, left)) == list(map(repr, right))


def rowwise(function: object, *arrays: pa.Array) -> list[object]:
    """A function of Python values, null where an operand is null."""
    rows = zip(*(a.to_pylist() for a in arrays), strict=True)
    return [None if None in row else function(*row) for row in rows]  # type: ignore[operator]


# ------------------------------------------------------------------ arithmetic


def exact(op: str, a: int, b: int) -> int | None:
    return None if op in {"//", "%"} and b == 0 else ARITHMETIC[op](a, b)


@pytest.mark.parametrize("op", ["+", "-", "*", "//", "%"])
@QUICK
@given(table=tables(INTS, INTS))
@example(table={"a": pa.array([-(2**63)]), "b": pa.array([-1])})
@example(table={"a": pa.array([-(2**63), 5, None]), "b": pa.array([None, -1, -1])})
@example(table={"a": pa.array([-(2**40), 1]), "b": pa.array([2**40, -1])})
@example(table={"a": pa.array([-128, 127], pa.int8()), "b": pa.array([-1, 1], pa.int8())})
def test_integer_arithmetic_is_exact_or_says_that_it_overflows(op, table):
    expr = ARITHMETIC[op](col("a"), col("b"))
    signs = {pa.types.is_signed_integer(a.type) for a in table.values()}
    if len(signs) == 2 and pa.uint64() in {a.type for a in table.values()}:
        with pytest.raises(TypeMismatchError, match="no integer type holds all values of both"):
            run(expr, table)
        return
    dtype = dtype_of(expr, **{n: a.type for n, a in table.items()})
    low, high = limits(dtype)
    expected = rowwise(lambda a, b: exact(op, a, b), *table.values())
    if all(v is None or low <= v <= high for v in expected):
        assert values(expr, **table) == expected
        widened = {n: a.cast(dtype) for n, a in table.items()}
        assert expected == polars(ARITHMETIC[op](pl.col("a"), pl.col("b")), widened)
    else:
        with pytest.raises(ArithmeticOverflowError, match=f"overflows {dtype}"):
            run(expr, table)


@QUICK
@given(op=st.sampled_from(["+", "-", "*", "/"]), table=tables(INTS + FLOATS, INTS + FLOATS))
def test_float_arithmetic_agrees_with_polars(op, table):
    types = {a.type for a in table.values()}
    if op != "/" and not types & set(FLOATS):
        return
    expr = ARITHMETIC[op](col("a"), col("b"))
    expected_type = pa.float32() if types == {pa.float32()} else pa.float64()
    result = run(expr, table)
    assert result.type == expected_type
    widened = {n: a.cast(expected_type, safe=False) for n, a in table.items()}
    assert same(result.to_pylist(), polars(ARITHMETIC[op](pl.col("a"), pl.col("b")), widened))


def python_division(op: str, a: float, b: float) -> float:
    if b == 0:
        return (
            math.nan
            if op == "%" or a == 0 or math.isnan(a)
            else math.copysign(math.inf, a) * math.copysign(1, b)
        )
    if math.isinf(a) and not math.isnan(b):
        return math.nan  # numpy has no quotient of infinities, Python no remainder
    return ARITHMETIC[op](a, b)


@QUICK
@given(op=st.sampled_from(["//", "%"]), table=tables([pa.float64()], [pa.float64(), pa.int64()]))
@example(op="//", table={"a": pa.array([1.0, -1.0, 7.5]), "b": pa.array([0.1, 0.1, -2.0])})
def test_float_floor_division_and_remainder_are_pythons(op, table):
    result = values(ARITHMETIC[op](col("a"), col("b")), **table)
    divisors = table["b"].cast(pa.float64(), safe=False)
    assert same(result, rowwise(lambda a, b: python_division(op, a, b), table["a"], divisors))


def test_division_of_integers_by_zero_is_infinite_and_floor_division_null():
    a, b = pa.array([1, -1, 0]), pa.array([0, 0, 0])
    assert same(values(col("a") / col("b"), a=a, b=b), [math.inf, -math.inf, math.nan])
    assert values(col("a") // col("b"), a=a, b=b) == [None, None, None]
    assert values(col("a") % 0, a=a) == [None, None, None]


def test_floor_division_and_remainder_of_integers_follow_the_sign_of_the_divisor():
    a, b = pa.array([7, -7, 7, -7]), pa.array([2, 2, -2, -2])
    assert values(col("a") // col("b"), a=a, b=b) == [3, -4, -4, 3]
    assert values(col("a") % col("b"), a=a, b=b) == [1, 1, -1, -1]
    assert values(col("a") % -2, a=a) == [-1, -1, -1, -1]


@QUICK
@given(
    table=tables(INTS + FLOATS), op=st.sampled_from(["+", "-", "*", "//", "%", *COMPARISONS]), data=st.data()
)
def test_a_literal_computes_as_a_column_of_it_would(table, op, data):
    dtype = table["a"].type
    value = data.draw(cells(dtype))
    compute = (ARITHMETIC | COMPARISONS)[op]
    repeated = pa.array([value] * len(table["a"]), dtype)
    try:
        expected = run(compute(col("a"), col("b")), {**table, "b": repeated})
    except ArithmeticOverflowError:
        with pytest.raises(ArithmeticOverflowError):
            run(compute(col("a"), value), table)
        return
    assert _shown(run(compute(col("a"), value), table)) == _shown(expected)
    reflected = run(compute(lit(value), col("a")), table) if op in COMPARISONS else None
    if reflected is not None:
        assert same(
            reflected.to_pylist(), run(compute(col("b"), col("a")), {**table, "b": repeated}).to_pylist()
        )


def test_a_rounded_number_is_the_one_nearest_to_its_decimals():
    nearly = 23.939999999999998 * 5 / 9
    assert nearly == 13.299999999999999
    assert sl.evaluate(col("x").round(1), x=[nearly, 0.25, 1e300, None]) == [13.3, 0.2, 1e300, None]


def test_literals_take_the_type_of_the_column_if_they_fit():
    assert dtype_of(col("a") + 1, a=pa.int32()) == pa.int32()
    assert dtype_of(1000 - col("a"), a=pa.int8()) == pa.int64()
    assert dtype_of(col("a") - 1, a=pa.uint64()) == pa.uint64()
    assert dtype_of(col("a") + 1.5, a=pa.int32()) == pa.float64()
    assert dtype_of(col("a") * 2, a=pa.float32()) == pa.float32()
    assert dtype_of(col("a") * 1e300, a=pa.float32()) == pa.float64()
    assert dtype_of(col("a") + None, a=pa.int8()) == pa.int8()
    assert dtype_of(lit(3).cast(pa.int8()) + col("a"), a=pa.int16()) == pa.int16()
    assert dtype_of(lit(1) + 2.5) == pa.float64()


def test_integer_types_widen_until_both_fit():
    assert dtype_of(col("a") + col("b"), a=pa.int8(), b=pa.int64()) == pa.int64()
    assert dtype_of(col("a") + col("b"), a=pa.int8(), b=pa.uint8()) == pa.int16()
    assert dtype_of(col("a") + col("b"), a=pa.uint32(), b=pa.int8()) == pa.int64()
    assert dtype_of(col("a") + col("b"), a=pa.int64(), b=pa.float32()) == pa.float64()


@QUICK
@given(table=tables([*SIGNED, *FLOATS, pa.duration("us")]))
def test_negation_agrees_with_polars_or_says_that_it_overflows(table):
    dtype = table["a"].type
    least = limits(dtype)[0] if pa.types.is_integer(dtype) else None
    if least is not None and least in table["a"].to_pylist():
        with pytest.raises(ArithmeticOverflowError, match=r"\(-col\('a'\)\) overflows"):
            run(-col("a"), table)
        return
    assert same(values(-col("a"), **table), polars(-pl.col("a"), table))


DECIMALS = [pa.decimal128(7, 2), pa.decimal128(5, 0)]


@QUICK
@given(
    pairs=st.lists(st.tuples(*[st.none() | st.integers(-99999, 99999)] * 2), max_size=6),
    op=st.sampled_from(["+", "-", "*", *COMPARISONS]),
    types=st.tuples(*[st.sampled_from(DECIMALS)] * 2),
)
def test_decimals_compute_exactly(pairs, op, types):
    a, b = (
        pa.array(
            [None if row[i] is None else Decimal(row[i]).scaleb(-types[i].scale) for row in pairs], types[i]
        )
        for i in (0, 1)
    )
    compute = (ARITHMETIC | COMPARISONS)[op]
    assert values(compute(col("a"), col("b")), a=a, b=b) == rowwise(compute, a, b)


def test_decimals_divide_by_zero_to_null_and_meet_integers_and_floats():
    a = pa.array([Decimal("1.50"), None, Decimal("-3.00")], pa.decimal128(7, 2))
    assert values(col("a") / col("b"), a=a, b=pa.array([0, 1, 2])) == [None, None, Decimal("-1.5")]
    assert values(col("a") / 0, a=a) == [None, None, None]
    assert values(col("a") * 2, a=a) == [Decimal("3.00"), None, Decimal("-6.00")]
    assert values(col("a") * 0.5, a=a) == [0.75, None, -1.5]
    assert values(-col("a"), a=a) == [Decimal("-1.50"), None, Decimal("3.00")]
    assert values(col("i") > Decimal("2.5"), i=pa.array([2, 3])) == [False, True]
    with pytest.raises(TypeMismatchError, match="at most 38"):
        dtype_of(col("a") * col("a"), a=pa.decimal128(38, 2))
    with pytest.raises(TypeMismatchError, match=r"cast one of them to pa\.float64"):
        dtype_of(col("a") % 2, a=pa.decimal128(7, 2))


# ------------------------------------------------------------------ comparisons and logic


@pytest.mark.parametrize("op", COMPARISONS)
@QUICK
@given(table=tables(INTS + FLOATS, INTS + FLOATS))
@example(table={"a": pa.array([-1, 2**63 - 1]), "b": pa.array([2**64 - 1, 2**63], pa.uint64())})
def test_numbers_compare_as_in_python_with_null_for_null(op, table):
    both_int = not {a.type for a in table.values()} & set(FLOATS)
    kind = int if both_int else float
    expected = rowwise(lambda a, b: COMPARISONS[op](kind(a), kind(b)), *table.values())
    assert values(COMPARISONS[op](col("a"), col("b")), **table) == expected


@pytest.mark.parametrize(
    "dtype", [pa.string(), pa.bool_(), pa.timestamp("us", "UTC"), pa.date32(), pa.duration("us")], ids=str
)
@QUICK
@given(data=st.data(), op=st.sampled_from(list(COMPARISONS)))
def test_other_kinds_compare_as_in_polars(dtype, data, op):
    table = data.draw(tables([dtype], [dtype]))
    expected = polars(COMPARISONS[op](pl.col("a"), pl.col("b")), table)
    assert values(COMPARISONS[op](col("a"), col("b")), **table) == expected


@QUICK
@given(table=tables([pa.string()]), word=st.text("abéz", max_size=3), op=st.sampled_from(list(COMPARISONS)))
def test_dictionary_encoded_text_compares_by_its_words(table, word, op):
    plain = values(COMPARISONS[op](col("a"), word), **table)
    encoded = pa.concat_arrays([table["a"], pa.array(["unused", None])]).dictionary_encode()[: len(plain)]
    assert values(COMPARISONS[op](col("a"), word), a=encoded) == plain
    assert values(COMPARISONS[op](lit(word), col("a")), a=encoded) == values(
        COMPARISONS[op](lit(word), col("a")), **table
    )


def test_nothing_but_unequal_is_true_of_nan():
    nan = pa.array([math.nan])
    assert [values(c(col("a"), col("a")), a=nan) for c in COMPARISONS.values()] == [
        [op == "!="] for op in COMPARISONS
    ]
    assert values(col("a").is_null(), a=nan) == [False]


def test_timestamps_of_all_units_and_zones_compare_as_instants():
    noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
    a = pa.array([noon, noon + timedelta(microseconds=1), None], pa.timestamp("us", "UTC"))
    b = pa.array([noon, noon, noon], pa.timestamp("s", "Asia/Tokyo"))
    assert values(col("a") == col("b"), a=a, b=b) == [True, False, None]
    assert values(col("a") > noon, a=a) == [False, True, None]
    assert values(col("d") < datetime(2024, 1, 1, 1), d=pa.array([date(2024, 1, 1)])) == [True]
    assert values(col("t") >= time(12), t=pa.array([time(12)], pa.time32("s"))) == [True]


@QUICK
@given(
    table=tables([pa.bool_()], [pa.bool_()]), op=st.sampled_from([operator.and_, operator.or_, operator.xor])
)
def test_logic_is_kleenes_as_in_polars(table, op):
    assert values(op(col("a"), col("b")), **table) == polars(op(pl.col("a"), pl.col("b")), table)
    for literal in (True, False, None):
        expected = polars(op(pl.col("a"), pl.lit(literal, pl.Boolean)), table)
        assert values(op(col("a"), literal), **table) == expected
        assert values(op(lit(literal), col("a")), **table) == expected
    assert values(~col("a"), **table) == polars(~pl.col("a"), table)


# ------------------------------------------------------------------ text


@QUICK
@given(table=tables([pa.string(), pa.large_string()], [pa.string()]))
def test_text_is_joined_as_in_polars(table):
    assert values(col("a") + col("b"), **table) == polars(pl.col("a") + pl.col("b"), table)
    assert values("<" + col("a"), **table) == polars("<" + pl.col("a"), table)


def test_dictionary_encoded_text_joins_fills_and_chooses_as_plain_text():
    words = pa.array(["x", None]).dictionary_encode()
    assert run(col("a") + "y", {"a": words}) == pa.array(["xy", None])
    assert run(col("a").fill_null("z"), {"a": words}) == pa.array(["x", "z"])
    assert run(when(col("a") == "x").then(col("a")).otherwise("z"), {"a": words}) == pa.array(["x", "z"])
    assert run(col("a"), {"a": words}) == words


# ------------------------------------------------------------------ moments and durations


@QUICK
@given(table=tables([pa.timestamp("us", "UTC")], [pa.timestamp("us", "UTC")], [pa.duration("us")]))
def test_moments_and_durations_compute_as_in_polars(table):
    a, b, c = pl.col("a"), pl.col("b"), pl.col("c")
    assert values(col("a") - col("b"), **table) == polars(a - b, table)
    assert values(col("a") + col("c"), **table) == polars(a + c, table)
    assert values(col("c") + col("a"), **table) == polars(a + c, table)
    assert values(col("a") - col("c"), **table) == polars(a - c, table)
    assert values(col("c") * 3, **table) == polars(c * 3, table)
    assert values(col("c") + timedelta(days=1), **table) == polars(c + timedelta(days=1), table)


@QUICK
@given(table=tables([pa.duration("us")], [pa.duration("us")]))
def test_durations_divide_as_in_python(table):
    def share(a: timedelta, b: timedelta) -> float | None:
        a, b = a // timedelta(microseconds=1), b // timedelta(microseconds=1)
        return float(np.float64(a) / np.float64(b)) if b else math.copysign(math.inf, a) if a else math.nan

    assert same(values(col("a") / col("b"), **table), rowwise(share, *table.values()))
    for compute in (operator.floordiv, operator.mod):
        expected = rowwise(lambda a, b, c=compute: c(a, b) if b else None, *table.values())
        assert values(compute(col("a"), col("b")), **table) == expected
    assert values(col("a") // 7, **table) == rowwise(lambda a: a // 7, table["a"])


@QUICK
@given(table=tables([pa.date32()], [pa.date32()]))
def test_dates_compute_as_in_polars(table):
    assert values(col("a") - col("b"), **table) == polars(pl.col("a") - pl.col("b"), table)
    inner = {
        "a": pa.array(
            [
                None if d is None else max(min(d, date(9000, 1, 1)), date(2, 1, 1))
                for d in table["a"].to_pylist()
            ],
            pa.date32(),
        )
    }
    assert values(col("a") + timedelta(days=30), **inner) == polars(pl.col("a") + timedelta(days=30), inner)
    assert values(col("a") - timedelta(days=30), **inner) == polars(pl.col("a") - timedelta(days=30), inner)


def test_a_moment_moved_by_a_literal_keeps_its_unit_if_it_can():
    assert dtype_of(col("a") + timedelta(hours=1), a=pa.timestamp("s")) == pa.timestamp("s")
    assert dtype_of(col("a") + timedelta(microseconds=1), a=pa.timestamp("s")) == pa.timestamp("us")
    assert dtype_of(col("a") - timedelta(hours=1), a=pa.timestamp("ns", "Asia/Tokyo")) == pa.timestamp(
        "ns", "Asia/Tokyo"
    )
    assert dtype_of(timedelta(days=1) + col("a"), a=pa.date32()) == pa.date32()


def test_moments_that_leave_their_type_say_so():
    far = pa.array([2**63 - 1], pa.timestamp("us"))
    with pytest.raises(ArithmeticOverflowError, match=r"overflows timestamp\[us\]"):
        run(col("a") + timedelta(microseconds=1), {"a": far})
    with pytest.raises(ArithmeticOverflowError, match=r"an operand .* does not fit timestamp\[ns\]"):
        run(col("a") == col("b"), {"a": far, "b": pa.array([0], pa.timestamp("ns"))})


def test_event_time_is_a_timestamp_in_utc():
    times = np.array([0, 1_000_000], np.int64)
    table = {"t": pa.array([None, 500_000], pa.timestamp("us", "UTC"))}
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert run(event_time(), table, times).to_pylist() == [epoch, epoch + timedelta(seconds=1)]
    assert run(event_time() - col("t"), table, times).to_pylist() == [None, timedelta(seconds=0.5)]
    assert run(event_time() > epoch, table, times).to_pylist() == [False, True]
    assert run(event_time(), table, times).type == pa.timestamp("us", "UTC")


def test_temporal_columns_in_numpy_may_be_ticks_or_datetime64():
    schema = pa.schema({"t": pa.timestamp("us", "UTC")})
    for vector in (np.array([5], np.int64), np.array([5], "datetime64[us]")):
        bound = bind(col("t") + timedelta(microseconds=1), StreamType(schema))
        assert bound.evaluate(Batch(schema, [vector], 1)) == pa.array([6], schema.field("t").type)
        unchanged = bind(col("t"), StreamType(schema)).evaluate(Batch(schema, [vector], 1))
        assert unchanged == pa.array([5], schema.field("t").type)


# ------------------------------------------------------------------ null, cast, when

ANY = [*INTS, *FLOATS, pa.bool_(), pa.string(), pa.timestamp("us", "UTC"), pa.date32(), pa.duration("us")]


@QUICK
@given(table=tables(ANY), data=st.data())
def test_null_tests_and_filling_agree_with_polars(table, data):
    filler = data.draw(cells(table["a"].type))
    assert values(col("a").is_null(), **table) == polars(pl.col("a").is_null(), table)
    assert values(col("a").is_not_null(), **table) == polars(pl.col("a").is_not_null(), table)
    filled = run(col("a").fill_null(filler), table)
    assert filled.type == table["a"].type
    expected = [filler if v is None else v for v in table["a"].to_pylist()]
    assert same(filled.to_pylist(), pa.array(expected, filled.type).to_pylist())


def test_filling_unifies_types_and_takes_columns():
    a = pa.array([1, None], pa.int8())
    assert run(col("a").fill_null(0.5), {"a": a}) == pa.array([1.0, 0.5])
    assert run(col("a").fill_null(col("b")), {"a": a, "b": pa.array([7, 8])}) == pa.array([1, 8])
    assert run(col("n").fill_null(3), {"n": pa.nulls(2)}) == pa.array([3, 3])


CASTS = [
    (pa.int64(), pa.int8()),
    (pa.int64(), pa.float64()),
    (pa.uint64(), pa.float32()),
    (pa.int8(), pa.int64()),
    (pa.bool_(), pa.int16()),
    (pa.float64(), pa.float32()),
    (pa.int32(), pa.string()),
    (pa.timestamp("us", "UTC"), pa.date32()),
    (pa.timestamp("us", "UTC"), pa.timestamp("us")),
    (pa.date32(), pa.timestamp("us")),
]


@pytest.mark.parametrize(("source", "target"), CASTS, ids=str)
@QUICK
@given(data=st.data())
def test_casts_agree_with_strict_casts_of_polars(source, target, data):
    table = data.draw(tables([source]))
    to = pl.from_arrow(pa.array([], target)).dtype
    try:
        expected = polars(pl.col("a").cast(to), table)
    except pl.exceptions.InvalidOperationError:
        with pytest.raises(TypeMismatchError, match="a value does not fit"):
            run(col("a").cast(target), table)
        return
    result = run(col("a").cast(target), table)
    assert result.type == target
    assert same(result.to_pylist(), expected)


@pytest.mark.parametrize(
    ("column", "target", "offender"),
    [
        (["12", None, "x7", "y"], pa.int64(), "'x7' in row 2"),
        ([1.0, None, 1.5], pa.int64(), "1.5 in row 2"),
        ([math.nan], pa.int32(), "nan in row 0"),
        ([1, 300], pa.int8(), "300 in row 1"),
        ([-1], pa.uint8(), "-1 in row 0"),
        ([datetime(2024, 1, 1, 0, 0, 0, 1)], pa.timestamp("s"), "in row 0"),
    ],
)
def test_a_cast_is_strict_and_names_the_first_value_that_does_not_fit(column, target, offender):
    array = pa.array(column)
    schema = pa.schema({"a": array.type})
    with pytest.raises(TypeMismatchError) as caught:
        bind(col("a").cast(target), StreamType(schema)).evaluate(Batch(schema, [array], len(array)))
    assert offender in str(caught.value)
    assert "col('a').cast(pa." in str(caught.value)
    with pytest.raises(TypeMismatchError):
        run(col("a").cast(target), {"a": array})


@QUICK
@given(table=tables([pa.bool_()], [pa.bool_()], [pa.int16(), pa.float32()], [pa.int64()]))
def test_a_conditional_takes_the_first_true_branch(table):
    def naive(p: bool | None, q: bool | None, c: object, d: object) -> object:
        return c if p else d if q else 7

    rows = zip(*(a.to_pylist() for a in table.values()), strict=True)
    result = run(when(col("a")).then(col("c")).when(col("b")).then(col("d")).otherwise(7), table)
    as_type = float if pa.types.is_floating(result.type) else int
    expected = [None if v is None else as_type(v) for v in (naive(*row) for row in rows)]
    assert same(result.to_pylist(), expected)
    without = when(col("a")).then(col("c")).when(col("b")).then(col("d"))
    rows = zip(*(a.to_pylist() for a in table.values()), strict=True)
    expected = [
        None if v is None else as_type(v) for v in (c if p else d if q else None for p, q, c, d in rows)
    ]
    assert same(values(without, **table), expected)


@QUICK
@given(table=tables([pa.bool_()], ANY))
def test_a_conditional_on_columns_agrees_with_polars(table):
    chosen = when(col("a")).then(col("b")).otherwise(None)
    assert same(
        values(chosen, **table), polars(pl.when(pl.col("a")).then(pl.col("b")).otherwise(None), table)
    )


def test_the_branches_of_a_conditional_are_unified():
    assert dtype_of(when(col("a")).then(1).otherwise(2.5), a=pa.bool_()) == pa.float64()
    assert dtype_of(when(col("a")).then(None).otherwise("x"), a=pa.bool_()) == pa.string()
    assert dtype_of(when(col("a")).then(col("b")).otherwise(0), a=pa.bool_(), b=pa.int8()) == pa.int8()
    assert dtype_of(when(col("a")).then(None), a=pa.bool_()) == pa.null()
    assert values(when(True).then(col("a")), a=pa.array([[1], None])) == [[1], None]


def test_a_condition_guards_its_branch():
    words = pa.array(["1", "x", None, "22"])
    number = col("a").cast(pa.int64())
    assert values(when(col("a") == "x").then(-1).otherwise(number), a=words) == [1, -1, None, 22]
    assert values(when(col("a") != "x").then(number), a=words) == [1, None, None, 22]
    assert values(when(col("a") == "x").then(-1).when(col("a") != "22").then(number), a=words) == [
        1,
        -1,
        None,
        None,
    ]
    big = pa.array([1, 2**62])
    assert values(when(col("a") < 100).then(col("a") * 2).otherwise(0), a=big) == [2, 0]
    with pytest.raises(TypeMismatchError, match="'x' in row 1"):
        values(when(col("a") != "22").then(number), a=words)


def test_literals_alone_fill_the_batch():
    batch = Batch(pa.schema({}), [], 2)
    for value in (3, 2.5, True, "x", b"y", None, Decimal("1.5"), date(2024, 1, 1), timedelta(1), time(1)):
        column = bind(lit(value), StreamType(batch.schema)).evaluate(batch)
        assert as_arrow(column).to_pylist() == [value, value]
    assert as_arrow(bind(lit(1) + 2.5, StreamType(batch.schema)).evaluate(batch)).to_pylist() == [3.5, 3.5]
    assert (
        as_arrow(bind(lit(None).is_null(), StreamType(batch.schema)).evaluate(batch)).to_pylist()
        == [True] * 2
    )


def test_deep_chains_reuse_their_own_vectors_and_never_a_column():
    a = np.array([1.0, 2.0])
    schema = pa.schema({"a": pa.float64()})
    expr = (col("a") * 2 + col("a")) / 3 - (1 - col("a") * 4)
    for _ in range(2):
        result = bind(expr, StreamType(schema)).evaluate(Batch(schema, [a], 2))
        assert as_arrow(result).to_pylist() == [4.0, 9.0]
    assert a.tolist() == [1.0, 2.0]


# ------------------------------------------------------------------ what an expression is

EXAMPLES = {
    "(col('price') * 0.908)": col("price") * 0.908,
    "(1 - col('a'))": 1 - col("a"),
    "((col('a') > 3) & col('b').is_null())": (col("a") > 3) & col("b").is_null(),
    "(~((-col('a')) % 2 == 0))": ~((-col("a")) % 2 == 0),
    "(lit(1) + 2)": lit(1) + 2,
    "lit('x')": lit("x"),
    "col('a').cast(pa.float64()).is_not_null()": col("a").cast(pa.float64()).is_not_null(),
    "col('t').cast(pa.timestamp('us', tz='UTC'))": col("t").cast(pa.timestamp("us", tz="UTC")),
    "col('t').cast(pa.decimal128(10, 2))": col("t").cast(pa.decimal128(10, 2)),
    "col('a').fill_null(0).alias('b')": col("a").fill_null(0).alias("b"),
    "(event_time() - col('t'))": event_time() - col("t"),
    "when(col('a') > 1).then('x').when(~col('b')).then('y').otherwise(None)": when(col("a") > 1)
    .then("x")
    .when(~col("b"))
    .then("y")
    .otherwise(None),
    "when(col('a') > 1).then(col('b'))": when(col("a") > 1).then(col("b")),
}


@pytest.mark.parametrize("text", [t for t in EXAMPLES if "%" not in t])
def test_an_expression_reads_as_it_was_written_and_evaluates_back(text):
    assert repr(EXAMPLES[text]) == text
    names = {"col": col, "lit": lit, "when": when, "event_time": event_time, "pa": pa}
    assert eval(text, names).canonical() == EXAMPLES[text].canonical()


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_expression_pickles_to_the_same_expression(text):
    expr = EXAMPLES[text]
    copy = pickle.loads(pickle.dumps(expr))
    assert copy.canonical() == expr.canonical()
    assert hash(copy) == hash(expr)
    assert repr(copy) == repr(expr)


def test_different_expressions_have_different_canonical_forms():
    different = [
        *EXAMPLES.values(),
        lit(1),
        lit(1.0),
        lit(True),
        lit("1"),
        lit(None),
        lit(-0.0),
        lit(0.0),
        col("1"),
    ]
    different += [col("a").is_null(), col("a").is_not_null(), col("a") - col("b"), col("b") - col("a")]
    different += [when(col("a")).then(1), when(col("a")).then(1).otherwise(2)]
    assert len({e.canonical() for e in different}) == len(different)
    assert lit(math.nan).canonical() == lit(math.nan).canonical()
    assert lit(np.int64(1)).canonical() == lit(1).canonical()


def test_an_expression_is_immutable_and_equality_builds_another():
    expr = col("a") + 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        expr.left = col("b")  # type: ignore[attr-defined]
    assert repr(expr == col("b")) == "((col('a') + 1) == col('b'))"
    assert expr in {expr: 1}


@pytest.mark.parametrize(
    "use",
    [
        lambda a: a > 1 and a < 3,
        lambda a: 1 < a < 3,
        lambda a: not a,
        lambda a: 1 if a == 2 else 3,
        lambda a: a in [col("b"), col("c")],
    ],
)
def test_using_an_expression_as_a_truth_value_names_the_operators(use):
    with pytest.raises(TypeError) as caught:
        use(col("a"))
    text = str(caught.value)
    assert "`&`, `|` and `~`" in text
    assert "did you write `and`, or `a < b < c`?" in text
    assert "col('a')" in text


def test_columns_and_event_time_of_an_expression_are_known():
    expr = when(col("a") > 1).then(event_time()).otherwise(col("b").fill_null(col("c")))
    assert columns(expr) == {"a", "b", "c"}
    assert uses_event_time(expr)
    assert not uses_event_time(col("a"))


@pytest.mark.parametrize(
    ("expr", "name"),
    [
        (col("a") + col("b"), "a"),
        (1 + col("b"), "b"),
        (col("a").alias("x") + 1, "x"),
        ((col("a") + 1).alias("y"), "y"),
        (lit(1) + 2, "literal"),
        (event_time(), "event_time"),
        (when(col("a") > 1).then(col("b")).otherwise(col("c")), "b"),
        (when(col("a") > 1).then(1), "literal"),
        (-col("a").cast(pa.int8()).fill_null(col("b")), "a"),
    ],
)
def test_the_output_is_named_by_alias_or_leftmost_column(expr, name):
    assert output_name(expr) == name


def test_numpy_scalars_stand_on_both_sides():
    a = pa.array([1, 2], pa.int8())
    assert run(np.int64(3) * col("a"), {"a": a}) == pa.array([3, 6], pa.int8())
    assert run(col("a") + np.float64(0.5), {"a": a}) == pa.array([1.5, 2.5])


# ------------------------------------------------------------------ errors, as the user reads them

TYPES = {
    "i": pa.int64(),
    "u": pa.uint64(),
    "b": pa.bool_(),
    "s": pa.string(),
    "t": pa.timestamp("us"),
    "z": pa.timestamp("us", "UTC"),
    "d": pa.date32(),
    "l": pa.list_(pa.int64()),
}


def _error(expr: Expr) -> str:
    with pytest.raises(TypeMismatchError) as caught:
        dtype_of(expr, **TYPES)
    return str(caught.value)


def test_a_type_error_says_what_was_expected_what_was_found_and_what_to_do():
    assert _error(col("s") > 3).splitlines() == [
        "the operands of (col('s') > 3) don't fit together",
        "  expected: two operands of one kind: numbers, text, bools, timestamps with a time zone, …",
        "  found:    col('s') is string and 3 is a literal int64",
        "  to do:    convert the text, for example .cast(pa.int64()), or write the literal as the other type",
        "  more:     streamlib explain SL103",
    ]


@pytest.mark.parametrize(
    ("expr", "remedy"),
    [
        (col("b") + 1, ".cast(pa.int64())"),
        (col("b") == 1, "use the bool itself"),
        (col("i") & col("b"), "put each comparison in parentheses"),
        (col("i") > (3 & col("b")), "put each comparison in parentheses"),
        (~col("i"), "~(col('a') == 0)"),
        (-col("u"), "cast an unsigned integer first"),
        (-col("b"), "`~`"),
        (col("u") + col("i"), "no integer type holds all values of both"),
        (col("z") > datetime(2024, 1, 1), "datetime(2024, 1, 1, tzinfo=UTC)"),
        (col("z") - col("t"), '.cast(pa.timestamp("us", tz="UTC"))'),
        (col("z") > date(2024, 1, 1), "give the moment a time zone"),
        (col("t") > "2024-01-01", "write the literal as a datetime"),
        (col("t") + col("t"), "two moments `-`"),
        (col("d") + timedelta(hours=1), "only whole days"),
        (col("l") == col("l"), "map a function"),
        (col("l").cast(pa.int64()), "map a function"),
        (col("t").cast(pa.timestamp("us", "Asia/Tokyo")), 'by way of pa.timestamp("us", tz="UTC")'),
        (when(col("i")).then(1), "compare it with something"),
        (when(col("b")).then(1).otherwise("x"), "convert the text"),
        (col("i").fill_null("x"), "convert the text"),
        (lit(None) + None, "so that the result has a type"),
    ],
    ids=repr,
)
def test_what_does_not_fit_is_refused_before_it_runs_with_a_way_out(expr, remedy):
    assert remedy in _error(expr)


def test_an_unknown_column_names_the_closest_one():
    with pytest.raises(UnknownColumnError, match="did you mean 'price'"):
        dtype_of(col("prize") + 1, price=pa.int64())


def test_a_name_of_two_columns_is_refused():
    schema = pa.schema([("a", pa.int64()), ("a", pa.int64())])
    with pytest.raises(DefinitionError, match="ambiguous"):
        bind(col("a"), StreamType(schema))


def test_event_time_needs_a_stream_that_carries_it():
    with pytest.raises(EventTimeError, match=r'give event_time="…" to sl\.read'):
        dtype_of(event_time() + timedelta(1), a=pa.int64())


def test_overflow_names_the_expression_the_operands_and_the_row():
    schema = pa.schema({"a": pa.int8()})
    with pytest.raises(OverflowError) as caught:
        bind((col("a") + 1) * 2, StreamType(schema)).evaluate(Batch(schema, [np.array([1, 127], np.int8)], 2))
    assert str(caught.value).splitlines() == [
        "(col('a') + 1) overflows int8",
        "  expected: a result from -128 to 127",
        "  found:    the operands 127 and 1 in row 1 of the batch",
        "  to do:    compute in a wider type: .cast(pa.int64())",
        "  more:     streamlib explain SL201",
    ]


@pytest.mark.parametrize(
    "value",
    [2**64, -(2**63) - 1, [1], Decimal("NaN"), timedelta.max, "\ud800", object, np.datetime64(1, "ns"), 1j],
    ids=repr,
)
def test_a_value_that_no_column_could_hold_is_no_literal(value):
    with pytest.raises(TypeMismatchError, match="this value can't stand in an expression"):
        col("a") + value


def test_a_literal_that_the_other_operand_cannot_meet_is_refused():
    with pytest.raises(TypeMismatchError, match=r"does not fit timestamp\[ns\]"):
        dtype_of(col("a") > datetime(9999, 1, 1), a=pa.timestamp("ns"))


def test_what_arrow_refuses_at_run_time_carries_the_expression():
    class Refused(Node):
        dtype = pa.int64()

        def run(self, batch: Batch) -> pa.Array:
            raise pa.ArrowInvalid("no room")

    with pytest.raises(StreamlibError, match=r"\(col\('a'\) \+ 1\) could not be computed") as caught:
        Bound(col("a") + 1, Refused()).evaluate(Batch(pa.schema({}), [], 0))
    assert caught.value.found == "no room"
    assert isinstance(caught.value.__cause__, pa.ArrowInvalid)


@pytest.mark.parametrize("make", [lambda: col(3), lambda: col("a").alias(None), lambda: col("a").cast("int")])
def test_names_and_types_are_checked_where_they_are_written(make):
    with pytest.raises(DefinitionError):
        make()


def test_the_largest_of_nan_and_null_is_nan():
    nan = float("nan")
    for least_or_most in (sl.min_horizontal, sl.max_horizontal):
        found = sl.evaluate(
            least_or_most(col("a"), col("b")), a=[nan, None, nan, None], b=[None, nan, 2.0, None]
        )
        assert [str(value) for value in found] == ["nan", "nan", "2.0", "None"]
