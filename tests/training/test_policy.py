"""Packed, in chunks and computed twice: the results of the plain path over padded rows."""

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from assay.inference.implementations import make_packing_twin
from assay.inference.reading import make_packs
from assay.training import Group, LearnConfig, Learner, policy
from assay.training.genesis_model import make_model
from assay.training.policy import Policy

PROMPTS = [[10, 11, 12], [10, 11, 12], [10, 11, 12], [20], [30, 31]]
COMPLETIONS = [[5, 6, 1], [7, 1], [8, 9, 10, 11, 1], [5, 1], [6, 6, 6, 1]]
EXCLUDED = (0, 40)


def build_model():
    return make_model(hidden=16, layers=2, heads=2, inner=24, seed=0).eval()


def measure_plainly(model):
    """All completions' log-probabilities, one after the other, from whole logits of each."""
    found = []
    for prompt, completion in zip(PROMPTS, COMPLETIONS, strict=True):
        logits = model(input_ids=torch.tensor([[*prompt, *completion]])).logits[0]
        logits = logits.index_fill(-1, torch.tensor(EXCLUDED), -torch.inf)
        rows = logits[len(prompt) - 1 : -1].log_softmax(-1)
        found.append(rows.gather(-1, torch.tensor(completion)[:, None]).squeeze(-1))
    return torch.cat(found)


def measure(reader, tokens_max):
    """The same by a policy, in the same order."""
    found = {}
    for pack in make_packs(PROMPTS, COMPLETIONS, tokens_max):
        own = [COMPLETIONS[i] for i in pack.indices]
        tokens = torch.tensor([token for completion in own for token in completion])
        values = reader(pack, tokens).split([len(completion) for completion in own])
        found |= zip(pack.indices, values, strict=True)
    return torch.cat([found[i] for i in range(len(PROMPTS))])


def get_gradients(model):
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("tokens_max", [1, 12, 1_000], ids=["alone", "some", "all"])
@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("logits_max", [1, 1 << 25], ids=["chunks", "whole"])
def test_values_and_gradients_are_the_plain_paths(monkeypatch, tokens_max, recompute, logits_max):
    monkeypatch.setattr(policy, "LOGITS_MAX", logits_max)
    monkeypatch.setattr(policy, "_BLOCK", 7)
    weights = torch.linspace(-1, 1, sum(map(len, COMPLETIONS)))
    plain = build_model()
    expected = measure_plainly(plain)
    (expected * weights).sum().backward()
    model = make_packing_twin(build_model())
    found = measure(Policy(model, EXCLUDED, recompute=recompute), tokens_max)
    (found * weights).sum().backward()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    gradients = get_gradients(model)
    for name, gradient in get_gradients(plain).items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-6)


def test_layers_computed_twice_are_the_same_to_the_bit():
    groups = [
        Group([10 + i, 11], [[5, 5, 1], [6, 7, 8, 1]], [1_000_000, 0], [[-4.5] * 3, [-4.6] * 4])
        for i in range(3)
    ]
    kept, twice = (
        Learner(build_model(), LearnConfig(learning_rate=1e-3, recompute=recompute))
        for recompute in (False, True)
    )
    assert kept.learn(groups) == twice.learn(groups)
    states = dict(kept.export_state()), dict(twice.export_state())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_products_in_bf16_leave_everything_else_in_fp32():
    """Each product's factors are rounded to 8 bits, at most 2^-8 of them away."""
    model = make_packing_twin(build_model())
    exact = measure(Policy(model), 1_000)
    rounded = measure(Policy(model, precision="bfloat16"), 1_000)
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, rtol=0, atol=0.05)
    rounded.sum().backward()
    assert all(weight.grad.dtype == torch.float32 for weight in model.parameters())


def test_chunks_in_bf16_give_what_autograd_gives_of_whole_logits(monkeypatch):
    """The same products of the same factors, except for the sum over chunks: each of its terms is
    rounded to 8 bits."""
    found = []
    for rows in (1, 1 << 25):
        monkeypatch.setattr(policy, "LOGITS_MAX", rows)
        model = make_packing_twin(build_model())
        values = measure(Policy(model, EXCLUDED, "bfloat16"), 1_000)
        (values * torch.linspace(-1, 1, len(values))).sum().backward()
        found.append((values.detach(), get_gradients(model)))
    (chunks, of_chunks), (whole, of_whole) = found
    torch.testing.assert_close(chunks, whole, rtol=0, atol=0.05)
    for name, gradient in of_whole.items():
        bound = len(whole) * 2**-8 * gradient.abs().max().item()
        torch.testing.assert_close(of_chunks[name], gradient, rtol=0, atol=bound)


def test_dropout_stays_off_where_layers_are_computed_twice():
    model = make_packing_twin(build_model())
    reader = Policy(model, recompute=True)
    assert any(module.training for module in model.modules())
    assert not any(
        module.training for module in model.modules() if "Attention" in type(module).__name__
    )
    assert torch.equal(measure(reader, 12), measure(reader, 12))


@pytest.mark.parametrize("rank", [0, 2])
def test_an_output_matrix_that_is_the_embedding_s_has_one_name(rank):
    """Small models have one: the published weights fit config.json, and a state can be loaded
    again."""
    if rank:
        pytest.importorskip("peft", reason="peft is of the extra `train`")
    groups = [Group([10, 11], [[5, 5, 1], [6, 7, 8, 1]], [1_000_000, 0], [[-4.5] * 3, [-4.6] * 4])]
    config = LearnConfig(learning_rate=1e-2, lora_rank=rank)

    def build():
        shape = make_model(hidden=16, layers=2, heads=2, inner=24, seed=0).config
        torch.manual_seed(0)
        return Qwen2ForCausalLM(Qwen2Config(**{**shape.to_dict(), "tie_word_embeddings": True}))

    learner = Learner(build(), config)
    learner.learn(groups)
    published = learner.bf16_state()
    assert "model.embed_tokens.weight" in published
    assert "lm_head.weight" not in published
    state = {name: tensor.clone() for name, tensor in dict(learner.export_state()).items()}
    resumed = Learner(build(), config)
    resumed.import_state(state)
    learner.learn(groups)
    resumed.learn(groups)
    again = learner.bf16_state(), resumed.bf16_state()
    assert all(torch.equal(again[0][name], again[1][name]) for name in published)
    with pytest.raises(RuntimeError):
        resumed.import_state({n: t for n, t in state.items() if "embed_tokens" not in n})
