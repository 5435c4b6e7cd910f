"""What a trainer measures while its network lives: counts, milestones, and returns to them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.folder import StepFolder, read_step
from assay.artifacts.steps.returns import get_return_path, read_return
from assay.inference.folder import digest_tensors
from assay.network.chain.errors import ForgottenError
from assay.network.store.folder import open_folder
from assay.neurons.trainer import gate_keeping
from assay.neurons.trainer.setup import TrainerConfig
from assay.neurons.trainer.trainer import Trainer
from assay.protocol.gate import Course, Outcome, find_course_fault
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.manifest import Manifest, compute_tensor_root, continue_line, find_line_lie
from assay.protocol.parameters import Gate, GateRule
from assay.session.course_windows import CourseWindows
from assay.training import LearnConfig, Learner
from tests.adversarial.conftest import LOCATOR, World, make_world

PROBLEMS = 8
#: A millionth: nothing is ever shown. Nine tenths: one pair more of one kind shows all.
NEVER, AT_ONCE = 1, 900_000


class Living:
    """A network in memory whose trainer measures."""

    def __init__(self, folder: Path, **errors: int) -> None:
        given = {"error_worse": NEVER, "error_better": NEVER, **errors}
        self.gate = Gate(GateRule.NOT_WORSE, PROBLEMS, **given)
        self.world: World = make_world(folder, ("alice",), gate=self.gate)
        self.folder = folder
        self.said: list[str] = []
        self.steps = StepFolder(folder / "steps")
        self.start()

    def start(self) -> None:
        """Start the trainer, again if it ran."""
        self.trainer = Trainer(
            self.world.hotkeys["trainer"],
            self.world.history,
            self.world.sources,
            TrainerConfig(
                LearnConfig(epochs=1, groups_per_batch=64, learning_rate=1e-4),
                LOCATOR,
                open_folder(self.folder / "published"),
                self.folder / "trainer",
                retry_s=0.0,
                steps=self.steps,
            ),
            lambda lesson: None,
            self.said.append,
        )

    def live(self, until: Callable[[Manifest], bool], blocks: int = 400) -> Manifest:
        """Until the newest checkpoint is as wanted."""
        for _ in range(blocks):
            self.world.mint()
            while self.trainer.step():
                course = self.trainer.course
                if course is not None and until(course.parent.manifest):
                    return course.parent.manifest
        raise AssertionError(f"{blocks} blocks, and: {self.said}")

    def list_line(self, manifest: Manifest) -> list[Manifest]:
        """A checkpoint and all before it, the first one first."""
        line = [manifest]
        while line[0].parent != ZERO_DIGEST:
            line.insert(0, self.models.get_outline(line[0].parent).manifest)
        return line

    @property
    def models(self) -> CheckpointFolder:
        return self.world.sources.checkpoints


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Callable[..., Living]]:
    torch.set_num_threads(1)
    made: list[Living] = []

    def make(**errors: int) -> Living:
        made.append(Living(tmp_path / str(len(made)), **errors))
        return made[-1]

    yield make
    for one in made:
        one.trainer.close()


def test_each_manifest_carries_on_what_its_course_has_shown(live: Callable[..., Living]) -> None:
    living = live()
    newest = living.live(lambda manifest: len(manifest.course.counts) >= 2)
    line = living.list_line(newest)
    for before, made in pairwise(line):
        assert find_course_fault(made.course, living.gate) is None
        assert find_line_lie(made, before, living.gate) is None
        assert made.course.milestone == line[0].digest
        assert made.course.outcome is Outcome.GOES_ON
    counted = [one.checkpoint for one in newest.course.counts]
    assert counted == [one.digest for one in line[1 : 1 + len(counted)]]
    assert all(one.asked == PROBLEMS for one in newest.course.counts)
    for one in newest.course.counts[:1]:  # uploaded before the manifest that names it
        assert (living.folder / "published" / f"gates/{one.answers.hex()}.parquet").exists()


def test_a_trainer_that_is_started_again_measures_the_same(live: Callable[..., Living]) -> None:
    """Also where what it has measured is gone: all follows from randomness and models."""
    whole, broken = live(), live()
    wanted = whole.live(lambda manifest: len(manifest.course.counts) >= 1)
    broken.live(lambda manifest: manifest.number == wanted.number - 1)
    broken.trainer.close()
    for file in (broken.folder / "trainer" / "gates").glob("*"):
        file.unlink()
    broken.start()
    assert broken.live(lambda manifest: manifest.number == wanted.number) == wanted


def test_a_course_that_is_worse_is_given_up(
    live: Callable[..., Living], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The milestone is published again, nothing is learned from what the given-up checkpoints
    drew, and the next course is another one."""
    living = live(error_worse=AT_ONCE)
    honest = Learner.bf16_state

    def spoil(learner: Learner) -> dict[str, torch.Tensor]:
        state = honest(learner)
        if learner.step == 1:  # flat weights answer nothing rightly
            for weight in learner.model.parameters():
                weight.data.mul_(0.2)
            state = honest(learner)
        return state

    monkeypatch.setattr(Learner, "bf16_state", spoil)
    returned = living.live(lambda manifest: manifest.course.outcome is Outcome.RETURN)
    line = living.list_line(returned)
    first = line[0]
    assert returned.course.milestone == first.digest
    assert (
        returned.tensors
        == first.tensors
        == compute_tensor_root(digest_tensors(living.models.get_outline(returned.digest).folder))
    )
    assert returned.levels == returned.levels_before == first.levels
    assert find_course_fault(returned.course, living.gate) is None
    record = read_return(get_return_path(living.steps, returned.number, returned.step)).record
    assert (record.parent, record.milestone) == (returned.parent, first.digest)
    assert any("is milestone 0 again: its course is worse" in said for said in living.said)
    after = living.live(lambda manifest: manifest.number == returned.number + 1)
    assert after.parent == returned.digest
    assert (after.course.milestone, after.course.attempt) == (first.digest, 2)
    made = read_step(living.steps.get_path(after.number, after.step)).record
    assert made.optimiser_before == record.optimiser
    assert any("which was given up" in said for said in living.said)
    assert continue_line(after, living.gate).attempt == 2


def test_a_course_that_is_better_becomes_the_milestone_and_its_state_is_kept(
    live: Callable[..., Living], monkeypatch: pytest.MonkeyPatch
) -> None:
    living = live(error_better=999_999)
    monkeypatch.setattr(gate_keeping, "count_gate", lambda *rights: (PROBLEMS, 0, 0, 0))
    made = living.live(lambda manifest: manifest.course.outcome is Outcome.MILESTONE)
    milestone = made.course.counts[-1].checkpoint
    assert find_course_fault(made.course, living.gate) is None
    (kept,) = (living.folder / "trainer").glob("milestone-*")
    assert kept.name == f"milestone-{milestone.hex()[:32]}.safetensors"
    after = living.live(lambda manifest: manifest.number == made.number + 1)
    assert (after.course.milestone, after.course.attempt) == (milestone, 1)


def test_a_milestone_is_the_one_that_showed_it_whenever_it_is_claimed(
    live: Callable[..., Living], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trainer that waits cannot put a worse checkpoint in its place, and begin from there."""
    living, asked = live(error_better=999_999), list[int]()

    def count(*rights: Any) -> tuple[int, int, int, int]:
        asked.append(1)
        return (PROBLEMS, 0, 0, 0) if len(asked) == 1 else (0, 1, 0, 0)

    def wait(course: Course, gate: Gate) -> Outcome:
        return Outcome.MILESTONE if len(course.counts) >= 2 else Outcome.GOES_ON

    monkeypatch.setattr(gate_keeping, "count_gate", count)
    monkeypatch.setattr(gate_keeping, "choose_outcome", wait)
    made = living.live(lambda manifest: manifest.course.outcome is Outcome.MILESTONE)
    shown, behind, *_ = made.course.counts
    assert find_course_fault(made.course, living.gate) is None
    assert continue_line(made, living.gate).milestone == shown.checkpoint
    ridden = replace(made.course, milestone=behind.checkpoint, counts=())
    (kept,) = (living.folder / "trainer").glob("milestone-*")
    assert kept.name == f"milestone-{shown.checkpoint.hex()[:32]}.safetensors"
    after = living.live(lambda manifest: manifest.number == made.number + 1)
    assert (after.course.milestone, after.course.attempt) == (shown.checkpoint, 1)
    lie = find_line_lie(replace(after, course=ridden), made, living.gate)
    assert "it is measured against" in (lie or "")


def test_a_trainer_whose_nodes_have_forgotten_goes_on_and_says_what_is_missing(
    live: Callable[..., Living], monkeypatch: pytest.MonkeyPatch
) -> None:
    living = live()

    def forget(windows: CourseWindows, window: int) -> bytes:
        raise ForgottenError(f"no node has the state of window {window}")

    monkeypatch.setattr(CourseWindows, "get_randomness", forget)
    made = living.live(lambda manifest: manifest.number >= 4)
    assert made.course.counts == ()
    assert find_course_fault(made.course, living.gate) is None
    told = [said for said in living.said if "name an archive node" in said]
    assert 0 < len(told) <= made.number


class Killed(BaseException):
    """Raised where a process is killed: none of its own code runs after it."""


def test_a_trainer_that_is_killed_while_it_returns_returns_to_the_same(
    live: Callable[..., Living], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed behind the checkpoint, before its own state counts it as done."""
    living = live(error_worse=AT_ONCE)
    monkeypatch.setattr(gate_keeping, "count_gate", lambda *rights: (0, PROBLEMS, 0, 0))
    honest, made = CheckpointFolder.publish_return, list[Manifest]()

    def die(folder: CheckpointFolder, *given: Any) -> Manifest:
        made.append(honest(folder, *given))
        if len(made) == 1:
            raise Killed
        return made[-1]

    monkeypatch.setattr(CheckpointFolder, "publish_return", die)
    with pytest.raises(Killed):
        living.live(lambda manifest: manifest.course.outcome is Outcome.RETURN)
    living.trainer.close()
    living.start()
    returned = living.live(lambda manifest: manifest.course.outcome is Outcome.RETURN)
    assert made == [returned, returned]
    living.trainer.close()
    living.start()  # behind it, too, and it learns on
    after = living.live(lambda manifest: manifest.number == returned.number + 1)
    assert (after.parent, after.course.attempt) == (returned.digest, 2)
