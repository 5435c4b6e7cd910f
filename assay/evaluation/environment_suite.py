"""A suite of an environment's problems, asked and scored as a network does.

Its problems are the first held-out ones, which no miner is asked and every trainer measures: so two
models, and a model at two times, meet the same.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from assay.environments.answer_form import FormedEnvironment
from assay.environments.base import Conversation, Environment, Problem
from assay.environments.listing import complete_name
from assay.environments.registry import make_environment, parse_choice
from assay.evaluation.conventions import Convention, Scorer, SuiteRow
from assay.evaluation.statistics import Outcome
from assay.evaluation.suite import EvaluationError, Suite
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import Prompts

_LEVEL = re.compile(r"\s*level\s*=\s*([0-9]{1,9})\s*")
#: Held-out problems that are drawn for each that is asked: foreign code may make none of a number.
_DRAWN = 8
#: What all right answers have in common, however they are written.
_RIGHT = "right"


@dataclass(frozen=True, slots=True)
class EnvironmentConvention(Convention):
    """The way in which an environment asks and scores."""

    def put(
        self,
        row: SuiteRow,
        shots: Sequence[SuiteRow] = (),
        prompts: Prompts | None = None,
        *,
        bos: bool = False,
        plain: bool = False,
    ) -> Conversation:
        """What a model is asked, see `Problem.conversation`. There are no examples and no words."""
        asked = _get_problem(row).conversation
        return replace(asked, bos=asked.bos or bos, plain=asked.plain or plain)


def read_environment_suite(text: str, problems: int) -> Suite:
    """The first held-out problems of an environment.

    Args:
        text: its name and settings, and the levels to ask, such as `gsm,level=4,level=5`; without
            levels all are asked.
        problems: how many, 1 or more.

    Raises:
        EvaluationError: there is no such environment or level, or its world replies between turns.
    """
    name, *parts = text.split(",")
    chosen = [(part, _LEVEL.fullmatch(part)) for part in parts]
    named = ",".join([name, *(part for part, match in chosen if match is None)])
    asked = {int(match[1]) for _, match in chosen if match is not None}
    try:
        environment = make_environment(*parse_choice(complete_name(named)))
    except ValueError as error:
        raise EvaluationError(f"--environment {text}: {error}") from None
    levels = sorted(asked) or list(environment.levels)
    if illegal := asked - {*environment.levels}:
        legal = ", ".join(map(str, environment.levels))
        raise EvaluationError(f"--environment {text}: level {min(illegal)} is none of {legal}")
    if environment.turns > 1:
        raise EvaluationError(
            f"--environment {text}: it replies between turns, and a suite is asked in one: a "
            "trainer's held-out problems are episodes, and `assay status` shows their success"
        )
    rows = _draw_rows(environment, levels, problems)
    shown = ", ".join(map(str, levels))
    convention = EnvironmentConvention(
        "environment",
        environment.name,
        f"the environment's own, of levels {shown}",
        None,
        (),
        (Scorer("environment", "all of the answer is right", _Judge(environment)),),
    )
    return Suite(text, environment.digest, convention, rows, len(rows))


@dataclass(frozen=True, slots=True)
class _Judge:
    """Scores completions. Right answers vote together, and wrong ones by what was read of them."""

    environment: Environment

    def __call__(self, text: str, row: SuiteRow) -> Outcome:
        parts = self.environment.score(_get_problem(row), text)
        if parts.is_right:
            return Outcome(_RIGHT, True)
        if not parts.format:
            return Outcome(None, False)
        asks = self.environment
        if isinstance(asks, FormedEnvironment) and asks.form is not None:
            return Outcome(("wrong", asks.read_answer(text)), False)
        return Outcome(("wrong", text), False)


def _draw_rows(environment: Environment, levels: Sequence[int], problems: int) -> list[SuiteRow]:
    rows: list[SuiteRow] = []
    number = 0
    while len(rows) < problems:
        seed = hash_fields(Domain.HELD_OUT, environment.digest, number.to_bytes(4, "big"))
        problem = environment.make_problem(seed, levels)
        number += 1
        if problem.is_made or number > _DRAWN * problems:
            rows.append(SuiteRow(number, problem.question, "", problem))
    return rows


def _get_problem(row: SuiteRow) -> Problem:
    assert isinstance(row.right, Problem), "its convention asks only an environment's rows"
    return row.right
