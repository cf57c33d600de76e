"""Operators: both spellings, hidden event times, user functions gone wrong, and what errors say."""

from __future__ import annotations

import inspect
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toolz import compose_left, pipe

import streamlib as sl
from streamlib import col, windows
from streamlib import operators as op
from streamlib.connectors import memory
from streamlib.core.errors import (
    DefinitionError,
    StreamlibError,
    TypeMismatchError,
    UnknownColumnError,
    UserFunctionError,
)

ROWS = [
    {"at": 1, "key": "a", "price": 3, "flag": True},
    {"at": 2, "key": None, "price": 5, "flag": None},
    {"at": 11, "key": "b", "price": None, "flag": False},
    {"at": 12, "key": "a", "price": 7, "flag": True},
]
SCHEMA = pa.schema([("at", pa.int64()), ("key", pa.string()), ("price", pa.int64()), ("flag", pa.bool_())])
ROW = {"at": pa.int64(), "price": pa.int64(), "__row__": pa.int32()}


def rows(
    data: Any = ROWS, schema: pa.Schema | None = SCHEMA, *, name: str = "rows", chunk: int = 3
) -> sl.Stream:
    return sl.read(
        memory.source(data, schema, chunk_rows=chunk),
        name=name,
        event_time="at",
        watermark=sl.monotone(),
        max_ahead=None,
    )


def timeless(data: Any = ROWS, schema: pa.Schema | None = SCHEMA) -> sl.Stream:
    return sl.read(memory.source(data, schema), name="timeless")


def per_ten(stream: sl.Stream) -> list[tuple[int, int]]:
    """(window start, rows) of 10-microsecond windows: where the hidden event times put the rows."""
    found = stream.window(windows.tumbling(10)).aggregate(n=sl.count()).collect()
    return list(zip(found["window_start"].cast(pa.int64()).to_pylist(), found["n"].to_pylist(), strict=True))


def fluent(stream: sl.Stream, name: str, *args: Any, **options: Any) -> Any:
    return getattr(stream, name)(*args, **options)


def piped(stream: sl.Stream, name: str, *args: Any, **options: Any) -> Any:
    return pipe(stream, getattr(op, name)(*args, **options))


def composed(stream: sl.Stream, name: str, *args: Any, **options: Any) -> Any:
    return compose_left(lambda s: s, getattr(op, name)(*args, **options))(stream)


@pytest.fixture(params=[fluent, piped, composed], ids=["fluent", "toolz.pipe", "toolz.compose_left"])
def apply(request):
    return request.param


def double(record):
    return {"key": record["key"], "twice": None if record["price"] is None else 2 * record["price"]}


# --------------------------------------------------------------------------- what they do


def test_select_keeps_the_named_columns_and_expressions_in_their_order(apply):
    found = apply(
        rows(), "select", "price", col("key"), (col("price") * 2).alias("twice"), more=col("price") + 1
    )
    table = found.collect()
    assert table.column_names == ["price", "key", "twice", "more"]
    assert table["twice"].to_pylist() == [6, 10, None, 14]
    assert table["more"].to_pylist() == [4, 6, None, 8]


def test_with_columns_adds_and_replaces_in_place(apply):
    table = apply(rows(), "with_columns", price=col("price") * 10, extra=sl.event_time()).collect()
    assert table.column_names == ["at", "key", "price", "flag", "extra"]
    assert table["price"].to_pylist() == [30, 50, None, 70]
    assert table["extra"].cast(pa.int64()).to_pylist() == [1, 2, 11, 12]


def test_filter_keeps_true_and_drops_false_and_null(apply):
    assert apply(rows(), "filter", col("flag")).collect()["at"].to_pylist() == [1, 12]
    assert apply(rows(), "filter", col("price") > 4).collect()["at"].to_pylist() == [2, 12]
    assert apply(rows(), "filter", sl.lit(False)).collect().num_rows == 0


def test_map_gives_a_record_for_a_record(apply):
    found = apply(rows(), "map", double, schema={"key": pa.string(), "twice": pa.int64()}).collect()
    assert found.to_pylist()[:2] == [{"key": "a", "twice": 6}, {"key": None, "twice": 10}]
    assert found["twice"].to_pylist() == [6, 10, None, 14]


def test_map_batches_gets_whole_columns(apply):
    def negate(batch):
        return batch.set_column(
            2, "price", pa.array([None if p is None else -p for p in batch["price"].to_pylist()], pa.int64())
        )

    assert apply(rows(), "map_batches", negate).collect()["price"].to_pylist() == [-3, -5, None, -7]


def test_key_by_leaves_the_rows_and_null_is_a_key_of_its_own(apply):
    keyed = apply(rows(), "key_by", "key")
    assert keyed.collect().to_pylist() == ROWS
    found = keyed.window(windows.tumbling(100)).aggregate(n=sl.count()).collect()
    assert dict(zip(found["key"].to_pylist(), found["n"].to_pylist(), strict=True)) == {
        "a": 2,
        None: 1,
        "b": 1,
    }


def test_split_sends_false_and_null_to_the_rest(apply):
    yes, rest = apply(rows(), "split", col("flag"))
    assert yes.collect()["at"].to_pylist() == [1, 12]
    assert rest.collect()["at"].to_pylist() == [2, 11]
    assert yes != rest


def test_union_has_the_rows_of_all_inputs(apply):
    found = apply(rows(), "union", rows(name="second"), rows(name="third")).collect()
    assert sorted(found["at"].to_pylist()) == sorted(3 * [1, 2, 11, 12])


def test_a_union_with_itself_doubles_the_rows_once_in_each_window():
    stream = rows()
    assert per_ten(stream.union(stream)) == [(0, 4), (10, 4)]


def test_a_custom_operator_is_a_composition_and_equals_the_long_form():
    busy = compose_left(op.filter(col("price") > 1), op.key_by("key"), op.window(windows.tumbling(10)))
    total = compose_left(busy, op.aggregate(n=sl.count(), top=sl.max("price")))
    long = (
        rows()
        .filter(col("price") > 1)
        .key_by("key")
        .window(windows.tumbling(10))
        .aggregate(n=sl.count(), top=sl.max("price"))
    )
    assert pipe(rows(), total) == long == rows().pipe(total)
    assert total(rows()).collect().equals(long.collect())


@given(
    data=st.lists(st.tuples(st.integers(0, 50), st.one_of(st.none(), st.integers(-9, 9))), max_size=30),
    chunk=st.integers(1, 31),
)
def test_stateless_operators_do_not_see_how_rows_are_cut(data, chunk):
    table = pa.table(
        {"at": [t for t, _ in data], "v": pa.array([v for _, v in data], pa.int64())},
        pa.schema([("at", pa.int64()), ("v", pa.int64())]),
    )
    stream = (
        rows(table, None, chunk=chunk).filter(col("v") > -5).with_columns(w=col("v") * 2).select("at", "w")
    )
    assert stream.collect().to_pylist() == [
        {"at": t, "w": 2 * v} for t, v in data if v is not None and v > -5
    ]


# --------------------------------------------------------------------------- hidden event times


def reordered(batch):
    return batch.take(pa.array(range(batch.num_rows - 1, -1, -1))).select(["at", "price", "__row__"])


def dropped(batch):
    return batch.filter(pa.array([i % 2 == 0 for i in range(batch.num_rows)])).select(
        ["at", "price", "__row__"]
    )


def duplicated(batch):
    return batch.take(pa.array([i for i in range(batch.num_rows) for _ in range(3)])).select(
        ["at", "price", "__row__"]
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s: s.select("price"), [(0, 2), (10, 2)]),
        (lambda s: s.with_columns(at=sl.lit(77)), [(0, 2), (10, 2)]),
        (lambda s: s.filter(col("price") > 4), [(0, 1), (10, 1)]),
        (lambda s: s.split(col("flag"))[1], [(0, 1), (10, 1)]),
        (lambda s: s.map(double, schema={"key": pa.string(), "twice": pa.int64()}), [(0, 2), (10, 2)]),
        (lambda s: s.map_batches(lambda b: b.drop_columns(["__row__"])), [(0, 2), (10, 2)]),
        (lambda s: s.map_batches(reordered, schema=ROW), [(0, 2), (10, 2)]),
        (lambda s: s.map_batches(dropped, schema=ROW), [(0, 1), (10, 2)]),
        (lambda s: s.map_batches(duplicated, schema=ROW), [(0, 6), (10, 6)]),
        (lambda s: s.union(rows(name="other")), [(0, 4), (10, 4)]),
    ],
    ids=[
        "select",
        "with_columns",
        "filter",
        "split",
        "map",
        "map_batches",
        "reorder",
        "drop",
        "duplicate",
        "union",
    ],
)
def test_event_times_stay_with_their_rows(change, expected):
    assert per_ten(change(rows())) == expected


@pytest.mark.parametrize("order", [reordered, dropped, duplicated])
def test_every_returned_row_has_the_event_time_of_the_row_it_came_from(order):
    found = rows().map_batches(order, schema=ROW).with_columns(time=sl.event_time()).collect()
    assert found.column_names == ["at", "price", "time"]
    assert found["time"].cast(pa.int64()).to_pylist() == found["at"].to_pylist()


def test_rows_may_be_numbered_by_any_integers():
    def unsigned(batch):
        column = batch["__row__"].cast(pa.uint64())
        return pa.table({"price": batch["price"], "__row__": column})

    stream = rows().map_batches(unsigned, schema={"price": pa.int64(), "__row__": pa.int32()})
    assert per_ten(stream) == [(0, 2), (10, 2)]


def test_a_function_may_return_no_rows():
    stream = rows().map_batches(lambda b: b.slice(0, 0), schema=pa.schema([*SCHEMA, ("__row__", pa.int32())]))
    assert stream.collect().num_rows == 0
    assert stream.collect().schema.names == SCHEMA.names


# --------------------------------------------------------------------------- nothing at all


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.select("price"),
        lambda s: s.with_columns(x=col("price") + 1),
        lambda s: s.filter(col("flag")),
        lambda s: s.split(col("flag"))[1],
        lambda s: s.map(double, schema={"key": pa.string(), "twice": pa.int64()}),
        lambda s: s.map_batches(lambda b: b),
        lambda s: s.union(rows(ROWS[:0], name="also_empty")),
        lambda s: s.key_by("key").window(windows.tumbling(10)).aggregate(n=sl.count()),
    ],
)
def test_no_rows_give_no_rows_of_the_promised_columns(change):
    for stream in (change(rows([])), change(rows().filter(sl.lit(False)))):
        found = stream.collect()
        assert found.num_rows == 0
        bound = sl.Flow("f", stream.write(memory.sink(), name="out")).bind()
        assert found.schema == bound.writes()["out"][0].input_types[0].schema


# --------------------------------------------------------------------------- errors


def line_here() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def failing(stream: sl.Stream, kind: type[Exception], operator: str, line: int) -> str:
    """The text of the error of collecting, after checking that all four parts are there."""
    with pytest.raises(kind) as caught:
        stream.collect()
    error = caught.value
    assert isinstance(error, StreamlibError)
    text = str(error)
    assert f"in operator {operator!r} (test_operators.py:{line})" in text
    for part in ("expected:", "found:", "to do:"):
        assert part in text
    return text


@pytest.mark.parametrize(
    ("operator", "change"),
    [
        ("select", lambda s: s.select("prize")),
        ("select", lambda s: s.select(x=sl.lit(1) + col("prize"))),
        ("with_columns", lambda s: s.with_columns(x=col("prize") * 2)),
        ("filter", lambda s: s.filter(col("prize") > 1)),
        ("split", lambda s: s.split(col("prize") > 1)[0]),
        ("key_by", lambda s: s.key_by("prize")),
        ("aggregate", lambda s: s.window(windows.tumbling(9)).aggregate(x=sl.sum("prize"))),
        ("aggregate", lambda s: s.window(windows.tumbling(9)).aggregate(x=sl.count(col("prize") + 1))),
    ],
)
def test_a_typo_in_a_column_is_answered_with_the_closest_name(operator, change):
    line = change.__code__.co_firstlineno
    text = failing(change(rows()), UnknownColumnError, operator, line)
    assert "did you mean 'price'?" in text


def test_a_typo_in_the_event_time_is_answered_at_the_source():
    line = line_here() + 1
    stream = sl.read(memory.source(ROWS), name="bids", event_time="att", watermark=sl.monotone())
    assert "did you mean 'at'?" in failing(stream, UnknownColumnError, "bids", line)


def test_through_toolz_the_line_is_the_users_too():
    line = line_here() + 1
    stream = pipe(rows(), op.filter(col("prize") > 1))
    failing(stream, UnknownColumnError, "filter", line)


def test_keys_must_be_columns_of_a_type_with_equality():
    line = line_here() + 1
    stream = rows([{"at": 1, "tags": ["x"]}], None).key_by("tags")
    assert "list<" in failing(stream, TypeMismatchError, "key_by", line)
    with pytest.raises(DefinitionError, match="keyed by columns"):
        rows().key_by()
    with pytest.raises(DefinitionError, match="different column names"):
        rows().key_by("key", "key")
    with pytest.raises(DefinitionError, match="compute an expression with `with_columns`"):
        rows().key_by(col("price") + 1)


def test_a_key_that_was_dropped_or_changed_is_missed_where_it_is_needed():
    line = line_here() + 1
    stream = rows().key_by("key").select("price").window(windows.tumbling(9)).aggregate(n=sl.count())
    assert "no column 'key'" in failing(stream, UnknownColumnError, "aggregate", line)
    listed = rows().key_by("key").map(lambda r: {"key": [r["key"]]}, schema={"key": pa.list_(pa.string())})
    line = line_here() + 1
    stream = listed.window(windows.tumbling(9)).aggregate(n=sl.count())
    assert "can't be a key" in failing(stream, TypeMismatchError, "aggregate", line)
    with pytest.raises(DefinitionError, match="can't be replaced"):
        rows().key_by("key").with_columns(key=col("price")).collect()


def test_a_union_of_other_columns_is_refused():
    line = line_here() + 1
    stream = rows().union(rows(name="other").select("at", "price"))
    text = failing(stream, TypeMismatchError, "union", line)
    assert "found:    at int64, price int64" in text
    with pytest.raises(TypeMismatchError, match="input 3"):
        rows().union(rows(name="b"), rows(name="c").with_columns(price=col("price") * 1.5)).collect()
    with pytest.raises(TypeMismatchError, match="only streams"):
        rows().union("bids")


def test_a_union_takes_columns_that_differ_in_nothing_but_whether_nulls_are_ruled_out(tmp_path):
    counts = rows().key_by("key").window(windows.tumbling(10)).aggregate(n=sl.count())
    copy = rows(name="b").key_by("key").window(windows.tumbling(10)).aggregate(n=sl.count())
    same = copy.select("key", "window_start", "window_end", "n")  # computed columns may hold nulls
    for union in (counts.union(same), same.union(counts)):
        sink = memory.sink()
        sl.Flow("f", union.write(sink, name="out")).run(
            state=str(tmp_path / repr(union)[-17:-1]), progress="none"
        )
        assert sink.table().num_rows == union.collect().num_rows == 2 * counts.collect().num_rows


def test_a_union_with_a_stream_without_event_time_has_none():
    assert rows().union(timeless()).collect().num_rows == 8
    with pytest.raises(sl.StreamlibError, match="needs event time"):
        per_ten(rows().union(timeless()))


def test_two_columns_of_one_name_are_refused():
    line = line_here() + 1
    stream = rows().select("price", price=col("at"))
    failing(stream, DefinitionError, "select", line)
    line = line_here() + 1
    stream = rows().with_columns(col("at").alias("x"), col("price").alias("x"))
    failing(stream, DefinitionError, "with_columns", line)
    with pytest.raises(DefinitionError, match="no columns"):
        rows().select()


def test_what_is_no_expression_condition_window_or_function_is_refused_where_it_is_written():
    line = line_here() + 1
    failing(rows().filter(col("price") + 1), TypeMismatchError, "filter", line)
    for wrong in (lambda: rows().filter(True), lambda: rows().select(3), lambda: rows().with_columns(x=1.5)):
        with pytest.raises(TypeMismatchError, match="not an expression"):
            wrong()
    with pytest.raises(TypeMismatchError, match="not a function"):
        rows().map(3, schema={"x": pa.int64()})
    with pytest.raises(TypeMismatchError, match="not a window"):
        rows().window("1h")
    with pytest.raises(TypeMismatchError, match="only a stream can be aggregated"):
        op.aggregate(n=sl.count())("rows")
    with pytest.raises(DefinitionError, match="named aggregates"):
        rows().window(windows.tumbling(9)).aggregate()
    with pytest.raises(DefinitionError, match="an aggregate takes a column"):
        sl.sum(3)
    with pytest.raises(DefinitionError, match="has no output 'lte'"):
        rows().output("lte")


# --------------------------------------------------------------------------- user functions


def fails_at_seven(record):
    return {"x": 1 // (record["price"] - 7)} if record["price"] is not None else {"x": 0}


def test_the_users_exception_keeps_its_type_and_names_operator_row_and_line():
    line = line_here() + 1
    stream = rows(chunk=100).map(fails_at_seven, schema={"x": pa.int64()})
    with pytest.raises(ZeroDivisionError) as caught:
        stream.collect()
    notes = "\n".join(caught.value.__notes__)
    assert "fails_at_seven mapped row 3: {'at': 12" in notes
    assert f"in operator 'map' (test_operators.py:{line})" in notes
    line = line_here() + 1
    stream = rows(chunk=100).map_batches(lambda batch: batch["nothing"])
    with pytest.raises(KeyError) as caught_key:
        stream.collect()
    notes = "\n".join(caught_key.value.__notes__)
    assert "mapped a batch of 4 rows" in notes
    assert f"in operator 'map_batches' (test_operators.py:{line})" in notes


NOT_NULL = pa.schema([pa.field("x", pa.int64(), nullable=False)])


@pytest.mark.parametrize(
    ("returned", "schema", "found"),
    [
        (None, {"x": pa.int64()}, "None for row 0"),
        ([1], {"x": pa.int64()}, "[1] for row 0"),
        ({}, {"x": pa.int64()}, "{} for row 0"),
        ({"x": 1, "y": 2}, {"x": pa.int64()}, "'y': 2"),
        ({"y": 2}, {"x": pa.int64()}, "{'y': 2}"),
        ({"x": "one"}, {"x": pa.int64()}, "'one' in row 0"),
        ({"x": 1.5}, {"x": pa.int64()}, "1.5 in row 0"),
        ({"x": Decimal("1.5")}, {"x": pa.int64()}, "Decimal('1.5') in row 0"),
        ({"x": 1.5}, {"x": pa.timestamp("us")}, "1.5 in row 0"),
        ({"x": 300}, {"x": pa.int8()}, "300 in row 0"),
        ({"x": 2**70}, {"x": pa.int64()}, f"{2**70} in row 0"),
        ({"x": object()}, {"x": pa.string()}, "object"),
        ({"x": 5}, {"x": pa.string()}, "5 in row 0"),
        ({"x": None}, NOT_NULL, "None in row 0"),
    ],
)
def test_a_record_that_is_not_of_the_schema_is_refused(returned, schema, found):
    line = line_here() + 1
    stream = rows().map(lambda record: returned, schema=schema)
    assert found in failing(stream, UserFunctionError, "map", line)


@pytest.mark.parametrize(
    ("function", "schema", "found"),
    [
        (lambda b: 3, None, "3"),
        (lambda b: None, None, "None"),
        (lambda b: b.to_pylist(), None, "[{"),
        (lambda b: b.slice(1).drop_columns(["__row__"]), None, "2 rows without __row__"),
        (lambda b: b.drop_columns(["price"]), None, "columns at, key, flag, __row__"),
        (lambda b: b.append_column("extra", b["price"]), None, "__row__, extra"),
        (lambda b: b.append_column("price", b["price"]), None, "__row__, price"),
        (lambda b: b.drop_columns(["__row__", "key", "flag"]), ROW, "columns at, price"),
        (
            lambda b: b.set_column(1, "key", b["price"].fill_null(0)).set_column(
                2, "price", pa.array(["x"] * 3)
            ),
            None,
            "price: string",
        ),
        (lambda b: b.set_column(4, "__row__", pa.array(["a", "b", "c"])), None, "__row__ of type string"),
        (lambda b: b.set_column(4, "__row__", pa.nulls(3)), None, "__row__ of type null"),
        (lambda b: b.set_column(4, "__row__", pa.array([0, None, 1])), None, "with 1 nulls"),
        (lambda b: b.set_column(4, "__row__", pa.array([0, 1, 3])), None, "__row__ from 0 to 3"),
        (lambda b: b.set_column(4, "__row__", pa.array([-1, 0, 1])), None, "__row__ from -1 to 1"),
    ],
)
def test_a_batch_that_can_not_be_used_is_refused(function, schema, found):
    line = line_here() + 1
    stream = rows(ROWS[:3]).map_batches(function, schema=schema)
    assert found in failing(stream, UserFunctionError, "map_batches", line)


def test_a_batch_function_may_return_a_table_and_types_that_convert():
    def narrow(batch):
        return pa.table({"price": batch["price"].cast(pa.int8())})

    assert rows().map_batches(narrow, schema={"price": pa.int64()}).collect()["price"].to_pylist() == [
        3,
        5,
        None,
        7,
    ]


def test_explain_says_where_the_order_of_rows_is_trusted():
    def plan(stream):
        return sl.Flow("f", stream.write(memory.sink(), name="out")).explain()

    assert "order trusted" in plan(rows().map_batches(lambda b: b))
    assert "order trusted" not in plan(rows().map_batches(reordered, schema=ROW))
