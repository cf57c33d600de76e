"""What happens to records that fail: `on_error=` of operators."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col
from streamlib.cli.main import main
from streamlib.connectors import memory, parquet
from streamlib.core.batch import Batch
from streamlib.core.contracts import StreamType
from streamlib.core.errors import DefinitionError, InvariantError, SourceError, TypeMismatchError
from streamlib.core.letters import LETTERS, from_data
from streamlib.operators.map_records import map_spec
from streamlib.plan.node import Node, Port
from streamlib.runners.patience import ClockPatience
from streamlib.runtime.engine import Engine
from streamlib.testing import assert_parity, assert_survives
from streamlib.testing.clock import ManualClock


def readings(rows: list[dict[str, Any]], **options: Any) -> sl.Stream:
    source = memory.source(rows, schema={"at": pa.int64(), "text": pa.string()}, **options)
    return sl.read(source, name="readings", event_time="at", watermark=sl.monotone())


ROWS = [{"at": i * 1_000_000, "text": str(i) if i % 7 else f"no. {i}"} for i in range(200)]
GOOD = [i for i in range(200) if i % 7]


def parsed(row: dict[str, Any]) -> dict[str, Any]:
    return {"n": int(row["text"])}


def parsed_batch(rows: pa.RecordBatch) -> pa.RecordBatch:
    return pa.record_batch({"n": pa.array([int(t) for t in rows.column("text").to_pylist()])})


SCHEMA = {"n": pa.int64()}
STEPS = {
    "select": lambda s, e: s.select(n=col("text").cast(pa.int64()), on_error=e),
    "with_columns": lambda s, e: s.with_columns(n=col("text").cast(pa.int64()), on_error=e).select("n"),
    "filter": lambda s, e: s.filter(col("text").cast(pa.int64()) >= 0, on_error=e).map(parsed, schema=SCHEMA),
    "map": lambda s, e: s.map(parsed, schema=SCHEMA, on_error=e),
    "map_batches": lambda s, e: s.map_batches(parsed_batch, schema=SCHEMA, on_error=e),
}


@pytest.mark.parametrize("step", STEPS)
def test_records_that_fail_are_skipped_and_the_others_go_on_in_order_with_their_time(step: str) -> None:
    numbers = STEPS[step](readings(ROWS, chunk_rows=64), "skip").with_columns(at=sl.event_time())
    table = numbers.collect()
    assert table["n"].to_pylist() == GOOD
    assert table["at"].cast(pa.int64()).to_pylist() == [n * 1_000_000 for n in GOOD]


@pytest.mark.parametrize("step", STEPS)
def test_dead_letters_hold_the_record_the_error_and_the_operator(step: str) -> None:
    stream = STEPS[step](readings(ROWS), sl.dead_letter(memory.sink()))
    tables = sl.Flow("f", stream.write(memory.sink(), name="out")).collect()
    letters = tables["dead_letters"].to_pylist()
    assert tables["out"]["n"].to_pylist() == GOOD
    assert [json.loads(x["record"])["text"] for x in letters] == [f"no. {i}" for i in range(0, 200, 7)]
    assert [from_data(x["data"])["text"][0].as_py() for x in letters] == [r["text"] for r in ROWS[::7]]
    assert {x["operator"] for x in letters} == {f"readings.{step}"}
    assert all("no. " in x["error"] and x["event_time"] is not None for x in letters)
    assert all("of the batch" not in x["error"] or "row 0" in x["error"] for x in letters)


def test_a_traceback_shows_the_users_line() -> None:
    stream = readings(ROWS[:1]).map(parsed, schema=SCHEMA, on_error=sl.dead_letter(memory.sink()))
    (letter,) = sl.Flow("f", stream.write(memory.sink(), name="o")).collect()["dead_letters"].to_pylist()
    assert 'return {"n": int(row["text"])}' in letter["traceback"]
    assert "streamlib/operators" not in letter["traceback"]


def careful(policy: Any) -> sl.Flow:
    stream = readings(ROWS)
    numbers = stream.select(n=col("text").cast(pa.int64()), on_error=policy)
    doubled = numbers.map(doubled_unless_13, schema=SCHEMA, on_error=policy)
    return sl.Flow("careful", doubled.write(memory.sink(), name="out"))


def doubled_unless_13(row: dict[str, Any]) -> dict[str, Any]:
    if row["n"] % 13 == 0:
        raise ValueError("unlucky")
    return {"n": row["n"] * 2}


@pytest.mark.parametrize("policy", ["skip", "letters"])
def test_what_fails_depends_on_no_batch_split_and_survives_crashes(policy: str) -> None:
    flow = careful("skip" if policy == "skip" else sl.dead_letter(memory.sink()))
    tables = assert_parity(flow, seeds=range(4))
    assert_survives(flow, seeds=range(6))
    assert sorted(tables["out"]["n"].to_pylist()) == [2 * n for n in GOOD if n % 13]
    if policy == "letters":
        assert tables["dead_letters"].num_rows == 200 - tables["out"].num_rows


@pytest.mark.parametrize(("parallelism", "workers"), [(1, "threads"), (2, "threads"), (2, "processes")])
def test_failures_are_counted_at_any_number_of_workers(
    tmp_path: Any, parallelism: int, workers: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = memory.sink()
    flow = careful(sl.dead_letter(dead))
    result = flow.run(state=tmp_path / "s", parallelism=parallelism, workers=workers)
    expected = {"readings.select": 29, "readings.map": sum(n % 13 == 0 for n in GOOD)}
    assert dict(result.dead_letters) == expected
    assert dead.table().num_rows == sum(expected.values())
    assert f"{sum(expected.values())} dead letters" in capsys.readouterr().err


def test_counts_go_on_after_a_restart(tmp_path: Any) -> None:
    flow = careful("skip")
    first = flow.run(state=tmp_path / "s", progress="none")
    again = flow.run(state=tmp_path / "s", progress="none")
    assert again.outcome == "already finished"
    assert again.skipped == first.skipped == {"readings.select": 29, "readings.map": 13}


def test_collect_and_preview_say_what_was_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    stream = readings(ROWS).select(n=col("text").cast(pa.int64()), on_error="skip")
    stream.collect()
    assert capsys.readouterr().err == "streamlib: 29 records skipped in 'readings.select'\n"
    assert "records skipped in 'readings.select'" in repr(stream.preview(3))


def test_the_plan_shows_policies_and_the_sink_of_dead_letters() -> None:
    plan = careful(sl.dead_letter(memory.sink())).explain()
    assert "on error dead_letter(" in plan
    assert "dead_letters <- readings.select.failed, readings.map.failed" in plan


def test_the_sink_of_dead_letters_is_rebound_like_any_other() -> None:
    other = memory.sink()
    flow = careful(sl.dead_letter(memory.sink())).rebind(sinks={"dead_letters": other})
    assert repr(other) in flow.explain()


# ------------------------------------------------------------------ functions and their results


@dataclass
class Reading:
    text: str


@dataclass
class Number:
    n: int


def typed(reading: Reading) -> Number:
    return Number("none" if reading.text.startswith("no") else int(reading.text))  # type: ignore[arg-type]


def test_results_that_do_not_fit_fail_alone_and_no_record_is_mapped_twice() -> None:
    calls: list[str] = []

    def counted(reading: Reading) -> Number:
        calls.append(reading.text)
        return typed(reading)

    table = readings(ROWS).map(counted, on_error="skip").collect()
    assert table["n"].to_pylist() == GOOD
    assert calls == [row["text"] for row in ROWS]


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 40))
def test_any_pattern_of_failures_leaves_the_others(bad: list[bool], chunk: int) -> None:
    rows = [{"at": i, "text": "x" if b else str(i)} for i, b in enumerate(bad)]
    for step in ("select", "map", "map_batches"):
        found = STEPS[step](readings(rows, chunk_rows=chunk), "skip").collect()["n"].to_pylist()
        assert found == [i for i, b in enumerate(bad) if not b]


def test_of_a_changelog_half_an_update_that_is_left_becomes_a_whole_change() -> None:
    def capped(row: dict[str, Any]) -> dict[str, Any]:
        if row["n"] > 2:
            raise ValueError("too many")
        return row

    rows = [{"k": k} for k in "aabaab"]
    counts = sl.read(memory.source(rows, chunk_rows=1), name="r").key_by("k").aggregate(n=sl.count())
    table = counts.map(capped, schema={"k": pa.string(), "n": pa.int64()}, on_error="skip").collect()
    assert table.to_pylist() == [{"k": "b", "n": 2}]


# ------------------------------------------------------------------ retries


def engine_of(function: Any, policy: Any, clock: ManualClock) -> tuple[Engine, Batch]:
    rows = [{"at": i, "text": str(i)} for i in range(5)]
    stream = readings(rows).map(function, schema=SCHEMA, on_error=policy)
    bound = sl.Flow("f", stream.write(memory.sink(), name="out")).bind()
    batch = Batch.from_arrow(pa.RecordBatch.from_pylist(rows), np.arange(5))
    return Engine(bound, ClockPatience(clock, "seed")), batch


def test_a_record_is_tried_again_after_growing_waits_and_keeps_its_place() -> None:
    clock, failures = ManualClock(), iter([ConnectionError("a"), ConnectionError("b")])

    def flaky(row: dict[str, Any]) -> dict[str, Any]:
        if row["text"] == "2":
            for error in failures:
                raise error
        return parsed(row)

    policy = sl.retry(3, on=ConnectionError, wait="1s", jitter=False)
    engine, batch = engine_of(flaky, policy, clock)
    began = clock.monotonic()
    engine.push("readings", batch)
    ((_, found),) = engine.take_written()
    assert found.to_arrow()["n"].to_pylist() == [0, 1, 2, 3, 4]
    assert clock.monotonic() - began == pytest.approx(1 + 2)


@pytest.mark.parametrize(
    ("growth", "waits"), [("exponential", [1, 2, 4, 5]), ("linear", [1, 2, 3, 4]), ("fixed", [1, 1, 1, 1])]
)
def test_waits_grow_as_told(growth: Any, waits: list[float]) -> None:
    policy = sl.retry(4, wait="1s", growth=growth, longest="5s", jitter=False)
    assert [policy.wait_before(attempt, 0.5) for attempt in (2, 3, 4, 5)] == waits
    jittered = sl.retry(4, wait="1s", growth=growth)
    assert 0.5 <= jittered.wait_before(2, 0.0) <= jittered.wait_before(2, 1.0) <= 1


def test_repetitions_end_with_their_time_and_then_the_record_is_skipped() -> None:
    clock, calls = ManualClock(), []

    def down(row: dict[str, Any]) -> dict[str, Any]:
        calls.append(row)
        raise TimeoutError("down")

    policy = sl.retry(100, wait="1s", growth="fixed", jitter=False, within="3s", then="skip")
    engine, batch = engine_of(down, policy, clock)
    began = clock.monotonic()
    engine.push("readings", batch)
    assert engine.take_written() == []
    assert engine.count_failures().skipped == {"readings.map": 5}
    assert clock.monotonic() - began <= 3
    assert len(calls) < 15  # the time is for the whole batch


def test_an_error_that_is_not_named_is_not_tried_again() -> None:
    clock, calls = ManualClock(), []

    def wrong(row: dict[str, Any]) -> dict[str, Any]:
        calls.append(row)
        raise KeyError("text")

    engine, batch = engine_of(wrong, sl.retry(3), clock)
    with pytest.raises(KeyError):
        engine.push("readings", batch)
    assert len(calls) == 1


def test_a_batch_function_is_tried_again_as_a_whole() -> None:
    failures = iter([OSError("once")])

    def flaky(rows: pa.RecordBatch) -> pa.RecordBatch:
        for error in failures:
            raise error
        return parsed_batch(rows)

    policy = sl.retry(wait=0, then="skip")
    stream = readings([r for r in ROWS if "no" not in r["text"]])
    assert stream.map_batches(flaky, schema=SCHEMA, on_error=policy).collect()["n"].to_pylist() == GOOD


# ------------------------------------------------------------------ what is refused


def test_a_policy_that_is_none_is_refused_with_the_closest() -> None:
    with pytest.raises(DefinitionError, match=r"did you mean 'skip'\?"):
        readings(ROWS).filter(col("at") > 0, on_error="skipp")  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="from 1 to 100"):
        sl.retry(0)
    with pytest.raises(DefinitionError, match="exception classes"):
        sl.retry(on=())
    with pytest.raises(DefinitionError, match="did you mean 'linear'"):
        sl.retry(growth="linar")  # type: ignore[arg-type]
    with pytest.raises(TypeMismatchError, match="dead letters need a sink"):
        sl.dead_letter("out/dead")  # type: ignore[arg-type]


def test_changes_can_not_be_dead_letters() -> None:
    counts = readings(ROWS).key_by("text").aggregate(n=sl.count())
    mapped = counts.filter(col("n") > 1, on_error=sl.dead_letter(memory.sink()))
    with pytest.raises(TypeMismatchError, match="changes can't be dead letters"):
        sl.Flow("f", mapped.write(memory.table_sink(), name="o")).bind()


def test_two_sinks_of_dead_letters_need_two_names() -> None:
    numbers = readings(ROWS).select(n=col("text").cast(pa.int64()), on_error=sl.dead_letter(memory.sink()))
    mapped = numbers.map(doubled_unless_13, schema=SCHEMA, on_error=sl.dead_letter(memory.sink()))
    with pytest.raises(DefinitionError, match="two sinks of dead letters"):
        sl.Flow("f", mapped.write(memory.sink(), name="o")).bind()


def test_a_broken_invariant_is_nobodys_record() -> None:
    def broken(rows: pa.RecordBatch) -> pa.RecordBatch:
        raise InvariantError("a bug")

    with pytest.raises(InvariantError):
        readings(ROWS).map_batches(broken, on_error="skip").collect()


def test_policies_take_part_in_equality_and_a_default_one_does_not() -> None:
    spec = map_spec(parsed, pa.schema(SCHEMA))
    above = (Port(readings(ROWS).port.node),)
    assert Node(spec, above).form == Node(spec, above, on_error="fail").form
    assert Node(spec, above).form != Node(spec, above, on_error="skip").form
    assert sl.retry(3) == sl.retry(3) != sl.retry(4)


def test_letters_have_a_fixed_schema() -> None:
    assert StreamType(LETTERS).schema.names[:2] == ["operator", "input"]


# ------------------------------------------------------------------ reading dead letters


def test_dead_letters_in_a_folder_are_read_and_listed_in_the_terminal(tmp_path: Any) -> None:
    flow = careful(sl.dead_letter(parquet.sink(tmp_path / "dead")))
    flow.run(state=tmp_path / "s", progress="none")
    table = sl.read_dead_letters(tmp_path / "dead")
    assert table.num_rows == 42
    assert table.schema.names == LETTERS.names
    listed = CliRunner().invoke(main, ["dlq", "ls", str(tmp_path / "dead"), "--operator", "readings.map"])
    assert listed.exit_code == 0
    assert "ValueError: unlucky" in listed.output
    shown = CliRunner().invoke(main, ["dlq", "show", str(tmp_path / "dead"), "0"])
    assert "doubled_unless_13" in shown.output
    beyond = CliRunner().invoke(main, ["dlq", "show", str(tmp_path / "dead"), "42"])
    assert beyond.exit_code == 1
    unknown = CliRunner().invoke(main, ["dlq", "ls", str(tmp_path / "dead"), "--operator", "readings.mop"])
    assert "did you mean 'readings.map'" in unknown.output


def test_a_folder_without_dead_letters_is_refused_by_name(tmp_path: Any) -> None:
    with pytest.raises(SourceError, match="no folder"):
        sl.read_dead_letters(tmp_path / "none")
    careful("skip").rebind(sinks={"out": parquet.sink(tmp_path / "out")}).run(
        state=tmp_path / "s", progress="none"
    )
    with pytest.raises(SourceError, match="does not hold dead letters"):
        sl.read_dead_letters(tmp_path / "out")


def test_bytes_in_a_dead_letter_read_as_the_text_that_they_are(tmp_path):
    dead = memory.sink()
    rows = [{"value": b'{"n": "one"}'}, {"value": b"\xff{"}]
    read = sl.read(memory.source(rows), name="rows").decode(
        "value", sl.formats.json({"n": pa.int64()}), on_error=sl.dead_letter(dead)
    )
    sl.Flow("bytes", read.write(memory.sink(), name="out")).run(state=str(tmp_path), progress="none")
    records = [json.loads(record) for record in sl.read_dead_letters(dead)["record"].to_pylist()]
    assert records == [{"value": '{"n": "one"}'}, {"value": "\\xff{"}]
