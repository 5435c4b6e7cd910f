"""Attention of a draft's step against the library's own."""

import pytest
import torch
from transformers import AttentionInterface, Qwen2Config, Qwen2ForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from assay.inference import draft
from assay.inference.decode_attention import attend_in_step, share_keys_in_steps
from assay.inference.draft import OwnDrafter, Request, Rules
from assay.protocol.hashing import Domain, hash_fields


class Layer:
    """What the library asks of a model's layer."""

    is_causal = True

    def __init__(self, groups):
        self.num_key_value_groups = groups


def make(heads, keys, tokens, length, seed=0):
    random = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=random)

    query, key, value = (
        draw(5, heads, tokens, 16),
        draw(5, keys, length, 16),
        draw(5, keys, length, 8),
    )
    mask = torch.ones(5, 1, tokens, length, dtype=torch.bool)
    for row in range(5):
        mask[row, :, :, :row] = False  # padding on the left
    return query, key, value, mask


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(("heads", "keys"), [(9, 3), (4, 1), (8, 2)])
def test_a_step_attends_as_the_library_does(heads, keys, masked):
    query, key, value, mask = make(heads, keys, 1, 37)
    given = Layer(heads // keys), query, key, value, mask if masked else None
    mixed, _ = attend_in_step(*given, scaling=0.3, dropout=0.0)
    wanted, _ = sdpa_attention_forward(*given, scaling=0.3, dropout=0.0)
    assert mixed.shape == wanted.shape == (5, 1, heads, 8)
    torch.testing.assert_close(mixed, wanted, rtol=0, atol=2e-6)
    # heads differ, so that a wrong order would show
    assert (wanted[:, :, 1:] - wanted[:, :, :-1]).abs().amax() > 0.1


@pytest.mark.parametrize(("heads", "keys", "tokens"), [(8, 2, 3), (4, 4, 1)])
def test_anything_else_is_the_library_s(heads, keys, tokens):
    query, key, value, mask = make(heads, keys, tokens, 20)
    given = Layer(heads // keys), query, key, value, mask
    assert torch.equal(attend_in_step(*given)[0], sdpa_attention_forward(*given)[0])


def test_drafts_are_the_same_and_no_key_is_repeated(monkeypatch):
    config = Qwen2Config(
        vocab_size=64,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
    )
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config).eval()
    drawable = torch.ones(64, dtype=torch.bool).numpy()
    requests = [
        Request(tuple(range(3 + row)), hash_fields(Domain.ROLLOUT, bytes([row])))
        for row in range(6)
    ]
    steps = []

    def note(module, query, key, value, *args, **more):
        steps.append((query.shape[2], query.shape[1] // key.shape[1]))
        return attend_in_step(module, query, key, value, *args, **more)

    def run(function):
        monkeypatch.setattr(
            draft, "share_keys_in_steps", lambda: AttentionInterface.register("sdpa", function)
        )
        return OwnDrafter(model, drawable, Rules(1_024, (), 24)).draft(requests)

    try:
        assert run(note) == run(sdpa_attention_forward)
    finally:
        share_keys_in_steps()
    assert (1, 3) in steps
