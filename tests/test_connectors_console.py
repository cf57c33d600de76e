"""Rows on a terminal."""

from __future__ import annotations

import io
import pickle
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from streamlib.connectors import console
from streamlib.connectors.tables import format_table
from streamlib.core.contracts import Sink, SinkContext
from streamlib.core.disk import LocalDisk
from streamlib.core.errors import DefinitionError


def lines(table: pa.Table, max_rows: int | None = None) -> list[str]:
    return format_table(table, max_rows).split("\n")


def column(values: list, dtype: pa.DataType | None = None) -> list[str]:
    return [line.strip() for line in lines(pa.table({"x": pa.array(values, dtype)}))[1:]]


def test_numbers_stand_right_and_text_left():
    table = pa.table({"id": [1, 1000], "name": ["long name", "x"], "price": [1.25, None]})
    assert lines(table) == ["  id  name       price", "   1  long name   1.25", "1000  x              -"]


@pytest.mark.parametrize(
    ("values", "dtype", "texts"),
    [
        ([0.12345, 2.0, -1.5, 1e20], None, ["0.123", "2", "-1.5", "1e+20"]),
        ([True, None], None, ["true", "-"]),
        ([Decimal("1.20")], None, ["1.20"]),
        ([date(2024, 1, 2)], None, ["2024-01-02"]),
        ([datetime(2024, 1, 2, 3, 0, 10)], None, ["2024-01-02T03:00:10"]),
        ([datetime(2024, 1, 2, 3, 4, 5, 600_000, UTC)], None, ["2024-01-02T03:04:05.6Z"]),
        ([0], pa.timestamp("ms", "America/New_York"), ["1970-01-01T00:00:00Z"]),
        ([[1, 2]], None, ["[1, 2]"]),
        ([{"a": 1}], None, ["{'a': 1}"]),
        ([b"\x00x"], None, ["b'\\x00x'"]),
        (["a", "b"], pa.dictionary(pa.int32(), pa.string()), ["a", "b"]),
        (["a\nb\x1b[2J"], None, ["a\\nb\ufffd[2J"]),
        (["x" * 41, "y" * 40], None, ["x" * 39 + "…", "y" * 40]),
    ],
)
def test_values_are_shown_short(values, dtype, texts):
    assert column(values, dtype) == texts


def test_a_limit_says_how_much_is_hidden():
    assert lines(pa.table({"id": [1, 2, 3]}), 2) == ["id", " 1", " 2", "… 1 more rows"]
    assert lines(pa.table({"id": pa.array([], pa.int64())})) == ["id"]


def opened(sink: console.ConsoleSink):
    return sink.open(SinkContext("job", "hot", "a1", pa.schema({"id": pa.int64()}), LocalDisk()))


def test_each_batch_is_printed_when_it_comes(capsys):
    writer = opened(console.sink(limit=1))
    writer.write(pa.record_batch({"id": [1, 2]}))
    writer.write(pa.record_batch({"id": [3]}))
    assert capsys.readouterr().out == "hot: 2 rows\nid\n 1\n… 1 more rows\n\nhot: 1 row\nid\n 3\n\n"


def test_another_stream_can_be_given(capsys):
    stream = io.StringIO()
    opened(console.sink(stream)).write(pa.record_batch({"id": [1]}))
    assert "hot: 1 row" in stream.getvalue()
    assert capsys.readouterr().out == ""


def test_the_console_is_an_at_least_once_sink_with_nothing_to_commit():
    sink = console.sink(limit=3)
    assert isinstance(sink, Sink)
    assert sink.delivery == "at_least_once"
    assert pickle.loads(pickle.dumps(sink)) == sink == console.sink(limit=3)
    writer = opened(sink)
    assert writer.prepare(1) is None
    writer.commit(1, None)
    assert writer.last_committed() == 0
    writer.close()


def test_a_negative_limit_is_refused():
    with pytest.raises(DefinitionError, match="limit"):
        console.sink(limit=-1)
