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
