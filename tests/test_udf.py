"""Expressions with Python functions: per record and vectorized, their errors, and where they may stand."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col, windows
from streamlib.connectors import memory
from streamlib.core.errors import DefinitionError, NotPicklableError, TypeMismatchError, UserFunctionError


def double(x: int) -> int:
    return 2 * x


def halves(x):
    return x / 2


@sl.udf
def shout(text: str) -> str:
    return text.upper()


@sl.udf(pa.float64(), vectorized=True)
def root(x):
    return np.sqrt(x)


def stream(**columns) -> sl.Stream:
    return sl.read(memory.source(pa.table(columns)), name="rows")


def values(expr: sl.Expr, **columns) -> list:
    return stream(**columns).select(result=expr).collect()["result"].to_pylist()


def test_a_function_per_record_gets_python_values_and_its_hint_gives_the_type():
    rows = stream(x=[1, 2]).select(twice=sl.udf(double)(col("x"))).collect()
    assert rows.schema == pa.schema({"twice": pa.int64()})
    assert rows.to_pylist() == [{"twice": 2}, {"twice": 4}]


def test_several_arguments_and_literals_come_in_order():
    joined = sl.udf(lambda a, b, c: f"{a}{b}{c}", pa.string())
    assert values(joined(col("x"), "-", col("y")), x=[1, 2], y=["u", "v"]) == ["1-u", "2-v"]


def test_a_function_of_literals_alone_is_computed_for_every_row():
    assert values(sl.udf(double)(21), x=[1, 2, 3]) == [42, 42, 42]


def test_nulls_are_skipped_and_the_function_never_sees_them():
    seen = []

    def note(x, y):
        seen.append((x, y))
        return x + y

    assert values(sl.udf(note, pa.int64())(col("x"), col("y")), x=[1, None, 3], y=[None, 2, 4]) == [
        None,
        None,
        7,
    ]
    assert seen == [(3, 4)]


def test_nulls_are_passed_where_the_function_asks_for_them():
    known = sl.udf(lambda x: x is not None, pa.bool_(), nulls="pass")
    assert values(known(col("x")), x=[1, None]) == [True, False]


def test_a_vectorized_function_gets_numpy_for_numbers_and_moments_and_arrow_for_the_rest():
    kinds = []

    def kind(*columns):
        kinds.extend((type(c), str(c.dtype if isinstance(c, np.ndarray) else c.type)) for c in columns)
        return columns[0]

    at = pa.array([datetime(2024, 1, 1, tzinfo=UTC), None], pa.timestamp("ms", "Europe/Paris"))
    columns = {"x": [1, 2], "b": [True, None], "at": at, "text": ["a", "b"], "day": [date(2024, 1, 1), None]}
    given_columns = [col(name) for name in columns]
    values(sl.udf(kind, pa.int64(), vectorized=True)(*given_columns), **columns)
    assert [k[1] for k in kinds] == ["int64", "bool", "datetime64[ms]", "string", "datetime64[D]"]
    assert kinds[3][0] is pa.StringArray
    kinds.clear()
    values(sl.udf(kind, pa.int64(), vectorized=True, nulls="pass")(*given_columns), **columns)
    assert all(issubclass(k[0], pa.Array) for k in kinds)


@pytest.mark.parametrize(
    "give",
    [
        lambda x: x * 0.5,
        lambda x: pa.array(x * 0.5),
        lambda x: pl.Series(x * 0.5),
        lambda x: pa.chunked_array([pa.array(x[:1] * 0.5), pa.array(x[1:] * 0.5)]),
        lambda x: pc.multiply(x, 0.5),
    ],
)
def test_a_vectorized_function_may_return_numpy_arrow_or_a_series(give):
    assert values(sl.udf(give, pa.float64(), vectorized=True)(col("x")), x=[1, 2, 3]) == [0.5, 1.0, 1.5]


def test_vectorized_functions_skip_nulls_too():
    assert values(root(col("x")), x=[4, None, 9.0]) == [2.0, None, 3.0]


@given(
    x=st.lists(st.none() | st.integers(-100, 100), max_size=30),
    chunk=st.integers(1, 7),
)
def test_per_record_vectorized_and_plain_expressions_agree_for_every_split(x, chunk):
    rows = sl.read(memory.source(pa.table({"x": pa.array(x, pa.int64())}), chunk_rows=chunk), name="rows")
    found = rows.select(
        a=sl.udf(double)(col("x")),
        b=sl.udf(lambda v: v * 2, pa.int64(), vectorized=True)(col("x")),
        c=col("x") * 2,
    ).collect()
    assert found["a"].to_pylist() == found["b"].to_pylist() == found["c"].to_pylist()


def test_functions_stand_in_filters_aggregates_event_times_and_other_expressions():
    at = sl.udf(
        lambda second: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=second), pa.timestamp("us", "UTC")
    )
    rows = sl.read(
        memory.source(pa.table({"s": [0, 1, 2, 61], "name": ["a", "b", "a", "a"]})),
        name="rows",
        event_time=at(col("s")),
        watermark=sl.monotone(),
    )
    seen = rows.filter(sl.udf(double)(col("s")) + 1 < 100).with_columns(name=shout(col("name")))
    found = seen.key_by("name").window(windows.tumbling("1min")).aggregate(s=sl.sum(sl.udf(double)(col("s"))))
    assert found.select("name", "s").collect().to_pylist() == [{"name": "A", "s": 4}, {"name": "B", "s": 2}]


def test_a_condition_guards_a_function_in_a_branch():
    inverse = sl.udf(lambda x: 1 / x, pa.float64())
    guarded = sl.when(col("x") != 0).then(inverse(col("x"))).otherwise(0.0)
    assert values(guarded, x=[2, 0, 4]) == [0.5, 0.0, 0.25]


@pytest.mark.parametrize(
    ("hint", "dtype", "result"),
    [
        (bool, pa.bool_(), True),
        (float, pa.float64(), 1.5),
        (str | None, pa.string(), None),
        (bytes, pa.binary(), b"x"),
        (datetime, pa.timestamp("us", "UTC"), datetime(2024, 1, 1, tzinfo=UTC)),
        (date, pa.date32(), date(2024, 1, 1)),
        (timedelta, pa.duration("us"), timedelta(seconds=1)),
        (list[int], pa.list_(pa.int64()), [1, 2]),
    ],
)
def test_hints_give_the_result_type(hint, dtype, result):
    def function(x):
        return result

    function.__annotations__["return"] = hint
    found = stream(x=[1]).select(r=sl.udf(function)(col("x"))).collect()
    assert found.schema.field("r").type == dtype
    assert found["r"].to_pylist() == [result]


@pytest.mark.parametrize("hint", [None, Decimal, "Nowhere", int | str, np.ndarray, object])
def test_a_function_whose_result_type_is_not_told_is_refused_where_it_is_wrapped(hint):
    def function(x):
        return x

    if hint is not None:
        function.__annotations__["return"] = hint
    with pytest.raises(DefinitionError, match=r"pa\.float64|pa\.decimal128") as caught:
        sl.udf(function)
    assert "test_udf.py" in str(caught.value)


def test_decimals_and_builtins_work_with_a_type():
    cents = sl.udf(lambda x: Decimal(x) / 100, pa.decimal128(12, 2))
    assert values(cents(col("x")), x=[150]) == [Decimal("1.50")]
    assert values(sl.udf(len, pa.int64())(col("x")), x=["abc"]) == [3]
    assert values(sl.udf(np.log1p, pa.float64(), vectorized=True)(col("x")), x=[0.0]) == [0.0]
    assert values(sl.udf(partial(int.__add__, 5), pa.int64())(col("x")), x=[1]) == [6]


def test_what_a_function_raises_comes_through_with_function_row_and_values():
    def broken(x: int, text: str) -> int:
        return int(text) // x

    rows = stream(x=[1, 2, None, 3], text=["1", "2", "3", "x" * 500])
    with pytest.raises(ValueError, match="invalid literal") as caught:
        rows.select(r=sl.udf(broken)(col("x"), col("text"))).collect()
    first, second = caught.value.__notes__
    assert "broken" in first
    assert "row 3 of the batch: col('x') = 3, col('text') = 'xxx" in first
    assert len(first) < 400
    assert "in operator 'select' (test_udf.py:" in second


def test_an_arrow_error_of_the_user_stays_arrows():
    def strict(x):
        return pc.cast(pa.array(["x"] * len(x)), pa.int64())

    with pytest.raises(pa.ArrowInvalid, match="Failed to parse") as caught:
        values(sl.udf(strict, pa.int64(), vectorized=True)(col("x")), x=[1])
    assert "computed a batch of 1 rows; the first: col('x') = 1" in caught.value.__notes__[0]


@pytest.mark.parametrize("returned", ["text", 1.5, 10**30, [1]])
def test_a_value_of_another_type_is_refused_with_its_row_and_arguments(returned):
    wrong = sl.udf(lambda x: returned if x == 7 else x, pa.int64())
    with pytest.raises(UserFunctionError) as caught:
        values(wrong(col("x")), x=[1, None, 7])
    text = str(caught.value)
    assert "expected: values of type int64" in text
    assert f"{returned!r} of type {type(returned).__name__} for row 2 of the batch: col('x') = 7" in text
    assert "to do:" in text


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        (np.zeros(2), "2 rows"),
        (np.zeros((3, 1)), "of type ndarray"),
        (5, "5 of type int"),
        ([1, 2, 3], "of type list"),
        (np.array([1.5, 2, 3]), "truncated"),
        (np.array(["a", "b", "c"]), "parse"),
    ],
)
def test_a_column_of_wrong_length_or_type_is_refused(returned, found):
    with pytest.raises(UserFunctionError, match=found):
        values(sl.udf(lambda x: returned, pa.int64(), vectorized=True)(col("x")), x=[1, 2, 3])


def test_moments_that_python_does_not_know_are_refused():
    far = pa.array([2**62], pa.timestamp("us"))
    with pytest.raises(TypeMismatchError, match="years 1 to 9999"):
        values(sl.udf(lambda t: t.year, pa.int64())(col("t")), t=far)


def test_nanoseconds_are_floored_to_pythons_microseconds():
    times = pa.array([1_999, -1], pa.timestamp("ns", "UTC"))
    found = values(sl.udf(lambda t: t, pa.timestamp("us", "UTC"))(col("t")), t=times)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert found == [epoch + timedelta(microseconds=1), epoch - timedelta(microseconds=1)]


def test_functions_compare_and_hash_by_name_type_and_options():
    assert sl.udf(double) == sl.udf(double)
    assert hash(sl.udf(double)) == hash(sl.udf(double))
    assert sl.udf(double) != sl.udf(double, pa.int32())
    assert sl.udf(double) != sl.udf(double, nulls="pass")
    assert sl.udf(double)(col("x")).canonical() == sl.udf(double)(col("x")).canonical()
    assert sl.udf(double)(col("x")).canonical() != sl.udf(double)(col("y")).canonical()
    one, two = (stream(x=[1]).select(shout(col("x").cast(pa.string()))) for _ in range(2))
    assert one == two


def test_expressions_with_importable_functions_pickle_also_where_they_are_decorated():
    for expr in (sl.udf(double)(col("x")) + 1, shout(col("x")), root(col("x"))):
        again = pickle.loads(pickle.dumps(expr))
        assert again.canonical() == expr.canonical()
    assert pickle.loads(pickle.dumps(shout)) is shout


def test_an_expression_with_a_local_function_does_not_pickle_and_says_so():
    with pytest.raises(NotPicklableError, match="lambda"):
        pickle.dumps(stream(x=[1]).filter(sl.udf(lambda x: True, pa.bool_())(col("x"))))


def test_plans_show_which_function_is_called_and_how():
    assert repr(sl.udf(double)(col("x"))) == f"udf({__name__}:double)(col('x'))"
    assert repr(root(col("x"), 1)) == f"udf({__name__}:root, vectorized=True)(col('x'), 1)"
    flow = sl.Flow("f", stream(x=[1]).filter(sl.udf(double)(col("x")) > 1).write(memory.sink(), name="out"))
    assert f"udf({__name__}:double)(col('x')) > 1" in flow.explain()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (sl.udf(double), "at least one expression"),
        (lambda: sl.udf(col("x")), "a callable"),
        (lambda: sl.udf(double, float), "an Arrow type"),
        (lambda: sl.udf(double, nulls="keep"), "skip"),
    ],
)
def test_calls_that_mean_nothing_are_refused(make, text):
    with pytest.raises((DefinitionError, TypeMismatchError), match=text):
        make()
