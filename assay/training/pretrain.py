"""Train the demo's genesis model from scratch, on solutions that the environment writes.

    python -m assay.training.pretrain --out DIR [--steps N] [--seed N] [--threads N]

Problems come from seeds hash(held-out, "pretrain", seed u32, index u64): no challenge ever asks
one. The same arguments give the same weights on the same machine and number of threads; between
machines the last bits differ. Training stops early on purpose: a model that already answers
everything would leave reinforcement nothing to teach.
"""

import argparse
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from assay.environments.arithmetic import write_solution
from assay.environments.base import Environment
from assay.environments.registry import make_environment
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.prf import Stream
from assay.training.genesis_model import END, PAD, encode, make_model, save_model

_IGNORED = -100


@dataclass(frozen=True, slots=True)
class PretrainConfig:
    """The settings that made the shipped model; sizes are chosen for one CPU core."""

    levels: tuple[int, ...] = (4, 5, 6)
    steps: int = 800
    batch: int = 128
    learning_rate: float = 3e-3
    warmup: int = 100
    #: Probability spread over the whole vocabulary at every token: breadth for RL to narrow, and
    #: for the sampling test to see (its power grows with the policy's entropy).
    smoothing: float = 0.03
    hidden: int = 96
    layers: int = 3
    heads: int = 3  # of 32 columns each: engines' attention has no kernels for 24
    inner: int = 256
    seed: int = 0


def pretrain_seed(run: int, index: int) -> bytes:
    """Seed of training example `index` (u64) of run `run` (u32), 32 bytes."""
    return hash_fields(
        Domain.HELD_OUT, b"pretrain", run.to_bytes(4, "big"), index.to_bytes(8, "big")
    )


def write_examples(
    environment: Environment, config: PretrainConfig
) -> Iterator[tuple[list[int], list[int]]]:
    """Endless (prompt ids, completion ids with the end token); terms in a random order.

    The order is the one thing a solution is free to choose: it gives the policy honest entropy.
    """
    index = 0
    while True:
        seed = pretrain_seed(config.seed, index)
        problem = environment.make_problem(seed, config.levels)
        terms = problem.prompt.count("+") + problem.prompt.count("-") + 1
        order = Stream(hash_fields(Domain.HELD_OUT, b"pretrain-order", seed)).sample(terms, terms)
        yield encode(problem.prompt), [*encode(write_solution(problem, order)), END]
        index += 1


def make_batch(
    examples: Iterator[tuple[list[int], list[int]]], size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids and targets [size, longest]; only completions are targets."""
    rows = [next(examples) for _ in range(size)]
    longest = max(len(prompt) + len(solution) for prompt, solution in rows)
    ids = torch.full((size, longest), PAD)
    targets = torch.full((size, longest), _IGNORED)
    for row, (prompt, solution) in enumerate(rows):
        whole = torch.tensor(prompt + solution)
        ids[row, : len(whole)] = whole
        targets[row, len(prompt) : len(whole)] = whole[len(prompt) :]
    return ids, targets


def compute_rate(step: int, config: PretrainConfig) -> float:
    """Learning rate of a step: linear warm-up, then half a cosine down to a tenth."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * (0.55 + 0.45 * math.cos(math.pi * done))


def pretrain(config: PretrainConfig, folder: Path) -> None:
    """Train and save into `folder`. Ctrl-C stops and saves the present state.

    Raises:
        OSError: the folder cannot be written.
    """
    model = make_model(config.hidden, config.layers, config.heads, config.inner, config.seed)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    examples = write_examples(make_environment("arithmetic", {}), config)
    size = sum(weight.numel() for weight in model.parameters())
    print(f"{size:,} parameters, {config.steps} steps of {config.batch}", file=sys.stderr)
    started = time.monotonic()
    model.train()
    try:
        for step in range(config.steps):
            for group in optimizer.param_groups:
                group["lr"] = compute_rate(step, config)
            ids, targets = make_batch(examples, config.batch)
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits
            loss = cross_entropy(
                logits.flatten(0, 1),
                targets[:, 1:].flatten(),
                ignore_index=_IGNORED,
                label_smoothing=config.smoothing,
            )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            if step % 50 == 49 or step + 1 == config.steps:
                spent = time.monotonic() - started
                print(f"step {step + 1}: loss {loss.item():.4f}, {spent:.0f} s", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped early", file=sys.stderr)
    save_model(model, folder)
    print(f"saved in {folder}", file=sys.stderr)


def main() -> None:
    """Command line of this script."""
    defaults = PretrainConfig()
    parser = argparse.ArgumentParser(description="Train the demo's genesis model from scratch.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--steps", type=int, default=defaults.steps)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pretrain(PretrainConfig(steps=arguments.steps, seed=arguments.seed), arguments.out)


if __name__ == "__main__":
    main()
