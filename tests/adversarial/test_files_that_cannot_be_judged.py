"""Files that break what judges them, or whose problems nobody can make: they cost their owner."""

from dataclasses import replace
from functools import partial
from hashlib import sha256

import pytest
import torch

from assay.artifacts.steps.config import StepChoice
from assay.artifacts.submissions import judge as submission_judge
from assay.environments.dealing import make_miner_problem
from assay.environments.foreign.guest_archive import GuestArchive
from assay.environments.registry import open_environment_of
from assay.inference.placing.devices import DeviceError
from assay.neurons.trainer.setup import TrainerConfig
from assay.neurons.trainer.trainer import Trainer
from assay.neurons.validator.judged_window import JUDGE, JudgedWindow
from assay.protocol.reason import Reason
from assay.sandbox import WorkerError
from assay.sandbox.usage import Usage, using
from assay.session.window_reader import get_challenge
from assay.subnet.presets import parse_environment
from assay.training import LearnConfig
from assay.training.held_out import HeldOut
from tests.absent import has_sandbox
from tests.adversarial import conftest
from tests.adversarial.conftest import GROUPS, make_world
from tests.adversarial.watched import Watched
from tests.environments.archive_files import add_file, write_package


class PanicError(BaseException):
    """What a library in Rust throws: no Exception."""


def break_for(monkeypatch, hotkeys, error, place="device cpu", until=None):
    """Judging these hotkeys' files fails at a place, until a block if one is given."""
    honest, tries = submission_judge.judge_and_carry, []

    def judge(submission, *arguments, **options):
        if submission.hotkey not in hotkeys or submission.context.window:
            return honest(submission, *arguments, **options)
        tries.append(submission.hotkey)
        if until is not None and until():
            return honest(submission, *arguments, **options)
        with using(place):
            raise error("what was raised")

    monkeypatch.setattr(submission_judge, "judge_and_carry", judge)
    return tries


@pytest.fixture
def brief_world(tmp_path):
    """Nothing mined yet, and nothing after window 0."""
    torch.set_num_threads(1)
    return make_world(tmp_path, last=0)


def judge_window(world):
    """Window 0, closed."""
    watched = Watched(world)
    while 0 not in watched.validator.judged_windows or not watched.audit(0).closed:
        world.mint()
        while watched.validator.step():
            pass
    return watched.audit(0)


@pytest.mark.parametrize(
    ("error", "last"), [(WorkerError, True), (DeviceError, False), (PanicError, True)]
)
def test_whatever_one_file_raises_costs_its_owner_alone(brief_world, monkeypatch, error, last):
    """Whether another file is judged after it or not: the judge tries one more time that it
    works."""
    world = brief_world
    names = sorted(("alice", "bob"), key=world.hotkeys.__getitem__)
    broken, whole = (world.hotkeys[name] for name in (names[::-1] if last else names))
    tries = break_for(monkeypatch, {broken}, error)
    judged = judge_window(world)
    assert judged.verdicts[broken].reason is Reason.INTERNAL
    assert judged.verdicts[whole].reason is Reason.ACCEPTED
    assert judged.counts
    assert len(tries) > 1
    assert "raised" not in judged.verdicts[broken].detail  # it may name files of this machine


def test_a_machine_that_breaks_down_in_a_window_charges_nobody(brief_world, monkeypatch):
    """The first file is judged, then the device is gone: the second file's owner is not to
    blame."""
    world = brief_world
    honest, judged_files = submission_judge.judge_and_carry, []
    miners = {world.hotkeys[name] for name in world.miners}

    def judge(submission, *arguments, **options):
        if submission.hotkey not in miners:
            return honest(submission, *arguments, **options)
        if judged_files:
            with using("device cpu"):
                raise DeviceError("the device has failed")
        judged_files.append(submission.hotkey)
        return honest(submission, *arguments, **options)

    monkeypatch.setattr(submission_judge, "judge_and_carry", judge)
    judged = judge_window(world)
    assert not judged.counts
    assert judged.verdicts.keys() & miners == {*judged_files}
    assert "the device has failed" in judged.explain_abstention()


def test_another_kind_of_child_proves_nothing(brief_world, monkeypatch):
    """The file's sandbox fails, and no other file needs one: nobody knows whose fault it is."""
    world = brief_world
    break_for(monkeypatch, {world.hotkeys["alice"]}, WorkerError, "sandbox")
    assert not judge_window(world).counts


def test_a_child_that_nobody_else_needs_is_asked_by_the_validator(brief_world, monkeypatch):
    """Otherwise whoever is alone with a rare part of a mixture could void a window."""
    world, asked = brief_world, []
    alice = world.hotkeys["alice"]
    probed = partial(using, probe=lambda: asked.append(1))
    monkeypatch.setattr("tests.adversarial.test_files_that_cannot_be_judged.using", probed)
    break_for(monkeypatch, {alice}, WorkerError, "sandbox")
    judged = judge_window(world)
    assert judged.verdicts[alice].reason is Reason.INTERNAL
    assert judged.counts
    assert asked


def test_kinds_of_children_are_proven_by_several_files_together(brief_world, monkeypatch):
    """One file fails in two sandboxes, and each is needed by one other file alone."""
    world = brief_world
    sandboxes = {world.hotkeys["alice"]: "a", world.hotkeys["bob"]: "b"}
    honest, tries = submission_judge.judge_and_carry, []

    def judge(submission, *arguments, **options):
        if submission.context.window == 0 and submission.hotkey in sandboxes:
            with using(sandboxes[submission.hotkey]):
                return honest(submission, *arguments, **options)
        if submission.context.window == 0 and submission.hotkey == world.hotkeys["owner"]:
            tries.append(1)
            with using("ab"[len(tries) % 2]):
                raise WorkerError("lost")
        return honest(submission, *arguments, **options)

    monkeypatch.setattr(submission_judge, "judge_and_carry", judge)
    judged = judge_window(world)
    assert judged.verdicts[world.hotkeys["owner"]].reason is Reason.INTERNAL
    assert judged.counts


def test_what_passes_costs_nobody(brief_world, monkeypatch):
    world, tries = brief_world, []
    alice = world.hotkeys["alice"]
    tries = break_for(monkeypatch, {alice}, WorkerError, until=lambda: len(tries) > 2)
    judged = judge_window(world)
    assert judged.verdicts[alice].reason is Reason.ACCEPTED
    assert len(tries) == 3


def make_usage(served=(), failed=(), began=0.0, ended=0.0):
    return Usage(set(served), dict.fromkeys(failed), began, ended)


def test_what_was_begun_before_a_failure_proves_nothing_after_it():
    """Files are judged side by side: the device may be gone when the second one's result is
    taken."""
    judged = JudgedWindow(challenge=None)
    judged.fail(b"first", make_usage(failed=["device cpu"], ended=5.0), head=1)
    judged.succeed(b"second", make_usage(["device cpu"], began=4.0, ended=6.0), "as it was read")
    assert not judged.failed[b"first"].is_blamed
    assert judged.find_doubt(head=1) == (b"first", "device cpu")
    judged.note_answered({"device cpu", JUDGE}, began=7.0)
    assert judged.failed[b"first"].is_blamed


def test_accomplices_cannot_take_back_a_proof(brief_world, monkeypatch):
    """The judge is tried by what was read of a file, whatever its store shows later."""
    world = brief_world
    names = sorted(("alice", "bob"), key=world.hotkeys.__getitem__)
    accomplice, broken = (world.hotkeys[name] for name in names)
    honest, opened = submission_judge.open_submission, []

    def open_once(context, hotkey, sources, request):
        if hotkey == accomplice and context.window == 0 and not request.samples:
            assert not opened, "the file is read again"
            opened.append(1)
        return honest(context, hotkey, sources, request)

    monkeypatch.setattr(submission_judge, "open_submission", open_once)
    break_for(monkeypatch, {broken}, DeviceError)
    judged = judge_window(world)
    assert judged.verdicts[broken].reason is Reason.INTERNAL
    assert judged.counts


#: One number in so many loops for ever.
RARE = 30
TEXT = f"""
LEVELS = tuple(range(1, 9))

def make_problem(draw, level):
    a, b = draw(90), draw(90)
    if draw({RARE}) == 0:
        while True:
            pass
    return f"{{a}}+{{b}}=", a + b

def solve(task):
    return str(task)

def score(task, answer):
    return answer == str(task)

def list_wrong(task):
    return [str(task + 1)]
"""


def count_unmade(world, hotkey):
    """How many of a hotkey's problems in window 0 are not made."""
    challenge = None
    while challenge is None:
        world.mint()
        challenge = get_challenge(world.chain, world.beacons, world.parameters, 0)
    manifest = world.checkpoint.manifest
    environment = open_environment_of(world.parameters.environment, manifest, b"")
    made = [
        make_miner_problem(environment, challenge.seed, hotkey, index, manifest.levels).is_made
        for index in range(GROUPS)
    ]
    return made.count(False)


@pytest.fixture
def looping_world(tmp_path, monkeypatch):
    """A world whose environment makes no problem of some numbers, mined by two hotkeys without such
    a problem and one with some."""
    if not has_sandbox():
        pytest.skip("no sandbox: assay sandbox prepare")
    choice = parse_environment(add_file(write_package(tmp_path, TEXT)))
    make = conftest.make_demo_parameters
    monkeypatch.setattr(
        conftest,
        "make_demo_parameters",
        lambda *given, **named: replace(make(*given, **named), environment=choice),
    )
    looked = make_world(tmp_path / "looked", (), last=0)
    unmade = {f"m{k}": count_unmade(looked, sha256(b"m%d" % k).digest()) for k in range(16)}
    fine = [name for name, count in unmade.items() if not count][:2]
    bad = [name for name, count in unmade.items() if count][:1]
    assert len(fine) == 2
    assert bad
    return make_world(tmp_path / "mined", (*fine, *bad), last=0), fine, bad


def test_a_problem_that_nobody_can_make_voids_nothing(looping_world, monkeypatch):
    """And each problem is made once for its judgement."""
    world, fine, bad = looping_world
    judge, ask, made = submission_judge.judge_and_carry, GuestArchive.ask, []

    def watch(submission, *given, **options):
        def note(self, kind, *rest, **more):
            if kind == "make":
                made.append((submission.hotkey, *rest))
            return ask(self, kind, *rest, **more)

        monkeypatch.setattr(GuestArchive, "ask", note)
        judged = judge(submission, *given, **options)
        monkeypatch.setattr(GuestArchive, "ask", ask)
        return judged

    monkeypatch.setattr(submission_judge, "judge_and_carry", watch)
    judged = judge_window(world)
    reasons = {judged.verdicts[world.hotkeys[name]].reason for name in (*fine, *bad)}
    assert reasons == {Reason.ACCEPTED}
    assert judged.counts
    assert {hotkey for hotkey, *_ in made} == {world.hotkeys[name] for name in (*fine, *bad)}
    assert len(set(made)) == len(made)


def test_a_trainer_goes_on_beside_problems_that_nobody_can_make(looping_world):
    """Its own groups and the problems that it holds out are drawn from the same numbers."""
    world, _, _ = looping_world
    held_out = HeldOut(world.history, 32)
    config = TrainerConfig(
        LearnConfig(epochs=1),
        "test:store",
        last_window=0,
        held_out=held_out,
        choice=StepChoice(local_groups=8),
    )
    told, silences = [], []
    trainer = Trainer(
        world.hotkeys["trainer"],
        world.history,
        world.sources,
        config,
        told.append,
        told.append,
        on_silence=silences.append,
    )
    while trainer.course is None or trainer.course.window == 0:
        world.mint()
        while trainer.step():
            pass
        assert trainer.trouble is None
    counted = held_out.count(world.checkpoint, 0)
    assert sum(level.asked for level in counted) == 32
    (silence,) = silences
    assert len(silence.rewards) == 3 * GROUPS + 8
