"""`streamlib plan`, `check` and `--param`, and how a file becomes a module."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streamlib.cli.main import main
from streamlib.core import modules

HEAD = """
from __future__ import annotations
from datetime import date
import streamlib as sl
from streamlib.connectors import console, memory, parquet
rows = sl.read(memory.source([{"id": i} for i in range(5)]), name="rows")
"""
FLOW = HEAD + 'flow = sl.Flow("m", rows.write(parquet.sink("out"), name="all"))\n'
FACTORY = (
    HEAD
    + """
def make(region: str, limit: int = 3, since: date | None = None) -> sl.Flow:
    kept = rows.filter(sl.col("id") < limit)
    return sl.Flow(f"hot_{region}", kept.write(console.sink(), name="shown"))
def flow() -> sl.Flow:
    return make("world")
def wrong():
    return rows
"""
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working directory, and modules and import paths that go when the test goes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(modules, "_loaded", {})
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def streamlib(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def written(text: str, name: str = "mine.py") -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)
    return name


def refused(code: int, *arguments: str) -> str:
    run = streamlib(*arguments)
    assert run.exit_code == code, run.output
    assert run.stdout == ""
    assert "Traceback" not in run.stderr
    return run.stderr


# --------------------------------------------------------------------------- plan


def test_plan_prints_the_text_and_nothing_else():
    run = streamlib("plan", written(FLOW))
    assert (run.exit_code, run.stderr) == (0, "")
    assert run.stdout.startswith("flow m\n  rows [read]\n")
    assert run.stdout.endswith("guarantee: exactly-once\n")
    assert not Path(".streamlib").exists()
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("format", "start"),
    [("text", "flow m"), ("tree", "flow m (exactly"), ("json", "{"), ("mermaid", "---"), ("svg", "<svg ")],
)
def test_plan_prints_every_format(format, start):
    run = streamlib("plan", written(FLOW), "--format", format)
    assert run.exit_code == 0
    assert run.stdout.startswith(start)
    assert run.stdout.endswith("\n")
    assert not run.stdout.endswith("\n\n")


def test_plan_writes_a_file_in_the_format_of_its_name():
    for name, start in (("m.svg", "<svg "), ("m.json", "{"), ("m.mmd", "---"), ("m.txt", "flow m")):
        run = streamlib("plan", written(FLOW), "--output", name)
        assert (run.exit_code, run.output) == (0, "")
        assert Path(name).read_text().startswith(start)
    assert json.loads(Path("m.json").read_text())["flow"] == "m"
    streamlib("plan", "mine.py", "--output", "m.svg", "--format", "tree")
    assert Path("m.svg").read_text().startswith("flow m (exactly-once)\n")


def test_a_file_whose_name_tells_no_format_is_refused_instead_of_written_as_text():
    written(FLOW)
    told = streamlib("plan", "mine.py", "--output", "m.png")
    assert told.exit_code == 2
    assert "m.png names no format of plans: end it in .txt, .json" in told.stderr
    assert not Path("m.png").exists()
    assert streamlib("plan", "mine.py", "--output", "m.png", "--format", "text").exit_code == 0


def test_a_plan_that_cant_be_written_says_why():
    said = refused(1, "plan", written(FLOW), "--output", "nowhere/m.svg")
    assert said == "error: the plan can't be written to nowhere/m.svg: No such file or directory\n"


def test_plan_and_check_show_a_binding_error_as_run_does():
    bad = FLOW.replace("rows.write", 'rows.filter(sl.col("idd") > 1).write')
    for command in ("plan", "check", "run"):
        said = refused(3, command, written(bad))
        assert said.startswith("error: in operator 'filter' (mine.py:7): no column 'idd'\n")
        assert "did you mean 'id'?" in said


# --------------------------------------------------------------------------- check


def test_check_shows_the_guarantee_and_every_setting_with_where_it_came_from(folder, monkeypatch):
    monkeypatch.setenv("STREAMLIB_PROGRESS", "none")
    written('state = "jobs/{flow}"\n', "streamlib.toml")
    text = FLOW.replace('name="all")', 'name="all"), settings=sl.Settings(drain_timeout="5s")')
    run = streamlib("check", written(text), "--guarantee", "at-least-once")
    assert (run.exit_code, run.stderr) == (0, "")
    first, title, *settings = run.stdout.splitlines()
    assert first == "OK  m: 1 source, 1 sink, exactly-once"
    assert title == "settings"
    found = {line.split()[0]: re.split(r"  +", line.strip())[1:] for line in settings}
    assert found == {
        "state": [f"{folder}/jobs/m", f"{folder}/streamlib.toml:1"],
        "checkpoint_interval": ["10s", "default"],
        "guarantee": ["at-least-once", "flag --guarantee"],
        "drain_timeout": ["5s", "sl.Settings in the flow"],
        "progress": ["none", "environment variable STREAMLIB_PROGRESS"],
        **{name: value for name, value in found.items() if name in ("parallelism", "workers")},
    }
    assert not Path("jobs").exists()
    assert not Path("out").exists()


def test_check_and_run_refuse_a_guarantee_that_the_flow_cant_give():
    lossy = FLOW.replace('parquet.sink("out")', "console.sink()")
    for command in ("check", "run", "backfill"):
        said = refused(3, command, written(lossy), "--guarantee", "exactly-once")
        assert "in operator 'all' (mine.py:7): the flow can't give the guarantee 'exactly-once'" in said


def test_a_mistake_in_a_settings_file_ends_check_run_and_backfill_with_3(folder):
    written('checkpoint_interval = "1s"\ndrain-timeout = "1s"\n', "streamlib.toml")
    for command in ("check", "run", "backfill"):
        said = refused(3, command, written(FLOW))
        assert said.startswith(f"error: at {folder}/streamlib.toml:2: there is no setting 'drain-timeout'\n")
        assert "did you mean 'drain_timeout'?" in said


def test_a_bad_flag_ends_with_2_and_the_form_that_is_expected():
    for option, value, part in (
        ("--checkpoint-interval", "soon", "'soon' is not a duration; expected a number with a unit"),
        ("--state", "s3://b/x", "'s3://b/x' is not a folder"),
        ("--guarantee", "twice", "'exactly-once', 'at-least-once', 'at-most-once'"),
    ):
        for command in ("check", "run", "backfill"):
            assert part in refused(2, command, written(FLOW), option, value)


def test_run_takes_its_settings_from_where_check_says(folder):
    written('[tool.streamlib.flow.m]\nstate = "jobs"\nprogress = "none"\n', "pyproject.toml")
    run = streamlib("run", written(FLOW))
    assert run.exit_code == 0
    assert run.stderr.endswith(f"state in {folder}/jobs\n")
    assert len(run.stderr.splitlines()) == 1


def test_check_names_variables_that_look_like_ours_and_are_not(monkeypatch):
    monkeypatch.setenv("STREAMLIB_PORT", "tcp://10.0.0.1:80")
    run = streamlib("check", written(FLOW))
    assert run.exit_code == 0
    assert "note: the environment variable STREAMLIB_PORT is no setting of streamlib" in run.stderr


# --------------------------------------------------------------------------- parameters


@pytest.mark.parametrize("command", ["run", "backfill", "check", "plan"])
def test_every_command_calls_a_function_that_makes_the_flow(command):
    run = streamlib(command, written(FACTORY) + ":make", "--param", "region=eu", "--param", "limit=2")
    assert run.exit_code == 0, run.output
    assert "hot_eu" in run.output
    if command in ("run", "backfill"):
        assert "shown: 2 rows" in run.stdout


def test_a_function_without_parameters_is_called_when_it_is_named_or_called_flow():
    assert "flow hot_world" in streamlib("plan", written(FACTORY)).stdout
    assert "flow hot_world" in streamlib("plan", "mine.py:flow").stdout


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["mine.py:make"], ["mine.py:make: missing parameter region", "region: str, limit: int = 3"]),
        (["mine.py:make", "--param", "regoin=x"], ["no parameter 'regoin'", "did you mean 'region'?"]),
        (["mine.py:make", "--param", "region=x", "--param", "limit=a"], ["expected: a whole number"]),
        (["mine.py:flow", "--param", "a=1"], ["no parameter 'a'", "expected: no parameters"]),
        (["mine.py:wrong"], ["mine.py:wrong did not return a flow", "found:    Stream"]),
        (["plain.py", "--param", "a=1"], ["plain.py:flow takes no parameters", "def make(a)"]),
    ],
)
def test_parameters_that_dont_fit_are_wrong_usage(arguments, parts):
    written(FACTORY)
    written(FLOW, "plain.py")
    for command in ("check", "run"):
        said = refused(2, command, *arguments)
        assert all(part in said for part in parts), said


def test_a_function_that_raises_shows_its_traceback_or_our_error():
    text = HEAD + "def make(a: int):\n    return 1 / a\ndef bad():\n    return sl.Flow('m')\n"
    run = streamlib("check", written(text) + ":make", "--param", "a=0")
    assert run.exit_code == 3
    assert run.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert "streamlib/cli" not in run.stderr
    assert "raised by" in refused(3, "check", "mine.py:bad")


def test_a_file_with_several_flows_and_none_named_lists_them_with_a_command_to_copy():
    text = FACTORY.replace("def flow()", "def whole()") + FLOW.replace("flow =", "first =").replace(HEAD, "")
    said = refused(2, "run", written(text))
    assert "mine.py has no flow called 'flow', and none was named" in said
    assert "expected: one of make(region, limit, since), whole(), first" in said
    assert "to do:    name one: mine.py:make" in said


# --------------------------------------------------------------------------- files as modules


def module_of(target: str) -> str:
    run = streamlib("plan", target)
    assert run.exit_code == 0, run.output
    return re.search(r"^      (\S+):same$", run.stdout, re.M)[1]  # type: ignore[index]


MAPPED = HEAD + (
    "import helper\ndef same(batch):\n    return helper.same(batch)\n"
    'flow = sl.Flow("m", rows.map_batches(same).write(parquet.sink("out"), name="all"))\n'
)


def test_a_file_is_a_module_of_its_name_unless_that_means_another_module():
    written("def same(batch):\n    return batch\n", "helper.py")
    assert module_of(written(MAPPED, "hot.py")) == "hot"
    assert module_of("hot.py") == "hot", "and again"
    assert module_of(written(MAPPED, "queue.py")) == "streamlib_flow_queue"
    assert module_of(written(MAPPED, "numpy.py")) == "streamlib_flow_numpy"
    assert module_of(written(MAPPED, "hot.v2.py")) == "streamlib_flow_hot_v2"
    assert module_of(written(MAPPED, "streamlib.py")) == "streamlib_flow_streamlib"
    written("def same(batch):\n    return batch\n", "other/helper.py")
    assert module_of(written(MAPPED, "other/hot.py")) == "streamlib_flow_hot"


def test_a_file_called_like_the_standard_library_does_not_hide_it_from_threads(folder):
    """In a process of its own: `queue` and `random` must still be Python's when they are imported later."""
    text = FLOW.replace(HEAD, HEAD + "import random, colorsys, queue\nassert queue.Queue and random.random\n")
    for name in ("queue.py", "random.py", "colorsys.py"):
        written(text, name)
    code = "import sys; from streamlib.cli.main import main; sys.argv[1:] = sys.argv[2:]; main()"
    run = subprocess.run(
        [sys.executable, "-P", "-c", code, "-", "run", "queue.py", "--progress", "none"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr.startswith("m finished: 5 rows")


def test_functions_of_a_flow_file_can_be_loaded_in_another_process_under_the_same_name(folder):
    written("def same(batch):\n    return batch\n", "helper.py")
    assert streamlib("plan", written(MAPPED, "queue.py")).exit_code == 0
    files = modules.loaded_files()
    assert files == {"streamlib_flow_queue": f"{folder}/queue.py"}
    code = (
        "import json, pickle, sys\nfrom streamlib.core.modules import load_files\n"
        "load_files(json.loads(sys.argv[1]))\n"
        "print(pickle.loads(b'cstreamlib_flow_queue\\nsame\\n.')(7), __import__('queue').Queue.__module__)\n"
    )
    run = subprocess.run(
        [sys.executable, "-P", "-c", code, json.dumps(files)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stdout == "7 queue\n", run.stderr


def test_worker_processes_find_the_functions_of_a_flow_file_called_like_the_standard_library(folder):
    written("def same(batch):\n    return batch\n", "flows/helper.py")
    run = subprocess.run(
        [
            *(sys.executable, "-m", "streamlib", "run", written(MAPPED, "flows/queue.py")),
            *("--parallelism", "2", "--workers", "processes", "--progress", "none"),
        ],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr.startswith("m finished: 5 rows")


def test_a_file_that_fails_leaves_no_half_module_behind():
    streamlib("check", written("1 / 0\n", "half.py"))
    assert "half" not in sys.modules
    assert modules.loaded_files() == {}


# --------------------------------------------------------------------------- for people


def on_a_terminal(*arguments: str, **environ: str) -> str:
    """What a command shows where stdout and stderr are a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlib", *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "TERM": "xterm", **environ},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65_536):
            shown += part
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(ours)
    process.wait(60)
    return shown.decode()


def test_errors_are_red_in_a_terminal_and_plain_elsewhere():
    written(FLOW)
    assert on_a_terminal("check", "mine.py:flwo").startswith("\x1b[31m\x1b[1merror:\x1b[0m mine.py has no")
    assert on_a_terminal("check", "mine.py").startswith("\x1b[32m\x1b[1mOK\x1b[0m  m:")
    assert "\x1b" not in on_a_terminal("check", "mine.py:flwo", NO_COLOR="1")
    assert "\x1b" not in refused(2, "check", "mine.py:flwo")


def test_help_tells_the_commands_the_target_and_the_exit_codes():
    run = streamlib("--help")
    assert run.exit_code == 0
    for part in ("streamlib check hot.py", "FILE.py:NAME or MODULE:NAME", "5  taken over", "--param"):
        assert part in run.stdout
    assert streamlib().stdout + streamlib().stderr == run.stdout
    for command in ("run", "backfill", "plan", "check"):
        text = streamlib(command, "--help").stdout
        assert "FILE.py:NAME or MODULE:NAME" in text
        assert "..." not in text.replace("STREAMLIB_STATE, ...", "").replace("STREAMLIB_STATE,\n  ...", "")


def test_the_shell_completes_commands_and_options():
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    environ |= {"_STREAMLIB_COMPLETE": "bash_complete", "COMP_CWORD": "1", "COMP_WORDS": "streamlib ch"}
    code = "from streamlib.cli.main import main; main(prog_name='streamlib')"
    run = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.stdout == "plain,check\n"
