"""How long `import streamlib` takes, beyond what numpy and pyarrow take by themselves.

    python benchmarks/import_time.py [--rounds N] [--json]

Fresh interpreters import the two alone, and the two and streamlib, in turns; what is shown is the
median of the differences within a round. Compiled files are in place, as an installer leaves them:
they are written to a folder of the benchmark's own, so that it does not matter whether this
environment writes any (`PYTHONDONTWRITEBYTECODE`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from rounds import take_turns

GOAL = 0.3  # seconds
BASE = "import numpy, pyarrow"


def seconds(code: str, compiled: str) -> float:
    """The life of an interpreter that runs `code`, with its compiled files in the folder `compiled`."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    return time.perf_counter() - began


def measured(rounds: int) -> list[float]:
    """By round, the seconds that streamlib adds."""
    with tempfile.TemporaryDirectory(prefix="compiled-") as compiled:
        contestants = {
            "base": lambda: seconds(BASE, compiled),
            "streamlib": lambda: seconds(f"{BASE}; import streamlib", compiled),
        }
        take_turns(contestants, 1, lambda: None)  # writes compiled files, fills the file cache
        found = take_turns(contestants, rounds, lambda: None)
    return [r["streamlib"] - r["base"] for r in found]


def main() -> None:
    parser = argparse.ArgumentParser(description="The time of `import streamlib`.")
    parser.add_argument("--rounds", type=int, default=9, help="pairs of interpreters (9)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    arguments = parser.parse_args()
    found = measured(arguments.rounds)
    median = statistics.median(found)
    print(
        f"import streamlib: {median:.3f} s [{min(found):.3f}..{max(found):.3f}] beyond numpy and pyarrow, "
        f"{arguments.rounds} rounds; goal: {GOAL} s"
    )
    if arguments.json:
        print(json.dumps({"seconds": round(median, 3), "goal": GOAL, "rounds": arguments.rounds}))


if __name__ == "__main__":
    main()
