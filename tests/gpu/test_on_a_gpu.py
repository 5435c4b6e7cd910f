"""The same integers and the same bounds on a GPU as on the CPU."""

import copy

import numpy as np
import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from assay.environments.registry import make_environment
from assay.inference import routing, split
from assay.inference.attention import attend
from assay.inference.calibration import measure_rates
from assay.inference.checkpoint import load_checkpoint
from assay.inference.draws.row_statistics import RowMeter
from assay.inference.draws.sampler import KeyedSampler, load_card_kernels, load_kernels, make_keys
from assay.inference.folder import read_passages
from assay.inference.implementations import PERMITTED, make_model
from assay.inference.packing import attend_packed, make_packing
from assay.inference.reference import Reference
from assay.inference.split_model import SplitExperts
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import SMALL_MODEL_TESTS
from assay.subnet.presets import DEMO_ENVIRONMENT, DEMO_SETTINGS
from assay.training import GENESIS
from assay.verification import make_projection
from tests.inference.products import RecordedProducts
from tests.inference.row_cases import (
    KINDS,
    VOCABULARIES,
    check_against_float64,
    check_integers,
    make_rows,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("prompt", [20, 60])
def test_short_sequences_attended_together_get_the_bits_of_each_alone(prompt):
    lengths = [(prompt, None), *((length, 0) for length in (1, 7, 30, 48, 48, 63, 64, 65, 200))]
    random = torch.Generator("cuda").manual_seed(0)
    q, k, v = (
        torch.randn(1, heads, sum(n for n, _ in lengths), 64, device="cuda", generator=random)
        for heads in (9, 3, 3)
    )
    together, apart = (
        attend_packed(q, k, v, make_packing(lengths, together=both)) for both in (True, False)
    )
    assert torch.equal(together, apart)


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


def measure_on(device, rows, temperature):
    """By the fastest backend of a device, on the CPU again."""
    meter = RowMeter(KeyedSampler(rows.drawable, temperature, device))
    given = (rows.logits, rows.keys, rows.positions, rows.tokens)
    found = meter.measure(*(tensor.to(device) for tensor in given))
    return type(found)(*(column.cpu() for column in found))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("vocabulary", [*VOCABULARIES, 151_936])
def test_rows_are_measured_as_the_rule_says(kind, vocabulary):
    """By Triton's kernels, which must be there: the fallback would pass unseen."""
    device = torch.device("cuda:0")
    assert load_card_kernels(device) is not None
    for temperature in (717, 1_024):
        rows = make_rows(kind, vocabulary, temperature)
        found = measure_on(device, rows, temperature)
        check_integers(rows, found)
        check_against_float64(rows, found)
        again = measure_on(device, rows, temperature)
        assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))


def test_a_row_is_measured_the_same_beside_any_others():
    rows = make_rows("normal", 151_936, 1_024)
    device = torch.device("cuda:0")
    meter = RowMeter(KeyedSampler(rows.drawable, 1_024, device))
    given = [t.to(device) for t in (rows.logits, rows.keys, rows.positions, rows.tokens)]
    together = meter.measure(*given)
    for i in range(len(rows.tokens)):
        alone = meter.measure(*(tensor[i : i + 1] for tensor in given))
        assert all(torch.equal(a, b[i : i + 1]) for a, b in zip(alone, together, strict=True))


def test_a_card_and_a_cpu_claim_the_same_to_a_unit():
    rows = make_rows("normal", 151_936, 1_024)
    assert load_kernels() is not None
    card, cpu = (measure_on(torch.device(name), rows, 1_024) for name in ("cuda:0", "cpu"))
    assert torch.equal(card.best, cpu.best)
    assert torch.equal(card.margins, cpu.margins)
    assert (card.logprobs - cpu.logprobs).abs().max() <= 1
    assert (card.gini - cpu.gini).abs().max() < 1e-6


def test_rows_beyond_two_billion_logits():
    """Offsets of 32 bits would wrap: the last row is the same as alone."""
    rows, vocabulary = 14_200, 151_936
    if torch.cuda.mem_get_info()[0] < 6 * rows * vocabulary:
        pytest.skip("needs 13 GB of a card's memory")
    device = torch.device("cuda:0")
    logits = torch.randn(1, vocabulary, device=device).expand(rows, -1).contiguous()
    keys = make_keys([bytes(32)], device).expand(rows, -1)
    positions = torch.full((rows,), 5, device=device)
    sampler = KeyedSampler(np.ones(vocabulary, bool), 1_024, device)
    ids, scores = sampler.draw(logits, keys, positions)
    assert (ids == ids[0]).all()
    assert (scores == scores[0]).all()


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
    from assay.inference.draft import Request

    for index in range(16):
        seed = hash_fields(Domain.PROBLEM, b"gpu", bytes([index]))
        problem = environment.make_problem(seed, checkpoint.manifest.level_numbers)
        prompt = tuple(checkpoint.tokenizer.encode(problem.conversation))
        seeds = [hash_fields(Domain.ROLLOUT, seed, bytes([r])) for r in range(8)]
        drafts = drafter.draft([Request(prompt, s) for s in seeds])
        completions = [np.array(row, np.uint32) for row in drafts]
        for m in on_gpu.measure([prompt] * len(completions), completions, seeds, projection):
            assert m.margins.max() * 20 <= SMALL_MODEL_TESTS.margin_cap


def build_model(hidden, **changes):
    """A random Qwen2 in fp32 on the card; its weights are bf16 numbers."""
    torch.manual_seed(0)
    settings = {
        "vocab_size": 512,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8_192,
        "tie_word_embeddings": False,
    }
    model = Qwen2ForCausalLM(Qwen2Config(**settings | changes)).eval()
    model = model.requires_grad_(False).cuda()
    model.lm_head.weight.mul_(3 / model(torch.arange(96, device="cuda")[None]).logits.std())
    for parameter in model.parameters():
        parameter.copy_(parameter.to(torch.bfloat16).float())
    return model


def compute_logits(model, ids):
    with torch.inference_mode():
        return model.lm_head(model.model(ids, use_cache=False).last_hidden_state)


@pytest.mark.parametrize("hidden", [64, 256, 1_536])
def test_split_products_are_plain_fp32(hidden):
    """bf16 matrix units with fp32 sums, which may be truncated: they stay far below a cap."""
    model = build_model(hidden)
    ids = torch.arange(192, device="cuda").view(2, 96)
    plain, found = compute_logits(model, ids), compute_logits(make_model(model, "split3"), ids)
    exact = compute_logits(copy.deepcopy(model).double(), ids)
    for other in (plain, exact):
        assert float((found - other).square().mean().sqrt()) <= 5e-5


def test_split_products_are_the_same_twice_and_from_bf16_weights():
    model = build_model(256)
    narrow = copy.deepcopy(model)
    for parameter in narrow.parameters():  # not the buffers: frequencies stay as they are
        parameter.data = parameter.data.bfloat16()
    ids = torch.arange(192, device="cuda").view(2, 96)
    once, again = (compute_logits(make_model(model, "split3"), ids) for _ in range(2))
    assert torch.equal(once, again)
    assert torch.equal(once, compute_logits(make_model(narrow, "split3"), ids))


@pytest.mark.parametrize("rows", [1, 40, 700])
@pytest.mark.parametrize(("inner", "out"), [(1, 1), (513, 33), (2_048, 768), (768, 2_048)])
def test_the_kernels_of_split_products_are_exact_on_small_integers(rows, inner, out):
    """And near the library's products otherwise. They must be there: the fallback would pass
    unseen."""
    device = torch.device("cuda:0")
    kernels = split.load_split_kernels(device)
    assert kernels is not None
    random = torch.Generator("cuda").manual_seed(0)
    x, weight = (
        torch.randint(-9, 10, shape, device=device, generator=random).float()
        for shape in ((rows, inner), (out, inner))
    )
    bias = torch.arange(out, device=device).float()
    found = split.Splitter(3).multiply(x, weight.bfloat16(), bias)
    assert torch.equal(found.double(), x.double() @ weight.double().T + bias)
    x = torch.randn(rows, inner, device=device, generator=random)
    assert all(
        torch.equal(a, b) for a, b in zip(kernels.split(x), split.split_terms(x, 3), strict=True)
    )
    exact = x.double() @ weight.double().T
    scale = x.double().abs() @ weight.double().abs().T
    found = split.Splitter(3).multiply(x, weight.bfloat16())
    assert float(((found - exact).abs() / scale.clamp_min(1e-30)).max()) < 1e-5
    again = split.Splitter(3).multiply(x[: rows // 2 + 1], weight.bfloat16())
    assert torch.equal(found[: rows // 2 + 1], again)
    x = x / inner**0.5
    up = weight.flip(0)
    gates = kernels.multiply_gates(kernels.split(x).unbind(), weight.bfloat16(), up.bfloat16())
    gate, lifted = (x.double() @ matrix.double().T for matrix in (weight, up))
    expected = torch.nn.functional.silu(gate) * lifted
    worst = (gates.double().sum(0) - expected).abs().max()
    assert worst <= 1e-5 * expected.abs().max() + 1e-6


def test_experts_in_one_launch_are_the_loop_over_them(monkeypatch):
    """One expert has no token, and one has all."""
    config = CONFIG_MAPPING["qwen3_moe"](
        hidden_size=256, moe_intermediate_size=96, num_experts=16, num_hidden_layers=1
    )
    with torch.device("meta"):
        whole = AutoModelForCausalLM.from_config(config, experts_implementation="eager")
    experts = next(m for m in whole.modules() if hasattr(m, "_apply_gate")).to_empty(device="cuda")
    random = torch.Generator("cuda").manual_seed(0)
    for weight in experts.requires_grad_(False).parameters():
        weight.copy_(torch.randn(weight.shape, device="cuda", generator=random).bfloat16() / 16)
    x = torch.randn(500, 256, device="cuda", generator=random)
    numbers = torch.rand(500, 15, device="cuda", generator=random).topk(4).indices
    numbers[:, 0] = 3
    numbers[::5, 2] = 16
    weights = torch.rand(500, 4, device="cuda", generator=random).masked_fill(numbers == 16, 0)
    grouped = SplitExperts(copy.deepcopy(experts), split.Splitter(3))(x, numbers, weights)
    loop = routing.mix_experts(experts, x, numbers, weights)
    assert (grouped - loop).abs().max() < 1e-5 * loop.abs().max()

    def learn():
        experts.requires_grad_(True).zero_grad()
        with torch.autocast("cuda", torch.bfloat16):
            mixed = routing.mix_experts(experts, x, numbers, weights)
        mixed.square().sum().backward()
        return [mixed.detach(), *(weight.grad.clone() for weight in experts.parameters())]

    together = learn()
    monkeypatch.setattr(routing, "has_grouped_products", lambda *_: False)
    for one, other in zip(together, learn(), strict=True):
        assert (one - other).abs().max() <= 2e-2 * other.abs().max()


@pytest.mark.parametrize("implementation", PERMITTED)
def test_around_every_product_all_switches_are_off(implementation, monkeypatch):
    """Split products by the library, as where Triton does not run: its own are none of torch's."""
    monkeypatch.setattr(split, "load_split_kernels", lambda _: None)
    model = build_model(256)
    torch.set_float32_matmul_precision("medium")
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = True
    made = make_model(model, implementation)
    ids = torch.arange(192, device="cuda").view(2, 96)
    with RecordedProducts() as products, torch.no_grad():  # torch's choice of attention shows
        made.lm_head(made.model(ids, use_cache=False).last_hidden_state)
    assert {name for call in products.made for name in call.rounding} == set()
    assert {call.result for call in products.made} == {torch.float32}
    attention = {call.name for call in products.made if "attention" in call.name}
    if implementation == "split3":
        factors = [call for call in products.made if call.name in ("mm", "addmm")]
        assert len(factors) == 3 * (3 * 7 + 1)
        assert all(call.operands == {torch.bfloat16} for call in factors)
        assert attention == {"_scaled_dot_product_efficient_attention"}
    else:
        assert {dtype for call in products.made for dtype in call.operands} == {torch.float32}


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize(
    ("ahead", "count", "window"), [(512, 2_048, None), (2_048, 512, None), (512, 2_048, 300)]
)
def test_attention_behind_a_prompt_is_the_cpus_and_keeps_no_scores(ahead, count, window, learns):
    """Key heads that several heads share, of which nothing is copied."""
    heads, shared, width = 8, 2, 64
    random = torch.Generator().manual_seed(0)
    shapes = (heads, count), (shared, ahead + count), (shared, ahead + count)
    row = [torch.randn(1, *shape, width, generator=random) for shape in shapes]
    placed = [part.to("cuda:0").requires_grad_(learns) for part in row]
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    found = attend(*placed, window=window)
    if learns:
        found.sum().backward()
    taken = torch.cuda.max_memory_allocated() - before
    assert taken < 4 * heads * count * (ahead + count)  # a float for each score
    torch.testing.assert_close(found.detach().cpu(), attend(*row, window=window), rtol=0, atol=1e-5)


def test_attention_of_split_products_keeps_no_scores():
    """For 8,192 tokens and 16 heads they would take 4 GiB."""
    model = make_model(build_model(256, num_attention_heads=16, num_key_value_heads=4), "split3")
    ids = torch.arange(8_192, device="cuda")[None] % 512
    with torch.inference_mode():
        model.model(ids[:, :64])
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        model.model(ids)
    assert torch.cuda.max_memory_allocated() - before < 1 << 29


@pytest.mark.parametrize("name", ["fp32-sdpa", "split3"])
def test_packed_sequences_are_those_read_alone(name):
    """The lengths differ, and some sequences follow a shared prompt; fp32 sums differ by up to
    1e-5."""
    model = make_model(build_model(256), name)
    lengths = [(70, None), (33, 0), (200, 0), (1, 0), (130, None)]
    packing = make_packing(lengths)
    ids = torch.randint(0, 512, (1, sum(n for n, _ in lengths)), device="cuda")
    with torch.inference_mode():
        positions = packing.make_positions(ids.device)
        packed = model.model(ids, position_ids=positions, packing=packing, use_cache=False)
        for segment in packing.segments:
            shared = ids[:, segment.shared_start : segment.shared_end]
            row = torch.cat([shared, ids[:, segment.start : segment.end]], dim=1)
            alone = model.model(row, use_cache=False).last_hidden_state[0, shared.shape[1] :]
            found = packed.last_hidden_state[0, segment.start : segment.end]
            assert (found - alone).abs().max() < 2e-5


def test_a_second_card_draws_as_the_first():
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two cards")
    rows = make_rows("normal", 5_003, 1_024)
    first, second = (measure_on(torch.device(f"cuda:{i}"), rows, 1_024) for i in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


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
