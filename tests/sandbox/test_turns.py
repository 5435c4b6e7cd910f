"""A tool's turns: live, replayed and gone on from kept pages, they say the same."""

import json
from collections.abc import Sequence
from dataclasses import astuple, replace
from hashlib import sha256

import pytest

from assay.sandbox.guest import (
    EVEN,
    INTERPRETER,
    LOST,
    Budget,
    Reply,
    Request,
    State,
    TurnsBudget,
    can_go_on,
    run,
    run_turns,
    running,
)
from assay.sandbox.guest.image import INPUT_MAX
from assay.sandbox.guest.turns import KEPT_MAX, TURNS_MAX
from tests.absent import has_sandbox
from tests.sandbox.v8 import ask_v8, needs_v8, read_reply

if not has_sandbox():
    pytest.skip("no sandbox: assay sandbox prepare", allow_module_level=True)

MILLION = 10**6
BUDGET = TurnsBudget(Budget(40 * MILLION, 4_000), 1_000 * MILLION)
START = State()
#: SHA-256 of what the turns below say, on every machine.
DIGEST = "de8cf9486efcc919552220b133b841f23192fdd41d0f6589c3797ee87feb11ea"
#: An episode: work, faults, and turns that break the interpreter or try to keep a hold on it.
EPISODE: tuple[str, ...] = (
    "import math, random\nxs = [i * i for i in range(300)]\nprint(sum(xs), __name__)",
    "def f(n): return n if n < 2 else f(n - 1) + f(n - 2)\nprint(f(9), random.random())",
    "print(undefined)",
    "1 +",
    "class E(Exception):\n    def __str__(self): return f'{len(xs)} squares'\nraise E",
    "raise SystemExit('no end')",
    "g = (x for x in xs)\nprint(next(g), next(g), id(xs) % 4096, hash('a'), {'a', 'b'})",
    "import threading\nt = threading.Thread(target=xs.append, args=[7])\nt.start()\nprint(len(xs))",
    "import time\nat = time.time_ns()\ntime.sleep(2)\nprint(next(g), time.time_ns() - at, at)",
    "import sys\nsys.stderr.write('unread')\nprint(repr(sys.stdin.read()), end='')",
    "held = bytearray(5 << 20)\nprint(len(held))",  # instructions count more from here on
    "held[7] = 7\nprint(held[:9], next(g))",
    "while True: pass",
    "try: print(xs)\nexcept NameError: print('gone', __import__('random').random())",
    "print('unseen', flush=True)\nimport os\nos._exit(0)",
    "import os\nos.abort()",
    "def deep(n): return deep(n + 1)\ntry: deep(0)\nexcept RecursionError as e: print(e)",
    "print('x' * 5000)",
    "x = [1]\nwhile True: x = x + x",
    "import sys\nsys.stdout.close()",
    "print('into a closed file')",
    "class E(Exception):\n    def __str__(self): raise self\n    __repr__ = __str__\nraise E",
    # what answers requests is within reach: whoever breaks it loses the interpreter
    "import os, sys\nos.read = lambda *_: b''\nprint(1)",
    "print(2)",
    "import sys\nf = sys._getframe(3)\nf.f_locals['status'] = 7\nprint(f.f_code.co_name)",
    "import sys, os\nos._exit = lambda n: None\nsys.modules['__main__'] = None\nz = 5",
    "print(z)",
    "import gc\nclass D:\n    def __del__(self): print('deleted')\nd = D()\nd = None\ngc.collect()",
    "import builtins\nbuiltins.compile = lambda *_: 'print(3)'",
    "print(4)",
)


def take(texts: Sequence[str], budget: TurnsBudget = BUDGET, state: State = START) -> list[Reply]:
    return run_turns([text.encode() for text in texts], budget, state)[0]


def keep(texts: Sequence[str], budget: TurnsBudget = BUDGET) -> tuple[list[Reply], State]:
    """The turns one by one or two by two, from the pages that were kept behind those before."""
    state, replies = START, list[Reply]()
    while len(replies) < len(texts):
        few = texts[len(replies) :][: 1 + len(replies) % 3 // 2]
        said, state = run_turns([text.encode() for text in few], budget, state, keep=True)
        replies += said
    return replies, state


@pytest.fixture(scope="module")
def live() -> list[Reply]:
    return take(EPISODE)


def test_turns_share_their_names() -> None:
    first, second, third = take(["x = 2", "print(x)\n1 / 0", "print(x + 1)"])
    assert (first.output, second.output[:2], third.output) == (b"", b"2\n", b"3\n")
    assert second.output.endswith(b"line 2, in <module>\nZeroDivisionError: division by zero\n")
    assert {one.end for one in (first, second, third)} == {"returned"}


def test_an_episode_says_the_same_on_every_machine(live: list[Reply]) -> None:
    assert sha256(json.dumps([repr(astuple(one)) for one in live]).encode()).hexdigest() == DIGEST


@pytest.mark.nightly
@needs_v8
def test_another_engine_says_the_same(live: list[Reply]) -> None:
    turn, whole = BUDGET.turn, BUDGET.instructions
    limits = {"instructions": turn.instructions, "room": turn.output, "whole": whole}
    (said,) = ask_v8([{"texts": EPISODE, **limits}])
    assert list(map(read_reply, said)) == live


def test_a_replay_from_the_start_says_what_the_live_turns_said(live: list[Reply]) -> None:
    for count in range(1, len(EPISODE), 3):
        assert take(EPISODE[:count]) == live[:count]


def test_kept_pages_go_on_as_the_live_copy_does(live: list[Reply]) -> None:
    replies, state = keep(EPISODE)
    assert replies == live
    assert (state.turns, state.instructions) == (len(live), sum(one.instructions for one in live))


def test_a_turn_that_does_not_return_says_one_thing_and_the_next_is_fresh(
    live: list[Reply],
) -> None:
    lost = [place for place, one in enumerate(live) if one.end != "returned"]
    assert {live[place].output for place in lost} == {LOST}
    assert {live[place].end for place in lost} >= {"instructions", "output", "trap", "exit 0"}
    assert take(["ours = 1", "import os\nos.abort()", "print('ours' in dir())"])[2].output == (
        b"False\n"
    )


def test_a_budget_counts_each_turn_once_however_it_is_run() -> None:
    texts = ["x = 0"] + ["for _ in range(999): x += 1\nprint(x)"] * 4
    free = take(texts)
    whole = sum(one.instructions for one in free[:3]) + 1_000
    budget = TurnsBudget(BUDGET.turn, whole)
    live = take(texts, budget)
    assert live[:3] == free[:3]
    assert live[3] == Reply(LOST, "instructions", 1_000 // EVEN * EVEN)
    assert live[4] == Reply(LOST, "instructions", 0)
    assert keep(texts, budget)[0] == live
    assert take(texts[:4], budget) == live[:4]
    _, state = run_turns([texts[0].encode()], BUDGET, keep=True)
    assert take(texts[:1], TurnsBudget(BUDGET.turn, 1), state) == [Reply(LOST, "instructions", 0)]
    each = TurnsBudget(Budget(free[1].instructions - 1, 99), whole)
    assert [one.end for one in take(texts[:2], each)] == ["returned", "instructions"]


def test_what_a_turn_may_take_rounds_no_count_and_no_clock() -> None:
    """Memory grows, so instructions count more, and what is left is rounded."""
    texts = [
        "x = ' ' * 2_200_000\nimport time\nprint(time.time_ns())",
        "y = ' ' * 2_500_000\nprint(time.time_ns())",
        "import os\nos._exit(1)",
        "import time\nprint(time.time_ns())",
    ]
    free = take(texts)
    assert [one.end for one in free] == ["returned", "returned", "exit 1", "returned"]
    for less in range(1, 8):
        budget = TurnsBudget(Budget(40 * MILLION - less, 4_000), 1_000 * MILLION)
        assert take(texts, budget) == free


def test_what_is_random_and_the_time_follow_from_the_start() -> None:
    texts = [
        "import os, random, time",
        "print(random.random(), os.urandom(4), time.time_ns())",
        "os._exit(1)",
        "import os, random, time\nprint(random.random(), os.urandom(4), time.time_ns())",
    ]
    start = State(seed=7, clock=1_700_000_000 * 10**9)
    first = take(texts, state=start)
    assert take(texts, state=start) == first
    assert first[1].output != first[3].output
    assert take(texts)[1].output != first[1].output
    taken = sum(one.instructions for one in first[:3])
    assert int(first[3].output.split()[-1]) - start.clock in range(taken, taken + 2 * MILLION)


def test_memory_beyond_what_is_kept_is_replayed() -> None:
    texts = [f"x = b'y' * {KEPT_MAX}", "print(len(x))"]
    budget = TurnsBudget(Budget(2_000 * MILLION, 99), 3_000 * MILLION)
    _, state = run_turns([texts[0].encode()], budget, keep=True)
    assert state.pages is None
    assert not can_go_on(state)
    with pytest.raises(ValueError, match="replay them"):
        run_turns([texts[1].encode()], budget, state)
    assert take(texts, budget)[1].output == f"{KEPT_MAX}\n".encode()


def test_only_whole_pages_of_the_same_image_are_gone_on_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those of another one would be written over this one's memory, and say anything."""
    _, state = run_turns([b"x = 7"], BUDGET, keep=True)
    kept = state.pages or b""
    damaged = kept[:-9] + bytes([kept[-9] ^ 1]) + kept[-8:]
    assert can_go_on(state)
    for pages in (kept[: len(kept) // 2], kept[:20], damaged):
        assert not can_go_on(replace(state, pages=pages))
        with pytest.raises(ValueError, match="replay them"):
            run_turns([b"print(x)"], BUDGET, replace(state, pages=pages))
    older = replace(INTERPRETER, image_digest="0" * 64)
    monkeypatch.setattr(running, "INTERPRETER", older)
    assert not can_go_on(state)


def test_requests_have_limits() -> None:
    with pytest.raises(ValueError, match="turns of at most"):
        run_turns([b""] * (TURNS_MAX + 1), BUDGET)
    with pytest.raises(ValueError, match="turns of at most"):
        run_turns([b"#" * INPUT_MAX], BUDGET)
    with pytest.raises(ValueError, match="room for"):
        run_turns([b""], TurnsBudget(Budget(1, 1 << 30), 1))
    for whole in (-1, 1 << 63):
        with pytest.raises(ValueError, match="63 bits"):
            run_turns([b""], TurnsBudget(Budget(1), whole))
    assert run_turns([], BUDGET) == ([], State(pages=None))


def test_a_program_that_returns_like_a_turn_fails() -> None:
    program = b"import sys\nsys._getframe(3).f_locals['status'] = None\nprint(1)"
    assert run(Request(program), Budget(8 * MILLION)).end == "exit 0"
    program = b"import os\nos._exit = lambda n: None\nprint(1)"
    assert run(Request(program), Budget(8 * MILLION)).end == "trap"
