"""Errands: pinned problems, every command's one meaning, and answers that earn nothing."""

import hashlib
from dataclasses import replace
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.environments.base import UNREAD, Problem, RewardParts, rate_answer
from assay.environments.foreign.hostile_answers import write_hostile
from assay.environments.registry import make_environment
from assay.environments.worlds.errands import (
    COMMANDS,
    LEVELS,
    State,
    World,
    compute_step,
    find_shortest,
    is_delivered,
    write_commands,
)
from tests.environments.conftest import TRICKS, make_seed

ENVIRONMENT = make_environment("errands", {})
FULL, NOTHING = rate_answer(1), (UNREAD, rate_answer(0))

#: @ a X P      cells 0  1  2  3
#: p . A .            4  5  6  7
#: . . X .            8  9 10 11
#: . . X .           12 13 14 15
SMALL = World(4, frozenset({2, 10, 14}), 0, 1, (1, 4), (6, 3), 20)
RIGHT = "east take south east west west take east east east north put"


def get_world(problem: Problem) -> World:
    assert isinstance(problem.answer, World)
    return problem.answer


def ask(completion: str) -> RewardParts:
    return ENVIRONMENT.score(Problem("", 1, SMALL), completion)


def run(*commands: str) -> State | None:
    state: State | None = State(SMALL.start, -1, 0)
    for command in commands:
        assert state is not None
        state = compute_step(SMALL, state, command)
    return state


PINNED = [
    ({}, 1, "48c680562d0cc4b811462851a9e4b5b4", "f4b446805309d8ae0f0216ac4157594f"),
    ({}, 8, "b0f5e6b6804bd61ae6315b4a82060bf9", "aff16b4c5942171c9560b3b0e62ec0fa"),
    ({"slack": 0}, 4, "2fa76ffeb972bdb03016ab6b9846b7b5", "e9fd691d024d011238718105ba48c357"),
]


def test_pinned_digest() -> None:
    assert ENVIRONMENT.digest.hex()[:32] == "5be08c391c6c105bacb72b4f6cf68ab8"


@pytest.mark.parametrize(("params", "level", "prompt", "answer"), PINNED)
def test_pinned(params: dict[str, int], level: int, prompt: str, answer: str) -> None:
    problem = make_environment("errands", params).make_problem(bytes(32), [level])
    assert hashlib.sha256(problem.prompt.encode()).hexdigest()[:32] == prompt
    assert hashlib.sha256(write_commands(problem).encode()).hexdigest()[:32] == answer


@pytest.mark.parametrize("level", ENVIRONMENT.levels)
def test_every_problem_has_an_answer_of_its_levels_length(level: int) -> None:
    plan = LEVELS[level - 1]
    for number in range(12):
        problem = ENVIRONMENT.make_problem(make_seed(number), [level])
        assert problem == ENVIRONMENT.make_problem(make_seed(number), [level])
        way = write_commands(problem).split(" ")[1:]
        assert plan.low <= len(way) <= plan.high
        assert get_world(problem).allowed == len(way) + len(way) // 2
        assert ENVIRONMENT.score(problem, f"Let me see.\n#### {' '.join(way)}") == FULL
        assert all(c == "\n" or " " <= c <= "~" for c in problem.prompt)


def test_a_level_is_longer_than_the_one_before() -> None:
    assert all(a.high < b.low for a, b in pairwise(LEVELS))


def test_the_first_level_is_answered_within_48_tokens_of_any_tokenizer_of_bytes() -> None:
    """The longest answer there is: five commands, of which one takes and one puts."""
    longest = f"#### {' '.join(['north'] * 3 + ['take', 'put'])}"
    assert len(longest.encode()) <= 48
    for number in range(200):
        problem = ENVIRONMENT.make_problem(make_seed(number), [1])
        assert len(write_commands(problem)) <= len(longest)


def test_the_shortest_way_is_the_shortest() -> None:
    """Against all sequences that are shorter, at the first level: tried, not searched for."""
    for number in range(6):
        problem = ENVIRONMENT.make_problem(make_seed(number), [1])
        world = get_world(problem)
        way = find_shortest(world, world.allowed)
        assert way is not None
        assert is_delivered(world, way)
        shorter = (w for size in range(len(way)) for w in product(COMMANDS, repeat=size))
        assert not any(is_delivered(world, commands) for commands in shorter)


def test_a_robot_that_stands_elsewhere_needs_another_answer() -> None:
    """No constant answer solves more than a tenth of the first level's problems: all answers tried
    that solve any of three hundred. By level 3 none solves a hundredth."""
    for level, most in ((1, 10), (3, 100)):
        problems = [ENVIRONMENT.make_problem(make_seed(n), [level]) for n in range(300)]
        for answer in {write_commands(problem) for problem in problems}:
            solved = sum(ENVIRONMENT.score(p, answer) == FULL for p in problems)
            assert solved * most <= len(problems), answer


def test_the_small_world_is_solved() -> None:
    assert ask(f"#### {RIGHT}") == FULL
    assert len(find_shortest(SMALL, 20) or ()) == len(RIGHT.split())


@pytest.mark.parametrize(
    ("commands", "after"),
    [
        (["north"], None),  # off the map, on each side
        (["west"], None),
        (["south", "south", "south", "south"], None),
        (["east", "east"], None),  # a wall
        (["south"], State(4, -1, 0)),
        (["east"], State(1, -1, 0)),
        (["take"], None),  # nothing lies here
        (["east", "take"], State(1, 0, 1)),
        (["east", "take", "take"], None),  # it is gone
        (["east", "take", "west", "south", "take"], None),  # the hand is full
        (["south", "east", "east"], None),  # a closed door, empty hand
        (["south", "take", "east", "east"], None),  # a closed door, another thing
        (["put"], None),  # nothing is held
        (["east", "take", "put"], None),  # a key
        (["south", "take", "put"], None),  # a parcel, elsewhere
        (["east", "take", "south", "east"], State(6, -1, 1)),  # open, the key used up
        (["east", "take", "south", "east", "west", "east"], State(6, -1, 1)),  # open for good
    ],
)
def test_each_command_has_one_meaning(commands: list[str], after: State | None) -> None:
    assert run(*commands) == after


@pytest.mark.parametrize(
    "commands",
    [
        "north",
        f"{RIGHT} put",  # a command that cannot be done, after the goal
        f"{RIGHT} west south" + " north south" * 5,  # more than may be given
        RIGHT.removesuffix(" put"),  # the parcel is held
        RIGHT.upper(),
        RIGHT.replace(" ", ", "),
        RIGHT.replace(" ", "\n"),
        RIGHT.replace(" ", "  ", 1),
        RIGHT.replace("north", "n"),
        RIGHT.replace("north", "go north"),
        RIGHT.replace("east east east", "east*3"),
        RIGHT.replace("o", "\u043e"),  # Cyrillic
        RIGHT + "\u200b",
        RIGHT.replace(" ", "\u00a0"),
        "take put",
        "",
        " ",
    ],
)
def test_adversarial_commands(commands: str) -> None:
    assert ask(f"#### {commands}") in NOTHING


def test_further_commands_that_can_be_done_change_nothing() -> None:
    assert ask(f"#### {RIGHT} south north") == FULL
    assert ask(f"#### {RIGHT} south west west take") in NOTHING


@pytest.mark.parametrize("trick", TRICKS)
def test_adversarial_answer(trick: str) -> None:
    assert ask(TRICKS[trick](RIGHT)) in NOTHING


def test_a_right_answer_with_more_text_earns_nothing() -> None:
    """The exception is two ways of which the second can be done after the first: one answer."""
    other = write_commands(ENVIRONMENT.make_problem(make_seed(1), [3])).removeprefix("#### ")
    for text in write_hostile(RIGHT, other):
        assert ask(f"#### {text}") in NOTHING, text[:100]


@given(st.lists(st.sampled_from((*COMMANDS, "", "up", "NORTH")), max_size=40).map(" ".join))
def test_no_commands_raise(commands: str) -> None:
    assert ask(f"#### {commands}") in (FULL, *NOTHING)


@given(st.text(max_size=100))
def test_no_text_raises(completion: str) -> None:
    assert ask(completion) in NOTHING


def test_slack_is_what_may_be_given_beyond_the_shortest_way() -> None:
    seed, level = make_seed(3), 2
    tight = make_environment("errands", {"slack": 0})
    problem = tight.make_problem(seed, [level])
    way = write_commands(problem)
    assert get_world(problem).allowed == len(way.split(" ")) - 1
    assert tight.score(problem, way) == FULL
    loose = ENVIRONMENT.make_problem(seed, [level])
    assert replace(get_world(loose), allowed=0) == replace(get_world(problem), allowed=0)
    assert tight.digest != ENVIRONMENT.digest


def test_a_mixture_has_errands_too() -> None:
    mix = make_environment("mix", {"arithmetic": 1, "errands": 2})
    problem = mix.make_problem(make_seed(0), [2_003])
    assert problem.level == 2_003
    right = write_commands(problem.answer.problem)  # type: ignore[attr-defined]
    assert mix.score(problem, right) == FULL
    assert mix.score(problem, right + " put") in NOTHING


def test_another_environments_problem_is_our_own_fault() -> None:
    sums = make_environment("arithmetic", {}).make_problem(make_seed(0), [1])
    with pytest.raises(TypeError, match="errands"):
        ENVIRONMENT.score(sums, "#### north")
    with pytest.raises(TypeError, match="errands"):
        write_commands(sums)
