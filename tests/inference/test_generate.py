"""Draft and verify, and the reference: the submission does not depend on the drafts."""

import numpy as np
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from assay.inference import draft
from assay.inference.draft import OwnDrafter, Request, Rules
from assay.inference.generate import DraftCount, generate_groups
from assay.inference.reading import PAD_TOKENS
from assay.protocol.parameters import SMALL_MODEL_TESTS
from tests.inference.test_batching import is_near


def generate(checkpoint, requests, projection, *, model=None, batch=256):
    count = DraftCount()
    groups = generate_groups(
        requests,
        checkpoint.get_drafter(1_024, model=model, batch=batch),
        checkpoint.get_reference(1_024),
        checkpoint.get_rules(1_024),
        projection,
        count,
    )
    return [[rollout.tokens.tolist() for rollout in group] for group in groups], count


@pytest.fixture(scope="module")
def honest(checkpoint, requests, projection):
    return generate(checkpoint, requests, projection)[0]


@pytest.mark.parametrize("batch", [1, 5, 32])
def test_tokens_do_not_depend_on_batch_or_padding(checkpoint, requests, projection, honest, batch):
    few = requests[:2]
    assert generate(checkpoint, few, projection, batch=batch)[0] == honest[:2]
    alone = [generate(checkpoint, [request], projection)[0][0] for request in few]
    assert alone == honest[:2]


def test_drafting_in_bf16_gives_the_same_tokens(checkpoint, requests, projection, honest):
    model = checkpoint.load_trainable().requires_grad_(False).to(torch.bfloat16)
    tokens, count = generate(checkpoint, requests * 2, projection, model=model)
    assert tokens == honest * 2
    assert count.drafted - count.discarded <= count.submitted <= count.drafted


def test_an_untrained_drafter_gives_the_same_tokens(checkpoint, requests, projection, honest):
    """Little of such a draft is worth keeping; the reference's own sample comes out."""
    model = checkpoint.load_trainable().requires_grad_(False)
    torch.manual_seed(0)
    with torch.no_grad():
        model.lm_head.weight.copy_(torch.randn_like(model.lm_head.weight))
    tokens, count = generate(checkpoint, requests[:1], projection, model=model)
    assert tokens == honest[:1]
    assert count.discarded > 0


@pytest.mark.parametrize("implementation", ["fp32-eager", "split3", "appeal"])
def test_implementations_agree_within_the_bounds(
    checkpoint, requests, projection, honest, implementation
):
    tests = SMALL_MODEL_TESTS
    mine = checkpoint.get_reference(1_024)
    theirs = (
        checkpoint.get_appeal(1_024)
        if implementation == "appeal"
        else checkpoint.get_reference(1_024, implementation)
    )
    for request, tokens in zip(requests, honest, strict=True):
        completions = [np.array(row, np.uint32) for row in tokens]
        a, b = (
            reference.measure(
                [request.prompt] * len(completions), completions, request.seeds, projection
            )
            for reference in (mine, theirs)
        )
        for one, other in zip(a, b, strict=True):
            assert one.margins.max() == 0
            assert other.margins.max() * 20 <= tests.margin_cap
            apart = np.abs(one.logprobs.astype(int) - other.logprobs.astype(int))
            assert apart.max() * 4 <= tests.logprob_rms_bound
            assert np.abs(one.sketch.astype(int) - other.sketch.astype(int)).max() <= 1


def test_completions_end_at_the_first_end_token_or_at_the_limit(checkpoint, honest):
    rules = checkpoint.get_rules(1_024)
    for tokens in (row for group in honest for row in group):
        assert not set(tokens[:-1]) & set(rules.end_tokens)
        assert tokens[-1] in rules.end_tokens or len(tokens) == rules.max_tokens


def test_measurement_does_not_depend_on_company(checkpoint, requests, projection, honest):
    """One completion alone, and among others of other lengths: the same but for last bits."""
    request, tokens = requests[0], [np.array(row, np.uint32) for row in honest[0]]
    reference = checkpoint.get_reference(1_024)
    together = reference.measure([request.prompt] * len(tokens), tokens, request.seeds, projection)
    for i, completion in enumerate(tokens):
        (alone,) = reference.measure([request.prompt], [completion], [request.seeds[i]], projection)
        assert is_near(alone, together[i])


def test_measurement_beyond_one_padding_block_and_of_one_token(checkpoint, requests, projection):
    """Lengths 1, 64 and 65 cross the padding; a prompt of one token has no shared part."""
    request = requests[0]
    reference = checkpoint.get_reference(1_024)
    for length in (1, PAD_TOKENS, PAD_TOKENS + 1):
        completion = np.full(length, 20, np.uint32)
        for prompt in (request.prompt, request.prompt[:1]):
            (m,) = reference.measure([prompt], [completion], [request.seeds[0]], projection)
            full = torch.tensor([[*prompt, *completion.tolist()]])
            with torch.no_grad():
                logits = checkpoint.model(full).logits[0, len(prompt) - 1 : -1]
            logits[:, ~torch.from_numpy(checkpoint.tokenizer.drawable)] = -torch.inf
            p = logits.softmax(dim=1)
            assert np.allclose(m.gini, 1 - p.square().sum(dim=1), atol=1e-5)
            nats = -p[:, 20].log().double() * 2**16
            assert np.abs(m.logprobs - nats.numpy().clip(0, 2**24 - 1)).max() < 8


def test_the_drafter_goes_on_from_where_it_is_told(checkpoint, requests, honest):
    drafter: OwnDrafter = checkpoint.get_drafter(1_024)
    request, row = requests[0], honest[0][0]
    for kept in (0, 1, len(row) - 1):
        (again,) = drafter.draft([Request(request.prompt, request.seeds[0], tuple(row[:kept]))])
        assert list(again) == row


@pytest.mark.parametrize("ahead", [None, 7])
def test_tokens_drawn_after_an_end_between_two_looks_are_dropped(checkpoint, requests, ahead):
    """A card draws several tokens before anybody looks; here by the same code on the processor."""
    rules, drawable = checkpoint.get_rules(1_024), checkpoint.tokenizer.drawable
    asked = [Request(request.prompt, seed) for request in requests for seed in request.seeds]
    each, seldom = (
        OwnDrafter(checkpoint.model, drawable, rules, burst=burst).draft(asked, ahead)
        for burst in (1, 5)
    )
    assert each == seldom
    assert len({len(row) % 5 for row in each}) > 1 or ahead is not None


@pytest.mark.parametrize("window", [None, 6])
def test_prompts_that_are_read_in_parts_draw_the_same(monkeypatch, window):
    """Rows of unequal length, whose padding fills the first parts."""
    kinds = {"layer_types": ["sliding_attention", "full_attention"], "use_sliding_window": True}
    config = Qwen2Config(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        **({} if window is None else {**kinds, "sliding_window": window}),
    )
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config).eval()
    rules, drawable = Rules(1_024, (), 12), np.ones(64, bool)
    random = np.random.default_rng(0)
    asked = [
        Request(tuple(random.integers(0, 64, length).tolist()), bytes([length]) * 32)
        for length in (3, 20, 31)
    ]
    drafter = OwnDrafter(model, drawable, rules)
    whole = drafter.draft(asked)
    for elements in (0, 400):
        monkeypatch.setattr(draft, "_MASKED", elements)
        assert drafter.draft(asked) == whole
