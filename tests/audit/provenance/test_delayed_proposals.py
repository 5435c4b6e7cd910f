"""Proposals that a real trainer learns from late, and trainers that lie about them."""

import json
import math
import shutil
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from assay.artifacts.checkpoints.folder import CHECKPOINTS_KEPT, OUTLINES_KEPT, CheckpointFolder
from assay.artifacts.steps import plan
from assay.artifacts.steps.config import StepChoice, StepConfig
from assay.artifacts.steps.delay import Line, Tally, compute_rewards, read_line
from assay.artifacts.steps.file import DELAY_MAX, WAITING, ConsumedGroup, Delay, write_groups
from assay.artifacts.steps.folder import (
    Step,
    StepError,
    StepFolder,
    compute_root_of,
    parse_config,
    read_step,
    read_step_groups,
)
from assay.artifacts.steps.groups import find_most
from assay.artifacts.steps.learner import make_learner
from assay.artifacts.steps.pool import DrawnBy
from assay.audit.provenance import delays, reexecution, step_push
from assay.audit.provenance.consumed import (
    find_disorder,
    find_false_group,
    replay_group,
    verify_provenance,
)
from assay.audit.provenance.course import read_course
from assay.audit.provenance.proposals import read_pool_history
from assay.audit.provenance.reexecution import StepComparison, reexecute
from assay.audit.provenance.step_export import export_steps, make_rows, read_steps
from assay.cli.exits import COULD_NOT_RUN, OK
from assay.environments.base import UNREAD, RewardParts, ask, rate_answer
from assay.environments.pieces.induce import Induce
from assay.environments.pieces.piece import Piece
from assay.environments.pieces.propose import Propose
from assay.environments.pooling import compute_learnability, rate_delayed
from assay.environments.rewards import compute_reward
from assay.inference.checkpoint import Checkpoint
from assay.network.atropos import ScoredGroup
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.trainer.course import Course
from assay.neurons.trainer.folder import TrainerError
from assay.neurons.trainer.lessons import Lesson, Silence, WindowReading
from assay.neurons.trainer.setup import TrainerConfig
from assay.neurons.trainer.trainer import Trainer
from assay.protocol.amendment import ParameterHistory
from assay.protocol.parameters import MILLION
from assay.protocol.seeds import compute_problem_seed, compute_projection_seed
from assay.protocol.ss58 import encode_ss58
from assay.protocol.step import DelayedRollout, StepReplay, StepSource
from assay.subnet.presets import parse_environment
from assay.training import Group
from assay.training.watch import WatchedWindow
from assay.verification import make_projection
from tests.absent import has_sandbox
from tests.audit.provenance.proposing import (
    ALICE,
    BOB,
    LEARNING,
    SUM,
    SWAP,
    TRIPLE,
    make_network,
    propose,
    write,
)
from tests.commands import run_command

if not has_sandbox():
    pytest.skip("no sandbox: assay sandbox prepare", allow_module_level=True)

TRIES = 3
CAROL, DAVE = b"c" * 32, b"d" * 32
DELAYED = StepConfig(replace(LEARNING, learning_rate=2e-4), StepChoice(proposal_tries=TRIES))
NEVER = ("return len(a) * 7 + 2", "[3, 3]")
RIGHT, WRONG, NOTHING = "", "#### no", "nothing"
#: The part of a function's text by which its problems are found.
ABOUT_TRIPLE, ABOUT_SUM = "[b * 3 + 1", SUM[0]


def choose(learning: dict[str, Any] | None = None, **changed: Any) -> StepConfig:
    """`DELAYED` with other settings."""
    return StepConfig(
        replace(DELAYED.learning, **(learning or {})), replace(DELAYED.choice, **changed)
    )


class TrainerCourse:
    """A trainer's steps, from groups that its judge would have handed over."""

    def __init__(
        self, network: SimpleNamespace, folder: Path, config: StepConfig = DELAYED
    ) -> None:
        shutil.copytree(network.folder / "models", folder / "models")
        self.network, self.folder = network, folder
        self.steps = StepFolder(folder / "steps", kept=32)
        self.windows: list[WatchedWindow] = []
        self.said: list[str] = []
        self.results: list[Lesson | Silence] = []
        self.made: list[Checkpoint] = [network.genesis]
        self.start(config)

    def start(self, step: StepConfig) -> None:
        """A new program, which has nothing but what its folder has."""
        network, parent = self.network, self.parent
        kept, outlines = CHECKPOINTS_KEPT, OUTLINES_KEPT
        self.models = CheckpointFolder(self.folder / "models", keep=kept, outlines=outlines)
        sources: Any = JudgeSources(None, None, self.models, None)  # type: ignore[arg-type]
        config = TrainerConfig(step.learning, "test:trainer", steps=self.steps, choice=step.choice)
        parameters = network.parameters
        self.trainer = Trainer(
            parameters.identity.trainer,
            ParameterHistory(parameters),
            sources,
            config,
            self.results.append,
            self.said.append,
            on_silence=self.results.append,
            on_window=self.windows.append,
        )
        learner = make_learner(parent, step.learning, lambda: parent)
        self.course = Course(1, self.models.get(parent.digest), learner, False, False, None)

    @property
    def parent(self) -> Checkpoint:
        return self.made[-1]

    def learn(self, groups: Sequence[ConsumedGroup]) -> Lesson | Silence:
        """One window, which is the next checkpoint's number."""
        window = len(self.made)
        seed = sha256(bytes([window])).digest()
        context: Any = SimpleNamespace(
            parameters=self.network.parameters, window=window, audit_seed=seed
        )
        fresh = [measure(replace(one, window=window), self.find(one)) for one in groups]
        self.course.window = window
        reading = WindowReading(context, [], fresh)
        reading.number = self.find(fresh[0]).manifest.number
        self.trainer._finish(self.course, reading)  # noqa: SLF001 - without a judge
        self.made.append(self.course.parent)
        return self.results[-1]

    def find(self, one: ConsumedGroup) -> Checkpoint:
        return next(made for made in self.made if made.digest == one.checkpoint)

    def get_step(self, number: int) -> Step:
        (path,) = self.steps.folder.glob(f"step-{number:08d}-*.json")
        return read_step(path)


def measure(one: ConsumedGroup, drawn: Checkpoint) -> ConsumedGroup:
    """The same with log-probabilities as its checkpoint gives them."""
    rows = [np.array(row, np.uint32) for row in one.group.completions]
    projection = make_projection(compute_projection_seed(bytes(32)), drawn.manifest)
    count = len(rows)
    measured = drawn.get_reference(1024).measure(
        [one.group.prompt] * count, rows, [bytes(32)] * count, projection
    )
    logprobs = [(each.logprobs / -(1 << 16)).tolist() for each in measured]
    return replace(one, group=replace(one.group, behaviour_logprobs=logprobs))


def ask_about(course: TrainerCourse, index: int, texts: Sequence[str], about: str) -> ConsumedGroup:
    return propose(course.network, course.parent, DAVE, index, texts, None, about)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return make_network(tmp_path_factory.mktemp("delays"))


@pytest.fixture(scope="module")
def course(network: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Step 1 consumes proposals of three miners. In window 2 one function is asked, in window 3
    another one, and so on: the steps behind learn from the proposals."""
    course = TrainerCourse(network, tmp_path_factory.mktemp("course"))
    genesis = network.genesis
    first = [
        propose(network, genesis, ALICE, 4, [write(SWAP), NOTHING, write(TRIPLE)]),
        propose(network, genesis, BOB, 0, [write(TRIPLE), write(("return a", "1")), write(SUM)]),
        propose(network, genesis, CAROL, 0, [write(NEVER), NOTHING, NOTHING]),
        ask_about(course, 0, [RIGHT, WRONG, RIGHT], ""),
    ]
    lessons = [course.learn(first)]
    lessons.append(course.learn([ask_about(course, 1, [RIGHT, WRONG, RIGHT], ABOUT_TRIPLE)]))
    for index in (2, 3):
        texts = [RIGHT, WRONG, WRONG]
        lessons.append(course.learn([ask_about(course, index, texts, ABOUT_SUM)]))
    return SimpleNamespace(course=course, lessons=lessons, first=first)


def copy_step(course: SimpleNamespace, folder: Path, number: int) -> Step:
    """A step to spoil, with those before it."""
    shutil.copytree(course.course.folder / "steps", folder / "steps")
    step = course.course.get_step(number)
    for path in (folder / "steps").glob("step-*"):
        if int(path.name.split("-")[1]) > number:
            path.unlink()
    return read_step(folder / "steps" / step.path.name)


def repeat(course: SimpleNamespace, step: Step) -> StepComparison:
    return reexecute(step, course.course.models)


def put(step: Step, taken: Sequence[ConsumedGroup]) -> Step:
    """The step from other groups, which its record names."""
    write_groups(step.path.with_suffix(".parquet"), taken)
    record = step.record
    named: dict[tuple[int, bytes, bytes], int] = {}
    for one in taken:
        if one.window != record.window:
            key = one.window, one.hotkey, one.proof
            named[key] = named.get(key, 0) + 1
    steps = {one.window: (one.step, one.number) for one in record.replayed or ()}
    for path in step.path.parent.glob("step-*.json"):
        other = read_step(path).record
        steps.setdefault(other.window, (other.digest, other.number))
    replayed = tuple(StepReplay(*steps[key[0]], *key, count) for key, count in named.items())
    root = compute_root_of(taken, record.window, record.parent)
    record = replace(record, consumed=root, groups=len(taken), replayed=replayed or None)
    fresh = Counter((one.hotkey, one.proof) for one in taken if one.window == record.window)
    sources = tuple(StepSource(*source, count) for source, count in fresh.items())
    record = replace(record, sources=sources)
    return replace(step, record=record)


def rate_again(course: SimpleNamespace, one: ConsumedGroup) -> ConsumedGroup:
    """A delayed group with the rewards of its counts."""
    valid, other = rate_answer(1), UNREAD
    is_valid = [
        reward == max(rewards) for rewards in [find_first(course, one)] for reward in rewards
    ]
    parts = [valid if each else other for each in is_valid]
    rewards = compute_rewards(one, parts, course.course.network.parameters)
    return replace(one, group=replace(one.group, rewards=rewards))


def find_first(course: SimpleNamespace, one: ConsumedGroup) -> list[int]:
    """The rewards of a group in the step that consumed it."""
    return next(
        each.group.rewards
        for each in read_step_groups(course.course.get_step(1))
        if (each.hotkey, each.index) == (one.hotkey, one.index)
    )


def list_delayed(step: Step) -> list[ConsumedGroup]:
    return [one for one in read_step_groups(step) if one.window != step.record.window]


# --- what an honest trainer does


def test_learnability_is_highest_where_half_is_solved() -> None:
    assert [compute_learnability(8, solves) for solves in (0, 8)] == [0, 0]
    assert compute_learnability(0, 0) == 0
    assert [compute_learnability(8, solves) for solves in (1, 4, 7)] == [437_500, MILLION, 437_500]
    assert compute_learnability(3, 1) == compute_learnability(3, 2) == 888_888
    valid = rate_answer(1)
    worth = {solves: rate_delayed(valid, 4, solves).correctness for solves in range(5)}
    assert worth == {0: 500_000, 1: 875_000, 2: MILLION, 3: 875_000, 4: 500_000}
    for tries in range(1, 40):
        for solves in range(tries + 1):
            share = solves / tries
            found = compute_learnability(tries, solves)
            assert found <= 4e6 * share * (1 - share) + 1e-3
            assert found > 4e6 * share * (1 - share) - 1.001


def test_a_group_waits_and_enters_one_step(course: SimpleNamespace) -> None:
    lessons = course.lessons
    assert all(isinstance(lesson, Lesson) for lesson in lessons)
    assert [lesson.waiting for lesson in lessons] == [3, 0, 0, 0]
    assert [lesson.delayed for lesson in lessons] == [0, 0, 2, 0]
    assert [lesson.delayed_staleness for lesson in lessons] == [None, None, 2, None]
    assert [lesson.replayed for lesson in lessons] == [0] * 4
    assert [len(lesson.rewards) for lesson in lessons] == [1] * 4
    first, third = course.course.get_step(1), course.course.get_step(3)
    waiting = [one for one in read_step_groups(first) if one.delay == WAITING]
    assert [(one.hotkey, one.index) for one in waiting] == [(ALICE, 4), (BOB, 0), (CAROL, 0)]
    assert [one.lesson for one in waiting] == [None] * 3
    assert lessons[0].stats.groups == 1  # the other three teach nothing yet
    alice, bob = list_delayed(third)
    right, none, untried = DelayedRollout(3, 2, 1), DelayedRollout(0, 0, 1), DelayedRollout(0, 0, 0)
    assert alice.delay == Delay(first.record.digest, (untried, none, right))
    assert bob.delay == Delay(first.record.digest, (right, none, untried))
    assert third.record.replayed == tuple(
        StepReplay(first.record.digest, 1, 1, one.hotkey, one.proof, 1) for one in (alice, bob)
    )
    rewards = alice.group.rewards[1:]
    assert alice.lesson is not None
    assert alice.lesson.rewards == rewards
    assert alice.group.completions[1:] == alice.lesson.completions
    at_once = find_first(course, alice)
    assert alice.group.rewards[0] == at_once[0]  # left out, not zeroed
    assert rewards[1] == at_once[2] * ((MILLION + 888_888) // 2) // MILLION
    assert course.lessons[2].stats.groups == 3


def test_its_proposals_are_in_the_pool_at_once(course: SimpleNamespace) -> None:
    second = course.course.made[1]
    environment = second.open_environment(course.course.network.parameters.environment)
    assert environment is not None
    assert len(second.piece_pool.splitlines()) == 4


@pytest.mark.parametrize("number", [3, 1, 2, 4])
def test_each_step_is_equal_with_those_before(course: SimpleNamespace, number: int) -> None:
    found = repeat(course, course.course.get_step(number))
    assert (found.equal, found.remarks) == (True, ()), found.detail


@pytest.mark.parametrize(
    ("number", "missing", "code", "uncounted"),
    [(3, (1, 2), COULD_NOT_RUN, 2), (3, (1,), COULD_NOT_RUN, 2), (2, (1,), OK, 0), (3, (), OK, 0)],
)
def test_a_step_is_equal_from_its_own_rows_alone(
    course: SimpleNamespace,
    tmp_path: Path,
    number: int,
    missing: Sequence[int],
    code: int,
    uncounted: int,
) -> None:
    """But a script is told where the tries of what it learned from late were not counted."""
    step = copy_step(course, tmp_path, number)
    for lost in missing:
        for path in step.path.parent.glob(f"step-{lost:08d}-*"):
            path.unlink()
    models = course.course.folder / "models"
    done = run_command("train", "verify-step", step.path, "--models", models, "--json", "--quiet")
    assert done.returncode == code, done.stderr
    found = json.loads(done.stdout)
    assert found["equal"], found["detail"]
    assert found["uncounted"] == uncounted
    last = max(missing, default=0)
    assert found["remarks"] == [
        f"tries of proposals are counted again from step {last + 1} on only: step {last} is not "
        "here"
    ] * bool(last)


def test_ratios_of_delayed_rows_are_told_and_bounded(course: SimpleNamespace) -> None:
    """A probability is at most 1, so a ratio is at most 1 over the old probability; what a token
    weighs is at most the cap's multiple of its advantage, whatever its ratio."""
    stats = course.lessons[2].stats
    lessons = [one.lesson for one in list_delayed(course.course.get_step(3))]
    rows = [row for lesson in lessons for row in lesson.behaviour_logprobs]
    assert 0 < stats.earlier_ratio_p50 <= stats.earlier_ratio_p99
    assert stats.earlier_ratio_p99 <= stats.earlier_ratio_max * 1.002
    assert stats.earlier_ratio_max <= math.exp(-min(map(min, rows))) * 1.002
    assert stats.earlier_ratio_max <= stats.ratio_max
    assert abs(stats.loss) <= DELAYED.learning.loss.cap
    assert course.lessons[1].stats.earlier_ratio_max is None


def test_a_trainer_without_the_steps_before_says_so(
    course: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it judges a window, and before it learns from one."""
    again = TrainerCourse(course.course.network, tmp_path)
    again.learn(course.first)
    step = again.get_step(1)
    for path, reason in (
        (step.path.with_suffix(".parquet"), r"the file of step 1 cannot be used: .*parquet"),
        (step.path, "step 1 is not in"),
    ):
        path.unlink()
        said = rf"{reason}.* one step with proposal_tries = 0"
        with pytest.raises(TrainerError, match=said):
            again.learn([ask_about(again, 1, [RIGHT, WRONG, RIGHT], ABOUT_TRIPLE)])
        monkeypatch.setattr(again.trainer._keeper, "begin", lambda: again.course)  # noqa: SLF001
        with pytest.raises(TrainerError, match=said):
            again.trainer.step()


def test_tries_are_compared_as_numbers(course: SimpleNamespace) -> None:
    """JSON's true and 3.0 are equal to 1 and 3 here, and to nothing in another implementation."""
    record = course.course.get_step(1).record
    for name in ("proposal_tries", "external_groups", "local_groups", "groups_per_batch"):
        for other in (3.0, True, "3"):
            config = json.dumps(json.loads(record.config) | {name: other})
            with pytest.raises(StepError, match=f"{name} is a whole number"):
                parse_config(replace(record, config=config))


def test_no_step_is_missed_where_nothing_can_wait(course: SimpleNamespace, tmp_path: Path) -> None:
    """Without `propose`, as in all networks that were in rounds and kept their start checkpoint:
    merged checkpoints are of no step."""
    parent, parameters = course.course.made[2].manifest, course.course.network.parameters
    empty = StepFolder(tmp_path)
    assert read_line(empty, parent, parameters, DELAYED) == Line([], 2)
    plain = replace(parameters, environment=parse_environment("deduce"))
    assert read_line(empty, parent, plain, DELAYED) == Line([], None)
    start = replace(parameters.start, number=parent.number + 1)  # which an amendment names
    assert read_line(empty, parent, replace(parameters, start=start), DELAYED) == Line([], None)


def test_nothing_waits_without_the_setting(network: SimpleNamespace, tmp_path: Path) -> None:
    plain = TrainerCourse(network, tmp_path, StepConfig(LEARNING))
    first = propose(network, network.genesis, ALICE, 4, [write(SWAP), NOTHING, write(TRIPLE)])
    lesson = plain.learn([first])
    assert isinstance(lesson, Lesson)
    assert (lesson.waiting, lesson.delayed, lesson.stats.groups) == (0, 0, 1)
    assert [one.delay for one in read_step_groups(plain.get_step(1))] == [None]
    assert "external_groups" not in json.loads(plain.get_step(1).record.config)


def test_a_window_of_proposals_alone_only_grows_the_pool(
    network: SimpleNamespace, tmp_path: Path
) -> None:
    """Nobody could ever be asked what it proposes otherwise. Where it proposes nothing that is
    valid, no checkpoint is made."""
    waiting = TrainerCourse(network, tmp_path)
    first = propose(network, network.genesis, ALICE, 4, [write(SWAP), NOTHING, write(TRIPLE)])
    lesson = waiting.learn([first])
    assert isinstance(lesson, Lesson)
    assert (lesson.waiting, lesson.stats.groups, lesson.stats.updates) == (1, 0, 0)
    assert len(waiting.parent.piece_pool.splitlines()) == 2
    assert lesson.published.tensors == network.genesis.manifest.tensors
    step = waiting.get_step(1)
    found = reexecute(step, waiting.models)
    assert (found.equal, found.remarks) == (True, ()), found.detail
    invalid = propose(network, waiting.parent, BOB, 0, [NOTHING, NOTHING, NOTHING])
    silence = waiting.learn([invalid])
    assert isinstance(silence, Silence)
    assert (silence.rewards, silence.waiting) == ((), 1)
    assert silence.tokens > silence.silent_tokens == 0
    assert str(silence).endswith(
        "1 groups of proposals makes the pool another one, so checkpoint 1 stays"
    )
    wrong = ask_about(waiting, 1, [WRONG, WRONG, WRONG], "")
    silence = waiting.learn([invalid, wrong])
    assert isinstance(silence, Silence)
    assert (silence.rewards, silence.waiting) == ((wrong.group.rewards[0],), 1)
    tokens = [sum(map(len, one.group.completions)) for one in (invalid, wrong)]
    assert (silence.tokens, silence.silent_tokens) == (sum(tokens), tokens[1])
    assert "all of its 1 groups beside 1 of proposals are zero-variance" in str(silence)
    assert [window.groups and window.groups.groups for window in waiting.windows] == [None, None, 1]
    assert [window.waiting for window in waiting.windows] == [1, 1, 1]
    assert read_course(tmp_path)[0].waiting == 1


def test_figures_leave_out_what_waits(
    course: SimpleNamespace, network: SimpleNamespace, tmp_path: Path
) -> None:
    """The trainer's own, and those that others compute from its steps. What waits is not drawn for
    nothing, though its rewards are equal yet."""
    own = course.course.windows
    assert [window.groups.groups for window in own] == [1] * 4
    assert [window.groups.teaching for window in own] == [1.0] * 4
    found = read_course(course.course.folder)
    assert [one.groups for one in found] == [window.groups for window in own]
    again = TrainerCourse(network, tmp_path)
    valid = propose(network, network.genesis, ALICE, 4, [write(SWAP), write(SUM), write(TRIPLE)])
    wrong = ask_about(again, 0, [WRONG, WRONG], "")
    lesson = again.learn([valid, wrong])
    assert isinstance(lesson, Lesson)
    tokens = [sum(map(len, one.group.completions)) for one in (valid, wrong)]
    assert (lesson.tokens, lesson.silent_tokens) == (sum(tokens), tokens[1])
    assert lesson.stats.dropped == 1


def test_the_due_groups_follow_from_the_steps_alone(course: SimpleNamespace) -> None:
    """So a trainer that is killed makes the same step again, from its folder."""
    made, parameters = course.course, course.course.network.parameters
    parent = made.made[2]
    line = read_line(made.steps, parent.manifest, parameters, DELAYED)
    assert (len(line.steps), line.missing) == (2, None)

    def find_due(behind: int, tries: int = TRIES) -> list[ConsumedGroup]:
        tally = Tally(parameters, DrawnBy(parameters, parent, made.models))
        due = tally.find_due(line, behind, tries)
        return [one for step in due for one in step.groups]

    assert find_due(2) == find_due(DELAY_MAX) == list_delayed(made.get_step(3))
    assert find_due(DELAY_MAX + 1) == []
    assert find_due(2, TRIES + 1) == []


def test_a_group_as_late_as_may_be_enters_after_a_restart(
    course: SimpleNamespace, tmp_path: Path
) -> None:
    """The trainer has the tensors of the newest checkpoints alone, and asks no store for others:
    neither to count tries, nor to find out which groups may be replayed."""
    network = course.course.network
    again = TrainerCourse(network, tmp_path)
    texts = [RIGHT, WRONG, RIGHT]
    other = ask_about(again, 0, texts, "")  # of the first pool
    again.learn([other])
    first, late = again.parent, [write(SWAP), NOTHING, write(TRIPLE)]
    never = [write(SWAP), NOTHING, NOTHING]
    again.learn([propose(network, first, ALICE, 4, late), propose(network, first, BOB, 0, never)])
    for _ in range(2, DELAY_MAX):
        again.learn([other])
    again.learn([ask_about(again, 1, texts, ABOUT_TRIPLE)])
    assert again.parent.manifest.number == first.manifest.number + DELAY_MAX
    assert not (tmp_path / "models" / first.digest.hex()).exists()
    (said, *_) = again.said  # of those that the genesis has drawn
    assert "rollouts are 4 checkpoints behind, and with more than 3 no proposal is tried" in said
    again.start(choose(replay_share=0.5, replay_staleness=64))
    lesson = again.learn([other])
    assert isinstance(lesson, Lesson)
    assert (lesson.delayed, lesson.delayed_staleness, lesson.replayed) == (1, DELAY_MAX, 1)
    assert lesson.expired == 1
    history = read_pool_history(tmp_path, 16)
    assert (history.number, history.steps) == (again.parent.manifest.number, DELAY_MAX + 2)
    nowhere = DrawnBy(network.parameters, again.parent, CheckpointFolder(tmp_path / "none"))
    consumed = read_step_groups(again.get_step(2)) + read_step_groups(again.get_step(DELAY_MAX + 1))
    assert [Tally(network.parameters, nowhere).waits(one) for one in consumed] == [
        True,
        True,
        False,
    ]


def test_another_number_of_tries_gives_up_what_waits(
    course: SimpleNamespace, tmp_path: Path
) -> None:
    """A trainer would else choose the number when it has seen the tries."""
    again = TrainerCourse(course.course.network, tmp_path)
    again.learn(course.first)
    again.learn([ask_about(again, 1, [RIGHT, WRONG, RIGHT], ABOUT_TRIPLE)])
    parent, parameters = again.parent.manifest, again.network.parameters
    config = choose(proposal_tries=TRIES - 1)
    line = read_line(again.steps, parent, parameters, config)
    assert (line.steps, line.missing, line.end) == ([], None, again.get_step(2))
    again.start(config)
    lesson = again.learn([ask_about(again, 2, [RIGHT, WRONG, WRONG], ABOUT_SUM)])
    assert isinstance(lesson, Lesson)
    assert lesson.delayed == 0
    assert "are given up by other settings: proposal_tries was 3 and is 2" in " ".join(again.said)
    step = again.get_step(3)
    assert reexecute(step, again.models).equal
    alice, _ = list_delayed(course.course.get_step(3))
    source = again.get_step(1).record.digest
    assert alice.delay is not None
    late = replace(alice, delay=replace(alice.delay, source=source))
    found = reexecute(put(step, [*read_step_groups(step), late]), again.models)
    assert found.detail.endswith("its step is none of those before")


@pytest.mark.parametrize(
    ("changed", "ends"),
    [
        (choose(proposal_tries=TRIES + 1), True),
        (choose(external_groups=9), True),
        (choose({"groups_per_batch": 3, "refill": True}, local_groups=1), False),
        (choose(local_groups=1), False),
    ],
)
def test_other_settings_that_choose_tries_end_a_line(
    course: SimpleNamespace, changed: StepConfig, ends: bool
) -> None:
    """A trainer would else choose which groups it takes when it has seen whom they would try."""
    made = course.course
    line = read_line(made.steps, made.parent.manifest, made.network.parameters, changed)
    assert (line.end is not None) == ends
    assert len(line.steps) == (0 if ends else 4)


def test_the_most_groups_that_a_step_takes() -> None:
    """With refilling whole updates of 8, as many as make them with its own."""
    counts: dict[str, Any] = {"external_groups": 9, "local_groups": 2}
    assert find_most(choose(**counts)) == 9
    assert find_most(choose({"refill": True}, **counts)) == 14
    assert find_most(choose({"refill": True}, local_groups=2)) is None


def test_more_groups_than_the_settings_take_are_named(
    course: SimpleNamespace, tmp_path: Path
) -> None:
    step = copy_step(course, tmp_path, 3)
    config = json.loads(step.record.config)
    assert (config["external_groups"], config["local_groups"]) == (None, 0)
    lie = replace(
        step.record, config=json.dumps(config | {"external_groups": 0, "local_groups": 1})
    )
    found = repeat(course, put(replace(step, record=lie), read_step_groups(step)))
    assert found.detail == (
        "it has 1 of the miners' groups with a signal, and its settings take at most 0"
    )


def test_a_proposer_does_not_try_its_own_proposal(course: SimpleNamespace, tmp_path: Path) -> None:
    """It knows its rollouts before it commits to any. Here Alice and Bob propose one function."""
    again = TrainerCourse(course.course.network, tmp_path)
    again.learn(course.first)
    texts = [RIGHT, WRONG, RIGHT]
    asked = propose(again.network, again.parent, ALICE, 1, texts, None, ABOUT_TRIPLE)
    again.learn([asked])
    again.learn([ask_about(again, 2, texts, ABOUT_SUM)])
    delayed = list_delayed(again.get_step(3))
    assert [one.hotkey for one in delayed] == [BOB]
    assert delayed[0].delay is not None
    assert [one.tries for one in delayed[0].delay.rollouts] == [3, 0, 0]
    again.learn([ask_about(again, 3, texts, ABOUT_TRIPLE)])
    again.learn([ask_about(again, 4, texts, ABOUT_SUM)])
    alice, *_ = list_delayed(again.get_step(5))
    assert alice.hotkey == ALICE
    assert alice.delay is not None
    assert [one.tries for one in alice.delay.rollouts] == [0, 0, 3]
    assert reexecute(again.get_step(5), again.models).equal


def test_a_line_keeps_what_later_steps_need(course: SimpleNamespace) -> None:
    """Not the rows of groups that a step has learned from late, nor steps that are not to be used,
    nor those behind them."""
    made, parameters = course.course, course.course.network.parameters
    line = read_line(made.steps, made.made[3].manifest, parameters, DELAYED)
    assert [len(one.fresh) for one in line.steps] == [1, 1, 4]
    assert [list(one.delayed) for one in line.steps] == [[(1, ALICE, 4), (1, BOB, 0)], [], []]
    assert line.find_entered(1) == {(ALICE, 4): 3, (BOB, 0): 3}
    found = list[int]()

    def check(step: Step, taken: Sequence[ConsumedGroup], drew: Container[bytes]) -> None:
        assert all(one.checkpoint in drew for one in taken)
        found.append(len(taken))
        if step.record.number == 2:
            raise StepError("odd")

    cut = read_line(made.steps, made.made[3].manifest, parameters, DELAYED, check)
    assert found == [3, 1]
    assert cut == Line(line.steps[:1], 2, "the file of step 2 cannot be used: odd")


@pytest.mark.parametrize("change", ["a rollout more", "a long completion", "a far place"])
def test_a_step_before_with_other_sizes_is_not_played(course: SimpleNamespace, change: str) -> None:
    made, parameters = course.course, course.course.network.parameters
    step, parent = made.get_step(2), made.made[2]
    (one,), drawn = read_step_groups(step), DrawnBy(parameters, parent, made.models)
    check = partial(delays._check_step, parameters=parameters, drawn=drawn)  # noqa: SLF001
    check(step, [one], [one.checkpoint])
    group, rows = one.group, [0, 1, 2, 0] if change == "a rollout more" else [0, 1, 2]
    times = 1 if change == "a rollout more" else 99
    spoilt = replace(
        one,
        group=Group(
            group.prompt,
            [group.completions[row] * times for row in rows],
            [group.rewards[row] for row in rows],
            [group.behaviour_logprobs[row] * times for row in rows],
        ),
    )
    said = "4 rollouts, not 3" if change == "a rollout more" else "more than 120 tokens"
    if change == "a far place":
        spoilt, said = replace(one, index=parameters.work.group_cap), "a miner's file has at most"
    with pytest.raises(StepError, match=said):
        check(step, [spoilt], [one.checkpoint])


LENGTHS = Piece(
    "def f(a):\n    return len(a)", ("'a'", "'bc'", "'def'", "'g'"), ("1", "2", "3", "1"), 9
)
FURTHER = Piece("def f(a):\n    return a * 2", ("1",), ("2",), 9)
OTHER_LENGTH = "```python\ndef f(a):\n    return len(a) * 2 - len(a)\n```"


TWIN = Piece(
    "def f(a):\n    return len(a) % 3", ("'a'", "'bc'", "'def'", "'g'"), ("1", "2", "0", "1"), 9
)


def draw_from(network: SimpleNamespace, asked: type[Induce] | type[Propose], *pool: Piece) -> Any:
    """A checkpoint whose problems are of these pieces."""
    environment = asked({})
    environment._by_level = {1: pool}  # noqa: SLF001 - a pool of its own
    environment.known = frozenset(piece.digest for piece in pool)
    genesis = network.genesis

    def open_environment(choice: Any) -> Any:
        return environment

    return SimpleNamespace(
        manifest=genesis.manifest, tokenizer=genesis.tokenizer, open_environment=open_environment
    )


def find_seed(environment: Any, piece: Piece, prompt: str | None = None) -> bytes:
    """One whose problem shows two of a piece's pairs, its first ones or those of a prompt."""
    for place in range(4_000):
        seed = compute_problem_seed(bytes(32), ALICE, place)
        problem = environment.make_problem(seed, [1])
        task, text = problem.answer, problem.prompt
        # `propose` shows a further function: only one that both can be beside
        is_plain = set(task.places) == {0, 1} and "len(a)" not in text
        if task.piece == piece and (is_plain if prompt is None else text == prompt):
            return seed
    raise AssertionError("no seed asks for this")


@pytest.mark.parametrize("asked", [Induce, Propose])
def test_a_seed_with_other_hidden_pairs_accuses_nobody(
    network: SimpleNamespace, asked: type[Induce] | type[Propose]
) -> None:
    """Half of the pairs is in no prompt, so another piece's problem can have the same one: a store
    that names its seed makes an honest reward false, or a valid proposal of a step before. Where no
    other piece has these pairs, the reward is."""
    parameters, tokenizer = network.parameters, network.genesis.tokenizer
    drawn = draw_from(network, asked, LENGTHS, TWIN, FURTHER)
    environment = drawn.open_environment(None)
    seed = find_seed(environment, LENGTHS)
    problem = environment.make_problem(seed, [1])
    row = [*tokenizer.encode(ask(OTHER_LENGTH)), network.genesis.manifest.end_tokens[0]]
    parts, longest = environment.score(problem, OTHER_LENGTH), parameters.work.max_tokens
    assert parts.correctness == MILLION
    reward = compute_reward(parts, len(row), parameters.rewards, longest)
    group = Group(
        tokenizer.encode(problem.conversation), [row] * 3, [reward] * 3, [[-1.0] * len(row)] * 3
    )
    one = ConsumedGroup(group, 3, ALICE, 0, bytes(32), bytes(32), seed, (1,))
    assert not isinstance(replay_group(one, parameters, drawn), str)
    altered = replace(one, problem_seed=find_seed(environment, TWIN, problem.prompt))
    with pytest.raises(StepError, match="its prompt does not say which is right"):
        replay_group(altered, parameters, drawn)
    said = "rollout 0's reward is not what the parameters give"
    assert replay_group(altered, parameters, drawn, is_derived=True) == said
    check = delays._check_group  # noqa: SLF001
    check(altered, parameters, drawn)  # it does not wait: nothing follows from it
    check(replace(one, delay=WAITING), parameters, drawn)
    with pytest.raises(StepError, match="its prompt does not say which is right"):
        check(replace(altered, delay=WAITING), parameters, drawn)
    rewards = [reward - 1] * 3
    lie = replace(one, group=replace(group, rewards=rewards))
    with pytest.raises(StepError, match="its prompt does not say which is right"):
        replay_group(lie, parameters, drawn)
    alone = draw_from(network, asked, LENGTHS, FURTHER)
    seed = find_seed(alone.open_environment(None), LENGTHS, problem.prompt)
    assert replay_group(replace(lie, problem_seed=seed), parameters, alone) == said


@pytest.mark.parametrize("is_told", [True, False])
def test_a_pool_that_a_seed_may_have_altered_accuses_nobody(
    course: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, is_told: bool
) -> None:
    """A proposal for pairs gets those that its prompt does not show."""
    monkeypatch.setattr(plan, "compute_step_pool", lambda *given: b"")
    if is_told:
        found = repeat(course, course.course.get_step(1))
        assert found.detail.startswith("the made checkpoint's pool is another")
        return
    monkeypatch.setattr(reexecution, "has_twin", lambda state: True)
    with pytest.raises(StepError, match="group 4: the pool is another by its problem's seed"):
        repeat(course, course.course.get_step(1))


# --- what other programs get of it


def test_only_what_was_learned_from_is_exported(course: SimpleNamespace) -> None:
    """What waits is no row, and no rollout that is left out. The parts of a reward give it."""
    made, parameters = course.course, course.course.network.parameters
    for number in (1, 3):
        step = made.get_step(number)
        taken = read_step_groups(step)
        rows = list(make_rows(step, taken, made.models))
        lessons = [one.lesson for one in taken]
        assert len(rows) == sum(len(lesson.rewards) for lesson in lessons if lesson is not None)
        assert [round(row["reward"] * 1e6) for row in rows] == [
            reward for lesson in lessons if lesson is not None for reward in lesson.rewards
        ]
        for row in rows:
            names = ("correctness", "quality", "satisfaction", "format")
            parts = RewardParts(**{name: round(row[name] * 1e6) for name in names})
            given = len(row["tokens"]), parameters.rewards, parameters.work.max_tokens
            assert compute_reward(parts, *given) == round(row["reward"] * 1e6)
    late = [(row["hotkey"], row["rollout"]) for row in rows[3:]]
    alice, bob = map(encode_ss58, (ALICE, BOB))
    assert late == [(alice, 1), (alice, 2), (bob, 0), (bob, 1)]
    assert all(row["advantage"] for row in rows[3:])


def test_a_step_that_was_put_aside_is_not_exported(course: SimpleNamespace, tmp_path: Path) -> None:
    """A trainer that is killed within a step, and started with other settings, makes another."""
    shutil.copytree(course.course.folder / "steps", tmp_path / "steps")
    record = course.course.get_step(2).record
    config = record.config.replace(f'"proposal_tries":{TRIES}', '"proposal_tries":0')
    assert config != record.config
    StepFolder(tmp_path / "steps").keep_record(replace(record, config=config), bytes(32))
    assert len([*(tmp_path / "steps").glob("step-00000002-*.json")]) == 2
    kept = [course.course.get_step(number).record for number in (1, 2, 3, 4)]
    assert [step.record for step in read_steps(tmp_path, range(1, 5))] == kept


def test_a_data_card_counts_what_was_learned_from(course: SimpleNamespace, tmp_path: Path) -> None:
    made = course.course
    summary = export_steps(made.folder, tmp_path / "set", range(1, 5))
    assert summary.groups == 6
    card = (tmp_path / "set" / "README.md").read_text().splitlines()
    steps = [line.split(" | ") for line in card if line.startswith("| ")][-4:]
    counts = [groups for _, _, groups, *_ in steps]
    assert counts == ["1", "1", "3", "1"]


def test_only_what_was_learned_from_is_pushed(
    course: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each group with its own rows, as many as count."""
    made, sent = course.course, list[ScoredGroup]()

    def hand_over(push: Any, key: Any, group: ScoredGroup) -> None:
        sent.append(group)

    for name, value in (("hand_over", hand_over), ("is_due", lambda push, key: True)):
        monkeypatch.setattr(step_push._Push, name, value)  # noqa: SLF001 - without a server
    given: Any = (None, None, 0.0, False, lambda line: None)
    push = step_push._Push(*given)  # noqa: SLF001
    for number in (1, 3):
        step = made.get_step(number)
        step_push._push_step(push, step, read_step_groups(step), made.models)  # noqa: SLF001
    assert [len(group.tokens) for group in sent] == [3, 3, 2, 2]
    for one, group in zip(list_delayed(made.get_step(3)), sent[2:], strict=True):
        assert one.lesson is not None
        assert [round(score * 1e6) for score in group.scores] == one.lesson.rewards
        assert group.tokens == [one.lesson.prompt + row for row in one.lesson.completions]
        assert group.group_overrides["assay"]["hotkey"] == encode_ss58(one.hotkey)


# --- what others do


def change(one: ConsumedGroup, place: int, rollout: DelayedRollout) -> ConsumedGroup:
    assert one.delay is not None
    rollouts = list(one.delay.rollouts)
    rollouts[place] = rollout
    return replace(one, delay=replace(one.delay, rollouts=tuple(rollouts)))


def find_group(course: SimpleNamespace, hotkey: bytes) -> ConsumedGroup:
    """A group of the first step."""
    taken = read_step_groups(course.course.get_step(1))
    return next(one for one in taken if one.hotkey == hotkey)


def delay(course: SimpleNamespace, hotkey: bytes, *rollouts: DelayedRollout) -> ConsumedGroup:
    source = course.course.get_step(1).record.digest
    one = replace(find_group(course, hotkey), delay=Delay(source, rollouts))
    return rate_again(course, one)


def spoil(course: SimpleNamespace, attack: str, taken: list[ConsumedGroup]) -> list[ConsumedGroup]:
    *fresh, alice, bob = taken
    none, untried = DelayedRollout(0, 0, 1), DelayedRollout(0, 0, 0)
    if attack == "more tries":
        return [*fresh, rate_again(course, change(alice, 2, DelayedRollout(6, 2, 1))), bob]
    if attack == "other solves that earn the same":
        return [*fresh, change(alice, 2, DelayedRollout(3, 1, 1)), bob]
    if attack == "counts without tries":
        return [*fresh, rate_again(course, change(alice, 0, DelayedRollout(0, 0, 1))), bob]
    if attack == "does not count what was tried":
        return [*fresh, rate_again(course, change(alice, 2, DelayedRollout(3, 2, 0))), bob]
    if attack == "tries of nothing":
        return [*fresh, change(alice, 1, DelayedRollout(3, 1, 1)), bob]
    if attack == "more solves than tries":
        return [*fresh, change(alice, 2, DelayedRollout(3, 4, 1)), bob]
    if attack == "fewer tries than due":
        return [*fresh, alice, bob, delay(course, CAROL, untried, none, none)]
    if attack == "invented tries":
        return [*fresh, alice, bob, delay(course, CAROL, DelayedRollout(3, 1, 1), none, none)]
    if attack == "left out":
        return [*fresh, bob]
    if attack == "another reward":
        rewards = [*alice.group.rewards[:2], alice.group.rewards[2] + 1]
        return [*fresh, replace(alice, group=replace(alice.group, rewards=rewards)), bob]
    if attack == "another source":
        other = course.course.get_step(2).record.digest
        assert alice.delay is not None
        return [*fresh, replace(alice, delay=replace(alice.delay, source=other)), bob]
    if attack == "another row":
        logprobs = [list(row) for row in alice.group.behaviour_logprobs]
        logprobs[0][0] -= 1.0
        return [
            *fresh,
            replace(alice, group=replace(alice.group, behaviour_logprobs=logprobs)),
            bob,
        ]
    if attack == "replayed instead":
        return [*fresh, replace(find_group(course, ALICE), delay=None), bob]
    if attack == "no proposals":
        return [*fresh, alice, bob, delay(course, DAVE, none, none, none)]
    raise AssertionError(attack)


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        ("more tries", "rollout 2: 6 tries, 2 of them right, and its problems had 3 tries, 2 of"),
        ("other solves that earn the same", "3 tries, 1 of them right, and its problems had 3"),
        ("counts without tries", "rollout 0 counts, with 0 tries of 3"),
        ("does not count what was tried", "rollout 2 does not count, with 3 tries of 3"),
        ("tries of nothing", "rollout 1 proposes nothing, and is said to have been tried"),
        ("more solves than tries", "rollout 2 is solved more often than tried"),
        ("fewer tries than due", "its problems have had fewer than 3 tries"),
        ("invented tries", "rollout 0: 3 tries, 1 of them right, and its problems had 0 tries"),
        ("left out", "left out, though enough of its rollouts count since step 1"),
        ("another reward", "rollout 2's reward is not what the parameters give"),
        ("another source", "its window's step is another than the record names"),
        ("another row", "not as step 1 has consumed it"),
        ("replayed instead", "proposals are replayed, which wait for their reward"),
        ("no proposals", "it has waited for a reward, and is no miner's group of proposals"),
    ],
)
def test_a_trainer_that_lies_about_a_delayed_group_is_named(
    course: SimpleNamespace, tmp_path: Path, attack: str, said: str
) -> None:
    step = copy_step(course, tmp_path, 3)
    found = repeat(course, put(step, spoil(course, attack, read_step_groups(step))))
    assert not found.equal
    assert said in found.detail


def test_a_group_in_two_steps_is_named(course: SimpleNamespace, tmp_path: Path) -> None:
    step = copy_step(course, tmp_path, 4)
    alice, _ = list_delayed(course.course.get_step(3))
    found = repeat(course, put(step, [*read_step_groups(step), alice]))
    assert not found.equal
    assert found.detail.endswith("group 4: step 3 has learned from it before")


@pytest.mark.parametrize(
    ("number", "window", "named", "said"),
    [
        (4, 1, 1, "step 3 has learned from it before"),
        (3, 2, 1, "its step is none of those before"),
        (3, 1, 2, "its step is none of those before"),
    ],
)
def test_an_invented_step_is_named_without_the_oldest(
    course: SimpleNamespace, tmp_path: Path, number: int, window: int, named: int, said: str
) -> None:
    """Where a step is missing, a group may be of it, but of none of those that are there."""
    step = copy_step(course, tmp_path, number)
    for path in step.path.parent.glob("step-00000001-*"):
        path.unlink()
    alice, _ = list_delayed(course.course.get_step(3))
    assert alice.delay is not None
    invented = Delay(b"i" * 32, alice.delay.rollouts)
    alice = replace(alice, window=window, delay=invented)
    fresh = [one for one in read_step_groups(step) if one.window == step.record.window]
    step = put(replace(step, record=replace(step.record, replayed=None)), fresh)
    replay = StepReplay(invented.source, named, window, ALICE, alice.proof, 1)
    step = put(replace(step, record=replace(step.record, replayed=(replay,))), [*fresh, alice])
    found = repeat(course, step)
    assert not found.equal
    assert found.detail.endswith(said)


@pytest.mark.parametrize(
    ("number", "changed", "said"),
    [
        (2, {"window": 1}, "a consumed group is not of the record's window 2"),
        (2, {"problem_seed": b"s" * 32}, "its problem's seed makes another prompt"),
        (2, {"levels": (9_999,)}, "group 1: "),
        (1, {"proof": bytes(32)}, "the consumed groups are of other submissions"),
        (1, {"levels": (1_001,)}, "its problem's seed makes another prompt"),
    ],
)
def test_a_mirror_that_alters_a_step_before_accuses_nobody(
    course: SimpleNamespace, tmp_path: Path, number: int, changed: dict[str, Any], said: str
) -> None:
    """No root binds these columns: the file is as one that is missing."""
    step = copy_step(course, tmp_path, 3)
    (path,) = step.path.parent.glob(f"step-{number:08d}-*.json")
    first, *others = read_step_groups(read_step(path))
    write_groups(path.with_suffix(".parquet"), [replace(first, **changed), *others])
    found = repeat(course, step)
    assert found.equal, found.detail
    (remark,) = found.remarks
    cut = f"counted again from step {number + 1} on only: the file of step {number} cannot be used"
    assert cut in remark
    assert said in remark


def swap(taken: Sequence[ConsumedGroup], *places: int) -> list[ConsumedGroup]:
    """The same rows with windows and submissions of two of them exchanged, which no root binds."""
    first, second = places
    rows = list(taken)
    for place, other in ((first, second), (second, first)):
        labels = taken[other]
        rows[place] = replace(taken[place], window=labels.window, proof=labels.proof)
    return rows


def ask_again(course: SimpleNamespace, hotkey: bytes, index: int) -> ConsumedGroup:
    """A group of the third window, of a miner that has proposed something in the first."""
    made, texts = course.course, [RIGHT, WRONG, WRONG]
    return propose(made.network, made.made[2], hotkey, index, texts, None, ABOUT_SUM)


def test_a_mirror_that_exchanges_windows_accuses_nobody(
    course: SimpleNamespace, tmp_path: Path
) -> None:
    """Of the step itself, where its miner has a fresh and a delayed group: the root and the counts
    of the record fit as before. So it is with what a step before has replayed."""
    step = copy_step(course, tmp_path, 3)
    taken = read_step_groups(step)
    lie = put(step, [ask_again(course, ALICE, 0), *taken])
    rows = swap(read_step_groups(lie), 0, 2)
    write_groups(lie.path.with_suffix(".parquet"), rows)
    assert read_step_groups(lie) == rows
    with pytest.raises(StepError, match="not in the order of their windows"):
        repeat(course, lie)
    first = course.course.get_step(1)
    record = replace(first.record, number=5, window=5, replayed=None)
    source = StepReplay(first.record.digest, 1, 1, ALICE, ALICE[::-1], 1)
    fresh = replace(ask_again(course, ALICE, 0), window=5)
    both = [fresh, replace(find_group(course, ALICE), delay=None)]
    sources = (StepSource(ALICE, ALICE[::-1], 1),)
    record = replace(record, sources=sources, replayed=(source,), left_out=())
    verify_provenance(record, both, b"t" * 32)
    with pytest.raises(StepError, match="not in the order of their windows"):
        verify_provenance(record, swap(both, 0, 1), b"t" * 32)


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ((0, 0, 1, 2), "group 2: the step learns from it twice"),
        ((0, 1, 1, 2), "group 4: the step learns from it twice"),
        ((0, 2, 1), "the groups are not in the order in which a step takes them"),
    ],
)
def test_a_group_in_a_step_twice_is_named(
    course: SimpleNamespace, tmp_path: Path, order: Sequence[int], said: str
) -> None:
    """Tries would count twice in the steps behind it: for them it is as one that is missing."""
    step = copy_step(course, tmp_path, 3)
    taken = read_step_groups(step)
    found = repeat(course, put(step, [taken[place] for place in order]))
    assert not found.equal
    assert found.detail.endswith(said)


def test_two_submissions_of_a_window_are_a_lie(course: SimpleNamespace) -> None:
    """Which rows are of which, nobody could know: proofs are not bound."""
    step = course.course.get_step(3)
    record, taken = step.record, read_step_groups(step)
    assert find_disorder(record, taken, b"t" * 32) is None
    record = replace(record, sources=(*record.sources, *record.sources))
    found = find_disorder(record, taken, b"t" * 32)
    assert found == "the record names two submissions of one miner's window"


def test_two_steps_of_one_window_are_named(course: SimpleNamespace, tmp_path: Path) -> None:
    """Their tries would be those of one window, twice."""
    step = copy_step(course, tmp_path, 3)
    fresh = [replace(one, window=2) for one in read_step_groups(step) if one.window == 3]
    lie = replace(step, record=replace(step.record, window=2))
    found = repeat(course, put(lie, [*fresh, *list_delayed(step)]))
    assert not found.equal
    assert found.detail == "step 3 has learned from window 2, and step 2 from window 2 before"


@pytest.mark.parametrize(
    ("changed", "is_bound"),
    [
        ({"problem_seed": b"s" * 32}, False),
        ({"levels": (9_999,)}, False),
        ({"window": 9}, False),
        ({"proof": bytes(32)}, False),
        ({"index": 9}, True),
        ({"checkpoint": bytes(32)}, True),
    ],
)
def test_a_mirror_that_alters_what_was_replayed_accuses_nobody(
    course: SimpleNamespace, tmp_path: Path, changed: dict[str, Any], is_bound: bool
) -> None:
    """The step that has learned from it first may have come from another store."""
    step, find = copy_step(course, tmp_path, 2), reexecution._find_altered_replay  # noqa: SLF001
    (path,) = step.path.parent.glob("step-00000001-*.json")
    first, trainer = read_step(path), b"t" * 32
    *others, dave = read_step_groups(first)
    (fresh,) = read_step_groups(step)
    lie = put(step, [fresh, dave])
    assert find(lie, read_step_groups(lie), trainer) is None
    write_groups(path.with_suffix(".parquet"), [*others, replace(dave, **changed)])
    if is_bound:
        with pytest.raises(StepError):
            read_step_groups(first)
    assert find(lie, read_step_groups(lie), trainer) is None
    write_groups(path.with_suffix(".parquet"), [*others, dave])
    lie = put(lie, [fresh, replace(dave, checkpoint=bytes(32))])
    assert str(find(lie, read_step_groups(lie), trainer)).endswith(
        "not as step 1 has learned from it"
    )


def test_a_mirror_that_alters_a_record_before_accuses_nobody(
    course: SimpleNamespace, tmp_path: Path
) -> None:
    """Other tries would end the line; but the checkpoint that it made names another record."""
    step = copy_step(course, tmp_path, 3)
    (path,) = step.path.parent.glob("step-00000001-*.json")
    first = read_step(path)
    config = first.record.config.replace(f'"proposal_tries":{TRIES}', '"proposal_tries":9')
    assert config != first.record.config
    record = replace(first.record, config=config)
    path.unlink()
    StepFolder(step.path.parent).keep_record(record, first.child)
    found = repeat(course, step)
    assert found.equal, found.detail
    assert found.remarks[0].endswith("from step 2 on only: step 1 is not here")


def test_one_bad_row_does_not_hide_what_newer_steps_say(
    course: SimpleNamespace, tmp_path: Path
) -> None:
    again = TrainerCourse(course.course.network, tmp_path)
    texts, both = [RIGHT, WRONG, RIGHT], [write(TRIPLE), NOTHING, write(SUM)]
    again.learn(course.first[2:])
    again.learn([propose(again.network, again.parent, one, 0, both) for one in (ALICE, BOB)])
    again.learn([ask_about(again, 2, texts, ABOUT_TRIPLE)])
    again.learn([ask_about(again, 3, texts, ABOUT_SUM)])
    step, first = again.get_step(4), again.get_step(1)
    taken = [replace(one, levels=(9_999,)) for one in read_step_groups(first)]
    write_groups(first.path.with_suffix(".parquet"), taken)
    *others, alice, bob = read_step_groups(step)
    assert (alice.hotkey, bob.hotkey) == (ALICE, BOB)
    found = reexecute(put(step, [*others, bob]), again.models)
    assert "left out, though enough of its rollouts count since step 2" in found.detail


def test_a_step_that_is_named_by_another_number_is_a_lie(
    course: SimpleNamespace, tmp_path: Path
) -> None:
    step = copy_step(course, tmp_path, 3)
    named = tuple(replace(one, number=2) for one in step.record.replayed or ())
    found = repeat(course, replace(step, record=replace(step.record, replayed=named)))
    assert found.detail.endswith("its step made checkpoint 1, and the record says 2")


def test_a_group_that_need_not_wait_or_does_not_is_named(
    course: SimpleNamespace, tmp_path: Path
) -> None:
    step = copy_step(course, tmp_path, 1)
    alice, *others = read_step_groups(step)
    found = repeat(course, put(step, [replace(alice, delay=None), *others]))
    assert found.detail.endswith("group 4: it does not wait for its reward")
    *others, dave = read_step_groups(course.course.get_step(1))
    found = repeat(course, put(step, [*others, replace(dave, delay=WAITING)]))
    assert "it waits for a reward, and is no miner's group of proposals" in found.detail


def test_a_group_that_enters_too_late_is_named(course: SimpleNamespace, tmp_path: Path) -> None:
    """By the steps behind it, and by the checkpoints, where its step was late itself."""
    made, step = course.course, copy_step(course, tmp_path, 3)
    late = replace(step, record=replace(step.record, number=DELAY_MAX + 2))
    assert "learned from 9 steps behind, which is too late" in repeat(course, late).detail
    parameters, parent = made.network.parameters, made.made[2]
    drawn = DrawnBy(parameters, parent, made.models)
    for number, said in ((DELAY_MAX, None), (DELAY_MAX + 1, "9 checkpoints after it was drawn")):
        grown = replace(parent.manifest, number=number)
        given = step.record, read_step_groups(step), parameters, grown, drawn.find
        found = find_false_group(*given)
        assert (found is None) == (said is None)
        assert said is None or said in str(found)
