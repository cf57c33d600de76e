"""What must hold of the repository itself: links, imports, pins, and what the archives contain."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "streamlib"
LINKS = ("connectors", "operators", "windows")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# An import of a link, as code, after a doctest prompt, or in a notebook's JSON.
LINK_IMPORT = re.compile(rf'^[\s">.]*(?:from|import)\s+(?:{"|".join(LINKS)})\b', re.MULTILINE)
PIN = re.compile(
    r"^([a-z0-9.-]+)==(\S+)(?: ; [^\\]+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)


def package_files() -> set[str]:
    """Every file of the package, as archives name them."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def pins(name: str) -> dict[str, tuple[str, str]]:
    """Version and hashes by package in `constraints/<name>.txt`."""
    text = (ROOT / "constraints" / f"{name}.txt").read_text()
    return {package: (version, hashes) for package, version, hashes in PIN.findall(text)}


def requirement_names(*lists: list[str | dict[str, str]]) -> set[str]:
    """The packages that lists of requirements name; group includes and streamlib itself left out."""
    named = [r for requirements in lists for r in requirements if isinstance(r, str)]
    return {re.split(r"[\[<>=~! ;]", r, maxsplit=1)[0].lower() for r in named} - {"streamlib"}


@pytest.mark.parametrize("name", LINKS)
def test_top_level_folder_is_a_relative_link_into_the_package(name):
    link = ROOT / name
    assert link.is_symlink()
    assert link.readlink().as_posix() == f"streamlib/{name}"
    assert link.is_dir()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="an unpacked archive knows no git modes")
def test_links_are_committed_as_links():
    listed = subprocess.run(
        ["git", "ls-files", "-s", *LINKS], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["120000"] * len(LINKS)


def test_nothing_imports_through_the_links():
    files = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"]
    for folder in ("streamlib", "tests", "examples", "benchmarks", "notebooks", "docs"):
        files += [p for p in (ROOT / folder).rglob("*") if p.suffix in {".py", ".md", ".ipynb"}]
    found = [str(p.relative_to(ROOT)) for p in files if p.exists() and LINK_IMPORT.search(p.read_text())]
    assert found == []


def test_no_module_imports_the_face():
    # import-linter sees `import streamlib`; `from streamlib import operators` it takes for the module
    # of that name, although at run time it asks the face, which may be half built.
    found = []
    for path in PACKAGE.rglob("*.py"):
        if path == PACKAGE / "__init__.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                faces = any(alias.name == "streamlib" for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                faces = node.module == "streamlib" or node.level > 0
            else:
                continue
            if faces:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found == []


def test_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").is_file()


def test_versions_agree():
    import streamlib  # here: a package that can't be imported must not hide the other findings

    assert streamlib.__version__ == importlib.metadata.version("streamlib") == PROJECT["project"]["version"]


@pytest.mark.parametrize("name", ["demo", "dev", "flights"])
def test_every_pin_has_a_version_and_hashes(name):
    text = (ROOT / "constraints" / f"{name}.txt").read_text()
    named = re.findall(r"^[^\s#]+", text, re.MULTILINE)
    assert len(named) == len(pins(name)) > 0


def test_demo_pins_are_a_subset_of_the_dev_pins():
    assert pins("demo").items() <= pins("dev").items()


def test_every_declared_dependency_is_pinned():
    project, groups = PROJECT["project"], PROJECT["dependency-groups"]
    core = requirement_names(project["dependencies"], PROJECT["build-system"]["requires"])
    extras = requirement_names(*project["optional-dependencies"].values())
    assert core | requirement_names(groups["demo"]) <= pins("demo").keys()
    assert core | extras | requirement_names(*groups.values()) <= pins("dev").keys() | pins("real").keys()


def test_setup_files_name_no_address():
    files = [ROOT / "pyproject.toml", ROOT / "Makefile"]
    files += sorted((ROOT / "constraints").iterdir()) + sorted((ROOT / ".ci").glob("*"))
    assert [p.name for p in files if p.is_file() and re.search(r"https?://", p.read_text())] == []


@pytest.mark.real
def test_archives_hold_the_package_once_and_the_links_as_links(tmp_path):
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir"]
    subprocess.run([*build, tmp_path, ROOT], check=True)
    subprocess.run([*build, tmp_path / "direct", "--wheel", ROOT], check=True)
    (from_sdist,) = tmp_path.glob("*.whl")
    (direct,) = (tmp_path / "direct").glob("*.whl")
    (sdist,) = tmp_path.glob("*.tar.gz")

    for wheel in (from_sdist, direct):
        shipped = [n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n]
        assert sorted(shipped) == sorted(package_files())

    with tarfile.open(sdist) as tar:
        entries = {m.name.partition("/")[2]: m for m in tar.getmembers()}
    assert {name for name in entries if name.startswith("streamlib/")} == package_files()
    for link in LINKS:
        assert entries[link].issym()
        assert entries[link].linkname == f"streamlib/{link}"
        assert not [name for name in entries if name.startswith(f"{link}/")]
    assert {"LICENSE", "Makefile", "pyproject.toml", "tests/test_packaging.py", ".ci/run"} <= entries.keys()
