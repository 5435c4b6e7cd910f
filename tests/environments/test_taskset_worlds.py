"""Tasksets with a scripted user: what it says, what ends a talk, what is refused, what is fit."""

from pathlib import Path

import pytest

from assay.environments import problem_file
from assay.environments.base import ANSWER_BYTES, UNREAD, Environment, Problem, State, rate_answer
from assay.environments.foreign.package_world import PackageEpisode
from assay.environments.registry import make_environment
from assay.environments.tasksets import vet_bundle, write_bundle
from assay.environments.tasksets.environment import TasksetArchive
from assay.environments.tasksets.wheel_file import write_wheel
from assay.protocol.parameters import UNITS
from tests.absent import has_sandbox
from tests.environments.archive_files import add_file, change_text
from tests.environments.conftest import make_seed
from tests.environments.hub_styles import write_data
from tests.environments.verifiers_python import HAS_VERIFIERS, NO_VERIFIERS, ask_verifiers

if not has_sandbox():
    pytest.skip("no sandbox: assay sandbox prepare", allow_module_level=True)

FULL = rate_answer(1)
ROWS = [{"first": 101 + 7 * n, "more": [13 * n + 5, 3 * n + 2][: 1 + n % 2]} for n in range(30)]
#: A user who asks for sums, each of the last one and a further number.
TALK = '''"""Sums, one after the other."""
import re

import verifiers.v1 as vf
from datasets import load_dataset


class SumData(vf.TaskData):
    first: int
    more: list[int]
    sums: list[int]


class SumTask(vf.Task[SumData]):
    @vf.stop
    async def is_rude(self, trace: vf.Trace) -> bool:
        return "nonsense" in trace.last_reply

    @vf.reward(weight=1.0)
    async def right(self, trace: vf.Trace) -> float:
        said = [message.content for message in trace.assistant_messages]
        found = [re.findall(r"<sum>([0-9]+)</sum>", text) for text in said]
        return float([f[-1:] for f in found] == [[str(one)] for one in self.data.sums])


class SumEnv(vf.SingleAgentEnv):
    async def run(self, task, agents):
        async with agents.agent.interaction(task) as interaction:
            said = f"What is {task.data.first} + {task.data.more[0]}? Answer in <sum></sum>."
            for number in [*task.data.more[1:], None]:
                segment = await interaction.turn(said)
                if segment.terminated or number is None:
                    break
                said = f"Not {segment.last_reply[-20:]} alone. And {number} more?"


class SumTaskset(vf.Taskset[SumTask, vf.TasksetConfig]):
    def load(self):
        for row in load_dataset("somebody/sums", split="train"):
            sums = [row["first"]]
            for one in row["more"]:
                sums.append(sums[-1] + one)
            yield SumTask(SumData(first=row["first"], more=row["more"], sums=sums[1:]))
'''
INIT = "from sums.taskset import SumEnv, SumTaskset\n\n__all__ = ['SumEnv', 'SumTaskset']\n"


def write_file(folder: Path, *changes: tuple[str, str], init: str = INIT) -> Path:
    text = change_text(TALK, *changes).encode()
    members = {"sums/__init__.py": init.encode(), "sums/taskset.py": text}
    _, wheel = write_wheel("sums", "0.1.0", ("verifiers>=0.4",), "sums", members)
    file = folder / "sums.taskset.zip"
    file.write_bytes(write_bundle(wheel, write_data(ROWS)))
    return file


def open_file(file: Path, units: int = 200) -> Environment:
    return make_environment(add_file(file, "verifiers"), {UNITS: units})


def find_long(environment: Environment) -> tuple[Problem, list[int]]:
    """A problem of two turns, and what is right in each."""
    for number in range(20):
        problem = environment.make_problem(make_seed(number), [1])
        row = next(r for r in ROWS if problem.prompt.startswith(f"What is {r['first']} +"))
        more: list[int] = row["more"]  # type: ignore[assignment]
        if len(more) == 2:
            first = int(str(row["first"])) + more[0]
            return problem, [first, first + more[1]]
    raise AssertionError("all problems have one turn")


def play(state: State, *turns: str) -> tuple[list[str | None], State]:
    replies = []
    for turn in turns:
        state, said = state.step(turn, is_ended=True)
        replies.append(said)
    return replies, state


def test_a_user_talks_and_the_whole_talk_is_scored(tmp_path: Path) -> None:
    file = write_file(tmp_path)
    environment, again = open_file(file), open_file(file)
    assert (environment.turns, environment.digest) == (2, again.digest)
    problem, (first, second) = find_long(environment)
    assert problem.prompt.endswith("? Answer in <sum></sum>.\n")
    right = f"so <sum>{first}</sum>", f"<sum>{second}</sum>"
    replies, state = play(environment.open(problem), *right)
    assert replies[0] is not None
    assert replies[0].startswith(f"Not {right[0][-20:]} alone. And ")
    assert (replies[1], state.score()) == (None, FULL)
    assert play(again.open(problem), *right)[0] == replies
    for wrong in ((right[1], right[0]), (right[0], "<sum>1</sum>"), ("", right[1]), right[:1]):
        assert play(environment.open(problem), *wrong)[1].score() == UNREAD
    assert environment.score(problem, right[0]) == UNREAD


@pytest.mark.skipif(not HAS_VERIFIERS, reason=NO_VERIFIERS)
def test_verifiers_gives_the_same_rewards_to_a_talk(tmp_path: Path) -> None:
    """As it was said here, word for word, whether it ended or not."""
    archive = TasksetArchive(write_file(tmp_path).read_bytes(), 200)
    place = tmp_path / "site" / "sums"
    place.mkdir(parents=True)
    (place / "__init__.py").write_text(INIT)
    (place / "taskset.py").write_text(TALK)
    talks: list[tuple[int, str | list[str]]] = []
    ours = []
    for number, row in enumerate(ROWS[:8]):
        right = archive.ask("right turns", 1, number)["turns"]
        damaged = [turn.replace("1", "7") for turn in right]
        for turns in (right, damaged, right[:1], ["", *right][:2], [right[0], right[0]]):
            said = [archive.ask("make", 1, number)["prompt"]]
            for count, turn in enumerate(turns, 1):
                played = archive.ask("play", 1, number, turns[:count])
                said += [turn] if played["reply"] is None else [turn, played["reply"]]
                if played["reply"] is None:
                    break
            talks.append((number, said))
            ours.append(played["rewards"])
        assert len(right) == len(row["more"])  # type: ignore[arg-type]
    theirs, _ = ask_verifiers("sums", tmp_path / "site", talks, {}, ROWS)
    assert ours == theirs
    assert {one["right"][0] for one in theirs} == {0.0, 1.0}


def test_a_talk_of_one_turn_is_scored_with_what_the_user_said(tmp_path: Path) -> None:
    """And its right answer is found in the form that the user asks for."""
    reward = "        return float([f[-1:]"
    looks = "trace.messages[0].content.startswith('What is') and "
    file = write_file(
        tmp_path,
        ('more=row["more"], sums=sums[1:]', 'more=row["more"][:1], sums=sums[1:2]'),
        (reward, reward.replace("float(", f"float({looks}")),
    )
    archive = TasksetArchive(file.read_bytes(), 200)
    assert archive.turns == 1
    solved = archive.ask("solve", 1, 0)
    assert solved["form"] == ["<sum>", "</sum>"]
    for answer, right in ((solved["answer"], True), ("<sum>1</sum>", False)):
        scored, played = archive.ask("score", 1, 0, answer), archive.ask("play", 1, 0, [answer])
        assert (scored["right"], played["right"]) == (right, right)
        assert scored["rewards"] == played["rewards"]


def test_a_stop_ends_the_talk(tmp_path: Path) -> None:
    """The user is told, and what it would have said is not heard."""
    environment = open_file(write_file(tmp_path))
    problem, (first, _) = find_long(environment)
    replies, state = play(environment.open(problem), f"nonsense <sum>{first}</sum>")
    assert (replies, state.score()) == ([None], UNREAD)


def test_too_long_a_turn_ends_the_talk(tmp_path: Path) -> None:
    environment = open_file(write_file(tmp_path))
    problem, _ = find_long(environment)
    assert play(environment.open(problem), "x" * (ANSWER_BYTES + 1))[0] == [None]
    assert play(environment.open(problem), "x" * ANSWER_BYTES)[0] != [None]


#: What breaks a user → words of its error.
BREAKING = {
    "raise ValueError('odd')": "ValueError: odd",
    "while True: pass": "too many instructions",
    "import asyncio; await asyncio.sleep(1)": "no running event loop",
    "await __import__('types').coroutine(lambda: (yield))()": "something else than a turn",
    "await interaction.turn()": "bare turn()",
    "await interaction.turn([{'role': 'assistant', 'content': 'x'}])": "speaks for others",
    "await agents.agent.run(task)": "needs other agents",
    "interaction.trace.branches": "trace.branches is not offered",
}


@pytest.fixture(scope="module")
def breaking(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Its user breaks in the way whose number it is told: to open a file takes longer than that."""
    said, indent = '                said = f"Not', " " * 16
    ways = [
        f"{indent}if 'go {number}' in segment.last_reply:\n{indent}    {statement}\n"
        for number, statement in enumerate(BREAKING)
    ]
    folder = tmp_path_factory.mktemp("breaking")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(problem_file, "_known", {})  # as for each test
        environment = open_file(write_file(folder, (said, "".join([*ways, said]))))
    problem, _ = find_long(environment)
    assert play(environment.open(problem), "x")[0] != [None]
    return environment


@pytest.mark.parametrize("statement", BREAKING)
def test_a_user_who_breaks_ends_the_talk_without_reward(
    statement: str, breaking: Environment
) -> None:
    problem, _ = find_long(breaking)
    replies, state = play(breaking.open(problem), f"go {list(BREAKING).index(statement)}")
    assert (replies, state.score()) == ([None], UNREAD)
    assert isinstance(state, PackageEpisode)
    assert BREAKING[statement] in str(state.error)


#: Name → (the replaced text, its replacement, words of why it does not load).
REFUSED = {
    "agents of its own": (
        "class SumEnv(vf.SingleAgentEnv):",
        "class SumEnv(vf.SingleAgentEnv):\n    async def finalize(self, task, episode): ...\n",
        "SumEnv.finalize: it needs agents of its own",
    ),
    "several agents": ("vf.SingleAgentEnv", "vf.Env", "it needs other agents"),
    "says nothing": ("segment = await", "return\n                segment = await", "says nothing"),
    "never ends": ("number is None:", "False:", "more than 64 turns"),
    "nobody opens": ("async def run(self", "async def walk(self", "somebody else opens"),
    "tools": (
        "class SumTask(vf.Task[SumData]):",
        "class SumTask(vf.Task[SumData]):\n    def toolsets(*_): return []\n",
        "it needs tools",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_talk_is_has_a_reason(what: str, tmp_path: Path) -> None:
    before, after, words = REFUSED[what]
    if what == "never ends":
        endless = "for number in [*task.data.more[1:], None]:", "for number in iter(int, 1):"
        file = write_file(tmp_path, (before, after), endless)
    else:
        file = write_file(tmp_path, (before, after))
    report = vet_bundle(file, 1, tried=10)
    assert report.failed == ("loads",)
    assert words in report.checks[-1].detail


def test_two_users_are_none(tmp_path: Path) -> None:
    init = INIT.replace("['SumEnv',", "['SumEnv', 'Other',")
    init = init.replace("\n\n", "\nclass Other(SumEnv): ...\n\n")
    report = vet_bundle(write_file(tmp_path, init=init), 1, tried=10)
    assert "names 2 environments" in report.checks[-1].detail


#: Defects of the reward → (the replaced text, its replacement, the check, words).
DEFECTS = {
    "none": ("float([f[-1:]", "float([f[-1:]", "", ""),
    "all sums count": (
        "f[-1:] for f in found] == [[str(one)]",
        "str(one) in f for f, one in zip(found, self.data.sums)] == [True",
        "hostile turns",
        "in both orders",
    ),
    "the reply holds it": (
        "float([f[-1:] for f in found] == [[str(one)] for one in self.data.sums])",
        "float(all(str(one) in text for text, one in zip(said, self.data.sums)))",
        "wrong turns",
        "earns",
    ),
    "the last turn is not needed": (
        "float([f[-1:] for f in found] == [[str(one)] for one in self.data.sums])",
        "float(not said or found[0][-1:] == [str(self.data.sums[0])])",
        "wrong turns",
        "earns",
    ),
    "the user tells": (
        'And {number} more?"',
        'And {number}: is it {task.data.sums[1]}?"',
        "replies",
        "says what is right",
    ),
    "a score without range": ("return float([", "return 3 * float([", "right turns", "0 to 1 may"),
    "a weight without end": ("weight=1.0", "weight=1e999", "right turns", "has the weight inf"),
}

#: Vetting of the others takes many seconds.
KEPT = {"a score without range", "a weight without end"}


@pytest.mark.usefixtures("few_texts")
@pytest.mark.parametrize(
    "what", [pytest.param(n, marks=[pytest.mark.nightly] * (n not in KEPT)) for n in DEFECTS]
)
def test_vetting_of_a_talk(what: str, tmp_path: Path) -> None:
    before, after, check, words = DEFECTS[what]
    file = write_file(tmp_path, (before, after))
    report = vet_bundle(file, 3, 400, 10)
    if not check:
        assert report.is_fit, report
        return
    found = [one.detail for one in report.checks if not one.passed and one.name == check]
    assert found, report
    assert words in found[0]
