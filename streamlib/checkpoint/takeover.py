"""Taking a job: find out whether someone holds it, and occupy the next number with a stub."""

from __future__ import annotations

from dataclasses import dataclass

from streamlib.checkpoint import holder
from streamlib.checkpoint.fence import publish
from streamlib.checkpoint.files import check_sizes
from streamlib.checkpoint.history import check_history, list_numbers, newest_manifest, read_entry
from streamlib.checkpoint.layout import Layout
from streamlib.checkpoint.manifest import Entry, Stub
from streamlib.core.contracts import Clock, Disk
from streamlib.core.errors import CheckpointDamagedError, JobHeldError, StateError

_TRIES = 100
"""Each failed try means that someone else's manifest or stub became durable meanwhile."""


@dataclass(frozen=True)
class Claim:
    """Who wants the job. `new_job` is its id if the folder is new."""

    attempt: str
    new_job: str
    takeover: bool


def take(disk: Disk, layout: Layout, clock: Clock, claim: Claim) -> list[Entry]:
    """All entries of the job, the last one our own stub: its predecessors can't write any more."""
    for _ in range(_TRIES):
        numbers = list_numbers(disk, layout)
        try:
            entries = _decide(disk, layout, clock, claim, numbers)
        except CheckpointDamagedError:
            if list_numbers(disk, layout) == numbers:
                raise
            continue  # a live holder wrote, and its retention removed what we were about to read
        newest = newest_manifest(entries)
        stub = Stub(
            job=entries[0].job if entries else claim.new_job,
            number=entries[-1].number + 1 if entries else 1,
            attempt=claim.attempt,
            restored_from=newest.number if newest else None,
            created=clock.now(),
        )
        if publish(disk, layout, stub):
            return [*entries, stub]
    raise StateError(
        f"could not take over the job in {layout.root}",
        expected=f"a free number in {_TRIES} tries",
        found="another run that was faster each time",
        remedy="stop the other run, then start again",
    )


def _decide(disk: Disk, layout: Layout, clock: Clock, claim: Claim, numbers: list[int]) -> list[Entry]:
    """The entries to go on from, or the reason not to."""
    if not numbers:
        return []
    newest = read_entry(disk, layout, numbers[-1])
    if newest.attempt == claim.attempt:
        raise holder.used_before(claim.attempt)
    if not claim.takeover and holder.stays_held(disk, layout, newest.attempt, clock):
        raise JobHeldError(
            f"the job in {layout.root} is running already; nothing was changed",
            expected="no live run of the job",
            found=holder.describe(disk, layout, newest.attempt),
            remedy="stop that run first (`job.drain()` in a notebook), or start with --takeover "
            "(`takeover=True`), which makes it stop",
        )
    entries = [*(read_entry(disk, layout, number) for number in numbers[:-1]), newest]
    if any(entry.attempt == claim.attempt for entry in entries):
        raise holder.used_before(claim.attempt)
    check_history(layout, entries)
    manifest = newest_manifest(entries)
    if manifest is not None:
        check_sizes(disk, layout, manifest)
    return entries
