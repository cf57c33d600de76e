"""The fence: a number belongs to whoever first links a manifest or stub to its name.

`link` is exclusive on every POSIX file system, `rename` is not. A manifest is written under a
temporary name, synced, and linked, so the name never shows a half-written file.
"""

from __future__ import annotations

import errno

from streamlib.checkpoint.layout import Layout, folder_number
from streamlib.checkpoint.manifest import Entry, encode_entry
from streamlib.core.contracts import Disk
from streamlib.core.errors import StateError

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
"""How file systems say that they have no hard links (FAT, many network and FUSE mounts)."""


def publish(disk: Disk, layout: Layout, entry: Entry) -> bool:
    """Give the entry its number, durably. False: the number belongs to another entry."""
    data = encode_entry(entry)
    temporary = layout.temporary(entry.attempt, folder_number(entry.number))
    target = layout.manifest(entry.number)
    _write(disk, temporary, data)
    try:
        disk.link(temporary, target)
        published = True
    except FileExistsError:
        # A network file system may repeat a link that had succeeded. The bytes hold the attempt's
        # id, which no two runs share, so equal bytes are our own.
        published = disk.read(target) == data
    disk.remove(temporary)
    disk.sync_dir(layout.manifests)
    return published


def probe_links(disk: Disk, layout: Layout, attempt: str) -> None:
    """Raise `StateError` unless the folder's file system has exclusive hard links."""
    source, target = layout.temporary(attempt, "probe"), layout.temporary(attempt, "probelink")
    _write(disk, source, b"")
    try:
        _link(disk, layout, source, target)
        try:
            _link(disk, layout, source, target)
        except FileExistsError:
            return
        raise _no_fence(layout, "a file system where `link` replaces an existing name")
    finally:
        disk.remove(target)
        disk.remove(source)


def _link(disk: Disk, layout: Layout, source: str, target: str) -> None:
    try:
        disk.link(source, target)
    except OSError as error:
        if error.errno in _NO_LINKS:
            raise _no_fence(layout, str(error)) from error
        raise


def _write(disk: Disk, path: str, data: bytes) -> None:
    file = disk.create(path)
    try:
        file.write(data)
        file.sync()
    finally:
        file.close()


def _no_fence(layout: Layout, found: str) -> StateError:
    return StateError(
        f"the state folder {layout.root} can't keep a second run of the job out",
        expected="a file system with hard links, where linking to an existing name fails",
        found=found,
        remedy="put the state on a local disk (ext4, xfs, apfs, ...) or an NFS mount that has hard links",
    )
