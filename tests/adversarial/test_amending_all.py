"""Miner, validator and trainer with the shipped model while temperature and sizes change.

The new temperature needs a checkpoint that is calibrated for it, made as the owner's command makes
it. Nobody is restarted.
"""

import shutil
from dataclasses import replace

import pytest
import torch

from assay.inference.checkpoint import load_checkpoint
from assay.neurons.trainer.setup import TrainerConfig
from assay.neurons.trainer.trainer import Trainer
from assay.protocol.commitment import Tag, parse_commitment
from assay.protocol.parameters import Start
from assay.protocol.reason import Reason
from assay.protocol.window import Phase, compute_block
from assay.subnet.amending import require_amendment
from assay.subnet.genesis_checkpoint import calibrate_anew
from assay.training import LearnConfig
from tests.adversarial.conftest import make_world
from tests.adversarial.watched import Watched

#: The first window of the amendment; one before it and two of it are played.
FIRST = 6
#: A number above all those that the trainer publishes before it.
NUMBER = 100


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("amending")
    world = make_world(folder, ("alice",), last=FIRST + 1)
    old = world.parameters
    work = replace(old.work, temperature=900, group_size=6, valued_groups=3)
    amended = replace(old, work=work)
    calibrated = folder / "calibrated"
    shutil.copytree(world.checkpoint.folder, calibrated)
    manifest = calibrate_anew(calibrated, amended, world.checkpoint.manifest, NUMBER)
    amended = replace(amended, start=Start(old.digest, FIRST, manifest.digest, NUMBER))
    require_amendment(old, amended, calibrated)
    world.sources.checkpoints.add(calibrated, manifest.digest)
    for _ in range(compute_block(old.timing, FIRST - 1, Phase.CHALLENGE) - 1):
        world.chain.mint()
    watched = Watched(world)
    lessons, lines = [], []
    trainer = Trainer(
        world.hotkeys["trainer"],
        world.history,
        world.sources,
        TrainerConfig(
            LearnConfig(epochs=1), "test:store", folder=folder / "course", last_window=FIRST + 1
        ),
        lessons.append,
        lines.append,
    )
    last = compute_block(old.timing, FIRST + 1, Phase.VERDICT_END)
    while len(lessons) < 3 or world.chain.get_head() <= last:
        world.mint()
        if world.chain.get_head() == compute_block(old.timing, FIRST, Phase.CHALLENGE) - 3:
            world.history.add(amended)  # all of them follow one owner
        while watched.validator.step() | trainer.step():
            pass
    trainer.close()
    return world, watched, lessons, lines


@pytest.mark.slow
def test_all_windows_are_mined_judged_and_learned_from(played):
    world, watched, lessons, lines = played
    old, amended = world.history.all
    alice = world.hotkeys["alice"]
    for window in (FIRST - 1, FIRST, FIRST + 1):
        work, audit = world.works["alice", window], watched.audit(window)
        right = old if window < FIRST else amended
        assert work.challenge.parameters == audit.context.parameters == right
        assert {len(group) for group in work.groups} == {right.work.group_size}
        assert audit.verdicts[alice].reason is Reason.ACCEPTED
        valued = min(len(work.groups), right.work.valued_groups)
        assert len(audit.verdicts[alice].groups) == valued
        assert audit.counts
    assert [lesson.window for lesson in lessons] == [FIRST - 1, FIRST, FIRST + 1]
    assert {len(settlement.weights) > 0 for settlement in watched.settlements} == {True}
    assert any("which the amended parameters name" in line for line in lines)


@pytest.mark.slow
def test_the_checkpoint_in_force_is_the_calibrated_one_until_the_trainer_has_learned_from_it(
    played,
):
    world, watched, lessons, _ = played
    start = world.history.latest.start
    genesis = world.parameters.identity.genesis_checkpoint
    assert watched.audit(FIRST - 1).context.checkpoint == genesis
    assert watched.audit(FIRST).context.checkpoint == start.checkpoint
    before, first, second = (lesson.published for lesson in lessons)
    assert before.parent == genesis
    assert (first.parent, first.number) == (start.checkpoint, NUMBER + 1)
    assert (second.parent, second.number) == (first.digest, NUMBER + 2)
    slots = world.chain.get_commitments(world.chain.get_head())
    said = parse_commitment(slots[world.hotkeys["trainer"]])
    assert said.tag is Tag.CHECKPOINT
    assert said.number > NUMBER
    tensors = {load_checkpoint(f, None).manifest.tensors for f in (world.checkpoint.folder,)}
    assert world.sources.checkpoints.get(start.checkpoint).manifest.tensors in tensors
