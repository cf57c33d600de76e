"""A disk in memory that forgets, on a crash, what a power cut would lose."""

from __future__ import annotations

import builtins
import errno
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from os.path import basename, dirname

import pyarrow as pa

from streamlib.core.disk import WritableFile


class SimulatedCrash(BaseException):
    """The simulated process is dead. Not an Exception: no code under test may handle it."""


@dataclass
class CrashAt:
    """A hook for `SimDisk.on_operation`: operation `number` (from 0) and all after it don't happen."""

    number: int
    seen: int = 0

    def __call__(self, operation: str, path: str) -> None:
        self.seen += 1
        if self.seen > self.number:
            raise SimulatedCrash(f"before {operation} {path}")


@dataclass(eq=False)
class _Node:
    """A file's bytes, under any number of names; the first `synced` of them are durable."""

    data: bytearray = field(default_factory=bytearray)
    synced: int = 0


@dataclass(eq=False)
class _NameChange:
    """One atomic change of names; durable when every folder that it touches was synced."""

    names: dict[str, _Node | None]
    unsynced: set[str]


class SimDisk:
    """An in-memory `Disk` with the failures of a real one. Deterministic; for one thread.

    The rules of `crash`:

    - What `sync` covered of a file survives. Of what was written after it, all, nothing or a part
      from its beginning survives, whether or not the file's name does.
    - `create`, `link`, `rename` and `remove` change names. Each change is atomic, and durable once
      `sync_dir` was called for its folder (for both, if a rename has two). Each one that is not
      durable survives or vanishes independently of all others; those that survive keep their order.
    - Folders are durable when `make_dirs` returns. An empty folder that was removed stays removed,
      unless a file in it comes back.
    - Locks are free, and handles from before the crash raise OSError.

    Attributes:
        on_operation: called with (operation, path) before every operation; may raise, and then the
            operation does not happen. Operations are the method names of `Disk`, `DiskFile`
            and `DiskLock`.
        operations: how often each operation was called.
    """

    def __init__(self) -> None:
        self.on_operation: Callable[[str, str], None] = _do_nothing
        self.operations: Counter[str] = Counter()
        self._names: dict[str, _Node] = {}
        self._durable: dict[str, _Node] = {}
        self._changes: builtins.list[_NameChange] = []
        self._folders: set[str] = {"/"}
        self._locked: set[_Node] = set()
        self._life = 0

    # ------------------------------------------------------------------ the end of processes

    def kill(self) -> None:
        """All processes die, the machine goes on: only locks and open handles are lost."""
        self._life += 1
        self._locked.clear()

    def crash(self, random: random.Random) -> None:
        """The power fails and comes back: what is left is chosen by `random`, by the rules above."""
        self.kill()
        for change in self._changes:
            if not change.unsynced or random.random() < 0.5:
                _apply(change, self._durable)
        self._changes.clear()
        self._names = dict(self._durable)
        for node in dict.fromkeys(self._names.values()):
            tail = len(node.data) - node.synced
            kept = random.choice((0, random.randint(0, tail), tail))
            del node.data[node.synced + kept :]
            node.synced = len(node.data)
        for path in self._names:
            self._add_folders(dirname(path))

    # ------------------------------------------------------------------ Disk

    def create(self, path: str) -> SimFile:
        self.begin("create", path)
        self._check_free(path)
        node = _Node()
        self._change({path: node})
        return SimFile(self, path, node)

    def read(self, path: str) -> bytes:
        self.begin("read", path)
        return bytes(self._node(path).data)

    def size(self, path: str) -> int | None:
        self.begin("size", path)
        node = self._names.get(path)
        return None if node is None else len(node.data)

    def list(self, path: str) -> list[str]:
        self.begin("list", path)
        return sorted(basename(name) for name in self._inside(path))

    def make_dirs(self, path: str) -> None:
        self.begin("make_dirs", path)
        self._add_folders(path)

    def link(self, source: str, target: str) -> None:
        self.begin("link", target)
        node = self._node(source)
        self._check_free(target)
        self._change({target: node})

    def rename(self, source: str, target: str) -> None:
        self.begin("rename", target)
        node = self._node(source)
        self._check_folder(dirname(target))
        if target in self._folders:
            raise _os_error(errno.EISDIR, target)
        self._change({source: None, target: node})

    def remove(self, path: str) -> None:
        self.begin("remove", path)
        if path in self._folders:
            if self._inside(path):
                raise _os_error(errno.ENOTEMPTY, path)
            self._folders.remove(path)
        elif path in self._names:
            self._change({path: None})

    def sync_dir(self, path: str) -> None:
        self.begin("sync_dir", path)
        self._check_folder(path)
        for change in self._changes:
            change.unsynced.discard(path)
        while self._changes and not self._changes[0].unsynced:
            _apply(self._changes.pop(0), self._durable)

    def lock(self, path: str) -> SimLock | None:
        self.begin("lock", path)
        if path not in self._names:
            self._check_free(path)
            self._change({path: _Node()})
        node = self._names[path]
        if node in self._locked:
            return None
        self._locked.add(node)
        return SimLock(self, path, node)

    # ------------------------------------------------------------------ for handles, and inside

    def begin(self, operation: str, path: str) -> None:
        """Count an operation and let the hook stop it."""
        self.operations[operation] += 1
        self.on_operation(operation, path)

    @property
    def life(self) -> int:
        """Crashes and kills so far."""
        return self._life

    def unlock(self, node: _Node) -> None:
        self._locked.discard(node)

    def _change(self, names: dict[str, _Node | None]) -> None:
        change = _NameChange(names, {dirname(path) for path in names})
        _apply(change, self._names)
        self._changes.append(change)

    def _node(self, path: str) -> _Node:
        if path in self._folders:
            raise _os_error(errno.EISDIR, path)
        if path not in self._names:
            raise _os_error(errno.ENOENT, path)
        return self._names[path]

    def _inside(self, folder: str) -> builtins.list[str]:
        return [name for name in (*self._names, *self._folders) if dirname(name) == folder != name]

    def _check_free(self, path: str) -> None:
        self._check_folder(dirname(path))
        if path in self._names or path in self._folders:
            raise _os_error(errno.EEXIST, path)

    def _check_folder(self, path: str) -> None:
        if path not in self._folders:
            raise _os_error(errno.ENOENT, path)

    def _add_folders(self, path: str) -> None:
        while path not in self._folders:
            if path in self._names:
                raise _os_error(errno.EEXIST, path)
            self._folders.add(path)
            path = dirname(path)


class SimFile(WritableFile):
    """A file of a `SimDisk` that is being written."""

    def __init__(self, disk: SimDisk, path: str, node: _Node) -> None:
        self.path = path
        self._disk = disk
        self._node = node
        self._life = disk.life

    def write(self, data: bytes | memoryview | pa.Buffer) -> int:
        self._begin("write")
        view = memoryview(data).cast("B")
        self._node.data += view
        self.position += len(view)
        return len(view)

    def sync(self) -> None:
        self._begin("sync")
        self._node.synced = len(self._node.data)

    def close(self) -> None:
        if not self.closed:
            self._begin("close")
            self.closed = True

    def _begin(self, operation: str) -> None:
        self._disk.begin(operation, self.path)
        if self.closed:
            raise ValueError(f"{self.path} is closed")
        if self._life != self._disk.life:
            raise _os_error(errno.EBADF, self.path)


class SimLock:
    """A lock on a file of a `SimDisk`."""

    def __init__(self, disk: SimDisk, path: str, node: _Node) -> None:
        self._disk = disk
        self._path = path
        self._node: _Node | None = node
        self._life = disk.life

    def release(self) -> None:
        self._disk.begin("release", self._path)
        if self._node is not None and self._life == self._disk.life:
            self._disk.unlock(self._node)
        self._node = None


def _apply(change: _NameChange, names: dict[str, _Node]) -> None:
    for path, node in change.names.items():
        if node is None:
            names.pop(path, None)
        else:
            names[path] = node


def _do_nothing(operation: str, path: str) -> None:
    pass


def _os_error(code: int, path: str) -> OSError:
    return OSError(code, errno.errorcode[code], path)  # OSError makes FileExistsError and so on of it
