"""Samples without a job: `stream.preview()`, and `collect` with bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
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
