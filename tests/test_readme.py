"""The README's example runs as it stands there and prints what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks() -> tuple[str, str]:
    example = re.search(r"```python\n(.*?)```", README, re.S)
    printed = re.search(r"stderr\):\n\n```\n(.*?)```", README, re.S)
    assert example is not None
    assert printed is not None
    return example.group(1), printed.group(1)


def test_the_example_prints_what_the_readme_shows(tmp_path):
    example, printed = blocks()
    (tmp_path / "sales.py").write_text(example)
    run = subprocess.run(
        [sys.executable, "sales.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == printed.strip()
    assert "12 rows" in run.stderr


def test_the_example_has_about_fifteen_lines():
    lines = [line for line in blocks()[0].splitlines() if line.strip()]
    assert len(lines) <= 15
    assert max(map(len, lines)) <= 120


def test_the_first_commands_of_the_readme_are_targets_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make ([a-z-]+)", README, re.M):
        assert f"\n{target}:" in makefile
