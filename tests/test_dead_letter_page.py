"""The page on records that fail: its code runs as it stands there, and shows what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parent.parent / "docs" / "errors_and_dead_letters.md").read_text()


def test_the_code_of_the_page_runs_from_failing_to_redriven(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    (tmp_path / "page.py").write_text("\n".join(blocks))
    run = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    said = re.findall(r"print\(.*\)  # (.*)", PAGE)
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, re.S)
    assert run.stdout.splitlines() == [said[0], *shown.splitlines(), *said[1:]]
