"""Which files a path names, and what each is called: shared by the connectors that read files.

A partition is a file. Its name is relative to the folder that the *path* fixes (the folder itself,
a file's folder, what precedes the first wildcard), never to what happens to be in it: a file that
arrives later changes no other file's name, so positions in checkpoints stay valid.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from streamlib.connectors.places import LOCAL, Place
from streamlib.connectors.stores import S3, located
from streamlib.core.errors import DefinitionError, SourceError, did_you_mean, shown

Path: TypeAlias = str | os.PathLike[str]
Paths: TypeAlias = Path | Sequence[Path]
"""A file, a folder, a glob (`*`, `?`, `[...]`, `**`), or a list of these, all in one place."""


@dataclass(frozen=True)
class Files:
    """The files of a source. Made by `files_at`.

    Attributes:
        paths: as the user wrote them.
        suffixes: how names end of the files in folders that count.
        place: where they are.
    """

    paths: tuple[str, ...]
    suffixes: tuple[str, ...]
    place: Place = LOCAL
    store: S3 | None = None
    """The store that is the place, for `repr`."""

    def find(self, *, at_least_one: bool = True) -> dict[str, str]:
        """Partition names and absolute paths of all files, sorted by name; each file once.

        In folders (and theirs) files with one of `suffixes` count, unless a name starts with "." or "_".
        Relative paths start at the working directory. Raises `SourceError` where a path names nothing;
        without `at_least_one` only where there is not even a folder.
        """
        base = self._base()
        found = {path for given in self.paths for path in self._matches(given, at_least_one)}
        return dict(sorted((os.path.relpath(path, base), path) for path in found))

    def path_of(self, partition: str) -> str:
        """The absolute path of one partition. Raises `SourceError` if it is not there any more."""
        path = _whole(os.path.normpath(os.path.join(self._base(), partition)))
        if not self.place.is_file(path):
            raise SourceError(
                f"the file of partition {partition!r} is gone",
                expected=path,
                found="no such file",
                remedy=self._closest(path)
                or "bring it back, or start a new job over the files that are left",
            )
        return path

    @property
    def given(self) -> str | list[str]:
        """The path or paths for `repr`."""
        return self.paths[0] if len(self.paths) == 1 else list(self.paths)

    def _base(self) -> str:
        """The folder that names are relative to."""
        return _whole(os.path.commonpath([self._fixed(self.place.absolute(path)) for path in self.paths]))

    def _fixed(self, path: str) -> str:
        if self.place.is_folder(path):
            return path
        if not self._is_glob(path):
            return os.path.dirname(path)
        while glob.has_magic(path):
            path = os.path.dirname(path)
        return path

    def _is_glob(self, path: str) -> bool:
        return glob.has_magic(path) and not self.place.is_file(path)  # one may really be called "a[1].csv"

    def _matches(self, given: str, at_least_one: bool) -> list[str]:
        path = self.place.absolute(given)
        if self.place.is_folder(path):
            files = self._in_folder(path)
            if files or not at_least_one:
                return files
            return self._nothing(given, f"no {' or '.join(self.suffixes)} file in it")
        if self.place.is_file(path):
            return [path]
        if not self._is_glob(path):
            return self._nothing(given, "no such file or folder", self._closest(path))
        files = list(self.place.matching(path))
        if files or (not at_least_one and self.place.is_folder(self._fixed(path))):
            return files
        return self._nothing(given, "no file matches", self._closest(self._fixed(path)))

    def _in_folder(self, folder: str) -> list[str]:
        try:
            return [path for path in self.place.below(folder) if path.endswith(self.suffixes)]
        except SourceError:
            raise
        except OSError as error:
            raise SourceError(
                f"the folder {error.filename or folder!r} can't be listed",
                expected="a folder that this user may read",
                found=error.strerror or str(error),
                remedy="give the user read access, or another path",
            ) from error

    def _nothing(self, given: str, found: str, hint: str | None = None) -> NoReturn:
        meant = self.place.absolute(given)
        here = "" if meant == given.rstrip("/") else f"; it is looked up as {meant}"
        raise SourceError(
            f"there is nothing to read at {given!r}",
            expected="a file, a folder with files, or a glob that matches some",
            found=found,
            remedy=hint or f"check the path and the names of the files{here}",
        )

    def _closest(self, path: str) -> str | None:
        """The hint for the first part of `path` that does not exist, from the names beside it."""
        parent, name = os.path.split(path)
        while not self.place.is_folder(parent) and parent != os.path.dirname(parent):
            parent, name = os.path.split(parent)
        try:
            return did_you_mean(name, self.place.names(parent))
        except OSError:
            return None


def _whole(path: str) -> str:
    """`os.path` takes a URL for a path, and one of its slashes away."""
    return re.sub(r"^s3:/(?=[^/])", "s3://", path)


def files_at(path: Paths, suffixes: tuple[str, ...], store: S3 | None = None) -> Files:
    """The files that a path or several name, on the local disk or in a store, whether or not they are there.

    >>> files_at("in/*.csv", (".csv",)).paths
    ('in/*.csv',)
    """
    if isinstance(path, str | os.PathLike):
        path = (path,)
    paths = tuple(path) if isinstance(path, Sequence) else ()
    if not paths or not all(isinstance(each, str | os.PathLike) for each in paths):
        raise DefinitionError(
            "not a path",
            expected="a file, a folder, a glob, or a list with at least one of these",
            found=shown(path),
            remedy='give for example "history/" or "history/2024-*.parquet"',
        )
    texts, stores = zip(*(located(each, store) for each in paths), strict=True)
    if any(other != stores[0] for other in stores):
        raise DefinitionError(
            "the paths of one source are in several places",
            expected="paths of one storage",
            found=shown(path),
            remedy="read them as sources of their own, and `union` the streams",
        )
    return Files(texts, suffixes, _place(stores[0]), stores[0])


def _place(store: S3 | None) -> Place:
    if store is None:
        return LOCAL
    from streamlib.connectors.object_place import ObjectPlace  # noqa: PLC0415 - few need it

    return ObjectPlace(store)
