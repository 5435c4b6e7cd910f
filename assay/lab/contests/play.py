"""A contest from folders of checkpoints to its ranking, as a document.

result = play(ContestRequest([one, other], "sat", out=folder), print)
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assay.environments.base import Environment
from assay.environments.levels import Success
from assay.inference.checkpoint import load_checkpoint, load_outline
from assay.lab.contests.answers import ContestRules
from assay.lab.contests.chat_judge import ChatJudge
from assay.lab.contests.folder import ContestFolder
from assay.lab.contests.ranking import PairTally, compare_pairs, rank
from assay.lab.contests.run import Contestant, PlayedContest, Say, play_contest
from assay.network.files import write_json
from assay.settings.loading import ConfigError, make_out_folder, open_named_environment
from assay.settings.placing import open_placement
from assay.settings.sections import ComputeSettings, JudgeSettings

#: Most participants: the number of pairs grows with the square.
_CONTESTANTS_MAX = 32
RANKING_FILE = "ranking.json"


@dataclass(frozen=True, slots=True)
class ContestRequest:
    """Who plays, at what, and where it is written.

    Attributes:
        folders: of two or more checkpoints.
        environment: by name, with settings that differ from its defaults, of one turn.
        problems: their number, the same for all.
        seed: of problems and noise.
        levels: of problems; none: those that a checkpoint has in force.
        temperature: of sampling.
        out: folder for answers, ranking and preferences; a stopped contest continues there.
        judge: asked about answers with equal scores, if it has a URL.
        judge_pairs: also write the judge's preferences separately.
        compute: where the checkpoints run.
    """

    folders: Sequence[Path]
    environment: str
    problems: int = 500
    seed: int = 0
    levels: Sequence[int] = ()
    temperature: float = 1.0
    out: Path = Path("assay-contest")
    judge: JudgeSettings = field(default_factory=JudgeSettings)
    judge_pairs: bool = False
    compute: ComputeSettings = field(default_factory=ComputeSettings)


@dataclass(frozen=True, slots=True)
class ContestResult:
    """What a contest came to.

    Attributes:
        ranking: the document of ranking.json.
        judge_pairs: preferences that the judge decided; None: not written separately.
        is_whole: every pair that the judge should decide has a verdict.
    """

    ranking: dict[str, Any]
    judge_pairs: int | None
    is_whole: bool


def play(request: ContestRequest, say: Say) -> ContestResult:
    """Play a contest, and write its ranking and preferences.

    Args:
        say: called with the progress.

    Raises:
        ConfigError: the request cannot be played.
        ContestError: another program plays in this folder, or a file of it is damaged.
        CheckpointError: a checkpoint cannot be loaded or run.
    """
    folders, out = request.folders, request.out
    if not 2 <= len(folders) <= _CONTESTANTS_MAX:
        raise ConfigError(f"name 2 to {_CONTESTANTS_MAX} checkpoints, not {len(folders)}")
    if request.judge_pairs and request.judge.url is None:
        raise ConfigError("--judge-pairs writes a judge's preferences: also give --judge URL")
    environment = open_named_environment(request.environment)
    if environment.turns > 1:
        raise ConfigError(
            f"a contest's answers have one turn, and {environment.name} replies between turns: "
            "name an environment of one turn, which `assay env show` tells"
        )
    outlines = [load_outline(folder) for folder in folders]
    contestants = [
        Contestant(name, folder, outline.manifest.digest)
        for name, folder, outline in zip(_name_all(folders), folders, outlines, strict=True)
    ]
    in_force = {level for outline in outlines for level in outline.manifest.level_numbers}
    rules = ContestRules(
        _choose_levels(environment, request.levels, in_force),
        round(1_024 * request.temperature),
        request.seed,
        request.problems,
    )
    placement = open_placement(request.compute)
    judge = _open_judge(request.judge)
    make_out_folder(out)
    folder = ContestFolder(out, rules, environment.digest, [one.digest for one in contestants])
    try:
        played = play_contest(
            contestants,
            environment,
            folder,
            lambda path, digest: load_checkpoint(path, digest, placement),
            judge,
            say,
            request.judge_pairs,
        )
    finally:
        if judge is not None:
            judge.close()
    ranking = _describe(environment, rules, contestants, played, judge)
    write_json(out / RANKING_FILE, ranking)
    return ContestResult(
        ranking,
        played.judge_pairs if request.judge_pairs else None,
        played.judge is None or played.judge.is_whole,
    )


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
    environment: Environment, asked: Sequence[int], in_force: set[int]
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


def _make_printable(text: str) -> str:
    """Make a name printable, so that it cannot steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)
