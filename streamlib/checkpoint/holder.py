"""Who lives: every attempt locks a file of its own, which says where it runs."""

from __future__ import annotations

import os
import platform

import msgspec

from streamlib.checkpoint.layout import Layout
from streamlib.core.contracts import Clock, Disk, DiskLock
from streamlib.core.errors import DefinitionError, InvariantError

_LOOKS = 5
_LOOK_AGAIN = 0.05  # seconds; another start looks for far less than this


class _Holder(msgspec.Struct):
    pid: int
    host: str


def hold(disk: Disk, layout: Layout, attempt: str) -> DiskLock:
    """Lock the attempt's file: from here on others see that it lives."""
    path = layout.lock(attempt)
    try:
        file = disk.create(path)
    except FileExistsError:
        raise used_before(attempt) from None
    try:
        file.write(msgspec.json.encode(_Holder(os.getpid(), platform.node())))
    finally:
        file.close()
    lock = disk.lock(path)
    if lock is None:
        raise InvariantError(f"the lock {path}, made a moment ago, is held by someone else")
    return lock


def let_go(disk: Disk, layout: Layout, attempt: str, lock: DiskLock) -> None:
    """Undo `hold`."""
    try:
        disk.remove(layout.lock(attempt))
    finally:
        lock.release()


def is_held(disk: Disk, layout: Layout, attempt: str) -> bool:
    """Whether the attempt lives; the file of one that doesn't is removed.

    Only for attempts that have written something: they locked their file before.
    """
    path = layout.lock(attempt)
    if disk.size(path) is None:
        return False
    lock = disk.lock(path)
    if lock is None:
        return True
    let_go(disk, layout, attempt, lock)
    return False


def stays_held(disk: Disk, layout: Layout, attempt: str, clock: Clock) -> bool:
    """As `is_held`, but looks several times: someone else who looks holds the lock for a moment."""
    for _ in range(_LOOKS):
        if not is_held(disk, layout, attempt):
            return False
        clock.wait(_LOOK_AGAIN)
    return True


def describe(disk: Disk, layout: Layout, attempt: str) -> str:
    """The attempt for people, with its process and machine where its lock file tells."""
    try:
        holder = msgspec.json.decode(disk.read(layout.lock(attempt)), type=_Holder)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return f"attempt {attempt}"
    here = ", this process" if holder == _Holder(os.getpid(), platform.node()) else ""
    return f"attempt {attempt} (process {holder.pid} on {holder.host}{here})"


def used_before(attempt: str) -> DefinitionError:
    """The error for an attempt id that is not new."""
    return DefinitionError(
        f"the attempt id {attempt!r} was used before",
        expected="an id that no run of this job ever had",
        found="an earlier run with this id",
        remedy="make a new one for every run, for example with secrets.token_hex(8)",
    )
