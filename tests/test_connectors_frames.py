"""Frames of other libraries as sources, and results that go back into them without copies."""

from __future__ import annotations

import dataclasses

import duckdb
import msgspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import windows
from streamlib.connectors import memory
from streamlib.core.errors import DefinitionError, TypeMismatchError, UnknownColumnError, UserFunctionError

ROWS = [
    {"at": i * 400_000, "city": "Oslo" if i % 3 else "Rome", "price": float(i), "tags": [str(i)]}
    for i in range(40)
]
POLARS = pl.DataFrame(ROWS)


class OneBatch:
    """What speaks Arrow a batch at a time."""

    def __arrow_c_array__(self, requested_schema=None):
        return POLARS.to_arrow().combine_chunks().to_batches()[0].__arrow_c_array__(requested_schema)


@dataclasses.dataclass
class Sale:
    at: int
    city: str
    price: float
    tags: list[str]


class SaleStruct(msgspec.Struct):
    at: int
    city: str
    price: float
    tags: list[str]


FRAMES = {
    "polars": POLARS,
    "categories": POLARS.with_columns(pl.col("city").cast(pl.Categorical)),
    "pandas": POLARS.to_pandas(use_pyarrow_extension_array=True),
    "pandas_objects": POLARS.to_pandas(),
    "duckdb": lambda: duckdb.from_arrow(POLARS.to_arrow()),
    "reader": lambda: POLARS.to_arrow().to_reader(),
    "table": POLARS.to_arrow(),
    "batch": OneBatch(),
    "dataclass": [Sale(**row) for row in ROWS],
    "struct": [SaleStruct(**row) for row in ROWS],
}


@pytest.mark.parametrize("kind", FRAMES)
def test_frames_of_every_library_give_the_same_windows(kind):
    frame = FRAMES[kind]() if callable(FRAMES[kind]) else FRAMES[kind]

    def result(rows) -> list[dict]:
        sales = sl.read(memory.source(rows), name="sales", event_time="at", watermark=sl.monotone())
        dear = sales.filter(sl.col("price") > 5).key_by("city")
        found = dear.window(windows.tumbling("2s")).aggregate(n=sl.count(), total=sl.sum("price")).collect()
        return sorted(found.to_pylist(), key=lambda row: (row["window_start"], row["city"]))

    assert result(frame) == result(ROWS)


@pytest.mark.parametrize("kind", FRAMES)
def test_functions_per_record_see_texts_and_lists_of_every_library(kind):
    frame = FRAMES[kind]() if callable(FRAMES[kind]) else FRAMES[kind]
    texts = sl.read(memory.source(frame), name="sales").map(
        lambda row: {"text": f"{row['city']} {list(row['tags'])}"}, schema={"text": pa.string()}
    )
    assert texts.filter(sl.col("text") != "").collect()["text"].to_pylist() == [
        f"{row['city']} {row['tags']}" for row in ROWS
    ]


def test_numbers_of_a_frame_are_read_and_given_back_where_they_lie():
    frame = pl.DataFrame({"n": range(1000)})
    result = sl.read(memory.source(frame), name="numbers").collect()
    address = result["n"].chunk(0).buffers()[1].address
    assert address == frame.to_arrow()["n"].chunk(0).buffers()[1].address
    assert pl.from_arrow(result).to_arrow()["n"].chunk(0).buffers()[1].address == address
    assert duckdb.sql("SELECT sum(n) FROM result").fetchall() == [(499_500,)]
    assert result.to_pandas()["n"].sum() == 499_500


def test_an_index_of_pandas_is_a_column_where_it_has_a_name():
    frame = pd.DataFrame({"n": [1, 2]})
    assert memory.source(frame).schema().names == memory.source(frame[frame["n"] > 1]).schema().names == ["n"]
    assert memory.source(frame.set_index(pd.Index([5, 6], name="id"))).schema().names == ["n", "id"]


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: memory.source(POLARS.lazy()), DefinitionError, r"collect\(\)"),
        (lambda: memory.source(POLARS["city"]), DefinitionError, "not rows"),
        (
            lambda: memory.source([{"a": 1.5}], {"a": pa.int64()}),
            TypeMismatchError,
            "1.5 in row 0, column 'a'",
        ),
        (lambda: memory.source([{"a": 1}], Sale), UnknownColumnError, "'a'"),
        (lambda: memory.source([Sale(1, "x", 1.0, []), 3]), (UserFunctionError, DefinitionError), "3"),
        (lambda: memory.source([Sale("x", "x", 1.0, [])]), TypeMismatchError, "'x' in row 0, column 'at'"),
    ],
)
def test_what_is_no_frame_and_values_that_do_not_fit_are_named(make, error, says):
    with pytest.raises(error, match=says):
        make()
