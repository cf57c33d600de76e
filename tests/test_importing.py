"""What `import streamlib` and a first small run read: a script pays for what it uses."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

IMPORT = "import streamlib"
FIRST_RUN = """
import streamlib as sl
from streamlib.connectors import memory
rows = [{"at": second * 1_000_000, "key": second % 3, "price": second} for second in range(60)]
sales = sl.read(memory.source(rows), name="sales", event_time="at", watermark=sl.bounded_disorder("1s"))
dear = sales.filter(sl.col("price") > 3).with_columns(euros=sl.col("price") * 0.9).key_by("key")
assert dear.window(sl.windows.tumbling("10s")).aggregate(count=sl.count(), top=sl.max("euros")).collect()
"""

NO_PANDAS = """
import json, sys
class NoPandas:
    def find_spec(self, name, path=None, target=None):
        if name == "pandas":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NoPandas())
"""

# Neither needs them, and each takes milliseconds: with all that they read in turn.
NEVER = {
    "asyncio",
    "click",
    "matplotlib",
    "multiprocessing.connection",
    "polars",
    "pyarrow.csv",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "sqlite3",
    "subprocess",
    "tempfile",
    "tenacity",
    "streamlib.cli",
    "streamlib.connectors.console",
    "streamlib.connectors.csv",
    "streamlib.connectors.parquet",
    "streamlib.formats",
    "streamlib.operators.collected",
    "streamlib.operators.explode_lists",
    "streamlib.operators.limiting",
    "streamlib.operators.map_records",
    "streamlib.operators.picks",
    "streamlib.operators.stateful_records",
    "streamlib.operators.statistics",
    "streamlib.plan.picture",
    "streamlib.plot",
    "streamlib.runners.processes",
    "streamlib.runners.station",
    "streamlib.testing",
}
# Only a run needs them.
NOT_AT_IMPORT = {
    "concurrent.futures",
    "html",
    "logging",
    "multiprocessing",
    "streamlib.checkpoint",
    "streamlib.connectors",
    "streamlib.runners",
    "streamlib.runtime",
}

ON_DEMAND = (
    "streamlib",
    "streamlib.connectors",
    "streamlib.operators",
    "streamlib.operators.factories",
)


def modules_after(program: str) -> set[str]:
    """What a fresh interpreter has read when it comes to the end of `program`.

    It has no pandas: pyarrow reads that where it is installed as soon as somebody makes an array.
    """
    code = f"{NO_PANDAS}\n{program}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))


def shown_to_type_checkers(package: str) -> list[tuple[str, str]]:
    """The imports under `if TYPE_CHECKING` of a package: module and name."""
    file = importlib.import_module(package).__file__
    assert file is not None
    tree = ast.parse(Path(file).read_text())
    (block,) = (
        node.body
        for node in tree.body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    )
    imports = [node for node in block if isinstance(node, ast.ImportFrom)]
    return [(node.module or "", alias.name) for node in imports for alias in node.names]


def test_importing_reads_no_connector_runner_or_operator_that_few_flows_use():
    assert modules_after(IMPORT) & (NEVER | NOT_AT_IMPORT) == set()


def test_a_first_run_reads_only_what_it_uses():
    assert modules_after(FIRST_RUN) & NEVER == set()


def test_importing_reads_few_modules_of_ours():
    # 133 when this was written, at some 0.6 ms each. If a new one is needed by every script, raise the
    # limit; else import its package's name on demand (`core/on_demand.py`).
    assert len([name for name in modules_after(IMPORT) if name.startswith("streamlib")]) <= 145


@pytest.mark.parametrize("package", ON_DEMAND)
def test_names_on_demand_are_those_that_type_checkers_see(package):
    found = importlib.import_module(package)
    for module, name in shown_to_type_checkers(package):
        there = importlib.import_module(module)
        wanted = importlib.import_module(f"{package}.{name}") if module == package else getattr(there, name)
        assert getattr(found, name) is wanted
        assert name in dir(found)
    assert all(hasattr(found, name) for name in found.__all__)


@pytest.mark.parametrize("package", ON_DEMAND)
def test_no_module_hides_a_name_on_demand(package):
    modules = {found.name for found in pkgutil.iter_modules(importlib.import_module(package).__path__)}
    names = {name for module, name in shown_to_type_checkers(package) if module != package}
    assert modules & names == set()


@pytest.mark.parametrize("package", ON_DEMAND)
def test_a_name_that_a_package_does_not_have_is_no_attribute(package):
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nonsense'"):
        importlib.import_module(package).nonsense  # noqa: B018
