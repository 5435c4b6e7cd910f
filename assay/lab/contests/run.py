"""A contest from its contestants to its ranking: answers are drawn, compared, judged and written.

Earlier answers and judgements are read from the folder. The environment's scorer decides first. A
judge is asked only about answers that the scorer rates alike, and its verdicts go into a separate
ranking.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from assay.environments.base import Environment, Problem
from assay.inference.checkpoint import Checkpoint
from assay.lab.contests.answers import ScoredAnswer, draw_answers, make_problems
from assay.lab.contests.chat_judge import ChatJudge, JudgeOutcome, ShownPair
from assay.lab.contests.folder import ContestError, ContestFolder
from assay.lab.contests.judged_pairs import JudgeTally, judge_pairs
from assay.lab.contests.preference_pairs import Preference, PreferenceWriter, remove_preferences
from assay.lab.contests.ranking import PairTally
from assay.network.files import hold_folder

Say = Callable[[str], None]
#: Folder within a contest's folder for the judge's preferences, without the scorer's.
JUDGE_PAIRS = "judge-pairs"
_VALUES = {JudgeOutcome.FIRST: 1, JudgeOutcome.SECOND: -1}


@dataclass(frozen=True, slots=True)
class Contestant:
    """A participant: a name for people, a checkpoint's folder and its digest."""

    name: str
    folder: Path
    digest: bytes


@dataclass(slots=True)
class PlayedContest:
    """The result of a contest.

    Attributes:
        solved: number of solved problems, by contestant's place.
        by_scorer: every two places → the scorer's tally alone.
        by_both: the same with a judge's verdicts where the scorer sees no difference.
        judge: the judge's tally; None: there was none.
        preferences: number of written pairs.
        judge_pairs: of these, pairs that the judge decided, which are also written separately.
    """

    solved: list[int]
    by_scorer: dict[tuple[int, int], PairTally]
    by_both: dict[tuple[int, int], PairTally]
    judge: JudgeTally | None
    preferences: int = 0
    judge_pairs: int = 0


@dataclass(slots=True)
class _Block:
    """Some problems, and all contestants' answers."""

    numbers: range
    problems: Sequence[Problem]
    answers: Sequence[Sequence[ScoredAnswer]]  # by place
    preferences: list[Preference] = field(default_factory=list)


def play_contest(
    contestants: Sequence[Contestant],
    environment: Environment,
    folder: ContestFolder,
    load: Callable[[Path, bytes], Checkpoint],
    judge: ChatJudge | None,
    say: Say,
    judge_pairs: bool = False,
) -> PlayedContest:
    """Play a contest to its end, from the start or from where it was stopped.

    Args:
        load: opens a checkpoint's folder of that digest; called once for each contestant that has
            yet to answer, and only one is held at a time.
        say: called with the progress.
        judge_pairs: also write the judge's pairs separately; False: an earlier call's pairs
            are deleted.

    Raises:
        ContestError: another program plays in this folder, or a file of it is damaged.
        OperatorError: a checkpoint cannot be loaded or run.
    """
    with hold_folder(folder.path) as ours:
        if not ours:
            raise ContestError(f"{folder.path} is in use: another contest is played there")
        for place, contestant in enumerate(contestants):
            _answer(place, contestant, environment, folder, load, say)
        if not judge_pairs:
            remove_preferences(folder.path / JUDGE_PAIRS)
        return _compare(contestants, environment, folder, judge, say, judge_pairs)


def _answer(
    place: int,
    contestant: Contestant,
    environment: Environment,
    folder: ContestFolder,
    load: Callable[[Path, bytes], Checkpoint],
    say: Say,
) -> None:
    missing = [block for block in folder.blocks if not folder.has_answers(place, block)]
    checkpoint = load(contestant.folder, contestant.digest) if missing else None
    for block in missing:
        assert checkpoint is not None
        answers = draw_answers(checkpoint, environment, folder.rules, block)
        folder.write_answers(place, block, answers)
        say(f"{contestant.name}: {block.stop:,} of {folder.rules.problems:,} problems answered")


def _compare(
    contestants: Sequence[Contestant],
    environment: Environment,
    folder: ContestFolder,
    judge: ChatJudge | None,
    say: Say,
    judge_pairs: bool,
) -> PlayedContest:
    places = range(len(contestants))
    pairs = list(combinations(places, 2))
    played = PlayedContest(
        [0 for _ in places],
        {pair: PairTally() for pair in pairs},
        {pair: PairTally() for pair in pairs},
        None if judge is None else JudgeTally(),
    )
    about = f"Problems of `{environment.name}`, {len(contestants)} contestants."
    with ExitStack() as stack:
        writer = stack.enter_context(PreferenceWriter(folder.path, about))
        apart = None
        if judge_pairs:
            apart = PreferenceWriter(folder.path / JUDGE_PAIRS, f"{about} A judge decided all.")
            stack.enter_context(apart)
        for numbers in folder.blocks:
            problems, _ = make_problems(environment, folder.rules, numbers)
            answers = [folder.read_answers(place, numbers) for place in places]
            block = _Block(numbers, problems, answers)
            for place in places:
                played.solved[place] += sum(answer.solved for answer in answers[place])
            for pair in pairs:
                _compare_pair(pair, block, contestants, folder, judge, played)
            writer.write(block.preferences)
            if apart is not None and judge is not None:
                apart.write([one for one in block.preferences if one.decided_by == judge.model])
            if judge is not None and played.judge is not None:
                say(_describe(judge, played.judge, numbers.stop, folder.rules.problems))
        played.preferences = writer.rows
        played.judge_pairs = 0 if apart is None else apart.rows
    return played


def _compare_pair(
    pair: tuple[int, int],
    block: _Block,
    contestants: Sequence[Contestant],
    folder: ContestFolder,
    judge: ChatJudge | None,
    played: PlayedContest,
) -> None:
    """Count a pair's outcomes in a block, and keep the preferences."""
    ours, theirs = (block.answers[place] for place in pair)
    signs = [one.solved - other.solved for one, other in zip(ours, theirs, strict=True)]
    judged: dict[int, JudgeOutcome] = {}
    if judge is not None and played.judge is not None:
        judged = _judge_pair(pair, block, signs, folder, judge, played.judge)
    for index, number in enumerate(block.numbers):
        sign, decided_by = signs[index], "scorer"
        played.by_scorer[pair].count(sign)
        if number in judged and judge is not None:
            sign, decided_by = _VALUES.get(judged[number], 0), judge.model
        played.by_both[pair].count(sign)
        if sign:
            chosen, rejected = pair if sign > 0 else pair[::-1]
            problem = block.problems[index]
            block.preferences.append(
                Preference(
                    problem.prompt,
                    block.answers[chosen][index].text,
                    block.answers[rejected][index].text,
                    decided_by,
                    number,
                    problem.level,
                    contestants[chosen].digest.hex(),
                    contestants[rejected].digest.hex(),
                )
            )


def _judge_pair(
    pair: tuple[int, int],
    block: _Block,
    signs: Sequence[int],
    folder: ContestFolder,
    judge: ChatJudge,
    tally: JudgeTally,
) -> dict[int, JudgeOutcome]:
    """Outcomes of a block's problems on which the scorer rates the two alike. A judge's verdicts
    are kept even if this is interrupted."""
    who = f"{judge.url} {judge.model}"
    known = folder.read_outcomes(who, pair, block.numbers)
    outcomes: dict[int, JudgeOutcome] = {}
    open_pairs: dict[int, ShownPair] = {}
    for number, texts in _show(pair, block, signs):
        tally.count_addressing(texts, pair)
        outcome = texts.decide_unasked() or known.get(number)
        if outcome is None:
            open_pairs[number] = texts
        else:
            outcomes[number] = outcome
    if tally.has_given_up:
        tally.left_out += len(open_pairs)
    elif open_pairs:
        try:
            for number, outcome in judge_pairs(judge, open_pairs, tally):
                outcomes[number] = known[number] = outcome
        finally:
            folder.write_outcomes(who, pair, block.numbers, known)
    tally.outcomes.update(outcomes.values())
    return outcomes


def _show(
    pair: tuple[int, int], block: _Block, signs: Sequence[int]
) -> Iterator[tuple[int, ShownPair]]:
    first, second = pair
    for index, number in enumerate(block.numbers):
        if not signs[index]:
            texts = (block.answers[place][index].text for place in (first, second))
            yield number, ShownPair(block.problems[index].prompt, *texts)


def _describe(judge: ChatJudge, tally: JudgeTally, done: int, problems: int) -> str:
    failed = sum(tally.faults.values())
    text = f"judge {judge.model}: {done:,} of {problems:,} problems, {tally.asked:,} pairs asked"
    if failed:
        text += f", {failed:,} without a verdict ({tally.last_fault})"
    return f"{text}; it is not asked any more" if tally.has_given_up else text
