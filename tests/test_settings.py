"""Settings: what wins, where a value came from, and what a mistake looks like."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

import streamlib as sl
from streamlib.connectors import console, memory, parquet
from streamlib.core.settings import SETTINGS
from streamlib.core.time import duration
from streamlib.plan.launch import JobOptions
from streamlib.runners.settings import Effective, Surroundings, effective

FLAGS = "flag"
REAL = {"state": "/s", "checkpoint_interval": "1s", "guarantee": "exactly-once"}
REAL |= {"drain_timeout": "2s", "progress": "none", "parallelism": 3, "workers": "threads"}


def flow_of(name: str = "hot", sink: object = None, settings: sl.Settings | None = None) -> sl.Flow:
    rows = sl.read(memory.source([{"id": 1}]), name="rows")
    return sl.Flow(name, rows.write(sink or memory.sink(), name="out"), settings=settings)


def found(
    folder: Path,
    flow: sl.Flow | None = None,
    asked: sl.Settings | None = None,
    mode: str = "streaming",
    **environ: str,
) -> Effective:
    around = Surroundings(environ, folder)
    return effective(flow or flow_of(), mode, asked or sl.Settings(), lambda s: f"flag {s.flag}", around)


def refused(folder: Path, **environ: str) -> str:
    with pytest.raises(sl.StreamlibError) as raised:
        found(folder, **environ)
    return str(raised.value)


# --------------------------------------------------------------------------- what wins


def test_flag_beats_environment_beats_file_beats_code_beats_default(tmp_path):
    flow = flow_of(settings=sl.Settings(checkpoint_interval="4s"))
    layers = []

    def say():
        asked = sl.Settings(checkpoint_interval="1s") if "flag" in layers else None
        environ = {"STREAMLIB_CHECKPOINT_INTERVAL": "2s"} if "environment" in layers else {}
        own = flow if "code" in layers else flow_of()
        return found(tmp_path, own, asked, **environ).values["checkpoint_interval"]

    assert say() == ("10s", "default")
    layers.append("code")
    assert say() == ("4s", "sl.Settings in the flow")
    (tmp_path / "streamlib.toml").write_text('# ours\ncheckpoint_interval = "3s"\n')
    assert say() == ("3s", f"{tmp_path}/streamlib.toml:2")
    layers.append("environment")
    assert say() == ("2s", "environment variable STREAMLIB_CHECKPOINT_INTERVAL")
    layers.append("flag")
    assert say() == ("1s", "flag --checkpoint-interval")


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_can_be_given_everywhere(tmp_path, name):
    assert found(tmp_path, asked=sl.Settings(**{name: REAL[name]}))[name] == REAL[name]
    assert found(tmp_path, flow_of(settings=sl.Settings(**{name: REAL[name]})))[name] == REAL[name]
    assert found(tmp_path, **{f"STREAMLIB_{name.upper()}": str(REAL[name])})[name] == REAL[name]
    (tmp_path / "streamlib.toml").write_text(f"{name} = {json.dumps(REAL[name])}\n")
    assert found(tmp_path)[name] == REAL[name]


def test_the_defaults_are_those_of_a_job_that_is_told_nothing(tmp_path):
    options, plain = found(tmp_path).options(), JobOptions()
    assert options.state == ".streamlib/hot"
    for name in ("checkpoint_interval", "drain_timeout"):
        assert duration(getattr(options, name)) == duration(getattr(plain, name))
    assert (options.guarantee, options.takeover, options.finish) == (None, False, False)


def test_an_empty_variable_is_not_set(tmp_path):
    assert found(tmp_path, STREAMLIB_STATE="").values["state"][1] == "default"


# --------------------------------------------------------------------------- state


def test_the_flows_name_stands_in_the_state_and_a_batch_has_its_own(tmp_path):
    assert found(tmp_path, STREAMLIB_STATE="/jobs/{flow}")["state"] == "/jobs/hot"
    assert found(tmp_path, mode="batch", STREAMLIB_STATE="/jobs/{flow}")["state"] == "/jobs/hot.backfill"
    assert found(tmp_path, mode="batch")["state"] == ".streamlib/hot.backfill"


def test_a_folder_in_a_file_is_meant_from_where_the_file_is(tmp_path):
    (tmp_path / "streamlib.toml").write_text('state = "jobs/{flow}"\n')
    deep = tmp_path / "a/b"
    deep.mkdir(parents=True)
    assert found(deep)["state"] == f"{tmp_path}/jobs/hot"
    (tmp_path / "streamlib.toml").write_text('state = "~/jobs"\n')
    assert found(deep)["state"] == str(Path("~/jobs").expanduser())


# --------------------------------------------------------------------------- files


def test_the_nearest_file_upwards_counts_and_a_pyproject_without_our_table_does_not(tmp_path):
    near = tmp_path / "a/b"
    near.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\n\n[tool.streamlib]\nprogress = "plain"\n\n'
        '[tool.streamlib.flow.hot]\nguarantee = "at-least-once"\n'
    )
    (tmp_path / "a/pyproject.toml").write_text('[project]\nname = "y"\n')
    values = found(near).values
    assert values["progress"] == ("plain", f"{tmp_path}/pyproject.toml:5")
    assert values["guarantee"] == ("at-least-once", f"{tmp_path}/pyproject.toml:8")
    (tmp_path / "a/streamlib.toml").write_text("")
    assert found(near).values["progress"][1] == "default", "an empty file of ours is the nearest"


def test_settings_of_a_flow_go_before_those_for_all_and_leave_other_flows_alone(tmp_path):
    (tmp_path / "streamlib.toml").write_text(
        'checkpoint_interval = "5s"\n[flow.hot]\ncheckpoint_interval = "1s"\n'
        '[flow."cold-1"]\nprogress = "none"\n'
    )
    assert found(tmp_path).values["checkpoint_interval"] == ("1s", f"{tmp_path}/streamlib.toml:3")
    assert found(tmp_path)["progress"] == "auto"
    cold = found(tmp_path, flow_of("cold-1"))
    assert (cold["checkpoint_interval"], cold["progress"]) == ("5s", "none")


def test_two_files_in_one_folder_are_refused(tmp_path):
    (tmp_path / "streamlib.toml").write_text('progress = "none"\n')
    (tmp_path / "pyproject.toml").write_text('[tool.streamlib]\nprogress = "plain"\n')
    said = refused(tmp_path)
    assert f"both, in {tmp_path}" in said
    assert "move the settings of one to the other" in said


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            'progress = "none"\ncheckpoint-interval = "3s"\n',
            [":2: there is no setting 'checkpoint-interval'", "did you mean 'checkpoint_interval'?"],
        ),
        ("\ncheckpoint_interval = 3\n", [":2: not a duration", 'for example "10s"', "found:    3"]),
        ('drain_timeout = "3 parsecs"\n', [":1: not a duration", "found:    '3 parsecs'"]),
        ("state = 7\n", [":1: not a folder", "found:    7"]),
        ('state = "s3://bucket/x"\n', [":1: not a folder", "object stores come later"]),
        ('progress = "loud"\n', [":1: not a way to show progress", "one of auto, live, plain, none"]),
        ('guarantee = "exactly_once"\n', [":1: not a guarantee", "did you mean 'exactly-once'"]),
        ("takeover = true\n", [":1: there is no setting 'takeover'"]),
        ('[flow.hot]\n# note\nprogres = "none"\n', [":3: there is no setting 'progres'"]),
        ('[flow.other]\nprogress = "loud"\n', [":2: not a way to show progress"]),
        ('flow = "hot"\n', [":1: 'flow' holds the settings of single flows", "[flow.NAME]"]),
        ("progress = \n", ["streamlib.toml can't be read", "at line 1"]),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_line(tmp_path, text, parts):
    (tmp_path / "streamlib.toml").write_text(text)
    said = refused(tmp_path)
    assert all(part in said for part in parts), said
    assert str(tmp_path) in said


# --------------------------------------------------------------------------- the environment


def test_a_mistake_in_the_environment_names_the_variable(tmp_path):
    said = refused(tmp_path, STREAMLIB_DRAIN_TIMEOUT="10")
    assert said.startswith("at environment variable STREAMLIB_DRAIN_TIMEOUT: not a duration")
    said = refused(tmp_path, STREAMLIB_CHECKPOINT_INTERVALL="10s")
    assert "did you mean STREAMLIB_CHECKPOINT_INTERVAL?" in said


def test_variables_of_others_with_our_prefix_do_no_harm(tmp_path):
    """Kubernetes gives every process STREAMLIB_PORT where a service is called so."""
    strange = {"STREAMLIB_PORT": "tcp://10.0.0.1:80", "STREAMLIB_SERVICE_HOST": "10.0.0.1"}
    assert found(tmp_path, **strange).values == found(tmp_path).values


# --------------------------------------------------------------------------- in Python


def test_settings_are_values_that_take_no_part_in_a_flow():
    slow = sl.Settings(checkpoint_interval="90s", progress="none")
    assert slow == sl.Settings(checkpoint_interval=90_000_000, progress="none")
    assert repr(slow) == "Settings(checkpoint_interval='1min30s', progress='none')"
    sink = memory.sink()
    first, second = flow_of(sink=sink), flow_of(sink=sink, settings=slow)
    assert first == second
    assert first.fingerprint == second.fingerprint
    with pytest.raises(AttributeError):
        slow.progress = "plain"  # type: ignore[misc]


def test_settings_go_with_a_flow_that_is_pickled_or_bound_to_other_connectors():
    slow = sl.Settings(checkpoint_interval="90s")
    flow = flow_of(sink=parquet.sink("out"), settings=slow)
    assert pickle.loads(pickle.dumps(flow)).settings == slow
    assert flow.rebind(sinks={"out": parquet.sink("else")}).settings == slow


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"checkpoint_interval": "fast"}, ["checkpoint_interval: not a duration", "found:    'fast'"]),
        ({"progress": "lives"}, ["progress: not a way to show progress", "did you mean 'live'?"]),
        ({"state": 3}, ["state: not a folder"]),
    ],
)
def test_a_bad_value_in_code_names_the_setting_and_the_line(settings, parts):
    for use in (sl.Settings, flow_of().run, flow_of().backfill):
        with pytest.raises(sl.StreamlibError, match=r"^at test_settings.py:\d+, ") as raised:
            use(**settings)
        assert all(part in str(raised.value) for part in parts)


def test_settings_that_are_none_are_refused_where_the_flow_is_built():
    with pytest.raises(TypeError, match=r'for example sl.Settings\(checkpoint_interval="1s"\)'):
        flow_of(settings={"progress": "none"})  # type: ignore[arg-type]


def test_flow_run_looks_into_environment_and_file_and_its_arguments_win(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "streamlib.toml").write_text('state = "jobs/{flow}"\nprogress = "none"\n')
    flow = flow_of()
    assert flow.run().outcome == "finished"
    assert (tmp_path / "jobs/hot").is_dir()
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("STREAMLIB_STATE", str(tmp_path / "other"))
    flow_of("two").backfill(state=tmp_path / "mine")
    assert (tmp_path / "mine").is_dir()
    assert not (tmp_path / "other").exists()


# --------------------------------------------------------------------------- the guarantee


def test_a_guarantee_that_the_ends_cant_give_is_refused_before_the_start(tmp_path):
    flow = flow_of(sink=console.sink(), settings=sl.Settings(guarantee="exactly-once"))
    with pytest.raises(sl.StreamlibError) as raised:
        flow.run(state=tmp_path / "s")
    said = str(raised.value)
    assert said.startswith("in operator 'out' (test_settings.py:")
    assert "can't give the guarantee 'exactly-once' that was asked for" in said
    assert "sinks that are staged or write-ahead or idempotent" in said
    assert "found:    at-least-once, because sink 'out' is at-least-once" in said
    assert "ask for 'at-least-once'" in said
    assert not (tmp_path / "s").exists()
    assert flow.run(state=tmp_path / "s", guarantee="at-least-once", progress="none").rows == 1


def test_a_guarantee_that_is_given_changes_nothing(tmp_path):
    for level in ("exactly-once", "at-least-once", "at-most-once"):
        flow = flow_of(settings=sl.Settings(guarantee=level))
        assert flow.run(state=tmp_path / level, progress="none").outcome == "finished"


# --------------------------------------------------------------------------- documentation


def test_the_documentation_names_every_setting_its_flag_its_variable_and_its_default():
    text = (Path(__file__).parents[1] / "docs/settings.md").read_text()
    for setting in SETTINGS.values():
        assert all(f"`{part}`" in text for part in (setting.name, setting.flag, setting.variable))
        assert setting.default is None or f"`{setting.default}`" in text
