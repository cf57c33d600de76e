"""Python files as modules, under names that shadow nothing and are the same in every process of a job.

A flow's functions are named `module:qualname` in fingerprints, and pickled by that name for worker
processes. A file `hot.py` becomes the module `hot`; one whose name already means another module, as
`queue.py` does, gets a name of its own, by which only `load_files` finds it in another process.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

PREFIX = "streamlib_flow_"

_loaded: dict[str, str] = {}


def load_file(path: Path) -> ModuleType:
    """Execute a file as a module; what stands beside it can be imported. Raises whatever it raises."""
    full = path.resolve()
    make_importable(full.parent)
    return _execute(_name_for(full), full)


def loaded_files() -> dict[str, str]:
    """The files that `load_file` loaded, by the names of their modules: hand them to other processes."""
    return dict(_loaded)


def load_files(files: Mapping[str, str]) -> None:
    """In another process: load what `loaded_files` said, under the same names, before unpickling a flow."""
    for name, path in files.items():
        if _loaded.get(name) != path:
            make_importable(Path(path).parent)
            _execute(name, Path(path))


def make_importable(folder: Path) -> None:
    """Let modules in `folder` be imported: before what is installed, after the standard library.

    At the very front, as `python file.py` has it, a file `queue.py` would be what threads import.
    """
    if str(folder) in sys.path:
        return
    library = os.path.dirname(os.__file__)  # compared as sys.path has it
    own = {library, os.path.join(library, "lib-dynload")}
    last = max((i for i, place in enumerate(sys.path) if place in own), default=-1)
    sys.path.insert(last + 1, str(folder))
    importlib.invalidate_caches()


def _name_for(path: Path) -> str:
    name, number = path.stem, 1
    if name in sys.stdlib_module_names or "." in name or _is_taken(name, path):
        base = name = PREFIX + re.sub(r"\W", "_", path.stem)
        while _is_taken(name, path):
            number += 1
            name = f"{base}_{number}"
    return name


def _is_taken(name: str, path: Path) -> bool:
    """Whether the name means another module than the file's."""
    if name in _loaded:
        return _loaded[name] != str(path)
    if name in sys.modules:
        own = getattr(sys.modules[name], "__file__", None)
        return own is None or Path(own).resolve() != path
    spec = importlib.util.find_spec(name)
    return spec is not None and (spec.origin is None or Path(spec.origin).resolve() != path)


def _execute(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that its functions have importable names
    _loaded[name] = str(path)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name], _loaded[name]
        raise
    return module
