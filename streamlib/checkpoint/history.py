"""All manifests and stubs of a job, read and checked against each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from streamlib.checkpoint.layout import Layout, entry_number
from streamlib.checkpoint.manifest import MANIFEST_LIMIT, Entry, Manifest, Stub, damaged, decode_entry
from streamlib.core.contracts import Disk


def list_numbers(disk: Disk, layout: Layout) -> list[int]:
    """The numbers that are taken, rising. Other files in the folder are not ours and don't count."""
    found = (entry_number(name) for name in disk.list(layout.manifests))
    return sorted(number for number in found if number is not None)


def read_entry(disk: Disk, layout: Layout, number: int) -> Entry:
    """The manifest or stub of that number."""
    path = layout.manifest(number)
    size = disk.size(path)
    if size is None or size > MANIFEST_LIMIT:
        raise damaged(path, f"a file of at most {MANIFEST_LIMIT} bytes", _show_size(size))
    try:
        data = disk.read(path)
    except FileNotFoundError:
        raise damaged(path, "a manifest", "no such file") from None
    return decode_entry(data, number, path)


def _show_size(size: int | None) -> str:
    return "no such file" if size is None else f"{size} bytes"


def newest_manifest(entries: Sequence[Entry]) -> Manifest | None:
    """The checkpoint to restore: the last entry that is not a stub."""
    return next((entry for entry in reversed(entries) if isinstance(entry, Manifest)), None)


def check_history(layout: Layout, entries: Sequence[Entry]) -> None:
    """Raise `CheckpointDamagedError` if an entry is missing or does not belong here.

    What can be known: number 1 is a stub, and stubs are never removed. Retention removes manifests
    from the oldest on and leaves the newest, so no number is missing from the oldest manifest on
    (from 1 on, if there is none). A manifest is its attempt's, whose stub is the closest below it.
    A newest manifest that someone deleted can't be noticed here; sinks notice it.
    """
    if not entries:
        return
    if entries[0].number != 1:
        raise damaged(layout.manifest(1), "the stub of the job's first start", "no such file")
    manifests = [entry for entry in entries if isinstance(entry, Manifest)]
    oldest = manifests[0].number if manifests else 1
    for before, after in pairwise(entries):
        if before.number >= oldest and after.number != before.number + 1:
            raise damaged(layout.manifest(before.number + 1), "a manifest or stub", "no such file")
    _check_owners(layout, entries)


def _check_owners(layout: Layout, entries: Sequence[Entry]) -> None:
    job, attempt = entries[0].job, ""
    for entry in entries:
        path = layout.manifest(entry.number)
        if entry.job != job:
            raise damaged(path, f"job {job}, as in number 1", f"job {entry.job}")
        if isinstance(entry, Stub):
            attempt = entry.attempt
        elif entry.attempt != attempt:
            expected = f"attempt {attempt or '(none)'}, as in the stub before it"
            raise damaged(path, expected, f"attempt {entry.attempt}")
