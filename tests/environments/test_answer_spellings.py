"""Of answers as models write them, nearly all right ones earn, and no wrong one."""

import pytest

from assay.environments.math_file import MathTask, read_right
from assay.environments.math_question import Question
from tests.environments.answer_spellings import draw_spelled

#: Right answers in a hundred that may be refused.
REFUSED = 5


def judge(seed: int, rounds: int) -> tuple[list[tuple[str, ...]], int, list[tuple[str, ...]], int]:
    """The right answers that are refused, of how many, and the wrong ones that are not."""
    refused: list[tuple[str, ...]] = []
    accepted: list[tuple[str, ...]] = []
    rights = wrongs = 0
    for case in draw_spelled(seed, rounds):
        question = Question(case.question)
        assert read_right(case.gold, question) is not None, case
        task = MathTask(question, case.gold)
        refused += [(case.question, case.gold, one) for one in case.right if not task.accepts(one)]
        accepted += [(case.question, case.gold, one) for one in case.wrong if task.accepts(one)]
        rights, wrongs = rights + len(case.right), wrongs + len(case.wrong)
    return refused, rights, accepted, wrongs


@pytest.mark.parametrize("seed", [0, 1])
def test_spellings(seed: int) -> None:
    refused, rights, accepted, wrongs = judge(seed, 3)
    assert rights > 500
    assert wrongs > 4_000
    assert accepted == []
    assert 100 * len(refused) <= REFUSED * rights


@pytest.mark.parametrize("seed", range(2, 6))
def test_many_spellings(seed: int) -> None:
    refused, rights, accepted, wrongs = judge(seed, 12)
    assert wrongs > 15_000
    assert accepted == []
    assert 100 * len(refused) <= REFUSED * rights
