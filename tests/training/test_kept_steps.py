"""A step of every kind gives the weights that it has given since records name losses, to the bit:
records, and so the checkpoints and seeds that follow from them, stay what they are.

Rounding differs between processors, so no bits are kept here but `plain_step`, which is frozen."""

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from assay.artifacts.steps.config import StepConfig, decode_config, encode_config
from assay.protocol.episode import Reply
from assay.training import Group, Learner
from assay.training.genesis_model import make_model
from assay.training.grpo import LOSSES
from assay.training.imitation import Example
from assay.training.objectives import Distillation, Imitation, Preference
from assay.training.preferences import Pair
from tests.training.plain_step import PlainLearner, PlainLoss

#: Bounds that many of the tokens below pass; of dppo, probabilities.
RATIOS = {"low": 0.05, "high": 0.07, "cap": 1.3}
PROBABILITIES = {"low": 0.001, "high": 0.001, "cap": 1.3}
RATE, EPOCHS, BATCH, TOKENS = 3e-3, 3, 2, 64
SFT = 0.3, 3


def make_loss(name: str, kl_weight: float = 0.0) -> PlainLoss:
    bounds = PROBABILITIES if name == "dppo" else RATIOS
    return PlainLoss(name, kl_weight=kl_weight, **bounds)


def make_own(seed: int = 0) -> Any:
    return make_model(hidden=16, layers=2, heads=2, inner=16, seed=seed)


def make_groups(count: int, seed: int) -> list[Group]:
    """Groups that a model near the first one might have drawn, some with replies of a world; one
    teaches nothing."""
    rng = random.Random(seed)
    groups = []
    for number in range(count):
        prompt = [rng.randint(2, 97) for _ in range(rng.randint(1, 6))]
        texts = [[rng.randint(2, 97) for _ in range(rng.randint(2, 12))] for _ in range(4)]
        replies = [
            [Reply(rng.randint(1, len(text) - 1), (5, 6, 7))] * (rng.random() < 0.5)
            for text in texts
        ]
        rewards = [1_000_000, 0, 0, 0] if number % 2 else [1_000_000, 0, 200_000, 7]
        if number == 1:
            rewards = [0, 0, 0, 0]
        logs = [[-4.6 + rng.gauss(0, 0.1) for _ in text] for text in texts]
        groups.append(Group(prompt, texts, rewards, logs, replies))
    return groups


def make_examples(count: int, seed: int = 1) -> list[Example]:
    rng = random.Random(seed)
    examples = []
    for _ in range(count):
        prompt = [rng.randint(2, 97) for _ in range(rng.randint(1, 9))]
        text = [rng.randint(2, 97) for _ in range(rng.randint(2, 12))]
        examples.append(Example(prompt, text, [Reply(1, (20, 21))] * (rng.random() < 0.5)))
    return examples


def make_pairs() -> list[Pair]:
    examples = make_examples(8)
    halves = zip(examples[::2], examples[1::2], strict=True)
    return [Pair(one, Example(one.prompt, two.completion), 0.3) for one, two in halves]


def make_learner(
    loss: PlainLoss, rank: int = 0, reference: Any = None, examples: Sequence[Example] = ()
) -> Learner:
    """A learner by a record's settings."""
    told = json.loads(encode_config(StepConfig()))
    told |= {"learning_rate": RATE, "epochs": EPOCHS, "groups_per_batch": BATCH, "seed": 3}
    told |= {"tokens_per_pass": TOKENS, "lora_rank": rank, "from_genesis": reference is not None}
    told |= {"loss": vars(loss)}
    if examples:
        told |= {"sft_weight": SFT[0], "sft_batch": SFT[1]}
    config = decode_config(json.dumps(told)).learning
    return Learner(make_own(), config, reference, examples=examples)


def make_plain(rank: int = 0, reference: Any = None) -> PlainLearner:
    return PlainLearner(make_own(), reference, rank, 3, TOKENS)


def require_same(learner: Learner, plain: PlainLearner) -> None:
    ours, theirs = learner.model.state_dict(), plain.list_weights()
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        assert torch.equal(ours[name], weight), name
    moments = [state for _, state in sorted(plain.optimizer.state_dict()["state"].items())]
    state = dict(learner.export_state())
    for place, moment in enumerate(moments):
        for name in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(state[f"adam.{place}.{name}"], moment[name]), (place, name)
    assert learner.step == plain.step


@pytest.mark.parametrize("rank", [0, 2], ids=["whole", "factors"])
@pytest.mark.parametrize("name", LOSSES)
def test_steps_of_each_loss(name: str, rank: int) -> None:
    """Two, of several epochs; the last groups of the second are replayed ones."""
    if rank:
        pytest.importorskip("peft", reason="peft is of the extra `train`")
    loss = make_loss(name)
    learner, plain = make_learner(loss, rank), make_plain(rank)
    first, second = make_groups(5, 0), make_groups(3, 2)
    stats = learner.learn(first)
    plain.learn(first, loss, RATE, EPOCHS, BATCH)
    assert stats.clipped_share > 0.1
    assert (stats.dropped, stats.updates) == (1, EPOCHS * 2)
    again = [*second, first[2], first[3]]
    assert learner.learn(again, earlier=2).earlier_ratio_max is not None
    plain.learn(again, loss, RATE, EPOCHS, BATCH)
    require_same(learner, plain)


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_with_a_divergence_and_examples_beside(name: str) -> None:
    loss = make_loss(name, 0.1)
    groups, examples = make_groups(5, 0), make_examples(7)
    learner = make_learner(loss, reference=make_own(9), examples=examples)
    plain = make_plain(reference=make_own(9))
    for _ in range(2):
        assert learner.learn(groups).sft_loss is not None
        plain.learn(groups, loss, RATE, EPOCHS, BATCH, examples, SFT)
    require_same(learner, plain)


def test_a_step_with_a_divergence_from_the_behaviour() -> None:
    loss, groups = make_loss("grpo", 0.1), make_groups(4, 0)
    learner, plain = make_learner(loss), make_plain()
    learner.learn(groups)
    plain.learn(groups, loss, RATE, EPOCHS, BATCH)
    require_same(learner, plain)


def test_steps_of_preparations() -> None:
    """A warm start, preferences and a distillation, one after the other."""
    loss = PlainLoss("grpo", kl_weight=1.0)
    learner, plain = make_learner(loss, reference=make_own(9)), make_plain(reference=make_own(9))
    examples, pairs = make_examples(6), make_pairs()
    for rate in (1e-3, 2e-3):
        assert learner.update(examples, Imitation(), rate).loss == plain.imitate(examples, rate)
        learner.update(pairs, Preference(0.3), rate)
        plain.prefer(pairs, rate, 0.3)
        drawn = learner.update(examples, Distillation(), rate).loss
        assert drawn == plain.distill(examples, rate)
    require_same(learner, plain)
