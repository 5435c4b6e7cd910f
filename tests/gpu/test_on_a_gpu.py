"""The same integers and the same bounds on a GPU as on the CPU."""

import copy

import numpy as np
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from assay.environments import make_environment
from assay.inference import (
    KeyedSampler,
    Reference,
    load_checkpoint,
    make_keys,
    make_model,
    measure_rates,
)
from assay.inference.folder import read_passages
from assay.protocol import Domain, hash_fields
from assay.protocol.parameters import SMALL_MODEL_TESTS
from assay.subnet.presets import DEMO_ENVIRONMENT, DEMO_SETTINGS
from assay.training import GENESIS
from assay.verification import make_projection

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("vocabulary", [98, 2_048, 5_003, 151_936])
def test_keyed_draws_are_the_cpus(vocabulary):
    torch.manual_seed(0)
    logits = torch.randn(6, vocabulary) * 3
    seeds = [bytes([i]) * 32 for i in range(6)]
    positions = torch.arange(6) * 7
    drawable = np.ones(vocabulary, bool)
    drawable[1::5] = False
    cpu = KeyedSampler(drawable, 1_024).draw(logits, make_keys(seeds), positions)
    cuda = torch.device("cuda")
    gpu = KeyedSampler(drawable, 1_024, cuda).draw(
        logits.to(cuda), make_keys(seeds, cuda), positions.to(cuda)
    )
    assert torch.equal(cpu[0], gpu[0].cpu())
    assert torch.equal(cpu[1], gpu[1].cpu())


def test_the_reference_agrees_with_the_cpus_within_the_cap():
    """Honest work of a CPU miner under a GPU validator: margins far below the cap."""
    checkpoint = load_checkpoint(GENESIS)
    environment = make_environment(DEMO_ENVIRONMENT, DEMO_SETTINGS)
    projection = make_projection(hash_fields(Domain.PROJECTION, b"gpu"), checkpoint.manifest)
    drafter = checkpoint.get_drafter(1_024)
    on_gpu = Reference(
        checkpoint.load_trainable().requires_grad_(False).cuda(),
        checkpoint.tokenizer.drawable,
        1_024,
    )
    from assay.inference import Request

    for index in range(16):
        seed = hash_fields(Domain.PROBLEM, b"gpu", bytes([index]))
        problem = environment.make_problem(seed, checkpoint.manifest.levels)
        prompt = tuple(checkpoint.tokenizer.encode(problem.prompt))
        seeds = [hash_fields(Domain.ROLLOUT, seed, bytes([r])) for r in range(8)]
        drafts = drafter.draft([Request(prompt, s) for s in seeds])
        completions = [np.array(row, np.uint32) for row in drafts]
        for m in on_gpu.measure([prompt] * len(completions), completions, seeds, projection):
            assert m.margins.max() * 20 <= SMALL_MODEL_TESTS.margin_cap


@pytest.mark.parametrize("hidden", [64, 256, 1_536])
def test_split_products_are_plain_fp32(hidden):
    """bf16 matrix units with fp32 sums: as near to float64 as plain fp32 is to within a factor."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=512,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=False,
    )
    model = Qwen2ForCausalLM(config).eval().requires_grad_(False).cuda()
    ids = torch.arange(192, device="cuda").view(2, 96)
    model.lm_head.weight.mul_(3 / model(ids).logits.std())
    for parameter in model.parameters():
        parameter.copy_(parameter.to(torch.bfloat16).float())
    split = make_model(model, "split3")
    with torch.inference_mode():
        plain = model(ids).logits
        found = split.lm_head(split.model(ids).last_hidden_state)
        exact = copy.deepcopy(model).double()(ids).logits
    assert float((found - plain).square().mean().sqrt()) <= 5e-5
    assert (found - exact).square().mean() <= 4 * (plain - exact).square().mean()


def test_split_products_agree_with_the_cpus_reference_within_the_cap():
    """A validator on a card with split products, honest work of a CPU miner, rates included."""
    checkpoint = load_checkpoint(GENESIS)
    contexts = read_passages(GENESIS)[:64]
    on_gpu = make_model(checkpoint.load_trainable().requires_grad_(False).cuda(), "split3")
    sides = (
        checkpoint.get_reference(1_024),
        Reference(on_gpu, checkpoint.tokenizer.drawable, 1_024),
    )
    tests = SMALL_MODEL_TESTS
    found = measure_rates(*sides, contexts, (*tests.margin_levels, tests.margin_cap), 1_024)
    assert found.rates[-1] <= 10**8
    for rate, stored in zip(found.rates, checkpoint.calibration.rates, strict=False):
        assert rate <= tests.rate_inflation * stored + tests.rate_floor
