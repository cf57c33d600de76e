"""Which files a path names, and what each is called: shared by the connectors that read files.

A partition is a file. Its name is relative to the folder that the *path* fixes (the folder itself,
a file's folder, what precedes the first wildcard), never to what happens to be in it: a file that
arrives later changes no other file's name, so positions in checkpoints stay valid.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from typing import NoReturn, TypeAlias

from streamlib.core.errors import DefinitionError, SourceError, did_you_mean, shown

Path: TypeAlias = str | os.PathLike[str]
Paths: TypeAlias = Path | Sequence[Path]
"""A file, a folder, a glob (`*`, `?`, `[...]`, `**`), or a list of these."""

_IGNORED = (".", "_")  # what tools keep beside data: `_SUCCESS`, `_delta_log`, `.ipynb_checkpoints`


def as_paths(path: Paths) -> tuple[str, ...]:
    """The path or paths as the user wrote them, for a description to hold.

    >>> as_paths("in/*.csv")
    ('in/*.csv',)
    """
    if isinstance(path, str | os.PathLike):
        return (os.fspath(path),)
    paths = tuple(path) if isinstance(path, Sequence) else ()
    if not paths or not all(isinstance(each, str | os.PathLike) for each in paths):
        raise DefinitionError(
            "not a path",
            expected="a file, a folder, a glob, or a list with at least one of these",
            found=shown(path),
            remedy='give for example "history/" or "history/2024-*.parquet"',
        )
    return tuple(os.fspath(each) for each in paths)


def find_files(paths: tuple[str, ...], suffixes: tuple[str, ...]) -> dict[str, str]:
    """Partition names and absolute paths of all files, sorted by name; each file once.

    In folders (and theirs) files with one of `suffixes` count, unless a name starts with "." or "_".
    Relative paths start at the working directory. Raises `SourceError` where a path names nothing.
    """
    base = _common_base(paths)
    found = {path for given in paths for path in _matches(given, suffixes)}
    return dict(sorted((os.path.relpath(path, base), path) for path in found))


def find_file(paths: tuple[str, ...], partition: str) -> str:
    """The absolute path of one partition. Raises `SourceError` if it is not there any more."""
    path = os.path.normpath(os.path.join(_common_base(paths), partition))
    if not os.path.isfile(path):
        raise SourceError(
            f"the file of partition {partition!r} is gone",
            expected=path,
            found="no such file",
            remedy=_closest(path) or "bring it back, or start a new job over the files that are left",
        )
    return path


def _common_base(paths: tuple[str, ...]) -> str:
    return os.path.commonpath([_base(_absolute(path)) for path in paths])


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _base(path: str) -> str:
    if os.path.isdir(path):
        return path
    if not _is_glob(path):
        return os.path.dirname(path)
    fixed = path
    while glob.has_magic(fixed):
        fixed = os.path.dirname(fixed)
    return fixed


def _is_glob(path: str) -> bool:
    return glob.has_magic(path) and not os.path.exists(path)  # a file may really be called "a[1].csv"


def _matches(given: str, suffixes: tuple[str, ...]) -> list[str]:
    path = _absolute(given)
    if os.path.isdir(path):
        return list(_in_folder(path, suffixes)) or _nothing(given, f"no {' or '.join(suffixes)} file in it")
    if os.path.isfile(path):
        return [path]
    if not _is_glob(path):
        return _nothing(given, "no such file or folder", _closest(path))
    files = [match for match in glob.glob(path, recursive=True) if os.path.isfile(match)]
    return files or _nothing(given, "no file matches", _closest(_base(path)))


def _in_folder(folder: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    for parent, folders, names in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(_IGNORED)]
        for name in names:
            if name.endswith(suffixes) and not name.startswith(_IGNORED):
                yield os.path.join(parent, name)


def _unreadable(error: OSError) -> None:
    raise SourceError(
        f"the folder {error.filename!r} can't be listed",
        expected="a folder that this user may read",
        found=error.strerror,
        remedy="give the user read access, or another path",
    ) from error


def _nothing(given: str, found: str, hint: str | None = None) -> NoReturn:
    from_here = "" if os.path.isabs(os.path.expanduser(given)) else f"; it is looked up from {os.getcwd()}"
    raise SourceError(
        f"there is nothing to read at {given!r}",
        expected="a file, a folder with files, or a glob that matches some",
        found=found,
        remedy=hint or f"check the path and the names of the files{from_here}",
    )


def _closest(path: str) -> str | None:
    """The hint for the first part of `path` that does not exist, from the names beside it."""
    parent, name = os.path.split(path)
    while not os.path.isdir(parent):
        parent, name = os.path.split(parent)
    try:
        return did_you_mean(name, os.listdir(parent))
    except OSError:
        return None
