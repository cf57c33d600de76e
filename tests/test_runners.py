"""The parts of a runner: lanes, feeds, checkpoints in flight, batch sizes, progress, signals."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

import streamlib as sl
from streamlib.connectors import console, memory
from streamlib.core.batch import Batch
from streamlib.core.contracts import Chunk, Pause
from streamlib.core.errors import DefinitionError, SinkError
from streamlib.core.time import MAX_TIME, MIN_TIME, SECOND
from streamlib.plan.launch import JobResult, Stats
from streamlib.plan.node import Node
from streamlib.runners import pool as pool_module
from streamlib.runners import progress as progress_module
from streamlib.runners.checkpointing import Checkpointer, SinkLane
from streamlib.runners.clock import RealClock
from streamlib.runners.driver import BatchSize
from streamlib.runners.feeds import READ_AHEAD_ROWS, InlineFeed, ThreadFeed
from streamlib.runners.lanes import QUEUE_LIMIT, InlineLane, ThreadLane
from streamlib.runners.pool import DaemonPool
from streamlib.runners.progress import TextProgress, progress_line, progress_to, summary
from streamlib.runners.signals import AbortedError, draining_on_signals
from streamlib.runners.stats import Silent
from streamlib.runners.switching import SWITCH_INTERVAL, quick_switching
from streamlib.runners.world import LocalWorld
from streamlib.runtime.pipeline import Captured

PATIENCE = 30.0  # seconds that a test waits for a thread before it fails


def nothing() -> None:
    pass


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until another thread has got there; fails instead of waiting for ever."""
    done = threading.Event()
    for _ in range(int(PATIENCE / 0.005)):
        if condition():
            return
        done.wait(0.005)
    raise AssertionError("it did not happen")


@pytest.fixture
def gate():
    """An event that lets hanging calls go at the end of the test, whatever happened."""
    event = threading.Event()
    yield event
    event.set()


# --------------------------------------------------------------------------- lanes


@pytest.fixture(params=["thread", "inline"])
def lane(request):
    made = ThreadLane("test", nothing) if request.param == "thread" else InlineLane()
    yield made
    made.close(PATIENCE)


def test_a_lane_runs_its_calls_in_order_and_one_after_another(lane):
    seen: list[int] = []
    busy = threading.Lock()

    def call(number: int) -> int:
        assert busy.acquire(blocking=False), "two calls at once"
        seen.append(number)
        busy.release()
        return number * 2

    futures = [lane.submit(call, i) for i in range(200)]
    assert [f.result(PATIENCE) for f in futures] == [i * 2 for i in range(200)]
    assert seen == list(range(200))


def test_after_a_failure_a_lane_runs_nothing_more_and_every_later_call_fails_with_the_same_error(lane):
    ran: list[str] = []
    failure = ValueError("disk on fire")

    def fail() -> None:
        raise failure

    first = lane.submit(ran.append, "before")
    broken = lane.submit(fail)
    later = [lane.submit(ran.append, "after") for _ in range(3)]
    assert first.result(PATIENCE) is None
    assert [f.exception(PATIENCE) for f in (broken, *later)] == [failure] * 4
    assert ran == ["before"]


def test_a_thread_lane_calls_in_a_thread_of_its_own_and_tells_when_each_call_is_done():
    done = threading.Semaphore(0)
    lane = ThreadLane("hot", done.release)
    assert lane.submit(lambda: threading.current_thread().name).result(PATIENCE) == "streamlib-hot"
    assert done.acquire(timeout=PATIENCE)
    lane.submit(int, "no number")
    assert done.acquire(timeout=PATIENCE), "a failure is told too"
    assert lane.close(PATIENCE)


def test_a_thread_lane_is_full_while_so_many_calls_wait_and_has_room_again_afterwards(gate):
    lane = ThreadLane("slow", nothing)
    started = threading.Event()

    def slow() -> None:
        started.set()
        gate.wait(PATIENCE)

    lane.submit(slow)
    assert started.wait(PATIENCE)
    for _ in range(QUEUE_LIMIT):
        assert not lane.full
        lane.submit(nothing)
    assert lane.full
    gate.set()
    wait_for(lambda: not lane.full)
    assert lane.close(PATIENCE)


def test_closing_a_thread_lane_lets_the_queued_calls_finish():
    lane = ThreadLane("busy", nothing)
    seen: list[int] = []
    for i in range(50):
        lane.submit(seen.append, i)
    assert lane.close(PATIENCE)
    assert seen == list(range(50))


def test_closing_a_lane_whose_call_hangs_gives_up_in_time_and_says_so(gate):
    lane = ThreadLane("stuck", nothing)
    lane.submit(gate.wait)
    clock = RealClock()
    began = clock.monotonic()
    assert not lane.close(0.05)
    assert clock.monotonic() - began < PATIENCE / 2


def test_a_lane_lets_go_of_the_rows_it_wrote():
    lane = ThreadLane("memory", nothing)

    class Rows:
        pass

    rows = Rows()
    seen = weakref.ref(rows)
    lane.submit(lambda rows: None, rows).result(PATIENCE)
    del rows
    wait_for(lambda: seen() is None)
    lane.close(PATIENCE)


# --------------------------------------------------------------------------- feeds


def chunk(start: int, rows: int) -> Chunk:
    return Chunk(pa.record_batch({"id": pa.array(range(start, start + rows), pa.int64())}), start + rows)


class Script:
    """A reader that answers what it is told, raises what is an exception, and counts."""

    def __init__(self, answers: list[Any]) -> None:
        self._answers = iter(answers)
        self.reads = 0
        self.closed = 0
        self.threads: set[str] = set()

    def read(self) -> Chunk | Pause:
        self.reads += 1
        self.threads.add(threading.current_thread().name)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def pool():
    found = DaemonPool(2, "reader")
    yield found
    found.close()


def polled(feed: ThreadFeed) -> Chunk | Pause:
    """The next answer other than "not yet"."""
    found: list[Chunk | Pause] = []

    def look() -> bool:
        answer = feed.poll()
        if answer is not Pause.NOT_YET:
            found.append(answer)
        return bool(found)

    wait_for(look)
    return found[0]


def test_a_thread_feed_hands_over_the_chunks_in_order_then_the_end(pool):
    reader = Script([chunk(0, 3), Pause.NOT_YET, chunk(3, 2), Pause.END])
    feed = ThreadFeed(reader, pool, nothing)
    found = [polled(feed) for _ in range(3)]
    assert [c.next_position for c in found[:2]] == [3, 5]
    assert found[2] is Pause.END
    assert feed.poll() is Pause.END
    assert reader.reads == 4, "nothing is read behind the end"
    assert all(name.startswith("streamlib-reader") for name in reader.threads)


def test_a_thread_feed_reads_ahead_up_to_its_bound_and_goes_on_when_there_is_room(pool):
    size = READ_AHEAD_ROWS // 4
    reader = Script([chunk(i * size, size) for i in range(20)] + [Pause.END])
    feed = ThreadFeed(reader, pool, nothing)
    for taken in range(1, 21):
        assert polled(feed).next_position == taken * size
        wait_for(lambda: feed._reading is None or feed._reading.done())
        assert reader.reads <= taken + 4, "what was taken, and the bound"
    assert polled(feed) is Pause.END
    feed.close()


def test_an_error_while_reading_comes_after_the_chunks_before_it(pool):
    failure = OSError("torn")
    reader = Script([chunk(0, 1), chunk(1, 1), failure])
    feed = ThreadFeed(reader, pool, nothing)
    assert polled(feed).next_position == 1
    wait_for(lambda: reader.reads == 3)
    assert polled(feed).next_position == 2
    with pytest.raises(OSError, match="torn"):
        polled(feed)


def test_a_thread_feed_wakes_the_loop_for_every_chunk_and_for_the_end(pool):
    woken = threading.Semaphore(0)
    feed = ThreadFeed(Script([chunk(0, 1), chunk(1, 1), Pause.END]), pool, woken.release)
    feed.poll()
    assert all(woken.acquire(timeout=PATIENCE) for _ in range(3))


def test_closing_a_thread_feed_waits_for_the_read_under_way_and_closes_the_reader_once(pool, gate):
    events: list[str] = []

    class Slow(Script):
        def read(self) -> Chunk | Pause:
            started.set()
            gate.wait(PATIENCE)
            events.append("read")
            return chunk(0, 1)

        def close(self) -> None:
            events.append("closed")

    started = threading.Event()
    feed = ThreadFeed(Slow([]), pool, nothing)
    feed.poll()
    assert started.wait(PATIENCE)
    closing = threading.Thread(target=feed.close)
    closing.start()
    gate.set()
    closing.join(PATIENCE)
    assert events == ["read", "closed"], "one read, none after the stop, then the reader is closed"


def test_closing_a_thread_feed_whose_read_hangs_gives_up_in_time_and_leaves_the_reader_alone(
    pool, gate, monkeypatch
):
    monkeypatch.setattr("streamlib.runners.feeds.READ_TIMEOUT", 0.05)

    class Hanging(Script):
        def read(self) -> Chunk | Pause:
            self.reads += 1
            gate.wait(PATIENCE)
            return Pause.END

    reader = Hanging([])
    feed = ThreadFeed(reader, pool, nothing)
    feed.poll()
    wait_for(lambda: reader.reads == 1)
    clock = RealClock()
    began = clock.monotonic()
    feed.close()
    assert clock.monotonic() - began < PATIENCE / 2
    assert reader.closed == 0, "no other call may run beside the one that hangs"


def test_a_read_that_still_waits_for_a_thread_is_given_up_at_once(gate):
    pool = DaemonPool(1, "reader")
    pool.submit(lambda: gate.wait(PATIENCE) and None)
    reader = Script([Pause.END])
    feed = ThreadFeed(reader, pool, nothing)
    feed.poll()
    feed.close()
    assert (reader.reads, reader.closed) == (0, 1)
    gate.set()
    pool.submit(nothing).result(PATIENCE)
    assert reader.reads == 0
    pool.close()


def test_reader_threads_do_not_keep_a_process_alive_and_end_with_their_pool(gate):
    pool = DaemonPool(2, "reader")
    threads = [t for t in threading.enumerate() if t.name.startswith("streamlib-reader") and t.is_alive()]
    assert all(thread.daemon for thread in threads)
    pool.close()
    wait_for(lambda: not any(t.is_alive() for t in pool._threads))


def test_an_error_that_nobody_asked_for_does_not_keep_a_feed_from_closing(pool):
    reader = Script([OSError("gone")])
    feed = ThreadFeed(reader, pool, nothing)
    feed.poll()
    wait_for(lambda: reader.reads == 1)
    feed.close()
    assert reader.closed == 1


def test_a_reader_pool_lets_go_of_a_reader_as_soon_as_it_has_read():
    """At the end of the process a reader that is still held aborts it in Arrow's C++."""
    pool = DaemonPool(1, "reader")

    class Reader:
        def read(self) -> None: ...

    reader = Reader()
    seen = weakref.ref(reader)
    pool.submit(reader.read).result(PATIENCE)
    del reader
    wait_for(lambda: seen() is None)
    pool.close()


def test_closing_a_reader_pool_ends_its_threads_and_leaves_behind_only_one_that_hangs(gate, monkeypatch):
    monkeypatch.setattr(pool_module, "JOIN_TIMEOUT", 0.1)
    before = set(threading.enumerate())
    pool = DaemonPool(3, "reader")
    pool.submit(gate.wait)
    pool.submit(nothing).result(PATIENCE)
    threads = set(threading.enumerate()) - before
    assert (len(threads), all(thread.daemon for thread in threads)) == (3, True)
    pool.close()
    assert sum(thread.is_alive() for thread in threads) == 1
    gate.set()
    wait_for(lambda: not any(thread.is_alive() for thread in threads))


def test_sources_in_memory_are_read_in_place_and_others_in_the_background():
    world = LocalWorld()
    source = memory.source([{"id": 1}])
    assert isinstance(world.feed(source, source.open("0", None, None)), InlineFeed)
    feed = world.feed(object(), Script([Pause.END]))  # type: ignore[arg-type]
    assert isinstance(feed, ThreadFeed)
    feed.close()
    world.close()


# --------------------------------------------------------------------------- checkpoints


class HandLane:
    """Runs a call when the test says so."""

    full = False

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = []

    def submit(self, call: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, call, args))
        return future

    def go(self) -> None:
        future, call, args = self.waiting.pop(0)
        try:
            future.set_result(call(*args))
        except Exception as error:
            future.set_exception(error)

    def close(self, timeout: float) -> bool:
        return True


class FakeWriter:
    def __init__(self, log: list[str], name: str, fail: str = "") -> None:
        self._log, self._name, self._fail = log, name, fail

    def _note(self, what: str) -> None:
        self._log.append(f"{self._name} {what}")
        if what.split(maxsplit=1)[0] == self._fail:
            raise SinkError(f"{self._fail} failed")

    def write(self, rows: pa.RecordBatch) -> None:
        self._note(f"write {rows.num_rows}")

    def prepare(self, number: int) -> Any:
        self._note(f"prepare {number}")
        return {"number": number}

    def commit(self, number: int, pending: Any) -> None:
        assert pending == {"number": number}
        self._note(f"commit {number}")

    def last_committed(self) -> int:
        return 0

    def close(self) -> None:
        self._note("close")


class FakeCommit:
    def __init__(self, number: int, value: Any) -> None:
        self.number, self.value = number, value


class FakeStore:
    def __init__(self, log: list[str], fail: str = "") -> None:
        self._log, self._fail = log, fail
        self.next_number = 2
        self.pending: dict[str, list[FakeCommit]] = {}

    def write(self, number: int, capture: Any) -> None:
        self._log.append(f"store write {number}")
        if self._fail == "write":
            raise OSError("disk full")
        self.next_number = number + 1
        self.pending = {s: [FakeCommit(number, v)] for s, v in capture.prepared.items()}

    def acknowledge(self, sink: str, number: int) -> None:
        self._log.append(f"store acknowledge {sink} {number}")
        self.pending = {s: c for s, c in self.pending.items() if s != sink}

    def retain(self) -> None:
        self._log.append("store retain")


class Protocol:
    """A checkpointer over fakes; `log` is what was called, in order."""

    def __init__(self, fail: str = "", sinks: tuple[str, ...] = ("a", "b")) -> None:
        self.log: list[str] = []
        self.store = FakeStore(self.log, fail)
        self.store_lane = HandLane()
        self.lanes = {name: HandLane() for name in sinks}
        node = Node(memory.sink(), (), "hot", "flow.py:7")  # type: ignore[arg-type]
        self.sinks = {
            name: SinkLane(replace(node, name=name), FakeWriter(self.log, name, fail), lane)
            for name, lane in self.lanes.items()
        }
        self.checkpointer = Checkpointer(self.store, self.store_lane, self.sinks, {"mode": "streaming"}, 0)  # type: ignore[arg-type]

    def begin(self, finished: bool = False) -> None:
        self.checkpointer.begin(Captured({}, {}, {}, {}), finished)

    def poll(self) -> list[str]:
        """Poll; what was called since the last look."""
        self.checkpointer.poll()
        found, self.log[:] = list(self.log), []
        return found


ROWS = pa.record_batch({"id": [1, 2]})


def test_a_checkpoint_goes_stage_by_stage_and_each_waits_for_all_of_the_one_before():
    p = Protocol()
    p.begin()
    assert p.poll() == []
    p.lanes["a"].go()
    assert (p.poll(), p.store_lane.waiting) == (["a prepare 2"], []), "b has not prepared"
    p.lanes["b"].go()
    assert p.poll() == ["b prepare 2"]
    assert not p.lanes["a"].waiting, "nothing is committed before the manifest is durable"
    p.store_lane.go()
    assert p.poll() == ["store write 2"]
    p.lanes["b"].go()
    assert p.poll() == ["b commit 2"]
    assert not p.store_lane.waiting, "a has not committed"
    p.lanes["a"].go()
    assert p.poll() == ["a commit 2"]
    assert (p.checkpointer.completed, p.checkpointer.in_flight) == (0, True)
    p.store_lane.go()
    assert p.poll() == ["store acknowledge a 2", "store acknowledge b 2", "store retain"]
    assert (p.checkpointer.completed, p.checkpointer.last_number) == (1, 2)
    assert not p.checkpointer.in_flight


def test_only_one_checkpoint_is_in_flight():
    p = Protocol()
    p.begin()
    with pytest.raises(AssertionError, match="one checkpoint in flight"):
        p.begin()


def test_rows_written_after_the_barrier_stay_behind_it_in_the_lane():
    p = Protocol(sinks=("a",))
    p.sinks["a"].write(Batch.from_arrow(ROWS))
    p.begin()
    p.sinks["a"].write(Batch.from_arrow(ROWS.slice(0, 1)))
    while p.lanes["a"].waiting:
        p.lanes["a"].go()
    assert p.log == ["a write 2", "a prepare 2", "a write 1"]


def test_nothing_is_committed_if_the_manifest_could_not_be_written():
    p = Protocol("write")
    p.sinks["a"].writer = FakeWriter(p.log, "a")
    p.sinks["b"].writer = FakeWriter(p.log, "b")
    p.begin()
    p.lanes["a"].go()
    p.lanes["b"].go()
    p.poll()
    p.store_lane.go()
    for _ in range(2):
        with pytest.raises(OSError, match="disk full"):
            p.checkpointer.poll()
    assert not any(lane.waiting for lane in p.lanes.values())
    assert p.checkpointer.completed == 0


def test_no_manifest_is_written_if_a_sink_could_not_prepare():
    p = Protocol("prepare")
    p.begin()
    p.lanes["a"].go()
    p.lanes["b"].go()
    with pytest.raises(SinkError, match=r"in operator 'a' \(flow.py:7\): prepare failed"):
        p.checkpointer.poll()
    assert not p.store_lane.waiting


def test_nothing_is_forgotten_if_a_commit_failed():
    p = Protocol("commit")
    p.begin()
    p.lanes["a"].go()
    p.lanes["b"].go()
    p.poll()
    p.store_lane.go()
    p.poll()
    p.lanes["a"].go()
    p.lanes["b"].go()
    with pytest.raises(SinkError, match="commit failed"):
        p.checkpointer.poll()
    assert not p.store_lane.waiting
    assert set(p.store.pending) == {"a", "b"}


def test_a_failed_write_is_raised_at_the_next_write_and_at_the_next_poll():
    p = Protocol("write", sinks=("a",))
    p.sinks["a"].write(Batch.from_arrow(ROWS))
    p.lanes["a"].go()
    with pytest.raises(SinkError, match=r"in operator 'a' .*write failed"):
        p.sinks["a"].write(Batch.from_arrow(ROWS))
    p = Protocol("write", sinks=("a",))
    p.sinks["a"].write(Batch.from_arrow(ROWS))
    p.lanes["a"].go()
    with pytest.raises(SinkError, match="write failed"):
        p.checkpointer.poll()


def test_an_error_that_is_not_ours_keeps_its_type_and_names_the_sink_once_in_a_note():
    p = Protocol(sinks=("a",))
    p.sinks["a"].writer.write = lambda rows: 1 // 0  # type: ignore[method-assign]
    sink = p.sinks["a"]
    sink.write(Batch.from_arrow(ROWS))
    p.lanes["a"].go()
    failed = sink.writes[0]
    for _ in range(2):
        with pytest.raises(ZeroDivisionError) as raised:
            sink.result(failed)
    assert raised.value.__notes__ == ["in operator 'a' (flow.py:7)"]


def test_a_writer_is_not_closed_beside_a_call_that_hangs():
    p = Protocol(sinks=("a",))
    sink = p.sinks["a"]
    sink.close(lambda: 0.0)
    assert p.log == ["a close"]
    p.log.clear()
    p.lanes["a"].close = lambda timeout: False  # type: ignore[method-assign]
    sink.close(lambda: 0.0)
    assert p.log == []


# --------------------------------------------------------------------------- batch size


def test_batches_grow_while_steps_are_full_and_quick_up_to_a_bound():
    size = BatchSize()
    seen = [size.rows]
    for _ in range(10):
        size.adapt(size.rows, BatchSize.target / 3)
        seen.append(size.rows)
    assert seen[:2] == [16_384, 32_768]
    assert seen == sorted(seen)
    assert seen[-1] == BatchSize.largest


def test_batches_shrink_while_steps_are_slow_down_to_a_bound():
    size = BatchSize()
    seen = []
    for _ in range(10):
        size.adapt(10, BatchSize.target * 3)
        seen.append(size.rows)
    assert seen[0] == 8_192
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == BatchSize.smallest


@pytest.mark.parametrize(("admitted", "seconds"), [(100, 0.0), (16_384, 0.04), (16_384, 0.09), (0, 0.05)])
def test_batches_stay_as_they_are_when_idle_or_near_the_target(admitted, seconds):
    size = BatchSize()
    size.adapt(admitted, seconds)
    assert size.rows == 16_384


# --------------------------------------------------------------------------- progress


def stats(seconds: float, rows: int, **changes: Any) -> Stats:
    known = Stats("streaming", rows, rows, None, seconds, MIN_TIME, MIN_TIME, 0, 0, 0)
    return replace(known, **changes)


def test_live_progress_redraws_one_line_and_ends_it_at_the_end():
    text = io.StringIO()
    shown = TextProgress(text, live=True)
    for frame in range(1, 11):
        shown.update(stats(frame / 5, frame * 100))
    shown.close(stats(2.1, 1000))
    lines = text.getvalue().split("\r\x1b[K")
    assert lines[0] == ""
    assert len(lines) == 12
    assert text.getvalue().count("\n") == 1
    assert text.getvalue().endswith("\n")
    assert lines[1].startswith("100 rows  ")


def test_live_progress_shows_at_most_ten_frames_a_second():
    text = io.StringIO()
    shown = TextProgress(text, live=True)
    for hundredth in range(1, 101):
        shown.update(stats(hundredth / 100, hundredth))
    assert 9 <= text.getvalue().count("\r") <= 10


def test_plain_progress_writes_whole_lines_at_most_every_two_seconds():
    text = io.StringIO()
    shown = TextProgress(text, live=False)
    for tenth in range(1, 101):
        shown.update(stats(tenth / 10, tenth))
    assert "\r" not in text.getvalue()
    assert "\x1b" not in text.getvalue()
    assert [line.split()[0] for line in text.getvalue().splitlines()] == ["20", "40", "60", "80", "100"]


def test_the_rate_is_of_the_time_since_the_last_line_and_at_the_end_of_the_whole_run():
    text = io.StringIO()
    shown = TextProgress(text, live=False)
    shown.update(stats(2.0, 2000))
    shown.update(stats(4.0, 12000))
    shown.close(stats(5.0, 15000))
    assert [line.split("  ")[1] for line in text.getvalue().splitlines()] == ["1,000/s", "5,000/s", "3,000/s"]


def test_a_live_line_never_wraps(monkeypatch):
    monkeypatch.setattr(
        progress_module.shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((30, 24))
    )
    text = io.StringIO()
    shown = TextProgress(text, live=True)
    shown.update(stats(1.0, 10**12, late_rows=10**9))
    assert len(text.getvalue().removeprefix("\r\x1b[K")) == 29
    shown.close(stats(1.0, 10**12, late_rows=10**9))
    assert text.getvalue().endswith("  1,000,000,000 late\n"), "the last one is whole: nothing redraws it"


def test_a_batch_estimates_how_long_it_still_takes():
    half = stats(10, 500, mode="batch", total_rows=1000)
    assert "500 of 1,000 rows (50 %)" in progress_line(half, 50)
    assert "about 10 s left" in progress_line(half, 50)
    for changed in (
        replace(half, rows=1000),
        replace(half, total_rows=None),
        replace(half, rows=0),
        replace(half, mode="streaming"),
    ):
        assert "left" not in progress_line(changed, 50)
    assert "left" not in progress_line(half, 0)


def test_the_line_tells_how_far_the_watermark_is_behind():
    newest = 7200 * SECOND
    assert "lag 30s" in progress_line(stats(1, 1, newest=newest, watermark=newest - 30 * SECOND), 1)
    assert "all closed" in progress_line(stats(1, 1, newest=newest, watermark=MAX_TIME), 1)
    assert "no watermark yet" in progress_line(stats(1, 1, newest=newest), 1)
    assert "lag" not in progress_line(stats(1, 0), 0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_auto_is_live_in_a_terminal_plain_elsewhere_and_none_shows_nothing():
    assert isinstance(progress_to(io.StringIO(), "none"), Silent)
    for stream, style, live in (
        (Terminal(), "auto", True),
        (io.StringIO(), "auto", False),
        (io.StringIO(), "live", True),
        (Terminal(), "plain", False),
    ):
        shown = progress_to(stream, style)
        shown.close(stats(1, 1))
        assert ("\r" in stream.getvalue()) is live


class Broken(io.StringIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error
        self.writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        raise self._error


@pytest.mark.parametrize(
    "error", [BrokenPipeError(), OSError("no space"), ValueError("closed file")], ids=repr
)
def test_progress_that_nobody_can_read_any_more_does_not_stop_a_job(error):
    stream = Broken(error)
    shown = TextProgress(stream, live=False)
    for seconds in (2, 4, 6):
        shown.update(stats(seconds, 1))
    shown.close(stats(7, 1))
    assert stream.writes == 1


def test_a_process_without_stderr_shows_nothing():
    assert isinstance(progress_to(None, "auto"), Silent)


def test_an_unknown_style_is_answered_with_the_closest():
    with pytest.raises(DefinitionError, match="did you mean 'plain'"):
        progress_to(io.StringIO(), "plian")  # type: ignore[arg-type]


def test_the_summary_says_how_a_run_ended():
    result = JobResult("drained", "hot_1", 1500, 500, 7, 2, 9, 4, 2.0)
    assert summary(result, "hot", "/s") == (
        "hot drained: 500 rows (after checkpoint 4) in 2.0 s, 7 late, checkpoint 9, state in /s"
    )
    again = summary(replace(result, outcome="already finished"), "hot", "/s")
    assert "nothing was left to do" in again
    assert "another state folder than /s" in again


# --------------------------------------------------------------------------- clock, switching, signals


def test_wake_ends_the_current_wait_or_the_next_one():
    clock = RealClock()
    clock.wake()
    began = clock.monotonic()
    clock.wait(PATIENCE)
    threading.Timer(0.01, clock.wake).start()
    clock.wait(PATIENCE)
    assert clock.monotonic() - began < PATIENCE / 2


def test_the_switch_interval_is_short_during_a_run_and_restored_after_it_whatever_happens():
    before = sys.getswitchinterval()
    seen: list[float] = []

    def look(record: Any) -> Any:
        seen.append(sys.getswitchinterval())
        return record

    with quick_switching():
        assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL)
    assert sys.getswitchinterval() == before
    with pytest.raises(ZeroDivisionError), quick_switching():
        look(1 // 0)
    assert sys.getswitchinterval() == before
    rows = sl.read(memory.source([{"id": 1}]), name="rows").map(look, schema={"id": pa.int64()})
    sl.Flow("quick", rows.write(console.sink(io.StringIO()), name="out")).collect()
    assert sys.getswitchinterval() == before


def test_a_run_switches_quickly_and_gives_the_interval_and_the_signal_handlers_back(tmp_path):
    before = (sys.getswitchinterval(), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))
    seen: list[Any] = []

    def look(record: Any) -> Any:
        seen.append((sys.getswitchinterval(), signal.getsignal(signal.SIGTERM)))
        raise KeyError("enough")

    rows = sl.read(memory.source([{"id": 1}]), name="rows").map(look, schema={"id": pa.int64()})
    flow = sl.Flow("quick", rows.write(memory.sink(), name="out"))
    with pytest.raises(KeyError, match="enough"):
        flow.run(state=str(tmp_path / "state"), progress="none")
    assert seen[0][0] == pytest.approx(SWITCH_INTERVAL)
    assert seen[0][1] is not before[1]
    after = (sys.getswitchinterval(), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))
    assert after == before


class Draining:
    """As much of a job as signals need."""

    def __init__(self) -> None:
        self.drains = 0

    def drain(self) -> None:
        self.drains += 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_drains_and_the_second_aborts(number, capsys):
    job = Draining()
    with draining_on_signals(job):  # type: ignore[arg-type]
        signal.raise_signal(number)
        assert job.drains == 1
        with pytest.raises(AbortedError, match=number.name):
            signal.raise_signal(number)
    assert job.drains == 1
    assert "stopping" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class Interrupted(io.RawIOBase):
    """A terminal during whose first write a signal comes."""

    def __init__(self) -> None:
        self.writes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.writes += 1
        if self.writes == 1:
            signal.raise_signal(signal.SIGTERM)
        return len(data)


def test_a_signal_that_interrupts_a_write_to_stderr_drains_as_any_other(monkeypatch):
    """Python refuses to write to a stream inside a write to it; that must not end the job."""
    terminal = Interrupted()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BufferedWriter(terminal), line_buffering=True))
    job = Draining()
    with draining_on_signals(job):  # type: ignore[arg-type]
        print("a line of progress", file=sys.stderr, flush=True)
    assert job.drains == 1
    assert terminal.writes


def test_outside_the_main_thread_signals_are_left_alone():
    seen: list[Any] = []

    def work() -> None:
        with draining_on_signals(Draining()):  # type: ignore[arg-type]
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(PATIENCE)
    assert seen == [signal.getsignal(signal.SIGTERM)]
