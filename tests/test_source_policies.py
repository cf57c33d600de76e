"""What happens to records that can't be read, have no event time, or lie too far ahead."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col, windows
from streamlib.connectors import memory, parquet
from streamlib.core.batch import as_arrow
from streamlib.core.contracts import Broken, Chunk
from streamlib.core.errors import EventTimeError, SourceError
from streamlib.core.letters import from_data
from streamlib.plan.launch import JobOptions
from streamlib.plan.node import Read
from streamlib.runners.job import Job
from streamlib.runtime.intake import EventTimes, Intake
from streamlib.runtime.pipeline import Pipeline
from streamlib.testing import assert_parity, assert_survives, broken, fail, rows, scripted
from streamlib.testing.disk import SimDisk
from streamlib.testing.replayed import ReplayedSource
from streamlib.testing.simulator import Moments, SimWorld

SCHEMA = pa.schema({"at": pa.int64(), "n": pa.int64()})
SECOND = 1_000_000


def source_of(pattern: str, chunk: int = 7) -> ReplayedSource:
    """A record for each letter: a good one, a (b)roken one, or one (w)ithout event time."""
    table = pa.Table.from_pylist(
        [{"at": None if c == "w" else i * SECOND, "n": i} for i, c in enumerate(pattern) if c != "b"], SCHEMA
    )
    lost = [broken_record(i) for i, c in enumerate(pattern) if c == "b"]
    return ReplayedSource({"p": table}, {"p": lost}, chunk)


def broken_record(i: int) -> Broken:
    error = SourceError(f"line {i} is broken", found=f"{i},,")
    return Broken(i, f"in/p.csv, line {i}", f"{i},,".encode(), error)


def stream_of(source: Any, policy: Any, **options: Any) -> sl.Stream:
    return sl.read(
        source, name="p", event_time="at", watermark=sl.monotone(), on_error=policy, **options
    ).filter(col("n") >= 0)


PATTERN = "".join("bw"[i % 2] if i % 5 == 0 else "." for i in range(150))
GOOD = [i for i, c in enumerate(PATTERN) if c == "."]
BAD = [i for i, c in enumerate(PATTERN) if c != "."]


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_records_that_can_not_enter_are_skipped_and_counted(tmp_path: Any, chunk: int) -> None:
    out = memory.sink()
    flow = sl.Flow("f", stream_of(source_of(PATTERN, chunk), "skip").write(out, name="out"))
    result = flow.run(state=tmp_path / "s", progress="none")
    assert out.table()["n"].to_pylist() == GOOD
    assert dict(result.skipped) == {"p": len(BAD)}
    assert result.rows == len(PATTERN)


def test_dead_letters_of_a_source_tell_partition_and_position_and_keep_the_bytes() -> None:
    stream = stream_of(source_of(PATTERN), sl.dead_letter(memory.sink()))
    tables = sl.Flow("f", stream.write(memory.sink(), name="out")).collect()
    letters = tables["dead_letters"].to_pylist()
    assert tables["out"]["n"].to_pylist() == GOOD
    assert [x["position"] for x in letters] == BAD
    assert {(x["operator"], x["source"], x["partition"]) for x in letters} == {("p", "p", "p")}
    for letter in letters:
        number = letter["position"]
        if PATTERN[number] == "b":
            assert (letter["format"], letter["data"]) == ("raw", f"{number},,".encode())
            assert letter["record"] == f"{number},,"
            assert f"in/p.csv, line {number}" in letter["traceback"]
        else:
            assert letter["format"] == "arrow"
            assert from_data(letter["data"]).to_pylist() == [{"at": None, "n": number}]
            assert f"row {number} has no event time" in letter["error"]


def test_bytes_that_are_no_text_are_shown_escaped() -> None:
    source = scripted({"p": [broken(b"\xff,1")]}, SCHEMA)
    flow = sl.Flow("f", stream_of(source, sl.dead_letter(memory.sink())).write(memory.sink(), name="out"))
    (letter,) = flow.collect()["dead_letters"].to_pylist()
    assert (letter["record"], letter["data"]) == (r"\xff,1", b"\xff,1")


def test_by_default_a_broken_record_stops_the_job_with_its_place() -> None:
    source = scripted({"p": [rows([{"at": 1, "n": 1}]), broken(b"?")]}, SCHEMA)
    with pytest.raises(SourceError, match="record 1 of p") as raised:
        stream_of(source, "fail").collect()
    assert "in operator 'p' (test_source_policies.py:" in str(raised.value)
    assert raised.value.__notes__ == ["reading partition 'p', after 1 rows that entered"]


@pytest.mark.parametrize("policy", ["skip", "letters"])
def test_what_is_lost_depends_on_no_batch_split_and_survives_crashes(policy: str) -> None:
    stream = stream_of(source_of(PATTERN), "skip" if policy == "skip" else sl.dead_letter(memory.sink()))
    panes = stream.window(windows.tumbling("20s")).aggregate(n=sl.count(), total=sl.sum("n"))
    flow = sl.Flow("f", stream.write(memory.sink(), name="out"), panes.write(memory.sink(), name="panes"))
    tables = assert_parity(flow, seeds=range(4))
    assert_survives(flow, seeds=range(8))
    assert tables["out"]["n"].to_pylist() == GOOD
    if policy == "letters":
        assert tables["dead_letters"]["position"].to_pylist() == BAD


@given(
    st.text("..bw", min_size=1, max_size=30),
    st.lists(st.integers(1, 9), max_size=8),
    st.integers(1, 9),
    st.integers(1, 9),
)
def test_any_position_is_resumed_exactly(pattern: str, limits: list[int], before: int, after: int) -> None:
    source = source_of(pattern)
    times = EventTimes(Read(source, col("at")), SCHEMA)

    def admit(intake: Intake, chunk: int, limits: list[int]) -> tuple[list[int], list[int]]:
        entered: list[int] = []
        reader = source_of(pattern, chunk).open("p", intake.start, None)
        while isinstance(found := reader.read(), Chunk):
            intake.offer(found)
        intake.end()
        for limit in limits:
            if intake.passes_over:
                intake.pass_over()
            elif intake.has_rows:
                batch = intake.front(limit)
                intake.enter(batch.num_rows)
                entered += as_arrow(batch.column("n")).to_pylist()
        return entered, [lost.position for lost in intake.take_lost()]

    first, second = Intake(times, rescues=True), Intake(times, rescues=True)
    entered, lost = admit(first, before, limits)
    assert first.rows == len(entered) + len(lost)
    second.restore(json.loads(json.dumps(first.snapshot())))
    rest, more = admit(second, after, [5] * 60)
    assert entered + rest == [i for i, c in enumerate(pattern) if c == "."]
    assert lost + more == [i for i, c in enumerate(pattern) if c != "."]
    assert second.ended


def test_rows_too_far_ahead_are_lost_and_close_no_window() -> None:
    ahead = [3, 4, 9]
    table = pa.table({"at": [10**15 if i in ahead else i * SECOND for i in range(12)], "n": range(12)})
    stream = stream_of(memory.source(table), sl.dead_letter(memory.sink()), max_ahead="1h")
    flow = sl.Flow("f", stream.write(memory.sink(), name="out")).bind()
    pipe = Pipeline(flow, {"p": ["p"]}, "streaming", 0.0)
    pipe.offer("p", "p", Chunk(table.to_batches()[0], 12))
    while pipe.step(5, 0.0, 60 * SECOND):
        pass
    found: dict[str, list[dict[str, Any]]] = {"out": [], "dead_letters": []}
    for name, batch in pipe.take_written():
        found[name] += batch.to_arrow().to_pylist()
    assert [row["n"] for row in found["out"]] == [i for i in range(12) if i not in ahead]
    assert [letter["position"] for letter in found["dead_letters"]] == ahead
    assert "row 9 lies in the future" in found["dead_letters"][2]["error"]
    assert pipe.newest == 11 * SECOND
    assert pipe.rows == 12


def test_an_event_time_that_can_not_be_computed_is_lost_alone() -> None:
    texts = [{"at": "x" if i % 9 == 4 else str(i), "n": i} for i in range(60)]
    stream = sl.read(
        memory.source(texts),
        name="p",
        event_time=col("at").cast(pa.int64()),
        watermark=sl.monotone(),
        on_error="skip",
    )
    assert stream.collect()["n"].to_pylist() == [i for i in range(60) if i % 9 != 4]


def test_wrong_numbers_of_broken_records_are_noticed() -> None:
    wrong = [Broken(9, "here", b"", SourceError("broken"))]
    intake = Intake(EventTimes(Read(memory.source([], schema=SCHEMA)), SCHEMA), rescues=True)
    with pytest.raises(SourceError, match="wrong numbers"):
        intake.offer(Chunk(pa.RecordBatch.from_pylist([{"at": 1, "n": 1}], SCHEMA), 2, broken=wrong))


def test_a_letter_of_a_source_holds_the_columns_that_nobody_reads(tmp_path: Any) -> None:
    table = pa.table({"at": pa.array([1, None]), "n": [1, 2], "note": ["a", "b"]})
    parquet_file = tmp_path / "in.parquet"
    import pyarrow.parquet as pq

    pq.write_table(table, parquet_file)
    stream = stream_of(parquet.source(str(parquet_file)), sl.dead_letter(memory.sink())).select("n")
    letters = sl.Flow("f", stream.write(memory.sink(), name="out")).collect()["dead_letters"].to_pylist()
    assert [json.loads(x["record"]) for x in letters] == [{"at": None, "n": 2, "note": "b"}]


# ------------------------------------------------------------------ sources that can't be reached


def gone(times: int | None, error: Exception | None = None) -> Any:
    ten = [{"at": i, "n": i} for i in range(10)]
    lost = fail(error or OSError("no such host"), times)
    return scripted({"p": [rows(ten[:5]), lost, rows(ten[5:]), lost]}, SCHEMA)


def test_a_source_that_was_gone_is_read_on_where_reading_stood() -> None:
    stream = stream_of(gone(3), sl.retry(3, wait=0))
    assert stream.collect()["n"].to_pylist() == list(range(10))


def test_a_source_that_stays_away_stops_the_job_after_the_repetitions() -> None:
    with pytest.raises(OSError, match="no such host") as raised:
        stream_of(gone(None), sl.retry(3, wait=0)).collect()
    assert "partition 'p' was opened again 3 times" in raised.value.__notes__[0]


def test_an_error_that_is_not_named_stops_the_job_at_once() -> None:
    with pytest.raises(ValueError, match="what is this"):
        stream_of(gone(1, ValueError("what is this")), sl.retry(3, wait=0)).collect()


def test_opening_is_tried_again_by_the_clock_of_the_world() -> None:
    refusals = iter([ConnectionError("refused"), ConnectionError("refused")])

    class Late(ReplayedSource):
        def open(self, partition: str, position: Any, event_time: str | None) -> Any:
            for error in refusals:
                raise error
            return super().open(partition, position, event_time)

    source = source_of("." * 20)
    late = Late(source.rows, source.broken, 4)
    stream = stream_of(late, sl.retry(5, wait="2s", jitter=False))
    flow = sl.Flow("f", stream.write(parquet.sink("/out"), name="out"))
    world = SimWorld(SimDisk(), 1, Moments(None))
    began = world.clock.monotonic()
    job = Job(flow, "streaming", JobOptions("/state", "1s"), world)
    job.start()
    assert job.run().rows == 20
    assert world.clock.monotonic() - began >= 2 + 4


def test_records_are_lost_under_a_retry_as_its_then_says() -> None:
    table = stream_of(source_of(PATTERN), sl.retry(3, then="skip")).collect()
    assert table["n"].to_pylist() == GOOD
    with pytest.raises(EventTimeError):
        stream_of(source_of("..w"), sl.retry(3)).collect()


def test_two_sources_may_share_a_sink_of_dead_letters_without_sharing_time() -> None:
    dead = sl.dead_letter(memory.sink())
    flow = sl.Flow(
        "f",
        sl.read(source_of("..b"), name="a", on_error=dead).write(memory.sink(), name="x"),
        sl.read(source_of("b.b"), name="b", on_error=dead).write(memory.sink(), name="y"),
    )
    letters = flow.collect()["dead_letters"]
    assert sorted(zip(letters["source"].to_pylist(), letters["position"].to_pylist(), strict=True)) == [
        ("a", 2),
        ("b", 0),
        ("b", 2),
    ]
    assert np.all(np.array(letters["format"].to_pylist()) == "raw")


# ------------------------------------------------------------------ where records of operators were read


def far_below(source: Any, policy: Any) -> sl.Stream:
    """Behind broken records, filters, functions and lists: rows are no longer where they were."""
    read = sl.read(source, name="p", event_time="at", watermark=sl.monotone(), on_error=policy)
    some = read.filter(col("n") % 3 != 0).with_columns(twice=col("n") * 2).map(same, schema=WIDER)
    listed = some.with_columns(text=sl.format("{}", col("n"))).map_batches(backwards)
    return listed.filter(col("n") % 4 != 0).map(strict, schema={"n": pa.int64()}, on_error=policy)


WIDER = {"at": pa.int64(), "n": pa.int64(), "twice": pa.int64()}


def same(row: dict[str, Any]) -> dict[str, Any]:
    return row


def backwards(rows: pa.RecordBatch) -> pa.RecordBatch:
    return rows


def strict(row: dict[str, Any]) -> dict[str, Any]:
    if row["n"] % 5 == 1:
        raise ValueError("no")
    return {"n": row["n"]}


@pytest.mark.parametrize("workers", [1, 3])
def test_letters_of_operators_tell_where_their_record_was_read(workers: int, tmp_path: Any) -> None:
    dead = memory.sink()
    flow = sl.Flow("f", far_below(source_of(PATTERN), sl.dead_letter(dead)).write(memory.sink(), name="o"))
    flow.run(state=tmp_path / "s", progress="none", parallelism=workers)
    letters = [x for x in sl.read_dead_letters(dead).to_pylist() if x["operator"] != "p"]
    assert {(x["source"], x["partition"]) for x in letters} == {("p", "p")}
    assert sorted(x["position"] for x in letters) == [n for n in GOOD if n % 3 and n % 4 and n % 5 == 1]
    assert all(json.loads(x["record"])["n"] == x["position"] for x in letters)


def test_where_letters_of_operators_were_read_survives_splits_and_crashes() -> None:
    stream = far_below(source_of(PATTERN), sl.dead_letter(memory.sink()))
    flow = sl.Flow("f", stream.write(memory.sink(), name="out"))
    assert_parity(flow, seeds=range(3))
    assert_survives(flow, seeds=range(4))


def test_behind_a_state_a_letter_does_not_tell_where_it_was_read() -> None:
    stream = stream_of(source_of("." * 20), "fail").window(windows.tumbling("5s")).aggregate(n=sl.sum("n"))
    failing = stream.map(strict, schema={"n": pa.int64()}, on_error=sl.dead_letter(memory.sink()))
    letters = sl.Flow("f", failing.write(memory.sink(), name="out")).collect()["dead_letters"]
    assert letters["position"].to_pylist() == [None] * letters.num_rows
