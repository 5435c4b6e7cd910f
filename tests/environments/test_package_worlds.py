"""Packages with turns: episodes that are the same everywhere, what ends them, and attacks."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from assay.environments.base import ANSWER_BYTES, UNREAD, Environment, Problem, State, rate_answer
from assay.environments.foreign.new_package import write_new_package
from assay.environments.foreign.package_world import PackageEpisode, find_error
from assay.environments.foreign.vetting import MILLIONS, vet_package
from assay.environments.registry import make_environment, open_environment
from assay.environments.scoring import run_all
from assay.inference.checkpoint import load_outline
from assay.protocol.episode import End
from assay.protocol.parameters import REPLY_BYTES_MAX, UNITS, EnvironmentChoice, Setting
from assay.sandbox import WorkerError
from assay.sandbox.guest import running
from assay.subnet import vetting as own_files
from assay.training import GENESIS
from assay.verification.episodes import EpisodeRules, begin_episode, replay
from tests.absent import has_sandbox
from tests.commands import run_command
from tests.environments.archive_files import add_file, change_text, write_package
from tests.environments.conftest import make_seed

if not has_sandbox():
    pytest.skip("no sandbox: assay sandbox prepare", allow_module_level=True)

FULL = rate_answer(1)
#: A right package; defects replace its parts. A secret of three digits is compared with guesses.
GOOD = """
LEVELS = 1, 2
TURNS = 5

def make_problem(draw, level):
    secret = "".join(str(draw(5 * level)) for _ in range(3))
    return f"Find three digits below {5 * level}.", secret

def begin(task):
    return task, ""

def step(state, turn):
    secret, _ = state
    guess = turn.split()[-1] if turn.split() else ""
    if guess == secret:
        return (secret, guess), None
    right = [i for i in range(3) if guess[i:i + 1] == secret[i]]
    return (secret, guess), f"{len(right)} right\\n"

def score(state):
    return state[0] == state[1]

def solve(task):
    return ["000" if task != "000" else "111", task]

def list_wrong(task):
    return [["999", "998"]]
"""


def add_world(folder: Path, *changes: tuple[str, str]) -> str:
    """The name of the right package with parts replaced."""
    return add_file(write_package(folder, change_text(GOOD, *changes)))


@pytest.fixture
def name(tmp_path: Path) -> str:
    return add_world(tmp_path)


def play(state: State, turns: list[str]) -> tuple[list[str | None], State]:
    replies = []
    for turn in turns:
        state, said = state.step(turn, is_ended=True)
        replies.append(said)
    return replies, state


def find_secret(environment: Environment, problem: Problem) -> str:
    """By the replies alone: a digit is right if one more is."""
    found = ""
    for place in range(3):
        for digit in "0123456789":
            state = environment.open(problem)
            _, said = state.step(found + digit, is_ended=True)
            if said is None or said == f"{place + 1} right\n":
                found += digit
                break
    return found


def test_an_episode_is_the_same_in_another_process_and_order(name: str) -> None:
    first, second = (make_environment(name, {}) for _ in range(2))
    assert (first.digest, first.turns) == (second.digest, 5)
    problems = [first.make_problem(make_seed(number), [1, 2]) for number in range(4)]
    turns = ["", "12", "x 123", "\ud800 999", "0 0 0"]
    played = [play(first.open(problem), turns)[0] for problem in problems]
    again = [play(second.open(problem), turns)[0] for problem in problems[::-1]]
    assert played == again[::-1]
    assert all(replies[-1] is None and None not in replies[:-1] for replies in played)
    assert first.params == {UNITS: 200}


def test_who_listens_finds_what_earns(name: str) -> None:
    environment = make_environment(name, {})
    problem = environment.make_problem(make_seed(1), [1])
    assert problem.prompt == "Find three digits below 5.\n"
    secret = find_secret(environment, problem)
    replies, state = play(environment.open(problem), ["77", f"so it is {secret}"])
    assert replies == ["0 right\n", None]
    assert state.score() == FULL
    assert environment.score(problem, secret) == FULL
    assert environment.score(problem, f"{secret} 5") == UNREAD
    other = make_environment("guess", {}).make_problem(make_seed(0), [1])
    with pytest.raises(TypeError, match="not a problem"):
        environment.open(other)


def test_states_are_values(name: str) -> None:
    """Two ways from one state do not know of each other."""
    environment = make_environment(name, {})
    problem = environment.make_problem(make_seed(1), [1])
    secret = find_secret(environment, problem)
    (first, _), before = (environment.open(problem).step("999", is_ended=True) for _ in range(2))
    right, wrong = first.step(secret, is_ended=True), first.step("998", is_ended=False)
    assert (right[1], right[0].score()) == (None, FULL)
    assert (wrong[1], wrong[0].score()) == ("0 right\n", UNREAD)
    assert before[0].step(secret, is_ended=True)[0].score() == FULL


#: What befalls an episode at its second turn, and a word of why.
ENDS = {
    "raises": ("1 / 0", "ZeroDivisionError"),
    "never ends": ("while True: pass", "too many instructions"),
    "never ends, in C": ("sum(iter(int, 1))", "too many instructions"),
    "takes all memory": ("x = bytes(1 << 30)", "MemoryError"),
    "recurses in C": (
        "import functools\n        x = ()\n        for _ in range(3 * 10**5): x = (x,)\n"
        "        hash(x)",
        "it takes too m",
    ),
    "ends its process": ("import os; os._exit(0)", "ended by itself"),
    "aborts": ("import os; os.abort()", "it "),
    "floods": ("import os; os.write(1, b'x' * (1 << 20))", "writes too much"),
    "a flood of a reply": ("return state, 'x' * (1 << 20)", "writes too much"),
    "too long a reply": (f"return state, 'x' * {REPLY_BYTES_MAX + 1}", "at most 65536 bytes"),
    "a reply of bytes": ("return state, b'x'", "TypeError"),
    "a reply of numbers": ("return state, 7", "replies None, or text"),
    "no reply and no state": ("return 7", "TypeError"),
    "a forged verdict": (
        "import os; r = b'+{\"right\": 1}'; os.write(1, r + len(r).to_bytes(4, 'big'));os._exit(0)",
        "no right, but int",
    ),
}


@pytest.mark.parametrize("what", ENDS)
def test_a_world_that_breaks_ends_the_episode_without_reward(what: str, tmp_path: Path) -> None:
    """Even behind a right turn, twice the same, and nothing is said any more."""
    statement, words = ENDS[what]
    broken = (
        "    secret, _ = state\n",
        f"    secret, _ = state\n    if 'go' in turn:\n        {statement}\n",
    )
    environment = make_environment(
        add_world(tmp_path, broken, ("    return state[0] == state[1]", "    return True")),
        {UNITS: 400},
    )
    problem = environment.make_problem(make_seed(1), [1])
    ends = [play(environment.open(problem), ["1", "go", "2"]) for _ in range(2)]
    for replies, state in ends:
        assert replies[0] is not None
        assert (replies[1:], state.score()) == ([None, None], UNREAD)
        assert isinstance(state, PackageEpisode)
        assert words in str(state.error)
        assert find_error(state) == state.error
    assert ends[0][1].left == ends[1][1].left  # type: ignore[attr-defined]


def test_too_long_a_turn_ends_the_episode(name: str) -> None:
    environment = make_environment(name, {})
    problem = environment.make_problem(make_seed(1), [1])
    _, state = play(environment.open(problem), ["1", "\u00e9" * (ANSWER_BYTES // 2) + "x"])
    assert state.score() == UNREAD
    assert "at most 32768 bytes" in str(state.error)  # type: ignore[attr-defined]
    replies, state = play(environment.open(problem), ["\u00e9" * (ANSWER_BYTES // 2), "1"])
    assert None not in replies
    assert find_error(state) is None


def test_the_budget_is_the_episodes(tmp_path: Path) -> None:
    """All requests share it: the same work in each turn ends the episode at the same turn
    everywhere, and more units leave room for more turns."""
    work = ("    secret, _ = state\n", "    secret, _ = state\n    sum(range(3 * 10**4))\n")
    name = add_world(tmp_path, work)
    counts = []
    for millions in (20, 30, 60, 400):
        environment = make_environment(name, {UNITS: millions})
        problem = environment.make_problem(make_seed(1), [1])
        replies, state = play(environment.open(problem), ["9"] * 5)
        counts.append(replies.index(None))
        assert isinstance(state, PackageEpisode)
        assert state.left >= 0
        assert (state.error is None) == (replies.index(None) == 4)
    assert counts == sorted(counts)
    assert counts[0] < counts[2] < counts[3] == 4


def test_the_digest_names_the_replies_on_this_machine(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that replies otherwise to the proof episodes has another environment."""
    environment = make_environment(name, {})
    before = PackageEpisode.step
    calls = 0

    def step(self: PackageEpisode, turn: str, is_ended: bool) -> tuple[PackageEpisode, str | None]:
        nonlocal calls
        calls += 1
        after, said = before(self, turn, is_ended)
        return after, "2 right\n" if said == "1 right\n" else said

    monkeypatch.setattr(PackageEpisode, "step", step)
    assert make_environment(name, {}).digest != environment.digest
    assert 0 < calls <= 4 * 5
    choice = EnvironmentChoice(name, (Setting(UNITS, 200),), environment.digest, ())
    with pytest.raises(ValueError, match="another version"):
        open_environment(choice)


def test_a_package_of_turns_has_no_form_of_answers(name: str) -> None:
    with pytest.raises(ValueError, match="no parameter 'answer_form'"):
        make_environment(name, {"answer_form": 1})
    mix = make_environment("mix", {name: 1, "arithmetic": 1})
    assert mix.turns == 5
    problem = mix.make_problem(make_seed(0), [2_002])
    assert mix.open(problem).step("1", is_ended=True)[1] is not None


def test_miner_and_judge_have_the_same_replies(name: str) -> None:
    """Turn by turn with threads, and by a replay of all ids."""
    environment = make_environment(name, {})
    tokenizer = load_outline(GENESIS).tokenizer
    end = 1
    rules = EpisodeRules(5, 400, 40, 60, frozenset({end}))
    problem = environment.make_problem(make_seed(3), [2])
    turns = [[*tokenizer.encode_text(text), end] for text in ("0 1 2", "777", "", "9")]
    own = [token for turn in turns for token in turn]

    def mine() -> object:
        episode = begin_episode(environment, problem, 20)
        for turn in turns:
            episode = episode.take_turn(turn, rules, tokenizer)
        return episode.replies, episode.end, episode.length

    judged = replay(begin_episode(environment, problem, 20), own, rules, tokenizer)
    assert run_all(environment, [mine] * 6) == [(judged.replies, judged.end, judged.length)] * 6
    assert len(judged.replies) == 4
    whole = replay(begin_episode(environment, problem, 20), [*own, end], rules, tokenizer)
    assert whole.end is End.DONE


def test_a_machine_without_time_is_nobodys_verdict(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = make_environment(name, {})
    state = environment.open(environment.make_problem(make_seed(1), [1]))

    def fail(*_: object) -> bytes:
        raise WorkerError("no memory")

    monkeypatch.setattr(running, "_ask", fail)
    with pytest.raises(WorkerError):
        state.step("1", is_ended=True)


def find_failed(file: Path, problems: int = 1, millions: int = MILLIONS) -> dict[str, str]:
    report = vet_package(file, problems, millions, 10)
    return {check.name: check.detail for check in report.checks if check.name in report.failed}


@pytest.mark.usefixtures("few_texts")
def test_the_right_world_is_fit(tmp_path: Path) -> None:
    assert find_failed(write_package(tmp_path, GOOD), 2) == {}


#: Name → (the replaced text, its replacement, the check that fails, words of the reason).
DEFECTS = {
    "no turn is enough": ("TURNS = 5", "TURNS = 0", "loads", "TURNS is an integer from 1 to 64"),
    "too many turns": ("TURNS = 5", "TURNS = 65", "loads", "TURNS is an integer from 1 to 64"),
    "no beginning": ("def begin", "def commence", "right turns", "AttributeError"),
    "solves with a text": ('["000" if task != "000" else "111", task]', "7", "right turns", "int"),
    "solves with no turn": (
        '["000" if task != "000" else "111", task]',
        "[]",
        "right turns",
        "1 to 64 texts",
    ),
    "solves wrongly": ('"111", task]', '"111", "7"]', "right turns", "not True"),
    "needs all of its turns": ("TURNS = 5", "TURNS = 2", "", ""),
    "solves too late": ('"111", task]', '"111"] * 5 + [task]', "right turns", "not True"),
    "goes on after the end": ('"111", task]', '"111", task, "5"]', "right turns", "over after 2"),
    "names no wrong ones": ('[["999", "998"]]', "[]", "wrong turns", "names none"),
    "names a text": ('[["999", "998"]]', '["999"]', "wrong turns", "lists of turns, as solve"),
    "its own wrong ones earn": ('[["999", "998"]]', "[[task]]", "wrong turns", "earns"),
    "silence earns": (
        'guess = turn.split()[-1] if turn.split() else ""',
        "guess = turn.split()[-1] if turn.split() else secret",
        "silence",
        "saying nothing 1 times earns",
    ),
    "evaluates turns": (
        'guess = turn.split()[-1] if turn.split() else ""',
        "guess = secret if turn == 'True or False' else turn.split()[-1] if turn.split() else ''",
        "hostile turns",
        "'True or False' earns",
    ),
    "raises for a turn without words": (
        'guess = turn.split()[-1] if turn.split() else ""',
        "guess = turn.split()[-1]",
        "hostile turns",
        "IndexError",
    ),
    "takes a right guess anywhere": (
        'guess = turn.split()[-1] if turn.split() else ""',
        "guess = secret if secret in turn else turn.split()[-1] if turn.split() else ''",
        "hostile turns",
        "in both orders",
    ),
    "says the secret to whoever says nothing": (
        'f"{len(right)} right\\\\n"',
        'f"{len(right)} right\\\\n" if guess else f"not a guess, such as {secret}"',
        "replies",
        "says what is right, as in 8 of 8 problems",
    ),
    "says the secret to a wrong guess": (
        'f"{len(right)} right\\\\n"',
        'f"No, it was {secret}."',
        "replies",
        "says what is right",
    ),
    "always the same secret": (
        "str(draw(5 * level)) for _ in",
        '"4" for _ in',
        "constant",
        "8 of 8",
    ),
    "replies by chance": (
        'f"{len(right)} right\\\\n"',
        "f\"{len(right)} right {__import__('random').random()}\"",
        "same twice",
        "is another",
    ),
    "replies by the clock": (
        'f"{len(right)} right\\\\n"',
        "f\"{len(right)} right {__import__('time').time() > 1e9}\"",
        "same twice",
        "is another",
    ),
    "a pattern without bound": (
        "secret, _ = state",
        "secret, _ = state\n    __import__('re').fullmatch(r'([0-9]+)*', turn)",
        "bounded",
        "too many instructions",
    ),
    "too dear": (
        "secret, _ = state",
        "secret, _ = state\n    sum(range(10**5))",
        "right turns",
        "",
    ),
}
#: Changes that are no defects.
FINE = {name for name, (*_, check, _) in DEFECTS.items() if not check}
KEPT = {"no turn is enough", "takes a right guess anywhere", "says the secret to a wrong guess"}


@pytest.mark.usefixtures("few_texts")
@pytest.mark.parametrize(
    "what", [pytest.param(n, marks=[pytest.mark.nightly] * (n not in KEPT)) for n in DEFECTS]
)
def test_one_defect_and_it_is_not_fit(what: str, tmp_path: Path) -> None:
    before, after, check, words = DEFECTS[what]
    before, after = before.replace("\\\\n", "\\n"), after.replace("\\\\n", "\\n")
    assert before in GOOD
    text = GOOD.replace(before, after).replace("LEVELS = 1, 2", "LEVELS = (2,)")
    failed = find_failed(write_package(tmp_path, text), 1, 150)
    if what in FINE:
        assert failed == {}
        return
    found = [detail for key, detail in failed.items() if key.startswith(check)]
    assert found, failed
    assert words in found[0]


def test_a_new_world_passes_its_own_tests(tmp_path: Path) -> None:
    for path, text in write_new_package("letters", turns=True).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


@pytest.mark.usefixtures("few_texts")
def test_a_world_is_made_vetted_and_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By commands, as its author does."""
    monkeypatch.setattr(own_files, "vet_package", partial(vet_package, problems=1))
    done = run_command("env", "new", "row", "--turns", "--dir", tmp_path, "--json")
    assert done.returncode == 0
    package = tmp_path / "row"
    assert {Path(file).name for file in json.loads(done.stdout)["files"]} == {
        *("__init__.py", "wrong_turns.py", "test_row.py")
    }
    vetted = run_command("env", "vet", package, "--json")
    assert vetted.returncode == 0, vetted.stdout
    said = json.loads(vetted.stdout)
    named = run_command("env", "show", said["name"], "--file", said["file"], "--json")
    assert json.loads(named.stdout)["turns"] == 6
    turns = "look 1\nwhere?\nsay \n"
    sample = "env", "sample", said["name"], "--file", said["file"], "--play", "--n", "1", "--json"
    played = json.loads(run_command(*sample, given=turns).stdout)[0]
    assert [turn["reply"] for turn in played["turns"]][1] == (
        "End a turn with look and a place, or with say and the row.\n"
    )
