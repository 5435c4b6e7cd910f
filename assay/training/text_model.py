"""Small models of high entropy, for measuring: they write endless words that nobody can predict.

The sampling test's power grows with the policy's entropy, and the shipped model has little. These
models answer the environment's prompts with words drawn evenly from a made-up lexicon, letter by
letter: about half of all letters are real choices. They are never learned from and never earn a
reward.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import Qwen2ForCausalLM

from assay.environments.registry import make_environment
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.prf import Stream
from assay.training.genesis_model import PAD, encode, make_model

_LETTERS = "abcdefghijklmnop"
_WORDS = 128
_PROMPTS = 256
_LEVELS = (5, 6)
_IGNORED = -100


@dataclass(frozen=True, slots=True)
class TextConfig:
    """One model of the family.

    Attributes:
        lexicon: number of the made-up language.
        seed: of the initial weights and of the order of words.
        tokens: length of a text. The model has not learned longer completions.
    """

    lexicon: int = 0
    seed: int = 0
    steps: int = 140
    batch: int = 32
    tokens: int = 136
    learning_rate: float = 4e-3
    hidden: int = 96
    layers: int = 3
    heads: int = 4
    inner: int = 256


def make_lexicon(number: int) -> list[str]:
    """Words of 2 to 5 letters, the same for everyone."""
    stream = Stream(hash_fields(Domain.HELD_OUT, b"lexicon", number.to_bytes(4, "big")))
    return [
        "".join(stream.choose(_LETTERS) for _ in range(stream.draw_between(2, 5)))
        for _ in range(_WORDS)
    ]


def train_text_model(config: TextConfig) -> Qwen2ForCausalLM:
    """A model trained from scratch; the same arguments give the same weights on one machine."""
    model = make_model(config.hidden, config.layers, config.heads, config.inner, config.seed)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    generator = torch.Generator().manual_seed(config.seed + 1)
    words = [encode(word + " ") for word in make_lexicon(config.lexicon)]
    prompts = _make_prompts()
    model.train()
    for step in range(config.steps):
        for group in optimizer.param_groups:  # warm-up over a tenth of the steps, then decay
            group["lr"] = config.learning_rate * min(
                1.0, 10 * (step + 1) / config.steps, 1.2 * (config.steps - step) / config.steps
            )
        ids, targets = _make_batch(prompts, words, config, generator)
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        loss = cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten(), ignore_index=_IGNORED)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval().requires_grad_(False)


def _make_prompts() -> list[list[int]]:
    environment = make_environment("arithmetic", {})
    seeds = (
        hash_fields(Domain.HELD_OUT, b"text-prompt", i.to_bytes(4, "big")) for i in range(_PROMPTS)
    )
    return [encode(environment.make_problem(seed, _LEVELS).prompt) for seed in seeds]


def _make_batch(
    prompts: Sequence[list[int]],
    words: Sequence[list[int]],
    config: TextConfig,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Right-padded ids and targets; only the text is a target."""
    chosen = torch.randint(len(prompts), (config.batch,), generator=generator).tolist()
    longest = max(len(prompts[i]) for i in chosen) + config.tokens
    ids = torch.full((config.batch, longest), PAD)
    targets = torch.full((config.batch, longest), _IGNORED)
    draws = torch.randint(len(words), (config.batch, config.tokens), generator=generator)
    for row, (i, drawn) in enumerate(zip(chosen, draws.tolist(), strict=True)):
        text = [token for word in drawn for token in words[word]][: config.tokens]
        start, end = len(prompts[i]), len(prompts[i]) + config.tokens
        ids[row, :end] = torch.tensor(prompts[i] + text)
        targets[row, start:end] = ids[row, start:end]
    return ids, targets
