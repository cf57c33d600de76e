"""Which settings hold, and where each came from: flag, environment, file, code, default.

Nothing is read before a job is run or checked. The environment and the working directory are handed
in, so tests need neither.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamlib.core.errors import DefinitionError
from streamlib.core.settings import FLOW_NAME, SETTINGS, VARIABLE_PREFIX, Setting, Settings
from streamlib.core.span import Span
from streamlib.plan.flow import Flow
from streamlib.plan.launch import JobOptions
from streamlib.runners.settings_file import FileSettings, find_settings
from streamlib.runtime.pipeline import Mode

TYPO = 0.75  # likeness from which a variable is taken for a misspelt one of ours
Values = Mapping[str, tuple[Any, str]]
"""Values by the name of the setting, each with where it came from."""


@dataclass(frozen=True)
class Effective:
    """The value of every setting, and where it came from."""

    values: Values

    def __getitem__(self, name: str) -> Any:
        return self.values[name][0]

    def options(
        self, *, takeover: bool = False, finish: bool = False, span: Span | None = None
    ) -> JobOptions:
        """What a job is run with."""
        names = ("state", "checkpoint_interval", "drain_timeout", "guarantee", "parallelism", "workers")
        values = {name: self[name] for name in names}
        return JobOptions(takeover=takeover, finish=finish, span=span, **values)


@dataclass(frozen=True)
class Surroundings:
    """What a process finds around it: the variables, and the working directory."""

    environ: Mapping[str, str]
    folder: Path

    @classmethod
    def of_process(cls) -> Surroundings:
        """Of this process."""
        return cls(os.environ, Path.cwd())


def effective(
    flow: Flow,
    mode: Mode,
    asked: Settings,
    asked_by: Callable[[Setting], str],
    around: Surroundings | None = None,
    span: Span | None = None,
) -> Effective:
    """The settings for a run of `flow`.

    The first of these that says something wins: `asked` (flags, or the arguments of a call), the
    environment, the nearest `streamlib.toml` or `[tool.streamlib]`, the flow's own settings, the
    defaults. `asked_by` names a setting as it was asked for. Backfills of different spans are different
    jobs, so the name of the state folder tells the span.

    Raises:
        DefinitionError: a variable, a file or a value in it is not usable; it says which line.
    """
    around = around or Surroundings.of_process()
    found = find_settings(around.folder)
    layers: list[Values] = [
        {name: (value, asked_by(SETTINGS[name])) for name, value in asked.given().items()},
        dict(_from_environment(around.environ)),
        {} if found is None else _from_file(found, flow.name),
        {name: (value, "sl.Settings in the flow") for name, value in flow.settings.given().items()},
        {name: (setting.default, "default") for name, setting in SETTINGS.items()},
    ]
    values = {name: next(layer[name] for layer in layers if name in layer) for name in SETTINGS}
    state, origin = values["state"]
    return Effective({**values, "state": (state.replace(FLOW_NAME, job_name(flow.name, mode, span)), origin)})


def job_name(flow: str, mode: Mode, span: Span | None) -> str:
    """What a job is called after its flow: the name of its state folder."""
    if mode == "streaming":
        return flow
    return f"{flow}.backfill" if span is None else f"{flow}.backfill.{span}"


def foreign_variables(environ: Mapping[str, str]) -> list[str]:
    """Variables with our prefix that are no settings, and not taken for misspelt ones."""
    ours = {setting.variable for setting in SETTINGS.values()}
    return sorted(name for name in environ if name.startswith(VARIABLE_PREFIX) and name not in ours)


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, tuple[Any, str]]]:
    _check_names(environ)
    for setting in SETTINGS.values():
        text = environ.get(setting.variable)
        if text:
            place = f"environment variable {setting.variable}"
            yield setting.name, (_checked(setting.parse, text, place), place)


def _check_names(environ: Mapping[str, str]) -> None:
    """Refuse what looks like a misspelt variable of ours.

    Not every unknown one: in a Kubernetes namespace with a service called `streamlib` every process
    gets STREAMLIB_PORT and more.
    """
    ours = {setting.variable[len(VARIABLE_PREFIX) :]: setting.variable for setting in SETTINGS.values()}
    for name in foreign_variables(environ):
        close = difflib.get_close_matches(name[len(VARIABLE_PREFIX) :], ours, n=1, cutoff=TYPO)
        if close:
            raise DefinitionError(
                f"the environment variable {name} is no setting",
                expected=f"one of {', '.join(ours.values())}",
                found=name,
                remedy=f"did you mean {ours[close[0]]}?",
            )


def _from_file(found: FileSettings, flow: str) -> Values:
    """The file's settings for all flows, and over them those for this one."""
    values: dict[str, tuple[Any, str]] = {}
    for entry in found.entries:
        place = f"{found.path}:{entry.line}"
        value = _checked(SETTINGS[entry.name].from_file, entry.value, place)
        if entry.name == "state":  # a path in a file is meant from where the file is
            value = os.path.join(found.path.parent, os.path.expanduser(value))
        if entry.flow in (None, flow):
            values[entry.name] = (value, place)
    return values


def _checked(check: Callable[[Any], Any], value: Any, place: str) -> Any:
    try:
        return check(value)
    except DefinitionError as error:
        raise error.at(None, place) from error.__cause__
