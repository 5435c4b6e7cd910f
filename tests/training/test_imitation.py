"""Learning from what somebody else wrote, against cross entropy of whole sequences."""

import random
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from assay.protocol.episode import Reply, weave
from assay.training import Group, LearnConfig, Learner
from assay.training.genesis_model import make_model
from assay.training.imitation import Example
from assay.training.objectives import Distillation, Imitation

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
    assert learner.measure(examples, Imitation())[0] == pytest.approx(expected.item(), rel=1e-5)
    stats = learner.update(examples, Imitation(), 1e-3)
    assert stats.loss == pytest.approx(expected.item(), rel=1e-5)
    assert stats.tokens == sum(len(one.completion) for one in examples)
    for name, gradient in wanted.items():
        error = (seen[name] - gradient).norm() / gradient.norm().clamp(min=1e-12)
        assert error <= 1e-5, name


def make_groups(model):
    """As the model would have drawn them: every ratio is 1."""
    groups = []
    for first in range(3):
        prompt, completions = [10 + first, 11], [[5, 5, 1], [6, 7, 8, 1], [9, 1]]
        behaviour = []
        for tokens in completions:
            ids = torch.tensor([prompt + tokens])
            with torch.no_grad():
                logprobs = model(input_ids=ids).logits[0, 1:-1].log_softmax(-1)
            behaviour.append(logprobs.gather(1, ids[0, 2:, None])[:, 0].tolist())
        groups.append(Group(prompt, completions, [10**6, 0, 2 * 10**5], behaviour))
    return groups


SFT = replace(CONFIG, epochs=1, sft_weight=0.3, sft_batch=4)


@pytest.mark.parametrize("seed", range(20))
def test_beside_groups_the_loss_is_theirs_and_the_weighted_cross_entropy(seed, monkeypatch):
    """A minibatch drawn by the seed: its mean over tokens, as TRL's SFTTrainer has it, times the
    weight, added to the loss of the groups alone."""
    examples = draw_batch(random.Random(seed))
    config = replace(SFT, seed=seed)
    learner = Learner(make_own(), config, examples=examples)
    alone = Learner(make_own(), replace(config, sft_weight=0))
    groups, seen, step = make_groups(make_own()), [], torch.optim.AdamW.step

    def note(self):
        weights = (alone if seen else learner).model.named_parameters()
        seen.append({name: weight.grad.clone() for name, weight in weights})
        return step(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", note)
    drawn = learner.draw_examples(groups)
    assert len(drawn) == 4
    assert all(one in examples for one in drawn)
    model = make_own()
    expected = compute_plain(model, drawn)
    named = dict(model.named_parameters())
    gradients = torch.autograd.grad(expected, list(named.values()))
    beside, plain = learner.learn(groups), alone.learn(groups)
    assert plain.sft_loss is None
    assert beside.sft_loss == pytest.approx(expected.item(), rel=1e-5)
    assert beside.loss == pytest.approx(plain.loss, abs=1e-6)
    both, one = seen
    for (name, weight), gradient in zip(named.items(), gradients, strict=True):
        assert weight.shape == both[name].shape
        whole = one[name] + 0.3 * gradient
        assert (both[name] - whole).norm() / whole.norm().clamp(min=1e-12) <= 1e-5, name


def test_examples_are_drawn_by_seed_and_step():
    groups = make_groups(make_own())
    config = replace(SFT, epochs=3, groups_per_batch=2, sft_batch=2)
    examples = [Example([10], [20 + number]) for number in range(30)]

    def draw(count=30, **changes):
        changed = replace(config, **changes)
        return Learner(make_own(), changed, examples=examples[:count]).draw_examples(groups)

    drawn = draw()
    assert len(drawn) == 12  # three epochs of two updates
    assert len({tuple(one.completion) for one in drawn}) == 12
    assert draw() == drawn
    assert draw(step=1) != drawn
    assert draw(seed=1) != drawn
    few = draw(5)
    assert [few[:5], few[5:10], few[10:]] == [few[:5], few[:5], few[:2]]


def test_without_a_weight_examples_change_nothing():
    config, examples = replace(CONFIG, epochs=2), draw_batch(random.Random(0))
    learners = [Learner(make_own(), config, examples=given) for given in ([], examples)]
    groups = make_groups(make_own())
    assert learners[0].learn(groups) == learners[1].learn(groups)
    states = [dict(learner.export_state()) for learner in learners]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_examples_that_are_not_given_are_a_mistake():
    with pytest.raises(ValueError, match="want examples"):
        Learner(make_own(), SFT).learn(make_groups(make_own()))


def test_examples_become_likelier_at_the_rate_that_is_asked():
    examples = draw_batch(random.Random(0))
    losses = {}
    for rate in (1e-4, 1e-2):
        learner = Learner(make_own(), CONFIG)
        before, _ = learner.measure(examples, Imitation())
        learner.update(examples, Imitation(), rate)
        losses[rate] = learner.measure(examples, Imitation())[0] - before
    assert losses[1e-2] < losses[1e-4] < 0


def test_measuring_changes_nothing():
    learner = Learner(make_own(), CONFIG)
    before = {name: tensor.clone() for name, tensor in learner.export_state()}
    learner.measure(draw_batch(random.Random(0)), Imitation())
    after = dict(learner.export_state())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_recomputed_layers_give_the_same_bits():
    examples = draw_batch(random.Random(1))
    states = []
    for config in (CONFIG, replace(CONFIG, recompute=True)):
        learner = Learner(make_own(), config)
        learner.update(examples, Imitation(), 1e-3)
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
        Learner(make_own(), CONFIG).update([], Imitation(), 1e-3)


def score_plainly(model, one):
    """The log-probability of each own token, as transformers' logits say it."""
    sequence, places = weave(one.completion, one.replies)
    ids = torch.tensor([[*one.prompt, *sequence]])
    own = torch.tensor([len(one.prompt) + place for place in places])
    return model(input_ids=ids).logits[0, own - 1].log_softmax(-1)[range(len(own)), ids[0, own]]


def make_pupil(teacher):
    config = replace(CONFIG, from_genesis=True, kl_weight=1.0)
    return Learner(make_own(), config, teacher)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_drawn_is_taught_by_the_reverse_divergence(seed, monkeypatch):
    examples, model = draw_batch(random.Random(seed)), make_own()
    own = torch.cat([score_plainly(model, one) for one in examples])
    with torch.no_grad():
        taught = torch.cat([score_plainly(make_own(seed=9), one) for one in examples])
    gap = (own - taught).detach()
    (gap * own).mean().backward()
    wanted = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    learner = make_pupil(make_own(seed=9))
    seen, step = {}, torch.optim.AdamW.step

    def note(self):
        seen.update({n: w.grad.clone() for n, w in learner.model.named_parameters()})
        return step(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", note)
    measured, _ = learner.measure(examples, Distillation())
    assert measured == pytest.approx(gap.mean().item(), rel=1e-4)
    stats = learner.update(examples, Distillation(), 1e-3)
    assert stats.loss == pytest.approx(gap.mean().item(), rel=1e-4)
    ours, theirs = (torch.cat([g.flatten() for _, g in sorted(d.items())]) for d in (seen, wanted))
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


def test_a_teacher_with_more_ids_is_asked_about_the_common_ones():
    """Embeddings are padded to other sizes in models of one family."""
    wide = make_own(seed=9)
    wide.resize_token_embeddings(wide.config.vocab_size + 8, mean_resizing=False)
    with torch.no_grad():
        wide.lm_head.weight[-8:] = 5.0
    examples = draw_batch(random.Random(0))
    plain, _ = make_pupil(make_own(seed=9)).measure(examples, Distillation())
    assert make_pupil(wide).measure(examples, Distillation())[0] == pytest.approx(plain, rel=1e-5)


def test_a_learner_without_a_teacher_is_a_mistake():
    examples, learner = draw_batch(random.Random(0)), Learner(make_own(), CONFIG)
    with pytest.raises(ValueError, match="no reference"):
        learner.update(examples, Distillation(), 1e-3)
    with pytest.raises(ValueError, match="no reference"):
        learner.measure(examples, Distillation())
