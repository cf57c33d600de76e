"""Places: what sources need of a storage, which is to list files, tell whether one changed, and open it.

Sources touch no storage but through a `Place`: the local disk, or an object store (`object_place.py`).
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from streamlib.core.contracts import Json

IGNORED = (".", "_")  # what tools keep beside data: `_SUCCESS`, `_delta_log`, `.ipynb_checkpoints`


class Place(Protocol):
    """A storage with files: a frozen description that can be compared, hashed and pickled.

    Its paths are text with "/" between folders, absolute but where a user wrote them. Every call may raise
    `OSError`, with `errno` where the storage knows one.
    """

    def absolute(self, path: str) -> str:
        """The path without anything that depends on where the process stands."""
        ...

    def is_file(self, path: str) -> bool: ...
    def is_folder(self, path: str) -> bool: ...

    def below(self, folder: str) -> Iterator[str]:
        """Paths of the files in a folder and in those in it, without names that begin with "." or "_"."""
        ...

    def matching(self, pattern: str) -> Iterator[str]:
        """Paths of the files that a glob (`*`, `?`, `[...]`, `**`) matches."""
        ...

    def names(self, folder: str) -> list[str]:
        """What is directly in a folder, for errors that propose a name."""
        ...

    def identity(self, path: str) -> Json | None:
        """Equal only while the file holds the same bytes; None if there is no such file."""
        ...

    def open(self, path: str) -> pa.NativeFile:
        """The file for reading anywhere in it."""
        ...

    def stream(self, path: str) -> pa.NativeFile:
        """The file for reading from its beginning to its end."""
        ...


@dataclass(frozen=True)
class LocalPlace:
    """The filesystem of this machine."""

    def absolute(self, path: str) -> str:
        return os.path.abspath(os.path.expanduser(path))

    def is_file(self, path: str) -> bool:
        return os.path.isfile(path)

    def is_folder(self, path: str) -> bool:
        return os.path.isdir(path)

    def below(self, folder: str) -> Iterator[str]:
        for parent, folders, names in os.walk(folder, onerror=_raise):
            folders[:] = [name for name in folders if not name.startswith(IGNORED)]
            yield from (os.path.join(parent, name) for name in names if not name.startswith(IGNORED))

    def matching(self, pattern: str) -> Iterator[str]:
        return (match for match in glob.iglob(pattern, recursive=True) if os.path.isfile(match))

    def names(self, folder: str) -> list[str]:
        return os.listdir(folder)

    def identity(self, path: str) -> Json | None:
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return None
        return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns]

    def open(self, path: str) -> pa.NativeFile:
        return pa.OSFile(path)

    def stream(self, path: str) -> pa.NativeFile:
        return pa.OSFile(path)


LOCAL = LocalPlace()


def _raise(error: OSError) -> None:
    raise error


def text_stream(place: Place, path: str) -> Any:
    """The bytes of a file, decompressed as its name says: `.gz`, `.bz2`, `.zst`."""
    stream = place.stream(path)
    codec = codec_of(path)
    return stream if codec is None else pa.CompressedInputStream(stream, codec)


def codec_of(path: str) -> str | None:
    """How a file is compressed, by its name.

    >>> codec_of("in/a.csv.gz"), codec_of("in/a.csv")
    ('gzip', None)
    """
    return next((codec for suffix, codec in _CODECS.items() if path.endswith(suffix)), None)


_CODECS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
COMPRESSED = tuple(_CODECS)
