"""Settings in files: `streamlib.toml`, or `[tool.streamlib]` of `pyproject.toml`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamlib.core.errors import DefinitionError, shown
from streamlib.core.settings import SETTINGS, unknown_setting

OWN, SHARED = "streamlib.toml", "pyproject.toml"
FLOWS = "flow"
"""The table of tables with settings for one flow: `[flow.NAME]`."""


@dataclass(frozen=True)
class Entry:
    """A setting as a file has it: for one flow, or for all (None)."""

    flow: str | None
    name: str
    value: Any
    line: int


@dataclass(frozen=True)
class FileSettings:
    """The settings of a file; those for all flows stand before those for one."""

    path: Path
    entries: tuple[Entry, ...]


def find_settings(folder: Path) -> FileSettings | None:
    """The settings of the nearest file, looking in `folder` and then in the folders above it.

    Raises:
        DefinitionError: the file can't be read, has an unknown setting, or its folder has two files.
    """
    for place in (folder, *folder.parents):
        tables = [
            (path, tables) for path in (place / OWN, place / SHARED) if (tables := _tables(path)) is not None
        ]
        if len(tables) > 1:
            raise DefinitionError(
                "settings stand in two files",
                expected=f"one of {OWN} and [tool.streamlib] of {SHARED}",
                found=f"both, in {place}",
                remedy="move the settings of one to the other",
            )
        for path, table in tables:
            return FileSettings(path, tuple(_entries(path, table)))
    return None


def _tables(path: Path) -> Mapping[str, Any] | None:
    """The file's table of settings; None where there is no such file, or nothing of ours in it."""
    import tomllib  # noqa: PLC0415  # only where there is a file to read

    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DefinitionError(
            f"the settings in {path} can't be read",
            expected="a TOML file",
            found=str(error),
            remedy="correct the file, or move it away",
        ) from error
    return content if path.name == OWN else content.get("tool", {}).get("streamlib")


def _entries(path: Path, table: Mapping[str, Any]) -> Iterator[Entry]:
    root = () if path.name == OWN else ("tool", "streamlib")
    lines = path.read_text("utf-8").splitlines()
    flows = table.get(FLOWS, {})
    if not isinstance(flows, Mapping) or not all(isinstance(own, Mapping) for own in flows.values()):
        place = f"{path}:{_line(lines, root, FLOWS)}"
        raise DefinitionError(
            f"{FLOWS!r} holds the settings of single flows",
            expected=f"a table for each flow, [{'.'.join((*root, FLOWS, 'NAME'))}]",
            found=shown(flows),
            where=place,
        )
    sections: list[tuple[str | None, Mapping[str, Any]]] = [
        (None, {name: value for name, value in table.items() if name != FLOWS}),
        *flows.items(),
    ]
    for flow, settings in sections:
        header = root if flow is None else (*root, FLOWS, flow)
        for name, value in settings.items():
            line = _line(lines, header, name)
            if name not in SETTINGS:
                raise unknown_setting(name).at(None, f"{path}:{line}")
            yield Entry(flow, name, value, line)


_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$")
_KEY = re.compile(r"\s*([^=#\[]+?)\s*=")


def _line(lines: list[str], header: tuple[str, ...], key: str) -> int:
    """The line where a key stands, since `tomllib` does not tell; its first part's where it is dotted."""
    here: tuple[str, ...] = ()
    best = 1
    for number, line in enumerate(lines, start=1):
        head, pair = _HEADER.match(line), _KEY.match(line)
        if head:
            here = _parts(head[1])
            best = number if here == header else best
        elif pair and (*here, *_parts(pair[1])) == (*header, key):
            return number
    return best


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
