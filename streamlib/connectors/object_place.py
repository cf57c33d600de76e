"""The files of a source in an object store (`Place`): listed, told apart by ETag, read by ranges.

Every range is a request of its own, which is tried again by itself, and asks for the object that was
opened: one that was replaced since is an error, never a mixture of both.
"""

from __future__ import annotations

import errno
import glob
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os.path import basename, dirname
from typing import Any

import pyarrow as pa

from streamlib.connectors.places import IGNORED
from streamlib.connectors.stores import S3, StoreError, answering, library
from streamlib.core.contracts import Json
from streamlib.core.errors import SourceError

AHEAD = 8 << 20  # bytes that are asked for at once where a file is read in order
AHEAD_ANYWHERE = 64 << 10  # where it is read here and there: the footer of most files


@dataclass(frozen=True)
class ObjectPlace:
    """A bucket as sources see it. Absolute paths are URLs: "s3://lake/history/a.parquet"."""

    store: S3

    def absolute(self, path: str) -> str:
        key = path.removeprefix(self.store.url).strip("/")
        return f"{self.store.url}/{key}".rstrip("/")

    def is_file(self, path: str) -> bool:
        return self._key(path) != "" and self._head(path) is not None

    def is_folder(self, path: str) -> bool:
        with self._asking(path):
            found = library().list(self.store.connect(), self._key(path) or None, chunk_size=1)
            return any(len(some) for some in found) or not self._key(path)

    def below(self, folder: str) -> Iterator[str]:
        for path in self._objects(folder):
            inside = path.removeprefix(folder).strip("/")
            if not any(name.startswith(IGNORED) for name in inside.split("/")):
                yield path

    def matching(self, pattern: str) -> Iterator[str]:
        fixed = pattern
        while glob.has_magic(fixed):
            fixed = dirname(fixed)
        matches = _pattern(pattern).fullmatch
        return (path for path in self._objects(fixed) if matches(path))

    def names(self, folder: str) -> list[str]:
        with self._asking(folder):
            found = library().list_with_delimiter(self.store.connect(), self._key(folder) or None)
        paths = [*found["common_prefixes"], *(each["path"] for each in found["objects"])]
        return [basename(path) for path in paths]

    def identity(self, path: str) -> Json | None:
        found = self._head(path)
        return None if found is None else [found["size"], found["e_tag"]]

    def open(self, path: str) -> pa.NativeFile:
        return pa.PythonFile(self._reader(path, AHEAD_ANYWHERE), "r")

    def stream(self, path: str) -> pa.NativeFile:
        return pa.PythonFile(self._reader(path, AHEAD), "r")

    def _reader(self, path: str, ahead: int) -> ObjectReader:
        found = self._head(path)
        if found is None:
            raise FileNotFoundError(f"no such object: {path}")
        return ObjectReader(self, path, found, ahead)

    def _head(self, path: str) -> Any:
        try:
            with self._asking(path):
                return library().head(self.store.connect(), self._key(path))
        except FileNotFoundError:
            return None

    def _objects(self, folder: str) -> Iterator[str]:
        with self._asking(folder):
            for some in library().list(self.store.connect(), self._key(folder) or None):
                yield from (f"{self.store.url}/{each['path']}" for each in some)

    def read_range(self, path: str, start: int, end: int, e_tag: str | None) -> memoryview:
        """Bytes of the very object that has this ETag. Raises `SourceError`."""
        with self._asking(path):
            options = {"range": (start, end), "if_match": e_tag}
            return memoryview(library().get(self.store.connect(), self._key(path), options=options).bytes())

    def _key(self, path: str) -> str:
        return path.removeprefix(self.store.url).strip("/")

    @contextmanager
    def _asking(self, path: str) -> Iterator[None]:
        try:
            with answering(self.store):
                yield
        except StoreError as error:
            failure = SourceError(
                f"{path!r} can't be read", expected=error.expected, found=error.found, remedy=error.remedy
            )
            failure.errno = errno.EIO  # it is the storage that failed, not what is stored
            raise failure from error


class ObjectReader:
    """An object as a file that can be read from anywhere, for `pa.PythonFile`."""

    closed = False

    def __init__(self, place: ObjectPlace, path: str, meta: Any, ahead: int) -> None:
        self._place = place
        self._path = path
        self._e_tag = meta["e_tag"]
        self._length = meta["size"]
        self._ahead = ahead
        self._at = 0
        self._block = memoryview(b"")
        self._start = 0  # of the block

    def read(self, size: int = -1) -> memoryview:
        stop = self._length if size < 0 else min(self._at + size, self._length)
        if self._at >= stop:
            return memoryview(b"")
        if not self._start <= self._at <= stop <= self._start + len(self._block):
            end = min(max(stop, self._at + self._ahead), self._length)
            self._block = self._place.read_range(self._path, self._at, end, self._e_tag)
            self._start = self._at
        found = self._block[self._at - self._start : stop - self._start]
        self._at = stop
        return found

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._length)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def size(self) -> int:
        return int(self._length)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


def _pattern(pattern: str) -> re.Pattern[str]:
    """A glob as an expression: `**` is any number of folders; wildcards don't match hidden names.

    >>> bool(_pattern("a/**/*.csv").fullmatch("a/b/c.csv")), bool(_pattern("a/*.csv").fullmatch("a/b/c.csv"))
    (True, False)
    """
    *folders, last = pattern.split("/")
    parts = ["(?:(?![.])[^/]+/)*" if name == "**" else _name(name) + "/" for name in folders]
    return re.compile("".join(parts) + ("(?:(?![.])[^/]+/)*(?![.])[^/]+" if last == "**" else _name(last)))


def _name(name: str) -> str:
    tokens = re.findall(r"\[(?:!.|[^!])[^\]]*\]|.", name, re.DOTALL)
    hidden = "(?![.])" if glob.has_magic(name) and not name.startswith(".") else ""
    return hidden + "".join(map(_token, tokens))


def _token(token: str) -> str:
    if len(token) > 1:
        negated = token[1] == "!"
        inner = token[1 + negated : -1].replace("\\", "\\\\").replace("[", "\\[")
        return f"[{'^' * negated}{inner}]"
    return {"*": "[^/]*", "?": "[^/]"}.get(token, re.escape(token))
