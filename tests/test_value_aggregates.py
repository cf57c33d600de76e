"""var, std, median, quantile, first, last, arg_min, arg_max, any, all, collect, count_distinct."""

from __future__ import annotations

import itertools
import math
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col, windows
from streamlib.connectors import memory
from streamlib.core.errors import DefinitionError, TypeMismatchError
from streamlib.testing import assert_parity, assert_survives
from streamlib.testing.compare import difference

NAN = math.nan
FLOATS = st.one_of(
    st.none(),
    st.sampled_from([0.0, 1.5, -2.0, NAN, math.inf, -math.inf, 1e300, -1e-300]),
    st.floats(-100, 100),
)
INTS = st.one_of(st.none(), st.integers(-5, 5), st.integers(-(2**50), 2**50))
KEYS, WORDS = st.sampled_from(["a", "b", None]), st.sampled_from(["x", "yy", "", None])
ROWS = st.lists(st.tuples(st.integers(0, 40), KEYS, INTS, FLOATS, WORDS), max_size=50)
SCHEMA = pa.schema({"at": pa.int64(), "k": pa.string(), "i": pa.int64(), "f": pa.float64(), "s": pa.string()})
INTERPOLATIONS = ("nearest", "lower", "higher", "midpoint", "linear")


def table_of(rows: list[tuple]) -> pa.Table:
    return pa.table(list(zip(*rows, strict=True)) if rows else [[]] * 5, schema=SCHEMA)


def read(table: pa.Table, chunk: int = 7, delay: int = 1_000_000) -> sl.Stream:
    source = memory.source(table, chunk_rows=chunk)
    watermark = sl.bounded_disorder(delay)
    return sl.read(source, name="rows", event_time="at", watermark=watermark, max_ahead=None)


def statistics(column: str) -> dict[str, Any]:
    return {
        "var": sl.var(column),
        "std0": sl.std(column, ddof=0),
        "median": sl.median(column),
        "different": sl.count_distinct(column),
        "about": sl.approx_count_distinct(column),
        **{f"q_{how}": sl.quantile(column, 0.3, interpolation=how) for how in INTERPOLATIONS},
    }


def in_polars(column: str) -> list[pl.Expr]:
    values = pl.col(column).cast(pl.Float64)
    return [
        values.var().alias("var"),
        values.std(ddof=0).alias("std0"),
        values.median().alias("median"),
        pl.col(column).drop_nulls().n_unique().alias("different"),
        pl.col(column).drop_nulls().n_unique().alias("about"),
        *(values.quantile(0.3, interpolation=how).alias(f"q_{how}") for how in INTERPOLATIONS),
    ]


def same(found: Any, expected: Any) -> bool:
    if isinstance(found, float) and isinstance(expected, float):
        if math.isnan(found) or math.isnan(expected):
            return math.isnan(found) and math.isnan(expected)
        return found == expected or math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)
    return found == expected


def by_key(table: pa.Table | pl.DataFrame) -> dict[Any, dict[str, Any]]:
    rows = table.to_pylist() if isinstance(table, pa.Table) else table.to_dicts()
    return {row["k"]: row for row in rows}


def check(found: pa.Table, expected: dict[Any, dict[str, Any]], names: Any) -> None:
    rows = by_key(found)
    assert set(rows) == set(expected)
    for key, name in itertools.product(rows, names):
        assert same(rows[key][name], expected[key][name]), (key, name, rows[key][name], expected[key][name])


# --------------------------------------------------------------------------- against Polars and DuckDB


@pytest.mark.parametrize("column", ["i", "f"])
@given(rows=ROWS, chunk=st.integers(1, 60))
def test_statistics_are_those_of_polars(column, rows, chunk):
    if column == "f":  # there Polars' spreads of 1e300 overflow in other places
        rows = [(*r[:3], None if r[3] is not None and abs(r[3]) == 1e300 else r[3], r[4]) for r in rows]
    table = table_of(rows)
    expected = by_key(pl.from_arrow(table).group_by("k").agg(in_polars(column)))
    wanted = statistics(column)
    window = read(table, chunk).key_by("k").window(windows.tumbling(100)).aggregate(**wanted)
    check(window.collect(), expected, wanted)
    check(read(table, chunk).key_by("k").aggregate(**wanted).collect(), expected, wanted)


@given(rows=ROWS, chunk=st.integers(1, 60))
def test_picked_rows_are_those_of_plain_python_and_lists_are_in_order(rows, chunk):
    table = table_of(rows)
    wanted = {
        "first": sl.first("s"),
        "last": sl.last("i"),
        "low": sl.arg_min("s", by="f"),
        "high": sl.arg_max("i", by="s"),
        "any": sl.any(col("i") > 0),
        "all": sl.all(col("i") > 0),
        "list": sl.collect("s"),
        "two": sl.collect("i", limit=2),
        "early": sl.first("s", order="arrival"),
        "newest": sl.last("i", order="arrival"),
    }
    expected = {key: picked([r for r in rows if r[1] == key]) for key in {r[1] for r in rows}}
    window = read(table, chunk).key_by("k").window(windows.tumbling(100)).aggregate(**wanted)
    check(window.collect(), expected, wanted)
    check(read(table, chunk).key_by("k").aggregate(**wanted).collect(), expected, wanted)


def picked(rows: list[tuple]) -> dict[str, Any]:
    def best(pairs, largest):
        pairs = [(by, value) for by, value in pairs if by not in (None, NAN) and value is not None]
        return (max(pairs) if largest else min(pairs))[1] if pairs else None

    def nulls_last(value):
        return (value is None, value)

    start, end = min(r[0] for r in rows), max(r[0] for r in rows)
    firsts, lasts = [r[4] for r in rows if r[0] == start], [r[2] for r in rows if r[0] == end]
    positive = [r[2] > 0 for r in rows if r[2] is not None]
    in_order = sorted(rows, key=lambda r: (r[0], r[2] is not None, r[2]))
    texts = sorted(rows, key=lambda r: (r[0], r[4] is not None, r[4]))
    return {
        "first": min(firsts, key=nulls_last),
        "last": max((v for v in lasts if v is not None), default=None),
        "low": best([(r[3], r[4]) for r in rows], False),
        "high": best([(r[4], r[2]) for r in rows], True),
        "any": any(positive),
        "all": all(positive),
        "list": [r[4] for r in texts],
        "two": [r[2] for r in in_order][:2],
        "early": rows[0][4],
        "newest": rows[-1][2],
    }


def test_duckdb_agrees_on_sql_names():
    chance = np.random.default_rng(3)
    rows = pa.table({
        "at": np.arange(2000), "k": chance.choice(["a", "b", "c"], 2000), "i": chance.integers(0, 50, 2000),
        "f": np.round(chance.normal(size=2000), 3), "s": chance.choice(["p", "q"], 2000),
    })  # fmt: skip
    found = read(rows).key_by("k").aggregate(
        var=sl.var("f"), std=sl.std("f"), median=sl.median("f"),
        q=sl.quantile("f", 0.9, interpolation="linear"),
        low=sl.arg_min("at", by="f"), n=sl.count_distinct("i"), some=sl.count(filter=col("i") > 25),
        total=sl.sum("f", filter=col("s") == "p"), mean=sl.mean("f", filter=col("s") == "p"),
        top=sl.max("i", filter=col("s") == "q"), least=sl.min("i", filter=col("s") == "none"),
    )  # fmt: skip
    expected = duckdb.sql(
        "select k, var_samp(f) as var, stddev(f) as std, median(f) as median, quantile_cont(f, 0.9) as q, "
        'arg_min("at", f) as low, '
        "count(distinct i) as n, count(*) filter (i > 25) as some, "
        "sum(f) filter (s = 'p') as total, avg(f) filter (s = 'p') as mean, max(i) filter (s = 'q') as top, "
        "min(i) filter (s = 'none') as least from rows group by k"
    ).to_arrow_table()
    check(found.collect(), by_key(expected), expected.column_names)


def test_quantiles_of_many_values_count_nan_as_the_largest_as_in_polars():
    chance = np.random.default_rng(5)
    values = np.where(chance.random(3000) < 0.3, np.nan, chance.normal(size=3000))
    table = pa.table({"at": np.arange(3000), "k": chance.integers(0, 5, 3000), "v": values})
    aggregates = {f"q{q}": sl.quantile("v", q / 100) for q in (10, 50, 60, 90)}
    found = read(table, chunk=700).key_by("k").aggregate(**aggregates).collect()
    keyed = pl.from_arrow(table).group_by("k")
    expected = keyed.agg(**{name: pl.col("v").quantile(int(name[1:]) / 100) for name in aggregates})
    check(found, by_key(expected.to_arrow()), expected.columns)


def test_spreads_of_large_numbers_that_lie_close_together_are_exact():
    values = [1e15 + v for v in (0.0, 1.0, 2.0, 3.0)] * 50
    table = pa.table({"at": range(200), "v": values})
    found = read(table, chunk=3).window(windows.tumbling(1000)).aggregate(v=sl.var("v", ddof=0)).collect()
    assert found["v"].to_pylist() == [1.25]


def test_several_quantiles_are_a_list():
    table = table_of([(i, "a", i, None, None) for i in range(11)] + [(1, "b", None, None, None)])
    aggregate = sl.quantile("i", [0, 0.5, 0.9], interpolation="linear")
    found = by_key(read(table).key_by("k").aggregate(q=aggregate).collect())
    assert (found["a"]["q"], found["b"]["q"]) == ([0.0, 5.0, 9.0], None)


@pytest.mark.parametrize("distinct", [10, 4000, 100_000])
def test_an_approximate_count_is_exact_below_its_size_and_close_above(distinct):
    table = pa.table({"at": np.arange(200_000) // 100, "v": np.arange(200_000) % distinct})
    stream = read(table, chunk=20_000).window(windows.tumbling(10_000))
    (found,) = stream.aggregate(n=sl.approx_count_distinct("v")).collect()["n"].to_pylist()
    assert found == distinct if distinct < 4096 else abs(found / distinct - 1) < 0.06


# --------------------------------------------------------------------------- every way to run

EVERY: dict[str, Any] = {
    **statistics("i"),
    "first": sl.first("s"),
    "last": sl.last("i"),
    "low": sl.arg_min("s", by="f"),
    "high": sl.arg_max("i", by="s"),
    "any": sl.any(col("i") > 0),
    "all": sl.all(col("i") > 0, filter=col("s") != "x"),
    "list": sl.collect("s"),
    "two": sl.collect("i", limit=2),
    "n": sl.count(filter=col("i") > 0),
    "top": sl.max("i", filter=col("s") == "x"),
}


def example(count: int = 200) -> pa.Table:
    chance = np.random.default_rng(5)
    return table_of([
        (int(i + chance.integers(0, 5)), ["a", "b", None][chance.integers(3)],
         [None, *range(-3, 9)][chance.integers(12)],
         [None, 0.5, 2.0, math.nan][chance.integers(4)], ["x", "yy", "", None][chance.integers(4)])
        for i in range(count)
    ])  # fmt: skip


def shapes() -> dict[str, Any]:
    keyed = read(example(), delay=10).key_by("k")
    return {
        "tumbling": keyed.window(windows.tumbling(50)).aggregate(**EVERY),
        "sliding": keyed.window(windows.sliding(60, every=20)).aggregate(**EVERY),
        "updated": keyed.window(windows.tumbling(50), allowed_lateness=30).aggregate(**EVERY),
        "running": keyed.aggregate(**EVERY),
    }


@pytest.mark.parametrize("shape", shapes())
def test_every_aggregate_is_the_same_in_batches_streams_workers_and_after_power_cuts(tmp_path, shape):
    stream = shapes()[shape]
    changelog = shape in ("updated", "running")
    sink = memory.table_sink() if changelog else memory.sink()
    flow = sl.Flow("every", stream.write(sink, name="out"))
    found = assert_parity(flow, seeds=range(3))["out"]
    assert_survives(flow, seeds=range(3))
    flow.run(state=str(tmp_path), parallelism=2, progress="none")

    assert difference(found, sink.table()) is None


@given(rows=ROWS, chunk=st.integers(1, 30))
def test_over_a_changelog_rows_are_taken_back(rows, chunk):
    """Of windows that are updated: the changes come to what the final rows give."""
    table = table_of(rows)
    wanted = {
        "var": sl.var("n"), "median": sl.median("n"), "q": sl.quantile("n", 0.7), "first": sl.first("n"),
        "last": sl.last("s"), "low": sl.arg_min("s", by="n"), "high": sl.arg_max("n", by="s"),
        "any": sl.any(col("n") > 2), "all": sl.all(col("n") > 1), "list": sl.collect("n"),
        "two": sl.collect("s", limit=2), "d": sl.count_distinct("n"),
        "few": sl.min("n", filter=col("s") == "yy"),
    }  # fmt: skip

    def of(delay: int, lateness: int) -> sl.Stream:
        stream = read(table, chunk, delay).key_by("k")
        window = stream.window(windows.tumbling(5), allowed_lateness=lateness)
        return window.aggregate(n=sl.count(), s=sl.max("s"))

    updated = of(0, 100).key_by("k").aggregate(**wanted)
    final = of(100, 0).key_by("k").aggregate(**wanted)
    sink = memory.table_sink()
    sl.Flow("f", updated.write(sink, name="o")).collect()
    check(updated.collect(), by_key(final.collect()), wanted)


# --------------------------------------------------------------------------- mistakes


def test_what_can_not_be_computed_is_refused_when_bound_with_what_to_do():
    plain = sl.read(memory.source([{"v": 1, "s": "x"}]), name="plain")
    running = plain.key_by("s").aggregate(n=sl.count()).key_by("s")
    timed = (
        read(example()).key_by("k").window(windows.tumbling(50), allowed_lateness=9).aggregate(n=sl.count())
    )
    cases = [
        (plain, sl.first("v"), DefinitionError, 'order="arrival"'),
        (timed, sl.last("n", order="arrival"), DefinitionError, "can't take rows back"),
        (running, sl.approx_count_distinct("n"), DefinitionError, "count_distinct"),
        (plain, sl.median("s"), TypeMismatchError, "a number"),
        (plain, sl.var("s"), TypeMismatchError, "a number"),
        (plain, sl.any("v"), TypeMismatchError, "type bool"),
        (plain, sl.count(filter=col("v")), TypeMismatchError, "type bool"),
    ]
    for stream, aggregate, error, text in cases:
        with pytest.raises(error, match=text):
            stream.aggregate(x=aggregate).collect()
    for wrong in (
        lambda: sl.quantile("v", 2),
        lambda: sl.var("v", ddof=-1),
        lambda: sl.collect("v", limit=0),
    ):
        with pytest.raises(DefinitionError):
            wrong()
    with pytest.raises(TypeMismatchError, match="is a condition"):
        sl.count(filter="v > 1")  # type: ignore[arg-type]


def test_a_plan_says_what_grows_and_what_hangs_on_the_order_of_arrival():
    keyed = read(example()).key_by("k")
    stream = keyed.aggregate(m=sl.median("i"), l=sl.last("s", order="arrival"), c=sl.collect("s", limit=3))
    text = sl.Flow("f", stream.write(memory.table_sink(), name="o")).explain()
    assert "keeps the values of col('i') of every row" in text
    assert "order-sensitive: l: the last row that arrives" in text
