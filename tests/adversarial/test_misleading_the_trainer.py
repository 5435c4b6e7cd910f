"""Checkpoints that would stop validators or switch their tests off, and files that would mislead
the trainer."""

from dataclasses import replace

import pytest
import torch

from assay.artifacts.checkpoints.folder import (
    CheckpointFolder,
    find_checkpoint_fault,
    open_checkpoint,
)
from assay.artifacts.submissions import judge as submission_judge
from assay.inference.folder import CheckpointError, UnusableCheckpointError
from assay.neurons.miner.miner import Miner
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import parse_commitment
from assay.protocol.manifest import start_levels
from assay.protocol.parameters import Start
from assay.protocol.window import Phase, compute_block
from assay.rounds.in_force import get_checkpoint_digest
from assay.sandbox import WorkerError
from assay.training import LearnConfig, Learner
from assay.verification import trial
from tests.adversarial.watched import Watched, publish, publish_by_hand, teach_once

#: Groups of each miner in the world of these tests (conftest.py).
GROUPS = 5


def test_a_checkpoint_that_nobody_can_fetch(fresh_world):
    """Abstaining costs nobody anything, and the validator continues."""
    publish(fresh_world, b"\7" * 32)
    watched = Watched(fresh_world)
    fresh_world.mint(compute_block(fresh_world.parameters.timing, 1, Phase.CHALLENGE) - 1)
    watched.run_to_settlement(1)
    assert watched.settlements[0].windows == (0,)
    assert watched.settlements[0].abstained == (1,)
    assert "name a folder" in watched.audit(1).missing
    assert watched.audit(1).void is None


def test_weights_that_are_not_numbers_void_the_window(fresh_world):
    world = fresh_world
    weights = {n: w.to(torch.bfloat16) for n, w in world.checkpoint.model.state_dict().items()}
    weights["lm_head.weight"] = torch.full_like(weights["lm_head.weight"], torch.nan)
    checkpoints = world.sources.checkpoints
    with pytest.raises(UnusableCheckpointError, match="finite"):
        checkpoints.publish(world.checkpoint, weights, b"\1" * 32)

    # a trainer with its own program can still publish it
    digest = publish_by_hand(world, weights)
    publish(world, digest)
    watched = Watched(world)
    world.mint(compute_block(world.parameters.timing, 1, Phase.CHALLENGE) - 1)
    watched.run_to_settlement(1)
    assert "finite" in watched.audit(1).void
    assert watched.settlements[0].windows == (0,)


def test_a_tensor_left_out_is_never_filled_with_random_numbers(fresh_world):
    world = fresh_world
    weights = {n: w.to(torch.bfloat16) for n, w in world.checkpoint.model.state_dict().items()}
    del weights["model.layers.1.mlp.down_proj.weight"]
    digest = publish_by_hand(world, weights)
    with pytest.raises(UnusableCheckpointError, match=r"down_proj\.weight is missing"):
        open_checkpoint(world.sources.checkpoints, digest, world.parameters)


def test_levels_that_the_environment_does_not_have(fresh_world):
    world = fresh_world
    for levels in ((99,), (6, 5), (5, 5)):
        manifest = replace(world.checkpoint.manifest, levels=start_levels(levels))
        checkpoint = replace(world.checkpoint, manifest=manifest)
        assert "levels" in find_checkpoint_fault(checkpoint, world.parameters)


def test_only_the_first_checkpoint_has_no_step(fresh_world):
    """Without a step, levels follow from nothing: a trainer could choose them."""
    world = fresh_world
    first, rules = world.checkpoint, world.parameters
    assert find_checkpoint_fault(first, rules) is None
    chosen = replace(first, manifest=replace(first.manifest, levels=start_levels((1,)), number=1))
    assert "no step" in find_checkpoint_fault(chosen, rules)
    named = Start(rules.digest, 9, chosen.manifest.digest, 1)
    amended = replace(rules, start=named)
    assert find_checkpoint_fault(chosen, amended) is None
    assert "no step" in find_checkpoint_fault(first, amended)


def test_a_damaged_copy_is_our_own_affair(fresh_world):
    world = fresh_world
    folder = world.folder / "models" / world.checkpoint.digest.hex()
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    checkpoints = CheckpointFolder(world.folder / "models")
    with pytest.raises(CheckpointError, match="fetch it again") as caught:
        open_checkpoint(checkpoints, world.checkpoint.digest, world.parameters)
    assert not isinstance(caught.value, UnusableCheckpointError)


def test_garbage_in_the_trainers_slot_does_not_bring_the_genesis_back(fresh_world):
    world = fresh_world
    world.chain.set_commitment(world.hotkeys["trainer"], b"ASC1 short")
    world.mint(compute_block(world.parameters.timing, 1, Phase.CHALLENGE))
    assert get_checkpoint_digest(world.chain, world.parameters, 1) == bytes(32)


@pytest.mark.parametrize("junk", range(GROUPS))
def test_junk_beyond_the_audit_teaches_nothing(fresh_world, junk):
    """One of Bob's five groups is a copy; four are audited, so one of these is never looked at
    by a validator. The trainer judges all five, and learns from the other four."""
    world = fresh_world
    honest = world.miners["bob"]

    class OneJunkGroup(Miner):
        def generate(self, work, indices):
            groups = super().generate(work, indices)
            groups[junk] = groups[junk - 1]
            return groups

    world.miners["bob"] = OneJunkGroup(
        "bob",
        honest.hotkey,
        ParameterHistory(world.parameters),
        honest.dependencies,
        honest.config,
        print,
    )
    (lesson,) = teach_once(world, LearnConfig(epochs=1))
    assert len(lesson.rewards) == 2 * honest.config.groups - 1


def test_an_end_token_that_never_comes(fresh_world):
    world = fresh_world
    for ends in ((4_000_000_000,), (0,)):
        manifest = replace(world.checkpoint.manifest, end_tokens=ends)
        checkpoint = replace(world.checkpoint, manifest=manifest)
        assert "end tokens" in find_checkpoint_fault(checkpoint, world.parameters)


def test_the_trainer_starts_from_the_reference_own_probabilities(fresh_world):
    """The first update's ratio is 1: the learner leaves out what may not be drawn, too."""
    world = fresh_world
    (lesson,) = teach_once(world, LearnConfig(epochs=1, groups_per_batch=64))
    assert len(lesson.rewards) == 10
    assert abs(lesson.stats.mean_ratio - 1) < 1e-5
    published = parse_commitment(world.chain.pending.commitments[world.hotkeys["trainer"]])
    assert published.digest == lesson.published.digest


def test_the_trainer_learns_from_whole_rollouts_where_heads_are_judged_first(
    fresh_world, monkeypatch
):
    monkeypatch.setattr(trial, "HEAD_TOKENS", 1)
    learn, seen = Learner.learn, []

    def see(self, groups, **told):
        seen.extend(groups)
        return learn(self, groups, **told)

    monkeypatch.setattr(Learner, "learn", see)
    (lesson,) = teach_once(fresh_world, LearnConfig(epochs=1, groups_per_batch=64))
    made = [group for name in ("alice", "bob") for group in fresh_world.genuine(name, 0)]
    assert {tuple(row) for group in seen for row in group.completions} == {
        tuple(rollout.tokens.tolist()) for group in made for rollout in group
    }
    assert len(lesson.rewards) == 10
    assert abs(lesson.stats.mean_ratio - 1) < 1e-5


def test_files_that_nobody_can_read_do_not_end_the_trainer(fresh_world, monkeypatch):
    world = fresh_world
    honest = submission_judge.open_submission

    def open_submission(context, hotkey, *arguments):
        if hotkey == world.hotkeys["bob"]:
            raise WorkerError("no process can be started: free some memory")
        return honest(context, hotkey, *arguments)

    monkeypatch.setattr(submission_judge, "open_submission", open_submission)
    (lesson,) = teach_once(world, LearnConfig(epochs=1))
    assert len(lesson.rewards) == 5  # Alice's


def test_a_checkpoint_beyond_the_parameters_bounds_voids_its_windows(fresh_world):
    world = fresh_world
    tests = replace(world.parameters.tests, scale_min=world.checkpoint.manifest.scale + 1)
    strict = replace(world.parameters, tests=tests)
    with pytest.raises(UnusableCheckpointError, match="scale"):
        open_checkpoint(world.sources.checkpoints, world.checkpoint.digest, strict)
