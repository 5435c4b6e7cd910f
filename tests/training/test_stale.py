"""Rollouts of older checkpoints: their anchor, their weights, and steps that learn from them."""

import math
import random
from dataclasses import replace

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from assay.training import Group, Grpo, Icepop, LearnConfig, Learner, LessonError, compute_loss
from assay.training.genesis_model import make_model
from assay.training.grpo import LOSSES
from assay.training.lesson import make_rollouts
from assay.training.stale import anchor_rollouts, stack_anchors

TOKENS, RATE = 64, 3e-3
GRPO = Grpo()


class Told:
    """Passes whose log-probabilities are told. Counts what is read."""

    def __init__(self, *parts):
        self.parts, self.rows = [torch.tensor(part) for part in parts], []

    def compute_logprobs(self, rows):
        self.rows += rows
        return self.parts


def make_group(behaviour, is_older=True):
    """A group of two, of which the first is right."""
    texts = [[number + 2 for number in range(len(logs))] for logs in behaviour]
    return Group([1], texts, [1_000_000, 0], behaviour, is_older=is_older)


def anchor(behaviour, proximal, loss=GRPO, weight="sequence", cap=3.0):
    rows = make_rollouts(make_group(behaviour), False, False)
    return anchor_rollouts(rows, Told(*proximal), loss, weight, cap)


BEHAVIOUR = [[-1.0, -2.0], [-0.5, -3.0, -1.5]]
PROXIMAL = [[-0.6, -1.8], [-0.75, -3.5, -1.75]]


def test_weights_by_completion():
    rows, _ = anchor(BEHAVIOUR, PROXIMAL)
    assert rows[0].stale.tolist() == pytest.approx([math.exp(0.6)] * 2)
    assert rows[1].stale.tolist() == pytest.approx([math.exp(-1.0)] * 3)
    assert [row.proximal.tolist() for row in rows] == [pytest.approx(part) for part in PROXIMAL]


def test_weights_by_token():
    rows, _ = anchor(BEHAVIOUR, PROXIMAL, weight="token", cap=1.3)
    assert rows[0].stale.tolist() == pytest.approx([1.3, math.exp(0.2)])
    assert rows[1].stale.tolist() == pytest.approx([math.exp(-gap) for gap in (0.25, 0.5, 0.25)])


def test_no_weights():
    rows, _ = anchor(BEHAVIOUR, PROXIMAL, weight="none")
    assert all((row.stale == 1).all() for row in rows)


def test_gspo_weighs_by_the_geometric_mean():
    rows, _ = anchor(BEHAVIOUR, PROXIMAL, LOSSES["gspo"](), "token")
    assert rows[0].stale.tolist() == pytest.approx([math.exp(0.3)] * 2)


@pytest.mark.parametrize("name", ["grpo", "gspo"])
def test_a_weight_has_the_bits_of_a_plain_sum(name):
    """Of float64s one after the other, whatever `sum` does in this version of Python."""
    assert LOSSES[name]().weigh_stale([1e16, 1.0, -1e16], "sequence", 3.0) == [1.0] * 3


def test_icepop_masks_by_the_two_policies():
    rows, _ = anchor(BEHAVIOUR, PROXIMAL, Icepop(low=0.3, high=0.3))
    assert rows[0].stale.tolist() == pytest.approx([0.0, math.exp(0.2)])
    assert rows[1].stale.tolist() == pytest.approx([math.exp(-0.25), 0.0, math.exp(-0.25)])


def test_ratios_beyond_any_bound():
    """A weight has a cap, and one that underflows leaves its completion out."""
    rows, found = anchor([[-60.0], [-1e-3]], [[-1.0], [-200.0]])
    assert [row.stale.tolist() for row in rows] == [[3.0], [0.0]]
    assert math.isfinite(found.kl)
    assert found.ess == pytest.approx(0.5)


def test_figures_of_what_is_stale():
    _, found = anchor(BEHAVIOUR, PROXIMAL)
    first, second = math.exp(0.6), math.exp(-1.0)
    gaps = [0.4, 0.2, -0.25, -0.5, -0.25]
    assert found.share == 1
    assert found.ess == pytest.approx((first + second) ** 2 / (first**2 + second**2) / 2)
    assert found.kl == pytest.approx(sum(math.exp(g) - 1 - g for g in gaps) / 5)


def test_figures_by_age():
    """Those of 4 checkpoints and more are together, and those of an age that nobody knows in the
    sums alone. What each age has are the figures of a step that has nothing else old."""
    gaps = {1: 0.1, 2: -0.3, 4: 0.5, 7: -0.2, None: 0.05}
    rows, parts = [], []
    for age, gap in gaps.items():
        group = replace(make_group(BEHAVIOUR), age=age)
        rows += make_rollouts(group, False, False)
        parts += [[b + gap for b in logs] for logs in BEHAVIOUR]
    fresh = make_rollouts(make_group(BEHAVIOUR, is_older=False), False, False)
    _, found = anchor_rollouts([*fresh, *rows], Told(*parts), GRPO, "sequence", 3.0)
    assert found.share == pytest.approx(10 / 12)
    assert [one["age"] for one in found.ages] == [1, 2, 4]
    for one, chosen in zip(found.ages, ([0, 1], [2, 3], [4, 5, 6, 7]), strict=True):
        told = Told(*(parts[place] for place in chosen))
        _, alone = anchor_rollouts([rows[place] for place in chosen], told, GRPO, "none", 3.0)
        assert (one["ess"], one["kl"]) == pytest.approx((alone.ess, alone.kl))
        assert one["share"] == pytest.approx(len(chosen) / 12)
    assert found.ages[0]["kl"] == pytest.approx(math.exp(0.1) - 1.1)


def test_an_effective_sample_size_has_no_scale():
    """Completions that have all become equally rare count alike, however rare; one that is far
    less rare than the others counts alone."""
    _, found = anchor([[-1.0], [-1.0]], [[-900.0], [-900.0]])
    assert found.ess == pytest.approx(1)
    _, found = anchor([[-1.0], [-1.0]], [[-40.0], [-80.0]])
    assert found.ess == pytest.approx(0.5)


def test_a_step_whose_weights_all_underflow_moves_nothing():
    """It is no fault: what the policy never does now has nothing to say of it."""
    old = draw_groups(3, 0, is_older=True)
    rare = [
        replace(
            group,
            completions=[text * 40 for text in group.completions],
            behaviour_logprobs=[[-1e-4] * 40 * len(text) for text in group.completions],
        )
        for group in old
    ]
    learner = make_learner(anchor="step")
    before = list_weights(learner)
    stats = learner.learn(rare)
    assert (stats.gradient_norm, stats.updates) == (0, 6)
    assert stats.stale_ess is not None
    assert all(torch.equal(weight, before[name]) for name, weight in list_weights(learner).items())


@pytest.mark.parametrize("value", [-math.inf, math.nan])
def test_what_can_never_be_drawn_now_is_told(value):
    with pytest.raises(LessonError, match="at the step's beginning"):
        anchor([[-1.0], [-1.0]], [[value], [-1.0]])


def test_a_cap_below_one_is_refused():
    with pytest.raises(ValueError, match="below 1"):
        LearnConfig(stale_cap=0.9)
    with pytest.raises(ValueError, match="below 1"):
        LearnConfig(stale_cap=math.nan)


def test_rollouts_of_the_parent_are_not_read():
    rows = make_rollouts(make_group(BEHAVIOUR, is_older=False), False, False)
    told = Told()
    anchored, found = anchor_rollouts(rows, told, Grpo(), "sequence", 3.0)
    assert (anchored, told.rows, found.share) == (rows, [], None)
    assert stack_anchors(anchored, torch.zeros(2, 3)) is None


@pytest.mark.parametrize("name", LOSSES)
def test_fresh_rollouts_have_todays_loss_beside_older_ones(name):
    """To the bit: value and gradient of the fresh rows are those of the loss without anchors."""
    loss = LOSSES[name]()
    generator = torch.Generator().manual_seed(0)
    logprobs = -3 * torch.rand(4, 5, generator=generator)
    behaviour = logprobs + 0.3 * torch.randn(4, 5, generator=generator)
    anchors = behaviour.clone(), torch.ones(4, 5)
    anchors[0][2:] += 0.2 * torch.randn(2, 5, generator=generator)
    anchors[1][2:] = 0.7
    gains, mask = torch.tensor([1.0, -0.5, 0.3, -0.2]), torch.ones(4, 5, dtype=torch.bool)
    mask[0, 3:] = False

    def derive(given):
        values = logprobs.clone().requires_grad_()
        compute_loss(values, behaviour, gains, mask, 7.0, loss, 0.1, None, given).value.backward()
        return values.grad

    assert torch.equal(derive(anchors)[:2], derive(None)[:2])
    assert not torch.equal(derive(anchors)[2:], derive(None)[2:])


def draw_groups(count, seed, is_older=False):
    rng = random.Random(seed)
    groups = []
    for number in range(count):
        prompt = [rng.randint(2, 97) for _ in range(rng.randint(1, 6))]
        texts = [[rng.randint(2, 97) for _ in range(rng.randint(2, 12))] for _ in range(4)]
        logs = [[-4.6 + rng.gauss(0, 0.1) for _ in text] for text in texts]
        rewards = [1_000_000, 0, 0, 200_000 * (number % 2)]
        groups.append(Group(prompt, texts, rewards, logs, is_older=is_older))
    return groups


def make_learner(rank=0, **settings):
    config = LearnConfig(
        learning_rate=RATE, epochs=3, groups_per_batch=2, tokens_per_pass=TOKENS, lora_rank=rank
    )
    model = make_model(hidden=16, layers=2, heads=2, inner=16, seed=0)
    return Learner(model, replace(config, **settings))


def list_weights(learner):
    return {name: w.clone() for name, w in learner.model.state_dict().items()}


@pytest.mark.parametrize("name", LOSSES)
def test_steps_on_policy_are_todays(name):
    loss = LOSSES[name]()
    today, decoupled = make_learner(loss=loss), make_learner(loss=loss, anchor="step")
    for learner in (today, decoupled):
        stats = learner.learn(draw_groups(5, 0))
        assert stats.stale_ess is None
    ours, theirs = list_weights(decoupled), list_weights(today)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("rank", [0, 2], ids=["whole", "factors"])
@pytest.mark.parametrize("name", LOSSES)
def test_older_rollouts_are_anchored_at_the_beginning(name, rank):
    """A first update moves by w·A·∇log π, whatever the behaviour says: at the step's beginning
    every ratio is 1. All later ones keep that anchor."""
    if rank:
        pytest.importorskip("peft", reason="peft is of the extra `train`")
    loss = LOSSES[name]()
    old = draw_groups(4, 0, is_older=True)
    learner = make_learner(rank, loss=loss, anchor="step", stale_weight="token", epochs=1)
    learner.learn(draw_groups(3, 5))  # masters, moments and factors that are no longer the first
    kept = make_learner(rank, loss=loss, anchor="step", stale_weight="token", epochs=1)
    kept.learn(draw_groups(3, 5))
    stats = learner.learn(old)
    assert 0 < stats.stale_ess <= 1
    assert stats.stale_share == 1
    assert stats.stale_kl > 0
    # the same from groups whose behaviour is what the learner itself reads, and weights by hand
    rows = [row for group in old for row in make_rollouts(group, False, False)]
    read = kept.compute_logprobs(rows)
    again = iter(read)
    fresh = [
        replace(g, behaviour_logprobs=[next(again).tolist() for _ in g.completions], is_older=False)
        for g in old
    ]
    if not isinstance(loss, Icepop):  # its own weights
        plain = make_learner(rank, loss=loss, anchor="step", stale_weight="none", epochs=1)
        plain.learn(draw_groups(3, 5))
        by_none = make_learner(rank, loss=loss, epochs=1)
        by_none.learn(draw_groups(3, 5))
        plain.learn(old)
        by_none.learn(fresh)
        ours, theirs = list_weights(plain), list_weights(by_none)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    padded = pad_sequence(read, batch_first=True)
    assert padded.dtype == torch.float32


def test_an_age_across_two_bases_of_factors():
    """Factors whose base is another one now, as after they were merged: an old rollout's anchor is
    what base and factors give it together, as of a learner of the same whole weights."""
    pytest.importorskip("peft", reason="peft is of the extra `train`")
    first = make_learner(2, anchor="step")
    first.learn(draw_groups(3, 5))
    merged = first.bf16_state()
    old = draw_groups(4, 0, is_older=True)
    found = []
    for rank in (0, 2):
        model = make_model(hidden=16, layers=2, heads=2, inner=16, seed=1)
        model.load_state_dict({name: weight.float() for name, weight in merged.items()})
        config = replace(make_learner(rank, anchor="step").config, lora_rank=rank)
        stats = Learner(model, config).learn(old)
        found.append((stats.stale_ess, stats.stale_kl))
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    stale = first.learn(old)
    assert (stale.stale_ess, stale.stale_kl) == pytest.approx(found[0], rel=0.05)


def test_what_is_read_does_not_depend_on_who_learns():
    """Replayed and delayed groups are anchored as others are; another order reads the same."""
    learner = make_learner(anchor="step")
    rows = [row for g in draw_groups(6, 3, is_older=True) for row in make_rollouts(g, False, True)]
    once = learner.compute_logprobs(rows)
    assert [len(part) for part in once] == [len(row.completion) for row in rows]
    alone = [learner.compute_logprobs([row])[0] for row in rows]
    for together, apart in zip(once, alone, strict=True):
        assert torch.allclose(together, apart, atol=1e-5)
