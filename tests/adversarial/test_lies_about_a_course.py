"""A trainer that lies about its course: an audit names each lie, and an honest course has none."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from shutil import copytree
from time import sleep
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from assay.artifacts.checkpoints.folder import open_checkpoint
from assay.artifacts.gates.file import GateAnswers, GateModel, read_answers, write_answers
from assay.artifacts.ports import Objects
from assay.artifacts.status.validator import GateStatus
from assay.artifacts.store_objects import make_answers_name
from assay.audit import gate_check
from assay.audit.bundle_export import KeptObjects
from assay.audit.findings import Findings
from assay.audit.gate_check import CourseChecks
from assay.audit.ports import Public
from assay.audit.recorded_answers import RecordedAnswers, RecordedBeacons, RecordedChain
from assay.audit.sources import FetchedOutlines
from assay.explorer.sources.manifests import Manifests
from assay.inference.checkpoint import Checkpoint, load_checkpoint
from assay.inference.folder import MANIFEST_FILE
from assay.network.files import write_json
from assay.network.store.folder import open_folder
from assay.neurons.validator import gate_watch
from assay.neurons.validator.gate_watch import GateWatch
from assay.protocol.encoding import to_json
from assay.protocol.gate import Course, GateCounts, Outcome, compute_gate_seed
from assay.protocol.manifest import Manifest
from assay.protocol.parameters import Parameters
from assay.protocol.window import compute_window
from assay.rounds.in_force import get_checkpoint_digest
from assay.session.course_windows import CourseWindows
from assay.session.gate_evidence import AskedGate, ask_again, find_return_fault
from assay.training import GENESIS
from assay.training.gate_answers import (
    answer_gate,
    count_gate,
    draw_gate_problems,
    score_answers,
    select_first_problems,
)
from tests.adversarial.test_courses_behind_a_milestone import Living
from tests.audit.audited import ModelFolders

#: Counts near a bound, which exact integers would take minutes for.
HUGE = GateCounts(b"a" * 32, bytes(32), 2**32 - 1, 2_012_486, 1_665_590, 0, 0)
MODELS = GateModel.OWN, GateModel.MILESTONE, GateModel.FIRST


@dataclass
class Lied:
    """A network that lived honestly, and its newest checkpoint, about which lies are told."""

    living: Living
    honest: Manifest
    window: int  # the first one in which it is in force
    later: Manifest  # its child
    later_window: int
    scratch: Path

    @property
    def parameters(self) -> Any:
        return self.living.world.parameters

    @property
    def store(self) -> Path:
        return self.living.folder / "published"

    @property
    def public(self) -> Public:
        world = self.living.world
        stores: Sequence[Objects] = [ModelFolders(world.folder / "models"), open_folder(self.store)]
        return Public(
            chain=world.chain,
            beacons=world.beacons,
            parameters=world.parameters,
            history=world.history,
            records=stores[1],
            submissions=SimpleNamespace(),
            outlines=FetchedOutlines(self.scratch, lambda: stores),
            copies={},
            mirrors=lambda: stores,
        )

    @property
    def newest(self) -> GateCounts:
        """The counts that the checkpoint adds."""
        return self.honest.course.counts[-1]

    def tell(self, **changes: Any) -> Manifest:
        """The same checkpoint with another course."""
        lie = replace(self.honest, course=replace(self.honest.course, **changes))
        self.publish(lie)
        return lie

    def publish(self, lie: Manifest) -> None:
        models = self.living.world.folder / "models"
        target = models / lie.digest.hex()
        if not target.exists():
            copytree(models / self.honest.digest.hex(), target)
            write_json(target / MANIFEST_FILE, to_json(lie))

    def recount(self, **counts: Any) -> Manifest:
        """The same checkpoint with other counts of the one that it adds."""
        changed = replace(self.newest, **counts)
        return self.tell(counts=(*self.honest.course.counts[:-1], changed))

    def check(self, manifest: Manifest, **changes: Any) -> Findings:
        return self.check_all({self.honest: manifest}, self.window, **changes)

    def check_all(self, told: dict[Manifest, Manifest], window: int, **changes: Any) -> Findings:
        """The findings about the last of lies that are in force in the place of honest ones."""
        findings, public = Findings(window), replace(self.public, **changes)
        names = {honest.digest: lie.digest for honest, lie in told.items()}
        renamed: Any = Renamed(public.chain, names)
        public = replace(public, chain=renamed)
        outline = public.outlines.get(list(told.values())[-1].digest)
        CourseChecks().check(public, window, outline, findings)
        return findings

    def ask(self) -> AskedGate:
        world = self.living.world
        windows = CourseWindows(world.chain, world.beacons, world.history)
        first = {
            run.digest: run.window
            for run in windows.iterate_back(self.window)
            if run.digest == self.newest.checkpoint
        }
        randomness = windows.get_randomness(first[self.newest.checkpoint])
        given = self.newest.checkpoint, randomness, self.honest.course.milestone
        return ask_again(self.parameters, *given, self.public.outlines.get)

    def read(self, asked: AskedGate) -> GateAnswers:
        data = (self.store / make_answers_name(self.newest.answers)).read_bytes()
        work, vocabulary = self.parameters.work, len(asked.outline.tokenizer.drawable)
        return read_answers(data, self.parameters.gate, work.max_tokens, vocabulary)

    def publish_answers(self, answers: GateAnswers) -> Manifest:
        """The same checkpoint with other answers, and the counts that they make."""
        asked, data = self.ask(), write_answers(answers)
        open_folder(self.store).put(make_answers_name(sha256(data).digest()), data)
        rights = (
            score_answers(asked.outline, asked.environment, asked.parameters.work, part, given)
            for part, given in zip(
                (asked.problems, asked.problems, select_first_problems(asked.problems)),
                (answers.own, answers.milestone, answers.first),
                strict=True,
            )
        )
        wins, losses, first_wins, first_losses = count_gate(*rights)
        return self.recount(
            answers=sha256(data).digest(),
            wins=wins,
            losses=losses,
            first_wins=first_wins,
            first_losses=first_losses,
        )


@dataclass
class Renamed:
    """A chain on which other checkpoints were published in the place of some."""

    chain: Any
    names: dict[bytes, bytes]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.chain, name)

    def get_commitments(self, block: int) -> dict[bytes, bytes]:
        slots: dict[bytes, bytes] = {**self.chain.get_commitments(block)}
        for honest, lie in self.names.items():
            slots = {key: data.replace(honest, lie) for key, data in slots.items()}
        return slots


class Shelf:
    """The models that an auditor has."""

    def __init__(self, lied: Lied) -> None:
        self._lied = lied

    def get(self, digest: bytes, parameters: Parameters) -> Checkpoint | None:
        return open_checkpoint(self._lied.living.models, digest, parameters)


@pytest.fixture(scope="module")
def lied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lied]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("lied")
    living = Living(folder)
    honest = living.live(lambda manifest: len(manifest.course.counts) >= 1)
    window = wait_until_in_force(living, honest)
    newest = living.live(lambda manifest: manifest.number > honest.number)
    later = living.list_line(newest)[honest.number + 1]
    then = wait_until_in_force(living, later)
    yield Lied(living, honest, window, later, then, folder / "scratch")
    living.trainer.close()


def wait_until_in_force(living: Living, manifest: Manifest) -> int:
    """The first window in which a checkpoint is in force, made just now or in force since."""
    world, timing = living.world, living.world.parameters.timing
    for number in range(400):
        if number:
            world.mint()
        while living.trainer.step():
            pass
        window = compute_window(timing, world.chain.get_head())
        if get_checkpoint_digest(world.chain, world.parameters, window) == manifest.digest:
            return window
    raise AssertionError(f"it does not come into force: {living.said}")


def test_an_honest_course_has_no_finding(lied: Lied) -> None:
    findings = lied.check(lied.honest, models=Shelf(lied))
    assert (findings.course_faults, findings.unknown) == ([], [])
    assert [check.value for check in findings.checked] == ["course"]
    assert not findings.notes
    (note,) = lied.check(lied.honest).notes
    assert "needs the models" in note


def name_only(findings: Findings) -> Any:
    (fault,) = findings.course_faults
    return fault


def test_false_counts_are_named(lied: Lied) -> None:
    wins = lied.newest.wins
    fault = name_only(lied.check(lied.recount(wins=wins + 1)))
    assert fault.checkpoint == lied.newest.checkpoint
    assert f"{wins} wins" in fault.what
    assert f"says {wins + 1} wins" in fault.what


def test_a_checkpoint_that_is_left_out_is_named(
    lied: Lied, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own child may have been made before it was in force, and some more."""
    monkeypatch.setattr(gate_check, "LATE_MAX", 1)
    counts = lied.honest.course.counts
    assert lied.newest.checkpoint == lied.honest.parent
    without = lied.tell(counts=counts[:-1])
    assert lied.check(without).matched
    then = replace(lied.later, parent=without.digest, course=without.course)
    lied.publish(then)
    told = {lied.honest: without, lied.later: then}
    fault = name_only(lied.check_all(told, lied.later_window))
    assert fault.checkpoint == lied.newest.checkpoint
    assert "left out of a later checkpoint's counts: it was in force in window" in fault.what


def test_what_nobody_has_is_the_trainers_doing(lied: Lied) -> None:
    """A parent, or a checkpoint that is counted and was in force: anybody could have checked it."""
    orphan = replace(lied.honest, parent=b"p" * 32)
    lied.publish(orphan)
    assert "nobody has its parent's manifest" in name_only(lied.check(orphan)).what
    ghost = b"n" * 32
    strange = replace(lied.later.course.counts[-1], checkpoint=ghost)
    course = replace(lied.later.course, counts=(*lied.honest.course.counts, strange))
    then = replace(lied.later, course=course)
    lied.publish(then)
    names = {lied.honest.digest: ghost, lied.later.digest: then.digest}
    renamed: Any = Renamed(lied.public.chain, names)
    findings, public = Findings(lied.later_window), replace(lied.public, chain=renamed)
    outline = public.outlines.get(then.digest)
    CourseChecks().check(public, lied.later_window, outline, findings)
    assert ghost in {fault.checkpoint for fault in findings.course_faults}


def test_counts_of_a_parent_that_was_never_in_force_are_looked_at(lied: Lied) -> None:
    """It carries invented ones into the counts of a child that adds nothing false."""
    unheard = lied.recount(wins=lied.newest.wins + 1)
    added = lied.later.course.counts[len(lied.honest.course.counts) :]
    course = replace(lied.later.course, counts=(*unheard.course.counts, *added))
    then = replace(lied.later, parent=unheard.digest, course=course)
    lied.publish(then)
    fault = name_only(lied.check_all({lied.later: then}, lied.later_window))
    assert fault.checkpoint == lied.newest.checkpoint
    assert f"says {lied.newest.wins + 1} wins" in fault.what
    # and an honest one that was replaced before it came into force has no finding
    honest = replace(lied.honest, number=lied.honest.number + 100)
    lied.publish(honest)
    then = replace(lied.later, parent=honest.digest)
    lied.publish(then)
    assert lied.check_all({lied.later: then}, lied.later_window).matched


@pytest.mark.parametrize(
    "course",
    [
        Course(b"g" * 32, 0, (), Outcome.MILESTONE),
        Course(b"g" * 32, 1, (HUGE,), Outcome.MILESTONE),
        Course(b"g" * 32, 1, (HUGE,) * 2, Outcome.RETURN),
        Course(b"g" * 32, 2**32 - 1, (HUGE,), Outcome.GOES_ON),
    ],
)
def test_a_strangers_parent_ends_no_program(lied: Lied, course: Course) -> None:
    """Its counts are of any size, since nobody has opened it."""
    strange = lied.tell(**{f.name: getattr(course, f.name) for f in fields(course)})
    child = replace(lied.later, parent=strange.digest)
    lied.publish(child)
    fault = name_only(lied.check_all({lied.later: child}, lied.later_window))
    assert "it is measured against" in fault.what
    models = lied.living.world.folder / "models"
    assert Manifests(models, []).find_lie(child.digest, lied.living.gate) == fault.what
    lied.living.models.compare_parent(child, lied.living.gate)


def test_another_milestone_is_named(lied: Lied) -> None:
    lie = lied.tell(milestone=b"m" * 32)
    fault = name_only(lied.check(lie))
    assert fault.checkpoint == lie.digest
    assert "it is measured against 6d6d" in fault.what


def test_the_explorer_names_another_milestone(lied: Lied) -> None:
    manifests = Manifests(lied.living.world.folder / "models", [])
    honest, false = lied.honest.digest, lied.tell(attempt=2).digest
    assert manifests.find_lie(honest, lied.living.gate) is None
    for _ in range(2):  # what it remembers, too
        found = manifests.find_lie(false, lied.living.gate)
        assert found == "its course is number 1 from this milestone, not 2"
    assert manifests.find_lie(b"u" * 32, lied.living.gate) is None  # it is not at hand


def test_a_checkpoint_that_was_never_in_force_is_named(lied: Lied) -> None:
    """A trainer may publish twenty checkpoints a window, and cannot count the one it likes."""
    strange = replace(lied.newest, checkpoint=b"s" * 32)
    counts = lied.honest.course.counts
    added = name_only(lied.check(lied.tell(counts=(*counts, strange))))
    assert added.checkpoint == strange.checkpoint
    assert "was not in force" in added.what
    instead = name_only(lied.check(lied.tell(counts=(*counts[:-1], strange))))
    assert instead.checkpoint == strange.checkpoint


@pytest.fixture(scope="module")
def another() -> Checkpoint:
    """A model whose weights have four bits, as a trainer would serve a cheaper one."""
    checkpoint = load_checkpoint(GENESIS)
    with torch.no_grad():
        for weight in checkpoint.model.parameters():
            step = weight.abs().amax() / 7
            weight.copy_((weight / step).round() * step)
    return checkpoint


def test_answers_of_another_model_are_named(lied: Lied, another: Checkpoint) -> None:
    asked = lied.ask()
    drawn = answer_gate(another, asked.environment, asked.parameters.work, asked.problems)
    answers = replace(lied.read(asked), own=[one.tokens for one in drawn])
    lie = lied.publish_answers(answers)
    assert not lied.check(lie).course_faults  # the counts follow from them
    faults = lied.check(lie, models=Shelf(lied)).course_faults
    assert faults
    assert {fault.model for fault in faults} == {GateModel.OWN}
    assert all("keyed draw" in fault.what for fault in faults)
    assert all(fault.problem in range(lied.living.gate.problems) for fault in faults)


def test_answers_of_another_draw_are_named(lied: Lied) -> None:
    asked = lied.ask()
    own = open_checkpoint(lied.living.models, lied.newest.checkpoint, lied.parameters)
    seed = compute_gate_seed(lied.newest.checkpoint, b"r" * 32)
    levels = lied.honest.level_numbers
    problems = draw_gate_problems(asked.environment, seed, levels, len(asked.problems))
    drawn = answer_gate(own, asked.environment, asked.parameters.work, problems)
    answers = replace(lied.read(asked), own=[one.tokens for one in drawn])
    faults = lied.check(lied.publish_answers(answers), models=Shelf(lied)).course_faults
    assert {fault.model for fault in faults} == {GateModel.OWN}


def test_a_missing_file_another_and_a_damaged_one_are_named(lied: Lied) -> None:
    fault = name_only(lied.check(lied.recount(answers=b"a" * 32)))
    assert "its answers are missing: gates/6161" in fault.what
    false = open_folder(lied.store)
    false.put(make_answers_name(b"b" * 32), b"nothing")
    assert "another SHA-256" in name_only(lied.check(lied.recount(answers=b"b" * 32))).what
    digest = sha256(b"nothing").digest()
    false.put(make_answers_name(digest), b"nothing")
    assert "cannot be read" in name_only(lied.check(lied.recount(answers=digest))).what


def test_a_file_above_its_size_is_named(lied: Lied) -> None:
    data = bytes(80 << 20)
    digest = sha256(data).digest()
    open_folder(lied.store).put(make_answers_name(digest), data)
    fault = name_only(lied.check(lied.recount(answers=digest)))
    assert "its answers are missing" in fault.what


def test_a_bundle_has_what_its_export_has_read(lied: Lied, tmp_path: Path) -> None:
    world, kept = lied.living.world, tmp_path / "store"
    facts = RecordedAnswers(world.chain.genesis_hash, world.chain.netuid, world.chain.get_head())

    def keep(stores: Callable[[], Iterable[Objects]]) -> Callable[[], Iterable[Objects]]:
        return lambda: [KeptObjects(kept, store) for store in stores()]

    mirrors = keep(lied.public.mirrors)
    exported = lied.check(
        lied.honest,
        chain=RecordedChain(facts, world.chain),
        beacons=RecordedBeacons(facts, world.beacons),
        outlines=FetchedOutlines(tmp_path / "models", mirrors),
        mirrors=mirrors,
    )
    assert exported.matched
    offline: dict[str, Any] = {
        "chain": RecordedChain(facts),
        "beacons": RecordedBeacons(facts),
        "outlines": FetchedOutlines(tmp_path / "again", lambda: [open_folder(kept)]),
        "mirrors": lambda: [open_folder(kept)],
        "is_bundle": True,
    }
    again = lied.check(lied.honest, models=Shelf(lied), **offline)
    assert again.matched
    assert not again.course_faults
    (kept / make_answers_name(lied.newest.answers)).unlink()
    without = lied.check(lied.honest, **offline)
    assert not without.course_faults
    assert "the bundle has no gates/" in without.unknown[0][1]
    facts.answers.commitments.clear()
    assert "cannot be checked in full" in lied.check(lied.honest, **offline).unknown[0][1]


def test_a_return_that_is_not_its_milestone_is_named(lied: Lied) -> None:
    first = lied.public.outlines.get(lied.honest.course.milestone).manifest
    course = Course(first.digest, 1, lied.honest.course.counts, Outcome.RETURN)
    honest = replace(
        first, parent=lied.honest.parent, levels_before=first.levels, number=9, course=course
    )
    assert find_return_fault(honest, first) is None
    other = replace(honest, tensors=lied.honest.tensors)
    wrong = "it is a return, and has other tensors than its milestone"
    assert find_return_fault(other, first) == wrong
    changed = (
        replace(honest, max_tokens=99),
        replace(honest, chat_template=b"t" * 32),
        replace(honest, end_tokens=(7, 8)),
    )
    assert all("has other" in (find_return_fault(one, first) or "") for one in changed)
    lie = replace(lied.honest, course=replace(course, counts=lied.honest.course.counts))
    lied.publish(lie)
    assert "it is a return, and has other tensors" in lied.check(lie).course_faults[0].what


# --- a validator looks at a few answers


def watch(lied: Lied, manifest: Manifest, window: int | None = None) -> GateStatus:
    """What a validator finds while a checkpoint is in force, of the file that it names first."""
    return watch_all(lied, manifest, lied.window if window is None else window, 1)[0]


def watch_all(lied: Lied, manifest: Manifest, window: int, files: int) -> list[GateStatus]:
    world, done = lied.living.world, list[GateStatus]()
    stores = [open_folder(lied.store)]
    watching = GateWatch(b"v" * 32, world.history, world.sources, lambda: stores, done.append)
    for _ in range(1_000):
        if not watching.step(manifest.digest, window):
            sleep(0.01)
        if len(done) == files:
            assert not watching.step(manifest.digest, window)  # each file once
            return done
    raise AssertionError("no result")


def test_a_validator_checks_eight_pairs_of_a_file(lied: Lied) -> None:
    status = watch(lied, lied.honest)
    assert (status["state"], status["faults"], status["why"]) == ("checked", [], None)
    assert status["checked"] == 8 + 8 + 2  # all of this small gate, and the first one's fourth
    assert status["checkpoint"] == lied.newest.checkpoint.hex()


def test_a_validator_looks_at_each_file_that_is_new_to_it(lied: Lied) -> None:
    """A checkpoint may count several anew, and the last of them is not all."""
    counts = lied.later.course.counts
    assert len(counts) > 1
    done = watch_all(lied, lied.later, lied.later_window, len(counts))
    assert [one["checkpoint"] for one in done] == [one.checkpoint.hex() for one in counts]
    assert [one["faults"] for one in done] == [[]] * len(counts)


def test_a_validator_names_answers_of_another_model(
    lied: Lied, another: Checkpoint, caplog: pytest.LogCaptureFixture
) -> None:
    asked = lied.ask()
    drawn = answer_gate(another, asked.environment, asked.parameters.work, asked.problems)
    answers = replace(lied.read(asked), own=[one.tokens for one in drawn])
    status = watch(lied, lied.publish_answers(answers))
    assert status["state"] == "checked"
    assert status["faults"]
    assert all("answer of the checkpoint" in fault for fault in status["faults"])
    assert {line.event for line in caplog.records} == {"course_differs"}


def test_a_validator_names_counts_that_its_answers_do_not_make(lied: Lied) -> None:
    honest = lied.newest
    status = watch(lied, lied.recount(wins=honest.wins + 1))
    assert status["state"] == "checked"
    (fault,) = status["faults"]
    assert f"and the manifest says {honest.wins + 1} wins" in fault


def test_a_validator_names_a_missing_file_after_some_attempts(
    lied: Lied, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    honest = gate_watch.fetch_answers

    def count(stores: Any, digest: bytes, *given: Any) -> bytes:
        asked.append(digest)
        return honest(stores, digest, *given)

    monkeypatch.setattr(gate_watch, "_RETRY_S", 0.0)
    monkeypatch.setattr(gate_watch, "fetch_answers", count)
    status = watch(lied, lied.recount(answers=b"c" * 32))
    assert status["state"] == "missing"
    assert "its answers are missing" in status["faults"][0]
    assert len(asked) == 3


def test_a_validator_without_the_models_fetches_nothing(lied: Lied) -> None:
    status = watch(lied, lied.tell(milestone=b"n" * 32))
    assert (status["state"], status["faults"], status["checked"]) == ("not checked", [], 0)
    assert "is not here" in str(status["why"])
