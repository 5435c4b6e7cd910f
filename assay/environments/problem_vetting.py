"""Vetting of a file of problems: whether it is fit to pay by, tried before a network names it.

The environment of the file asks some of its problems. Right answers must earn, and what takes no
thought must not: a hedge, an answer to every problem alike, a guess. Whether a file's own answers
are right, nobody here can know.
"""

from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Protocol, cast

from assay.environments.base import Environment, Problem
from assay.environments.foreign.thoughts import check_thoughts, write_thought
from assay.environments.foreign.vet_report import CONSTANTS, PROBLEMS, SHARE, VetCheck, VetReport
from assay.environments.gsm import Task
from assay.environments.letters_file import LettersTask
from assay.environments.levels import STAYING
from assay.environments.math_file import MathTask
from assay.environments.plain_form import write_plainly
from assay.environments.problem_file import add_problem_files, describe_skipped
from assay.environments.problem_look import look_at_file
from assay.environments.problem_report import Look
from assay.environments.programs.code_file import CodeRow
from assay.environments.registry import KINDS, list_files
from assay.environments.scoring import score_all
from assay.environments.search.search_file import SearchFile, SearchTask
from assay.environments.text_file import TextTask
from assay.environments.thoughtless import ThoughtlessAnswer, choose_levels, measure_thoughtless
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import MILLION
from assay.protocol.reward_terms import say_share

#: Right answers that are given to every problem.
_CONSTANTS_MAX = 20


class _FileEnvironment(Environment, Protocol):
    """The environment of a file."""

    def write_answer(self, answer: str) -> str:
        """A completion of an answer alone."""

    def read_answer(self, completion: str) -> str | None:
        """The answer of a completion, or None."""


def vet_problem_file(file: Path, family: str | None = None) -> VetReport:
    """Vet the problems of `file`, as an environment of `family` asks them; None: of the one that
    the file shows. Raises ProblemFileError if it cannot be read, or if this machine lacks what its
    environment needs."""
    look, _ = look_at_file(file, family=family)
    rows = VetCheck("rows", look.is_usable, _describe_rows(look))
    if not rows.passed:
        return VetReport(str(file), (rows,))
    family, _, digest = look.environment.partition(":")
    if (require := KINDS[family].require) is not None:
        require()
    add_problem_files([file])
    try:
        environment = list_files()[family].make(digest, {})
    except ValueError as error:
        return VetReport(look.environment, (rows, VetCheck("opens", False, str(error))))
    examined = _examine(cast(_FileEnvironment, environment))
    return VetReport(look.environment, (rows, *examined))


def _describe_rows(look: Look) -> str:
    summary = f"{look.asked:,} of {look.rows:,} are asked"
    if look.left_out:
        summary += f"; filtered out: {describe_skipped(look.left_out)}"
    if look.damaged:
        fault, numbers = next(iter(look.damaged.items()))
        summary += f"; refused for row {numbers[0]}: {fault}"
    if look.is_renamed or look.is_thinned:
        summary += (
            "; `assay env look FILE --write NEW.jsonl` writes them so that a network reads them"
        )
    return summary


def _examine(environment: _FileEnvironment) -> Iterator[VetCheck]:
    asked = [
        _make(environment, level, number)
        for level in environment.levels
        for number in range(PROBLEMS)
    ]
    solved = [(problem, rights) for problem in asked if (rights := list_rights(problem))]
    rights = [environment.write_answer(answers[0]) for _, answers in solved]
    if solved:
        yield _try_rights(environment, solved)
        yield _try_thoughts(environment, solved)
    if rights and not isinstance(asked[0].answer, CodeRow):  # two programs are one
        yield _try_hedges(environment, asked)
    yield _try_constants(environment, list(dict.fromkeys(rights))[:_CONSTANTS_MAX])
    if "satisfaction" in environment.rated:
        best = measure_thoughtless(environment, choose_levels(environment))
        yield _weigh_parts(max(best, key=lambda one: (one.floor, one.satisfaction)))
    if isinstance(environment, SearchFile):
        yield _find_answers(environment, asked)
    if isinstance(asked[0].answer, LettersTask):
        yield _compute_guess([problem.answer for problem in asked])  # type: ignore[misc]


def _make(environment: _FileEnvironment, level: int, number: int) -> Problem:
    seed = hash_fields(Domain.ENVIRONMENT_STREAM, b"vet", b"%d %d" % (level, number))
    return environment.make_problem(seed, [level])


def list_rights(problem: Problem) -> Sequence[str]:
    """Right answers as texts, one of which has to earn; none if the file has none, as of
    instructions and some programs."""
    answer = problem.answer
    if isinstance(answer, CodeRow):
        return answer.solutions
    if isinstance(answer, Task):
        return (str(answer.row.value),)
    if isinstance(answer, MathTask):
        return (answer.text,)
    if isinstance(answer, SearchTask | TextTask):
        return answer.row.answers
    return (answer.letters,) if isinstance(answer, LettersTask) else ()


def _earns(environment: _FileEnvironment, problem: Problem, completion: str) -> bool:
    return environment.score(problem, completion).is_right


def _try_rights(
    environment: _FileEnvironment, solved: Sequence[tuple[Problem, Sequence[str]]]
) -> VetCheck:
    lost = [
        (problem, environment.write_answer(rights[0]))
        for problem, rights in solved
        if not any(_earns(environment, problem, environment.write_answer(one)) for one in rights)
    ]
    detail = f"those of {len(solved)} problems earn"
    if lost:
        detail = f"{lost[0][1][:60]!r} earns nothing: {lost[0][0].prompt[:60]!r}"
    return VetCheck("right answers", not lost, detail)


def _try_thoughts(
    environment: _FileEnvironment, solved: Sequence[tuple[Problem, Sequence[str]]]
) -> VetCheck:
    """What right answers earn behind a thought with the answer to another problem."""
    earned = [
        _earns(environment, problem, write_thought(draft, answer))
        for (problem, rights), (_, others) in zip(solved, [*solved[1:], solved[0]], strict=True)
        for answer, draft in [(environment.write_answer(one[0]) for one in (rights, others))]
        if _earns(environment, problem, answer)
    ]
    return check_thoughts(earned)


def _try_hedges(environment: _FileEnvironment, asked: Sequence[Problem]) -> VetCheck:
    """Whether a right answer earns beside another one, or without the form of answers."""
    tried, earned = 0, list[str]()
    for problem, other in zip(asked, [*asked[1:], asked[0]], strict=True):
        right, wrong = (_choose_right(one) for one in (problem, other))
        written, refused = map(environment.write_answer, (right, wrong))
        texts = ["", problem.prompt]
        if environment.read_answer(right) is None:  # a file may write it in the form of answers
            texts.append(right)
        if right != wrong and not _earns(environment, problem, refused):
            hedges = (f"{right} or {wrong}", f"{wrong} or {right}", f"{wrong}; {right}")
            texts += map(environment.write_answer, hedges)
            texts.append(f"{written}\n{refused}")
        tried += len(texts)
        earned += [text for text in texts if _earns(environment, problem, text)]
    detail = f"{earned[0][:60]!r} earns" if earned else f"none of {tried} adversarial answers earns"
    return VetCheck("hostile answers", not earned, detail)


def _choose_right(problem: Problem) -> str:
    """The first right answer of a problem."""
    return next(iter(list_rights(problem)), "")


def _try_constants(environment: _FileEnvironment, rights: Sequence[str]) -> VetCheck:
    """Whether one answer to every problem of a level earns too often. Levels of fewer problems than
    can tell are tried together."""
    asked = [_list_asked(environment, level) for level in choose_levels(environment)]
    few = [problem for problems in asked if len(problems) < SHARE for problem in problems]
    levels = [problems for problems in asked if len(problems) >= SHARE]
    if few and (len(few) >= SHARE or not levels):
        levels.append(few)
    if len(levels[0]) < SHARE:
        detail = f"its {len(few)} problems are too few to tell: {SHARE} or more are needed"
        return VetCheck("constant answers", False, detail)
    share, detail = max((_try_asked(environment, one, rights) for one in levels), key=_get_share)
    return VetCheck("constant answers", share * SHARE <= MILLION, detail)


def _get_share(tried: tuple[int, str]) -> int:
    return tried[0]


def _list_asked(environment: _FileEnvironment, level: int) -> list[Problem]:
    """Some problems of a level. One counts once, however often it is drawn: a level may have few
    rows."""
    drawn = (_make(environment, level, number) for number in range(CONSTANTS))
    return list({problem.prompt: problem for problem in drawn}.values())


def _try_asked(
    environment: _FileEnvironment, asked: Sequence[Problem], rights: Sequence[str]
) -> tuple[int, str]:
    """The share of these problems that the best of such answers solves, millionths, and that as
    text."""
    thoughtless = [environment.list_thoughtless(problem) for problem in asked]
    answers = [[right] * len(asked) for right in rights]
    answers += [list(column) for column in zip(*thoughtless, strict=False)]
    best, text = 0, ""
    for column in answers:
        scores = score_all(environment, list(zip(asked, column, strict=True)))
        solved = sum(score.is_right for score in scores)
        best, text = max((best, text), (solved, column[0]))
    levels = ", ".join(map(str, sorted({problem.level for problem in asked})))
    level = f"level{'s' * (',' in levels)} {levels}"
    share = MILLION * best // len(asked)
    return share, f"{text[:40]!r} solves {best} of {len(asked)} problems of {level}"


def _weigh_parts(best: ThoughtlessAnswer) -> VetCheck:
    """What the parts are worth that an answer without thought meets: advice, because not every
    network pays for parts."""
    detail = (
        f"{best.sample[:40]!r} meets {say_share(best.satisfaction)} of them at level {best.level}"
    )
    if best.floor == MILLION:
        detail += ": do not pay for parts"
    elif best.floor:
        detail += f": where parts pay, satisfaction_floor = {best.floor} keeps that from it"
    return VetCheck("parts", True, detail)


def _find_answers(environment: SearchFile, asked: Sequence[Problem]) -> VetCheck:
    """Whether most questions have an answer that stands in a document: the others teach a model to
    answer without a search."""
    texts = "\n".join(f" {write_plainly(document.whole)} " for document in environment.documents)
    found = sum(any(f" {answer} " in texts for answer in list_rights(problem)) for problem in asked)
    detail = f"{found} of {len(asked)} problems have one that stands in a document"
    return VetCheck("answers in documents", 2 * found > len(asked), detail)


def _compute_guess(tasks: Sequence[LettersTask]) -> VetCheck:
    """Whether a model that guesses would look like one that learns: two guesses of a problem differ
    as often as two tries of a level that stays in force."""
    least = min(prod(len(one.choices) for one in task.asked) for task in tasks)
    differ = 2 * (least - 1) * 1_000 // least**2
    detail = f"a guess is right once in {least}; two differ in {differ / 10:g} % of the problems"
    detail += f", {STAYING / 10:g} % look like learning: raise `odds` if it is more"
    return VetCheck("guesses", differ < STAYING, detail)
