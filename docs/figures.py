"""Writes figures.md from bench/results: everything that was measured, with machine, date, command.

python docs/figures.py          # rewrites it
python docs/figures.py --check  # exit 1 if it differs
"""

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

from page_parts import fill, write_or_check

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_name("figures.md")
RESULTS = ROOT / "bench" / "results"
#: Every file of results is in one of these.
THEMES = {
    "Judging": (
        "verify audit memory detection false_positives sketch drift record_audit "
        "submissions stores appeals contexts families two_readings real_model"
    ),
    "Mining": "sampling draw_bytes honest honest_episodes follow episodes engine real_engine real_honest draft_precision speculation draft_attention pay",
    "Learning": (
        "learning stale_rollouts demo_episodes tool_use collapses small_pool evidence registered_run public_run real_warm_start real_demo step step_memory optimizers team trace operators "
        "gate_courses gate_pairs theses checkpoints adapters outer_bytes outer_success dishonest_trainer swarm pipeline rounds"
    ),
    "Problems": "environments tools programs pieces scoring sandbox math_answers suite_scores",
    "The whole": "localnet quotes soak explorer rollouts files folders",
    "Chain and contracts": "chain devnet clients contracts",
    "On a GPU": "gpu-card_rows gpu-draw_bytes gpu-drift gpu-gpu gpu-cards gpu-card_shapes gpu-families gpu-card_run",
}
_SMALL, _LARGE = 1e-3, 1_000


def show_number(value: float) -> str:
    """Three digits that count, or all of a whole number."""
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    if abs(value) < _SMALL:
        return f"{value:.1e}".replace("e-0", "e-")
    if abs(value) >= _LARGE:
        digits = len(str(int(abs(value)))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"


def show_value(value: float, unit: str) -> str:
    if unit in ("share", "%"):
        percent = 100 * value if unit == "share" else value
        return f"{show_number(percent)} %"
    if unit.startswith("/"):
        return f"{show_number(value)} a {'second' if unit == '/s' else unit[1:]}"
    return f"{show_number(value)} {unit}".rstrip()


def show_row(figure: dict[str, Any]) -> str:
    unit, beside, kept = figure["unit"], figure["baseline"], ""
    if figure["baseline_value"] is not None:
        beside = f"{beside}: {show_value(figure['baseline_value'], unit)}"
    ratio = "" if figure["ratio"] is None else show_number(figure["ratio"])
    for key, words, of in (
        ("ratio_bound", "ratio at most", ""),
        ("bound", "at most", unit),
        ("least", "at least", unit),
    ):
        if figure.get(key) is not None:
            kept = f"{words} {show_value(figure[key], of)}" + (
                "" if figure["kept"] else ", **not reached**"
            )
    name = figure["name"].strip().replace("|", "\\|")
    return f"| {name} | {show_value(figure['value'], unit)} | {beside} | {ratio} | {kept} |"


def make_section(name: str) -> str:
    document = json.loads((RESULTS / f"{name}.json").read_text())
    script = ROOT / "bench" / f"{name.removeprefix('gpu-')}.py"
    doc = ast.get_docstring(ast.parse(script.read_text())) or ""
    machine = document["machine"]
    threads = "one thread" if machine["threads"] == "1" else f"{machine['threads']} threads"
    where = [machine["cpu"], *([machine["card"]] if "card" in machine else []), threads]
    title = document["title"]
    if not title[1:2].isupper():  # as vLLM's is
        title = title[:1].upper() + title[1:]
    lines = [
        f"### {name}",
        "",
        f"{title}. `{document['command']}`, {document['date']},",
        f"{', '.join(where)}, Python {machine['python']}, torch {machine['torch']}.",
        "",
        " ".join(doc.split("\n\n")[0].split()),
        "",
        "| figure | value | baseline | ratio | target |",
        "|---|---|---|---|---|",
        *map(show_row, document["figures"]),
    ]
    for plot in sorted(RESULTS.glob("*.png")):
        if re.fullmatch(rf"{name}(_\w+)?", plot.stem):
            lines += ["", f"![{name}: curves](../bench/results/{plot.name})"]
    return "\n".join(lines)


def main() -> int:
    there = {path.stem for path in RESULTS.glob("*.json")}
    named = {name for names in THEMES.values() for name in names.split()}
    if there - named:
        sys.exit(f"docs/figures.py has no theme for {', '.join(sorted(there - named))}")
    parts = []
    for theme, names in THEMES.items():
        sections = [make_section(name) for name in names.split() if name in there]
        parts += [f"## {theme}", *sections] if sections else []
    return write_or_check(
        {PAGE: fill(PAGE.read_text(), {"figures": "\n\n".join(parts)}, PAGE.name)}
    )


if __name__ == "__main__":
    sys.exit(main())
