"""Worked solutions are right by the environment's own score, in every form of answer."""

import json

import pytest

from assay.environments import problem_file
from assay.environments.problem_file import add_problem_files, compute_file_digest
from assay.environments.registry import make_environment
from assay.protocol.parameters import MILLION

GSM = [
    {"question": "How many?", "answer": "2 and 1 is 2+1=<<2+1=3>>3.\n#### 3"},
    {"question": "How much?", "answer": "It is 1,000.\n#### 1,000"},
]
MATH = [
    {"problem": "What is $1+1$?", "solution": r"It is $\boxed{2}$.", "level": "Level 1"},
    {"problem": "Half?", "solution": r"So $\boxed{\frac{1}{2}}$.", "level": "Level 1"},
    {"problem": "Bare?", "solution": "", "answer": "7", "level": "Level 1"},
]
CODE = {
    "question": "Print the number.",
    "input_output": json.dumps({"inputs": ["1\n"], "outputs": ["1\n"]}),
    "difficulty": "introductory",
    "solution": "print(input())",
}


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Makes an environment of a file's rows."""
    monkeypatch.setattr(problem_file, "_known", {})

    def ask(family, rows, **settings):
        file = tmp_path / f"{family}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        add_problem_files([file])
        return make_environment(f"{family}:{compute_file_digest(file)}", settings)

    return ask


def solve_all(environment, count=20):
    """The turns of each problem that has a solution. Each episode of them is right."""
    found = {}
    for number in range(count):
        problem = environment.make_problem(number.to_bytes(32, "big"), environment.levels)
        turns = list(environment.solve(problem))
        state = environment.open(problem)
        for turn in turns:
            state, _ = state.step(turn, is_ended=True)
        if turns:
            assert state.score().correctness == MILLION, (problem.prompt, turns)
        found[problem.question] = turns
    return found


@pytest.mark.parametrize("form", range(4))
def test_word_problems_are_solved_in_each_form(form):
    solved = solve_all(make_environment("gsm", {"answer_form": form}))
    assert all(len(turns) == 1 and "<<" not in turns[0] for turns in solved.values())


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("arithmetic", {}),
        ("arithmetic", {"tool": 1, "call_form": 1}),
        ("guess", {}),
        ("codes", {}),
        ("rooms", {}),
        ("mix", {"arithmetic": 1, "gsm": 2, "gsm.answer_form": 1}),
    ],
)
def test_own_environments_are_solved(name, settings):
    assert all(solve_all(make_environment(name, settings)).values())


def test_who_knows_the_answer_alone_solves_nothing():
    assert not any(solve_all(make_environment("sat", {})).values())


@pytest.mark.parametrize("form", range(4))
def test_a_file_of_word_problems_loses_its_calculator(ask, form):
    solved = solve_all(ask("gsm", GSM, answer_form=form))
    assert solved["How many?"][0].startswith("2 and 1 is 2+1=3.\n")


@pytest.mark.parametrize("form", range(4))
def test_a_file_of_the_math_form_is_solved_where_it_has_solutions(ask, form):
    solved = solve_all(ask("math", MATH, answer_form=form), 40)
    assert solved["Bare?"] == []
    assert solved["Half?"][0].startswith(r"So $\boxed{\frac{1}{2}}$.")


def test_programs_are_solved_by_their_author(ask):
    assert list(solve_all(ask("code", [CODE]), 1).values()) == [["```python\nprint(input())\n```"]]
