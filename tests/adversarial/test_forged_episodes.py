"""The gauntlet's forged episodes of `guess` against the real judge, on the shipped model."""

import pytest
import torch

from assay.lab.gauntlet.attack_setup import AttackSetup
from assay.lab.gauntlet.bench_models import EPISODES, Family, make_episodes
from assay.lab.gauntlet.content_attacks import (
    CopiedFromAnother,
    FakingHalf,
    Grinding,
    ReplayedFromAnotherWindow,
)
from assay.lab.gauntlet.episode_attacks import FORGED_EPISODES
from assay.lab.gauntlet.forged_episodes import FORGERIES
from assay.lab.gauntlet.measuring import run_family
from assay.lab.gauntlet.sampling_attacks import DraftInt8, Greedy, Honest, SmallerModel
from assay.protocol.reason import Reason

GROUPS = 2
#: The smallest forgery. Where few tokens come after it, the mean of their sketches stays within its
#: limit, and their log-probabilities are what is refused.
SMALLEST = "one token of the second reply is another"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("episodes")
    make_episodes(folder / EPISODES)
    return AttackSetup(Family(EPISODES, folder / EPISODES, {}), folder / "lab", GROUPS)


def test_honest_episodes_are_accepted_with_another_draft(lab):
    rows = lab.measure(DraftInt8)
    assert not any(row.faults for row in rows)
    assert not any(rollout.differs for row in rows for rollout in row.rollouts)


@pytest.mark.parametrize("kind", FORGED_EPISODES, ids=lambda kind: kind.title)
def test_one_forged_rollout_of_a_group_is_refused_for_what_it_is(lab, kind):
    reasons = {FORGERIES[kind.title][0]}
    if kind.title == SMALLEST:
        reasons.add(Reason.LOGPROB_MISMATCH)
    for row in lab.measure(kind):
        (forged,) = (rollout for rollout in row.rollouts if rollout.differs)
        assert forged.fault in reasons


@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        (CopiedFromAnother, {Reason.SAMPLING_MISMATCH, Reason.WRONG_TERMINATION}),
        (ReplayedFromAnotherWindow, {Reason.SAMPLING_MISMATCH, Reason.WRONG_TERMINATION}),
        (Grinding, {Reason.SKETCH_MISMATCH, Reason.WRONG_TERMINATION}),
        (FakingHalf, {Reason.SKETCH_MISMATCH, Reason.WRONG_TERMINATION}),
    ],
    ids=lambda kind: getattr(kind, "title", ""),
)
def test_episodes_of_other_worlds(lab, kind, reasons):
    rows = lab.measure(kind)
    refused = {rollout.fault for row in rows for rollout in row.rollouts if rollout.differs}
    assert refused
    assert refused <= reasons


def test_a_network_of_episodes_plays_what_knows_turns(lab):
    assert lab.is_possible(Honest)
    assert all(map(lab.is_possible, FORGED_EPISODES))
    assert not any(map(lab.is_possible, (Greedy, SmallerModel)))


def test_forging_a_rollout_of_each_group_earns_nothing(lab):
    """It is caught in some window of every settlement."""
    kinds = [kind for kind in FORGED_EPISODES if kind.title == "the last turn is left out"]
    rows = run_family(lab, [Honest, Greedy, *kinds], lambda line: None)
    assert [row.attack for row in rows[:2]] == [Honest.title, kinds[0].title]
    assert {row.model for row in rows} == {EPISODES}
    assert not any(row.is_broken for row in rows)
    assert (rows[0].income_per_compute, rows[1].income_per_compute) == (1, 0)
