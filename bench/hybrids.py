"""The cost and the rounding of reading with recurrent layers (gated DeltaNet): a hybrid against a
dense model of the same size, both of random weights, and chunks of several sizes.

A row alone is one long sequence; a group is eight completions packed behind their prompt, whose
states the recurrent layers pass on. `--fast` reads shorter ones with a smaller model.
"""

from collections.abc import Callable, Sequence
from functools import partial
from time import process_time

import numpy as np
import torch
from figures import FAST, Figure, measure_together, report
from torch import Tensor
from transformers import (
    PreTrainedModel,
    Qwen3_5ForCausalLM,
    Qwen3_5TextConfig,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from assay.inference import make_model, recurrent
from assay.inference.placing.model_sizes import RECURRENT_CHUNK, measure_shape
from assay.inference.reading import CausalModel, read

VOCABULARY, HIDDEN, INNER, LAYERS = (512, 128, 384, 4) if FAST else (512, 512, 1_536, 8)
#: Heads of queries and of keys, and their width: of attention, and of the recurrent layers, whose
#: values have as many heads as queries here.
HEADS, KEY_HEADS, WIDTH = HIDDEN // 64, HIDDEN // 128, 64
ROW = 256 if FAST else 2_048
PROMPT, COMPLETION, ROLLOUTS = 80, 96, 8
CHUNKS = (RECURRENT_CHUNK, 64)
REPEATS, THREADS = 3, 1
#: Logits by which packing may move a hybrid's.
CAP = 2e-4


def main() -> None:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)  # of decays, which the library draws
    common = {
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_HEADS,
        "head_dim": WIDTH,
        "max_position_embeddings": 4_096,
        "tie_word_embeddings": False,
    }
    dense = randomise(Qwen3ForCausalLM(Qwen3Config(**common)))
    config = Qwen3_5TextConfig(
        **common,
        layer_types=["linear_attention", "linear_attention", "linear_attention", "full_attention"]
        * (LAYERS // 4),
        linear_num_key_heads=KEY_HEADS,
        linear_num_value_heads=HEADS,
        linear_key_head_dim=WIDTH,
        linear_value_head_dim=WIDTH,
    )
    hybrid = randomise(Qwen3_5ForCausalLM(config))
    models = [make_model(each, "fp32-sdpa") for each in (dense, hybrid)]
    figures = [
        compare("one row", ROW, models, make_group(1, 2, ROW)),
        compare(
            "a group",
            PROMPT + ROLLOUTS * COMPLETION,
            models,
            make_group(ROLLOUTS, PROMPT, COMPLETION),
        ),
        *(measure_rounding(hybrid, chunk) for chunk in CHUNKS),
        *measure_states(config),
    ]
    report("reading with recurrent layers", figures, THREADS)


def randomise(model: PreTrainedModel) -> PreTrainedModel:
    """Weights by which logits have a standard deviation of about 1.5, as a checkpoint stores
    them."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                scale = 1.0 if "embed" in name else 1.5 / weight.shape[-1] ** 0.5
                weight.copy_((torch.randn(weight.shape, generator=draw) * scale).bfloat16())
    return model.float().eval().requires_grad_(False)


def make_group(rows: int, prompt: int, completion: int) -> tuple[list[list[int]], list[list[int]]]:
    """Completions behind one prompt."""
    draw = np.random.default_rng(0)
    shared = draw.integers(2, VOCABULARY, prompt).tolist()
    return [shared] * rows, [draw.integers(2, VOCABULARY, completion).tolist() for _ in range(rows)]


def compare(
    name: str,
    tokens: int,
    models: Sequence[CausalModel],
    group: tuple[list[list[int]], list[list[int]]],
) -> Figure:
    """Processor time of a thousand tokens, by the hybrid and by the dense model."""

    def read_all(model: CausalModel) -> None:
        with torch.inference_mode():
            for _ in read(model, *group):
                pass

    runs: list[Callable[[], object]] = [partial(read_all, model) for model in models]
    dense, hybrid = measure_together(runs, REPEATS, process_time)
    thousand = 1_000 / tokens
    return Figure(
        f"{name} of {tokens:,} tokens, for each 1,000",
        hybrid * thousand,
        "processor s",
        "a dense model",
        dense * thousand,
    )


def measure_rounding(model: PreTrainedModel, chunk: int) -> Figure:
    """What packing changes in logits: the order of sums alone."""
    recurrent.RECURRENT_CHUNK, before = chunk, recurrent.RECURRENT_CHUNK
    prompts, completions = make_group(ROLLOUTS, PROMPT, COMPLETION)
    try:
        with torch.inference_mode():
            whole = make_model(model, "fp32-eager")
            packed = make_model(model, "fp32-sdpa")
            alone = [
                read_states(whole, [p], [c]) for p, c in zip(prompts, completions, strict=True)
            ]
            together = read_states(packed, prompts, completions)
            moved = model.lm_head(torch.cat(alone)) - model.lm_head(together)
    finally:
        recurrent.RECURRENT_CHUNK = before
    return Figure(
        f"chunks of {chunk}: packed behind a prompt, against each alone",
        float(moved.abs().max()),
        "logits",
        bound=CAP if chunk == RECURRENT_CHUNK else None,
    )


def read_states(
    model: CausalModel, prompts: Sequence[list[int]], completions: Sequence[list[int]]
) -> Tensor:
    """The states that drew all completions, in their order."""
    found: dict[int, Tensor] = {}
    for indices, states in read(model, prompts, completions):
        found |= zip(indices, states, strict=True)
    return torch.cat([found[i] for i in range(len(completions))])


def measure_states(config: Qwen3_5TextConfig) -> list[Figure]:
    """What a follower keeps of a sequence besides keys and values."""
    shape = measure_shape(config, 0)
    return [
        Figure("a sequence's states, kept twice", 2 * 4 * shape.state / 1e6, "MB"),
        Figure(
            "tokens whose keys and values take as much", 2 * shape.state / shape.cached, "tokens"
        ),
    ]


if __name__ == "__main__":
    main()
