"""Jobs in the background: `flow.start()`, its handle, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import IPython.display
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import streamlib as sl
from streamlib import col, windows
from streamlib.connectors import memory
from streamlib.core.errors import JobHeldError, UnknownColumnError
from streamlib.plan.launch import Stats
from streamlib.runners.notebook import NotebookProgress, figures, status_html
from streamlib.testing import rows, scripted

ROOT = Path(__file__).parents[1]
PATIENCE = "60s"
SCHEMA = {"id": pa.int64()}


def endless(*ids: int) -> Any:
    """A source that has these rows and then nothing new for ever."""
    return scripted({"p": [rows([{"id": i} for i in ids])]}, SCHEMA, unbounded=True)


def flow_of(source: Any, sink: Any = None, function: Any = None) -> sl.Flow:
    stream = sl.read(source, name="ids")
    if function is not None:
        stream = stream.map(function, schema=SCHEMA)
    return sl.Flow("numbers", stream.write(sink or memory.sink(), name="out"))


@pytest.fixture
def state(tmp_path: Path) -> str:
    return str(tmp_path / "state")


def until(condition: Any) -> None:
    """Wait for another thread; fails instead of waiting for ever."""
    for _ in range(6_000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen")


# ------------------------------------------------------------------ it runs


def test_start_returns_while_the_job_runs_and_drain_keeps_what_it_has(state: str) -> None:
    sink = memory.sink()
    job = flow_of(endless(1, 2, 3), sink).start(state=state, progress="none")
    assert job.status == "running"
    until(lambda: job.stats().rows == 3)
    result = job.drain()
    assert (result.outcome, job.status, result.rows_read) == ("drained", "drained", 3)
    assert sorted(sink.table()["id"].to_pylist()) == [1, 2, 3]
    assert job.drain() == job.wait() == result, "both answer at once when the job has ended"


def test_a_drained_job_goes_on_where_it_was_at_the_next_start(state: str) -> None:
    flow = flow_of(endless(1, 2))
    with flow.start(state=state, progress="none") as job:
        until(lambda: job.stats().rows == 2)
    with flow.start(state=state, progress="none") as job:
        assert job.stats().rows == 2
    assert (job.wait().restored_from, job.wait().rows_read) == (2, 0)


def test_a_job_whose_input_ends_finishes_and_so_does_its_next_start(state: str) -> None:
    flow = flow_of(memory.source([{"id": 1}, {"id": 2}]))
    job = flow.start(state=state, progress="none")
    assert job.wait(PATIENCE).outcome == "finished"
    assert job.status == "finished"
    again = flow.start(state=state, progress="none")
    assert again.wait(PATIENCE).outcome == "already finished"
    assert again.status == "finished"


def test_drain_with_finish_closes_the_windows(state: str) -> None:
    sink = memory.sink()
    ids = sl.read(endless(1_000_000, 2_000_000), name="ids", event_time="id", watermark=sl.monotone())
    counts = ids.key_by("id").window(windows.tumbling("1h")).aggregate(n=sl.count())
    job = sl.Flow("hours", counts.write(sink, name="out")).start(state=state, progress="none", finish=True)
    until(lambda: job.stats().rows == 2)
    assert job.drain().outcome == "finished"
    assert sink.table()["n"].to_pylist() == [1, 1]


def test_waiting_for_a_job_that_runs_gives_up_in_time_and_leaves_it_running(state: str) -> None:
    with flow_of(endless(1)).start(state=state, progress="none") as job:
        with pytest.raises(TimeoutError, match="'numbers' still runs") as raised:
            job.wait("1ms")
        assert "within 1ms" in str(raised.value)
        assert job.status == "running"


def test_signals_are_not_touched(state: str) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with flow_of(endless(1)).start(state=state, progress="none") as job:
        until(lambda: job.stats().rows == 1)
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_jobs_that_end_in_another_order_give_the_switch_interval_back(tmp_path: Path) -> None:
    before = sys.getswitchinterval()
    first, second = (flow_of(endless(1)).start(state=str(tmp_path / name), progress="none") for name in "ab")
    until(lambda: first.stats().rows == second.stats().rows == 1)
    first.drain()
    assert sys.getswitchinterval() < before
    second.drain()
    assert sys.getswitchinterval() == before


# ------------------------------------------------------------------ it fails


def failing(record: Any) -> Any:
    raise KeyError(f"no {record['id']}")


def test_a_failure_is_raised_by_every_wait_and_shown(state: str) -> None:
    job = flow_of(memory.source([{"id": 7}]), function=failing).start(state=state, progress="none")
    for call in (job.wait, job.drain):
        with pytest.raises(KeyError, match="no 7") as raised:
            call()
        assert any("mapped row 0" in note for note in raised.value.__notes__)
    assert job.status == "failed"
    assert "'numbers' failed: 1 rows" in repr(job)
    assert "KeyError: &#x27;no 7&#x27;" in job._repr_html_()  # type: ignore[attr-defined]


def test_what_keeps_a_flow_from_starting_is_raised_by_start_and_holds_nothing(state: str) -> None:
    ids = sl.read(endless(1), name="ids")
    wrong = sl.Flow("numbers", ids.filter(col("it") > 1).write(memory.sink(), name="out"))
    with pytest.raises(UnknownColumnError, match="no column 'it'"):
        wrong.start(state=state, progress="none")
    with flow_of(endless(1)).start(state=state, progress="none"):
        pass


def test_a_second_start_on_the_same_state_is_refused_and_says_who_has_it(state: str) -> None:
    flow = flow_of(endless(1))
    with flow.start(state=state, progress="none") as job:
        with pytest.raises(JobHeldError, match="is running already") as raised:
            flow.start(state=state, progress="none")
        assert "this process" in str(raised.value)
        assert "job.drain()" in str(raised.value)
        assert job.status == "running"
    with flow.start(state=state, progress="none"):
        pass


def test_a_takeover_ends_the_job_that_ran(state: str) -> None:
    first = flow_of(endless(1)).start(state=state, progress="none")
    second = flow_of(endless(1)).start(state=state, progress="none", takeover=True)
    with pytest.raises(sl.StreamlibError, match="taken over"):
        first.drain()
    assert second.drain().outcome == "drained"


def test_the_error_of_the_block_wins_over_that_of_the_job(state: str) -> None:
    flow = flow_of(memory.source([{"id": 7}]), function=failing)

    def block() -> None:
        with flow.start(state=state, progress="none") as job:
            until(lambda: job.status == "failed")  # else it may drain before it reads its only row
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as raised:
        block()
    assert raised.value.__notes__ == ["the job failed as well: 'no 7'"]
    with pytest.raises(KeyError), flow.start(state=state + "2", progress="none") as job:
        until(lambda: job.status == "failed")


def test_code_of_the_flow_that_exits_fails_the_job_and_not_the_program(state: str) -> None:
    def leaving(record: Any) -> Any:
        sys.exit(0)

    job = flow_of(memory.source([{"id": 7}]), function=leaving).start(state=state, progress="none")
    with pytest.raises(sl.StreamlibError, match=r"raised SystemExit\(0\)"):
        job.wait(PATIENCE)


# ------------------------------------------------------------------ the program ends


def program(tmp_path: Path, body: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "program.py").write_text(
        textwrap.dedent("""
            import os, signal, sys, threading
            import pyarrow as pa
            import streamlib as sl
            from streamlib.connectors import memory, parquet
            from streamlib.testing import rows, scripted

            def endless(function=None):
                source = scripted({"p": [rows([{"id": 1}])]}, {"id": pa.int64()}, unbounded=True)
                ids = sl.read(source, name="ids")
                ids = ids if function is None else ids.map(function, schema={"id": pa.int64()})
                return sl.Flow("endless", ids.write(parquet.sink("out"), name="out"))

            def read_all(job):
                while job.stats().rows < 1:
                    threading.Event().wait(0.01)
        """)
        + textwrap.dedent(body)
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_program_that_ends_drains_its_job(tmp_path: Path) -> None:
    done = program(tmp_path, "read_all(endless().start(state='state'))")
    assert done.returncode == 0, done.stderr
    assert "endless drained: 1 rows" in done.stderr
    assert pq.read_table(tmp_path / "out")["id"].to_pylist() == [1]


def test_a_program_that_fails_drains_its_job_and_fails(tmp_path: Path) -> None:
    done = program(tmp_path, "read_all(endless().start(state='state'))\nraise SystemExit('so be it')")
    assert done.returncode == 1
    assert "so be it" in done.stderr
    assert pq.read_table(tmp_path / "out")["id"].to_pylist() == [1]


def test_a_program_that_ends_while_files_are_read_does_not_abort(tmp_path: Path) -> None:
    for part in range(8):
        pq.write_table(pa.table({"id": range(300_000)}), tmp_path / f"{part}.parquet", row_group_size=10_000)
    done = program(
        tmp_path,
        """
        ids = sl.read(parquet.source("*.parquet"), name="ids")
        flow = sl.Flow("many", ids.write(parquet.sink("out"), name="out"))
        read_all(flow.start(state="state", progress="none"))
        """,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_failure_that_nobody_asked_for_is_told_at_the_end_of_the_program(tmp_path: Path) -> None:
    body = """
        def failing(record):
            raise KeyError("gone")
        job = endless(failing).start(state="state", progress="{}")
        while job.status == "running":
            threading.Event().wait(0.01)
    """
    for style in ("none", "plain"):
        done = program(tmp_path, body.format(style))
        assert done.returncode == 0
        assert done.stderr.count("endless failed: KeyError: 'gone'") == 1


def test_a_function_that_hangs_does_not_keep_the_program_from_ending(tmp_path: Path) -> None:
    done = program(
        tmp_path,
        """
        from streamlib.runners import background
        background.GRACE = 0.1
        hanging = threading.Event()
        def hang(record):
            hanging.set()
            threading.Event().wait()
        job = endless(hang).start(state="state", progress="none", drain_timeout="0.1s")
        hanging.wait()
        """,
    )
    assert done.returncode == 0
    assert "endless was left behind" in done.stderr


def test_interrupting_a_wait_leaves_the_job_running(tmp_path: Path) -> None:
    done = program(
        tmp_path,
        """
        job = endless().start(state="state", progress="none")
        read_all(job)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            job.wait()
        except KeyboardInterrupt:
            print(job.status, job.drain().outcome)
        """,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "running drained\n", "")


# ------------------------------------------------------------------ it shows itself


def test_a_terminal_gets_the_line_of_run_and_then_how_it_ended(
    state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flow_of(memory.source([{"id": 1}])).start(state=state, progress="plain").wait(PATIENCE)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2].startswith("1 rows")
    assert lines[-1].startswith("numbers finished: 1 rows in")
    assert state in lines[-1]


class Cell:
    """Stands for the display of a notebook's cell."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []

    def display(self, bundle: dict[str, str], *, raw: bool, display_id: bool) -> Cell:
        assert raw
        assert display_id
        self.update(bundle, raw=True)
        return self

    def update(self, bundle: dict[str, str], *, raw: bool) -> None:
        self.shown.append(bundle)


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    made = Cell()
    monkeypatch.setattr(IPython.display, "display", made.display)
    return made


STATS = Stats("streaming", 1_234, 1_234, None, 2.0, 7_200_000_000, 3_600_000_000, 5, 1, 9)


def test_a_notebook_gets_one_table_that_updates_itself_and_ends_in_a_summary(cell: Cell) -> None:
    progress = NotebookProgress("flights", "here")
    progress.open()
    progress.update(STATS)
    progress.update(STATS)
    progress.close(STATS)
    progress.ended("drained", "flights drained: all is well")
    texts = [bundle["text/html"] for bundle in cell.shown]
    assert len(texts) == 4, "the second update came too soon"
    for value in ("1,234", "617", "1970-01-01 02:00:00", "1970-01-01 01:00:00", "1h", "5", "9", "2.0 s"):
        assert f">{value}</div>" in texts[1]
    assert "running" in texts[1]
    assert "flights drained: all is well" in texts[-1]
    assert cell.shown[-1]["text/plain"].startswith("flights drained  rows 1,234")


def test_a_name_in_a_notebook_is_text_and_not_markup() -> None:
    assert "<b>a&lt;b</b>" in status_html("a<b", "running", [("<i>", "<u>")], "&")
    assert "<i>" not in status_html("a", "running", [("<i>", "<u>")], "")


def test_before_the_first_row_there_is_no_event_time_to_show() -> None:
    before = Stats("streaming", 0, 0, None, 0.0, -(2**63), -(2**63), 0, 0, 0)
    assert [label for label, _ in figures(before, 0.0)] == [
        "rows",
        "rows/s",
        "late rows",
        "checkpoint",
        "time",
    ]


def test_a_display_that_fails_is_no_failure_of_the_job(
    state: str, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(bundle: dict[str, str], *, raw: bool) -> None:
        raise OSError("the browser is gone")

    monkeypatch.setattr("streamlib.runners.launcher.in_notebook", lambda: True)
    job = flow_of(endless(1)).start(state=state)
    monkeypatch.setattr(cell, "update", fails)
    assert job.drain().outcome == "drained"
