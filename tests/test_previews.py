"""Samples without a job: `stream.preview()`, and `collect` with bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib import col, windows
from streamlib.connectors import memory
from streamlib.core.contracts import Chunk, Pause
from streamlib.core.errors import DefinitionError, EventTimeError
from streamlib.runners import preview as preview_module
from streamlib.testing import rows, scripted

SECOND = 1_000_000


@dataclass(frozen=True)
class Numbers:
    """An endless source of rows a second apart, in chunks of 100, that counts what was read."""

    reads: list[int] = field(default_factory=list, compare=False)
    bounded: ClassVar[bool] = False
    replay: ClassVar[str] = "replayable"

    def schema(self) -> pa.Schema:
        return pa.schema({"at": pa.int64(), "key": pa.int64()})

    def partitions(self) -> Sequence[str]:
        return ["0"]

    def open(self, partition: str, position: Any, event_time: str | None) -> NumbersReader:
        return NumbersReader(self.reads)


class NumbersReader:
    def __init__(self, reads: list[int]) -> None:
        self.reads = reads

    def read(self) -> Chunk | Pause:
        first = 100 * len(self.reads)
        self.reads.append(100)
        batch = pa.record_batch(
            {"at": [i * SECOND for i in range(first, first + 100)], "key": [i % 2 for i in range(100)]}
        )
        return Chunk(batch, first + 100)

    def close(self) -> None:
        self.reads.append(0)


def timed(source: Any, disorder: str = "0s") -> sl.Stream:
    return sl.read(source, name="rows", event_time="at", watermark=sl.bounded_disorder(disorder))


def hourly(stream: sl.Stream) -> sl.Stream:
    return stream.key_by("key").window(windows.tumbling("1h")).aggregate(n=sl.count())


# ------------------------------------------------------------------ what a preview shows


def test_a_preview_shows_the_first_rows_under_names_and_types() -> None:
    source = memory.source([{"item": "pen", "price": 1.5}, {"item": None, "price": 22.0}])
    found = sl.read(source, name="rows").preview()
    assert str(found).splitlines() == [
        "item     price",
        "string  double",
        "pen        1.5",
        "-           22",
        "(2 rows, all there are; 2 rows were read)",
    ]
    assert found.table.to_pylist() == [{"item": "pen", "price": 1.5}, {"item": None, "price": 22.0}]


def test_in_a_notebook_it_is_a_table_and_values_are_no_markup() -> None:
    source = memory.source([{"<item>": "<b>pen</b>", "price": 1}])
    shown = sl.read(source, name="rows").preview()._repr_html_()  # type: ignore[attr-defined]
    assert "&lt;item&gt;<br>" in shown
    assert "&lt;b&gt;pen&lt;/b&gt;</td>" in shown
    assert '<td style="text-align:right">1</td>' in shown
    assert "<b>" not in shown


def test_every_operator_can_be_previewed_and_the_sample_is_what_a_stream_would_give() -> None:
    data = [{"at": i * SECOND, "key": i % 3} for i in range(20_000)]
    stream = timed(memory.source(data, chunk_rows=1_000))
    whole = hourly(stream).collect()
    found = hourly(stream).preview(4)
    assert found.table.to_pylist() == whole.slice(0, 4).to_pylist()
    yes, no = stream.split(col("key") == 1)
    assert yes.preview(2).table["key"].to_pylist() == [1, 1]
    assert no.preview(3).table["key"].to_pylist() == [0, 2, 0]
    assert stream.map_batches(lambda batch: batch.drop_columns("__row__")).preview(1).table.num_rows == 1


def test_late_rows_can_be_previewed() -> None:
    at = [0, 7_200, 10, 8_000, 20]
    stream = timed(memory.source([{"at": second * SECOND, "key": 1} for second in at]))
    assert hourly(stream).late().preview().table["at"].to_pylist() == [10 * SECOND, 20 * SECOND]
    sliding = stream.key_by("key").window(windows.sliding("2h", every="1h")).aggregate(n=sl.count())
    assert sliding.missed().preview(1).table.num_rows == 1


# ------------------------------------------------------------------ bounds


def test_a_preview_reads_no_more_than_it_needs_of_a_source_without_end() -> None:
    source = Numbers()
    found = timed(source).preview(3)
    assert found.table["at"].to_pylist() == [0, SECOND, 2 * SECOND]
    assert found.notes == ("3 rows, the first ones; 16 rows were read",)
    assert source.reads == [100, 0], "one chunk, then closed"


def test_a_preview_reads_on_until_rows_come_out() -> None:
    source = Numbers()
    found = hourly(timed(source)).preview(1)
    assert found.table.to_pylist()[0]["n"] == 1_800
    assert 3_600 < sum(source.reads) < 12_000


def test_a_preview_stops_at_its_most_rows_and_shows_what_open_windows_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preview_module, "READ_AT_MOST", 500)
    source = Numbers()
    found = hourly(timed(source)).preview()
    assert 500 <= sum(source.reads) <= 1_100
    assert sum(found.table["n"].to_pylist()) == int(found.notes[0].split("; ")[1].split(" ")[0])
    assert "the most a preview reads" in found.notes[0]
    assert found.notes[1] == "windows that were still open are shown as they stood then"
    assert timed(Numbers()).filter(col("at") < 0).preview().table.num_rows == 0


def test_a_preview_of_a_source_that_goes_silent_stops_when_time_is_up() -> None:
    quiet = scripted(
        {"p": [rows([{"at": 1, "key": 1}])]}, {"at": pa.int64(), "key": pa.int64()}, unbounded=True
    )
    found = timed(quiet).preview(5, until="10ms")
    assert found.table.num_rows == 1
    assert "then time was up" in found.notes[0]


def test_a_slow_function_is_called_for_few_rows_before_the_clock_is_looked_at() -> None:
    calls = []

    def slow(record: Any) -> Any:
        calls.append(1)
        return record

    stream = timed(Numbers()).map(slow, schema={"at": pa.int64(), "key": pa.int64()})
    assert stream.filter(col("at") < 0).preview(1, until="0s").table.num_rows == 0
    assert len(calls) == 16


def test_n_and_until_are_checked() -> None:
    stream = timed(Numbers())
    for n in (-1, 1.5, True):
        with pytest.raises(DefinitionError, match="`n` must be a number of rows"):
            stream.preview(n)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="not a duration"):
        stream.preview(until="soon")
    with pytest.raises(EventTimeError, match="needs a time zone"):
        stream.collect(until=datetime(2026, 1, 1))


# ------------------------------------------------------------------ collect


def test_collect_of_a_source_without_end_needs_a_bound() -> None:
    stream = timed(Numbers())
    with pytest.raises(DefinitionError, match=r"in operator 'rows' .* has no end") as raised:
        stream.collect()
    assert '`collect(n=100)` or `collect(until="10s")`' in str(raised.value)
    assert stream.collect(7)["at"].to_pylist() == [i * SECOND for i in range(7)]


def test_collect_until_an_instant_has_the_rows_before_it_and_no_others() -> None:
    in_rome = datetime(1970, 1, 1, 3, tzinfo=ZoneInfo("Europe/Rome"))  # 2:00 UTC
    for until in (datetime(1970, 1, 1, 2, tzinfo=UTC), in_rome):
        found = timed(Numbers()).collect(until=until)
        assert found["at"].to_pylist() == [i * SECOND for i in range(7_200)]
        counts = hourly(timed(Numbers())).collect(until=until)
        assert counts["n"].to_pylist() == [1_800] * 4
    data = memory.source([{"at": i * SECOND, "key": 1} for i in range(100)])
    cut = timed(data).collect(until=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=9))
    assert cut.num_rows == 9, "a batch stops there as well"


def test_an_instant_ends_only_rows_with_event_time() -> None:
    with pytest.raises(EventTimeError, match="have no event time"):
        sl.read(Numbers(), name="rows").collect(until=datetime(2026, 1, 1, tzinfo=UTC))


def test_collect_until_a_duration_has_what_came_meanwhile() -> None:
    quiet = scripted({"p": [rows([{"id": 1}])]}, {"id": pa.int64()}, unbounded=True)
    assert sl.read(quiet, name="rows").collect(until="10ms")["id"].to_pylist() == [1]


def test_a_flow_collects_n_rows_for_each_sink() -> None:
    stream = timed(Numbers())
    flow = sl.Flow(
        "both",
        stream.write(memory.sink(), name="rows_out"),
        hourly(stream).write(memory.sink(), name="hours"),
    )
    found = flow.collect(2)
    assert {name: table.num_rows for name, table in found.items()} == {"rows_out": 2, "hours": 2}


def test_a_bounded_collect_of_bounded_sources_is_a_batch_that_stops() -> None:
    stream = timed(memory.source([{"at": second * SECOND, "key": 1} for second in (0, 7_200, 10)]))
    assert hourly(stream).collect(1)["n"].to_pylist() == [2], "nothing is late in a batch"


# --------------------------------------------------------------------------- columns that are not known


BIDS = [{"item": "pen", "price": i} for i in range(30)]


def bids(rows=BIDS) -> sl.Stream:
    return sl.read(memory.source(rows), name="bids")


@dataclass
class Priced:
    item: str
    euros: float | None


def test_a_preview_infers_what_a_function_returns_and_prints_the_line_to_paste():
    def doubled(bid):
        return {"item": bid["item"], "double": bid["price"] * 2}

    shown = bids().map(doubled).filter(sl.col("double") > 4).preview(2)
    assert shown.table.to_pylist() == [{"item": "pen", "double": 6}, {"item": "pen", "double": 8}]
    (line,) = [note for note in shown.notes if "needs" in note]
    assert line.startswith("map of ")
    assert "doubled (test_previews.py:" in line
    assert line.endswith(') needs schema={"item": pa.string(), "double": pa.int64()}')
    pasted = line.partition("schema=")[2]
    schema = eval(pasted)
    assert bids().map(doubled, schema=schema).collect().num_rows == 30


def test_the_line_to_paste_holds_nested_columns():
    def nested(bid):
        spent = timedelta(seconds=1)
        return {"all": [{"x": 1.5}], "money": Decimal("1.50"), "at": datetime.now(UTC), "spent": spent}

    (line,) = [note for note in bids().map(nested).preview(1).notes if "needs" in note]
    schema = pa.schema(eval(line.partition("schema=")[2]))
    assert schema.field("all").type == pa.list_(pa.struct({"x": pa.float64()}))
    assert [str(field.type) for field in schema][1:] == [
        "decimal128(3, 2)",
        "timestamp[us, tz=UTC]",
        "duration[us]",
    ]


def test_several_functions_are_inferred_one_after_the_other():
    stream = (
        bids()
        .flat_map(lambda bid: [bid, bid])
        .map(lambda bid: {"n": bid["price"] + 1})
        .map(lambda row: {"text": str(row["n"])})
    )
    found = stream.preview(3)
    assert found.table.to_pylist() == [{"text": "1"}, {"text": "1"}, {"text": "2"}]
    assert len([note for note in found.notes if "needs schema=" in note]) == 3


def test_objects_of_a_class_that_is_not_hinted_give_its_columns():
    found = bids().map(lambda bid: Priced(bid["item"], None)).preview(1)
    assert found.table.to_pylist() == [{"item": "pen", "euros": None}]
    assert any("needs the hint Priced in the result of" in note for note in found.notes)


def test_a_column_that_is_null_in_the_first_results_is_looked_for_further_on():
    found = bids().map(lambda bid: {"dear": True if bid["price"] > 20 else None}).preview(1)
    assert found.table.schema.field("dear").type == pa.bool_()


def test_columns_that_results_do_not_tell_are_refused_where_the_function_stands():
    with pytest.raises(DefinitionError, match="can't be told from nulls") as caught:
        bids().map(lambda bid: {"n": None}).preview()
    assert "in operator 'map' (test_previews.py:" in str(caught.value)
    with pytest.raises(DefinitionError, match="from no rows"):
        bids().filter(sl.col("price") > 99).map(lambda bid: {"n": 1}).preview()
    with pytest.raises(DefinitionError, match="not rows"):
        bids().map(lambda bid: 3).preview()


def test_a_function_that_fails_while_its_columns_are_inferred_says_so():
    with pytest.raises(ZeroDivisionError) as caught:
        bids().map(lambda bid: {"n": 1 // bid["price"]}).preview()
    assert any("were inferred, from {'item': 'pen', 'price': 0}" in note for note in caught.value.__notes__)
    found = bids().map(lambda bid: {"n": 60 // bid["price"]}, on_error="skip").preview(2)
    assert found.table["n"].to_pylist() == [60, 30]


def test_a_run_demands_the_columns():
    flow = sl.Flow("flow", bids().map(lambda bid: {"n": 1}).write(memory.sink(), name="out"))
    with pytest.raises(DefinitionError, match=r"infers it and prints the line to paste"):
        flow.bind()
