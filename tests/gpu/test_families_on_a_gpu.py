"""Every family on a card: what it reads, draws and learns there is the processor's. The same runs
on the processor for a dense family, a mixture and a hybrid, which shows that the test is right."""

from typing import Any

import numpy as np
import pytest
import torch

from assay.inference.draft import OwnDrafter, Rules
from assay.inference.families import FAMILIES
from assay.inference.generate import GroupRequest, follow_groups
from assay.inference.implementations import PERMITTED, make_packing_twin
from assay.inference.implementations import make_model as make_implementation
from assay.inference.reading import make_packs
from assay.inference.reference import Reference
from assay.protocol.parameters import SMALL_MODEL_TESTS
from assay.training import Group, LearnConfig, Learner
from assay.training.policy import Policy
from assay.verification import Projection
from tests.inference.family_models import VOCABULARY, make_config, make_model

_ON_A_CPU = ("llama", "qwen3_moe", "qwen3_5_text")
PLACES = [pytest.param(kind, "cpu", id=f"{kind}-cpu") for kind in _ON_A_CPU] + [
    pytest.param(
        kind,
        "cuda:0",
        id=f"{kind}-cuda:0",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
        ],
    )
    for kind in FAMILIES
]
EACH = pytest.mark.parametrize(("kind", "device"), PLACES)
DRAWABLE = np.ones(VOCABULARY, bool)
RULES = Rules(1_024, (1,), 14)
PROMPT = 15
#: Of the tests' models, which have 32 columns.
PROJECTION = Projection(np.ones((32, 2), np.int8), np.zeros(32), 1.0)


def place(kind: str, device: str) -> Any:
    """A model of its own on the device."""
    return make_model(make_config(kind)).to(device)


def make_requests() -> list[GroupRequest]:
    random = np.random.default_rng(0)
    prompts = [tuple(random.integers(2, VOCABULARY, PROMPT + n).tolist()) for n in (0, 7)]
    return [
        GroupRequest(prompt, tuple(bytes([i, r]) * 16 for r in range(3)))
        for i, prompt in enumerate(prompts)
    ]


@EACH
@pytest.mark.parametrize("implementation", PERMITTED)
def test_what_a_processor_drew_is_read_within_the_cap(
    kind: str, device: str, implementation: str
) -> None:
    """A miner on a CPU, a validator on the device. Nothing is beyond a margin's cap, and the
    log-probabilities are a miner's to a few units."""
    model = make_model(make_config(kind))
    reference = Reference(make_packing_twin(model), DRAWABLE, RULES.temperature)
    requests = make_requests()
    groups = list(
        follow_groups(requests, OwnDrafter(model, DRAWABLE, RULES), reference, RULES, PROJECTION)
    )
    judge = Reference(
        make_implementation(place(kind, device), implementation), DRAWABLE, RULES.temperature
    )
    for request, group in zip(requests, groups, strict=True):
        tokens = [rollout.tokens for rollout in group]
        prompts = [request.prompt] * len(group)
        for rollout, m in zip(
            group, judge.measure(prompts, tokens, request.seeds, PROJECTION), strict=True
        ):
            assert m.margins.max() <= SMALL_MODEL_TESTS.margin_cap
            apart = np.abs(rollout.logprobs.astype(np.int64) - m.logprobs.astype(np.int64))
            assert apart.max() <= SMALL_MODEL_TESTS.logprob_max_bound


@EACH
def test_a_follower_draws_what_its_reference_reads(kind: str, device: str) -> None:
    """Each token that a follower corrected is the one that a prefill on the same device draws."""
    model = place(kind, device)
    reference = Reference(make_packing_twin(model), DRAWABLE, RULES.temperature)
    requests = make_requests()
    drafter = OwnDrafter(model, DRAWABLE, RULES)
    for request, group in zip(
        requests, follow_groups(requests, drafter, reference, RULES, PROJECTION), strict=True
    ):
        tokens = [rollout.tokens for rollout in group]
        read = reference.measure([request.prompt] * len(group), tokens, request.seeds, PROJECTION)
        for m in read:
            assert m.margins.max() <= SMALL_MODEL_TESTS.margin_cap


@EACH
def test_gradients_are_the_processors(kind: str, device: str) -> None:
    random = np.random.default_rng(1)
    prompts = [random.integers(2, VOCABULARY, 9).tolist()] * 2
    completions = [random.integers(2, VOCABULARY, n).tolist() for n in (11, 17)]
    (pack,) = make_packs(prompts, completions)
    tokens = torch.tensor([token for i in pack.indices for token in completions[i]])
    found = []
    for where in (device, "cpu"):
        model = make_packing_twin(place(kind, where)).requires_grad_(True)
        logprobs = Policy(model)(pack, tokens.to(where))
        weights = dict(model.named_parameters())
        slopes = torch.autograd.grad(logprobs.sum(), list(weights.values()), allow_unused=True)
        found.append((logprobs.detach().cpu(), dict(zip(weights, slopes, strict=True))))
    (values, slopes), (expected, exact) = found
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-3)
    for name, slope in exact.items():
        assert (slope is None) == (slopes[name] is None), name
        if slope is not None:
            apart = float((slopes[name].cpu() - slope).abs().max())
            assert apart <= 1e-3 * max(1, float(slope.abs().max())), name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_lesson_in_bf16_repeats_to_the_bit(kind: str) -> None:
    """With sequences of several blocks of keys, whose gradients a kernel could add in any order."""
    random = np.random.default_rng(2)
    rewards, length = [0, 1_000_000, 0, 500_000], 500
    groups = [
        Group(
            random.integers(2, VOCABULARY, PROMPT).tolist(),
            [random.integers(2, VOCABULARY, length - 9 * r).tolist() for r in range(4)],
            rewards,
            [[-4.0] * (length - 9 * r) for r in range(4)],
        )
    ]
    states = []
    for _ in range(2):
        model = make_model(make_config(kind, max_position_embeddings=1_024))
        config = LearnConfig(learning_rate=1e-3, epochs=1, precision="bfloat16", recompute=True)
        learner = Learner(model.requires_grad_(True), config, device="cuda:0")
        learner.learn(groups)
        states.append(dict(learner.export_state()))
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name
