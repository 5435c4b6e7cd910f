"""What is batched, padded and chunked costs no more than stated, and changes no result."""

import subprocess
import sys

import numpy as np
import pytest

from assay.inference import GroupRequest, Passage, Request
from assay.inference.memory_plan import ELEMENTS_MAX_CPU, TOKENS_MAX, MemoryBudget, MemoryPlan
from assay.inference.reference import PAD_TOKENS, iterate_buckets

LENGTHS = [3, 200, 64, 65, 3, 129, 1, 190]


@pytest.fixture
def shapes(checkpoint):
    """Shapes [rows, tokens] that go through the model while a test runs."""
    seen = []

    def record(_model, arguments, _keywords):
        seen.append(tuple(arguments[0].shape))

    models = {checkpoint.model, checkpoint.get_reference(1_024).model}
    handles = [m.model.register_forward_pre_hook(record, with_kwargs=True) for m in models]
    yield seen
    for handle in handles:
        handle.remove()


@pytest.fixture(scope="module")
def group(requests):
    """Completions of very unequal lengths under one prompt."""
    rng = np.random.default_rng(3)
    seeds = tuple(bytes([i]) * 32 for i in range(len(LENGTHS)))
    completions = [rng.integers(5, 60, n).astype(np.uint32) for n in LENGTHS]
    return GroupRequest(requests[0].prompt, seeds), completions


def is_near(a, b):
    """Equal but for the last bits of a matrix product, which differ with its number of rows."""
    return (
        a.best.tolist() == b.best.tolist()
        and np.abs(a.margins - b.margins).max() <= 20  # 2e-5 logits
        and np.abs(a.logprobs.astype(int) - b.logprobs).max() <= 3
        and np.abs(a.gini - b.gini).max() < 1e-5
        and np.abs(a.sketch.astype(int) - b.sketch).max() <= 1
    )


def test_short_completions_do_not_pay_for_long_ones(checkpoint, projection, group, shapes):
    request, completions = group
    checkpoint.get_reference(1_024).measure(
        [request.prompt] * len(completions), completions, request.seeds, projection
    )
    prompt, *batches = shapes
    assert prompt == (1, len(request.prompt) - 1)  # once, for all batches
    assert batches == [(4, 64), (1, 128), (2, 192), (1, 256)]


def test_a_prompt_that_fits_the_padding_takes_no_pass_of_its_own(
    checkpoint, projection, group, shapes
):
    """And what is measured is what a shared prompt gives: the last of `few` does not fit."""
    request, completions = group
    reference = checkpoint.get_reference(1_024)
    room = PAD_TOKENS - len(request.prompt)
    few = [completions[1][:room], completions[0], completions[1][: room + 1]]
    apart = reference.measure([request.prompt] * len(few), few, request.seeds[:3], projection)
    assert shapes == [(1, len(request.prompt) - 1), (3, 64)]
    shapes.clear()
    whole = reference.measure(
        [request.prompt] * len(few[:2]), few[:2], request.seeds[:2], projection
    )
    assert shapes == [(2, 64)]
    assert all(is_near(a, b) for a, b in zip(whole, apart[:2], strict=True))


def test_one_completion_is_measured_the_same_in_any_company(checkpoint, projection, group):
    """In the order given, reversed, and alone."""
    request, completions = group
    reference = checkpoint.get_reference(1_024)
    together = reference.measure(
        [request.prompt] * len(completions), completions, request.seeds, projection
    )
    turned = reference.measure(
        [request.prompt] * len(completions), completions[::-1], request.seeds[::-1], projection
    )
    for i, (completion, seed) in enumerate(zip(completions, request.seeds, strict=True)):
        (alone,) = reference.measure([request.prompt], [completion], [seed], projection)
        assert len(alone.best) == len(completion)
        assert is_near(alone, together[i])
        assert is_near(alone, turned[-1 - i])


def test_batches_are_within_their_bound_and_hold_every_row_once():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 5_000, 3_000).tolist()
    buckets = list(iterate_buckets(lengths, TOKENS_MAX))
    assert sorted(i for members, _ in buckets for i in members) == list(range(len(lengths)))
    for members, padded in buckets:
        assert len(members) * padded <= TOKENS_MAX
        assert all(padded - PAD_TOKENS < lengths[i] <= padded for i in members)
    assert list(iterate_buckets([TOKENS_MAX * 2], TOKENS_MAX)) == [([0], TOKENS_MAX * 2)]


def test_chunks_of_the_output_head_change_nothing(checkpoint, projection, group):
    request, completions = group
    reference = checkpoint.get_reference(1_024)
    whole = reference.measure(
        [request.prompt] * len(completions), completions, request.seeds, projection
    )
    head, sizes = reference.model.lm_head, []
    handle = head.register_forward_hook(lambda *call: sizes.append(call[2].numel()))
    plan = MemoryPlan(elements=50 * head.out_features + 1)
    reference.budget = MemoryBudget(plan, "cpu")
    chunked = reference.measure(
        [request.prompt] * len(completions), completions, request.seeds, projection
    )
    handle.remove()
    assert max(sizes) == 50 * head.out_features
    assert all(is_near(a, b) for a, b in zip(whole, chunked, strict=True))


def test_states_of_passages_come_in_their_order(checkpoint, group):
    request, completions = group
    passages = [Passage(request.prompt, tuple(c.tolist())) for c in completions]
    reference = checkpoint.get_reference(1_024)
    together = reference.compute_states(passages)
    for passage, states in zip(passages, together, strict=True):
        assert states.shape[0] == len(passage.completion)
        (alone,) = reference.compute_states([passage])
        assert (alone - states).abs().max() < 1e-5


def test_finished_rows_leave_the_draft(checkpoint, requests, shapes):
    """A batch with one long row ends as a batch of one, and every row is what it is alone."""
    drafter = checkpoint.get_drafter(1_024)
    work = [Request(g.prompt, seed) for g in requests for seed in g.seeds]
    drafted = drafter.draft(work)
    lengths = sorted(map(len, drafted))
    rows = [rows for rows, _ in shapes]
    assert rows[0] == len(work)
    assert len(rows) == lengths[-1]
    for step, width in enumerate(rows):
        still_open = sum(length > step for length in lengths)
        assert still_open <= width < max(2 * still_open, 2)
    for request, row in zip(work, drafted, strict=True):
        assert drafter.draft([request]) == [row]


def test_a_completion_of_full_length_is_left_as_it_is(checkpoint, requests, shapes):
    limit = checkpoint.get_rules(1_024).max_tokens
    full = Request(requests[0].prompt, requests[0].seeds[0], (20,) * limit)
    assert checkpoint.get_drafter(1_024).draft([full]) == [full.tokens]
    assert shapes == []


MEASURE_MEMORY = """
import resource, sys
import numpy as np, torch
from transformers import Qwen2Config, Qwen2ForCausalLM
from assay.inference import Reference
from assay.verification import Projection
torch.set_num_threads(1)
vocabulary = 151_936
config = Qwen2Config(vocab_size=vocabulary, hidden_size=16, intermediate_size=16,
    num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1)
model = Qwen2ForCausalLM(config).eval().requires_grad_(False)
reference = Reference(model, np.ones(vocabulary, bool), 1_024)
projection = Projection(np.ones((16, 2), np.float32), np.zeros(16, np.float32), 1.0)
peaks = []
for tokens in (1, 512):
    completion = np.arange(tokens, dtype=np.uint32)
    reference.measure([[1, 2]], [completion], [bytes(32)], projection)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)
print(peaks[1] - peaks[0])
"""


def test_the_output_head_stays_within_its_stated_memory():
    """512 tokens at V = 151,936 are 297 MiB of logits; the array of a chunk is 64 MiB."""
    run = subprocess.run(
        [sys.executable, "-c", MEASURE_MEMORY], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) <= 4 * ELEMENTS_MAX_CPU + (48 << 20)
