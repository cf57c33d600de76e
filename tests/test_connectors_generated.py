"""Sources that make their rows: Nexmark and ticks."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib.connectors import memory, nexmark, null, rate
from streamlib.connectors.nexmark_rows import EACH, events_of, rows_before
from streamlib.core.contracts import Chunk, Pause, Source, SourceReader, TakesClock
from streamlib.core.errors import DefinitionError, SourceError, UnknownColumnError
from streamlib.core.time import MAX_TIME
from streamlib.testing import assert_parity, assert_survives
from streamlib.testing.clock import ManualClock

KINDS = ("persons", "auctions", "bids", "events")
MAKERS: dict[str, Any] = {
    **{kind: getattr(nexmark, kind) for kind in KINDS},
    "rate": lambda events, **options: rate.source(1_000, rows=events, start="2024-01-01", **options),
}
TIMES = {"rate": "timestamp"}


def everything(source: Any, partition: str = "0", position: Any = None) -> list[Chunk]:
    reader = source.open(partition, position, None)
    assert isinstance(reader, SourceReader)
    chunks = []
    while (found := reader.read()) is not Pause.END:
        assert isinstance(found, Chunk)
        chunks.append(found)
    reader.close()
    return chunks


def table(chunks: list[Chunk], source: Any) -> pa.Table:
    return pa.Table.from_batches([chunk.rows for chunk in chunks], source.schema())


@pytest.mark.parametrize("kind", MAKERS)
def test_reading_goes_on_at_any_position(kind: str) -> None:
    source = MAKERS[kind](150_000)
    assert isinstance(source, Source)
    chunks = everything(source)
    every = table(chunks, source)
    assert every.num_rows == source.row_count()
    row = 0
    for chunk in chunks:
        row += chunk.rows.num_rows
        rest = table(everything(source, position=chunk.next_position), source)
        assert rest.equals(every.slice(row))
    inside = 7 if kind != "rate" else [chunks[0].next_position[0], 7]
    assert table(everything(source, position=inside), source).equals(every.slice(7))


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("partitions", [2, 3, 7])
def test_partitions_hold_the_rows_of_one_dealt_out(kind: str, partitions: int) -> None:
    one, many = MAKERS[kind](1_003), MAKERS[kind](1_003, partitions=partitions)
    every = table(everything(one), one)
    assert many.row_count() == one.row_count()
    for part, name in enumerate(many.partitions()):
        assert table(everything(many, name), many).equals(
            every.take(pa.array(range(part, every.num_rows, partitions)))
        )


@pytest.mark.parametrize("kind", MAKERS)
def test_the_least_event_time_that_follows_is_known(kind: str) -> None:
    source, column = MAKERS[kind](200_000), TIMES.get(kind, "date_time")
    times = table(everything(source), source)[column].cast(pa.int64()).to_pylist()
    assert times == sorted(times)
    reader, row = source.open("0", None, column), 0
    while (found := reader.read()) is not Pause.END:
        row += found.rows.num_rows
        assert found.floor == (times[row] if row < len(times) else MAX_TIME)


@given(st.integers(0, 10_000), st.sampled_from(["persons", "auctions", "bids"]))
def test_rows_of_a_kind_are_counted_by_events(event: int, kind: Any) -> None:
    count = rows_before(kind, event)
    events = events_of(kind, np.arange(count + 1))
    assert (events[:count] < event).all()
    assert events[count] >= event


def test_of_fifty_events_one_is_a_person_three_are_auctions_the_others_bids() -> None:
    source = nexmark.events(100_000)
    every = table(everything(source), source)
    for number, (name, kind) in enumerate((("person", "persons"), ("auction", "auctions"), ("bid", "bids"))):
        there = every.filter(pa.array(np.array(every["event_type"]) == number))
        assert there.num_rows == 2_000 * EACH[kind]  # type: ignore[index]
        assert there[name].null_count == 0
        assert every[name].null_count == every.num_rows - there.num_rows
        alone = getattr(nexmark, kind)(100_000)
        assert there[name].to_pylist()[:500] == table(everything(alone), alone).slice(0, 500).to_pylist()


def test_bids_name_what_is_there_and_prefer_what_is_hot() -> None:
    source = nexmark.bids(500_000)
    bids = table(everything(source), source)
    auction, bidder = (bids[name].to_numpy() - 1_000 for name in ("auction", "bidder"))
    cycle = np.arange(len(auction)) // 46
    newest = cycle * 3 + 2
    assert (auction >= np.maximum(newest - 100, 0)).all()
    assert (auction <= newest + 10).all()
    assert (bidder <= cycle + 10).all()
    assert 0.49 < (auction == newest // 100 * 100).mean() < 0.52
    assert 0.74 < (bidder == cycle // 100 * 100 + 1).mean() < 0.76
    prices = bids["price"].to_numpy()
    assert prices.min() >= 100
    assert prices.max() <= 100_000_000
    assert 95_000 < np.median(prices) < 105_000  # every magnitude from 100 to 100 M as often
    assert 0.49 < np.isin(bids["channel"], ["Google", "Facebook", "Baidu", "Apple"]).mean() < 0.51
    assert bids["channel"][0].as_py().lower() in bids["url"][0].as_py()


def test_another_seed_gives_other_rows_with_the_same_times() -> None:
    a, b = (table(everything(nexmark.bids(1_000, seed=seed)), nexmark.bids()) for seed in (1, 2))
    assert a["date_time"].equals(b["date_time"])
    assert (np.array(a["price"]) != np.array(b["price"])).mean() > 0.99
    assert nexmark.bids(seed=-1).schema() == nexmark.bids().schema()
    assert everything(nexmark.bids(100, seed=-1))[0].rows.num_rows == 92


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_is_the_same_whichever_others_are_read(kind: str) -> None:
    source = MAKERS[kind](1_000)
    every = table(everything(source), source)
    for name in source.schema().names:
        assert table(everything(source.project([name])), source.project([name])).equals(every.select([name]))


def hot(source: Any) -> sl.Flow:
    bids = sl.read(source, name="bids", event_time="date_time", watermark=sl.monotone())
    counts = bids.key_by("auction").window(sl.windows.tumbling("10ms")).aggregate(n=sl.count())
    return sl.Flow("hot", counts.write(memory.sink(), name="hot"))


def test_a_flow_over_bids_depends_on_no_batch_split_and_survives_crashes() -> None:
    flow = hot(nexmark.bids(3_000, partitions=2))
    assert sum(assert_parity(flow, seeds=range(3))["hot"]["n"].to_pylist()) == 2_760
    assert_survives(flow, seeds=range(4))


def test_a_stream_without_end_is_cut_and_a_batch_takes_no_notice_of_the_rate() -> None:
    assert sl.read(nexmark.persons(), name="p").collect(n=3)["id"].to_pylist() == [1000, 1001, 1002]
    assert sl.read(nexmark.bids(50, rate=0.001), name="b").collect().num_rows == 46
    assert sl.read(rate.source(0.001, rows=3), name="r").collect()["value"].to_pylist() == [0, 1, 2]


def test_ticks_come_by_the_clock_of_the_runner() -> None:
    started = sl.read(rate.source(1_000), name="ticks").collect(n=3)
    assert started["value"].to_pylist() == [0, 1, 2]
    assert np.diff(started["timestamp"].to_numpy()).tolist() == [np.timedelta64(1_000, "us")] * 2


def counts(reader: Any, clock: ManualClock, steps: list[str]) -> list[int | None]:
    """How many rows each read gives, with so much time before it."""
    found = []
    for step in steps:
        clock.advance(step)
        chunk = reader.read()
        found.append(chunk.rows.num_rows if isinstance(chunk, Chunk) else None)
    return found


def test_events_come_at_their_rate_also_after_a_restart() -> None:
    clock, source = ManualClock(), nexmark.bids(rate=50)
    for position in (None, 460):
        reader = source.open("0", position, None)
        assert isinstance(reader, TakesClock)
        reader.take_clock(clock)
        assert counts(reader, clock, ["0s", "10ms", "20ms", "1s", "0s"]) == [1, None, 1, 46, None]


def test_ticks_are_due_at_their_timestamps_and_catch_up_after_a_restart() -> None:
    clock = ManualClock(now=5_000_000)
    reader = rate.source(2).open("0", None, None)
    reader.take_clock(clock)
    assert counts(reader, clock, ["0s", "400ms", "100ms", "2s"]) == [1, None, 1, 4]
    position = [5_000_000, 6]
    clock.advance("10s")
    again = rate.source(2).open("0", position, None)
    again.take_clock(clock)
    chunk = again.read()
    assert isinstance(chunk, Chunk)
    assert chunk.rows["value"].to_pylist() == list(range(6, 26))
    assert chunk.rows["timestamp"].cast(pa.int64()).to_pylist() == [
        5_000_000 + i * 500_000 for i in range(6, 26)
    ]
    assert chunk.next_position == [5_000_000, 26]


def test_ticks_whose_start_is_to_come_wait_for_it() -> None:
    clock = ManualClock()
    reader = rate.source(1, start="1970-01-01T00:00:10").open("0", None, None)
    reader.take_clock(clock)
    assert counts(reader, clock, ["9s", "1s", "1s"]) == [None, 1, 1]


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_simulated_job_over_ticks_gets_all_of_them(partitions: int) -> None:
    ticks = sl.read(
        rate.source(100, rows=300, start="1970-01-01", partitions=partitions),
        name="ticks",
        event_time="timestamp",
        watermark=sl.monotone(),
    )
    flow = sl.Flow("ticks", ticks.write(memory.sink(), name="out"))
    assert sorted(assert_parity(flow, seeds=range(2))["out"]["value"].to_pylist()) == list(range(300))
    assert_survives(flow, seeds=range(3))


def test_generators_are_values_and_show_themselves_as_calls() -> None:
    for source, text in (
        (
            nexmark.bids(100, rate=10, partitions=2, seed=3),
            "nexmark.bids(events=100, rate=10, partitions=2, seed=3)",
        ),
        (nexmark.events(), "nexmark.events()"),
        (rate.source(5, rows=3), "rate.source(5, rows=3)"),
    ):
        assert repr(source) == text
        assert pickle.loads(pickle.dumps(source)) == source
    assert nexmark.bids() != nexmark.bids(seed=1) != nexmark.auctions(seed=1)
    assert (nexmark.bids().bounded, nexmark.bids(9).bounded, rate.source().bounded) == (False, True, False)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: nexmark.bids(events=0),
        lambda: nexmark.bids(rate=0),
        lambda: nexmark.persons(partitions=0),
        lambda: nexmark.events(events=1.5),  # type: ignore[arg-type]
        lambda: rate.source(0),
        lambda: rate.source(1, rows=-1),
        lambda: rate.source(1, start="soon"),
    ],
)
def test_numbers_out_of_range_are_refused(wrong: Any) -> None:
    with pytest.raises(DefinitionError):
        wrong()


def test_what_no_checkpoint_of_this_source_holds_is_refused() -> None:
    with pytest.raises(SourceError, match="no partition '2'"):
        nexmark.bids(partitions=2).open("2", None, None)
    with pytest.raises(SourceError, match="row number"):
        nexmark.bids().open("0", [1, 2], None)
    with pytest.raises(SourceError, match="ends before"):
        nexmark.bids(50).open("0", 47, None)
    with pytest.raises(SourceError, match="instant and a row number"):
        rate.source().open("0", 3, None)
    with pytest.raises(UnknownColumnError):
        rate.source().open("0", None, "at")


def test_a_job_over_bids_runs_into_nowhere(tmp_path: Any) -> None:
    nowhere = null.sink()
    bids = sl.read(nexmark.bids(100_000, partitions=2), name="bids")
    sl.Flow("f", bids.write(nowhere, name="nowhere")).run(state=tmp_path / "s", progress="none")
    assert nowhere.rows == 92_000
