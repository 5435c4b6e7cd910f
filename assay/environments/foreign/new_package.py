"""The files that `assay env new` writes: a package that is fit for a subnet as it is, and its
tests."""

import keyword
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

from assay.environments.foreign.package_file import pack_folder
from assay.environments.foreign.vetting import vet_package
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

_WORLD = '''"""A hidden row of letters: a turn looks at one of them, or says the whole row.

Change the world; `pytest` and `assay env vet` say whether it is still fit for a subnet.
"""

from NAME.wrong_turns import write_wrong

#: Ascending, harder in order. Of each: how many letters there are.
SIZES = {1: 3, 2: 4, 3: 5}
LEVELS = tuple(SIZES)
LETTERS = "abcd"
#: The most turns of an episode, which no world can exceed.
TURNS = max(SIZES.values()) + 1


def make_problem(draw, level):
    """A prompt, and a task for the world. `draw(n)`, from 0 to n - 1, is the only randomness."""
    row = "".join(LETTERS[draw(len(LETTERS))] for _ in range(SIZES[level]))
    prompt = f"A row of {len(row)} letters is hidden, each one of {', '.join(LETTERS)}. End a turn "
    return f"{prompt}with look and a place to see a letter, or with say and the row.", row


def begin(task):
    """The state before the first turn."""
    return task, False


def step(state, turn):
    """The state after a turn, and the reply to it; None: the episode is over."""
    row, _ = state
    verb, what = (["", "", *turn.split()])[-2:]
    if verb == "say":
        return (row, what == row), None
    if verb == "look" and what in [str(place) for place in range(1, len(row) + 1)]:
        return state, f"letter {what} is {row[int(what) - 1]}\\n"
    return state, "End a turn with look and a place, or with say and the row.\\n"


def score(state):
    """True if all is right where the episode ends."""
    return state[1]


def solve(task):
    """Turns that earn, as few as who knows the answer needs."""
    return [f"say {task}"]


def list_wrong(task):
    """Wrong episodes that a model may try: none of them may earn."""
    return write_wrong(task)
'''

_WRONG_TURNS = '''"""The adversarial set: episodes close to right ones, all of them wrong."""


def write_wrong(row):
    looks = [f"look {place + 1}" for place in range(len(row))]
    other = "abcd"["bcda".index(row[-1])]
    return [
        looks,
        [f"say {row[:-1]}"],
        [*looks, f"say {row[:-1]}{other}"],
        [f"say {row[:-1]}{other}", f"say {row}"],
        [f"say {' '.join(row)}"],
        [f"say {row}{row}"],
        [f"look {row}"],
        [f"say {row}."],
        [row],
    ]
'''

_TURN_TESTS = '''"""NAME: its own rules, and that it is fit for a subnet."""

from pathlib import Path

import pytest

from assay.environments.foreign.package_file import pack_folder
from assay.environments.foreign.vetting import vet_package
from assay.environments.foreign.inside import Draw
from NAME import LEVELS, TURNS, begin, list_wrong, make_problem, score, solve, step


def play(task, turns):
    """Whether an episode of such turns is right, and the replies."""
    state, replies = begin(task), []
    for turn in turns[:TURNS]:
        state, reply = step(state, turn)
        if reply is None:
            break
        replies.append(reply)
    return score(state) is True, replies


@pytest.mark.parametrize("level", LEVELS)
def test_right_turns_earn_and_no_wrong_ones(level):
    for number in range(20):
        _, task = make_problem(Draw(level, number), level)
        assert play(task, solve(task))[0]
        assert not any(play(task, wrong)[0] for wrong in list_wrong(task))


def test_whoever_looks_knows():
    _, task = make_problem(Draw(1, 7), 1)
    _, replies = play(task, [f"look {place + 1}" for place in range(len(task))])
    assert play(task, ["say " + "".join(reply.split()[-1] for reply in replies)])[0]


def test_it_is_fit_to_pay_by(tmp_path):
    archive = tmp_path / "NAME.zip"
    archive.write_bytes(pack_folder(Path(__file__).parent / "NAME"))
    report = vet_package(archive)
    assert report.is_fit, report
'''


def write_new_package(name: str, turns: bool = False) -> dict[str, str]:
    """The new package's files: path within a new folder → text.

    Args:
        turns: it has worlds that reply.

    Raises:
        ValueError: `name` is not a valid name of a package, or is taken.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name[:80]!r} is not a name of a package: a lower-case letter, then at most 39 of "
            "a to z, 0 to 9 and _"
        )
    if keyword.iskeyword(name):
        raise ValueError(f"{name} is a word of Python's own, and names no package")
    if fault := find_name_fault(name):
        raise ValueError(fault)
    if turns:
        files = {"__init__": _WORLD, "wrong_turns": _WRONG_TURNS}
    else:
        files = {"__init__": _ENVIRONMENT, "wrong_answers": _WRONG}
    texts = {f"{name}/{module}.py": text for module, text in files.items()}
    texts[f"test_{name}.py"] = _TURN_TESTS if turns else _TESTS
    return {path: text.replace("NAME", name) for path, text in texts.items()}
