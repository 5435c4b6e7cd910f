"""A model's memory by its size, by arithmetic: no torch, which takes seconds to load."""

from dataclasses import dataclass
from typing import Any

#: Tokens of one pass, padding included, and elements of logits, however much memory there is.
TOKENS_MAX, ELEMENTS_MAX_CPU, ELEMENTS_MAX = 1 << 15, 1 << 24, 1 << 28
#: Logits that a learner computes at once: `assay.training.LOGITS_MAX`, which loads torch.
LEARNED_LOGITS_MAX = 1 << 25
#: Implementations of the reference that keep weights as they are stored, in bf16; the others take
#: them in fp32.
BF16_WEIGHTS = frozenset({"split3", "split2"})


def compute_weight_bytes(stored: int, implementation: str) -> int:
    """Bytes of memory that weights take. stored: bytes of their files, in bf16."""
    return stored if implementation in BF16_WEIGHTS else 2 * stored


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A model's size, floats a token unless it says otherwise."""

    parameters: int  # all of them
    tables: int  # of these, embeddings and a head of its own
    cached: int  # that keys and values of all layers take
    wide: int  # that a layer holds at its widest
    kept: int  # that all layers keep for gradients
    recomputed: int  # the same where a layer keeps its input alone, and one at a time all else
    vocabulary: int  # ids


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """The most that is computed together.

    Attributes:
        tokens: of one pass, padding included. A row that is longer goes alone.
        elements: of an array [rows, vocabulary]. One row goes in any case.
    """

    tokens: int = TOKENS_MAX
    elements: int = ELEMENTS_MAX_CPU

    def halve(self, least: "MemoryPlan") -> "MemoryPlan | None":
        """Half of it, down to `least`; None where that is no less."""
        tokens, elements = (
            max(own // 2, min(own, floor))
            for own, floor in ((self.tokens, least.tokens), (self.elements, least.elements))
        )
        smaller = MemoryPlan(tokens, elements)
        return None if smaller == self else smaller


def measure_shape(config: Any, parameters: int) -> ModelShape:
    """The size of a model by its configuration. config: Hugging Face's."""
    layer = 4 * config.intermediate_size + 14 * config.hidden_size
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return ModelShape(
        parameters=parameters,
        tables=(1 if config.tie_word_embeddings else 2) * config.vocab_size * config.hidden_size,
        cached=2 * config.num_hidden_layers * config.num_key_value_heads * head,
        wide=3 * config.intermediate_size + 4 * config.hidden_size,
        kept=config.num_hidden_layers * layer,
        recomputed=config.num_hidden_layers * config.hidden_size + layer,
        vocabulary=config.vocab_size,
    )
