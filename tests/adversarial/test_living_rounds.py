"""Rounds as trainers live them: two in a row, a measurer that publishes something else, one that
vanishes, one that is killed, one whose weights are of other groups than it says."""

import json
from dataclasses import replace

import pytest
import torch

from assay.artifacts.checkpoints.folder import CheckpointFolder, DownloadSettings
from assay.audit.provenance.round_audit import RoundSources, audit_round
from assay.audit.provenance.round_watch import FINDINGS, RoundWatch
from assay.network.chain.errors import ForgottenError
from assay.neurons.trainer.trainer import Trainer
from assay.protocol.commitment import Commitment, Tag, encode_commitment, parse_commitment
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.ss58 import encode_ss58
from assay.rounds import compute_line, get_checkpoint_digest
from assay.rounds.child_store import RoundReader
from assay.rounds.course import Learning
from assay.rounds.difference_form import FormError
from assay.rounds.folder import RoundFolder
from assay.rounds.in_force import get_in_force_at
from assay.rounds.keeper import RoundKeeper
from assay.session import window_reader
from assay.training import LearnConfig, Learner
from tests.adversarial.round_bench import NAMES, WINDOWS, RoundBench
from tests.amended_parameters import amend


def open_sources(bench, folder):
    """A stranger's: stores and the chain."""
    stores = list(bench.stores.values())
    chain, beacons = bench.chain, bench.world.beacons

    def find_context(window):
        challenge = window_reader.get_challenge(chain, beacons, bench.parameters, window)
        return window_reader.get_context(chain, beacons, bench.parameters, challenge)

    checkpoints = CheckpointFolder(folder / "models", DownloadSettings(lambda: stores))
    return RoundSources(chain, bench.history, find_context, checkpoints, stores, folder)


def audit(bench, folder, digest, lessons=0):
    return audit_round(open_sources(bench, folder), digest, lessons)


def find_measurer(bench, digest):
    """The hotkey that the record of a merged checkpoint names."""
    reader = RoundReader(list(bench.stores.values()), bench.folder / "read")
    return reader.read_merge_record(reader.read_manifest(digest).step).measurer


@pytest.mark.slow
def test_two_rounds_of_three_trainers(tmp_path):
    """All continue from one checkpoint, which is in force for miners, and a stranger derives it. In
    the second round one trainer is killed in the middle, another never comes back, and the first in
    line vanishes, so the next one measures."""
    torch.set_num_threads(1)
    bench = RoundBench(tmp_path)
    bench.run_round(0)
    (base,) = {bench.get_base(name) for name in NAMES}
    in_force = get_in_force_at(bench.chain, bench.parameters, bench.chain.get_head())
    assert (in_force.digest, in_force.number) == (base[0], WINDOWS)
    found = audit(bench, tmp_path / "auditor", base[0], lessons=1)
    assert found.fault is None
    assert {child.found for child in found.children} == {"taken"}
    assert [lesson.equal for lesson in found.steps] == [True] * 3
    assert found.named == []

    second = bench.get_round(1)
    drawn_by = {get_checkpoint_digest(bench.chain, bench.parameters, w) for w in second.windows}
    assert drawn_by == {bench.world.checkpoint.digest}  # a round behind, and learned from below
    middle = second.opening - 6
    bench.run_to(middle)
    bench.start("second")  # killed, and started again
    bench.run_to(second.deadline, without=("third",))
    line = compute_line(second, bench.chain.get_block(second.deadline).hash)
    names = {hotkey: name for name, hotkey in bench.hotkeys.items()}
    gone = {"third", names[line[0]]}  # whoever is to measure vanishes, too
    bench.run_to(second.turns_end + 3, without=gone)
    left = {bench.get_base(name) for name in NAMES if name not in gone}
    assert len(left) == 1
    ((merged, _),) = left
    assert merged != base[0]
    assert get_in_force_at(bench.chain, bench.parameters, second.turns_end).digest == merged
    assert find_measurer(bench, merged) == next(h for h in line if names[h] not in gone)
    found = audit(bench, tmp_path / "auditor", merged)
    assert found.fault is None
    absent = encode_ss58(bench.hotkeys["third"])
    assert {child.found for child in found.children if child.hotkey != absent} == {"taken"}
    assert [child.found for child in found.children if child.hotkey == absent] == ["absent"]
    for name in NAMES[:2]:
        assert not [line for line in bench.said[name] if "left out" in line]
    assert {lesson.window for lesson in bench.lessons["trainer"]} >= set(second.windows)
    bench.close()


@pytest.mark.slow
def test_sequential_rounds_learn_from_their_parent_alone(tmp_path):
    """Windows whose rollouts an older checkpoint drew teach nobody anything: all trainers and a
    stranger find the same ones, by the chain."""
    torch.set_num_threads(1)
    bench = RoundBench(tmp_path, rounds={"windows": 4, "staleness": 0})
    second = bench.get_round(1)
    bench.run_to(second.turns_end + 3)
    (base,) = {bench.get_base(name) for name in NAMES}
    parent = bench.trainers["trainer"].rounds.place.true[-2].digest
    assert parent != bench.world.checkpoint.digest
    fresh = {
        window
        for window in second.windows
        if get_checkpoint_digest(bench.chain, bench.parameters, window) == parent
    }
    assert 0 < len(fresh) < 4
    for name in NAMES:
        learned = {lesson.window for lesson in bench.lessons[name]} & set(second.windows)
        assert learned
        assert learned <= fresh
        refused = {
            window
            for window in second.windows
            if any(
                f"nothing is learned from window {window}" in line
                and "too old for this round" in line
                for line in bench.said[name]
            )
        }
        assert refused == set(second.windows) - fresh
    found = audit(bench, tmp_path / "auditor", base[0])
    assert found.fault is None
    assert {child.found for child in found.children} == {"taken"}
    bench.close()


class OtherGroups(Learner):
    """Learns from other groups than it is given."""

    def learn(self, groups, **told):
        twisted = [replace(group, rewards=group.rewards[::-1]) for group in groups]
        return super().learn(twisted, **told)


class LiesAboutGroups(Trainer):
    """Its records and groups fit each other; its weights are of something else."""

    def _learn(self, course, reading, evidence):
        course.learner.__class__ = OtherGroups
        return super()._learn(course, reading, evidence)


def boast(trainer, monkeypatch):
    """Let a trainer say that its child solves one problem more of the first level."""
    keeper = trainer.rounds
    config = vars(keeper)["_config"]

    def count(checkpoint, window, weights=None):
        first, *rest = config.count(checkpoint, window, weights)
        more = 0 if weights is None else 1
        return (replace(first, solved=first.solved + more), *rest)

    monkeypatch.setattr(keeper, "_config", replace(config, count=count))


@pytest.mark.slow
def test_a_child_of_other_groups_is_merged_and_named(tmp_path, monkeypatch):
    """Nothing that everybody decides alike shows it; doing its steps again does. Another trainer
    boasts of its child's success, which decides nothing, and measuring it again shows that."""
    torch.set_num_threads(1)
    bench = RoundBench(tmp_path, last=1, third=LiesAboutGroups, problems=4)
    boast(bench.trainers["second"], monkeypatch)
    sources = open_sources(bench, tmp_path / "auditor")
    deadline = bench.get_round(0).deadline

    def get_context(window):
        if bench.chain.get_head() > deadline:
            raise ForgottenError("nodes keep no state from before the deadline")
        return sources.get_context(window)

    watch = RoundWatch(replace(sources, get_context=get_context), 1, print)
    assert watch.look() is None  # the genesis is in force, which no round made
    bench.run_to(deadline)
    assert watch.look() is None
    bench.run_round(0)
    (base,) = {bench.get_base(name) for name in NAMES}
    found = watch.look()
    assert found.checkpoint == base[0].hex()
    assert found.fault is None
    second, third = (encode_ss58(bench.hotkeys[name]) for name in ("second", "third"))
    assert {one.hotkey for one in found.steps if one.equal is False} == {third}
    assert {one.hotkey: one.equal for one in found.successes} == {
        encode_ss58(bench.hotkeys["trainer"]): True,
        second: False,
        third: True,
    }
    assert found.named == sorted((second, third))
    assert all("its record says that it solves" in child.detail for child in found.children)
    honest = [lesson for lesson in found.steps if lesson.hotkey != third]
    assert honest
    assert all(lesson.equal for lesson in honest)
    written = [json.loads(line) for line in (sources.folder / FINDINGS).read_text().splitlines()]
    assert written == json.loads(json.dumps([found.to_json()]))
    assert watch.look() is None
    assert RoundWatch(sources, 1, print).look() is None  # another process goes on after it
    bench.close()


@pytest.mark.slow
def test_a_made_up_merge_is_in_force_and_followed_by_nobody(tmp_path):
    """Its checkpoint is in force by the chain; trainers say so, stay where they were, and learn
    from none of its groups; the next round's checkpoint has the round before's parent."""
    torch.set_num_threads(1)
    bench = RoundBench(tmp_path)
    first = bench.get_round(0)
    bench.run_to(first.deadline)
    line = compute_line(first, bench.chain.get_block(first.deadline).hash)
    liar = next(name for name in NAMES if bench.hotkeys[name] == line[0])
    before = bench.get_base(liar)
    lie = Commitment(Tag.CHECKPOINT, first.end, 0, b"\7" * 32, bench.locate(liar))
    bench.chain.set_commitment(line[0], encode_commitment(lie))
    honest = [name for name in NAMES if name != liar]
    bench.run_to(first.turns_end + 2, without=(liar,))
    assert get_in_force_at(bench.chain, bench.parameters, first.turns_end).digest == b"\7" * 32
    for name in honest:
        assert bench.get_base(name) == before
        assert any("differs from the round's result" in said for said in bench.said[name])
    second = bench.get_round(1)
    bench.run_to(second.turns_end + 3, without=(liar,))
    (healed,) = {bench.get_base(name) for name in honest}
    assert healed[0] not in (before[0], b"\7" * 32)
    found = audit(bench, tmp_path / "auditor", healed[0])
    assert found.fault is None
    bench.close()


@pytest.mark.slow
def test_a_majority_shows_its_children_too_late(tmp_path):
    """Two of three name children and show them only after all turns. The third publishes nothing
    alone and goes on from the round's parent. When the two publish after all, it follows them."""
    torch.set_num_threads(1)
    bench = RoundBench(tmp_path)
    first, late = bench.get_round(0), NAMES[1:]
    bench.run_to(first.deadline - 1)
    before = bench.get_base("trainer")
    bench.run_to(first.turns_end + 1, without=late)
    lines = [line for line in bench.said["trainer"] if "2 of the 3 children" in line]
    assert len(lines) == 2
    assert "publishes nothing" in lines[0]
    assert f"round {first.end} is lost" in lines[1]
    assert bench.get_base("trainer") == before
    assert bench.trainers["trainer"].rounds.place.end == bench.get_round(1).end
    head = bench.chain.get_head()
    anchor = parse_commitment(bench.chain.get_commitments(head)[bench.hotkeys["trainer"]])
    assert (anchor.tag, anchor.number, anchor.digest) == (Tag.CHECKPOINT, 0, before[0])
    assert get_in_force_at(bench.chain, bench.parameters, head).digest == before[0]

    bench.run_to(bench.get_round(1).opening - 1)
    (base,) = {bench.get_base(name) for name in late}
    assert base[0] != before[0] == bench.get_base("trainer")[0]
    bench.run_to(bench.get_round(1).opening + 1)
    assert {bench.get_base(name) for name in NAMES} == {base}
    bench.run_round(1)
    (after,) = {bench.get_base(name) for name in NAMES}
    assert after[0] != base[0]
    bench.close()


@pytest.mark.slow
def test_sparse_children_are_merged_alike(tmp_path, monkeypatch):
    """Each trainer keeps the part that it does not send. The merge uses the decoded children."""
    torch.set_num_threads(1)
    form = {"kept": 64, "chunk": 4_096, "bits": 2, "feedback": 950_000}
    bench = RoundBench(tmp_path, rounds=form)
    save, made = RoundFolder.save, []

    def die_once(folder, state, outer=None):
        """The second trainer is killed when its child is made, before its state names it."""
        if state.child != ZERO_DIGEST and folder.folder.parents[1].name == "second":
            made.append(state.child)
            if len(made) == 1:
                raise KeyboardInterrupt
        save(folder, state, outer)

    monkeypatch.setattr(RoundFolder, "save", die_once)
    with pytest.raises(KeyboardInterrupt):
        bench.run_round(0)
    bench.start("second")
    bench.run_round(0)
    assert made[0] == made[1]
    (base,) = {bench.get_base(name) for name in NAMES}
    found = audit(bench, tmp_path / "auditor", base[0])
    assert found.fault is None
    assert {child.found for child in found.children} == {"taken"}
    weights = sum(w.numel() for w in bench.world.checkpoint.model.state_dict().values())
    for name in NAMES:
        place = bench.trainers[name].rounds.place
        assert place.true[-1].number == WINDOWS
        kept = {path.name for path in (tmp_path / name / "course" / "rounds").glob("residual-*")}
        named = [place.residual, *({place.child} - {None})]  # the next one is made by now
        assert kept == {f"residual-{child.hex()[:32]}.safetensors" for child in named}
    pieces = [p.stat().st_size for p in (tmp_path / "second" / "store" / "pieces").iterdir()]
    assert min(pieces) < weights // 16  # 64 of 4,096 values of two bits, and where they are
    bench.close()


@pytest.mark.slow
def test_one_cannot_write_its_child_and_one_is_away_too_long(tmp_path, monkeypatch):
    """The one drops its child, does not try again and continues with the others. For the other the
    nodes have forgotten the round's deadline: it cannot merge any more, and begins anew."""
    torch.set_num_threads(1)
    bench = RoundBench(tmp_path)
    make = vars(RoundKeeper)["_make_child"]

    def refuse(keeper, course, place, of, *, in_haste):
        if "second" in str(vars(keeper)["_folder"].folder):
            raise FormError("cannot be written: a number is not finite")
        return make(keeper, course, place, of, in_haste=in_haste)

    monkeypatch.setattr(RoundKeeper, "_make_child", refuse)
    first = bench.get_round(0)
    bench.run_to(first.opening - 2)
    bench.run_round(0, without=("third",))
    dropped = [line.partition(": ")[2] for line in bench.said["second"] if "dropped" in line]
    assert [line for line in dropped if f"round {WINDOWS}: " in line] == [
        f"round {WINDOWS}: this trainer's worker update cannot be written: a number is not finite; "
        "its steps are dropped"
    ]
    assert bench.get_base("second") == bench.get_base("trainer")
    states = vars(bench.chain)["_states"]
    for number in [n for n in states if n <= first.deadline]:
        del states[number]
    third = bench.trainers["third"]
    while third.step():
        pass
    assert [line for line in bench.said["third"] if "begins anew" in line]
    assert {bench.get_base(name) for name in NAMES} == {bench.get_base("third")}
    assert third.rounds.place.end == bench.trainers["second"].rounds.place.end
    bench.close()


def test_a_trainer_that_lost_its_course_drops_its_rounds_steps(tmp_path):
    """Its folder of rounds names steps that it cannot continue from any more."""
    torch.set_num_threads(1)
    bench = RoundBench(tmp_path)
    while not (
        bench.trainers["second"].rounds.place and bench.trainers["second"].rounds.place.steps
    ):
        bench.run_to(bench.chain.get_head() + 1)
    before = bench.get_base("second")
    bench.trainers["second"].close()
    for path in (tmp_path / "second" / "course").iterdir():
        if path.is_file():
            path.unlink()
    bench.start("second")
    trainer = bench.trainers["second"]
    while trainer.rounds.place is None or trainer.rounds.place.steps:
        assert trainer.step()
    assert isinstance(trainer.rounds.place.stage, Learning)
    assert bench.get_base("second") == before
    assert trainer.course.parent.digest == before[0]
    assert trainer.course.learned
    bench.close()


def test_factors_beside_the_weights_cannot_be_merged(tmp_path, monkeypatch):
    """An amendment may bring rounds to a trainer that learns low-rank factors."""
    bench = RoundBench(tmp_path)
    trainer = bench.trainers["second"]
    assert trainer.step()
    config = replace(vars(trainer)["_config"], learning=LearnConfig(lora_rank=4))
    monkeypatch.setattr(trainer, "_config", config)
    assert not trainer.step()
    assert trainer.trouble.text == "rounds merge whole weights: set lora_rank = 0"
    bench.close()


@pytest.mark.slow
def test_an_amendment_brings_rounds(tmp_path):
    """Until then one trainer learns, and the others wait. The rounds begin, for all of them, with
    the checkpoint in force for their first window."""
    torch.set_num_threads(1)
    first = 4 * WINDOWS
    bench = RoundBench(tmp_path, first=first)
    begins = bench.get_round(4).windows.start * bench.parameters.timing.window_blocks
    bench.run_to(begins - 30)
    assert (
        bench.trainers["second"].trouble.text == "the rounds that name this trainer have not begun"
    )
    bench.history.add(bench.parameters)
    bench.run_to(begins - 1)
    assert bench.trainers["trainer"].course.parent.manifest.number > 1
    bench.run_round(4)
    parent = get_checkpoint_digest(bench.chain, bench.parameters, first)
    bases = {bench.trainers[name].rounds.place.true[-2].digest for name in NAMES}
    assert bases == {parent}
    number = bench.trainers["trainer"].rounds.place.true[-2].number
    assert all(bench.trainers[name].course.learner.step > number for name in NAMES)
    (base,) = {bench.get_base(name) for name in NAMES}
    found = audit(bench, tmp_path / "auditor", base[0])
    assert found.fault is None
    assert {child.found for child in found.children} == {"taken"}
    bench.close()


@pytest.mark.slow
def test_rounds_that_ended_begin_again(tmp_path, monkeypatch):
    """All trainers, which still have a state of the old rounds, begin with the checkpoint that one
    trainer made between."""
    torch.set_num_threads(1)
    monkeypatch.setattr("assay.protocol.amendment.find_amendment_fault", lambda old, new: None)
    bench = RoundBench(tmp_path)
    plain = amend(bench.parameters, WINDOWS, rounds=None)
    again = amend(plain, 2 * WINDOWS, rounds=bench.parameters.rounds)
    for one in (plain, again):  # sooner than with the usual notice
        bench.history.add(one)
    bench.parameters = again
    bench.run_round(2)
    assert len({bench.get_base(name) for name in NAMES}) == 1
    parents = {bench.trainers[name].rounds.place.true[-2].digest for name in NAMES}
    assert parents == {get_checkpoint_digest(bench.chain, again, 2 * WINDOWS)}
    bench.close()


@pytest.mark.slow
def test_rounds_of_another_length_follow_each_other(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr("assay.protocol.amendment.find_amendment_fault", lambda old, new: None)
    bench = RoundBench(tmp_path)
    shorter = replace(bench.parameters.rounds, windows=1)
    bench.parameters = amend(bench.parameters, WINDOWS, rounds=shorter)
    bench.history.add(bench.parameters)  # sooner than with the usual notice
    bench.run_round(WINDOWS)
    assert len({bench.get_base(name) for name in NAMES}) == 1
    for name in NAMES:
        numbers = [one.number for one in bench.trainers[name].rounds.place.true]
        assert numbers[-2:] == [numbers[-1] - 1, numbers[-1]]
        assert WINDOWS in numbers[:-1]
    bench.close()
