"""Batching, padding and chunking cost no more than stated, and change no result."""

import subprocess

import numpy as np
import pytest

from assay.inference.draft import Request
from assay.inference.following import NEAR
from assay.inference.generate import GroupRequest
from assay.inference.implementations import make_model
from assay.inference.packing import make_packing
from assay.inference.passages import Passage
from assay.inference.placing.memory_plan import MemoryBudget
from assay.inference.placing.model_sizes import ELEMENTS_MAX_CPU, MemoryPlan
from assay.inference.reading import make_even_packs, make_packs
from assay.inference.reference import Reference
from assay.verification import Projection
from tests.commands import PRELOADED

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
    """Equal except for the last bits of a matrix product, which differ with its number of rows."""
    return (
        a.best.tolist() == b.best.tolist()
        and np.abs(a.margins - b.margins).max() <= NEAR
        and np.abs(a.logprobs.astype(int) - b.logprobs).max() <= 3
        and np.abs(a.gini - b.gini).max() < 1e-5
        and np.abs(a.sketch.astype(int) - b.sketch).max() <= 1
    )


def test_every_token_is_read_once_and_nothing_is_padded(checkpoint, projection, group, shapes):
    """The prompt without its last token, and of each completion all but its last behind that."""
    request, completions = group
    checkpoint.get_reference(1_024).measure(
        [request.prompt] * len(completions), completions, request.seeds, projection
    )
    assert shapes == [(1, len(request.prompt) - 1 + sum(LENGTHS))]


def test_prompts_are_shared_by_whoever_has_them(checkpoint, projection, group, requests, shapes):
    """In one pass, each with the same measurements as alone with its own prompt."""
    request, completions = group
    prompts = [request.prompt, requests[1].prompt, request.prompt, requests[2].prompt]
    reference = checkpoint.get_reference(1_024)
    together = reference.measure(prompts, completions[:4], request.seeds[:4], projection)
    lengths = [len(request.prompt), len(requests[1].prompt), len(requests[2].prompt)]
    assert shapes == [(1, sum(lengths) - 3 + sum(LENGTHS[:4]))]
    for i, prompt in enumerate(prompts):
        (alone,) = reference.measure([prompt], [completions[i]], [request.seeds[i]], projection)
        assert is_near(alone, together[i])


def test_a_prompt_of_one_token(checkpoint, projection, group, shapes):
    """Nothing precedes its completions."""
    request, completions = group
    reference = checkpoint.get_reference(1_024)
    prompt = request.prompt[:1]
    together = reference.measure([prompt] * 3, completions[:3], request.seeds[:3], projection)
    assert shapes == [(1, sum(LENGTHS[:3]))]
    for i, found in enumerate(together):
        (alone,) = reference.measure([prompt], [completions[i]], [request.seeds[i]], projection)
        assert is_near(alone, found)


def test_packed_and_alone_are_the_same(checkpoint, projection, group):
    """For every permitted implementation; the one that packs nothing is the plainest."""
    request, completions = group
    given = [request.prompt] * len(completions), completions, request.seeds, projection
    alone = checkpoint.get_reference(1_024, "fp32-eager").measure(*given)
    for name in ("fp32-sdpa", "split3"):
        packed = checkpoint.get_reference(1_024, name).measure(*given)
        assert all(is_near(a, b) for a, b in zip(packed, alone, strict=True))


@pytest.mark.parametrize("implementation", ["fp32-sdpa", "split3"])
@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
def test_windows_slide_in_packs_too(make_random_model, kind, implementation):
    """Some layers see 16 tokens: packed as alone, prompts and completions longer and shorter."""
    windows = {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}
    model = make_random_model(kind, 64, 3, **windows)
    assert "sliding_attention" in model.config.layer_types
    prompts = [tuple(range(n)) for n in (5, 40, 40, 1)]
    passages = [
        Passage(p, tuple(range(7, 7 + n))) for p, n in zip(prompts, LENGTHS[:4], strict=True)
    ]
    drawable = np.ones(512, bool)
    alone, packed = (
        Reference(make_model(model, name), drawable, 1_024)
        for name in ("fp32-eager", implementation)
    )
    pairs = zip(alone.compute_states(passages), packed.compute_states(passages), strict=True)
    assert all((a - b).abs().max() < 1e-5 for a, b in pairs)
    seeds = [bytes([i]) * 32 for i in range(4)]
    completions = [np.array(p.completion, np.uint32) for p in passages]
    given = (
        prompts,
        completions,
        seeds,
        Projection(np.ones((64, 2), np.float32), np.zeros(64, np.float32), 8.0),
    )
    for a, b in zip(alone.measure(*given), packed.measure(*given), strict=True):
        assert is_near(a, b)


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


def test_packs_are_within_their_bound_and_hold_every_token_once():
    rng = np.random.default_rng(0)
    completions = [list(range(n)) for n in rng.integers(1, 5_000, 300).tolist()]
    prompts = [[7] * int(n) for n in rng.integers(1, 400, 300) // 8 * 8 + 1]
    packs = list(make_packs(prompts, completions, 4_000))
    assert sorted(i for pack in packs for i in pack.indices) == list(range(300))
    for pack in packs:
        assert len(pack.tokens) <= 4_000 or len(pack.indices) == 1
        assert sum(length for length, _ in pack.lengths) == len(pack.tokens)
        for index, rows in zip(pack.indices, pack.rows, strict=True):
            own = [prompts[index][-1], *completions[index][:-1]]
            (turn,) = rows
            assert pack.tokens[turn] == own
        segments = make_packing(pack.lengths).segments
        reads = [s.end - s.start for s in segments]
        shared = {(s.shared_start, s.shared_end) for s in segments if s.first}
        assert len(reads) == len(pack.indices) + len(shared)  # a prompt at most once


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
def test_packs_for_processes_are_alike_and_need_no_more_rounds(processes):
    """The largest exceeds the mean by less than one completion and its prompt: were it larger, the
    first completion behind a smaller pack would have found room there."""
    rng = np.random.default_rng(1)
    completions = [list(range(n)) for n in rng.integers(200, 400, 100).tolist()]
    prompts = [[i // 10] * 50 for i in range(100)]
    plain = list(make_packs(prompts, completions, 4_000))
    packs = make_even_packs(prompts, completions, 4_000, processes)
    assert sorted(i for pack in packs for i in pack.indices) == list(range(100))
    rounds = -(-len(plain) // processes)
    assert rounds == -(-len(packs) // processes)
    sizes = [len(pack.tokens) for pack in packs]
    if processes == 1:
        assert sizes == [len(pack.tokens) for pack in plain]
        return
    assert max(sizes) <= 4_000
    ideal = sum(sizes) / (rounds * processes)
    assert max(sizes) < ideal + 400 + 50


def test_fewer_completions_than_processes_are_a_pack_each():
    packs = make_even_packs([[1, 2]] * 2, [[3] * 9, [4] * 5], 4_000, 4)
    assert [pack.indices for pack in packs] == [[0], [1]]


def test_tokens_that_are_not_shared_are_read_with_each():
    (pack,) = make_packs([[1, 2, 3]] * 2, [[4, 5], [6]], share=False)
    assert pack.tokens == [1, 2, 3, 4, 1, 2, 3]
    assert (pack.lengths, pack.rows) == ([(4, None), (3, None)], [(slice(2, 4),), (slice(6, 7),)])
    (pack,) = make_packs([[1, 2, 3]] * 2, [[4, 5], [6]])
    assert pack.tokens == [1, 2, 3, 4, 3]
    assert pack.lengths == [(2, None), (2, 0), (1, 0)]
    assert pack.rows == [(slice(2, 4),), (slice(4, 5),)]


def test_chunks_of_the_output_head_change_nothing(checkpoint, projection, group):
    request, completions = group
    reference = checkpoint.get_reference(1_024)
    whole = reference.measure(
        [request.prompt] * len(completions), completions, request.seeds, projection
    )
    head, sizes = reference.model.lm_head, []
    handle = head.register_forward_hook(lambda *call: sizes.append(call[2].numel()))
    plan = MemoryPlan(elements=50 * head.out_features + 1)
    reference.budget = MemoryBudget(plan, "cpu", head.out_features)
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
    """A batch with one long row ends as a batch of one, and rows are the same as alone. A prompt
    is read once for all of its rows."""
    drafter = checkpoint.get_drafter(1_024)
    work = [Request(g.prompt, seed) for g in requests for seed in g.seeds]
    drafted = drafter.draft(work)
    lengths = sorted(map(len, drafted))
    rows = [rows for rows, _ in shapes]
    assert rows[:2] == [len(requests), len(work)]
    assert len(rows) == lengths[-1]
    for step, width in enumerate(rows[1:], 1):
        still_open = sum(length > step for length in lengths)
        assert still_open <= width < max(2 * still_open, 2)
    for request, row in list(zip(work, drafted, strict=True))[::3]:
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
from assay.inference.reference import Reference
from assay.verification import Projection
torch.set_num_threads(1)
vocabulary = 151_936
config = Qwen2Config(vocab_size=vocabulary, hidden_size=16, intermediate_size=16,
    num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1)
model = Qwen2ForCausalLM(config).eval().requires_grad_(False)
reference = Reference(model, np.ones(vocabulary, bool), 1_024)
projection = Projection(np.ones((16, 2), np.float32), np.zeros(16, np.float32), 1.0)
peaks = []
for tokens in (1, 256):
    completion = np.arange(tokens, dtype=np.uint32)
    reference.measure([[1, 2]], [completion], [bytes(32)], projection)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)
print(peaks[1] - peaks[0])
"""


def test_the_output_head_stays_within_its_stated_memory():
    """256 tokens at V = 151,936 are 148 MiB of logits; the array of a chunk is 64 MiB."""
    with PRELOADED.popen(MEASURE_MEMORY, stdout=subprocess.PIPE, text=True) as run:
        assert int(run.communicate()[0]) <= 4 * ELEMENTS_MAX_CPU + (48 << 20)
