"""The disk of the machine: plain file descriptors and fsync, nothing between them and the kernel."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

_FILE_MODE = 0o666  # the umask takes away what the user wants taken away
_open_locks: set[int] = set()


class WritableFile:
    """What pyarrow's writers ask of a file object, for every `DiskFile`.

    They don't close a file object that they were given: finish the writer, then `sync`, then `close`.
    """

    mode = "wb"
    closed = False
    position = 0

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        return self.position

    def flush(self) -> None:
        """Nothing is buffered on this side of the kernel; `sync` makes it durable."""


class LocalFile(WritableFile):
    """A new file that is being written (`DiskFile`)."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)

    def write(self, data: bytes | memoryview | pa.Buffer) -> int:
        rest = memoryview(data).cast("B")
        length = len(rest)
        while len(rest):
            written = os.write(self._open_fd(), rest)  # may be short: full disk, signals, 2 GiB limit
            self.position += written
            rest = rest[written:]
        return length

    def sync(self) -> None:
        _fsync(self._open_fd())

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self._fd)

    def _open_fd(self) -> int:
        if self.closed:
            raise ValueError(f"{self.path} is closed")
        return self._fd


class LocalLock:
    """An flock on a file (`DiskLock`); the kernel releases it when the process dies."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        _open_locks.add(fd)

    def release(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            _open_locks.discard(fd)
            os.close(fd)


class LocalDisk:
    """The `Disk` of this machine."""

    def create(self, path: str) -> LocalFile:
        return LocalFile(path)

    def read(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def size(self, path: str) -> int | None:
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def list(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def make_dirs(self, path: str) -> None:
        missing = []
        while not os.path.isdir(path):
            missing.append(path)
            path = os.path.dirname(path)
        # A process may have died between making this folder and syncing its parent.
        with suppress(PermissionError):
            self.sync_dir(os.path.dirname(path))
        for folder in reversed(missing):
            _make_dir(folder)
            self.sync_dir(os.path.dirname(folder))

    def link(self, source: str, target: str) -> None:
        os.link(source, target)

    def rename(self, source: str, target: str) -> None:
        os.replace(source, target)

    def remove(self, path: str) -> None:
        with suppress(FileNotFoundError):
            try:
                os.unlink(path)
            except (IsADirectoryError, PermissionError):  # unlink of a folder: Linux, macOS
                if not os.path.isdir(path):
                    raise
                os.rmdir(path)

    def sync_dir(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _fsync(fd)
        finally:
            os.close(fd)

    def lock(self, path: str) -> LocalLock | None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException as error:
            os.close(fd)
            if isinstance(error, BlockingIOError):
                return None
            raise
        return LocalLock(fd)


def _make_dir(path: str) -> None:
    try:
        os.mkdir(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def _fsync(fd: int) -> None:
    if sys.platform == "darwin":  # there, fsync leaves data in the drive's cache
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fsync(fd)


def _close_inherited_locks() -> None:
    """A forked worker that outlives its parent would keep the job locked. Closing unlocks nothing."""
    for fd in _open_locks:
        os.close(fd)
    _open_locks.clear()


os.register_at_fork(after_in_child=_close_inherited_locks)
