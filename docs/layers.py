"""Writes the table of packages in architecture.md from the import contract and the packages' docstrings.

python docs/layers.py          # rewrites it
python docs/layers.py --check  # exit 1 if it differs
"""

import ast
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from page_parts import fill, write_or_check

sys.path.append(str(Path(__file__).parents[1]))

from tests.tree import ROOT, list_sources, name_module

PAGE = ROOT / "docs" / "architecture.md"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
LAYERS = next(c["layers"] for c in SETTINGS["importlinter"]["contracts"] if c["id"] == "layers")
#: The packages that stay at the top of the repository.
AT_TOP = {"protocol", "verification", "neurons"}

Graph = Mapping[str, frozenset[str]]


def list_imports(source: str) -> set[str]:
    """The packages of ours that a file imports from, wherever it does so."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in found if name.startswith("assay.")}


def read_graph() -> Graph:
    """Package → the packages that it imports from."""
    graph: dict[str, set[str]] = {}
    for path in list_sources():
        _, *parts = name_module(path).split(".")
        if parts and parts[0] != "__main__":
            graph.setdefault(parts[0], set()).update(list_imports(path.read_text()))
    return {package: frozenset(found - {package}) for package, found in graph.items()}


def find_reachable(graph: Graph, package: str) -> frozenset[str]:
    """All packages that one rests on, directly or not."""
    return graph[package].union(*(find_reachable(graph, below) for below in graph[package]))


def reduce_graph(graph: Graph) -> Graph:
    """The same graph without imports that another path implies."""
    return {
        package: frozenset(
            below
            for below in found
            if not any(below in find_reachable(graph, other) for other in found - {below})
        )
        for package, found in graph.items()
    }


def read_purpose(folder: Path) -> str:
    """The first sentence of a folder's docstring."""
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    return " ".join(text.split("\n\n")[0].split())


def list_packages(graph: Graph) -> str:
    """Every package and the folders in it, from the top layer, each with its purpose."""
    lines = ["| package | what it is for | rests on | folders |", "|---|---|---|---|"]
    for layer in LAYERS:
        for package in re.findall(r"assay\.(\w+)", layer):
            place = package if package in AT_TOP else f"assay/{package}"
            folders = sorted(path.parent for path in (ROOT / place).glob("*/__init__.py"))
            inner = "<br>".join(f"`{folder.name}` {read_purpose(folder)}" for folder in folders)
            below = ", ".join(f"`{name}`" for name in sorted(graph[package]))
            purpose = read_purpose(ROOT / place)
            lines.append(
                f"| [`{package}`](../{place}/__init__.py) | {purpose} | {below} | {inner} |"
            )
    return "\n".join(lines)


def main() -> int:
    """Rewrites or checks; the exit code."""
    parts = {"packages": list_packages(reduce_graph(read_graph()))}
    return write_or_check({PAGE: fill(PAGE.read_text(), parts, PAGE.name)})


if __name__ == "__main__":
    sys.exit(main())
