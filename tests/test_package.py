"""The package on disk: where imports look for it, and what its folders say they are for.

Import contracts (`make lint`) hold the layers and forbid circles.
"""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tree import PACKAGES, ROOT, list_sources, name_module

LINKED = ("protocol", "verification", "neurons")
#: Folders of tests of the whole, or of another distribution.
BESIDE = {
    "adversarial",
    "engines",
    "faults",
    "fuzz",
    "gpu",
    "integration",
    "killing",
    "soak",
    "vectors",
}
FILES = [path for name in PACKAGES for path in list_sources(name)]
FOLDERS = sorted({path.parent for path in FILES} - {ROOT / "assay"})


@pytest.mark.parametrize("name", LINKED)
def test_a_walk_sees_the_linked_packages(name: str) -> None:
    """Also where a reader expects them: at the top of the repository."""
    assert (ROOT / "assay" / name).is_symlink()
    walked = {path.relative_to(ROOT / "assay") for path in list_sources()}
    there = {path.relative_to(ROOT) for path in (ROOT / name).rglob("*.py")}
    assert there
    assert there <= walked


def test_two_distributions_share_the_name() -> None:
    """A file `assay/__init__.py` would hide the packages of the other one."""
    assert not (ROOT / "assay" / "__init__.py").exists()
    assert (ROOT / "judge" / "assay").is_symlink()
    assert (ROOT / "judge" / "assay").samefile(ROOT / "assay")
    folders = {path.relative_to(ROOT / "assay").parts[0] for path in list_sources()}
    untyped = {f for f in folders if not (ROOT / "assay" / f / "py.typed").exists()}
    assert untyped == {"__main__.py"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_folder_imports_from_its_place_and_says_what_it_is_for(folder: Path) -> None:
    init = folder / "__init__.py"
    assert (ast.get_docstring(ast.parse(init.read_text())) or "").strip()
    module = importlib.import_module(name_module(init))
    assert module.__file__ is not None
    assert Path(module.__file__).samefile(init)
    for name in getattr(module, "__all__", ()):
        if not hasattr(module, name):
            importlib.import_module(f"{module.__name__}.{name}")


def test_protocol_draws_nothing() -> None:
    """Import contracts see numpy as a whole."""
    for path in (ROOT / "protocol").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            text = ast.unparse(node) if isinstance(node, ast.Attribute | ast.ImportFrom) else ""
            assert not re.match(r"(np|numpy)\.random\b|from numpy import .*random", text), path


def test_tests_lie_as_the_packages_do() -> None:
    """Only what tests the whole has a folder that is no package's."""
    folders = {path.parent.relative_to(ROOT / "tests") for path in ROOT.glob("tests/*/**/*.py")}
    lacking = {f for f in folders if not (ROOT / "assay" / f).is_dir()}
    assert {folder.parts[0] for folder in lacking} == BESIDE


def test_the_package_is_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "assay", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Usage: assay" in done.stdout
