"""`assay contest`: ranks checkpoints on the same held-out problems, and writes preferences."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from assay.cli.console import FIGURES, make_out_folder, make_table, print_result
from assay.cli.exits import FINDING, OK
from assay.cli.saying import choose_say
from assay.environments import Environment, Success
from assay.inference import load_checkpoint, load_outline
from assay.lab.contests.answers import ContestRules
from assay.lab.contests.chat_judge import ChatJudge
from assay.lab.contests.folder import ContestFolder
from assay.lab.contests.ranking import PairTally, compare_pairs, rank
from assay.lab.contests.run import JUDGE_PAIRS, Contestant, PlayedContest, play_contest
from assay.network.files import write_json
from assay.settings.loading import ConfigError, open_named_environment
from assay.settings.placing import open_placement
from assay.settings.sections import JudgeSettings, Settings

#: Most participants: the number of pairs grows with the square.
_CONTESTANTS_MAX = 32
_RANKING = "ranking.json"


def run_contest(
    settings: Settings,
    folders: list[Path],
    env: str,
    problems: int,
    seed: int,
    levels: list[int] | None,
    temperature: float,
    out: Path,
    judge_pairs: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Play a contest, write and print its ranking. Return 1 if a judge's verdicts are missing."""
    if not 2 <= len(folders) <= _CONTESTANTS_MAX:
        raise ConfigError(f"name 2 to {_CONTESTANTS_MAX} checkpoints, not {len(folders)}")
    if judge_pairs and settings.judge.url is None:
        raise ConfigError("--judge-pairs writes a judge's preferences: also give --judge URL")
    environment = open_named_environment(env)
    if environment.turns > 1:
        raise ConfigError(
            f"a contest's answers have one turn, and {environment.name} replies between turns: "
            "name an environment of one turn, which `assay env show` tells"
        )
    outlines = [load_outline(folder) for folder in folders]
    names = _name_all(folders)
    contestants = [
        Contestant(name, folder, outline.manifest.digest)
        for name, folder, outline in zip(names, folders, outlines, strict=True)
    ]
    in_force = {level for outline in outlines for level in outline.manifest.level_numbers}
    rules = ContestRules(
        _choose_levels(environment, levels, in_force), round(1_024 * temperature), seed, problems
    )
    placement = open_placement(settings.compute)
    judge = _open_judge(settings.judge)
    make_out_folder(out)
    folder = ContestFolder(out, rules, environment.digest, [one.digest for one in contestants])
    try:
        played = play_contest(
            contestants,
            environment,
            folder,
            lambda path, digest: load_checkpoint(path, digest, placement),
            judge,
            choose_say(quiet),
            judge_pairs,
        )
    finally:
        if judge is not None:
            judge.close()
    document = _describe(environment, rules, contestants, played, judge)
    write_json(out / _RANKING, document)
    printed = document | {"out": str(out)}
    lines = _render(document, out)
    if judge_pairs:
        printed["judge_pairs"] = played.judge_pairs
        lines.renderables.append(
            Text(f"{played.judge_pairs:,} of them, the judge's, are in {out / JUDGE_PAIRS} too")
        )
    print_result(printed, as_json, lines, FIGURES)
    return OK if played.judge is None or played.judge.is_whole else FINDING


def _name_all(folders: Sequence[Path]) -> list[str]:
    """A name for each: its folder's, numbered if several have the same."""
    names = [_make_printable(folder.resolve().name) for folder in folders]
    counts, seen = Counter(names), Counter[str]()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(f"{name}#{seen[name]}" if counts[name] > 1 else name)
    return unique


def _choose_levels(
    environment: Environment, asked: Sequence[int] | None, in_force: set[int]
) -> tuple[int, ...]:
    legal = list(environment.levels)
    if asked:
        if illegal := sorted(set(asked) - set(legal)):
            raise ConfigError(f"--level {illegal[0]} is not a level of {environment.name}")
        return tuple(sorted(set(asked)))
    return tuple(sorted(in_force & set(legal)) or legal)


def _open_judge(settings: JudgeSettings) -> ChatJudge | None:
    if settings.url is None:
        return None
    return ChatJudge(settings.url, settings.model, settings.key, settings.seconds)


def _describe(
    environment: Environment,
    rules: ContestRules,
    contestants: Sequence[Contestant],
    played: PlayedContest,
    judge: ChatJudge | None,
) -> dict[str, Any]:
    """The document of ranking.json. It has no times and no paths, so it is always the same."""
    document: dict[str, Any] = {
        "environment": environment.name,
        "digest": environment.digest.hex(),
        "levels": list(rules.levels),
        "temperature": rules.temperature / 1_024,
        "seed": rules.seed,
        "problems": rules.problems,
        "by_scorer": _describe_ranking(contestants, played.by_scorer, played.solved, rules),
        "preferences": played.preferences,
    }
    tally = played.judge
    if judge is not None and tally is not None:
        document["by_scorer_and_judge"] = _describe_ranking(
            contestants, played.by_both, played.solved, rules
        )
        document["judge"] = {
            "url": judge.url,
            "model": judge.model,
            "outcomes": {kind.value: n for kind, n in sorted(tally.outcomes.items())},
            "without_verdict": {kind.name.lower(): n for kind, n in tally.faults.items()},
            "left_out": tally.left_out,
            "told": tally.last_fault,
            "addressing": {
                contestants[place].name: n for place, n in sorted(tally.addressing.items()) if n
            },
        }
    return document


def _describe_ranking(
    contestants: Sequence[Contestant],
    tallies: Mapping[tuple[int, int], PairTally],
    solved: Sequence[int],
    rules: ContestRules,
) -> dict[str, Any]:
    results = compare_pairs(tallies)
    compared = rules.problems * (len(contestants) - 1)
    ranking = []
    for one in rank(results, len(contestants)):
        success = Success(solved[one.place], rules.problems)
        ranking.append(
            {
                "name": contestants[one.place].name,
                "checkpoint": contestants[one.place].digest.hex(),
                "rank": [one.best, one.worst],
                "points": round(one.halves / 2 / compared, 4),
                "solved": success.solved,
                "solved_interval95": [round(bound, 4) for bound in success.interval],
            }
        )
    pairs = [
        {
            "first": contestants[result.first].name,
            "second": contestants[result.second].name,
            "first_better": result.tally.wins,
            "second_better": result.tally.losses,
            "alike": result.tally.ties,
            "p": float(f"{float(result.alone):.6g}"),
            "p_corrected": float(f"{float(result.adjusted):.6g}"),
            "winner": None if result.winner is None else contestants[result.winner].name,
        }
        for result in results
    ]
    return {"ranking": ranking, "pairs": pairs}


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
    parts.append(Text(f"{document['preferences']:,} preferences and {_RANKING} are in {out}"))
    return Group(*parts)


def _render_ranking(ranking: Mapping[str, Any], title: str, problems: int) -> list[Any]:
    table = make_table("rank", title, "solved", "95 %", "points", left={title})
    for row in ranking["ranking"]:
        best, worst = row["rank"]
        low, high = row["solved_interval95"]
        table.add_row(
            f"{best}" if best == worst else f"{best}–{worst}",
            Text(row["name"]),
            f"{row['solved']:,}",
            f"{100 * low:.1f}–{100 * high:.1f} %",
            f"{row['points']:.3f}",
        )
    lines = [
        f"{pair['first']} : {pair['second']}  "
        f"{pair['first_better']:,} : {pair['second_better']:,}, {pair['alike']:,} alike, "
        f"p = {pair['p_corrected']:.2g}: "
        + (f"{pair['winner']} is better" if pair["winner"] else "no winner")
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
        f"! {n:,} answers of {name} address the judge, and were not shown"
        for name, n in judge["addressing"].items()
    ]
    return "\n".join(lines) + "\n"


def _make_printable(text: str) -> str:
    """Make a name printable, so that it cannot steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)
