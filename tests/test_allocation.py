"""Memory that is freed stays with the process while jobs work."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_FAULTS = """
import resource
import numpy as np
from streamlib.runners.allocation import keep_freed_memory
from streamlib.runners.world import LocalWorld

def work():
    blocks = [np.ones(100_000) for _ in range(10)]  # 8 MB, each below the 32 MB that always go back

LocalWorld()
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    work()
print(keep_freed_memory(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _run(**variables: str) -> tuple[str, int]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", _FAULTS]
    done = subprocess.run(command, env=ours | variables, capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    return kept, int(faults)


def test_what_batches_free_is_there_for_the_next_ones():
    kept, faults = _run()
    assert kept == "True"
    assert faults < 2_000  # 20 times 8 MB are 40,000 pages


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"])
def test_whoever_set_the_allocator_up_is_left_alone(name):
    assert _run(**{name: "131072"})[0] == "False"
