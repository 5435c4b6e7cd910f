"""Lazy doors: every name is there, is its module's own, and loads no other room."""

import importlib
import subprocess
import sys

import pytest

from assay.protocol.lazy_door import read_places
from tests.tree import list_sources, name_module

LAZY = [
    name_module(path)
    for path in list_sources()
    if path.name == "__init__.py" and "__getattr__ = open_lazily(__name__)" in path.read_text()
]


def test_there_are_lazy_doors():
    assert {"assay.protocol", "assay.network", "assay.inference"} <= set(LAZY)


@pytest.mark.parametrize("name", LAZY)
def test_every_name_is_its_modules_own(name):
    door = importlib.import_module(name)
    places = dict(read_places(name))
    assert sorted(places) == sorted(door.__all__)
    for public, module in places.items():
        assert getattr(door, public) is getattr(importlib.import_module(module), public)
        assert importlib.util.find_spec(f"{name}.{public}") is None, "Python would set the module"
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = door.nonsense


def test_a_door_loads_what_is_asked_for_and_nothing_else():
    code = """
import sys
from assay.protocol import encode_ss58
assert encode_ss58(bytes(32)).startswith("5")
print(*sorted(name for name in sys.modules if name.startswith("assay.") or name == "numpy"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == [
        "assay.protocol",
        "assay.protocol.lazy_door",
        "assay.protocol.ss58",
    ]
