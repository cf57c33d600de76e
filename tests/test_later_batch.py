"""Results that are made when a sink looks at them."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import windows
from streamlib.connectors import memory
from streamlib.core.batch import Batch
from streamlib.core.errors import ArithmeticOverflowError
from streamlib.core.later_batch import LaterBatch

ROWS = pa.record_batch({"x": [1, 2, 3]})


def test_rows_are_made_once_by_whoever_looks_first():
    calls = []

    def make():
        calls.append(1)
        return Batch.from_arrow(ROWS)

    batch = LaterBatch(ROWS.schema, make)
    assert (batch.made, calls) == (False, [])
    assert batch.num_rows == 3
    assert batch.to_arrow().equals(ROWS)
    batch.make()
    assert (batch.made, calls) == (True, [1])


def test_its_pickle_holds_the_rows():
    batch = LaterBatch(ROWS.schema, lambda: Batch.from_arrow(ROWS))
    found = pickle.loads(pickle.dumps(batch))
    assert type(found) is Batch
    assert found.to_arrow().equals(ROWS)


def test_what_is_wrong_with_the_rows_is_told_and_raised_each_time():
    told = []
    batch = LaterBatch(ROWS.schema, lambda: 1 // 0)
    batch.on_error = told.append
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            batch.make()
    assert [type(error) for error in told] == [ZeroDivisionError] * 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sum_that_does_not_fit_names_the_window_not_the_sink(tmp_path, workers):
    rows = pa.table({"t": [1, 2], "k": [5, 5], "v": [2**62, 2**62]})
    stream = sl.read(memory.source(rows), name="rows", event_time="t", watermark=sl.monotone())
    totals = stream.key_by("k").window(windows.tumbling("1s")).aggregate(total=sl.sum("v"))
    flow = sl.Flow("sums", totals.write(memory.sink(), name="out"))
    with pytest.raises(ArithmeticOverflowError, match="in operator 'aggregate'") as raised:
        flow.run(state=str(tmp_path / "state"), progress="none", parallelism=workers)
    assert "in operator 'out'" not in str(raised.value)


def test_two_sinks_of_one_result_get_the_same_rows(tmp_path):
    rows = pa.table({"t": list(range(100)), "k": [5, 6] * 50})
    stream = sl.read(memory.source(rows), name="rows", event_time="t", watermark=sl.monotone())
    counts = stream.key_by("k").window(windows.tumbling(10)).aggregate(n=sl.count())
    one, two = memory.sink(), memory.sink()
    flow = sl.Flow("twice", counts.write(one, name="one"), counts.write(two, name="two"))
    flow.run(state=str(tmp_path / "state"), progress="none")
    assert one.table().num_rows == 20
    assert one.table().equals(two.table())
