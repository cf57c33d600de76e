"""The page on extending streamlib: its code runs as it stands there, and does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text()


def test_the_code_of_the_page_runs_as_one_file(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert len(blocks) > 6
    (tmp_path / "extending.py").write_text("\n".join(blocks))
    run = subprocess.run(
        [sys.executable, "extending.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "15 months, 89 days"
    assert "Warning" not in run.stderr


FLOW = """
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
import streamlib as sl
from streamlib import windows
from streamlib.connectors import memory, parquet

@dataclass(frozen=True, eq=False)
class Hours(windows.WindowAssigner):
    count: int

    def assign(self, times):
        size = self.count * 3_600_000_000
        starts = times // size * size
        return np.arange(len(times)), starts, starts + size

rows = [{"at": i * 1_000_000, "n": i} for i in range(1000)]
read = sl.read(memory.source(rows), name="rows", event_time="at", watermark=sl.monotone())
totals = read.window(Hours(1)).aggregate(n=sl.sum("n"))
flow = sl.Flow("totals", totals.write(parquet.sink("out"), name="out"))
if __name__ == "__main__":
    flow.run(progress="none")
"""


def test_a_class_of_a_flow_file_is_the_same_for_state_however_the_file_is_run(tmp_path):
    """As a script the file is `__main__`, and its state was refused to `streamlib run`."""
    (tmp_path / "totals.py").write_text(FLOW)
    for command in (["totals.py"], ["-m", "streamlib", "run", "totals.py"]):
        run = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert run.returncode == 0, run.stderr
