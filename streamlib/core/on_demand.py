"""Packages whose names are imported when somebody first asks for them (PEP 562).

A script pays for what it uses: connectors, operators and runners that it does not name stay unread.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence


def on_demand(
    package: str, names: Mapping[str, Sequence[str]] | None = None, modules: Sequence[str] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package.

    Type checkers must see ordinary imports in their place, under `TYPE_CHECKING`: to them a module with
    a `__getattr__` has every name.

    Args:
        package: the `__name__` of the package.
        names: by module what it has for the package. No name may be that of a module in the package,
            which would hide it once it is imported.
        modules: modules in the package that are shown themselves.

    >>> get, shown = on_demand("streamlib.core", {"streamlib.core.time": ["duration"]})
    >>> get("duration")("1ms"), "duration" in shown()
    (1000, True)
    """
    places = {name: module for module, inside in (names or {}).items() for name in inside}

    def get(name: str) -> object:
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found: object = getattr(importlib.import_module(places[name]), name)
        setattr(sys.modules[package], name, found)  # the next time it is found without asking
        return found

    def shown() -> list[str]:
        return sorted({*vars(sys.modules[package]), *places, *modules})

    return get, shown
