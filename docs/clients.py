"""Writes the table of localnet.md: which flows of other people's clients work, from bench/results.

python docs/clients.py          # rewrites it
python docs/clients.py --check  # exit 1 if it differs
"""

import json
import sys
from pathlib import Path
from typing import Any

from page_parts import fill, write_or_check

PAGE = Path(__file__).with_name("localnet.md")
RESULT = Path(__file__).parents[1] / "bench" / "results" / "clients.json"
COLUMNS = ("simulator", "runtime")


def show_state(row: dict[str, Any] | None) -> str:
    if row is None:
        return "not tried"
    words = str(row["words"]).replace("|", "\\|").replace("`", "'")
    return "works" if row["works"] else f"`{words}`"


def make_table(flows: dict[str, list[dict[str, Any]]]) -> str:
    found = {kind: {(row["client"], row["flow"]): row for row in rows} for kind, rows in flows.items()}
    names = dict.fromkeys(name for rows in found.values() for name in rows)
    lines = ["| client | flow | simulator | runtime, spec 293 |", "|---|---|---|---|"]
    for name in names:
        states = (show_state(found.get(kind, {}).get(name)) for kind in COLUMNS)
        lines.append(f"| {' | '.join((*name, *states))} |")
    return "\n".join(lines)


def main() -> int:
    table = make_table(json.loads(RESULT.read_text())["flows"])
    return write_or_check({PAGE: fill(PAGE.read_text(), {"clients": table}, PAGE.name)})


if __name__ == "__main__":
    sys.exit(main())
