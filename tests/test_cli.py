"""The command line, as a user and a supervisor see it: exit codes, stdout, stderr, signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FLOWS = Path(__file__).parent / "paced_flow.py"
PATIENCE = 60  # seconds any process here may take


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "streamlib", *arguments]


def environment(out: Path, rate: float) -> dict[str, str]:
    return {**os.environ, "FLOW_OUT": str(out), "FLOW_RATE": str(rate)}


def streamlib(tmp_path: Path, *arguments: str, rate: float = 1e9) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=tmp_path,
        env=environment(tmp_path / "out", rate),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def started(tmp_path: Path, *arguments: str, rate: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments, "--checkpoint-interval", "100ms", "--progress", "none"),
        cwd=tmp_path,
        env=environment(tmp_path / "out", rate),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(condition, process: subprocess.Popen[str]) -> None:
    """Wait, with a bound, until something is so; the process must live."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "out").glob("*.parquet"))


def test_a_finished_run_exits_with_0_and_data_alone_goes_to_stdout(tmp_path):
    run = streamlib(tmp_path, "run", f"{FLOWS}:printed", "--progress", "plain")
    assert run.returncode == 0, run.stderr
    lines = [line for line in run.stdout.splitlines() if line and not line.startswith(("panes:", "key "))]
    assert all(line.split()[0].isdigit() for line in lines)
    assert "printed finished: 4,000 rows" in run.stderr
    assert "checkpoint" not in run.stdout


def test_backfill_runs_the_same_flow(tmp_path):
    run = streamlib(tmp_path, "backfill", f"{FLOWS}:flow", "--progress", "none")
    assert run.returncode == 0, run.stderr
    assert "paced finished: 4,000 rows" in run.stderr
    assert files(tmp_path)


def test_help_and_version_exit_with_0(tmp_path):
    for arguments in (["--help"], ["run", "--help"], ["backfill", "--help"], ["--version"]):
        run = streamlib(tmp_path, *arguments)
        assert run.returncode == 0
        assert run.stdout


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["run", "missing.py"], "no file missing.py"),
        (["run", f"{FLOWS}:flwo"], "did you mean 'flow'"),
        (["run", f"{FLOWS}:flow", "--chekpoint-interval", "1s"], "--checkpoint-interval"),
        (["run", f"{FLOWS}:flow", "--checkpoint-interval", "3 parsecs"], "not a duration"),
        (["runn", f"{FLOWS}:flow"], "run"),
    ],
)
def test_wrong_usage_exits_with_2_and_a_hint(tmp_path, arguments, hint):
    run = streamlib(tmp_path, *arguments)
    assert run.returncode == 2
    assert hint in run.stderr
    assert "Traceback" not in run.stderr
    assert run.stdout == ""


def test_a_misspelt_column_could_not_start_and_is_one_clear_error(tmp_path):
    run = streamlib(tmp_path, "run", f"{FLOWS}:misspelt")
    assert run.returncode == 3
    assert "in operator 'select' (paced_flow.py:" in run.stderr
    assert "did you mean 'value'?" in run.stderr
    assert "Traceback" not in run.stderr


def test_an_output_that_cant_be_written_could_not_start(tmp_path):
    (tmp_path / "out").write_text("a file in the way")
    run = streamlib(tmp_path, "run", f"{FLOWS}:flow")
    assert run.returncode == 3
    assert "out" in run.stderr
    assert "Traceback" not in run.stderr


def test_an_exception_of_the_users_function_fails_and_shows_its_traceback_and_the_operator(tmp_path):
    run = streamlib(tmp_path, "run", f"{FLOWS}:raising")
    assert run.returncode == 1
    assert "ZeroDivisionError: of the user" in run.stderr
    assert "in operator 'map' (paced_flow.py:" in run.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_the_next_start_goes_on(tmp_path, number):
    process = started(tmp_path, "run", f"{FLOWS}:flow", rate=800)
    until(lambda: len(files(tmp_path)) >= 2, process)
    process.send_signal(number)
    code, out, err = ended(process)
    assert (code, out) == (0, "")
    assert "stopping: one last checkpoint" in err
    assert "paced drained" in err
    again = streamlib(tmp_path, "run", f"{FLOWS}:flow")
    assert again.returncode == 0
    assert "paced finished" in again.stderr
    assert "(after checkpoint" in again.stderr


def test_finish_ends_an_endless_flow_for_good(tmp_path):
    process = started(tmp_path, "run", f"{FLOWS}:endless", "--finish", rate=2000)
    until(lambda: len(files(tmp_path)) >= 2, process)
    process.send_signal(signal.SIGTERM)
    code, _, err = ended(process)
    assert code == 0
    assert "endless finished" in err
    assert "nothing was left to do" in streamlib(tmp_path, "run", f"{FLOWS}:endless").stderr


def test_a_drain_that_hangs_times_out_with_4(tmp_path):
    process = started(tmp_path, "run", f"{FLOWS}:hanging", "--drain-timeout", "500ms", rate=2000)
    until(lambda: any((tmp_path / ".streamlib").rglob("*.json")), process)
    process.send_signal(signal.SIGTERM)
    code, _, err = ended(process)
    assert code == 4, err
    assert "the drain took too long" in err
    assert "Traceback" not in err


def test_a_second_signal_aborts(tmp_path):
    process = started(tmp_path, "run", f"{FLOWS}:hanging", rate=2000)
    until(lambda: any((tmp_path / ".streamlib").rglob("*.json")), process)
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    assert process.stderr.readline() == "\n"
    assert process.stderr.readline().startswith("stopping: one last checkpoint")
    process.send_signal(signal.SIGTERM)
    code, _, err = ended(process)
    assert code == 1
    assert "aborted" in err


def test_a_held_job_could_not_start_and_a_takeover_ends_the_first_with_5(tmp_path):
    first = started(tmp_path, "run", f"{FLOWS}:flow", rate=300)
    until(lambda: len(files(tmp_path)) >= 1, first)
    held = streamlib(tmp_path, "run", f"{FLOWS}:flow")
    assert held.returncode == 3
    assert "--takeover" in held.stderr
    second = streamlib(tmp_path, "run", f"{FLOWS}:flow", "--takeover")
    assert second.returncode == 0, second.stderr
    code, _, err = ended(first)
    assert code == 5
    assert "taken over" in err
