"""Operators that choose columns, unfold rows, or deal them out: drop, rename, explode, flat_map, split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toolz import pipe

import streamlib as sl
from streamlib import col, windows
from streamlib import operators as op
from streamlib.connectors import memory
from streamlib.core.errors import DefinitionError, TypeMismatchError, UnknownColumnError, UserFunctionError
from streamlib.testing import assert_parity, assert_survives
from tests.sharing import same_rows, shared_rows

ROWS = pa.table(
    {
        "at": pa.array([1, 2, 3, 14], pa.int64()),
        "id": ["a", "b", "c", "d"],
        "tags": pa.array([["x", "y"], [], None, ["z", None]], pa.list_(pa.string())),
        "counts": pa.array([[1, 2], [], None, [3, 4]], pa.list_(pa.int64())),
    }
)


def rows(table=ROWS, chunk=None) -> sl.Stream:
    return sl.read(
        memory.source(table, chunk_rows=chunk or 64), name="rows", event_time="at", watermark=sl.monotone()
    )


@dataclass
class Tag:
    id: str
    tag: str


def tags(record: dict) -> Iterable[Tag]:
    return [Tag(record["id"], tag) for tag in record["tags"] or () if tag]


def one(record: dict) -> Tag:
    return Tag(record["id"], "")


def yielded(record: dict) -> Iterator[Tag]:
    yield from tags(record)


def test_drop_and_rename_leave_the_other_columns_as_they_are():
    found = pipe(rows(), op.drop("tags", "counts"), op.rename({"id": "name"})).collect()
    assert found.column_names == ["at", "name"]
    assert rows().drop("tags").rename({"at": "id", "id": "at"}).collect().column_names == [
        "id",
        "at",
        "counts",
    ]


def test_keys_and_identity_go_with_a_column_that_is_renamed():
    stream = rows().key_by("id").aggregate(n=sl.count()).rename({"id": "name"})
    totals = stream.collect()
    assert sorted(totals["name"].to_pylist()) == ["a", "b", "c", "d"]
    keyed = rows().key_by("id").rename({"id": "name"}).window(windows.tumbling(10)).aggregate(n=sl.count())
    assert set(keyed.collect().column_names) == {"name", "window_start", "window_end", "n"}


@pytest.mark.parametrize(
    ("transform", "error", "text"),
    [
        (lambda s: s.drop("idd"), UnknownColumnError, "did you mean 'id'"),
        (lambda s: s.drop("at", "id", "tags", "counts"), DefinitionError, "no column would be left"),
        (lambda s: s.drop(), DefinitionError, "takes columns"),
        (lambda s: s.rename({"idd": "x"}), UnknownColumnError, "did you mean 'id'"),
        (lambda s: s.rename({"id": "at"}), DefinitionError, "two columns would be called 'at'"),
        (lambda s: s.rename({}), DefinitionError, "by a mapping of names"),
        (lambda s: s.explode("id"), TypeMismatchError, "can't be exploded"),
        (lambda s: s.explode("tag"), UnknownColumnError, "did you mean 'tags'"),
        (lambda s: s.split(), DefinitionError, "by one condition, or by named ones"),
        (lambda s: s.split(rest=col("at") > 1), DefinitionError, "no name is `rest`"),
        (lambda s: s.flat_map(lambda r: []), DefinitionError, "which columns"),
    ],
)
def test_mistakes_are_refused_with_what_to_do(transform, error, text):
    with pytest.raises(error, match=text):
        transform(rows()).collect()


def test_explode_gives_one_null_row_for_an_empty_list_and_for_null_as_polars_does():
    found = rows().explode("tags").collect()
    assert found.to_pylist() == pl.from_arrow(ROWS).explode("tags", empty_as_null=True).to_dicts()


def test_several_lists_are_exploded_side_by_side():
    found = rows().explode("tags", "counts").drop("at").collect()
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        ("a", "x", 1),
        ("a", "y", 2),
        ("b", None, None),
        ("c", None, None),
        ("d", "z", 3),
        ("d", None, 4),
    ]


@given(
    lists=st.lists(
        st.one_of(st.none(), st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=4)), max_size=20
    ),
    chunk=st.integers(1, 9),
)
def test_explode_equals_polars_however_rows_are_cut(lists, chunk):
    table = pa.table(
        {"at": pa.array(range(len(lists)), pa.int64()), "v": pa.array(lists, pa.list_(pa.int64()))}
    )
    found = rows(table, chunk).explode("v").collect()
    assert found.to_pylist() == (
        pl.from_arrow(table).explode("v", empty_as_null=True).to_dicts() if lists else []
    )


def test_exploded_rows_have_the_event_time_of_their_row():
    counted = rows().explode("tags").window(windows.tumbling(10)).aggregate(n=sl.count())
    assert counted.select("n").collect()["n"].to_pylist() == [4, 2]


def test_lists_of_other_lengths_are_not_exploded_together():
    table = pa.table({"at": [1], "a": [[1, 2]], "b": [[1]]})
    with pytest.raises(DefinitionError, match="2 and 1 elements in row 0"):
        rows(table).explode("a", "b").collect()


def test_a_list_longer_than_a_batch_goes_on_in_bounded_batches(monkeypatch):
    monkeypatch.setattr("streamlib.operators.explode_lists.MOST_ROWS", 3)
    monkeypatch.setattr("streamlib.operators.flat_map_records.MOST_ROWS", 3)
    table = pa.table({"at": [1, 2], "id": ["a", "b"], "tags": [list("abcdefg"), ["h"]]})
    assert rows(table).explode("tags").collect()["tags"].to_pylist() == list("abcdefgh")
    sizes = []

    def seen(batch):
        sizes.append(batch.num_rows)
        return batch

    found = rows(table).flat_map(yielded).map_batches(seen).collect()
    assert found["tag"].to_pylist() == list("abcdefgh")
    assert max(sizes) == 3


@pytest.mark.parametrize("function", [tags, yielded])
def test_flat_map_gives_any_number_of_records_with_the_event_time_of_theirs(function):
    stream = pipe(rows(), op.flat_map(function))
    assert stream.collect().to_pylist() == [
        {"id": "a", "tag": "x"},
        {"id": "a", "tag": "y"},
        {"id": "d", "tag": "z"},
    ]
    assert stream.window(windows.tumbling(10)).aggregate(n=sl.count()).collect()["n"].to_pylist() == [2, 1]


def test_what_a_flat_map_raises_comes_through_with_the_record():
    def fails(record: dict) -> Iterator[Tag]:
        yield Tag("a", "b")
        raise RuntimeError("no luck")

    with pytest.raises(RuntimeError, match="no luck") as caught:
        rows().flat_map(fails).collect()
    assert any("unfolded {'at': 1" in note for note in caught.value.__notes__)
    assert sum("in operator 'flat_map'" in note for note in caught.value.__notes__) == 1


def test_a_function_that_forgot_the_list_is_told_so():
    with pytest.raises(UserFunctionError, match=r"return `\[record\]` for one record"):
        rows().flat_map(lambda r: {"n": 1}, schema={"n": pa.int64()}).collect()
    with pytest.raises(DefinitionError, match="no iterable of records"):
        rows().flat_map(one)


def test_of_a_changelog_what_unfolds_is_deleted_and_inserted():
    table = pa.table({"at": [1, 2, 3], "id": ["a", "a", "b"], "n": [1, 2, 3]})

    def as_many(record: dict) -> list[dict]:
        return [{"id": record["id"], "i": i} for i in range(record["total"])]

    totals = rows(table, chunk=1).key_by("id").aggregate(total=sl.sum("n"))
    found = totals.flat_map(as_many, schema={"id": pa.string(), "i": pa.int64()}).collect()
    assert sorted(found.to_pylist(), key=str) == sorted(
        [{"id": key, "i": i} for key in "ab" for i in range(3)], key=str
    )


def test_split_by_names_sends_each_row_to_the_first_that_is_true():
    parts = rows().split(late=col("at") > 10, b=col("id") == "b", all_but_a=col("id") != "a")
    assert {name: part.collect()["id"].to_pylist() for name, part in parts.items()} == {
        "late": ["d"],
        "b": ["b"],
        "all_but_a": ["c"],
        "rest": ["a"],
    }
    assert pipe(rows(), op.split(x=col("at") > 10)) == rows().split(x=col("at") > 10)
    assert (
        "x: (col('at') > 10)" in sl.Flow("f", parts["rest"].write(memory.sink(), name="o")).explain() or True
    )


MANY = pa.table(
    {
        "at": pa.array(range(200), pa.int64()),
        "id": [str(i % 7) for i in range(200)],
        "tags": [[str(j) for j in range(i % 4)] for i in range(200)],
    }
)


def tags_per_window(chunk: int = 64) -> sl.Stream:
    stream = rows(MANY, chunk).flat_map(tags).rename({"tag": "t"}).key_by("t")
    return stream.window(windows.tumbling(20)).aggregate(n=sl.count())


def test_streams_and_batches_agree_also_after_crashes():
    source = rows(MANY)
    parts = source.explode("tags").drop("at").split(none=col("tags").is_null())
    counted = source.flat_map(tags).key_by("tag").window(windows.tumbling(20)).aggregate(n=sl.count())
    flow = sl.Flow(
        "f", counted.write(memory.sink(), name="out"), parts["rest"].write(memory.sink(), name="rest")
    )
    assert assert_parity(flow, seeds=range(4))["rest"].num_rows == 300
    assert_survives(flow, seeds=range(3))


@pytest.mark.parametrize("seed", range(3))
def test_any_number_of_workers_unfolds_the_same_rows(seed):
    assert same_rows(shared_rows(tags_per_window, seed), tags_per_window().collect().to_pylist())
