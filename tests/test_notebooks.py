"""Every notebook runs from top to bottom in a fresh kernel."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PATIENCE = 60  # seconds for a cell; the slowest takes about five


class OwnPython(AsyncKernelManager):
    """A kernel of the Python that runs the tests; none has to be registered."""

    @property
    def kernel_spec(self) -> KernelSpec:
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="own", language="python")


def executed(path: Path, home: Path) -> Any:
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=PATIENCE,
        kernel_manager_class=OwnPython,
        resources={"metadata": {"path": str(path.parent)}},
    )
    found = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {"IPYTHONDIR": str(home), "JUPYTER_RUNTIME_DIR": str(home), "TMPDIR": str(home)}
    client.execute(env={**os.environ, **settings, "PYTHONPATH": os.pathsep.join(found)})
    return notebook


Run = Callable[[str], Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Each notebook, executed once."""
    return cache(lambda name: executed(ROOT / "notebooks" / name, tmp_path_factory.mktemp("notebook")))


@pytest.fixture(scope="module")
def first(run: Run) -> Any:
    return run("01_first_flow.ipynb")


def outputs(notebook: Any, kind: str) -> list[str]:
    """All outputs of a kind (`image/svg+xml`, or `stdout`), in order."""
    every = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    if kind == "stdout":
        return [output.text for output in every if output.get("name") == kind]
    return [output.data[kind] for output in every if kind in output.get("data", {})]


def test_the_notebooks_are_committed_without_outputs() -> None:
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            assert cell.cell_type == "markdown" or (not cell.outputs and cell.execution_count is None)


@pytest.mark.parametrize("name", [path.name for path in NOTEBOOKS])
def test_every_cell_runs_and_complains_of_nothing(name: str, run: Run) -> None:
    for cell in run(name).cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.text


def test_previews_pictures_and_plots_show_themselves(first: Any) -> None:
    pages = "".join(outputs(first, "text/html"))
    assert "timestamp[us, tz=UTC]" in pages, "a preview, with its types"
    (picture,) = outputs(first, "image/svg+xml")
    assert ">aggregate</text>" in picture
    assert len(outputs(first, "image/png")) == 2


def test_the_job_shows_in_its_cell_how_it_ended(first: Any) -> None:
    pages = outputs(first, "text/html")
    assert sum("<b>first</b> drained" in page for page in pages) == 2, "the table, and the job itself"
    assert sum("<b>first</b> finished" in page for page in pages) == 1
    assert not any("<b>first</b> running" in page for page in pages)


def test_the_job_went_on_where_it_was_and_no_departure_is_lost(first: Any) -> None:
    printed = "".join(outputs(first, "stdout"))
    assert "went on from checkpoint" in printed
    assert "= 328,521 departures" in printed
    assert "flow first (exactly-once)" in printed


def test_the_second_shows_each_decision_about_the_late_reading(run: Run) -> None:
    notebook = run("02_event_time.ipynb")
    printed = outputs(notebook, "stdout")
    first_window = [
        line for text in printed for line in text.splitlines() if line.startswith("window_start=0 ")
    ]
    assert first_window[:2] == [
        "window_start=0  window_end=10  n=5  warmest=30.0",  # the batch
        "window_start=0  window_end=10  n=4  warmest=25.0",  # the stream, which left one out
    ]
    everything = "".join(printed)
    assert "at=3  arrived=23  second=3  value=30.0\n" in everything, "the late reading"
    assert "n=4  warmest=25.0  op=-U" in everything
    assert "in operator 'out' (In[" in everything, "the refusal, which names the cell"
    assert "missed:\nat=3" in everything


def test_the_third_checks_its_aggregate_and_finds_the_planted_mistake(run: Run) -> None:
    notebook = run("03_custom_operators.ipynb")
    assert "(7, 'days, each one right')" in outputs(notebook, "text/plain")
    assert "`merge` changes a state" in "".join(outputs(notebook, "stdout"))
    assert len(outputs(notebook, "image/png")) == 2
    assert ">aggregate</text>" in outputs(notebook, "image/svg+xml")[0]
