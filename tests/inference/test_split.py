"""Split products: nothing but the order of fp32 sums differs from plain fp32."""

import copy
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from assay.inference import head, split
from assay.inference.families import FAMILIES
from assay.inference.families.hybrid import RECURRENT
from assay.inference.implementations import make_alone, make_model
from assay.inference.model_loading import load_model
from assay.inference.packing import make_packing
from assay.inference.reading import read
from assay.inference.split import Splitter, split_terms
from assay.inference.split_model import SplitExperts, SplitModel
from tests.inference.family_models import RAMP, VOCABULARY, get_model, get_tensors, write_config
from tests.inference.products import RecordedProducts

WINDOWS = ["sliding_attention", "full_attention", "sliding_attention"]
ORDINARY = st.floats(2.0**-100, 2.0**120, width=32) | st.floats(-(2.0**120), -(2.0**-100), width=32)


def compute_logits(model, ids):
    with torch.inference_mode():
        return model.lm_head(model.model(ids, use_cache=False).last_hidden_state)


def measure_drift(logits, exact):
    return float((logits - exact).square().mean().sqrt()), float((logits - exact).abs().max())


@given(st.lists(ORDINARY | st.just(0.0), min_size=1, max_size=50))
def test_three_terms_hold_every_bit(values):
    x = torch.tensor(values, dtype=torch.float32)
    terms = split_terms(x, 3)
    assert {term.dtype for term in terms} == {torch.bfloat16}
    assert torch.equal(sum(term.double() for term in terms), x.double())
    assert (terms[2].abs() >= terms[1].abs()).all()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_products_are_those_of_fp32(rows, inner, out, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, inner, generator=generator)
    weight = torch.randn(out, inner, generator=generator).bfloat16().float()
    exact = x.double() @ weight.double().T
    scale = (x.double().abs() @ weight.double().abs().T).clamp_min(1e-30)
    product = Splitter(3).multiply(x, weight)
    assert ((product - exact).abs() / scale).max() < inner * 2.0**-23
    rough = Splitter(1).multiply(x, weight)
    assert ((rough - exact).abs() / scale).max() < 2.0**-7


@pytest.mark.parametrize(
    ("kind", "hidden", "layers", "changes"),
    [
        ("qwen2", 64, 4, {}),
        ("qwen2", 128, 3, {"num_key_value_heads": 4}),
        ("qwen3", 128, 3, {"tie_word_embeddings": True}),
        ("qwen3", 256, 3, {"attention_bias": True}),
        *(
            pytest.param(*case, {}, marks=pytest.mark.nightly)
            for case in (("qwen2", 768, 2), ("qwen2", 1536, 2), ("qwen3", 1536, 1))
        ),
        ("llama", 128, 3, {"mlp_bias": True}),
        ("gemma3_text", 128, 3, {"sliding_window": 16, "layer_types": WINDOWS}),
        ("starcoder2", 128, 3, {"sliding_window": 16}),
    ],
)
def test_logits_are_those_of_plain_fp32(make_random_model, kind, hidden, layers, changes):
    """≤ 5e-5 rms from plain fp32, and nearer to float64 than plain fp32 is."""
    model = make_random_model(kind, hidden, layers, **changes)
    ids = torch.randint(0, 512, (2, 96), generator=torch.Generator().manual_seed(1))
    plain, found = compute_logits(model, ids), compute_logits(SplitModel(model), ids)
    rms, largest = measure_drift(found, plain)
    assert rms <= 5e-5
    assert largest <= 2.5e-4
    exact = compute_logits(copy.deepcopy(model).double(), ids)
    assert measure_drift(found, exact)[0] <= measure_drift(plain, exact)[0]


@pytest.mark.parametrize("hidden", [128, 512])
def test_harsh_models_tell_two_terms_from_three(make_random_model, hidden):
    """Matrices four times as large: fp32's own noise is large, split3's is not larger."""
    model = make_random_model("qwen2", hidden, 4, enlarge=4.0, logit_std=20.0)
    ids = torch.randint(0, 512, (2, 96), generator=torch.Generator().manual_seed(1))
    exact = compute_logits(copy.deepcopy(model).double(), ids)
    own = measure_drift(compute_logits(model, ids), exact)[0]
    two, three = (
        measure_drift(compute_logits(SplitModel(model, terms), ids), exact)[0] for terms in (2, 3)
    )
    assert three <= own
    assert two > 5 * own


def test_a_shared_prompt_is_read_once(make_random_model, monkeypatch):
    """States behind a shared prompt are those of the whole sequence; blocks of rows change
    nothing."""
    model = SplitModel(make_random_model("qwen3", 64, 3))
    ids = torch.randint(0, 512, (1, 80), generator=torch.Generator().manual_seed(2))
    rest, other = ids[:, 30:], ids[:, 30:].clone()
    other[0, 20:] = 7  # earlier positions never see later ones
    packing = make_packing([(30, None), (50, 0), (50, 0), (50, 0)])
    with torch.inference_mode():
        whole = model.model(ids).last_hidden_state
        row = torch.cat([ids[:, :30], rest, other, rest], dim=1)
        positions = packing.make_positions(ids.device)
        packed = model.model(row, position_ids=positions, packing=packing).last_hidden_state[0]
        prompt, first, second, third = packed.split([30, 50, 50, 50])
        assert (prompt - whole[0, :30]).abs().max() < 1e-5
        assert (first - whole[0, 30:]).abs().max() < 1e-5
        assert (first - third).abs().max() < 1e-5
        assert (second[:20] - first[:20]).abs().max() < 1e-5
        assert (second[20:] - first[20:]).abs().max() > 1e-2
        monkeypatch.setattr(split, "_CPU_ELEMENTS", 1 << 10)
        assert (model.model(ids).last_hidden_state - whole).abs().max() < 1e-5


@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
def test_bf16_weights_are_those_of_fp32_bit_for_bit(make_random_model, monkeypatch, kind):
    """Matrices and vectors in bf16, converted a few rows at a time; none is left in fp32."""
    model = make_random_model(kind, 64, 2)
    narrow = copy.deepcopy(model)
    for parameter in narrow.parameters():  # not the buffers: frequencies stay as they are
        parameter.data = parameter.data.bfloat16()
    ids = torch.randint(0, 512, (2, 40), generator=torch.Generator().manual_seed(3))
    plain, found = SplitModel(model), SplitModel(narrow)
    head, down = found.twin.lm_head, found.twin.model.layers[1].mlp.down_proj
    assert head.weight.data_ptr() == narrow.lm_head.weight.data_ptr()
    assert {head.weight.dtype, down.weight.dtype} == {torch.bfloat16}
    assert {tensor.dtype for tensor in found.twin.parameters()} == {torch.float32}
    assert max(tensor.numel() for tensor in found.twin.parameters()) == model.config.hidden_size
    assert torch.equal(compute_logits(found, ids), compute_logits(plain, ids))
    monkeypatch.setattr(split, "FACTOR_ELEMENTS", 1 << 10)
    with RecordedProducts() as products:
        in_parts = compute_logits(found, ids)
    assert measure_drift(in_parts, compute_logits(plain, ids))[0] < 5e-6
    factors = [call.shapes[-1] for call in products.made if "mm" in call.name]
    assert max(rows * columns for rows, columns in factors) <= 1 << 10


def test_no_table_of_scores_is_made(make_random_model):
    """Attention is one call a layer and sequence, whether a prompt is shared, or keys, or not."""
    for changes in ({}, {"num_key_value_heads": 4}):
        model = SplitModel(make_random_model("qwen2", 64, 3, **changes))
        packing = make_packing([(20, None), (30, 0)])
        positions = packing.make_positions(torch.device("cpu"))
        with RecordedProducts() as products, torch.no_grad():  # torch's choice shows
            model.model(torch.arange(50)[None], position_ids=positions, packing=packing)
        attention = [call.name for call in products.made if "attention" in call.name]
        assert attention == ["_scaled_dot_product_flash_attention_for_cpu"] * 6
        assert not any("bmm" in call.name for call in products.made)


def test_terms_are_the_same_with_and_without_a_compiler(monkeypatch):
    values = torch.randn(300, 40, generator=torch.Generator().manual_seed(4))
    values *= 2.0 ** torch.linspace(-90, 90, 40)
    weight = torch.randn(7, 40, generator=torch.Generator().manual_seed(5)).bfloat16().float()
    with RecordedProducts(keep=True) as compiled:
        Splitter(3).multiply(values, weight)
    monkeypatch.setattr(split, "load_kernels", lambda: None)
    with RecordedProducts(keep=True) as plain:
        Splitter(3).multiply(values, weight)
    assert len(compiled.made) == 3
    for a, b in zip(compiled.made, plain.made, strict=True):
        assert torch.equal(a.left, b.left)
        assert torch.equal(a.left, a.left.bfloat16().float())


@pytest.mark.parametrize("rotation", ["yarn", "linear"])
def test_longer_contexts_turn_as_the_plain_model_does(make_random_model, rotation):
    rope = {"rope_type": rotation, "factor": 4.0, "rope_theta": 10_000.0}
    model = make_random_model(rope_parameters=rope, max_position_embeddings=128)
    ids = torch.arange(96)[None]
    assert (
        measure_drift(compute_logits(SplitModel(model), ids), compute_logits(model, ids))[0] < 5e-5
    )


def test_cards_multiply_bf16_into_fp32():
    """The calls that a card gets, on shapes alone: no processor offers them."""
    weight = torch.empty(8, 16, dtype=torch.bfloat16, device="meta")
    rows = torch.empty(2, 3, 16, device="meta")
    with RecordedProducts() as calls:
        product = Splitter(3).multiply(rows, weight)
        Splitter(2).multiply(rows[0], weight)
    assert (product.shape, product.dtype) == ((2, 3, 8), torch.float32)
    narrow = {torch.bfloat16}
    assert [call.name for call in calls.made] == ["mm", "addmm", "addmm", "mm", "addmm"]
    assert all(call.operands == narrow and call.result == torch.float32 for call in calls.made)


class CountedSplits:
    """Counts the parts of activations that are split."""

    def __init__(self, monkeypatch):
        self.made = 0
        self._load = split.load_kernels
        monkeypatch.setattr(split, "load_kernels", self)

    def __call__(self):
        self.made += 1
        return self._load()


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_matrices_that_multiply_one_activation_split_it_once(make_random_model, monkeypatch, kind):
    """Of a layer's seven matrices, three and two share theirs. What is kept changes no bit."""
    model = SplitModel(make_random_model(kind, 64, 3))
    ids = torch.randint(0, 512, (1, 80), generator=torch.Generator().manual_seed(6))
    counted = CountedSplits(monkeypatch)
    with RecordedProducts() as products, torch.inference_mode():
        kept = model.model(ids).last_hidden_state
    calls = [call.name for call in products.made if "mm" in call.name]
    assert calls == ["mm", "addmm_", "addmm_"] * (3 * 7)
    assert counted.made == 3 * 4
    monkeypatch.setattr(split, "_KEPT_PARTS", 0)
    with torch.inference_mode():
        assert torch.equal(model.model(ids).last_hidden_state, kept)
    assert counted.made == 3 * (4 + 7)


def test_no_terms_of_another_activation_are_used(monkeypatch):
    """Not of one that was changed in place, itself or through a view, nor of one whose memory was
    used again. In inference mode changes are not counted, so nothing is kept there."""
    counted = CountedSplits(monkeypatch)
    splitter, weight = Splitter(3), torch.eye(8)
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(7))
    with torch.inference_mode(), splitter.keep_last():
        for change in (lambda: None, lambda: x.add_(1.0), lambda: x[:2].mul_(2.0)):
            change()
            for _ in range(2):
                assert torch.equal(splitter.multiply(x, weight), x)
        assert counted.made == 3
        for value in range(3, 9):
            assert torch.equal(splitter.multiply(x * value, weight), x * value)
    with torch.inference_mode():
        y = x.clone()
        for _ in range(2):
            assert torch.equal(splitter.multiply(y, weight), y)
            y.add_(1.0)
    assert counted.made == 3 + 6 + 2


def test_nothing_is_kept_after_a_pass(make_random_model):
    """Whether it succeeds or not: activations may be most of a GPU's memory."""
    model = SplitModel(make_random_model("qwen2", 64, 1))
    kept = []

    def note(module, given):
        kept.append(weakref.ref(given[0]))

    def fail(module, given):
        assert kept[-1]() is not None
        raise RuntimeError("the card has failed")

    model.twin.model.layers[0].mlp.down_proj.register_forward_pre_hook(note)
    model.twin.lm_head.register_forward_pre_hook(note)
    with torch.no_grad():
        model.model(torch.arange(20)[None])
        model.lm_head(torch.zeros(5, 64))
        model.twin.model.norm.register_forward_pre_hook(fail)
        with pytest.raises(RuntimeError, match="the card has failed"):
            model.model(torch.arange(20)[None])
    assert [find() for find in kept] == [None] * 3


EXPERTS = {
    "qwen3_moe": {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    "gpt_oss": {"num_local_experts": 6, "num_experts_per_tok": 2},  # transposed, with biases
}


@pytest.mark.parametrize("kind", EXPERTS)
def test_experts_are_those_of_their_own_class(kind):
    """Some tokens have fewer: the number after the last expert stands for none."""
    settings = {
        "hidden_size": 64,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "vocab_size": 16,
    }
    config = CONFIG_MAPPING[kind](**settings, **EXPERTS[kind])
    with torch.device("meta"):
        whole = AutoModelForCausalLM.from_config(config, experts_implementation="eager")
    experts = next(m for m in whole.modules() if hasattr(m, "_apply_gate")).to_empty(device="cpu")
    experts.requires_grad_(False)
    generator = torch.Generator().manual_seed(8)
    for parameter in experts.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator).bfloat16() / 8)
    hidden = torch.randn(20, 64, generator=generator)
    chosen = torch.rand(20, 6, generator=generator).topk(3).indices
    weights = torch.rand(20, 3, generator=generator)
    weights[::4, 2] = 0.0
    exact = copy.deepcopy(experts).double()(hidden.double(), chosen, weights.double())
    plain = experts(hidden, chosen, weights)
    chosen[::4, 2] = 6
    found = SplitExperts(experts, Splitter(3))(hidden, chosen, weights)
    rough = (plain - exact).abs().max()
    assert (found - exact).abs().max() <= 2 * rough
    assert exact.abs().max() > 1e4 * rough


def test_a_model_that_it_cannot_run_is_refused(make_random_model):
    with pytest.raises(ValueError, match="float32"):
        SplitModel(make_random_model().double())
    with pytest.raises(ValueError, match="inv_freq, which no file stores, was rounded"):
        SplitModel(make_random_model().bfloat16())
    finer = make_random_model()
    finer.model.layers[1].mlp.up_proj.weight.mul_(1 + 2**-12)
    with pytest.raises(ValueError, match="not bf16"):
        SplitModel(finer)


@pytest.mark.parametrize("kind", FAMILIES)
def test_split_products_are_those_of_every_family(kind, tmp_path):
    """In packs, against the plainest reading. From bf16 weights they are the same to the bit:
    constants that no file stores, such as Gemma's factor of embeddings, are not rounded with the
    weights."""
    model = get_model(kind)
    write_config(model.config, tmp_path)
    save_file(get_tensors(model), tmp_path / "model.safetensors", {"format": "pt"})
    narrow = load_model(tmp_path, dtype=torch.bfloat16, router_ramp=RAMP)
    assert {weight.dtype for weight in narrow.parameters()} == {torch.bfloat16}
    plain, alone = (
        read_logits(each) for each in (make_model(model, "fp32-eager"), make_alone(model))
    )
    found, in_bf16 = (read_logits(SplitModel(each)) for each in (model, narrow))
    family = FAMILIES[kind]
    bound = 2e-4 if RECURRENT in family.kinds or family.experts else 5e-5  # routers are steep
    assert (found - plain).abs().max() < bound
    assert (alone - plain).abs().max() < bound
    assert torch.equal(found, in_bf16)


def read_logits(model):
    """Of two completions behind one prompt."""
    random = np.random.default_rng(2)
    prompts = [random.integers(2, VOCABULARY, 15).tolist()] * 2
    completions = [random.integers(2, VOCABULARY, n).tolist() for n in (20, 33)]
    with torch.inference_mode():
        read_all = read(model, prompts, completions)
        found = dict(pair for batch in read_all for pair in zip(*batch, strict=True))
        return head.compute_logits(model, torch.cat([found[0], found[1]]))
