"""Right answers behind thoughts: where they earn, and where vetting says that they do not."""

import json
from pathlib import Path

import pytest

from assay.environments.base import OneTurn, Problem, RewardParts, State
from assay.environments.foreign.thoughts import try_thoughts, write_thought
from assay.environments.gsm import Gsm
from assay.environments.problem_vetting import vet_problem_file
from assay.environments.registry import make_environment
from assay.protocol.parameters import MILLION
from tests.environments.conftest import make_seed

EARNED = "right answers earn behind a thought with a draft"


@pytest.mark.parametrize("name", ["arithmetic", "codes", "gsm", "guess", "rooms"])
def test_right_answers_earn_behind_thoughts(name: str) -> None:
    check = try_thoughts(make_environment(name, {}), [1, 2])
    assert check is not None
    assert check.detail == f"8 {EARNED}"


@pytest.mark.parametrize("form", range(4))
def test_they_do_in_every_form_of_answers(form: int) -> None:
    check = try_thoughts(make_environment("gsm", {"answer_form": form}), [1, 2])
    assert check is not None
    assert check.detail == f"8 {EARNED}"


def test_steps_behind_a_thought_are_the_answers() -> None:
    """Neither a step of the thought nor the line ends behind it counts as one."""
    environment = make_environment("arithmetic", {})
    problem = environment.make_problem(make_seed(3), [3])
    (right,) = environment.solve(problem)
    for text in (right, write_thought("1+1=2\n#### 2", right), f"{right}</think>\r\n\n{right}"):
        assert environment.score(problem, text).quality == MILLION


@pytest.mark.parametrize("name", ["arithmetic", "sat", "errands"])
def test_an_answer_in_the_thought_alone_is_none(name: str) -> None:
    environment = make_environment(name, {})
    level = environment.levels[0]
    problem = environment.make_problem(make_seed(level), [level])
    for text in environment.list_thoughtless(problem):
        whole, behind = (
            environment.score(problem, one) for one in (text, write_thought("#### 1\n####", text))
        )
        assert behind == whole
        assert environment.score(problem, f"{text}\n</think>\n").format == 0


class FirstMark(Gsm):
    """Reads the first mark, wherever it is, as rubrics of others do."""

    def score(self, problem: Problem, completion: str) -> RewardParts:
        first = completion.partition("#### ")[2].partition("\n")[0]
        return super().score(problem, f"#### {first}")

    def open(self, problem: Problem) -> State:
        return OneTurn(self, problem)


def test_who_reads_drafts_is_told() -> None:
    check = try_thoughts(FirstMark({}), [4])
    assert check is not None
    assert check.passed  # not every model thinks in its text
    assert check.detail == (
        "4 of 4 right answers earn nothing behind a thought with a draft: of models that think, "
        "read what follows </think>"
    )


def test_no_solution_is_no_check() -> None:
    assert try_thoughts(make_environment("sat", {}), [5]) is None


def test_a_files_answers_are_tried_behind_thoughts(tmp_path: Path) -> None:
    rows = [
        {"question": f"How many are {n} and {n}?", "answer": f"{n}+{n}\n#### {2 * n}"}
        for n in range(1, 60)
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (check,) = (one for one in vet_problem_file(file).checks if one.name == "thoughts")
    assert check.detail == f"32 {EARNED}"
