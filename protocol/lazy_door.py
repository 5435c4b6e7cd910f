"""Doors that load the modules behind them when a name is first used.

A light command, such as `assay status`, passes through a room's door and needs one name from it. A
lazy door lists its names as imports under `if TYPE_CHECKING:`, for people and for type checkers,
and sets `__getattr__ = open_lazily(__name__)`. A name must differ from every submodule's name:
Python would set it to the module.
"""

import ast
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any


def open_lazily(door: str) -> Callable[[str], Any]:
    """The `__getattr__` of a door. `door` is the name of its module."""
    places: dict[str, str] = {}

    def load(name: str) -> Any:
        if not places:
            places.update(read_places(door))
        if name not in places:
            raise AttributeError(f"module {door!r} has no attribute {name!r}")
        value = getattr(import_module(places[name]), name)
        return vars(sys.modules[door]).setdefault(name, value)

    return load


def read_places(door: str) -> Iterator[tuple[str, str]]:
    """The names that a door's source imports for type checkers, each with its module."""
    loader = sys.modules[door].__spec__.loader  # type: ignore[union-attr] # an imported module's
    tree = ast.parse(loader.get_source(door))  # type: ignore[union-attr] # it is a source file
    for block in tree.body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            for line in block.body:
                if isinstance(line, ast.ImportFrom) and line.module is not None:
                    yield from ((alias.name, line.module) for alias in line.names)
