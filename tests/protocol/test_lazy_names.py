"""Lazy packages: type checkers and programs see the same names, and one loads no other's module."""

import ast
import importlib
import subprocess
import sys

import pytest

from tests.tree import list_sources, name_module

LAZY = {
    name_module(path): path
    for path in list_sources()
    if path.name == "__init__.py" and "__getattr__ = load_lazily(" in path.read_text()
}


def read_imports(name):
    """The names that a package imports for type checkers, each with its module."""
    (block,) = (node for node in ast.parse(LAZY[name].read_text()).body if isinstance(node, ast.If))
    lines = [line for line in block.body if isinstance(line, ast.ImportFrom)]
    return {alias.asname: line.module for line in lines for alias in line.names}


def read_loaded(name):
    """The names that a package loads when they are used, each with its module."""
    (block,) = (node for node in ast.parse(LAZY[name].read_text()).body if isinstance(node, ast.If))
    names = ast.literal_eval(block.orelse[0].value.args[1])
    return {one: f"{name}.{module}" for module, offered in names.items() for one in offered}


def test_there_are_lazy_packages():
    assert {"assay.protocol", "assay.network", "assay.inference"} <= set(LAZY)


@pytest.mark.parametrize("name", LAZY)
def test_every_name_is_its_modules_own(name):
    package = importlib.import_module(name)
    modules = read_imports(name)
    assert modules
    assert modules == read_loaded(name)
    for public, module in modules.items():
        assert getattr(package, public) is getattr(importlib.import_module(module), public)
        assert importlib.util.find_spec(f"{name}.{public}") is None, "Python would set the module"
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = package.nonsense


def test_a_package_loads_what_is_asked_for_and_nothing_else():
    code = """
import sys
from assay.protocol import encode_ss58
assert encode_ss58(bytes(32)).startswith("5")
print(*sorted(name for name in sys.modules if name.startswith("assay.") or name == "numpy"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == [
        "assay.protocol",
        "assay.protocol.lazy_names",
        "assay.protocol.ss58",
    ]
