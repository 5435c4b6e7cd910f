"""Draws the floor plan in architecture.md from the code's own imports and doors.

python docs/floor_plan.py          # rewrites it
python docs/floor_plan.py --check  # exit 1 if it differs
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from page_parts import fill, write_or_check

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
FLOORS = next(c["layers"] for c in SETTINGS["importlinter"]["contracts"] if c["id"] == "floors")

Graph = Mapping[str, frozenset[str]]


def list_floors() -> list[list[str]]:
    """The floors from the top, each with its rooms, as the import contract has them."""
    return [re.findall(r"assay\.(\w+)", floor) for floor in FLOORS]


def list_imports(source: str) -> Iterator[str]:
    """The modules of ours that a file imports, wherever it does so."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("assay."):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("assay."))


def read_graph(rooms: list[str]) -> Graph:
    """Room → the rooms it imports from."""
    graph = {}
    for room in rooms:
        texts = [path.read_text() for path in sorted((ROOT / room).rglob("*.py"))]
        found = {name.split(".")[1] for text in texts for name in list_imports(text)}
        graph[room] = frozenset(found - {room})
    return graph


def find_reachable(graph: Graph, room: str) -> frozenset[str]:
    """All rooms that a room rests on, directly or not."""
    return graph[room].union(*(find_reachable(graph, below) for below in graph[room]))


def reduce_graph(graph: Graph) -> Graph:
    """The same graph without imports that another path implies."""
    return {
        room: frozenset(
            below
            for below in found
            if not any(below in find_reachable(graph, other) for other in found - {below})
        )
        for room, found in graph.items()
    }


def draw(floors: list[list[str]], graph: Graph) -> str:
    """The drawing, for Mermaid: a floor a row, an arrow to each room that is imported from."""
    lines = ["```mermaid", "flowchart TD"]
    lines += [f'    subgraph f{i}[" "]\n    direction LR\n    {"; ".join(floor)}\n    end'
              for i, floor in enumerate(floors)]
    lines += [f"    {room} --> {below}" for floor in floors for room in floor
              for below in sorted(graph[room])]
    return "\n".join([*lines, "```"])


def read_purpose(folder: Path) -> str:
    """The first sentence of a folder's door."""
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    return " ".join(text.split("\n\n")[0].split())


def list_doors(floors: list[list[str]]) -> str:
    """Every room and the folders in it, from the top, each with what its door says first."""
    lines = ["| room | what it is for | folders |", "|---|---|---|"]
    for floor in floors:
        for room in floor:
            folders = sorted(p.parent for p in (ROOT / room).glob("*/__init__.py"))
            inner = "<br>".join(f"`{p.name}` {read_purpose(p)}" for p in folders)
            lines.append(f"| [`{room}`](../{room}/__init__.py) | {read_purpose(ROOT / room)} | {inner} |")
    return "\n".join(lines)


def main() -> int:
    """Rewrites or checks; the exit code."""
    floors = list_floors()
    graph = reduce_graph(read_graph([room for floor in floors for room in floor]))
    parts = {"drawing": draw(floors, graph), "doors": list_doors(floors)}
    return write_or_check({PAGE: fill(PAGE.read_text(), parts, PAGE.name)})


if __name__ == "__main__":
    sys.exit(main())
