"""Retention: which manifests go, and which files nothing needs any more.

An attempt removes only what earlier attempts and itself have left. Those are fenced by its own
stub, so no manifest that it does not know can name their files: even a run that was frozen here
and wakes up after a takeover removes nothing that its successor needs. Files of earlier attempts
that still live (and don't know yet that they are fenced) stay until they have died.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from streamlib.checkpoint import holder
from streamlib.checkpoint.files import state_files
from streamlib.checkpoint.layout import STATE_FILE, Layout, temporary_attempt
from streamlib.checkpoint.manifest import Entry, Manifest
from streamlib.core.contracts import Disk
from streamlib.core.errors import DefinitionError, shown


def check_keep(keep: int) -> int:
    """The number of manifests to keep, if it is one."""
    if keep < 1:
        raise DefinitionError(
            "retention must keep a checkpoint to restore from",
            expected="a number of checkpoints to keep, at least 1",
            found=shown(keep),
            remedy="leave it out to keep 3",
        )
    return keep


def retain(disk: Disk, layout: Layout, entries: Sequence[Entry], keep: int) -> list[Entry]:
    """Leave the newest `keep` manifests, all stubs, and what these name; return what is left.

    `entries` are all entries of the job, of which the last stub is our own. Called between
    checkpoints: a file that is not yet named would be taken for a leftover.
    """
    left = _remove_manifests(disk, layout, entries, keep)
    own = entries[-1].attempt
    dead = {entry.attempt for entry in entries} - {own}
    dead -= _alive(disk, layout, dead)
    named = {file.file for entry in left if isinstance(entry, Manifest) for file in state_files(entry)}
    for attempt in disk.list(layout.data):
        if attempt == own or attempt in dead:
            _remove_files(disk, layout, attempt, named)
    _remove_temporaries(disk, layout, own)
    return left


def _remove_manifests(disk: Disk, layout: Layout, entries: Sequence[Entry], keep: int) -> list[Entry]:
    old = [entry.number for entry in entries if isinstance(entry, Manifest)][:-keep]
    for number in old:
        disk.remove(layout.manifest(number))
        # One by one, so that no crash leaves a gap between manifests; and before their files go.
        disk.sync_dir(layout.manifests)
    return [entry for entry in entries if entry.number not in old]


def _alive(disk: Disk, layout: Layout, attempts: Collection[str | None]) -> set[str]:
    files = (name for name in disk.list(layout.locks) if name in attempts)
    return {attempt for attempt in files if holder.is_held(disk, layout, attempt)}


def _remove_temporaries(disk: Disk, layout: Layout, own: str) -> None:
    """Also those of attempts that died before their stub; they too had locked their file before."""
    names = disk.list(layout.manifests)
    writers = {name: writer for name in names if (writer := temporary_attempt(name)) not in (None, own)}
    alive = _alive(disk, layout, writers.values())
    for name, writer in writers.items():
        if writer not in alive:
            disk.remove(f"{layout.manifests}/{name}")


def _remove_files(disk: Disk, layout: Layout, attempt: str, named: Collection[str]) -> None:
    for number in disk.list(f"{layout.data}/{attempt}"):
        folder = f"data/{attempt}/{number}"
        for name in disk.list(f"{layout.root}/{folder}"):
            file = f"{folder}/{name}"
            if STATE_FILE.match(file) and file not in named:  # other names are not ours to remove
                disk.remove(layout.state_file(file))
        _remove_if_empty(disk, f"{layout.root}/{folder}")
    _remove_if_empty(disk, f"{layout.data}/{attempt}")


def _remove_if_empty(disk: Disk, folder: str) -> None:
    if not disk.list(folder):
        disk.remove(folder)
