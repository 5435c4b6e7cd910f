"""`rooms`: what the robot sees and does, who finds the way, and what no turn may do."""

import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.environments.base import UNREAD, rate_answer
from assay.environments.registry import make_environment
from assay.environments.thoughtless import measure_level
from assay.environments.worlds import errands, rooms
from assay.environments.worlds.errands import World, write_commands
from assay.environments.worlds.rooms import COMMANDS_MAX, REQUEST, TURNS, Errand, read_commands
from assay.environments.worlds.world import ODD_TURNS
from tests.environments.conftest import make_seed
from tests.environments.rooms_explorer import explore

RIGHT, WRONG = rate_answer(1), rate_answer(0)
ROOMS = make_environment("rooms", {})
#: The map below: a key at 2, its door at 7, a parcel at 0 and its dock at 8.
#:     p@a
#:     .XA   (the door is to the south of the key)
#:     ..P
HOUSE = World(3, frozenset({4}), 1, 1, (2, 0), (5, 8), 0)
UNREADABLE = "Write 1 to 8 of these words: north, south, east, west, take, put.\n"


def begin(left: int = 9) -> Errand:
    return Errand(HOUSE, errands.begin(HOUSE), left)


def say(*turns: str) -> str | None:
    """The reply to the last turn."""
    state, reply = begin(), None
    for turn in turns:
        state, reply = state.step(turn, is_ended=True)
    return reply


def test_the_question() -> None:
    problem = ROOMS.make_problem(make_seed(0), [4])
    lines = problem.question.split("\n")
    assert lines[:2] == [
        "A robot in a house of 5 by 5 cells carries one thing at a time. Bring p to P.",
        "Key a opens door A: step into it with the key, which is used up.",
    ]
    assert lines[3] == (
        "You have 20 turns. Replies say what is seen each way up to a wall, X, or a closed door."
    )
    assert re.fullmatch(
        r"row [1-5], column [1-5]: north [.apAP]*X, south \S+, east \S+, west \S+, here \., hand "
        "nothing",
        lines[4].replace("A,", "AX,"),
    )
    assert problem.request == REQUEST


@pytest.mark.parametrize(
    ("turns", "reply"),
    [
        (("east",), "row 1, column 3: north X, south A, east X, west .pX, here a, hand nothing\n"),
        (("east take",), "row 1, column 3: north X, south A, east X, west .pX, here ., hand a\n"),
        (
            ("east take south",),
            "row 2, column 3: north .X, south PX, east X, west X, here ., hand nothing\n",
        ),
        (
            ("west",),
            "row 1, column 1: north X, south ..X, east .aX, west X, here p, hand nothing\n",
        ),
        (
            ("west take", "south south east"),
            "row 3, column 2: north X, south X, east PX, west .X, here ., hand p\n",
        ),
    ],
)
def test_what_the_robot_sees(turns: tuple[str, ...], reply: str) -> None:
    assert say(*turns) == reply


@pytest.mark.parametrize(
    ("turn", "failed", "row", "column"),
    [
        ("south", "south", 1, 2),
        ("north", "north", 1, 2),
        ("take", "take", 1, 2),
        ("put", "put", 1, 2),
        ("east south west", "south", 1, 3),
        ("east take take west", "take", 1, 3),
        ("east take put west", "put", 1, 3),
        ("west take put", "put", 1, 1),
    ],
)
def test_what_follows_an_impossible_command_is_skipped(
    turn: str, failed: str, row: int, column: int
) -> None:
    reply = say(turn)
    assert reply is not None
    assert reply.startswith(f"{failed}: cannot be done\nrow {row}, column {column}: ")


@pytest.mark.parametrize(
    ("turn", "commands"),
    [
        ("north", ["north"]),
        (" \tnorth take\r\n", ["north", "take"]),
        ("I go.\nput", ["put"]),
        ("no\rwest", ["west"]),
        (" ".join(["north"] * COMMANDS_MAX), ["north"] * COMMANDS_MAX),
        (" ".join(["north"] * (COMMANDS_MAX + 1)), []),
        ("north" * 10**5, []),
        ("x" * 10**5 + " north", []),
        ("north " * 10**5, []),
        *((text, []) for text in ("north  take", "north\ttake", "North", "north.", "go north")),
        *((text, []) for text in ("####", "take put drop", "north\u00a0take", "north\x0btake")),
        *((text, []) for text in ODD_TURNS),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_the_last_line_is_commands(turn: str, commands: list[str]) -> None:
    assert list(read_commands(turn)) == commands
    if not commands:
        state, reply = begin().step(turn, is_ended=True)
        assert (reply, state.score(), state.left) == (UNREADABLE, UNREAD, 8)


def test_an_episode_ends_with_its_errands_or_its_turns() -> None:
    turns = ("west take", "south south east east", "put")
    state = begin()
    for turn in turns[:2]:
        state, reply = state.step(turn, is_ended=False)
        assert reply is not None
        assert state.score() == WRONG
    state, reply = state.step(turns[2], is_ended=True)
    assert (reply, state.score()) == (None, RIGHT)
    assert begin(left=1).step("west", is_ended=True)[1] is None
    assert begin(left=1).step("", is_ended=True)[0].score() == UNREAD
    assert replace(state, is_read=False).score() == UNREAD


@pytest.mark.parametrize("level", ROOMS.levels)
def test_who_explores_what_is_nearest_does_every_errand(level: int) -> None:
    longest = 0
    for number in range(50):
        problem = ROOMS.make_problem(make_seed(number), [level])
        state, player = ROOMS.open(problem), explore(problem.question)
        turn, turns = next(player), 0
        while True:
            state, reply = state.step(turn, is_ended=True)
            turns += 1
            if reply is None:
                break
            assert reply.startswith("row ")
            turn = player.send(reply)
        assert state.score() == RIGHT
        longest = max(longest, turns)
    assert longest <= TURNS[level - 1] * 3 // 4


def test_turns_that_take_no_notice_of_replies_achieve_little() -> None:
    assert measure_level(ROOMS, 1).correctness == 0
    asked = [ROOMS.make_problem(make_seed(n), [1]) for n in range(100)]
    solved = Counter[str]()
    for answer in asked:
        way = write_commands(answer).removeprefix("#### ")
        solved[way] = max(
            solved[way], sum(ROOMS.open(each).step(way, True)[0].score() == RIGHT for each in asked)
        )
    assert max(solved.values()) <= 10


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=12), max_size=6))
def test_no_turn_raises(turns: list[str]) -> None:
    state = begin()
    for turn in turns:
        state, reply = state.step(turn, is_ended=False)
        assert reply is None or (reply.isascii() and reply.endswith("\n"))
    state.score()


def test_another_environments_problem_is_our_own_fault() -> None:
    guess = make_environment("guess", {})
    with pytest.raises(TypeError, match="not a problem of rooms"):
        ROOMS.open(guess.make_problem(bytes(32), [1]))


def test_proof_episodes_see_every_kind_of_reply() -> None:
    said: Counter[str | None] = Counter()
    turns = [*rooms.Rooms.proof_turns, *ODD_TURNS]
    for number in range(len(turns)):
        level = ROOMS.levels[number % len(TURNS)]
        state = ROOMS.open(ROOMS.make_problem(number.to_bytes(32, "big"), [level]))
        for turn in turns[number:] + turns[:number]:
            state, reply = state.step(turn, is_ended=True)
            if reply is None:
                break
            said[re.sub(r"[0-9]+", "", reply.partition(":")[0])] += 1
            said[reply.rpartition(" ")[2]] += "hand" in reply
    assert min(said[f"{command}"] for command in errands.COMMANDS) >= 3
    assert min(said["row , column "], said["p\n"], said["a\n"]) >= 3
    assert said["Write  to  of these words"] >= 3
