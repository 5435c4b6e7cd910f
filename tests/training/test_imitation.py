"""Learning from what somebody else wrote, against cross entropy of whole sequences."""

import random
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from assay.protocol.episode import Reply, weave
from assay.training import LearnConfig, Learner
from assay.training.genesis_model import make_model
from assay.training.imitation import Example

CONFIG = LearnConfig(tokens_per_pass=40, max_gradient=1e9)


def make_own(seed=0):
    return make_model(hidden=16, layers=2, heads=2, inner=16, seed=seed)


def draw_batch(rng):
    """Examples of one prompt and of several, some with replies."""
    examples = []
    for _ in range(rng.randint(1, 6)):
        prompt = [rng.randint(2, 97) for _ in range(rng.randint(1, 9))]
        completion = [rng.randint(2, 97) for _ in range(rng.randint(2, 12))]
        at = rng.randint(1, len(completion) - 1)
        replies = [Reply(at, tuple(rng.randint(2, 97) for _ in range(3)))] * rng.randint(0, 1)
        examples.append(Example(prompt, completion, replies))
        if rng.random() < 0.5:
            examples.append(Example(prompt, completion[::-1]))
    return examples


def compute_plain(model, examples):
    """The loss as transformers computes it: a row at a time, labels of -100 at what is read."""
    total, count = torch.zeros(()), 0
    for one in examples:
        sequence, places = weave(one.completion, one.replies)
        ids = torch.tensor([[*one.prompt, *sequence]])
        labels = torch.full_like(ids, -100)
        own = [len(one.prompt) + place for place in places]
        labels[0, own] = ids[0, own]
        logits = model(input_ids=ids).logits[0, :-1]
        total = total + cross_entropy(logits, labels[0, 1:], ignore_index=-100, reduction="sum")
        count += len(own)
    return total / count


@pytest.mark.parametrize("seed", range(20))
def test_loss_and_gradient_are_those_of_cross_entropy(seed, monkeypatch):
    examples = draw_batch(random.Random(seed))
    model = make_own()
    expected = compute_plain(model, examples)
    expected.backward()
    wanted = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    learner = Learner(make_own(), CONFIG)
    seen, step = {}, torch.optim.AdamW.step

    def note(self):
        weights = learner.model.named_parameters()
        seen.update({name: weight.grad.clone() for name, weight in weights})
        return step(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", note)
    assert learner.measure(examples) == pytest.approx(expected.item(), rel=1e-5)
    stats = learner.imitate(examples, 1e-3)
    assert stats.loss == pytest.approx(expected.item(), rel=1e-5)
    assert stats.tokens == sum(len(one.completion) for one in examples)
    for name, gradient in wanted.items():
        error = (seen[name] - gradient).norm() / gradient.norm().clamp(min=1e-12)
        assert error <= 1e-5, name


def test_examples_become_likelier_at_the_rate_that_is_asked():
    examples = draw_batch(random.Random(0))
    losses = {}
    for rate in (1e-4, 1e-2):
        learner = Learner(make_own(), CONFIG)
        before = learner.measure(examples)
        learner.imitate(examples, rate)
        losses[rate] = learner.measure(examples) - before
    assert losses[1e-2] < losses[1e-4] < 0


def test_measuring_changes_nothing():
    learner = Learner(make_own(), CONFIG)
    before = {name: tensor.clone() for name, tensor in learner.export_state()}
    learner.measure(draw_batch(random.Random(0)))
    after = dict(learner.export_state())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_recomputed_layers_give_the_same_bits():
    examples = draw_batch(random.Random(1))
    states = []
    for config in (CONFIG, replace(CONFIG, recompute=True)):
        learner = Learner(make_own(), config)
        learner.imitate(examples, 1e-3)
        states.append(dict(learner.export_state()))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(
    "parts",
    [([], [1]), ([1], []), ([1], [2, 3], [Reply(0, (4,))]), ([1], [2, 3], [Reply(2, (4,))])],
)
def test_no_example_without_a_turn(parts):
    with pytest.raises(ValueError, match="needs"):
        Example(*parts)


def test_nothing_to_imitate_is_a_mistake():
    with pytest.raises(ValueError, match="nothing"):
        Learner(make_own(), CONFIG).imitate([], 1e-3)
