"""Preferences: the loss, its slope and what an update does, against the formula written plainly."""

import math
import random
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import logsigmoid

from assay.protocol.episode import weave
from assay.training import Learner, LessonError
from assay.training.imitation import Example
from assay.training.objectives import Preference
from assay.training.preferences import Pair, compute_preference, list_answers
from tests.training.test_imitation import CONFIG, draw_batch, make_own

BETA = 0.3


def draw_pairs(rng):
    """Pairs with answers of several lengths, of which some have replies."""
    pairs = []
    for one in draw_batch(rng):
        other = Example(one.prompt, [rng.randint(2, 97) for _ in range(rng.randint(1, 9))])
        pairs.append(Pair(one, other, rng.uniform(-3, 3)))
    return pairs


def sum_plainly(model, one):
    """The log-probability of an example's own tokens, as transformers' logits say it."""
    sequence, places = weave(one.completion, one.replies)
    ids = torch.tensor([[*one.prompt, *sequence]])
    logs = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
    own = torch.tensor([len(one.prompt) + place for place in places])
    return logs[own - 1, ids[0, own]].sum()


def compute_plain(model, pairs):
    sums = [sum_plainly(model, one) for one in list_answers(pairs)]
    gaps = [a - b for a, b in zip(sums[::2], sums[1::2], strict=True)]
    margins = [gap - pair.reference for gap, pair in zip(gaps, pairs, strict=True)]
    return torch.stack([-logsigmoid(BETA * margin) for margin in margins]).mean(), margins


@pytest.mark.parametrize("seed", range(20))
def test_loss_and_gradient_are_the_formulas(seed, monkeypatch):
    pairs = draw_pairs(random.Random(seed))
    model = make_own()
    expected, margins = compute_plain(model, pairs)
    expected.backward()
    wanted = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    learner = Learner(make_own(), CONFIG)
    seen, step = {}, torch.optim.AdamW.step

    def note(self):
        weights = learner.model.named_parameters()
        seen.update({name: weight.grad.clone() for name, weight in weights})
        return step(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", note)
    stats = learner.update(pairs, Preference(BETA), 1e-3)
    assert stats.loss == pytest.approx(expected.item(), rel=1e-5)
    assert stats.preferred.right.solved == sum(margin.item() > 0 for margin in margins)
    assert stats.tokens == sum(len(one.completion) for one in list_answers(pairs))
    assert learner.step == 1
    ours, theirs = (torch.cat([g.flatten() for _, g in sorted(d.items())]) for d in (seen, wanted))
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


def test_what_is_preferred_becomes_likelier():
    pairs = draw_pairs(random.Random(0))
    learner = Learner(make_own(), CONFIG)
    sums = learner.sum_logprobs(list_answers(pairs))
    gaps = [a - b for a, b in zip(sums[::2], sums[1::2], strict=True)]
    pairs = [Pair(one.chosen, one.rejected, gap) for one, gap in zip(pairs, gaps, strict=True)]
    losses = [learner.update(pairs, Preference(BETA), 1e-3).preferred for _ in range(8)]
    assert losses[0].loss == pytest.approx(math.log(2), rel=1e-4)
    assert losses[-1].loss < 0.9 * losses[0].loss
    assert losses[-1].right.solved == len(pairs)
    assert losses[-1].margin > 0


def test_far_margins_have_losses_and_slopes():
    """Where the exponential of a margin overflows."""
    one = Example([3], [4])
    found, slopes = compute_preference([Pair(one, one)] * 2, [9e5, 0.0, 0.0, 9e5], 0.1)
    assert found.loss == 4.5e4
    assert slopes == [0.0, 0.05]
    assert (found.right.solved, found.margin) == (1, 0.0)


def test_tokens_that_cannot_be_drawn_are_a_mistake():
    learner = Learner(make_own(), replace(CONFIG, excluded=(5,)))
    pair = Pair(Example([3], [5]), Example([3], [4]))
    with pytest.raises(LessonError, match="can never be drawn"):
        learner.update([pair], Preference(BETA), 1e-3)
    with pytest.raises(ValueError, match="nothing to learn"):
        learner.update([], Preference(BETA), 1e-3)
