"""Hybrids: a recurrent layer's state goes with its sequence, through packs, stretches, drafts."""

import importlib
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn
from transformers import DynamicCache

from assay.inference import following
from assay.inference.draft import OwnDrafter, Request, Rules
from assay.inference.families.hybrid import RECURRENT
from assay.inference.following import FollowedRow, Follower
from assay.inference.generate import (
    DraftCount,
    GroupRequest,
    Horizon,
    follow_groups,
    generate_groups,
)
from assay.inference.implementations import RoundedModel, make_model, make_packing_twin, make_twin
from assay.inference.packing import KeptState, make_kept_packing
from assay.inference.placing.model_sizes import measure_shape
from assay.inference.reading import make_packs, read, read_pack
from assay.inference.recurrent import prepare_recurrent_layers
from assay.inference.reference import Reference
from assay.inference.routing import has_routers
from assay.training.policy import Policy
from assay.verification import Projection
from tests.inference.conftest import list_ids
from tests.inference.hybrid_models import KINDS, VOCABULARY, build_hybrid
from tests.inference.live_bytes import count_live_bytes

#: Logits by which a hybrid's passes may differ: specification, section 3.
CAP = 2e-4


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    torch.set_num_threads(1)
    return build_hybrid(request.param)


@pytest.fixture(scope="module")
def passages():
    """Three completions behind one prompt, and one behind another: of more and less than a chunk,
    and of one token."""
    draw = np.random.default_rng(0)
    shared, other = (draw.integers(2, VOCABULARY, n).tolist() for n in (90, 2))
    completions = [draw.integers(2, VOCABULARY, n).tolist() for n in (140, 33, 1, 70)]
    return [shared, shared, shared, other], completions


def compute_logits(model, reading):
    """The logits [T, V] that drew each completion, in the completions' order."""
    found = {}
    for indices, states in reading:
        found |= zip(indices, map(model.lm_head, states), strict=True)
    return [found[i] for i in range(len(found))]


def compute_plainly(model, prompts, completions):
    """The same by the class's own forward pass, a completion at a time."""
    return [
        model(input_ids=torch.tensor([[*p, *c]]), use_cache=False).logits[0, len(p) - 1 : -1]
        for p, c in zip(prompts, completions, strict=True)
    ]


@pytest.mark.parametrize("implementation", ["fp32-sdpa", "split3"])
@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("tokens_max", [150, 1_000])
def test_a_pack_reads_what_the_class_reads(model, passages, share, tokens_max, implementation):
    packing = make_model(model, implementation)
    own = make_twin(model, "eager") if has_routers(model) else model
    with torch.inference_mode():
        plain = compute_plainly(own, *passages)
        packed = compute_logits(packing, read(packing, *passages, tokens_max, share=share))
    for one, other in zip(plain, packed, strict=True):
        assert (one - other).abs().max() < CAP


def test_a_bf16_engine_keeps_states_apart(model, passages):
    """Its noise is that of 8 bits; states of other sequences would move logits by several."""
    rounded = RoundedModel(model)
    with torch.inference_mode():
        plain = compute_plainly(model, *passages)
        packed = compute_logits(rounded, read(rounded, *passages))
    for one, other in zip(plain, packed, strict=True):
        assert (one - other).square().mean().sqrt() < 0.2


class Generation:
    """All that makes groups with one model, drafted by another."""

    def __init__(self, model, rough, max_tokens=24):
        drawable = np.ones(VOCABULARY, bool)
        self.rules = Rules(1_024, (1,), max_tokens)
        self.drafter = OwnDrafter(rough, drawable, self.rules)
        self.reference = Reference(make_packing_twin(model), drawable, 1_024)
        width = model.config.hidden_size
        matrix = np.ones((width, 2), np.float32)
        self.projection = Projection(matrix, np.zeros(width, np.float32), 1.0)
        self.count = DraftCount()

    def make(self, how, requests, **others):
        return how(
            requests,
            drafter=self.drafter,
            reference=self.reference,
            rules=self.rules,
            projection=self.projection,
            count=self.count,
            **others,
        )


@pytest.fixture(scope="module")
def requests():
    draw = np.random.default_rng(1)
    return [
        GroupRequest(
            tuple(draw.integers(2, VOCABULARY, n).tolist()),
            tuple(bytes([n, r]) * 16 for r in range(2)),
        )
        for n in (70, 1)
    ]


class Fixed(Horizon):
    """It goes ahead by 8 tokens, whatever happens."""

    ahead = 8


def test_a_follower_goes_back_to_where_a_stretch_began(model, requests):
    """The drafter's noise puts corrections into the middle of stretches, one after the other."""
    rough = build_hybrid(model.config.model_type)
    with torch.no_grad():
        rough.lm_head.weight.add_(torch.randn(rough.lm_head.weight.shape) * 0.02)
    expected = list_ids(Generation(model, model).make(generate_groups, requests))
    following = Generation(model, rough)
    found = following.make(follow_groups, requests, horizon=Fixed())
    assert list_ids(found) == expected
    assert following.count.discarded > 4
    # the last reading prefills every group
    made = sum(map(len, (ids for group in expected for ids in group)))
    prefill = made + sum(len(request.prompt) for request in requests)
    # before it a right token is read at most twice, a wrong one's stretch once
    read = following.count.read - following.count.settling - prefill
    prompts = sum(len(request.prompt) - 1 for request in requests)
    assert following.count.submitted + following.count.discarded < read - prompts
    assert read - prompts <= 2 * following.count.submitted + following.count.discarded


def test_rows_that_end_leave_a_draft_alone(model):
    """Left-padded rows of unequal lengths, two of which begin alike and most of which are dropped
    on the way."""
    drawable = np.ones(VOCABULARY, bool)
    requests = [
        Request(tuple(range(2, 2 + n)), bytes([seed]) * 32, tuple(range(9, 9 + begun)))
        for seed, n, begun in ((5, 5, 0), (30, 30, 30), (3, 3, 31), (12, 12, 36), (6, 5, 0))
    ]
    drafter = OwnDrafter(model, drawable, Rules(1_024, (1,), 40))
    together = drafter.draft(requests)
    assert together == [drafter.draft([request])[0] for request in requests]


def test_one_lesson_is_that_of_unpacked_rows(passages):
    """Gradients of all completions reach the shared prompt's tokens through its state: without
    those, a twentieth is missing. fp32 rounds by 2^-24 at each token and layer on the way."""
    prompts, completions = passages
    bound = 2**-24 * 3 * max(len(p) + len(c) for p, c in zip(prompts, completions, strict=True))
    plain = build_hybrid("qwen3_5_text").requires_grad_(True)
    scales = torch.linspace(-1, 1, len(completions))
    for logits, completion, scale in zip(
        compute_plainly(plain, prompts, completions), completions, scales, strict=True
    ):
        chosen = torch.tensor(completion)[:, None]
        (logits.log_softmax(-1).gather(-1, chosen).sum() * scale).backward()
    for recompute in (False, True):
        model = make_packing_twin(build_hybrid("qwen3_5_text").requires_grad_(True))
        policy = Policy(model, recompute=recompute)
        (pack,) = make_packs(prompts, completions)
        own = [completions[i] for i in pack.indices]
        found = policy(pack, torch.tensor([token for row in own for token in row]))
        sums = torch.stack([part.sum() for part in found.split(list(map(len, own)))])
        (sums * scales[pack.indices]).sum().backward()
        expected = dict(plain.named_parameters())
        for name, weight in model.named_parameters():
            wanted = expected[name].grad
            assert (weight.grad - wanted).norm() <= bound * wanted.norm(), name


def test_a_mark_is_where_a_recurrent_state_goes_back_to():
    keys = torch.arange(5.0).reshape(1, 1, 5, 1)
    kept = KeptState(8)
    kept.extend(0, keys[:, :, :2], keys[:, :, :2])
    kept.replace_state(1, (torch.zeros(1), torch.tensor(2.0)))
    kept.length = 2
    kept.mark()
    other = kept.fork(8)
    kept.extend(0, keys[:, :, 2:], keys[:, :, 2:])
    kept.replace_state(1, (torch.zeros(1), torch.tensor(5.0)))
    kept.length = 5
    kept.rewind(5)  # nothing is beyond
    assert kept.length == 5
    kept.rewind(4)
    assert (kept.length, kept.get_state(1)[1], other.length) == (2, 2.0, 2)
    with pytest.raises(ValueError, match="2 tokens were marked, and 1 are to stay"):
        other.rewind(1)


def test_a_failed_pass_leaves_no_trace(model, requests, monkeypatch):
    """Memory runs out in the last layer: states of the others have gone ahead, and come back."""
    generation = Generation(model, model)
    follower = Follower(generation.reference, generation.projection, 24)
    row = FollowedRow(requests[0].prompt, bytes(32), list(range(2, 12)))
    expected = FollowedRow(row.prompt, row.seed, list(row.tokens))
    follower.follow([expected])
    honest, failed = KeptState.replace_state, []

    def replace(kept, layer, state):
        if layer == 2 and kept.length and not failed:
            failed.append(layer)
            raise torch.OutOfMemoryError("no room for a state")
        honest(kept, layer, state)

    monkeypatch.setattr(KeptState, "replace_state", replace)
    follower.follow([row])
    assert failed
    assert row.tokens == expected.tokens
    assert [list(part) for part in row.logprobs] == [list(part) for part in expected.logprobs]


def test_states_count_among_what_is_kept(model, monkeypatch):
    """A sequence's states are kept twice, as they are now and as they were marked."""
    config, kept = model.config, KeptState(3)
    packing = make_kept_packing([(3, kept)])
    with torch.inference_mode():
        ids = torch.tensor([[5, 6, 7]])
        positions = packing.make_positions(ids.device)
        make_packing_twin(model).model(
            ids, position_ids=positions, packing=packing, use_cache=False
        )
    states = [kept.get_state(layer) for layer in range(3)]
    floats = sum(part.numel() for state in states if state is not None for part in state)
    shape = measure_shape(config, 0)
    assert shape.state == floats > 0
    assert shape.cached == 2 * config.num_key_value_heads * config.head_dim  # of one layer
    room = 2 * 3 * 4 * 2 * (24 * shape.cached + shape.state)
    monkeypatch.setattr(following, "get_free_memory", lambda device: room)
    generation = Generation(model, model)
    assert Follower(generation.reference, generation.projection, 24).kept_max == 3


def test_no_installed_package_computes(model, monkeypatch):
    """Where packages are installed by whose functions the library replaces its own, the bits are
    the same, and without the preparation they would not be."""

    def compute(*args, **others):
        raise AssertionError("a package computes")

    prepare_recurrent_layers(model)
    for package, names in (
        ("fla", ("chunk_gated_delta_rule", "fused_recurrent_gated_delta_rule")),
        ("causal_conv1d", ("causal_conv1d_fn", "causal_conv1d_update")),
    ):
        module = ModuleType(package)
        vars(module).update(dict.fromkeys(names, compute))
        monkeypatch.setitem(sys.modules, package, module)
    name = type(model).__module__
    parent, _, child = name.rpartition(".")
    monkeypatch.setattr(sys.modules[parent], child, sys.modules[name])  # put back afterwards
    monkeypatch.delitem(sys.modules, name)
    library = importlib.import_module(name)
    for function in ("torch_chunk_gated_delta_rule", "causal_conv1d_fn"):
        setattr(library, function, put_into_module(getattr(library, function)))
    fresh = getattr(library, type(model).__name__)(model.config).eval()
    fresh.load_state_dict(model.state_dict())
    with pytest.raises(AssertionError, match="a package computes"):
        compute_two_steps(fresh)
    for _ in range(2):  # a second time changes nothing
        prepare_recurrent_layers(fresh)
    assert compute_two_steps(fresh) == compute_two_steps(model)


def put_into_module(func):
    """As the package `kernels` does, which is not among those that the tests need."""

    class Func(nn.Module):
        def forward(self, *args, **others):
            return func(*args, **others)

    return Func()


def compute_two_steps(model):
    """The bits of the logits of a prompt, and of a token after it."""
    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        whole = model(torch.arange(2, 90)[None], past_key_values=cache).logits
        step = model(torch.tensor([[5]]), past_key_values=cache).logits
    return torch.cat((whole, step), dim=1).numpy().tobytes()


def test_memory_is_what_the_plan_counts():
    """Of a pass, and what a recurrent layer more keeps for gradients."""

    def count_kept(layers):
        model = build_hybrid("qwen3_5_text", layer_types=[*layers, "full_attention"])
        twin = make_packing_twin(model).requires_grad_(True)
        weights = {weight.untyped_storage().data_ptr() for weight in twin.parameters()}
        kept = {}

        def note(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = (
                    storage.nbytes() // 4,
                    tensor,
                )  # held, so that none is freed
            return tensor

        (pack,) = make_packs([[5]], [list(range(2, 258))])
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            read_pack(twin, pack)
        floats = sum(size for size, _ in kept.values())
        return floats / len(pack.tokens), measure_shape(twin.config, 0).kept

    (few, planned_few), (more, planned_more) = map(count_kept, ([RECURRENT], [RECURRENT] * 3))
    assert 0.8 < (more - few) / (planned_more - planned_few) < 1.1

    twin = make_packing_twin(build_hybrid("qwen3_5_text"))
    (pack,) = make_packs([[5]], [list(range(2, 258))])
    with torch.inference_mode():
        peak = count_live_bytes(lambda: read_pack(twin, pack)) / 4 / len(pack.tokens)
    assert 0.8 < peak / measure_shape(twin.config, 0).wide < 1.2
