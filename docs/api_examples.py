"""Writes the examples of the explorer's API, from a demo that was played here.

python docs/api_examples.py [DEMO]   # assay-demo

Lists keep their first two rows. A rollout is the one that the first refused miner was refused for.
For the gauntlet's example, run `assay gauntlet --fast --groups 2 --out DEMO` before; for the
validators', `python -m tests.explorer.compared DEMO/comparison.json`.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from pictures import ask, serve

from assay.explorer.openapi import make_api_path
from assay.explorer.page_addresses import PAGES

FILE = Path(__file__).parents[1] / "assay" / "explorer" / "api_examples.json"
#: Rows of a list, and characters of a text, that an example keeps.
ROWS, TEXT = 2, 400


def cut(value: Any) -> Any:
    """The same with short lists."""
    if isinstance(value, dict):
        return {name: cut(one) for name, one in value.items()}
    if isinstance(value, list):
        return [cut(one) for one in value[:ROWS]]
    return value[:TEXT] if isinstance(value, str) else value


def choose(address: str, demo: Path) -> dict[str, Any]:
    """What stands for the parts of an address."""
    summary = json.loads((demo / "summary.json").read_text())
    while ask(address, "/windows")["paging"]["count"] < len(summary["windows"]):
        time.sleep(0.5)
    while not ask(address, "/rollouts")["sources"]["done"]:
        time.sleep(0.5)
    window = summary["windows"][1]
    refused = next(v for v in window["verdicts"] if v["reason"] == "SAMPLING_MISMATCH")
    values = {
        "window": window["window"],
        "hotkey": refused["hotkey"],
        "epoch": summary["settlements"][0]["epoch_block"],
    }
    place = ask(address, f"/window/{values['window']}/{values['hotkey']}")["place"]
    return values | {name: place[name] for name in ("group", "rollout")}


def main(demo: Path) -> None:
    examples = {}
    with serve(demo) as address:
        values = choose(address, demo)
        for path in PAGES:
            stem = "/index" if path == "/" else path.format(**values)
            document = ask(address, stem)
            used = {name: value for name, value in values.items() if f"{{{name}}}" in path}
            examples[path] = {"parameters": used, "document": cut(document)}
    FILE.write_text(json.dumps(examples, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "assay-demo"))
