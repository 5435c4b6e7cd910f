"""Writes the table of localnet.md: which flows of other people's clients work, from bench/results.

python docs/clients.py          # rewrites it
python docs/clients.py --check  # exit 1 if it differs
"""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from page_parts import fill, write_or_check

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_name("localnet.md")
RESULT = ROOT / "bench" / "results" / "clients.json"
#: Why flows do not work on the real runtime.
REASONS = ROOT / "tests" / "integration" / "chain" / "clients" / "spec_293.toml"

Flow = tuple[str, str]


def read_runs() -> dict[str, dict[Flow, str]]:
    """Chain → client and flow → the client's words, none where it works."""
    flows: dict[str, list[dict[str, Any]]] = json.loads(RESULT.read_text())["flows"]
    return {
        kind: {(row["client"], row["flow"]): row["words"] for row in rows}
        for kind, rows in flows.items()
    }


def show(words: str, why: str = "") -> str:
    said = words.replace("|", "\\|").replace("`", "'")
    return f"`{said}`{why and ': ' + why}" if words else "works"


def make_table() -> str:
    runs = read_runs()
    if set(runs) != {"simulator", "runtime"}:
        sys.exit(f"{RESULT} is of {', '.join(runs)}: run bench/clients.py with ASSAY_SUBTENSOR_DIR")
    rows = tomllib.loads(REASONS.read_text())["lacks"]
    known = {(row["client"], row["flow"]): (row["words"], row["why"]) for row in rows}
    lines = ["| client | flow | simulator | real runtime, spec 293 |", "|---|---|---|---|"]
    for name, words in runs["simulator"].items():
        heard, (said, why) = runs["runtime"][name], known.get(name, ("", ""))
        if bool(heard) != bool(said) or said not in heard:
            sys.exit(f"{REASONS} and {RESULT} differ on {' '.join(name)}: {said!r}, {heard!r}")
        lines.append(f"| {' | '.join(name)} | {show(words)} | {show(said, why)} |")
    return "\n".join(lines)


def main() -> int:
    return write_or_check({PAGE: fill(PAGE.read_text(), {"clients": make_table()}, PAGE.name)})


if __name__ == "__main__":
    sys.exit(main())
