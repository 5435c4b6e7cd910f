"""The memory of a judge, a follower, a drafter and a learner grows with the tokens of a context,
not with their square: counted in the bytes of tensors that exist at once, for completions behind a
prompt as long as they are."""

import numpy as np
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from assay.inference.draft import OwnDrafter, Request, Rules
from assay.inference.following import FollowedRow, Follower
from assay.inference.implementations import make_model
from assay.inference.placing.memory_plan import MemoryBudget
from assay.inference.placing.model_sizes import MemoryPlan
from assay.inference.reference import Reference
from assay.training import Group, LearnConfig, Learner
from assay.verification import Projection
from tests.inference.live_bytes import count_live_bytes

#: The one id that can be drawn, so that every draft is right.
ONLY, IDS, HIDDEN = 7, 32, 16
SEEDS = [bytes(32), bytes([1]) * 32]


def make_random_model(window):
    more = {"layer_types": ["sliding_attention"] * 2, "use_sliding_window": True}
    config = Qwen2Config(
        vocab_size=IDS,
        hidden_size=HIDDEN,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        **({} if window is None else {**more, "sliding_window": window}),
    )
    torch.manual_seed(0)
    return Qwen2ForCausalLM(config).eval()


def make_reference(model):
    budget = MemoryBudget(MemoryPlan(1, IDS << 6), "cpu", IDS)  # one completion a pass
    return Reference(make_model(model, "fp32-sdpa"), make_drawable(), 1_024, budget)


def make_drawable():
    drawable = np.zeros(IDS, bool)
    drawable[ONLY] = True
    return drawable


PROJECTION = Projection(np.ones((HIDDEN, 2), np.float32), np.zeros(HIDDEN, np.float32), 4.0)


def judge(model, tokens):
    rows = [np.full(tokens, ONLY, np.uint32)] * 2
    make_reference(model).measure([[1] * tokens] * 2, rows, SEEDS, PROJECTION)


def follow(model, tokens):
    follower = Follower(make_reference(model), PROJECTION, tokens)
    rows = [FollowedRow((1,) * tokens, seed) for seed in SEEDS]
    while len(rows[0].tokens) < tokens:
        for row in rows:
            row.tokens += [ONLY] * 256
        assert follower.follow(rows) == 0


def draft(model, tokens):
    """Rows of unequal length: the library makes a mask for them."""
    asked = [Request((1,) * length, SEEDS[0]) for length in (tokens, tokens - 1)]
    OwnDrafter(model, make_drawable(), Rules(1_024, (), 2)).draft(asked)


def learn(model, tokens):
    settings = LearnConfig(epochs=1, tokens_per_pass=1, recompute=True)
    rows, logprobs = [[ONLY] * tokens] * 2, [[-3.0] * tokens] * 2
    Learner(model, settings).learn([Group([1] * tokens, rows, [0, 1_000_000], logprobs)])


@pytest.mark.parametrize("window", [None, 100])
@pytest.mark.parametrize("run", [judge, follow, draft, learn])
def test_twice_the_context_takes_twice_the_memory(run, window, monkeypatch):
    monkeypatch.setattr("assay.inference.draft._MASKED", 1 << 16)

    def count(tokens):
        model = make_random_model(window)
        return count_live_bytes(lambda: run(model, tokens))

    assert count(1_024) <= 2.01 * count(512)  # a prompt's last token is read elsewhere
