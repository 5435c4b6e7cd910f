"""The optimisers that a trainer may have: bytes of their states for the weights of SmolLM2-135M,
and times of an update and of a step on a model of 25 million weights, in processor seconds of one
thread. AdamW is the baseline. `tests/training/test_optimizers.py` shows that they learn.

bitsandbytes is in the extra `adamw8bit`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import process_time
from typing import get_args

import torch
from figures import FAST, Figure, measure_together, report, time_cpu
from step import LEARNING, PROMPTS, SMALL, make_groups, make_model
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from assay.training import Learner
from assay.training.lora import list_linear
from assay.training.optimizers import OptimizerName, make_optimizer

THREADS, MB = 1, 10**6
#: Of the weights of SmolLM2-135M.
LARGE = LlamaConfig(
    vocab_size=49_152,
    hidden_size=576,
    intermediate_size=1_536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    tie_word_embeddings=True,
)
GROUPS, LENGTHS, REPEATS = 1, (32, 64), 1 if FAST else 3
NAMES: tuple[OptimizerName, ...] = get_args(OptimizerName)


def count_bytes(name: OptimizerName) -> int:
    """Bytes of the state of all weights, each kind of which is updated once."""
    with torch.device("meta"):
        model = LlamaForCausalLM(LARGE)
    matrices = set(list_linear(model))
    kinds = Counter((weight.shape, n in matrices) for n, weight in model.named_parameters())
    total = 0
    for (shape, is_matrix), count in kinds.items():
        weight = nn.Parameter(torch.zeros(shape))
        weight.grad = torch.zeros(shape)
        own = ["0"] if is_matrix else []
        optimizer = make_optimizer(name, nn.ParameterList([weight]), own, 1e-3, (0.9, 0.95), 0.0)
        optimizer.step()
        tensors = optimizer.get_state().values()
        total += count * sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return total


def make_update(learner: Learner) -> Callable[[], None]:
    """An update by some gradient."""
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(w.shape, generator=generator) for w in learner.model.parameters()]

    def update() -> None:
        for weight, gradient in zip(learner.model.parameters(), gradients, strict=True):
            weight.grad = gradient
        learner._weights.optimizer.step()

    return update


def main() -> None:
    torch.set_num_threads(THREADS)
    sizes = {name: count_bytes(name) for name in NAMES}
    figures = [
        Figure(
            f"state of {name}, the 135 M weights of SmolLM2-135M",
            sizes[name] / MB,
            "MB",
            "AdamW, float32",
            sizes["adamw"] / MB,
            ratio_bound=0.35 if name == "adamw8bit" else None,
        )
        for name in NAMES[1:]
    ]
    groups = make_groups(GROUPS, SMALL.vocab_size, PROMPTS, LENGTHS)
    learners = [Learner(make_model(SMALL), replace(LEARNING, optimizer=name)) for name in NAMES]
    parts = {
        "an update": [make_update(learner) for learner in learners],
        "a step with a group of 16 rollouts": [partial(one.learn, groups) for one in learners],
    }
    for what, runs in parts.items():
        # torch's Muon multiplies bfloat16: a minute on processors without instructions for it
        *others, muon = runs
        least = [*measure_together(others, REPEATS, process_time), time_cpu(muon)[1]]
        times = dict(zip(NAMES, least, strict=True))
        figures += [
            Figure(f"{what}, {name}", times[name], "s", "AdamW", times["adamw"])
            for name in NAMES[1:]
        ]
    report("optimisers of the learner", figures, THREADS)


if __name__ == "__main__":
    main()
