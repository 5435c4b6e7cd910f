"""Every family of the table: its tensors, its gate, its probes, its head, its learner. A new row
has no place to hide: all lists here are the table's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from transformers import CONFIG_MAPPING
from transformers.activations import XIELUActivation
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from assay.inference.draft import OwnDrafter, Rules
from assay.inference.expert_stacks import split_experts
from assay.inference.families import FAMILIES, REFUSED, count_tensors, find_misfit
from assay.inference.families.hybrid import RECURRENT
from assay.inference.generate import GroupRequest, follow_groups, generate_groups
from assay.inference.implementations import make_packing_twin
from assay.inference.model_loading import load_model, outline_config
from assay.inference.placing.model_sizes import measure_shape
from assay.inference.probes import probe
from assay.inference.reading import make_packs
from assay.inference.reference import Reference
from assay.training import policy
from assay.training.lora import list_stacks
from assay.training.policy import Policy
from assay.verification import Projection
from tests.inference.family_models import (
    RAMP,
    VOCABULARY,
    get_model,
    get_tensors,
    list_variants,
    make_config,
    make_model,
    write_config,
)

#: Small matrices that LoRA leaves as they are.
_WITHOUT_FACTORS = ("norm", "conv1d", "mlp.gate.weight", "router.weight", "_proj_bias")
EACH = pytest.mark.parametrize("kind", FAMILIES)


def get_shapes(config: Any) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        model = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config)
    shapes = {
        name: tuple(part.shape)
        for whole, tensor in model.state_dict().items()
        for name, part in split_experts(config.model_type, whole, tensor)
    }
    if config.tie_word_embeddings:
        del shapes["lm_head.weight"]
    return shapes


@EACH
def test_the_table_has_what_the_library_builds(kind: str, tmp_path: Path) -> None:
    """With each switch turned over: names and shapes of all tensors, and their bytes."""
    for change in [{}, *list_variants(kind)]:
        config = make_config(kind, **change)
        written, shapes = write_config(config, tmp_path), get_shapes(config)
        fault = find_misfit(written, shapes)
        assert fault is None or fault.startswith(tuple(change)), change
        if fault is None:
            sizes = {"hidden_size", "intermediate_size", "vocab_size", "num_hidden_layers"}
            for name in sizes - {*FAMILIES[kind].without}:
                assert find_misfit(written | {name: 2 * written[name]}, shapes), name
            some = next(iter(shapes))
            assert find_misfit(written, shapes | {f"{some}.more": (1,)}) is not None
            assert find_misfit(written, {n: s for n, s in shapes.items() if n != some}) is not None
            data = 2 * sum(torch.Size(shape).numel() for shape in shapes.values())
            head = 2 * written["hidden_size"] * written["vocab_size"]
            assert data <= 2 * count_tensors(written)[1] <= data + head


@EACH
def test_what_the_table_takes_for_left_out_is_the_librarys(kind: str) -> None:
    left_out = CONFIG_MAPPING[kind]().to_dict()
    family = FAMILIES[kind]
    for name, value in family.defaults.items():
        assert left_out[name] == value, name
    assert family.is_tied({}) == left_out["tie_word_embeddings"]
    traits = {trait for part in family.layer for trait in (part.when, part.unless)}
    for name in traits & family.fields.keys() - family.defaults.keys():
        assert not left_out.get(name), name
    if "head_dim" not in (*family.defaults, *family.required):
        computed = left_out["hidden_size"] // left_out["num_attention_heads"]
        assert left_out.get("head_dim", computed) in (computed, None)


@EACH
def test_a_folder_of_it_loads_and_can_be_measured(kind: str, tmp_path: Path) -> None:
    model = get_model(kind)
    write_config(model.config, tmp_path)
    save_file(get_tensors(model), tmp_path / "model.safetensors", {"format": "pt"})
    loaded = load_model(tmp_path, router_ramp=RAMP)
    for (name, one), (_, other) in zip(
        model.state_dict().items(), loaded.state_dict().items(), strict=True
    ):
        assert torch.equal(one, other), name
    outline = outline_config((tmp_path / "config.json").read_bytes())
    for (name, one), (_, other) in zip(
        loaded.named_buffers(), outline.named_buffers(), strict=True
    ):
        assert torch.equal(one, other) or name in loaded.state_dict(), name
    for found in probe(loaded):
        assert found.fault is None
        assert found.difference <= (2e-4 if RECURRENT in FAMILIES[kind].kinds else 2e-5), found


@EACH
def test_a_follower_draws_what_a_prefill_draws(kind: str) -> None:
    model, rules = get_model(kind), Rules(1_024, (1,), 14)
    drawable = np.ones(VOCABULARY, bool)
    width = model.config.hidden_size
    projection = Projection(np.ones((width, 2), np.int8), np.zeros(width), 1.0)
    reference = Reference(make_packing_twin(model), drawable, rules.temperature)
    random = np.random.default_rng(0)
    requests = [
        GroupRequest(
            tuple(random.integers(2, VOCABULARY, 15).tolist()), (bytes(32), bytes([0, 1]) * 16)
        )
    ]
    drawn = [
        draw(requests, OwnDrafter(model, drawable, rules), reference, rules, projection)
        for draw in (generate_groups, follow_groups)
    ]
    for one, other in zip(*drawn, strict=True):
        for left, right in zip(one, other, strict=True):
            assert left.tokens.tolist() == right.tokens.tolist()
            if RECURRENT in FAMILIES[kind].kinds:
                assert left.logprobs.tolist() == right.logprobs.tolist()


@EACH
def test_the_learner_has_the_gradients_of_the_class(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of log-probabilities in chunks, by logits that the class itself computes."""
    monkeypatch.setattr(policy, "LOGITS_MAX", 4 * VOCABULARY)
    model = make_packing_twin(get_model(kind))
    random = np.random.default_rng(1)
    prompts = [random.integers(2, VOCABULARY, 9).tolist()] * 2
    completions = [random.integers(2, VOCABULARY, n).tolist() for n in (11, 17)]
    (pack,) = make_packs(prompts, completions)
    tokens = torch.tensor([token for i in pack.indices for token in completions[i]])
    weights = dict(model.named_parameters())
    for weight in weights.values():
        weight.requires_grad_(True)
    try:
        found = Policy(model)(pack, tokens)
        slopes = torch.autograd.grad(found.sum(), list(weights.values()), allow_unused=True)
        wanted = torch.cat(
            [_score_plainly(model, prompts[i], completions[i]) for i in pack.indices]
        )
        exact = torch.autograd.grad(wanted.sum(), list(weights.values()), allow_unused=True)
    finally:
        for weight in weights.values():
            weight.requires_grad_(False)
    assert torch.allclose(found, wanted, atol=1e-4)
    for name, one, other in zip(weights, slopes, exact, strict=True):
        assert (one is None) == (other is None), name
        if one is not None and other is not None:
            assert float((one - other).abs().max()) <= 2e-4 * max(1, float(other.abs().max())), name


def _score_plainly(model: Any, prompt: list[int], completion: list[int]) -> torch.Tensor:
    ids = torch.tensor([[*prompt, *completion]])
    logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
    return -functional.cross_entropy(logits, ids[0, len(prompt) :], reduction="none")


@pytest.mark.parametrize(
    "kind",
    [
        kind
        for kind, family in FAMILIES.items()
        if family.experts is None and RECURRENT not in family.kinds
    ],
)
def test_the_plan_counts_what_a_pass_keeps_for_gradients(kind: str) -> None:
    """With heads that are together wider than states. Recurrent layers and experts have tests of
    their own."""
    head = 16 if kind == "helium" else 32  # Helium's heads are together as wide as states
    config = make_config(kind, hidden_size=64, intermediate_size=192, head_dim=head)
    model = make_packing_twin(make_model(config)).requires_grad_(True)
    own = {part.untyped_storage().data_ptr() for part in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in own:
            kept[place] = tensor
        return tensor

    tokens = 200
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = model.model(torch.arange(tokens)[None] % VOCABULARY, use_cache=False)
    assert out.last_hidden_state.requires_grad
    floats = sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) / 4 / tokens
    assert floats <= measure_shape(config, 0).kept


@EACH
def test_factors_find_all_matrices_of_its_layers(kind: str) -> None:
    """LoRA's "all-linear" learns beside linear layers alone, and stacks of experts are named."""
    layers = get_model(kind).model.layers
    measured = measure_shape(get_model(kind).config, 0)
    shape = measured.factors
    linear = {
        f"{name}.weight" for name, module in layers.named_modules() if isinstance(module, nn.Linear)
    }
    stacks = set(list_stacks(layers))
    counted = sum(
        layers.get_parameter(name)[:, :, 0].numel() + layers.get_parameter(name)[:, 0].numel()
        for name in stacks
    )
    assert (counted == 0) == (shape == 0)
    assert counted <= shape <= 2 * counted
    weights = sum(layers.get_parameter(name).numel() for name in stacks)
    assert weights <= measured.stacked <= 2 * weights
    others = {name for name, weight in layers.named_parameters() if weight.dim() >= 2}
    others -= linear | stacks
    assert {name for name in others if not any(part in name for part in _WITHOUT_FACTORS)} == set()


def test_no_installed_kernel_computes_an_activation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As with the package `xielu`, which the class of Apertus would use on a GPU."""
    model, make = get_model("apertus"), XIELUActivation.__init__

    def find_kernel(self: Any, *args: Any, **fields: Any) -> None:
        make(self, *args, **fields)
        self._xielu_cuda_obj = object()

    write_config(model.config, tmp_path)
    save_file(get_tensors(model), tmp_path / "model.safetensors", {"format": "pt"})
    monkeypatch.setattr(XIELUActivation, "__init__", find_kernel)
    for made, computes in (
        (make_model(model.config), True),
        (load_model(tmp_path), False),
        (outline_config((tmp_path / "config.json").read_bytes()), False),
    ):
        kernels = [vars(layer.mlp.act_fn)["_xielu_cuda_obj"] for layer in made.model.layers]
        assert [kernel is not None for kernel in kernels] == [computes] * len(kernels)


def test_no_type_is_both_read_and_refused() -> None:
    assert not FAMILIES.keys() & REFUSED.keys()
