"""A layer's experts in one launch are those of the loop over experts, forward and backward."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from assay.inference import routing
from assay.inference.grouping import Slots, mix_slots, multiply_in_bf16
from assay.inference.routing import mix_experts
from assay.inference.split_model import _is_silu_gate
from assay.training import Group, LearnConfig, Learner
from tests.inference.family_models import get_model

EXPERTS, HIDDEN, TOKENS = 6, 32, 20
KINDS = {
    "qwen3_moe": {"num_experts": EXPERTS, "moe_intermediate_size": 16},
    "gpt_oss": {"num_local_experts": EXPERTS, "intermediate_size": 16},  # transposed, with biases
}


def make_experts(kind: str, scale: float | None = None) -> Any:
    """Of random numbers, or of small integers times a scale."""
    config = CONFIG_MAPPING[kind](
        hidden_size=HIDDEN, num_hidden_layers=1, vocab_size=16, **KINDS[kind]
    )
    with torch.device("meta"):
        whole = AutoModelForCausalLM.from_config(config, experts_implementation="eager")
    experts = next(m for m in whole.modules() if hasattr(m, "_apply_gate")).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in experts.parameters():
            drawn = torch.randn(parameter.shape, generator=generator) / 4
            if scale is not None:
                drawn = torch.randint(-3, 4, parameter.shape, generator=generator) * scale
            parameter.copy_(drawn)
    return experts


def deal(how: str) -> tuple[Tensor, Tensor]:
    """Numbers and weights of up to three experts of each token, in no order; some have fewer."""
    generator = torch.Generator().manual_seed(1)
    numbers = torch.rand(TOKENS, EXPERTS, generator=generator).topk(3).indices
    if how == "one has no token":
        numbers = torch.rand(TOKENS, EXPERTS - 1, generator=generator).topk(3).indices
        numbers += numbers >= 2
    if how == "one has a token, one has all":
        numbers = torch.tensor([[4, EXPERTS, EXPERTS]]).repeat(TOKENS, 1)
        numbers[7, 1] = 1
    weights = torch.rand(TOKENS, 3, generator=generator)
    none = numbers == EXPERTS
    none[::4, 2] = True
    if how == "nobody has any":
        none[:] = True
    return numbers.masked_fill(none, EXPERTS), weights.masked_fill(none, 0)


DEALT = ("any", "one has no token", "one has a token, one has all", "nobody has any")


def multiply_apart(
    x: Tensor, sources: Tensor, slots: Slots, stack: Tensor, biases: Tensor | None
) -> Tensor:
    """One product for each expert, as the loop makes them."""
    counts = slots.ends.diff(prepend=torch.zeros(1, dtype=torch.int64)).tolist()
    rows = x[sources].split(counts)
    each = [None] * len(stack) if biases is None else biases.unbind()
    parts = zip(rows, stack.unbind(), each, strict=True)
    return torch.cat([functional.linear(*part) for part in parts])


def compute(mix: Any, experts: Any, numbers: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """The mixed states and all gradients."""
    states = torch.randn(TOKENS, HIDDEN, generator=torch.Generator().manual_seed(2))
    states, weights = states.requires_grad_(), weights.clone().requires_grad_()
    experts.zero_grad()
    mixed = mix(experts, states, numbers, weights)
    if mixed.requires_grad:
        (mixed * torch.arange(HIDDEN)).sum().backward()
    found = {"mixed": mixed, "states": states.grad, "weights": weights.grad}
    found |= {name: part.grad for name, part in experts.named_parameters()}
    return {name: part.detach() for name, part in found.items() if part is not None}


@pytest.mark.parametrize("how", DEALT)
@pytest.mark.parametrize("kind", KINDS)
def test_slots_are_mixed_as_the_loop_mixes_them(kind: str, how: str) -> None:
    """Gates round at the ends of rows otherwise, and gradients are added up in another order."""
    experts, dealt = make_experts(kind), deal(how)
    loop = compute(mix_experts, experts, *dealt)
    found = compute(lambda *given: mix_slots(*given, multiply_apart), experts, *dealt)
    assert loop.keys() == found.keys()
    for name, part in loop.items():
        atol = 1e-6 if name == "mixed" else 1e-5
        torch.testing.assert_close(found[name], part, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("how", DEALT)
@pytest.mark.parametrize("kind", KINDS)
def test_grouped_products_are_autocast_s(kind: str, how: str) -> None:
    """The library's, as a card computes them for a learner: beside the loop in bf16."""
    experts, dealt = make_experts(kind), deal(how)
    with torch.autocast("cpu", torch.bfloat16):
        loop = compute(mix_experts, experts, *dealt)
        found = compute(lambda *given: mix_slots(*given, multiply_in_bf16), experts, *dealt)
    assert {name: part.dtype for name, part in found.items()} == {
        name: part.dtype for name, part in loop.items()
    }
    for name, part in loop.items():
        worst = (found[name] - part).abs().max()
        assert worst <= 2e-2 * part.abs().max(), name


def test_products_of_small_integers_are_exact() -> None:
    experts, (numbers, weights) = make_experts("qwen3_moe", scale=1.0), deal("any")
    slots = Slots.sort(numbers, weights, EXPERTS)
    x = torch.randint(-3, 4, (TOKENS, HIDDEN), generator=torch.Generator().manual_seed(3)).float()
    given = x, slots.tokens, slots, experts.gate_up_proj, None
    assert torch.equal(multiply_in_bf16(*given).float(), multiply_apart(*given))


def test_a_state_of_no_number_stays_with_its_token() -> None:
    experts, (numbers, weights) = make_experts("qwen3_moe"), deal("any")
    states = torch.randn(TOKENS, HIDDEN, generator=torch.Generator().manual_seed(2))
    states[5] = torch.nan
    with torch.no_grad():
        mixed = mix_slots(experts, states, numbers, weights, multiply_apart)
    assert mixed.isnan().any(1).nonzero().flatten().tolist() == [5]


@pytest.mark.parametrize("rank", [0, 2])
def test_a_lesson_in_one_launch_is_that_of_the_loop(
    monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    """In bf16, as a card learns; factors beside experts alike."""
    if rank:
        pytest.importorskip("peft", reason="peft is of the extra `train`")
    model = get_model("qwen3_moe")
    completions = [list(range(30, 47)), list(range(40, 70)), list(range(9, 18))]
    behaviour = [[-3.0] * len(completion) for completion in completions]
    group = Group(list(range(2, 22)), completions, [0, 1_000_000, 0], behaviour)
    config = LearnConfig(epochs=1, precision="bfloat16", lora_rank=rank)
    found = []
    calls = []

    def note(*given: Any) -> Tensor:
        calls.append(given)
        return mix_slots(*given)

    monkeypatch.setattr(routing, "mix_slots", note)
    for is_grouped in (False, True):
        monkeypatch.setattr(routing, "has_grouped_products", lambda *_, on=is_grouped: on)
        learner = Learner(copy.deepcopy(model).requires_grad_(True), config)
        learner.learn([group])
        assert bool(calls) == is_grouped
        found.append(dict(learner.export_state()))
    moments = [name for name in found[0] if "exp_avg" in name and "sq" not in name]
    assert len(moments) > (10 if rank else 20)
    for name in moments:
        worst = (found[1][name] - found[0][name]).abs().max()
        assert worst <= 0.05 * found[0][name].abs().max(), name


@pytest.mark.parametrize("bound", [None, 7.0, 10.0, 500.0])
def test_a_gate_with_a_bound_is_no_plain_one(bound):
    """Some families bound what they multiply, which shows on large numbers only."""

    class Experts:
        def _apply_gate(self, wide):
            gate, up = wide.chunk(2, dim=-1)
            if bound is not None:
                gate, up = gate.clamp(max=bound), up.clamp(-bound, bound)
            return functional.silu(gate) * up

    assert _is_silu_gate(Experts(), torch.zeros(3, 16, 8)) == (bound is None)
