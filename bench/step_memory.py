"""Peak memory of a step of the learner: 8 groups of 16 rollouts of 512 tokens, a random Qwen2 of
half a billion weights and V = 151,936, on the processor (about an hour and a half of a core).

A pass holds 4,096 tokens, layers are computed twice. `--fast` has one group of the eight.
"""

import resource
from dataclasses import replace

import torch
from figures import FAST, Figure, report
from memory import CONFIG
from step import LEARNING, ROLLOUTS, THREADS, make_groups, make_model

from assay.training import Learner

GROUPS, LONG = 1 if FAST else 8, 512
GIB = 2**30


def main() -> None:
    torch.set_num_threads(THREADS)
    learner = Learner(make_model(CONFIG), replace(LEARNING, recompute=True))
    learner.learn(make_groups(GROUPS, CONFIG.vocab_size, (64, 64), (LONG, LONG)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    parameters = sum(weight.numel() for weight in learner.model.parameters())
    name = f"{parameters / 1e6:.0f} M weights, {GROUPS} × {ROLLOUTS} × {LONG} tokens"
    own = 16 * parameters / GIB
    figure = Figure(
        f"peak memory of a step, {name}", peak / GIB, "GiB", "16 bytes a weight", own, bound=own + 3
    )
    report("memory of a step of the learner", [figure], THREADS)


if __name__ == "__main__":
    main()
