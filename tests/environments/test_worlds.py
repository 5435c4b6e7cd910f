"""Worlds that reply: each reply, who finds the secret, and replies that are alike everywhere."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Generator
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.environments.base import UNREAD, Problem, State, rate_answer
from assay.environments.listing import list_environments
from assay.environments.registry import make_environment, open_environment
from assay.environments.thoughtless import measure_level
from assay.environments.worlds import codes, guess, guessing, rooms, world
from assay.environments.worlds.codes import Code, Codes
from assay.environments.worlds.guess import Guess, Number
from assay.environments.worlds.guessing import Secret
from assay.environments.worlds.world import ODD_TURNS, compute_proof
from assay.protocol.parameters import EnvironmentChoice
from tests.environments.conftest import make_seed
from tests.environments.exactness import require_exact

#: Sends guesses and receives replies.
Player = Generator[str, str | None, None]

RIGHT, WRONG = rate_answer(1), rate_answer(0)
WORLDS = {"guess": make_environment("guess", {}), "codes": make_environment("codes", {})}
SEVEN = Problem("", 1, Number("7", 4, 10))
CODE = Problem("", 4, Code("0421", 10, 6))


def open_world(problem: Problem) -> State:
    return WORLDS["guess" if isinstance(problem.answer, Number) else "codes"].open(problem)


def say(problem: Problem, turn: str) -> str | None:
    return open_world(problem).step(turn, is_ended=True)[1]


def test_the_questions() -> None:
    asked = [WORLDS[name].make_problem(bytes(32), [1]) for name in ("guess", "codes")]
    assert [problem.question for problem in asked] == [
        "Guess a number from 0 to 9 in 4 turns. Replies say if it is higher or lower.\n",
        "Guess a code of 2 digits from 0 to 2 in 4 turns. Digits may repeat. Replies say how many "
        "digits are right, and how many others are misplaced.\n",
    ]
    assert {problem.request for problem in asked} == {"End each turn with your guess.\n"}


@pytest.mark.parametrize(
    ("turn", "reply"),
    [
        ("3", "higher\n"),
        ("0", "higher\n"),
        ("9", "lower\n"),
        ("#### 9", "lower\n"),
        ("Higher than 7, so I say\r\n\t9 \n", "lower\n"),
        ("7", None),
        ("9\n7", None),
    ],
)
def test_the_number_is_higher_or_lower(turn: str, reply: str | None) -> None:
    assert say(SEVEN, turn) == reply


NO_NUMBER = [
    *(text for text in ODD_TURNS if text not in ("0 \r\n", "0 or 1", "1\u3000\t0")),
    *("10", "07", "7.", "7!", "seven", "#7", "\u0667", "7\u0301", "9" * 10**6, "1" * 19),
]


def test_what_is_no_guess_is_told_so() -> None:
    for turn in NO_NUMBER:
        assert say(SEVEN, turn) == "Guess a number from 0 to 9.\n", turn[:20]


def test_what_is_no_guess_counts_as_a_turn() -> None:
    state = open_world(SEVEN)
    for _ in range(3):
        state, reply = state.step("seven", is_ended=True)
        assert reply is not None
        assert state.score() == UNREAD
    assert state.step("seven", is_ended=True)[1] is None
    assert state.step("7", is_ended=True)[0].score() == RIGHT


@pytest.mark.parametrize(
    ("turn", "reply"),
    [
        ("0421", None),
        ("I try 0421\n", None),
        ("1240", "0 right, 4 misplaced\n"),
        ("0000", "1 right, 0 misplaced\n"),
        ("5500", "0 right, 1 misplaced\n"),
        ("5555", "0 right, 0 misplaced\n"),
        ("0412", "2 right, 2 misplaced\n"),
        *(
            (text, "Guess a code of 4 digits from 0 to 5.\n")
            for text in ("0426", "042", "04210", "0 4 2 1", "0421.", "\uff10421")
        ),
    ],
    ids=ascii,
)
def test_how_much_of_a_code_is_right(turn: str, reply: str | None) -> None:
    assert say(CODE, turn) == reply


def mark_greedily(secret: str, said: str) -> str:
    """Right and misplaced digits by crossing out, as at a table."""
    left = [ours for ours, theirs in zip(secret, said, strict=True) if ours != theirs]
    misplaced = 0
    for ours, theirs in zip(secret, said, strict=True):
        if ours != theirs and theirs in left:
            left.remove(theirs)
            misplaced += 1
    return f"{sum(map(str.__eq__, secret, said))} right, {misplaced} misplaced"


def test_every_pair_of_codes_is_compared_as_by_crossing_out() -> None:
    texts = list(map("".join, product("0123", repeat=3)))
    for secret, said in product(texts, texts):
        assert Code(secret, 6, 4).compare(said) == mark_greedily(secret, said)


def halve(secret: Secret) -> Player:
    """Guesses the middle; sees the world's replies alone."""
    assert isinstance(secret, Number)
    low, high = 0, secret.numbers - 1
    while True:
        middle = (low + high) // 2
        reply = yield str(middle)
        low, high = (middle + 1, high) if reply == "higher\n" else (low, middle - 1)


def fit(secret: Secret) -> Player:
    """Guesses the first code that fits all replies."""
    assert isinstance(secret, Code)
    texts = list(map("".join, product("01234567"[: secret.digits], repeat=len(secret.text))))
    while True:
        said = texts[0]
        reply = yield said
        texts = [text for text in texts if f"{mark_greedily(text, said)}\n" == reply]


def play(problem: Problem, secret: Secret, policy: Callable[[Secret], Player]) -> State:
    state, player = open_world(problem), policy(secret)
    turn, turns = next(player), 0
    while True:
        state, reply = state.step(turn, is_ended=True)
        turns += 1
        if reply is None:
            assert turns <= secret.turns
            return state
        turn = player.send(reply)


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5, 6])
def test_who_halves_finds_every_number(level: int) -> None:
    numbers, turns = guess.LEVELS[level - 1]
    for value in range(0, numbers, max(1, numbers // 100)):
        secret = Number(str(value), turns, numbers)
        assert play(Problem("", level, secret), secret, halve).score() == RIGHT


@pytest.mark.parametrize("level", [1, 2, 3])
def test_who_fits_all_replies_finds_every_code(level: int) -> None:
    places, digits, turns = codes.LEVELS[level - 1]
    for text in map("".join, product("0123"[:digits], repeat=places)):
        secret = Code(text, turns, digits)
        assert play(Problem("", level, secret), secret, fit).score() == RIGHT


def test_turns_that_take_no_notice_of_replies_are_vetted() -> None:
    """Four guesses of ten numbers are too good; seven of a hundred are not."""
    easy, hard = (measure_level(WORLDS["guess"], level) for level in (1, 4))
    assert easy.is_too_right
    assert not hard.is_too_right
    assert (easy.format, hard.format) == (1_000_000, 1_000_000)
    assert not measure_level(WORLDS["codes"], 3).is_too_right


def test_only_the_last_guess_counts_and_a_cut_turn_is_read() -> None:
    first, _ = open_world(SEVEN).step("3", is_ended=True)
    assert first.score() == WRONG
    assert first.step("no idea", is_ended=True)[0].score() == UNREAD
    assert first.step("well, 7", is_ended=False)[0].score() == RIGHT
    assert first.score() == WRONG  # a state is a value
    assert WORLDS["guess"].score(SEVEN, "7") == RIGHT


@pytest.mark.parametrize("name", WORLDS)
def test_secrets_are_spread_evenly(name: str) -> None:
    asked = [WORLDS[name].make_problem(make_seed(n), [1]) for n in range(900)]
    counts = Counter(problem.answer.text for problem in asked)  # type: ignore[attr-defined]
    assert len(counts) == {"guess": 10, "codes": 9}[name]
    assert min(counts.values()) > 50


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=12), max_size=6))
def test_no_turn_raises(turns: list[str]) -> None:
    for problem in (SEVEN, CODE):
        state: State = open_world(problem)
        for turn in turns:
            state, reply = state.step(turn, is_ended=False)
            assert reply is None or (reply.isascii() and reply.endswith("\n") and len(reply) < 64)
        state.score()


def test_a_mixture_has_worlds_too() -> None:
    mix = make_environment("mix", {"arithmetic": 1, "guess": 2})
    assert (mix.turns, make_environment("guess", {"plain": 1}).turns) == (14, 14)
    problem = mix.make_problem(make_seed(0), [2_001])
    secret = problem.answer.problem.answer  # type: ignore[attr-defined]
    state, reply = mix.open(problem).step("no idea", is_ended=True)
    assert reply == "Guess a number from 0 to 9.\n"
    assert state.step(secret.text, is_ended=True)[0].score() == RIGHT


@pytest.mark.parametrize("name", WORLDS)
def test_another_environments_problem_is_our_own_fault(name: str) -> None:
    with pytest.raises(TypeError, match=f"not a problem of {name}"):
        WORLDS[name].open({"guess": CODE, "codes": SEVEN}[name])


# ---- replies that are the same everywhere


def test_episodes_in_any_order_have_the_same_replies() -> None:
    """All at once, turn by turn, and one after the other."""
    problems = [WORLDS["codes"].make_problem(make_seed(n), [4]) for n in range(12)]
    turns = ["012", "no", "345", "012", "543", "111", "225"]
    alone = []
    for problem in problems:
        state = open_world(problem)
        said = [(state := step[0], step[1]) for turn in turns for step in [state.step(turn, True)]]
        alone.append(said)
    states = list(map(open_world, problems))
    for number, turn in enumerate(turns):
        for index in reversed(range(len(problems))):
            states[index], reply = states[index].step(turn, is_ended=True)
            assert (states[index], reply) == alone[index][number]


def test_proof_episodes_are_the_same_under_another_hash_seed() -> None:
    program = (
        "from assay.environments.worlds.guess import Guess, PROOF\n"
        "from assay.environments.worlds.codes import Codes\n"
        "assert not {'torch', 'transformers'} & set(__import__('sys').modules)\n"
        "from assay.environments.worlds.rooms import Rooms\n"
        "Guess({}), Codes({}), Rooms({})\n"
    )
    for seed in ("0", "77"):
        subprocess.run([sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, check=True)


class ChattyNumber(Number):
    """A world with an error that one machine might have: it knows digits of other scripts."""

    def is_guess(self, word: str) -> bool:
        return word.isdigit() and int(word) < self.numbers if word.isdecimal() else False


def test_a_machine_whose_replies_differ_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Number, "is_guess", ChattyNumber.is_guess)
    with pytest.raises(ValueError, match=r"guess replies otherwise .* Neither mine nor judge"):
        make_environment("guess", {})
    with pytest.raises(ValueError, match="replies otherwise"):
        make_environment("mix", {"guess": 1, "sat": 1})
    entry = next(one for one in list_environments() if one.name == "guess")
    assert not entry.usable
    assert "replies otherwise" in entry.about


def test_proof_episodes_are_part_of_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release with other replies has another environment, whatever its version says."""
    choice = EnvironmentChoice("guess", (), WORLDS["guess"].digest)
    assert open_environment(choice).digest == choice.digest
    monkeypatch.setattr(Number, "compare", lambda *_: "colder")
    monkeypatch.setattr(guess, "PROOF", compute_proof(WORLDS["guess"]).hex())  # type: ignore[arg-type]
    assert Guess({}).digest != choice.digest
    with pytest.raises(ValueError, match="another version"):
        open_environment.__wrapped__(choice)  # not the one that is kept


@pytest.mark.parametrize(
    "module", [codes, guess, guessing, rooms, world], ids=lambda one: one.__name__
)
def test_a_worlds_module_has_nothing_inexact(module: object) -> None:
    require_exact(Path(module.__file__).read_text())  # type: ignore[attr-defined]


def test_proof_episodes_see_every_kind_of_reply() -> None:
    said: Counter[str | None] = Counter()
    for environment in (Guess({}), Codes({})):
        turns = [*environment.proof_turns, *ODD_TURNS]
        for number in range(len(turns)):
            level = environment.levels[number % 6]
            state = environment.open(environment.make_problem(number.to_bytes(32, "big"), [level]))
            for turn in turns[number:] + turns[:number]:
                state, reply = state.step(turn, is_ended=True)
                said[reply if reply is None else reply.rstrip("0123456789.\n")] += 1
                if reply is None:
                    said["found" if state.score() == RIGHT else "not found"] += 1
                    break
    assert min(said["higher"], said["lower"], said["found"], said["not found"]) >= 3
    assert len(said) >= 12  # codes' counts, and what a guess is
