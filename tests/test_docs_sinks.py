"""The page on sinks of files: its code runs as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parent.parent / "docs" / "sinks.md").read_text()


def test_the_code_of_the_page_runs_as_one_file(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert len(blocks) == 3
    (tmp_path / "sinks.py").write_text("\n".join(blocks))
    run = subprocess.run(
        [sys.executable, "sinks.py"], cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "Warning" not in run.stderr
    names = {path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert names == {".gz", ".parquet"}
