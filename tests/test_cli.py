"""The command line, as a user and a supervisor see it: exit codes, stdout, stderr, signals."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from streamlib.runners.lanes import QUEUE_LIMIT
from tests.flows import table_rows

FLOWS = Path(__file__).parent / "paced_flow.py"
PATIENCE = 60  # seconds any process here may take
Done = subprocess.CompletedProcess[str]
Process = subprocess.Popen[str]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "streamlib", *arguments]


def environment(out: Path, rate: float) -> dict[str, str]:
    root = str(Path(__file__).parents[1])
    return {**os.environ, "FLOW_OUT": str(out), "FLOW_RATE": str(rate), "PYTHONPATH": root}


def streamlib(tmp_path: Path, *arguments: str, rate: float = 1e9) -> Done:
    """Run a command in a folder to its end."""
    return subprocess.run(
        command(*arguments),
        cwd=tmp_path,
        env=environment(tmp_path / "out", rate),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def started(tmp_path: Path, *arguments: str, rate: float) -> Process:
    """Start a command in a folder; checkpoints come quickly."""
    return subprocess.Popen(
        command(*arguments, "--checkpoint-interval", "100ms", "--progress", "none"),
        cwd=tmp_path,
        env=environment(tmp_path / "out", rate),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(condition: Callable[[], object], process: Process) -> None:
    """Wait, with a bound, until something is so; the process must live."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)


def ended(process: Process) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "out").glob("*.parquet"))


def published(tmp_path: Path) -> list[tuple]:
    return table_rows(pq.read_table(tmp_path / "out"))


def flow_file(tmp_path: Path, text: str, name: str = "mine.py") -> str:
    """A file as a user would write it; returns its name."""
    names = "console, memory, parquet"
    head = f"import pyarrow as pa\nimport streamlib as sl\nfrom streamlib.connectors import {names}\n"
    (tmp_path / name).write_text(head + text)
    return name


ROWS = 'rows = sl.read(memory.source([{"id": i} for i in range(5)]), name="rows")\n'


# --------------------------------------------------------------------------- 0: finished


def test_a_finished_run_exits_with_0_and_stdout_is_exactly_the_rows(tmp_path):
    name = flow_file(tmp_path, ROWS + 'flow = sl.Flow("shown", rows.write(console.sink(), name="all"))')
    run = streamlib(tmp_path, "run", name, "--progress", "plain")
    assert run.returncode == 0, run.stderr
    assert run.stdout == "all: 5 rows\nid\n 0\n 1\n 2\n 3\n 4\n\n"
    progress, summary = run.stderr.splitlines()
    assert progress.startswith("5 rows  ")
    assert re.fullmatch(
        r"shown finished: 5 rows in \S+ s, 0 late, checkpoint 2, state in \S+/\.streamlib/shown", summary
    )


def test_plain_progress_of_a_longer_run_is_whole_lines_on_stderr(tmp_path):
    run = streamlib(tmp_path, "run", f"{FLOWS}:printed", "--progress", "plain", rate=1600)
    assert run.returncode == 0
    lines = run.stderr.splitlines()
    assert len(lines) == 3, "after 2 s, at the end, and the summary"
    assert all(re.match(r"[\d,]+ rows  [\d,]+/s  1970-01-01 \d\d:\d\d  ", line) for line in lines[:2])
    assert "\x1b" not in run.stderr + run.stdout
    assert "rows/s" not in run.stdout


def test_backfill_runs_the_same_flow_and_gives_the_same_rows(tmp_path):
    batch, stream = tmp_path / "batch", tmp_path / "stream"
    batch.mkdir()
    stream.mkdir()
    run = streamlib(batch, "backfill", f"{FLOWS}:flow", "--progress", "none")
    assert run.returncode == 0, run.stderr
    assert run.stderr.startswith("paced finished: 4,000 rows in ")
    assert run.stderr.rstrip().endswith(".streamlib/paced.backfill")
    assert streamlib(stream, "run", f"{FLOWS}:flow").returncode == 0
    assert published(batch) == published(stream)


def test_a_finished_job_run_again_says_that_nothing_was_left_to_do(tmp_path):
    assert streamlib(tmp_path, "run", f"{FLOWS}:flow", "--state", "s").returncode == 0
    again = streamlib(tmp_path, "run", f"{FLOWS}:flow", "--state", "s")
    assert (again.returncode, again.stdout) == (0, "")
    assert "paced had finished at checkpoint 2: nothing was left to do" in again.stderr
    assert f"another state folder than {tmp_path}/s" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--help"], ["run", "backfill", "as a stream, or as a batch"]),
        (
            ["run", "-h"],
            ["FILE.py:NAME or MODULE:NAME", "--state", "--takeover", "--finish", "[default: 10s]"],
        ),
        (["backfill", "--help"], ["--drain-timeout", "[auto|live|plain|none]"]),
        (["--version"], ["0.1.0"]),
    ],
)
def test_help_and_version_go_to_stdout_and_exit_with_0(tmp_path, arguments, shown):
    run = streamlib(tmp_path, *arguments)
    assert (run.returncode, run.stderr) == (0, "")
    assert all(part in run.stdout for part in shown), run.stdout
    assert not re.search(r"^  (run|backfill) .*\.\.\.$", run.stdout, re.M), "no sentence is cut"


def test_a_flow_is_found_in_a_module_of_the_working_directory_and_called_flow_by_default(tmp_path):
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows/helper.py").write_text("LIMIT = 3\n")
    text = "from flows.helper import LIMIT\n" + ROWS
    flow_file(
        tmp_path,
        text + 'flow = sl.Flow("m", rows.filter(sl.col("id") < LIMIT).write(console.sink(), name="o"))',
        "flows/hot.py",
    )
    run = streamlib(tmp_path, "run", "flows.hot", "--progress", "none")
    assert run.returncode == 0, run.stderr
    assert "o: 3 rows" in run.stdout


# --------------------------------------------------------------------------- 2: wrong usage


@pytest.mark.parametrize(
    ("arguments", "hints"),
    [
        (["run"], ["Missing argument 'TARGET'"]),
        (["run", "minne.py"], ["no file minne.py", "did you mean 'mine.py'?"]),
        (["run", "else/where.py"], ["no file else/where.py", "from the working directory"]),
        (["run", "mine.py:flwo"], ["mine.py has no flow called 'flwo'", "did you mean 'flow'?"]),
        (["run", "mine.py:number"], ["expected: one of flow", "found:    int"]),
        (["run", "./mine"], ["no module './mine'", "did you mean ./mine.py?"]),
        (["run", "nowhere.at_all"], ["no module 'nowhere.at_all'"]),
        (["run", ""], ["no module ''", "FILE.py:NAME or MODULE:NAME"]),
        (["run", "mine.py", "--chekpoint-interval", "1s"], ["--checkpoint-interval"]),
        (["run", "mine.py", "--checkpoint-interval", "3 parsecs"], ["'3 parsecs' is not a duration"]),
        (["run", "mine.py", "--drain-timeout", "-1s"], ["'-1s' is not a duration"]),
        (["run", "mine.py", "--progress", "loud"], ["'auto', 'live', 'plain', 'none'"]),
        (["backfill", "mine.py", "--finish"], ["--finish"]),
        (["runn", "mine.py"], ["runn"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0] in ("run", "runn", "backfill") else None,
)
def test_wrong_usage_exits_with_2_and_a_hint(tmp_path, arguments, hints):
    flow_file(tmp_path, ROWS + 'flow = sl.Flow("m", rows.write(console.sink(), name="o"))\nnumber = 1\n')
    run = streamlib(tmp_path, *arguments)
    assert (run.returncode, run.stdout) == (2, ""), run.stderr
    assert all(hint in run.stderr for hint in hints), run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / ".streamlib").exists()


# --------------------------------------------------------------------------- 3: could not start


def refused(tmp_path: Path, *arguments: str) -> str:
    """Run what can't start: exit code 3, nothing on stdout, no traceback; what it said."""
    run = streamlib(tmp_path, *arguments)
    assert (run.returncode, run.stdout) == (3, ""), run.stderr
    assert "Traceback" not in run.stderr
    return run.stderr


def test_a_misspelt_column_is_one_clear_error_with_the_users_line(tmp_path):
    said = refused(tmp_path, "run", f"{FLOWS}:misspelt")
    line = next(i for i, text in enumerate(FLOWS.read_text().splitlines(), 1) if '"valeu"' in text)
    assert said.startswith("error: in operator 'select' (paced_flow.py:")
    assert abs(int(re.search(r"py:(\d+)", said)[1]) - line) <= 1  # type: ignore[index]
    assert "did you mean 'value'?" in said


def test_a_missing_input_file_is_named(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/bids.parquet").touch()
    name = flow_file(
        tmp_path,
        'rows = sl.read(parquet.source("in/bits.parquet"), name="bids")\n'
        'flow = sl.Flow("m", rows.write(console.sink(), name="o"))',
    )
    said = refused(tmp_path, "run", name)
    assert "in operator 'bids' (mine.py:" in said
    assert "nothing to read at 'in/bits.parquet'" in said
    assert "did you mean 'bids.parquet'?" in said


def test_an_output_that_cant_be_written_is_named(tmp_path):
    (tmp_path / "out").write_text("a file in the way")
    said = refused(tmp_path, "run", f"{FLOWS}:flow")
    assert f"the output '{tmp_path}/out' can't be used" in said
    assert "in operator 'panes'" in said


def test_a_state_folder_that_cant_be_used_is_named(tmp_path):
    (tmp_path / "s").write_text("a file in the way")
    assert f"the state folder {tmp_path}/s can't be used" in refused(
        tmp_path, "run", f"{FLOWS}:flow", "--state", "s"
    )


def test_a_backfill_of_a_source_without_an_end_is_refused(tmp_path):
    name = flow_file(
        tmp_path,
        "from streamlib.testing import scripted\n"
        'rows = sl.read(scripted({"p": []}, {"id": pa.int64()}, unbounded=True), name="bids")\n'
        'flow = sl.Flow("m", rows.write(console.sink(), name="o"))',
    )
    assert "source 'bids' has no end" in refused(tmp_path, "backfill", name)


def test_a_damaged_checkpoint_is_refused_and_the_output_stays_as_it_is(tmp_path):
    assert streamlib(tmp_path, "run", f"{FLOWS}:flow", "--state", "s").returncode == 0
    manifest = tmp_path / "s/manifests/00000002.json"
    manifest.write_bytes(manifest.read_bytes()[:-1])
    before = files(tmp_path)
    said = refused(tmp_path, "run", f"{FLOWS}:flow", "--state", "s")
    assert f"the checkpoint file {manifest} is damaged" in said
    assert files(tmp_path) == before


def test_a_mistake_in_the_description_of_a_flow_names_the_users_line(tmp_path):
    name = flow_file(tmp_path, 'from streamlib import windows\n\nw = windows.tumbling("10 parsecs")\n')
    said = refused(tmp_path, "run", name)
    assert said.startswith("error: not a duration\n")
    assert f'raised by {tmp_path}/mine.py:6: w = windows.tumbling("10 parsecs")' in said


def test_a_flow_file_that_raises_shows_the_traceback_of_the_file_and_nothing_of_ours(tmp_path):
    (tmp_path / "helper.py").write_text("def half():\n    return 1 / 0\n")
    name = flow_file(tmp_path, "import helper\nhelper.half()\n")
    run = streamlib(tmp_path, "run", name)
    assert (run.returncode, run.stdout) == (3, "")
    assert run.stderr.startswith(f'Traceback (most recent call last):\n  File "{tmp_path}/mine.py", line 5')
    assert f'File "{tmp_path}/helper.py", line 2, in half' in run.stderr
    assert run.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert "streamlib/cli" not in run.stderr


def test_a_flow_file_that_imports_what_is_not_there_shows_where(tmp_path):
    name = flow_file(tmp_path, "import nothing_like_it\n")
    for target in (name, "mine"):
        run = streamlib(tmp_path, "run", target)
        assert run.returncode == 3
        assert f'File "{tmp_path}/mine.py", line 4' in run.stderr
        assert run.stderr.endswith("ModuleNotFoundError: No module named 'nothing_like_it'\n")


def test_a_flow_file_with_a_syntax_error_shows_the_line_and_no_traceback(tmp_path):
    run = streamlib(tmp_path, "run", flow_file(tmp_path, "x = = 1\n"))
    assert run.returncode == 3
    assert (
        run.stderr
        == f'  File "{tmp_path}/mine.py", line 4\n    x = = 1\n        ^\nSyntaxError: invalid syntax\n'
    )


def test_an_exception_of_a_users_source_before_the_start_shows_its_traceback(tmp_path):
    name = flow_file(
        tmp_path,
        """
class Mine:
    bounded, replay = True, "replayable"
    def schema(self):
        raise KeyError("no registry")
    def partitions(self): ...
    def open(self, partition, position, event_time): ...
flow = sl.Flow("m", sl.read(Mine(), name="mine").write(console.sink(), name="o"))
""",
    )
    run = streamlib(tmp_path, "run", name)
    assert run.returncode == 3
    assert run.stderr.count("Traceback") == 1
    *_, raised, place = run.stderr.splitlines()
    assert raised == "KeyError: 'no registry'"
    assert place == "in operator 'mine' (mine.py:11), while the flow was bound"


# --------------------------------------------------------------------------- 1: failed


def test_an_exception_of_the_users_function_shows_its_traceback_operator_line_and_row(tmp_path):
    run = streamlib(tmp_path, "run", f"{FLOWS}:raising", "--progress", "none")
    assert (run.returncode, run.stdout) == (1, "")
    told = run.stderr.splitlines()
    assert told[0] == "Traceback (most recent call last):"
    assert told[1].startswith(f'  File "{FLOWS}", line ')
    assert told[1].endswith(", in failing"), "the frames of streamlib are left out"
    assert "ZeroDivisionError: of the user" in told
    assert re.fullmatch(r"in operator 'map' \(paced_flow.py:\d+\)", told[-1])
    assert any("mapped row 0: {'at': 0, 'key': 0, 'value': 0}" in line for line in told)


def test_a_function_that_returns_the_wrong_thing_is_one_clear_error(tmp_path):
    text = 'wrong = rows.map(lambda r: 7, schema={"id": pa.int64()})\n'
    text += 'flow = sl.Flow("m", wrong.write(console.sink(), name="o"))'
    run = streamlib(tmp_path, "run", flow_file(tmp_path, ROWS + text), "--progress", "none")
    assert run.returncode == 1
    assert run.stderr.startswith("error: in operator 'map' (mine.py:")
    assert "Traceback" not in run.stderr


def test_sys_exit_in_a_flow_file_could_not_start(tmp_path):
    name = flow_file(tmp_path, "import sys\n\nsys.exit(0)\n")
    run = streamlib(tmp_path, "run", name)
    assert (run.returncode, run.stdout) == (3, "")
    assert run.stderr == f"{name} called sys.exit(0) while it was loaded\n"


def test_sys_exit_in_the_users_function_does_not_look_like_a_finished_job(tmp_path):
    text = (
        "def leave(record):\n    raise SystemExit(0)\n"
        'flow = sl.Flow("m", rows.map(leave, schema={"id": pa.int64()}).write(console.sink(), name="o"))'
    )
    run = streamlib(tmp_path, "run", flow_file(tmp_path, ROWS + text), "--progress", "none")
    assert run.returncode == 1
    assert run.stderr == "the flow's own code called sys.exit(0); the last completed checkpoint stands\n"


def test_a_reader_of_stdout_that_goes_away_ends_the_job_without_a_traceback(tmp_path):
    process = started(tmp_path, "run", f"{FLOWS}:printed", rate=2000)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("panes: ")
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    assert (process.wait(PATIENCE), said) == (
        1,
        "stdout was closed by its reader; the last completed checkpoint stands\n",
    )
    process.stderr.close()


# --------------------------------------------------------------------------- signals, 4 and 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_the_next_start_goes_on_to_the_same_rows(tmp_path, number):
    process = started(tmp_path, "run", f"{FLOWS}:flow", rate=800)
    until(lambda: len(files(tmp_path)) >= 2, process)
    process.send_signal(number)
    code, out, err = ended(process)
    assert (code, out) == (0, "")
    stopping, summary = err.splitlines()
    assert stopping == "stopping: one last checkpoint (signal again to abort)"
    assert summary.startswith("paced drained: ")
    before = files(tmp_path)
    again = streamlib(tmp_path, "run", f"{FLOWS}:flow", "--progress", "none")
    assert again.returncode == 0
    assert re.match(r"paced finished: [\d,]+ rows \(after checkpoint \d+\) in ", again.stderr)
    assert set(before) < set(files(tmp_path))
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    assert streamlib(undisturbed, "run", f"{FLOWS}:flow").returncode == 0
    assert published(tmp_path) == published(undisturbed)


def test_finish_ends_an_endless_flow_for_good(tmp_path):
    process = started(tmp_path, "run", f"{FLOWS}:endless", "--finish", rate=2000)
    until(lambda: len(files(tmp_path)) >= 2, process)
    process.send_signal(signal.SIGTERM)
    code, _, err = ended(process)
    assert code == 0
    rows = int(re.search(r"endless finished: ([\d,]+) rows", err)[1].replace(",", ""))  # type: ignore[index]
    assert sum(row[3] for row in published(tmp_path)) == rows, "all windows are closed"
    assert "nothing was left to do" in streamlib(tmp_path, "run", f"{FLOWS}:endless").stderr


def manifests(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / ".streamlib").rglob("*.json"))


def test_a_drain_that_hangs_times_out_with_4(tmp_path):
    process = started(tmp_path, "run", f"{FLOWS}:hanging", "--drain-timeout", "300ms", rate=2000)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("panes: ")
    process.send_signal(signal.SIGTERM)
    code, _, err = ended(process)
    assert code == 4, err
    assert "error: the drain took too long\n  expected: a last checkpoint within 300ms\n" in err
    assert "Traceback" not in err


HANGING = f"""
import pathlib, time
class Hanging:
    delivery = "at_least_once"
    def open(self, context): return self
    def write(self, rows): time.sleep(3600)
    def prepare(self, number): return None
    def commit(self, number, pending): pass
    def last_committed(self): return 0
    def close(self): pass
def look(record):
    pathlib.Path("looked").write_text(str(record["id"]))
    return record
rows = sl.read(memory.source([{{"id": i}} for i in range(100)], chunk_rows=1), name="rows")
flow = sl.Flow("m", rows.map(look, schema={{"id": pa.int64()}}).write(Hanging(), name="o"))
FULL = {QUEUE_LIMIT + 1}
"""


def test_a_drain_times_out_also_while_the_loop_waits_for_room_in_a_full_queue(tmp_path):
    process = started(tmp_path, "run", flow_file(tmp_path, HANGING), "--drain-timeout", "300ms", rate=1)
    looked = tmp_path / "looked"
    until(lambda: looked.exists() and looked.read_text() == str(QUEUE_LIMIT + 1), process)
    process.send_signal(signal.SIGTERM)
    code, _, err = ended(process)
    assert code == 4, err
    assert "the drain took too long" in err


def test_a_second_signal_aborts_and_the_last_checkpoint_stands(tmp_path):
    process = started(tmp_path, "run", f"{FLOWS}:hanging", rate=2000)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("panes: ")
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("stopping: one last checkpoint")
    before = manifests(tmp_path)
    process.send_signal(signal.SIGTERM)
    code, _, err = ended(process)
    assert (code, err) == (1, "aborted; the last completed checkpoint stands\n")
    assert manifests(tmp_path) == before


READING_HANGS = """
import time
from streamlib.connectors import Pause
class Mine:
    bounded, replay = False, "replayable"
    def schema(self): return pa.schema({"id": pa.int64()})
    def partitions(self): return ["0"]
    def open(self, partition, position, event_time): return self
    def read(self):
        open("reading", "w").close()
        time.sleep(3600)
    def close(self): pass
flow = sl.Flow("m", sl.read(Mine(), name="mine").write(console.sink(), name="o"))
"""


def test_a_source_whose_read_hangs_does_not_keep_alive_a_process_that_was_told_to_stop(tmp_path):
    process = started(tmp_path, "run", flow_file(tmp_path, READING_HANGS), rate=1)
    until((tmp_path / "reading").exists, process)
    process.send_signal(signal.SIGTERM)
    code, _, err = ended(process)
    assert code == 0
    assert "m drained: 0 rows" in err


def test_a_held_job_could_not_start_and_a_takeover_ends_the_first_with_5(tmp_path):
    first = started(tmp_path, "run", f"{FLOWS}:flow", rate=300)
    until(lambda: len(files(tmp_path)) >= 1, first)
    held = refused(tmp_path, "run", f"{FLOWS}:flow")
    assert f"(process {first.pid} on " in held
    assert "--takeover" in held
    second = streamlib(tmp_path, "run", f"{FLOWS}:flow", "--takeover")
    assert second.returncode == 0, second.stderr
    code, out, err = ended(first)
    assert (code, out) == (5, "")
    assert "was taken over by attempt" in err
    assert "don't restart it" in err
    assert "Traceback" not in err
