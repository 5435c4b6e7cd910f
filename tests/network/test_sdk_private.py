"""Private members of the SDK that are used are still what they were: fails when the SDK changes."""

import ast
import importlib
import inspect
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from assay.network.chain import sdk_private
from assay.network.chain.sdk_private import PRIVATE_MEMBERS

#: Parameters of those that are functions.
SIGNATURES = {
    "_interface": ["self", "endpoint", "fallbacks"],
    "_dispatch": ["self", "message"],
    "_give_up": ["self", "error"],
}


def find(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        return getattr(importlib.import_module(module), name)


def test_the_sdk_is_pinned_to_the_version_that_was_read() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    pins = [Requirement(text) for text in project["project"]["dependencies"]]
    (pin,) = [pin for pin in pins if pin.name == "bittensor"]
    assert str(pin.specifier) == f"=={version('bittensor')}"


MEMBERS = [(path, name) for path, names in PRIVATE_MEMBERS.items() for name in names]


@pytest.mark.parametrize(("path", "name"), MEMBERS)
def test_a_private_member_is_there(path: str, name: str) -> None:
    owner = find(path)
    member = getattr(owner, name, None)
    if name in SIGNATURES and inspect.isfunction(member):
        assert list(inspect.signature(member).parameters) == SIGNATURES[name]
    elif member is None:  # set by a method
        targets = [
            node.attr
            for node in ast.walk(ast.parse(inspect.getsource(inspect.getmodule(owner))))
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        ]
        assert name in targets


def test_every_private_member_that_is_used_is_named() -> None:
    """In that one file, and nowhere else in the room."""
    named = {name for _, name in MEMBERS}
    tree = ast.parse(inspect.getsource(sdk_private))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
    }
    assert used <= named
    assert {name for name in named if name.startswith("_")} <= used
