"""Finding the flow that a command names: `flows/hot.py:flow` or `package.module:flow`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from streamlib.core.errors import DefinitionError, did_you_mean
from streamlib.plan.flow import Flow

DEFAULT_NAME = "flow"


class TargetError(DefinitionError):
    """The command names a file, module or flow that is not there."""


def load_flow(target: str) -> Flow:
    """The flow named by `FILE.py[:NAME]` or `MODULE[:NAME]`; NAME defaults to `flow`.

    Raises:
        TargetError: no such file, module or name, or the name is not a flow.
        Exception: whatever the file or module raises.
    """
    place, _, name = target.partition(":")
    name = name or DEFAULT_NAME
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    found = getattr(module, name, None)
    if isinstance(found, Flow):
        return found
    flows = [n for n, value in vars(module).items() if isinstance(value, Flow)]
    raise TargetError(
        f"{place} has no flow called {name!r}",
        expected=f"one of {', '.join(flows)}" if flows else "a variable that holds an sl.Flow",
        found="nothing of that name" if found is None else type(found).__name__,
        remedy=did_you_mean(name, flows) or f"run `{place}:NAME` with the name of the flow's variable",
    )


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
        raise TargetError(
            f"no file {path}",
            expected="a Python file that defines a flow",
            found=f"{path.parent}/ with {', '.join(near) or 'no Python files'}",
            remedy=did_you_mean(path.name, near) or "give the path from the working directory",
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # so that its functions have importable names
    sys.path.insert(0, str(path.parent.resolve()))
    spec.loader.exec_module(module)
    return module


def _load_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise _no_module(name)
    sys.path.insert(0, str(Path.cwd()))
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
