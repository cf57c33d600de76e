"""A job of a sink that ends at every operation of its disk, shared by the tests of staged sinks."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest

from streamlib.testing.disk import CrashAt, SimDisk, SimulatedCrash


class DiskJob(Protocol):
    """Writes to a sink on a disk; run again it goes on from what the disk kept."""

    def run(self) -> None: ...


def crashed_everywhere(
    make: Callable[[SimDisk], DiskJob], power_cut: bool
) -> Iterator[tuple[DiskJob, SimDisk, tuple[int, int]]]:
    """For every operation of a whole run: a job that ended there, its disk, and (operation, seed)."""
    whole = SimDisk()
    make(whole).run()
    for number in range(whole.operations.total()):
        for seed in range(4 if power_cut else 1):
            disk = SimDisk()
            job = make(disk)
            disk.on_operation = CrashAt(number)
            with pytest.raises(SimulatedCrash):
                job.run()
            disk.on_operation = lambda operation, path: None
            if power_cut:
                disk.crash(random.Random(seed))
            else:
                disk.kill()
            yield job, disk, (number, seed)
