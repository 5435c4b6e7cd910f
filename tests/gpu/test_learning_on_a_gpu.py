"""A learner on a card learns the same as one on the processor, in turn with other programs
there."""

import pytest
import torch

from assay.inference.checkpoint import load_checkpoint
from assay.inference.implementations import make_packing_twin
from assay.inference.reading import make_packs
from assay.protocol.episode import Reply
from assay.training import GENESIS, Group, LearnConfig, Learner
from assay.training.policy import Policy

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
GROUPS = [
    Group(
        [20 + i, 21, 22],
        [[25, 26, 27, 1], [28, 1], [29, 30, 1], [31, 32, 33, 34, 1]],
        [1_000_000, 0, 0, 500_000],
        [[-2.0] * 4, [-2.5] * 2, [-2.0] * 3, [-1.5] * 5],
        [[Reply(2, (35, 36, 37 + i))], [], [Reply(1, ()), Reply(2, (38,))], []],
    )
    for i in range(4)
]


def measure(device, precision):
    """Log-probabilities of all completions, and the gradients of their sum."""
    model = make_packing_twin(load_checkpoint(GENESIS).load_trainable()).to(device)
    prompts = [group.prompt for group in GROUPS for _ in group.completions]
    completions = [tokens for group in GROUPS for tokens in group.completions]
    replies = [said for group in GROUPS for said in group.replies]
    (pack,) = make_packs(prompts, completions, replies=replies)
    tokens = torch.tensor([token for i in pack.indices for token in completions[i]], device=device)
    found = Policy(model, precision=precision, recompute=True)(pack, tokens)
    found.sum().backward()
    return found.cpu(), {name: weight.grad.cpu() for name, weight in model.named_parameters()}


def test_values_and_gradients_are_the_processor_s():
    values, gradients = measure("cuda:0", "float32")
    expected, expected_gradients = measure("cpu", "float32")
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-3)
    for name, gradient in expected_gradients.items():
        worst = (gradients[name] - gradient).abs().max()
        assert worst <= 1e-3 * gradient.abs().max(), name


def test_products_in_bf16_keep_gradients_in_fp32():
    values, gradients = measure("cuda:0", "bfloat16")
    expected, _ = measure("cuda:0", "float32")
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, expected, rtol=0, atol=0.2)
    assert all(gradient.dtype == torch.float32 for gradient in gradients.values())


def test_a_step_leaves_nothing_on_the_card_and_repeats_to_the_bit():
    states = []
    for _ in range(2):
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        model = load_checkpoint(GENESIS).load_trainable()
        learner = Learner(model, LearnConfig(learning_rate=1e-3), device="cuda:0")
        learner.learn(GROUPS)
        learner.learn(GROUPS)
        assert torch.cuda.memory_allocated() == before
        states.append(dict(learner.export_state()))
        assert all(tensor.device.type == "cpu" for tensor in states[-1].values())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
