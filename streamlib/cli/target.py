"""Finding the flow that a command names: `flows/hot.py:flow` or `package.module:flow`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from streamlib.cli.parameters import call_factory
from streamlib.core.errors import DefinitionError, did_you_mean
from streamlib.core.modules import load_file, make_importable
from streamlib.plan.flow import Flow

DEFAULT_NAME = "flow"


class TargetError(DefinitionError):
    """The command names a file, module or flow that is not there, or gives it parameters it does not take.

    TARGET is FILE.py:NAME or MODULE:NAME, where NAME is a flow or a function that returns one; without a NAME
    it is `flow`. `--param NAME=VALUE` gives a function its parameters.
    """

    code = "SL110"


def load_flow(target: str, parameters: Sequence[str] = ()) -> Flow:
    """The flow named by `FILE.py[:NAME]` or `MODULE[:NAME]`; NAME defaults to `flow`.

    NAME may be a function that returns a flow; it is called with the parameters (`NAME=VALUE`).

    Raises:
        TargetError: no such file, module or name, the name is not a flow, or parameters don't fit.
        Exception: whatever the file, module or function raises.
    """
    place, _, name = target.partition(":")
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    found = getattr(module, name or DEFAULT_NAME, None)
    if isinstance(found, Flow):
        if parameters:
            raise _takes_no_parameters(place, name or DEFAULT_NAME, parameters)
        return found
    if callable(found) and not isinstance(found, type):
        return _made(found, f"{place}:{name or DEFAULT_NAME}", parameters)
    raise _no_flow(module, place, name, found)


def _made(factory: Any, target: str, parameters: Sequence[str]) -> Flow:
    try:
        arguments = call_factory(factory, parameters)
    except DefinitionError as error:
        raise TargetError(
            f"{target}: {error.message}", expected=error.expected, found=error.found, remedy=error.remedy
        ) from error.__cause__
    made = factory(*arguments.args, **arguments.kwargs)
    if isinstance(made, Flow):
        return made
    raise TargetError(
        f"{target} did not return a flow",
        expected="a function that returns an sl.Flow",
        found=type(made).__name__,
        remedy="return the flow at the end of the function",
    )


def _takes_no_parameters(place: str, name: str, parameters: Sequence[str]) -> TargetError:
    return TargetError(
        f"{place}:{name} takes no parameters",
        expected="a function that returns a flow, where --param is given",
        found=f"a flow, and --param {' --param '.join(parameters)}",
        remedy=f"leave --param out, or write a function `def make({parameters[0].partition('=')[0]}): ...`",
    )


def _no_flow(module: ModuleType, place: str, name: str, found: Any) -> TargetError:
    flows = _flows_of(module)
    expected = f"one of {', '.join(flows)}" if flows else "a variable that holds an sl.Flow"
    if not name and flows:
        return TargetError(
            f"{place} has no flow called {DEFAULT_NAME!r}, and none was named",
            expected=expected,
            found=f"{place} without :NAME",
            remedy=f"name one: {place}:{next(iter(flows)).partition('(')[0]}",
        )
    names = [flow.partition("(")[0] for flow in flows]
    return TargetError(
        f"{place} has no flow called {name or DEFAULT_NAME!r}",
        expected=expected,
        found="nothing of that name" if found is None else type(found).__name__,
        remedy=did_you_mean(name, names) or f"run `{place}:NAME` with the name of the flow's variable",
    )


def _flows_of(module: ModuleType) -> list[str]:
    """The flows of a module, and its functions that say they return one, with their parameters."""
    found = []
    for name, value in vars(module).items():
        if isinstance(value, Flow):
            found.append(name)
        elif inspect.isfunction(value) and value.__module__ == module.__name__ and _returns_flow(value):
            found.append(f"{name}({', '.join(inspect.signature(value).parameters)})")
    return found


def _returns_flow(function: Any) -> bool:
    returned = function.__annotations__.get("return")
    return returned is Flow or (isinstance(returned, str) and returned.rpartition(".")[2] == Flow.__name__)


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
        raise TargetError(
            f"no file {path}",
            expected="a Python file that defines a flow",
            found=f"{path.parent}/ with {', '.join(near) or 'no Python files'}",
            remedy=did_you_mean(path.name, near) or "give the path from the working directory",
        )
    return load_file(path)


def _load_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise _no_module(name)
    make_importable(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # it is there, and imports something that is not
        raise _no_module(name) from error


def _no_module(name: str) -> TargetError:
    return TargetError(
        f"no module {name!r}",
        expected="FILE.py:NAME or MODULE:NAME",
        found=repr(name),
        remedy=f"did you mean {name}.py?" if Path(f"{name}.py").is_file() else "check the spelling",
    )
