"""The files that `assay env new` writes: a package that is fit for a subnet as it is, and its
tests."""

import re

from assay.environments.foreign.inside import find_name_fault

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

_ENVIRONMENT = '''"""How many of a kind: count one letter in a row of letters.

Change the problems; `pytest` and `assay env vet` say whether it is still fit for a subnet.
"""

from NAME.wrong_answers import write_wrong

#: Ascending, harder in order. Of each: how many letters there are.
SIZES = {1: 8, 2: 16, 3: 32}
LEVELS = tuple(SIZES)
LETTERS = "abcd"


def make_problem(draw, level):
    """A prompt, and a task for the scorer. `draw(n)`, from 0 to n - 1, is the only randomness."""
    row = "".join(LETTERS[draw(len(LETTERS))] for _ in range(SIZES[level]))
    letter = LETTERS[draw(len(LETTERS))]
    prompt = f"How often does {letter} occur in {row}? Also name its first place, from 1, or 0."
    return f"{prompt} Answer as count,place.", (row, letter)


def solve(task):
    """An answer that earns."""
    row, letter = task
    return f"{row.count(letter)},{row.find(letter) + 1}"


def score(task, answer):
    """True if the answer, the text after the only ####, is wholly right, in its one form."""
    return answer == solve(task)


def list_wrong(task):
    """Wrong answers that a model may try: none of them may earn."""
    return write_wrong(solve(task))
'''

_WRONG = '''"""The adversarial set: answers close to the right one, all of them wrong."""


def write_wrong(right):
    count, place = right.split(",")
    return [
        count,
        f"{place},{count},",
        f"{count}, {place}",
        f"0{right}",
        f"+{right}",
        f"{right}.0",
        f"{int(count) + 1},{place}",
        f"{count},{int(place) + 1}",
    ]
'''

_TESTS = '''"""NAME: its own rules, and that it is fit for a subnet."""

from pathlib import Path

import pytest

from assay.environments.foreign import pack_folder, vet_package
from assay.environments.foreign.inside import Draw
from NAME import LEVELS, list_wrong, make_problem, score, solve


@pytest.mark.parametrize("level", LEVELS)
def test_a_right_answer_earns_and_no_wrong_one(level):
    for number in range(20):
        prompt, task = make_problem(Draw(level, number), level)
        assert prompt == make_problem(Draw(level, number), level)[0]
        assert score(task, solve(task)) is True
        assert not any(score(task, wrong) for wrong in list_wrong(task))


def test_levels_are_harder_in_order():
    sizes = [max(len(make_problem(Draw(k, n), k)[0]) for n in range(20)) for k in LEVELS]
    assert sizes == sorted(set(sizes))


def test_it_is_fit_to_pay_by(tmp_path):
    archive = tmp_path / "NAME.zip"
    archive.write_bytes(pack_folder(Path(__file__).parent / "NAME"))
    report = vet_package(archive)
    assert report.is_fit, report
'''


def write_new_package(name: str) -> dict[str, str]:
    """The new package's files: path within a new folder → text.

    Raises:
        ValueError: `name` is not a valid name of a package, or is taken.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name[:80]!r} is not a name of a package: a lower-case letter, then at most 39 of "
            "a to z, 0 to 9 and _"
        )
    if fault := find_name_fault(name):
        raise ValueError(fault)
    texts = {
        f"{name}/__init__.py": _ENVIRONMENT,
        f"{name}/wrong_answers.py": _WRONG,
        f"test_{name}.py": _TESTS,
    }
    return {path: text.replace("NAME", name) for path, text in texts.items()}
