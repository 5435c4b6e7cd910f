"""What `assay contest` prints."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from assay.cli.console import FIGURES, make_table, print_result
from assay.lab.contests.play import RANKING_FILE, ContestResult
from assay.lab.contests.run import JUDGE_PAIRS

_DIGEST = re.compile("[0-9a-f]{64}")


def show_contest(result: ContestResult, out: Path, as_json: bool) -> None:
    """Show a contest's ranking."""
    document = result.ranking | {"out": str(out)}
    lines = _render(result.ranking, out)
    if result.judge_pairs is not None:
        document["judge_pairs"] = result.judge_pairs
        lines.renderables.append(
            Text(f"{result.judge_pairs:,} of them, the judge's, are in {out / JUDGE_PAIRS} too")
        )
    print_result(document, as_json, lines, FIGURES)


def _render(document: Mapping[str, Any], out: Path) -> Group:
    problems = document["problems"]
    levels = ", ".join(map(str, document["levels"]))
    parts: list[Any] = [
        Text(f"{problems:,} problems of {document['environment']}, levels {levels}")
    ]
    for key, title in (("by_scorer", "by the scorer"), ("by_scorer_and_judge", "with the judge")):
        if key in document:
            parts += _render_ranking(document[key], title, problems)
    if (judge := document.get("judge")) is not None:
        parts.append(Text(_render_judge(judge)))
    parts.append(Text(f"{document['preferences']:,} preferences and {RANKING_FILE} are in {out}"))
    return Group(*parts)


def _shorten(name: str) -> str:
    """A model's name, which may be its checkpoint's digest."""
    return f"{name[:12]}…" if _DIGEST.fullmatch(name) else name


def _render_ranking(ranking: Mapping[str, Any], title: str, problems: int) -> list[Any]:
    table = make_table("rank", title, "solved", "95 %", "points", left={title})
    for row in ranking["ranking"]:
        best, worst = row["rank"]
        low, high = row["solved_interval95"]
        table.add_row(
            f"{best}" if best == worst else f"{best}–{worst}",
            Text(_shorten(row["name"])),
            f"{row['solved']:,}",
            f"{100 * low:.1f}–{100 * high:.1f} %",
            f"{row['points']:.3f}",
        )
    lines = [
        f"{_shorten(pair['first'])} : {_shorten(pair['second'])}  "
        f"{pair['first_better']:,} : {pair['second_better']:,}, {pair['alike']:,} alike, "
        f"p = {pair['p_corrected']:.2g}: "
        + (f"{_shorten(pair['winner'])} is better" if pair["winner"] else "no winner")
        for pair in ranking["pairs"]
    ]
    return [table, Text("\n".join(lines) + "\n")]


def _render_judge(judge: Mapping[str, Any]) -> str:
    outcomes = ", ".join(f"{n:,} {kind}" for kind, n in judge["outcomes"].items()) or "nothing"
    lines = [f"judge {judge['model']}: {outcomes}"]
    if missing := sum(judge["without_verdict"].values()):
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in judge["without_verdict"].items())
        lines.append(f"! {missing:,} pairs have no verdict ({kinds}): {judge['told']}")
    if judge["left_out"]:
        lines.append(f"! {judge['left_out']:,} pairs were not sent to the judge after that")
    if missing or judge["left_out"]:
        lines.append("! they count as ties; the same command asks again")
    lines += [
        f"! {n:,} answers of {_shorten(name)} address the judge, and were not shown"
        for name, n in judge["addressing"].items()
    ]
    return "\n".join(lines) + "\n"
