"""`top`: of every window the largest rows, whatever batches, keys and windows there are."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col, windows
from streamlib.connectors import memory
from streamlib.core.batch import Batch
from streamlib.core.errors import DefinitionError, TypeMismatchError, UnknownColumnError
from streamlib.operators import top

SCHEMA = {"at": "int64", "key": "int64", "value": "int64"}
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "at": st.integers(-30, 60),
            "key": st.one_of(st.none(), st.integers(0, 5), st.sampled_from([10**9, -(10**12)])),
            "value": st.one_of(st.none(), st.integers(-3, 3)),
        }
    ),
    max_size=40,
)
AGGREGATES = {
    "n": sl.count(),
    "values": sl.count("value"),
    "total": sl.sum("value"),
    "least": sl.min("value"),
    "most": sl.max("value"),
    "mean": sl.mean("value"),
}


def read(rows: list[dict[str, Any]], chunk: int = 7) -> sl.Stream:
    source = memory.source(rows, schema={name: pa.int64() for name in SCHEMA}, chunk_rows=chunk)
    return sl.read(source, name="rows", event_time="at", watermark=sl.bounded_disorder(100))


def ranked(results: list[dict[str, Any]], n: int, by: str) -> list[dict[str, Any]]:
    """The same in plain Python."""
    found = defaultdict(list)
    for row in results:
        found[row["window_end"], row["window_start"]].append(row)

    def rank(row: dict[str, Any]) -> Any:
        value, key = row[by], row["key"]
        return value is None, -(value or 0), key is None, key or 0

    return [row for window in sorted(found) for row in sorted(found[window], key=rank)[:n]]


@pytest.mark.parametrize("by", list(AGGREGATES))
@given(
    rows=ROWS,
    size=st.sampled_from([7, 10, 20]),
    every=st.sampled_from([1, 5, 10, 15]),
    n=st.sampled_from([1, 2, 3, 50]),
    chunk=st.sampled_from([1, 7, 100]),
)
def test_the_largest_rows_of_every_window_are_those_of_plain_python(by, rows, size, every, n, chunk):
    result = (
        read(rows, chunk).key_by("key").window(windows.sliding(size, every=every)).aggregate(**AGGREGATES)
    )
    expected = ranked(result.collect().to_pylist(), n, by)
    assert result.top(n, by=by).collect().to_pylist() == expected
    # not right behind the window, so that this has to make all its rows
    assert result.filter(col("n") > 0).top(n, by=by).collect().to_pylist() == expected


def counted(rows: list[dict[str, Any]] | None = None) -> sl.Stream:
    rows = rows or [{"at": 1, "key": 7, "value": 1}]
    return read(rows).key_by("key").window(windows.tumbling(10), name="counts").aggregate(n=sl.count())


def test_a_window_with_one_reader_keeps_only_what_top_wants():
    flow = sl.Flow("f", counted().top(1, by="n").write(memory.sink(), name="out"))
    [node] = [node for node in flow.bind().nodes if node.id == "counts"]
    assert "keeps the 1 largest by n" in node.node.spec.describe()


def test_a_window_that_others_read_too_keeps_all_rows():
    result = counted([{"at": 1, "key": k, "value": 1} for k in range(5)])
    everything, largest = memory.sink(), memory.sink()
    flow = sl.Flow(
        "f", result.write(everything, name="all"), result.top(2, by="n").write(largest, name="largest")
    )
    tables = flow.collect()
    assert (tables["all"].num_rows, tables["largest"]["key"].to_pylist()) == (5, [0, 1])


def test_state_of_the_window_outlives_a_top_that_is_added(tmp_path):
    rows = [{"at": i, "key": i % 3, "value": 1} for i in range(20)]
    state = str(tmp_path / "state")
    sink = memory.sink()
    plain = sl.Flow("f", counted(rows).write(sink, name="out"))
    [before] = [node for node in plain.bind().nodes if node.id == "counts"]
    flow = sl.Flow("f", counted(rows).top(1, by="n").write(sink, name="out"))
    [after] = [node for node in flow.bind().nodes if node.id == "counts"]
    assert before.node.spec.state_version() == after.node.spec.state_version()
    assert flow.run(state=state, progress="none").outcome == "finished"
    assert sink.table()["key"].to_pylist() == [0, 1]


def test_rows_that_wait_survive_a_restore():
    flow = sl.Flow("f", counted().top(1, by="n").write(memory.sink(), name="out"))
    [node] = [node for node in flow.bind().nodes if node.node.spec.kind == "top"]
    rows = counted([{"at": 1, "key": k, "value": 1} for k in (4, 2, 3)]).collect()
    operator, restored = (node.node.spec.build(node.input_types) for _ in range(2))
    ends = rows["window_end"].cast("int64").to_numpy() - 1
    [batch] = rows.combine_chunks().to_batches()
    assert list(operator.on_batch(Batch.from_arrow(batch, ends), 0)) == []
    restored.restore(operator.snapshot())
    assert list(restored.on_watermark(9)) == []
    [(_, found)] = restored.on_watermark(10)
    assert found.to_arrow()["key"].to_pylist() == [2]
    assert operator.snapshot() != restored.snapshot() == type(restored).snapshot(restored)


def test_many_rows_that_wait_are_cut_to_the_largest(monkeypatch):
    monkeypatch.setattr("streamlib.operators.window_top.MOST_WAITING", 4)
    flow = sl.Flow("f", counted().top(2, by="n").write(memory.sink(), name="out"))
    [node] = [node for node in flow.bind().nodes if node.node.spec.kind == "top"]
    operator = node.node.spec.build(node.input_types)
    for k in range(40, 0, -1):
        [batch] = counted([{"at": 1, "key": k, "value": 1}]).collect().combine_chunks().to_batches()
        list(operator.on_batch(Batch.from_arrow(batch, batch["window_end"].cast("int64").to_numpy() - 1), 0))
        assert sum(b.num_rows for b in operator._waiting) <= 4 + 2 * 2 + 1
    [(_, found)] = operator.on_watermark(10)
    assert found.to_arrow()["key"].to_pylist() == [1, 2]


def test_top_says_what_it_needs():
    with pytest.raises(DefinitionError, match="a whole number from 1 on"):
        top(0, by="n")
    with pytest.raises(TypeMismatchError, match="name of a column"):
        top(1, by=col("n"))
    with pytest.raises(DefinitionError, match="the result of an aggregated window"):
        read([]).top(1, by="value").collect()
    with pytest.raises(UnknownColumnError, match="'m'"):
        counted().top(1, by="m").collect()
    with pytest.raises(UnknownColumnError, match="'key'"):
        counted().select("window_start", "window_end", "n").top(1, by="n").collect()
