"""Peak memory of a step of the learner: 8 groups of 16 rollouts of 512 tokens, a random Qwen2 of
half a billion weights and V = 151,936, on the CPU (about an hour of a core). All settings that
memory depends on are those of the recipe qwen2.5-0.5b-gsm: 4,096 tokens a pass, products in bf16,
layers computed twice.

A step of one short group comes first, so that AdamW's moments exist as in every step but the first.
`--fast` has one group of the eight.
"""

import resource
from dataclasses import replace

import torch
from figures import FAST, Figure, report
from memory import CONFIG
from step import LEARNING, ROLLOUTS, THREADS, make_groups, make_model

from assay.subnet.recipe import read_recipe
from assay.training import Learner

GROUPS, PROMPTS, LONG, SHORT = 1 if FAST else 8, (64, 64), 512, 2
GIB = 2**30


def main() -> None:
    torch.set_num_threads(THREADS)
    recipe = read_recipe("qwen2.5-0.5b-gsm").trainer
    learning = replace(
        LEARNING,
        recompute=recipe.recompute,
        precision=recipe.precision,
        tokens_per_pass=recipe.tokens_per_pass,
    )
    learner = Learner(make_model(CONFIG), learning)
    for groups, tokens in ((1, SHORT), (GROUPS, LONG)):
        learner.learn(make_groups(groups, CONFIG.vocab_size, PROMPTS, (tokens, tokens)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    parameters = sum(weight.numel() for weight in learner.model.parameters())
    name = f"{parameters / 1e6:.0f} M weights, {GROUPS} × {ROLLOUTS} × {LONG} tokens"
    name += f", {learning.tokens_per_pass:,} a pass"
    own = 16 * parameters / GIB
    figure = Figure(
        f"peak memory of a step, {name}", peak / GIB, "GiB", "16 bytes a weight", own, bound=own + 3
    )
    report("memory of a step of the learner", [figure], THREADS)


if __name__ == "__main__":
    main()
