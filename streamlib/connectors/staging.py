"""Staged files: written beside the output, shown in it by rename when their checkpoint commits.

    out.staging/<attempt>/<job>-<sink>-<file>.parquet      while it is written and prepared
    out/<job>-<sink>-<checkpoint>-<file>.parquet           once its checkpoint is committed
    out/day=2024-01-01/<job>-<sink>-<...>.parquet          where the output has partitions

The staging folder is a sibling, not a child, because directory scanners of Polars and DuckDB read
hidden folders inside the output. It stays, empty, for the next attempt.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any, Protocol
from urllib.parse import quote

from streamlib.connectors.stores import StoreError
from streamlib.core.contracts import DiskFile, SinkContext
from streamlib.core.errors import SinkError
from streamlib.core.job_ids import ADDS, family

StagedFile = Mapping[str, Any]
"""One file of a pending commit: `staged` and `final` (names), `length` (bytes), `sha256` (hex)."""


class StagingDisk(Protocol):
    """The part of a `Disk` that staging needs."""

    def create(self, path: str) -> DiskFile: ...
    def read(self, path: str) -> bytes: ...
    def size(self, path: str) -> int | None: ...
    def list(self, path: str) -> list[str]: ...
    def make_dirs(self, path: str) -> None: ...
    def rename(self, source: str, target: str) -> None: ...
    def remove(self, path: str) -> None: ...
    def sync_dir(self, path: str) -> None: ...


def local_staging(path: str, context: SinkContext, suffix: str) -> Staging:
    """The staged files of a sink whose output is a folder of the disk; `~` is the home folder."""
    return Staging(os.path.abspath(os.path.expanduser(path)), context.disk, context, suffix)


class Staging:
    """The files of one sink of one job, in one attempt. All names are escaped."""

    def __init__(self, output: str, disk: StagingDisk, context: SinkContext, suffix: str) -> None:
        self.output = output
        self._disk = disk
        self._suffix = suffix
        self._root = self.output + ".staging"
        self._attempt = escaped(context.attempt)
        # The first dash ends the job, so that no job's names can begin like another's.
        self._job = _part(context.job) + "-"
        together = _part(family(context.job))
        self._family = (f"{together}-", f"{together}{_part(ADDS)}")
        self._prefix = self._job + escaped(context.sink) + "-"
        number = rf"(\d+){re.escape(suffix)}"
        self._staged_name = re.compile(re.escape(self._prefix) + number)
        self._final_name = re.compile(re.escape(self._prefix) + r"(\d{8,})-" + number)

    def open(self, known: frozenset[str] = frozenset()) -> None:
        """Create the folders and send an empty file the way that real ones will go.

        Raises `SinkError` where that fails, or where the output holds files of another job, apart from
        those called as in `known`, and of jobs that add to the same output: readers could not tell the two
        results apart.
        """
        probe, shown = f".probe-{self._prefix}{self._attempt}", f"{self.output}/.probe-{self._prefix}"
        with explained(f"the output {self.output!r} can't be used"):
            self._disk.make_dirs(self.output)
            self._disk.make_dirs(self._path())
            self._disk.remove(self._path(probe))
            file = self._disk.create(self._path(probe))
            file.sync()
            file.close()
            self._disk.rename(self._path(probe), shown)
            self._disk.remove(shown)
            names = list(self._shown())
        own = (*known, *self._family)
        foreign = [name for name in names if name.endswith(self._suffix) and not name.startswith(own)]
        if foreign:
            raise SinkError(
                f"the output {self.output!r} holds another job's files",
                expected=f"nothing but files of this job, called {self._job}…{self._suffix}",
                found=f"{len(foreign)} others, for example {foreign[0]}",
                remedy="give another folder, or remove them if they are not needed",
            )

    def create(self, number: int) -> tuple[str, DiskFile]:
        """A new staged file: its name for the pending commit, and the file."""
        name = f"{self._prefix}{number:06d}{self._suffix}"
        self._disk.make_dirs(self._path())  # another sink of this output may have removed it as empty
        return f"{self._attempt}/{name}", self._disk.create(self._path(name))

    def final_name(self, checkpoint: int, sequence: int, folder: str = "") -> str:
        """The name under which readers see file `sequence` of a checkpoint; `folder` is its partition."""
        name = f"{self._prefix}{checkpoint:08d}-{sequence:03d}{self._suffix}"
        return f"{folder}/{name}" if folder else name

    def sync(self) -> None:
        """Make the names of this attempt's files durable."""
        self._disk.sync_dir(self._path())

    def publish(self, pending: Sequence[StagedFile]) -> None:
        """Show readers these files; does nothing for those they see already.

        Raises `SinkError` where a file is in neither place, or is not what was prepared.
        """
        for file in pending:
            if not self.move(file):
                self._check_published(file)
        self.settle(pending)

    def settle(self, pending: Sequence[StagedFile]) -> None:
        """Make the places of published files durable."""
        # Also if nothing was moved now: an earlier commit may have died between rename and fsync.
        for folder in {os.path.dirname(f"{self.output}/{file['final']}") for file in pending}:
            self._disk.sync_dir(folder)
        for folder in {os.path.dirname(file["staged"]) for file in pending}:
            with suppress(FileNotFoundError):  # whoever removed it has synced it before
                self._disk.sync_dir(f"{self._root}/{folder}")

    def move(self, file: StagedFile) -> bool:
        """Show readers a file, in the place of one of the same name; False if it is not staged (any more)."""
        path = f"{self._root}/{file['staged']}"
        length = self._disk.size(path)
        if length is None:
            return False
        if length != file["length"]:
            raise damaged(path, f"{file['length']:,} bytes", f"{length:,} bytes")
        final = f"{self.output}/{file['final']}"
        if "/" in file["final"]:
            self._disk.make_dirs(os.path.dirname(final))
        try:
            self._disk.rename(path, final)
        except FileNotFoundError:  # another process commits the same checkpoint at this moment
            return False
        return True

    def _check_published(self, file: StagedFile) -> None:
        path = f"{self.output}/{file['final']}"
        length = self._disk.size(path)
        if length is None:
            raise SinkError(
                f"rows that were promised to readers of {self.output!r} are missing",
                expected=f"{file['final']} there, or {file['staged']} in {self._root!r}",
                found="neither",
                remedy="bring the file back if it was moved or deleted (also when the output was renamed), "
                "or start a new job over the source",
            )
        if length != file["length"]:
            raise damaged(path, f"{file['length']:,} bytes", f"{length:,} bytes")
        self._check_content(path, file)

    def _check_content(self, path: str, file: StagedFile) -> None:
        digest = sha256(self._disk.read(path)).hexdigest()
        if digest != file["sha256"]:
            raise damaged(path, f"SHA-256 {file['sha256']}", digest)

    def last_committed(self) -> int:
        """The highest checkpoint of this job and sink that readers see files of, 0 if none."""
        matches = map(self._final_name.fullmatch, self._shown())
        return max((int(match[1]) for match in matches if match), default=0)

    def _shown(self, folder: str = "") -> Iterator[str]:
        """Names of the files that readers see, in partitions too: only these have a "=", never a file."""
        for name in self._disk.list(self.output + folder):
            if "=" in name and not name.endswith(self._suffix):
                with suppress(NotADirectoryError):
                    yield from self._shown(f"{folder}/{name}")
            else:
                yield name

    def discard(self, staged: Sequence[str]) -> None:
        """Remove staged files that were never prepared, and the attempt's folder if it is empty."""
        for name in staged:
            self._disk.remove(f"{self._root}/{name}")
        self._remove_folder(self._attempt)

    def clean(self, keep: set[str]) -> None:
        """Remove what earlier attempts of this job and sink staged, except `keep`."""
        for attempt in self._disk.list(self._root):
            if attempt == self._attempt:
                continue
            for name in self._disk.list(f"{self._root}/{attempt}"):
                own = self._staged_name.fullmatch(name) or name.startswith(f".probe-{self._prefix}")
                if own and f"{attempt}/{name}" not in keep:
                    self._disk.remove(f"{self._root}/{attempt}/{name}")
            self._remove_folder(attempt)

    def _remove_folder(self, attempt: str) -> None:
        folder = f"{self._root}/{attempt}"
        if not self._disk.list(folder):
            with suppress(OSError):  # it is gone, or another sink has just put a file there
                self._disk.sync_dir(folder)  # what was published out of it must not come back
                self._disk.remove(folder)

    def _path(self, name: str = "") -> str:
        return f"{self._root}/{self._attempt}/{name}".rstrip("/")


def _part(job: str) -> str:
    """A job's id as the beginning of a name, without the dash that ends it."""
    return escaped(job).replace("-", "%2D")


def escaped(name: str) -> str:
    """A name made from data as one part of a path: no separator, never hidden, never "..".

    >>> escaped("a/b"), escaped("_x")
    ('a%2Fb', '%5Fx')
    """
    text = quote(name, safe=" ")
    return f"%{ord(text[0]):02X}{text[1:]}" if text.startswith((".", "_")) else text


_REASONS = {
    errno.EACCES: ("permission denied", "give this user write access to it, or another folder"),
    errno.EPERM: ("permission denied", "give this user write access to it, or another folder"),
    errno.EROFS: ("a read-only filesystem", "give a folder on another filesystem"),
    errno.EEXIST: ("a file where a folder is needed", "give a folder: it will hold many files"),
    errno.ENOTDIR: ("a file where a folder is needed", "give a folder: it will hold many files"),
    errno.ENOSPC: ("a full disk", "free some space, then start the job again: it goes on where it was"),
    errno.EDQUOT: ("a used-up quota", "free some space, then start the job again: it goes on where it was"),
    errno.EXDEV: (
        "output and staging folder on different filesystems",
        "give a folder below the mount point, so that its sibling is on the same filesystem",
    ),
    errno.ENAMETOOLONG: ("a file name that is too long", "give the job and the sink shorter names"),
}


@contextmanager
def explained(message: str) -> Iterator[None]:
    """Turn an `OSError` into a `SinkError` that says what to do."""
    try:
        yield
    except SinkError:
        raise
    except StoreError as error:
        raise SinkError(message, expected=error.expected, found=error.found, remedy=error.remedy) from error
    except OSError as error:
        found, remedy = _REASONS.get(error.errno or 0, (str(error), "look at the reason above"))
        raise SinkError(
            message,
            expected="a folder where this user can create, rename and sync files",
            found=f"{found} ({error.filename})" if error.filename else found,
            remedy=remedy,
        ) from error


def damaged(path: str, expected: str, found: str) -> SinkError:
    """The error for a file that is there, and not as it was prepared."""
    return SinkError(
        f"{path!r} is not the file that was prepared",
        expected=expected,
        found=found,
        remedy="bring the original back; without it, start a new job over the source",
    )
