"""Packages that load their modules when a name of them is first used (PEP 562).

A light command, such as `assay status`, imports a package and needs one name of it. Such a package
imports its names under `if TYPE_CHECKING:`, for people and for type checkers, and sets
`__getattr__ = load_lazily(__name__, {module: names})`. A name must differ from every submodule's
name: Python would set it to the module.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def load_lazily(package: str, names: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """The `__getattr__` of a package.

    Args:
        package: its `__name__`.
        names: the names that it offers, by the module of the package that has them.
    """
    modules = {name: module for module, offered in names.items() for name in offered}

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{modules[name]}"), name)
        return vars(sys.modules[package]).setdefault(name, value)

    return load
