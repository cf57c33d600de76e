"""Records that fail at operators with state: functions with a state per key, and aggregates."""

from __future__ import annotations

import json
from typing import Any, TypedDict

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamlib as sl
from streamlib import col, windows
from streamlib.connectors import memory
from streamlib.core.errors import DefinitionError
from streamlib.testing import assert_parity, assert_survives

SCHEMA = {"at": pa.int64(), "k": pa.string(), "text": pa.string()}
ROWS = [
    {"at": i * 1_000_000, "k": "ab"[i % 3 == 0], "text": f"no. {i}" if i % 7 == 2 else str(i)}
    for i in range(120)
]
GOOD = [row for row in ROWS if "no" not in row["text"]]


def keyed(rows: list[dict[str, Any]] = ROWS, chunk: int = 17) -> sl.Stream:
    source = memory.source(rows, schema=SCHEMA, chunk_rows=chunk)
    return sl.read(source, name="r", event_time="at", watermark=sl.monotone()).key_by("k")


class Seen(TypedDict):
    texts: list[str]


class Sum(TypedDict):
    k: str
    total: int


def collected(state: Seen, row: dict[str, Any]) -> tuple[Seen, Sum]:
    state["texts"].append(row["text"])  # a trace, unless it is wiped off
    return state, Sum(k=row["k"], total=sum(map(int, state["texts"])))


def added(total: int, row: dict[str, Any]) -> int:
    return total + int(row["text"])


def joined(first: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    first["text"] = str(int(first["text"]) + int(row["text"]))
    return first


START = Seen(texts=[])
STEPS: dict[str, Any] = {
    "stateful_map": lambda s, e: s.stateful_map(collected, initial=START, on_error=e),
    "ttl": lambda s, e: s.stateful_map(collected, initial=START, ttl="1h", on_error=e),
    "fold": lambda s, e: s.fold(0, added, into="total", on_error=e),
}


def expected(rows: list[dict[str, Any]] = GOOD) -> list[dict[str, Any]]:
    totals: dict[str, int] = {}
    found = []
    for row in rows:
        totals[row["k"]] = totals.get(row["k"], 0) + int(row["text"])
        found.append({"k": row["k"], "total": totals[row["k"]]})
    return found


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("chunk", [1, 17, 500])
def test_a_record_that_fails_leaves_no_trace_in_the_state(step: str, chunk: int) -> None:
    found = STEPS[step](keyed(chunk=chunk), "skip").collect().to_pylist()
    assert found == expected()


def test_a_state_that_is_a_record_is_whole_again_after_a_failure() -> None:
    rows = [{**row, "text": row["text"] if i != 5 else "five"} for i, row in enumerate(GOOD)]
    found = keyed(rows).reduce(joined, on_error="skip").collect()
    assert found["text"].to_pylist() == [str(e["total"]) for e in expected(GOOD[:5] + GOOD[6:])]


@pytest.mark.parametrize("step", STEPS)
def test_failures_depend_on_no_split_and_no_workers_and_survive_crashes(step: str) -> None:
    rows = STEPS[step](keyed(), sl.dead_letter(memory.sink()))
    flow = sl.Flow("f", rows.write(memory.sink(), name="out"))
    tables = assert_parity(flow, seeds=range(3))
    assert_survives(flow, seeds=range(4))
    letters = tables["dead_letters"]
    assert [json.loads(r)["text"] for r in letters["record"].to_pylist()] == [
        row["text"] for row in ROWS if "no" in row["text"]
    ]


def wrong_sometimes(state: int, row: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    n = int(row["text"])
    return state + n, {"total": "many" if n % 5 == 0 else state + n}


def test_a_result_that_does_not_fit_leaves_no_trace_either() -> None:
    stream = keyed(GOOD).stateful_map(
        wrong_sometimes, initial=0, state=int, schema={"total": pa.int64()}, on_error="skip"
    )
    kept = [row for row in GOOD if int(row["text"]) % 5]
    assert stream.collect()["total"].to_pylist() == [e["total"] for e in expected(kept)]


def test_a_state_step_is_tried_again_from_the_state_before() -> None:
    failures = iter([ConnectionError("once")])

    def flaky(state: Seen, row: dict[str, Any]) -> tuple[Seen, Sum]:
        state["texts"].append(row["text"])
        if row["text"] == "10":
            for error in failures:
                raise error
        return state, Sum(k=row["k"], total=sum(map(int, state["texts"])))

    stream = keyed(GOOD).stateful_map(flaky, initial=START, on_error=sl.retry(wait=0))
    assert stream.collect().to_pylist() == expected()


@given(st.lists(st.booleans(), min_size=1, max_size=25), st.integers(1, 30))
def test_any_pattern_of_failures_is_as_if_the_records_were_not_there(bad: list[bool], chunk: int) -> None:
    rows = [{"at": i, "k": "ab"[i % 2], "text": "x" if b else str(i)} for i, b in enumerate(bad)]
    for step in STEPS.values():
        found = step(keyed(rows, chunk), "skip").collect().to_pylist()
        assert found == expected([row for row in rows if row["text"] != "x"])


# ------------------------------------------------------------------ aggregates

NUMBER = col("text").cast(pa.int64())


AGGREGATES: dict[str, Any] = {
    "cast": {"n": sl.count(), "total": sl.sum(NUMBER), "top": sl.max("at")},
    "udf": {"n": sl.count(), "total": sl.sum(sl.udf(int, pa.int64())(col("text")))},
    "filter": {"n": sl.count(), "total": sl.sum("at", filter=NUMBER >= 0)},
}


@pytest.mark.parametrize("kind", AGGREGATES)
@pytest.mark.parametrize("windowed", [True, False])
def test_rows_at_which_an_argument_fails_take_part_in_no_aggregate(kind: str, windowed: bool) -> None:
    def flow(rows: list[dict[str, Any]], policy: Any) -> sl.Flow:
        stream = keyed(rows)
        if windowed:
            panes = stream.window(windows.sliding("20s", every="10s"))
            out = panes.aggregate(on_error=policy, **AGGREGATES[kind])
            return sl.Flow("f", out.write(memory.sink(), name="out"))
        running = stream.aggregate(on_error=policy, **AGGREGATES[kind])
        return sl.Flow("f", running.write(memory.table_sink(), name="out"))

    found = assert_parity(flow(ROWS, sl.dead_letter(memory.sink())), seeds=range(3))
    whole = flow(GOOD, "fail").collect()
    order = [(name, "ascending") for name in whole["out"].schema.names]
    assert found["out"].sort_by(order).equals(whole["out"].sort_by(order))
    assert found["dead_letters"].num_rows == len(ROWS) - len(GOOD)


def test_aggregates_under_a_policy_survive_crashes() -> None:
    panes = keyed().window(windows.tumbling("20s"))
    out = panes.aggregate(total=sl.sum(NUMBER), on_error=sl.dead_letter(memory.sink()))
    assert_survives(sl.Flow("f", out.write(memory.sink(), name="out")), seeds=range(4))


def test_an_argument_fails_only_for_rows_that_its_filter_lets_through() -> None:
    numbers = sl.sum(NUMBER, filter=~col("text").str.starts_with("no"))
    table = keyed().aggregate(total=numbers, n=sl.count(), on_error="skip").collect()
    assert sum(table["n"].to_pylist()) == len(ROWS)


def test_a_result_may_still_be_called_on_error() -> None:
    assert keyed(GOOD).aggregate(on_error=sl.count()).collect().schema.names == ["k", "on_error"]


def test_failures_of_aggregates_are_counted_at_any_number_of_workers(tmp_path: Any) -> None:
    for workers in (1, 2):
        out = keyed().window(windows.tumbling("20s")).aggregate(total=sl.sum(NUMBER), on_error="skip")
        flow = sl.Flow("f", out.write(memory.sink(), name="out"))
        result = flow.run(state=tmp_path / str(workers), progress="none", parallelism=workers)
        assert dict(result.skipped) == {"r.aggregate": len(ROWS) - len(GOOD)}


# ------------------------------------------------------------------ explode


def test_rows_whose_lists_differ_in_length_are_left_out_of_explode() -> None:
    rows = [{"id": i, "a": [1, 2], "b": [1] if i % 4 == 1 else [3, 4]} for i in range(20)]
    stream = sl.read(memory.source(rows), name="r").explode("a", "b", on_error="skip")
    assert stream.collect()["id"].to_pylist() == [i for i in range(20) if i % 4 != 1 for _ in range(2)]


def test_an_operator_of_ones_own_with_state_has_to_say_that_it_isolates() -> None:
    from streamlib.operators.ordering import InEventTimeOrder

    stream = keyed().then(InEventTimeOrder(()), on_error="skip")
    with pytest.raises(DefinitionError, match="keeps state"):
        sl.Flow("f", stream.write(memory.sink(), name="o")).bind()
