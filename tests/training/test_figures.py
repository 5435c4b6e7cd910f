"""Figures of a step against the definitions, computed the long way."""

import math
from dataclasses import dataclass

import pytest
import torch

from assay.training import Group, LearnConfig, Learner, policy
from assay.training.figures import GroupFigures, TokenCounter, compute_group_figures
from assay.training.genesis_model import make_model

PROMPT, COMPLETIONS = [10, 11], [[5, 5, 1], [6, 7, 8, 1], [9, 1], [5, 5, 1]]
REWARDS = [1_000_000, 0, 200_000, 1_000_000]


@dataclass
class Answered:
    completions: list[list[int]]
    rewards: list[int]
    logprob: float = -1.0

    @property
    def behaviour_logprobs(self):
        return [[self.logprob] * len(tokens) for tokens in self.completions]


def make_learner(**settings):
    return Learner(
        make_model(hidden=16, layers=1, heads=2, inner=16, seed=0), LearnConfig(**settings)
    )


def read_logits(learner):
    """float32 [T, V] of each completion's tokens, one completion after the other."""
    rows = []
    with torch.no_grad():
        for tokens in COMPLETIONS:
            logits = learner.model(input_ids=torch.tensor([PROMPT + tokens])).logits[0]
            rows.append(logits[len(PROMPT) - 1 : -1])
    return torch.cat(rows)


@pytest.mark.parametrize("logits_max", [1, 1 << 25], ids=["chunks", "whole"])
@pytest.mark.parametrize("excluded", [(), (0, 40)], ids=["all", "some"])
def test_entropy_and_ratios_are_those_of_the_whole_distributions(monkeypatch, logits_max, excluded):
    monkeypatch.setattr(policy, "LOGITS_MAX", logits_max)
    learner = make_learner(epochs=1, groups_per_batch=8, excluded=excluded)
    logits = read_logits(learner)
    logits[:, list(excluded)] = -torch.inf
    dist = torch.distributions.Categorical(logits=logits.double())
    tokens = torch.tensor([token for own in COMPLETIONS for token in own])
    # shifts of the behaviour make ratios that are known
    shifts = torch.linspace(-1, 1, len(tokens), dtype=torch.float64)
    behaviour = (dist.log_prob(tokens) - shifts).split([len(own) for own in COMPLETIONS])
    stats = learner.learn(
        [Group(PROMPT, COMPLETIONS, REWARDS, [part.tolist() for part in behaviour])]
    )
    probs = dist.probs
    expected = -torch.where(probs > 0, probs * probs.log(), 0.0).sum(-1).mean()
    assert stats.entropy == pytest.approx(float(expected), rel=1e-5)
    assert stats.ratio_max == pytest.approx(math.e, rel=1e-4)
    assert stats.ratio_p01 == pytest.approx(1 / math.e, rel=2e-3)
    assert stats.ratio_p50 == pytest.approx(float(shifts[(len(tokens) - 1) // 2].exp()), rel=2e-3)
    assert stats.ratio_p99 == pytest.approx(math.e, rel=2e-3)
    assert stats.learning_rate == 5e-5


def test_entropy_of_a_large_vocabulary_is_that_of_some_tokens(monkeypatch):
    monkeypatch.setattr(policy, "ENTROPY_LOGITS", 33)  # of 98: every third token
    learner = make_learner(epochs=1, groups_per_batch=8)
    entropies = torch.distributions.Categorical(logits=read_logits(learner)).entropy()
    behaviour = [[-4.0] * len(own) for own in COMPLETIONS]
    stats = learner.learn([Group(PROMPT, COMPLETIONS, REWARDS, behaviour)])
    assert stats.entropy == pytest.approx(float(entropies[::3].mean()), rel=1e-5)


def test_a_step_without_signal_has_no_figures_of_tokens():
    stats = make_learner().learn([Group(PROMPT, [[5, 1], [6, 1]], [0, 0], [[-1.0, -1.0]] * 2)])
    assert (stats.updates, stats.entropy, stats.ratio_max) == (0, None, None)


def test_ratios_that_explode_stay_numbers():
    counter = TokenCounter()
    counter.add(torch.tensor([0.0, 5_000.0, math.inf, -math.inf]), torch.ones(4))
    figures = counter.finish()
    assert figures.ratio_p01 == pytest.approx(math.exp(-8))
    assert figures.ratio_p99 == pytest.approx(math.exp(8))
    assert math.isfinite(figures.ratio_max)


def test_ratios_of_one_are_exactly_one():
    counter = TokenCounter()
    counter.add(torch.zeros(1_000), torch.zeros(1_000))
    figures = counter.finish()
    assert (figures.ratio_p01, figures.ratio_p50, figures.ratio_p99, figures.ratio_max) == (1,) * 4


def test_figures_of_groups():
    groups = [
        Answered([[5, 1], [5, 1], [6, 1], [7] * 8], [1_000_000, 1_000_000, 0, 0]),
        Answered([[5, 1]] * 4, [1_000_000] * 4),
        Answered([[9] * 4] * 4, [0] * 4, logprob=-0.25),
        Answered([[9] * 4, [8], [8], [8, 8]], [500_000] * 4),
    ]
    assert compute_group_figures(groups, max_tokens=8) == GroupFigures(
        groups=4,
        reward=0.5,
        teaching=0.25,
        all_right=0.25,
        all_wrong=0.25,
        length_mean=(14 + 8 + 16 + 8) / 16,
        length_p10=1,
        length_p50=2,
        length_p90=4,
        length_max=8,
        at_limit=1 / 16,
        distinct=2.0,
        size=4.0,
        same=1 / 3,
        commonest=6 / 16,
        # 30 tokens of 46 are in the other groups
        entropy=(30 * 1.0 + 16 * 0.25) / 46,
    )


def test_no_groups_have_no_figures():
    with pytest.raises(ValueError, match="no groups"):
        compute_group_figures([], 8)
