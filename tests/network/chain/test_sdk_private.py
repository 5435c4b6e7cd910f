"""The SDK's private members in use are unchanged: this fails when the SDK changes."""

import ast
import importlib
import inspect
import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from assay.network.chain import sdk_private

#: Class → its private members that are used, each with the reason.
PRIVATE_MEMBERS = {
    "bittensor.RpcSubstrate": {
        "_interface": "overridden: each connection that it makes, the archives' too, is bounded",
        "_substrate": "emptied at the end; None: no connection",
        "_archive_substrate": "emptied at the end",
    },
    "bittensor._transport.interface.SubstrateConnection": {
        "_session": "the websocket's session",
        "_runtimes": "decodes an old block's calls by today's runtime, its own being forgotten",
    },
    "bittensor._transport.rpc.RpcSession": {
        "_connect": "replaced: `dial` opens the websocket, and nothing opens a second one",
        "_dispatch": "wrapped: updates that nobody asked for are bounded",
        "_early": "updates kept for a subscription to come",
        "_give_up": "ends whoever waits, where the SDK's own task has stumbled",
        "_fatal_error": "set: the session is lost",
        "_closing": "set: the session ends because we said so",
        "_supervisor": "the task that reads; the SDK would raise what it ended by",
        "_ws": "the websocket, which is aborted",
    },
    "bittensor._transport.errors": {
        "SubstrateRequestException": "a node's refusal",
        "StateDiscardedError": "a node's word that it has forgotten a block's state",
    },
}

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
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
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


def find_private_members(path: Path) -> set[str]:
    """Names of the private members that a file uses."""
    return {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
    }


def test_every_private_member_that_is_used_is_named() -> None:
    """In that one file; elsewhere only a name that an object gives its own."""
    assert sdk_private.__file__ is not None
    home = Path(sdk_private.__file__)
    found = {path: find_private_members(path) for path in home.parents[1].rglob("*.py")}
    used = found.pop(home)
    named = {name for _, name in MEMBERS if name.startswith("_")}
    assert used == named
    for path, others in found.items():
        own = set(re.findall(r"self\.(_\w+)", path.read_text()))
        assert not others & named - own, path
