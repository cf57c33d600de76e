"""How a job is run, as a value: what can be set, and what each setting takes.

Where values come from, and which one wins, is `runners/settings.py`; how they are asked for on the
command line is `cli/options.py`. All of them are made of the one table at the end of this file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from os import PathLike
from typing import Any, Literal, get_args

from streamlib.core.errors import DefinitionError, did_you_mean, shown
from streamlib.core.time import Duration, duration, show_duration
from streamlib.core.where import caller

GuaranteeLevel = Literal["exactly-once", "at-least-once", "at-most-once"]
WorkerKind = Literal["auto", "threads", "processes"]
ProgressStyle = Literal["auto", "live", "plain", "none"]
FLOW_NAME = "{flow}"
"""In `state`: the flow's name, for a batch run `NAME.backfill`."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a flow's jobs are run, unless the command line, the environment or a file says otherwise.

    What is None is not set. Settings are no part of what a flow means: flows that differ in them are
    equal and have the same fingerprint.

    Attributes:
        state: folder of the job's state; a job *is* its state. `{flow}` in it stands for the flow's name
            (`NAME.backfill` for a batch run). Default: `.streamlib/{flow}`.
        checkpoint_interval: time between checkpoints; output appears at checkpoints. Default: `10s`.
        guarantee: the least that the flow has to promise from end to end; if its sources and sinks can't,
            the job does not start. Default: whatever they can.
        drain_timeout: how long a stop may take before it is given up. Default: `60s`.
        progress: how progress is shown on stderr: `live`, `plain`, `none`, or `auto` (live in a terminal,
            a table in a notebook, plain lines elsewhere). Default: `auto`.
        parallelism: how many workers share the operators, 1 to 128. Results, late rows included, are the
            same for every number, and each run of a job may have another. Default: 1.
        workers: `threads` (kernels that release the interpreter lock run at the same time), or
            `processes` (Python functions do); `auto` is `processes` where the flow calls a Python
            function for every record and can be pickled, else `threads`. Default: `auto`.

    Raises:
        DefinitionError: a value that the setting does not take.

    >>> Settings(checkpoint_interval="90s").checkpoint_interval
    '1min30s'
    """

    state: str | PathLike[str] | None = None
    checkpoint_interval: Duration | None = None
    guarantee: GuaranteeLevel | None = None
    drain_timeout: Duration | None = None
    progress: ProgressStyle | None = None
    parallelism: int | None = None
    workers: WorkerKind | None = None

    def __post_init__(self) -> None:
        for name, value in self.given().items():
            try:
                object.__setattr__(self, name, SETTINGS[name].check(value))
            except DefinitionError as error:
                raise error.at(None, f"{caller()}, {name}") from error.__cause__

    def given(self) -> dict[str, Any]:
        """The settings that are set, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.given().items())})"


@dataclass(frozen=True)
class Setting:
    """One thing that can be set.

    Attributes:
        name: as in `Settings` and in files; flags and variables are made of it.
        check: what the setting makes of a value; raises `DefinitionError`.
        parse: what it makes of a text, from a flag or a variable.
        takes: what it takes, in a word for the help, or the choices.
        default: what holds where nothing is set.
        help: what it is, in one sentence.
    """

    name: str
    check: Callable[[Any], Any]
    parse: Callable[[str], Any]
    takes: str | tuple[str, ...]
    default: Any
    help: str

    @property
    def flag(self) -> str:
        """`--checkpoint-interval`."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """`STREAMLIB_CHECKPOINT_INTERVAL`."""
        return VARIABLE_PREFIX + self.name.upper()

    def from_file(self, value: Any) -> Any:
        """What it makes of a value in a TOML file, where a bare number is no duration: of what unit?"""
        if self.takes == DURATION and not isinstance(value, str):
            raise _refused("a duration", 'a text with a unit, for example "10s"', value, 'write "10s"')
        return self.check(value)


VARIABLE_PREFIX = "STREAMLIB_"
DURATION = "DURATION"
MOST_WORKERS = 128
"""One for each key group."""


def unknown_setting(name: str) -> DefinitionError:
    """The error for a setting that does not exist, with the closest."""
    return DefinitionError(
        f"there is no setting {name!r}",
        expected=f"one of {', '.join(SETTINGS)}",
        found=repr(name),
        remedy=did_you_mean(name.replace("-", "_"), SETTINGS) or "see docs/settings.md",
    )


def _refused(what: str, expected: str, found: object, remedy: str | None = None) -> DefinitionError:
    return DefinitionError(f"not {what}", expected=expected, found=shown(found), remedy=remedy)


def _folder(value: Any) -> str:
    if not isinstance(value, str | PathLike) or not os.fspath(value):
        raise _refused("a folder", "the path of a folder", value)
    path = os.fspath(value)
    if "://" in path:
        raise _refused("a folder", "the path of a folder on this machine", path, "object stores come later")
    return str(path)


def _duration(value: Any) -> str:
    return show_duration(duration(value))


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_WORKERS:
        raise _refused(
            "a number of workers", f"a whole number from 1 to {MOST_WORKERS}", value, "begin with the cores"
        )
    return value


def _parse_count(text: str) -> int:
    return _count(int(text) if text.isdecimal() else text)


def _one_of(what: str, choices: tuple[str, ...]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in choices:
            remedy = did_you_mean(str(value), choices) or "choose one of them"
            raise _refused(what, f"one of {', '.join(choices)}", value, remedy)
        return str(value)

    return check


def _choice(name: str, what: str, choices: tuple[str, ...], default: str | None, help: str) -> Setting:
    check = _one_of(what, choices)
    return Setting(name, check, check, choices, default, help)


_GUARANTEES: tuple[str, ...] = get_args(GuaranteeLevel)
_STYLES: tuple[str, ...] = get_args(ProgressStyle)
_WORKERS: tuple[str, ...] = get_args(WorkerKind)

SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting(
            "state",
            _folder,
            _folder,
            "FOLDER",
            f".streamlib/{FLOW_NAME}",
            f"Folder of the job's state; {FLOW_NAME} stands for the flow's name.",
        ),
        Setting(
            "checkpoint_interval",
            _duration,
            _duration,
            DURATION,
            "10s",
            "Time between checkpoints; output appears at checkpoints.",
        ),
        _choice(
            "guarantee",
            "a guarantee",
            _GUARANTEES,
            None,
            "The least to promise from end to end; refuse to start otherwise.",
        ),
        Setting(
            "drain_timeout",
            _duration,
            _duration,
            DURATION,
            "1min",
            "How long a stop may take before it is given up (exit 4).",
        ),
        _choice("progress", "a way to show progress", _STYLES, "auto", "How progress is shown on stderr."),
        Setting("parallelism", _count, _parse_count, "N", 1, "How many workers share the operators."),
        _choice(
            "workers",
            "a kind of workers",
            _WORKERS,
            "auto",
            "What they are; auto: processes where Python is called for every record.",
        ),
    )
}
"""Everything that can be set, by name."""
