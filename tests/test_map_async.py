"""`map_async`: calls to the outside, beside the rows. Nothing sleeps: tests decide when calls answer."""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, TypedDict
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import streamlib as sl
import streamlib.operators as op
from streamlib import windows
from streamlib.connectors import memory, parquet
from streamlib.core.batch import Batch
from streamlib.core.contracts import Answer
from streamlib.core.errors import (
    CallTimeoutError,
    ChangelogError,
    DefinitionError,
    StateIncompatibleError,
    UserFunctionError,
)
from streamlib.core.rates import rate
from streamlib.core.time import MAX_TIME
from streamlib.runners.calls import Attempts
from streamlib.runners.event_loop import event_loop
from streamlib.runtime.engine import Call, Engine
from streamlib.testing import assert_parity, assert_survives


@dataclass
class Sale:
    n: int


class Priced(TypedDict):
    n: int
    price: int


async def priced(sale: Sale) -> Priced:
    await asyncio.sleep(0)
    return Priced(n=sale.n, price=sale.n * 10)


def sales(count: int, **options: Any) -> sl.Stream:
    rows = [{"at": i * 1_000_000 + i * 7 % 5 * 300_000, "n": i} for i in range(count)]
    source = memory.source(rows, **options)
    return sl.read(source, name="sales", event_time="at", watermark=sl.bounded_disorder("2s"))


class Service:
    """A service whose answers a test gives. `calls` counts the calls of each number."""

    def __init__(self) -> None:
        self.calls: Counter[int] = Counter()
        self.cancelled: list[int] = []
        self.called = threading.Condition()
        self._answers: dict[int, Future[Any]] = {}

    async def __call__(self, sale: Sale) -> Priced:
        with self.called:
            self.calls[sale.n] += 1
            self.called.notify_all()
        try:
            return await asyncio.wrap_future(self._future(sale.n))
        except asyncio.CancelledError:
            self.cancelled.append(sale.n)
            raise

    def _future(self, n: int) -> Future[Any]:
        return self._answers.setdefault(n, Future())

    def answer(self, *numbers: int) -> None:
        for n in numbers:
            self._future(n).set_result(Priced(n=n, price=n * 10))

    def wait_for_calls(self, count: int) -> None:
        with self.called:
            assert self.called.wait_for(lambda: self.calls.total() >= count, 30), self.calls


# --------------------------------------------------------------------------- rows


@pytest.mark.parametrize("ordered", [True, False])
def test_records_and_columns_come_from_hints_and_every_record_is_answered_once(ordered: bool) -> None:
    table = sales(1000).map_async(priced, concurrency=9, ordered=ordered).collect()
    assert table.schema.names == ["n", "price"]
    assert sorted(table["price"].to_pylist()) == list(range(0, 10_000, 10))


def test_a_schema_says_the_columns_of_dicts() -> None:
    async def doubled(row: dict[str, Any]) -> dict[str, Any]:
        return {"twice": row["n"] * 2}

    found = sales(3).map_async(doubled, schema={"twice": pa.int64()}).collect()
    assert found.to_pylist() == [{"twice": 0}, {"twice": 2}, {"twice": 4}]


def test_results_keep_the_event_time_of_their_record() -> None:
    found = sales(50).map_async(priced).with_columns(at=sl.event_time()).collect()
    expected = sales(50).with_columns(at=sl.event_time()).collect()
    assert found["at"] == expected["at"]


def test_rows_stay_in_order_when_the_last_call_is_answered_first() -> None:
    done: dict[int, asyncio.Event] = {}

    async def backwards(sale: Sale) -> Priced:
        if sale.n < 19:
            await done.setdefault(sale.n + 1, asyncio.Event()).wait()
        done.setdefault(sale.n, asyncio.Event()).set()
        return await priced(sale)

    found = sales(20).map_async(backwards, concurrency=20).collect()
    assert found["n"].to_pylist() == list(range(20))


def test_unordered_rows_pass_one_that_waits_and_what_waits_at_the_end_is_cancelled() -> None:
    service = Service()
    service.answer(1, 2, 4)
    rows = sl.read(memory.source([{"n": n} for n in range(5)]), name="rows")
    found = rows.map_async(service, schema={"n": pa.int64(), "price": pa.int64()}, ordered=False)
    assert sorted(found.collect(n=3)["n"].to_pylist()) == [1, 2, 4]
    assert sorted(service.cancelled) == [0, 3]


def test_a_preview_calls_for_few_records() -> None:
    service = Service()
    service.answer(*range(100))
    stream = sales(100).map_async(service, schema={"n": pa.int64(), "price": pa.int64()})
    assert stream.preview(3).table["price"].to_pylist() == [0, 10, 20]
    assert service.calls.total() < 50


def test_all_runs_of_a_process_share_a_loop_so_that_clients_can_stay_open() -> None:
    loops = set()

    async def seen(sale: Sale) -> Priced:
        loops.add(asyncio.get_running_loop())
        return await priced(sale)

    for _ in range(2):
        sales(5).map_async(seen).collect()
    assert len(loops) == 1


# --------------------------------------------------------------------------- time, splits, crashes


def totals(stream: sl.Stream) -> sl.Flow:
    minutes = stream.key_by("n").window(windows.sliding("10s", every="5s")).aggregate(top=sl.max("price"))
    return sl.Flow("totals", minutes.write(memory.sink(), name="minutes"))


def ten(stream: sl.Stream) -> sl.Stream:
    return stream.with_columns(n=sl.col("n") % 3)


def price(sale: Sale) -> Priced:
    return Priced(n=sale.n, price=sale.n * 10)


@pytest.mark.parametrize("ordered", [True, False])
def test_windows_behind_it_are_the_same_for_every_split_and_number_of_workers(ordered: bool) -> None:
    calls = sales(120).map_async(priced, concurrency=7, ordered=ordered)
    found = assert_parity(totals(ten(calls)), seeds=range(6))["minutes"]
    assert found.equals(totals(ten(sales(120).map(price))).collect()["minutes"])


@pytest.mark.parametrize("ordered", [True, False])
def test_power_cuts_lose_and_double_nothing_and_late_rows_are_those_behind_map(ordered: bool) -> None:
    chance = random.Random(4)
    rows = [{"at": (i - chance.choice([0, 0, 0, 9])) * 1_000_000, "n": i} for i in range(120)]
    read = sl.read(memory.source(rows), name="rows", event_time="at", watermark=sl.bounded_disorder("1s"))
    calls = read.map_async(priced, concurrency=5, ordered=ordered)
    found = assert_survives(totals(ten(calls)), seeds=range(6))["minutes"]
    assert found.equals(assert_survives(totals(ten(read.map(price))), seeds=[0])["minutes"])


def counted(state: int | None, sale: Priced) -> tuple[int, Priced]:
    seen = (state or 0) + 1
    return seen, Priced(n=sale["n"], price=seen)


def test_operators_by_key_before_and_behind_it_and_two_in_a_row() -> None:
    stream = ten(sales(90).map(price)).key_by("n").stateful_map(counted)
    stream = stream.map_async(priced, concurrency=4).map_async(priced, concurrency=6, name="again")
    flow = totals(stream.key_by("n").stateful_map(counted, name="then"))
    assert_parity(flow, seeds=range(3))
    assert_survives(flow, seeds=range(3))


@pytest.mark.parametrize("workers", ["threads", "processes"])
def test_real_workers_share_one_that_calls(tmp_path: Any, workers: Any) -> None:
    stream = sales(2000).map_async(priced, concurrency=50)
    flow = sl.Flow("calls", stream.write(parquet.sink(tmp_path / "out"), name="out"))
    flow.run(state=tmp_path / "state", parallelism=2, workers=workers, progress="none")
    found = pq.read_table(tmp_path / "out")["n"].to_pylist()
    assert sorted(found) == list(range(2000))


# --------------------------------------------------------------------------- limits


def engine_of(stream: sl.Stream) -> Engine:
    return Engine(sl.Flow("f", stream.write(memory.sink(), name="out")).bind())


def batch_of(*rows: tuple[int, float]) -> Batch:
    times = np.array([round(at * 1e6) for _, at in rows], np.int64)
    columns = [times, np.array([n for n, _ in rows], np.int64)]
    return Batch(pa.schema({"at": pa.int64(), "n": pa.int64()}), columns, len(rows), times)


def answered(*calls: Call) -> list[tuple[int, Answer]]:
    return [
        (c.stage, Answer(c.effect.number, Priced(n=c.effect.argument.n, price=c.effect.argument.n * 10)))
        for c in calls
    ]


def written(engine: Engine) -> list[int]:
    return [n for _, batch in engine.take_written() for n in batch.to_arrow().column("n").to_pylist()]


def test_more_rows_than_may_be_out_make_the_source_wait() -> None:
    engine = engine_of(sales(1).map_async(priced, concurrency=3))
    engine.push("sales", batch_of(*((n, n) for n in range(5))))
    first = engine.calls()
    assert [call.effect.argument.n for call in first] == [0, 1, 2]
    assert engine.full
    engine.answer(answered(first[2], first[1]))
    assert engine.calls() == []  # they are answered, and wait for the first
    engine.answer(answered(first[0]))
    assert written(engine) == [0, 1, 2]
    assert [call.effect.argument.n for call in engine.calls()] == [3, 4]
    assert not engine.full
    assert engine.waits


def test_an_unordered_row_neither_passes_a_watermark_nor_comes_before_one() -> None:
    engine = engine_of(sales(1).map_async(priced, ordered=False))
    engine.push("sales", batch_of((0, 0), (1, 1)))
    engine.advance("sales", 1_000_000)
    engine.push("sales", batch_of((2, 2), (3, 0.5)))  # the last one is late
    engine.advance("sales", MAX_TIME)
    zero, one, two, three = engine.calls()
    end = engine._stages[-1]
    engine.answer(answered(one, three))
    assert (written(engine), end.watermark < 1_000_000) == ([1], True)
    engine.answer(answered(zero))
    assert (written(engine), end.watermark) == ([0, 3], 1_000_000)
    assert engine.waits
    engine.answer(answered(two))
    assert (written(engine), end.watermark) == ([2], MAX_TIME)
    assert not engine.waits


def test_no_more_calls_than_that_are_in_flight() -> None:
    most = flying = 0

    async def counted(sale: Sale) -> Priced:
        nonlocal most, flying
        flying += 1
        most = max(most, flying)
        for _ in range(3):
            await asyncio.sleep(0)
        flying -= 1
        return await priced(sale)

    assert sales(200).map_async(counted, concurrency=8).collect().num_rows == 200
    assert most == 8


def answers_of(attempts: Attempts, calls: list[Call]) -> list[Answer]:
    async def together() -> list[Answer]:
        return await asyncio.gather(*map(attempts.answer, calls))

    return event_loop().submit(together()).result(30)


class Slept:
    """A clock that moves when someone sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sleeps: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(round(seconds, 6))


def calls_of(stream: sl.Stream, count: int) -> list[Call]:
    engine = engine_of(stream)
    engine.push("sales", batch_of(*((n, n) for n in range(count))))
    return engine.calls()


def test_attempts_begin_no_faster_than_the_rate() -> None:
    clock = Slept()
    attempts = Attempts(lambda: clock.now, clock.sleep, random.Random(0))
    calls = calls_of(sales(1).map_async(priced, rate_limit="100/s"), 4)
    answers_of(attempts, calls)
    assert clock.sleeps == [0.01, 0.02, 0.03]
    clock.now += 60
    answers_of(attempts, calls[:1])
    assert clock.sleeps == [0.01, 0.02, 0.03]


@pytest.mark.parametrize("text", ["100", "x/s", "0/s", "1/parsec", "", 7])
def test_what_is_no_rate_is_refused(text: Any) -> None:
    with pytest.raises(DefinitionError, match="no rate"):
        rate(text)


# --------------------------------------------------------------------------- stops


def test_calls_that_are_pending_when_a_job_stops_are_made_again(tmp_path: Any) -> None:
    service = Service()
    service.answer(*range(5))
    stream = sales(10).map_async(service, schema={"n": pa.int64(), "price": pa.int64()})
    flow = sl.Flow("calls", stream.write(parquet.sink(tmp_path / "out"), name="out"))
    job = flow.start(state=tmp_path / "state", progress="none")
    service.wait_for_calls(10)
    assert job.drain().outcome == "drained"  # without an answer to any of the others
    assert sorted(service.cancelled) == [5, 6, 7, 8, 9]
    before = dict(service.calls)
    service._answers.clear()
    service.answer(*range(10))
    flow.run(state=tmp_path / "state", progress="none")
    assert pq.read_table(tmp_path / "out").sort_by("n")["n"].to_pylist() == list(range(10))
    assert all(service.calls[n] == before[n] + 1 for n in range(5, 10))


def test_a_job_that_finishes_waits_for_its_calls(tmp_path: Any) -> None:
    service = Service()
    stream = sales(4).map_async(service, schema={"n": pa.int64(), "price": pa.int64()})
    flow = sl.Flow("calls", stream.write(parquet.sink(tmp_path / "out"), name="out"))
    job = flow.start(state=tmp_path / "state", finish=True, progress="none")
    service.wait_for_calls(4)
    answers = threading.Thread(target=partial(service.answer, 3, 1, 0, 2))
    answers.start()
    assert job.drain().outcome == "finished"
    answers.join()
    assert pq.read_table(tmp_path / "out").num_rows == 4


def test_rows_that_wait_in_a_checkpoint_have_the_columns_of_the_flow() -> None:
    engine = engine_of(sales(1).map_async(priced))
    engine.push("sales", batch_of((1, 1), (2, 2)))
    states = engine.snapshot()
    other = engine_of(sales(1).with_columns(more=sl.lit(1)).map_async(priced))
    with pytest.raises(StateIncompatibleError, match="other columns") as caught:
        other.restore(states, {})
    assert "more int64" in str(caught.value.expected)
    again = engine_of(sales(1).map_async(priced))
    again.restore(states, {})
    assert [call.effect.argument.n for call in again.calls()] == [1, 2]


# --------------------------------------------------------------------------- failures


async def picky(sale: Sale) -> Priced:
    if sale.n % 5 == 3:
        raise ValueError(f"no price for {sale.n}")
    return await priced(sale)


def test_what_a_call_raises_comes_through_with_the_users_line_and_the_record() -> None:
    with pytest.raises(ValueError, match="no price for 3") as caught:
        sales(10).map_async(picky).collect()
    notes = "\n".join(caught.value.__notes__)
    assert "picky was called with Sale(n=3)" in notes
    assert "in operator 'map_async' (test_map_async.py" in notes
    lines = "".join(traceback.format_exception(caught.value))
    assert 'raise ValueError(f"no price for {sale.n}")' in lines


def test_records_that_fail_are_skipped_and_counted(tmp_path: Any) -> None:
    stream = sales(20).map_async(picky, on_error="skip")
    for workers in (1, 2):
        flow = sl.Flow("f", stream.write(parquet.sink(tmp_path / f"out{workers}"), name="out"))
        result = flow.run(state=tmp_path / f"state{workers}", parallelism=workers, progress="none")
        assert result.skipped == {"sales.map_async": 4}
    assert stream.collect()["n"].to_pylist() == [n for n in range(20) if n % 5 != 3]


def test_records_that_fail_become_dead_letters_once() -> None:
    stream = sales(40).map_async(picky, concurrency=3, on_error=sl.dead_letter(memory.sink()))
    flow = sl.Flow("f", stream.write(memory.sink(), name="out"))
    letters = flow.collect()["dead_letters"].to_pylist()
    assert [json.loads(letter["record"])["n"] for letter in letters] == list(range(3, 40, 5))
    assert {letter["operator"] for letter in letters} == {"sales.map_async"}
    assert "raise ValueError" in letters[0]["traceback"]
    assert_parity(flow, seeds=range(3))
    assert_survives(flow, seeds=range(3))


def test_a_call_is_made_again_as_the_policy_says() -> None:
    failing = Counter({2: 2, 4: 9})
    tried: Counter[int] = Counter()

    async def flaky(sale: Sale) -> Priced:
        tried[sale.n] += 1
        if tried[sale.n] <= failing[sale.n]:
            raise ConnectionError("reset")
        return await priced(sale)

    policy = sl.retry(3, wait=0, then="skip")
    found = sales(6).map_async(flaky, on_error=policy).collect()
    assert found["n"].to_pylist() == [0, 1, 2, 3, 5]
    assert (tried[2], tried[4], tried[5]) == (3, 4, 1)


def test_waits_between_attempts_grow_by_the_clock_that_was_handed_in() -> None:
    clock = Slept()
    attempts = Attempts(lambda: clock.now, clock.sleep, random.Random(0))

    async def failing(sale: Sale) -> Priced:
        raise ConnectionError("reset")

    policy = sl.retry(3, wait="1s", jitter=False)
    (answer,) = answers_of(attempts, calls_of(sales(1).map_async(failing, on_error=policy), 1))
    assert isinstance(answer.error, ConnectionError)
    assert clock.sleeps == [1, 2, 4]


def test_a_call_that_does_not_answer_in_time_has_failed() -> None:
    with pytest.raises(CallTimeoutError) as caught:
        sales(1).map_async(Service(), schema={"n": pa.int64(), "price": pa.int64()}, timeout="1ms").collect()
    text = str(caught.value)
    assert "in operator 'map_async' (test_map_async.py" in text
    assert "an answer within 1ms" in text
    assert "Sale(n=0)" in text
    assert "sl.retry()" in text


def test_a_timeout_is_tried_again_like_any_other_failure() -> None:
    calls: list[int] = []

    async def slow(sale: Sale) -> Priced:
        calls.append(sale.n)
        if len(calls) == 1:
            await asyncio.Event().wait()
        return await priced(sale)

    found = sales(1).map_async(slow, timeout="1ms", on_error=sl.retry(1, wait=0)).collect()
    assert (found.num_rows, calls) == (1, [0, 0])


def test_a_result_that_does_not_fit_fails_alone() -> None:
    async def odd(row: dict[str, Any]) -> dict[str, Any]:
        return {"n": row["n"] if row["n"] != 2 else "two"}

    stream = partial(sales(5).map_async, odd, schema={"n": pa.int64()})
    with pytest.raises(UserFunctionError, match="another type"):
        stream().collect()
    assert stream(on_error="skip").collect()["n"].to_pylist() == [0, 1, 3, 4]


def test_a_call_that_is_cancelled_from_inside_or_ends_the_interpreter_is_told() -> None:
    async def cancelled(sale: Sale) -> Priced:
        raise asyncio.CancelledError

    async def leaving(sale: Sale) -> Priced:
        raise SystemExit(7)

    with pytest.raises(UserFunctionError, match="cancelled"):
        sales(1).map_async(cancelled).collect()
    with pytest.raises(SystemExit):
        sales(1).map_async(leaving).collect()


def test_what_can_not_be_meant_is_refused_where_it_is_written() -> None:
    def plain(sale: Sale) -> Any:
        return price(sale)

    async def unhinted(sale):
        return sale

    wrong: list[tuple[Callable[[], Any], str]] = [
        (lambda: sales(1).map_async(plain), "`.map`"),
        (lambda: sales(1).map_async(unhinted), "schema="),
        (lambda: sales(1).map_async(priced, concurrency=0), "concurrency"),
        (lambda: sales(1).map_async(priced, timeout="0s"), "timeout"),
        (lambda: sales(1).map_async(priced, rate_limit="fast"), '"100/s"'),
    ]
    for build, part in wrong:
        with pytest.raises(DefinitionError) as caught:
            build()
        assert part in str(caught.value)
        assert "test_map_async.py" in str(caught.value)
        assert "preview" not in str(caught.value)


def test_a_changelog_is_refused() -> None:
    running = sales(3).key_by("n").aggregate(price=sl.count()).map_async(priced)
    with pytest.raises(ChangelogError):
        running.collect()


def test_explain_tells_the_limits() -> None:
    stream = sales(1).map_async(priced, concurrency=20, timeout="2s", rate_limit="50/s")
    text = sl.Flow("f", stream.write(memory.sink(), name="out")).explain()
    assert "20 at a time, in order, each within 2s, 50/s" in str(text)


# --------------------------------------------------------------------------- the page


def test_the_page_bills_customers_of_a_service_that_fails_now_and_then() -> None:
    httpx = pytest.importorskip("httpx")
    page = (Path(__file__).parents[1] / "docs" / "async.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    asked: Counter[str] = Counter()

    def handle(request: Any) -> Any:
        asked[request.url.path] += 1
        if request.url.path == "/customers/eve":
            return httpx.Response(404)
        if asked[request.url.path] == 1:
            return httpx.Response(503)
        return httpx.Response(200, json={"country": "NO"})

    module = ModuleType("billing")
    fake = httpx.AsyncClient(base_url="https://fake", transport=httpx.MockTransport(handle))
    with patch.dict(sys.modules, billing=module), patch.object(httpx, "AsyncClient", lambda **_: fake):
        exec(compile(code, "docs/async.md", "exec"), module.__dict__)
        tables = module.flow.collect()
    assert tables["billed"].to_pylist() == [{"order": 0, "country": "NO"}, {"order": 1, "country": "NO"}]
    assert [json.loads(r)["customer"] for r in tables["dead_letters"]["record"].to_pylist()] == ["eve"]
    assert asked == {"/customers/ada": 2, "/customers/bob": 2, "/customers/eve": 4}


# --------------------------------------------------------------------------- operators of one's own


@dataclass(frozen=True, eq=False)
class Prices(op.OperatorSpec):
    """Asks for the prices of a whole batch at once."""

    kind: ClassVar[str] = "prices"
    stateful: ClassVar[bool] = True
    isolates: ClassVar[bool] = True

    def bind(self, inputs: Sequence[op.StreamType]) -> tuple[op.StreamType, ...]:
        (stream,) = inputs
        return (replace(stream, schema=stream.schema.append(pa.field("price", pa.int64()))),)

    def build(self, inputs: Sequence[op.StreamType]) -> op.Operator:
        return PricesOperator(inputs[0].schema, self.bind(inputs)[0].schema)


async def prices_of(numbers: list[int]) -> list[int]:
    return [n * 10 for n in numbers]


class PricesOperator(op.Operator):
    """One batch is asked about at a time; `queue` holds batches and the watermarks between them."""

    def __init__(self, schema: pa.Schema, out: pa.Schema) -> None:
        self.schema, self.out = schema, out
        self.queue: list[Any] = []
        self.asked = False
        self.came = self.promised = op.MIN_TIME

    def on_batch(self, batch: Batch, port: int) -> Any:
        self.queue.append(batch)
        return ()

    def on_watermark(self, watermark: int) -> Any:
        if watermark > self.came:
            self.came = watermark
            if self.queue:
                self.queue.append(watermark)
            else:
                self.promised = watermark
        return ()

    def output_watermark(self, watermark: int) -> int:
        return self.promised

    @property
    def pending(self) -> bool:
        return bool(self.queue)

    @property
    def full(self) -> bool:
        return len(self.queue) > 4

    def effects(self) -> Any:
        if self.asked or not self.queue:
            return ()
        self.asked = True
        numbers = self.queue[0].to_arrow().column("n").to_pylist()
        return [op.Effect(0, prices_of, numbers, timeout=1_000_000)]

    def on_answers(self, answers: Any) -> Any:
        (answer,) = answers
        self.asked = False
        batch = self.queue.pop(0)
        while self.queue and isinstance(self.queue[0], int):
            self.promised = self.queue.pop(0)
        rows = batch.replaced(self.out, [*batch.columns, pa.array(answer.result, pa.int64())])
        yield op.Answered([(0, rows)], self.promised)

    def snapshot(self) -> op.OperatorState:
        parts = [
            item
            if isinstance(item, int)
            else [item.to_arrow().column("n").to_pylist(), item.event_time.tolist()]
            for item in self.queue
        ]
        return op.OperatorState(values={"queue": parts, "came": self.came, "promised": self.promised})

    def restore(self, state: op.OperatorState) -> None:
        self.came, self.promised = state.values["came"], state.values["promised"]
        for part in state.values["queue"]:
            if isinstance(part, int):
                self.queue.append(part)
            else:
                numbers, times = (np.array(values, np.int64) for values in part)
                self.queue.append(Batch(self.schema, [numbers], len(numbers), times))


def test_an_operator_of_ones_own_asks_for_whole_batches() -> None:
    stream = sales(100).select("n").then(Prices())
    assert stream.collect()["price"].to_pylist() == list(range(0, 1000, 10))
    flow = totals(ten(stream))
    assert_parity(flow, seeds=range(3))
    assert_survives(flow, seeds=range(3))
