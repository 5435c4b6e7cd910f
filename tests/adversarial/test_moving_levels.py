"""Levels that follow held-out success: a trainer's publications, and false claims about them."""

import shutil
from dataclasses import replace

import pytest

from assay.artifacts.checkpoints.folder import CheckpointFolder, open_checkpoint
from assay.artifacts.steps.folder import StepError, StepFolder, read_step
from assay.audit.provenance.reexecution import reexecute
from assay.environments import levels, steering
from assay.environments.levels import compute_candidates
from assay.environments.registry import open_environment
from assay.environments.steering import compute_next_levels
from assay.inference.draft import Request
from assay.inference.folder import MANIFEST_FILE, UnusableCheckpointError
from assay.network.files import write_json
from assay.neurons.trainer.lessons import WindowReading
from assay.neurons.trainer.setup import TrainerConfig
from assay.neurons.trainer.trainer import Trainer
from assay.protocol.amendment import ParameterHistory
from assay.protocol.encoding import to_json
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.manifest import LevelSuccess, LevelWeight, start_levels
from assay.training.held_out import HeldOut, count_held_out
from tests.adversarial.conftest import open_models
from tests.adversarial.test_reexecuting_steps import LEARNING, get_steps
from tests.adversarial.trainer_bench import Calls, RecordedChain

#: Held-out problems, and so few that conclusions are drawn from them here.
PROBLEMS = 24


@pytest.fixture(scope="module", autouse=True)
def few_groups():
    """One group of each file, judged once: enough to learn from, and quick."""
    judge, judged = WindowReading.judge, {}

    def judge_few(reading, hotkey, checkpoint, sources):
        key = reading.context.window, hotkey, checkpoint.digest
        if key not in judged:
            alone = WindowReading(reading.context, [])
            judge(alone, hotkey, checkpoint, sources)
            judged[key] = alone.groups[:1]
        reading.groups += judged[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WindowReading, "judge", judge_few)
        yield


@pytest.fixture
def eager(monkeypatch):
    """Concludes from two problems of a level, and sets what share of mixed ones teaches."""

    def set_rule(teaching):
        monkeypatch.setattr(levels, "PROBLEMS_MIN", 2)
        monkeypatch.setattr(steering, "PROBLEMS_MIN", 2)
        monkeypatch.setattr(levels, "TEACHING", teaching)
        monkeypatch.setattr(levels, "STAYING", teaching)

    return set_rule


def verify(step, folder):
    return reexecute(step, CheckpointFolder(folder / "models"))


class Course:
    """A trainer over the world's two windows; it may be restarted between them."""

    def __init__(self, world, folder, held_out, store=None):
        self.world, self.folder, self.held_out, self.store = world, folder, held_out, store
        self.lessons, self.said = [], []
        self.chain = RecordedChain(world.chain, world.hotkeys["trainer"], Calls())
        self.models = open_models(folder / "models", world.checkpoint)
        self.start()

    def start(self):
        sources = replace(self.world.sources, chain=self.chain, checkpoints=self.models)
        config = TrainerConfig(
            LEARNING,
            "test:trainer",
            self.store,
            folder=self.folder / "course",
            last_window=1,
            steps=StepFolder(self.folder / "steps", 5),
            held_out=self.held_out,
        )
        hotkey = self.world.hotkeys["trainer"]
        self.trainer = Trainer(
            hotkey,
            ParameterHistory(self.world.parameters),
            sources,
            config,
            self.lessons.append,
            self.said.append,
        )
        self.trainer.step()

    def run(self, window=2):
        self.chain.head = self.world.chain.get_head()
        while self.trainer.window != window:
            self.trainer.step()
            assert self.trainer.trouble is None
        return self

    def restart(self):
        self.trainer.close()
        self.models = CheckpointFolder(self.folder / "models")
        self.held_out = HeldOut(ParameterHistory(self.world.parameters), PROBLEMS)
        self.start()
        return self

    @staticmethod
    def load(folder, digest):
        return CheckpointFolder(folder / "models").get(digest)

    @property
    def levels(self):
        return [lesson.published.level_numbers for lesson in self.lessons]

    @property
    def steps(self):
        return [read_step(path) for path in get_steps(self.folder)]

    def verify(self, step):
        return verify(step, self.folder)

    def read_files(self):
        return {
            path.relative_to(self.folder): path.read_bytes()
            for name in ("models", "steps", "course")
            for path in (self.folder / name).rglob("*")
            if path.is_file()
        }


def make_course(world, folder, problems=PROBLEMS):
    return Course(world, folder, HeldOut(ParameterHistory(world.parameters), problems))


def test_levels_follow_from_what_was_counted(world, tmp_path, eager):
    eager(teaching=100)
    course = make_course(world, tmp_path).run()
    assert world.checkpoint.manifest.levels == start_levels((5, 6))
    assert "curriculum adds level 4 (" in "".join(course.said)
    models = CheckpointFolder(tmp_path / "models")
    environment = open_environment(world.parameters.environment)
    for step, lesson in zip(course.steps, course.lessons, strict=True):
        parent, made = models.get(step.record.parent), lesson.published
        counts = count_held_out(parent, world.parameters, PROBLEMS)
        assert (made.levels_before, made.held_out) == (parent.manifest.levels, counts)
        tried = compute_candidates(parent.manifest.level_numbers, environment.levels)
        assert {count.level for count in counts} <= set(tried)
        assert sum(count.asked for count in counts) == PROBLEMS
        following = compute_next_levels(world.parameters, parent.manifest.levels, counts)
        assert made.levels == following
        assert course.verify(step).equal
    assert {pair.weight for pair in course.lessons[-1].published.levels} != {1_000}
    # both windows were mined under the genesis: the second step's levels are not its child's
    assert [lesson.levels for lesson in course.lessons] == [(5, 6), (5, 6)]


def test_mixed_problems_are_those_that_one_of_two_tries_solves(world):
    """Counted again by drawing each try by itself."""
    checkpoint, parameters = world.checkpoint, world.parameters
    environment = open_environment(parameters.environment)
    drafter = checkpoint.get_drafter(parameters.work.temperature)
    expected = {}
    for number in range(PROBLEMS):
        first = hash_fields(Domain.HELD_OUT, environment.digest, number.to_bytes(4, "big"))
        problem = environment.make_problem(first, (4, 5, 6, 7))
        prompt = tuple(checkpoint.tokenizer.encode(problem.conversation))
        right = []
        for seed in (first, hash_fields(Domain.HELD_OUT, first)):
            (tokens,) = drafter.draft([Request(prompt, seed)])
            text = checkpoint.tokenizer.decode(tokens)
            right.append(environment.score(problem, text).correctness == 1_000_000)
        solved, asked, mixed = expected.get(problem.level, (0, 0, 0))
        expected[problem.level] = (solved + right[0], asked + 1, mixed + (right[0] != right[1]))
    counts = count_held_out(checkpoint, parameters, PROBLEMS)
    assert {c.level: (c.solved, c.asked, c.mixed) for c in counts} == expected
    assert sum(c.mixed for c in counts) > 0


def test_a_restart_changes_nothing(world, tmp_path, eager):
    eager(teaching=1_001)  # none teaches: the levels with most mixed problems follow
    course = make_course(world, tmp_path / "whole").run()
    assert course.levels[0] != world.checkpoint.manifest.level_numbers
    other = make_course(world, tmp_path / "halves").run(window=1).restart().run()
    assert other.read_files() == course.read_files()
    assert course.verify(course.steps[1]).equal


def test_miners_that_withhold_what_teaches_move_no_level(world, tmp_path, eager, monkeypatch):
    """Miners may stay away, all of them or those whose groups are mixed: the levels that follow are
    the same, since no group of theirs is counted."""
    eager(teaching=355)
    whole = make_course(world, tmp_path / "whole").run(window=1)
    take = WindowReading.judge

    def take_dull(reading, hotkey, checkpoint, sources):
        take(reading, hotkey, checkpoint, sources)
        reading.groups = [one for one in reading.groups if hotkey != min(reading.context.members)]
        reading.groups = reading.groups[:1]

    monkeypatch.setattr(WindowReading, "judge", take_dull)
    fewer = make_course(world, tmp_path / "fewer").run(window=1)
    assert fewer.lessons[0].stats.groups < whole.lessons[0].stats.groups
    assert fewer.lessons[0].published.held_out == whole.lessons[0].published.held_out
    assert fewer.levels == whole.levels != [(5, 6)]


def test_without_held_out_problems_levels_stay(world, tmp_path, eager):
    eager(teaching=0)
    course = make_course(world, tmp_path / "none", problems=0).run(window=1)
    assert course.levels == [(5, 6)]
    assert [lesson.published.held_out for lesson in course.lessons] == [()]
    plain = Course(world, tmp_path / "plain", None).run(window=1)
    assert plain.read_files() == course.read_files()
    assert course.verify(course.steps[0]).equal


def test_too_few_of_them_move_nothing_and_that_is_said_once(world, tmp_path):
    course = make_course(world, tmp_path).run()
    assert course.levels == [(5, 6), (5, 6)]
    said = [line for line in course.said if "fewer than 24 held-out problems" in line]
    assert len(said) == 1


class Boaster(HeldOut):
    """Says that two tries part wherever it suits."""

    def count(self, checkpoint, window):
        """The real counts, with all of level 7 shown as mixed."""
        counts = super().count(checkpoint, window)
        return tuple(replace(c, mixed=c.asked if c.level == 7 else 0) for c in counts)


def test_a_trainer_that_makes_its_counts_up(world, tmp_path, eager):
    """Levels that suit a friend's model follow from counts that nobody else finds."""
    eager(teaching=355)
    course = Course(world, tmp_path, Boaster(ParameterHistory(world.parameters), PROBLEMS)).run(
        window=1
    )
    assert course.levels == [(7,)]
    finding = course.verify(course.steps[0])
    assert not finding.equal
    assert "of the held-out problems the parent solves" in finding.detail


@pytest.fixture(scope="module")
def taught(world, tmp_path_factory):
    """Folder of an honest step."""
    folder = tmp_path_factory.mktemp("taught")
    make_course(world, folder).run(window=1).trainer.close()
    return folder


@pytest.fixture
def step(taught, tmp_path):
    """The honest step, in a copy to spoil."""
    shutil.copytree(taught, tmp_path, dirs_exist_ok=True)
    (path,) = get_steps(tmp_path)
    return read_step(path)


def test_levels_that_do_not_follow(world, step, tmp_path, caplog):
    models = CheckpointFolder(tmp_path / "models")
    honest = models.get(step.child)
    weights = {n: w.bfloat16() for n, w in honest.model.state_dict().items()}
    parent, counts = models.get(step.record.parent), honest.manifest.held_out
    heavier = tuple(LevelWeight(level, 1_200) for level in (5, 6))
    for other in (start_levels((1, 2)), heavier):
        forged = models.publish(parent, weights, step.record.digest, other, counts)
        with pytest.raises(UnusableCheckpointError, match="from its parent's success follow"):
            open_checkpoint(models, forged.digest, world.parameters)
        finding = verify(replace(step, child=forged.digest), tmp_path)
        assert not finding.equal
        assert finding.detail.endswith("manifest has other levels")
    # a parent of other levels makes a manifest that can be used, and is a lie that anybody finds
    stated = {"levels": heavier, "levels_before": heavier, "held_out": ()}
    claimed = replace(honest.manifest, **stated)
    folder = tmp_path / "models" / claimed.digest.hex()
    shutil.copytree(honest.folder, folder)
    write_json(folder / MANIFEST_FILE, to_json(claimed))
    assert not caplog.records
    assert open_checkpoint(models, claimed.digest, world.parameters).manifest.levels == heavier
    (line,) = caplog.records
    assert line.event == "parent_differs"
    assert line.getMessage().endswith(
        "has the levels 5 (× 1.2), 6 (× 1.2), and the parent has 5 (× 1), 6 (× 1)"
    )
    finding = verify(replace(step, child=claimed.digest), tmp_path)
    assert "levels_before" in finding.detail
    shutil.rmtree(tmp_path / "models" / forged.digest.hex())
    named = verify(replace(step, child=forged.digest), tmp_path)  # nothing to hold it against
    assert "is missing" in named.detail


def test_a_manifest_that_would_have_the_verifier_work_for_ever(step, tmp_path):
    models = CheckpointFolder(tmp_path / "models")
    parent = models.get(step.record.parent)
    weights = {n: w.bfloat16() for n, w in models.get(step.child).model.state_dict().items()}
    asked = (LevelSuccess(5, 0, 2**32 - 1, 0),)
    forged = models.publish(parent, weights, step.record.digest, held_out=asked)
    with pytest.raises(StepError, match="more than anybody asks"):
        verify(replace(step, child=forged.digest), tmp_path)
