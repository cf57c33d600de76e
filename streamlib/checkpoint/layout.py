"""Names in a state folder: the only place that builds or recognises them.

    <root>/manifests/<number>.json               a manifest or a stub
    <root>/manifests/.tmp-<attempt>-<use>        one that is being written, or a probe
    <root>/data/<attempt>/<number>/<file>.arrow  state tables of checkpoint <number>
    <root>/locks/<attempt>                       held while the attempt lives

Manifests name state files relative to the root, in exactly the form above, so that no manifest
can make a reader or the cleanup leave the folder.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from streamlib.core.errors import DefinitionError, shown

ATTEMPT_PATTERN = r"\A[A-Za-z0-9-]{1,64}\Z"
"""An attempt id: it becomes a folder's name."""
STATE_FILE_PATTERN = r"\Adata/[A-Za-z0-9-]{1,64}/[0-9]{8,18}/[A-Za-z0-9_-]{1,120}\.arrow\Z"
"""A state file, relative to the root."""

STATE_FILE = re.compile(STATE_FILE_PATTERN)

_ENTRY = re.compile(r"\A([0-9]{8,18})\.json\Z")
_TEMPORARY = re.compile(r"\A\.tmp-([A-Za-z0-9-]{1,64})-[a-z0-9]+\Z")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_NAME_CHARS = 48  # of an operator and of a table: two, an index and ".arrow" stay far below 255 bytes


@dataclass(frozen=True)
class Layout:
    """Paths below one state folder, given as an absolute path."""

    root: str

    def __post_init__(self) -> None:
        if not os.path.isabs(self.root):
            raise DefinitionError(
                "the state folder must be an absolute path",
                expected="a path that starts at the root of the file system",
                found=shown(self.root),
                remedy="resolve it first, for example with os.path.abspath",
            )

    @property
    def manifests(self) -> str:
        return os.path.join(self.root, "manifests")

    @property
    def locks(self) -> str:
        return os.path.join(self.root, "locks")

    @property
    def data(self) -> str:
        return os.path.join(self.root, "data")

    def manifest(self, number: int) -> str:
        return os.path.join(self.manifests, f"{folder_number(number)}.json")

    def temporary(self, attempt: str, use: str) -> str:
        return os.path.join(self.manifests, f".tmp-{attempt}-{use}")

    def lock(self, attempt: str) -> str:
        return os.path.join(self.locks, attempt)

    def data_folder(self, attempt: str, number: int) -> str:
        return os.path.join(self.data, attempt, folder_number(number))

    def state_file(self, relative: str) -> str:
        """The path of a state file that a manifest names; its form was checked when that was read."""
        return os.path.join(self.root, relative)


def folder_number(number: int) -> str:
    """A checkpoint number as it is written in names: sorted by name means sorted by number."""
    return f"{number:08d}"


def entry_number(name: str) -> int | None:
    """The number of a manifest or stub from its file name; None for any other name."""
    found = _ENTRY.match(name)
    number = int(found[1]) if found else 0
    return number if number and name == f"{folder_number(number)}.json" else None


def temporary_attempt(name: str) -> str | None:
    """The attempt that a temporary file's name gives; None for any other name."""
    found = _TEMPORARY.match(name)
    return found[1] if found else None


def state_file_name(index: int, operator: str, table: str) -> str:
    """A file name for a table. The index makes it unique; the rest, made harmless, is for people."""
    words = (_UNSAFE.sub("_", text)[:_NAME_CHARS] for text in (operator, table))
    return f"{index:04d}-{'-'.join(words)}.arrow"


def check_attempt(attempt: str) -> str:
    """The attempt id, if it can be a folder's name."""
    if not re.match(ATTEMPT_PATTERN, attempt):
        raise DefinitionError(
            "not an attempt id",
            expected="1 to 64 letters, digits and dashes, never used before",
            found=shown(attempt),
            remedy="use for example secrets.token_hex(8)",
        )
    return attempt
