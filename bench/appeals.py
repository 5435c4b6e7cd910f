"""Cost of the dearest file of given lengths, appeals included, against an honest one.

The model has random weights. The dearest file fails narrowly in three rollouts: the judge measures
the heads, then everything, then two rollouts alone with another implementation, and refuses the
third. Measurements are replaced after they were computed, so that nothing else decides. Each run is
in its own process.
"""

import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from figures import FAST, Figure, report

from assay.inference.implementations import (
    APPEAL_IMPLEMENTATION,
    DEFAULT_IMPLEMENTATION,
    PlainReference,
    make_model,
)
from assay.inference.reference import Reference
from assay.protocol.episode import Reply
from assay.protocol.manifest import Calibration
from assay.protocol.parameters import MAIN_WORK, SMALL_MODEL_TESTS
from assay.protocol.submission import Rollout
from assay.training.genesis_model import make_model as make_random_model
from assay.verification import Forward, Ledger, Measurement, Projection
from assay.verification.appeal import APPEALS_MAX
from assay.verification.trial import HEAD_TOKENS, Trial

THREADS = 1
VOCABULARY, HIDDEN, LAYERS, PROMPT = 2_048, 512, 4, 128
TOKENS = 512 if FAST else 4_096
#: Rollouts of a file, and heads of attention.
SHAPES = [(16, 8)] if FAST else [(4, 8), (2, 8), (2, 32)]
#: Rollouts of the dearest file that fail by a margin just above the cap.
FAILING = APPEALS_MAX + 1


@dataclass
class Replaced:
    """A forward pass whose results are replaced by the claims of `rollouts`, once computed."""

    forward: Forward
    narrow: bool

    def measure(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[Any],
        seeds: Sequence[bytes],
        projection: Projection,
        replies: Sequence[Sequence[Reply]] | None = None,
    ) -> list[Measurement]:
        """See `Forward`."""
        self.forward.measure(prompts, completions, seeds, projection, replies)
        return [self._replace(number, len(tokens)) for number, tokens in enumerate(completions)]

    def _replace(self, number: int, count: int) -> Measurement:
        margins = np.zeros(count, np.int64)
        if self.narrow and number < FAILING and count > HEAD_TOKENS:
            margins[-1] = SMALL_MODEL_TESTS.margin_cap + 1
        best, zeros = np.zeros(count, np.int64), np.zeros(count, np.uint32)
        return Measurement(margins, best, np.full(count, 0.5), zeros, np.zeros((count, 4), np.int8))


def main() -> None:
    figures = []
    for rollouts, heads in SHAPES:
        (honest, least), (dear, most) = (_run(rollouts, heads, narrow) for narrow in (False, True))
        name = f"{rollouts} rollouts of {TOKENS:,} tokens, {heads} heads"
        baseline = "an honest file of the same lengths"
        figures += [
            Figure(f"{name}: processor", dear, "s", baseline, honest, ratio_bound=3.0),
            Figure(f"{name}: peak memory", most, "MiB", baseline, least, ratio_bound=1.2),
        ]
    report("the dearest file, appeals included", figures, THREADS)


def _run(rollouts: int, heads: int, narrow: bool) -> tuple[float, float]:
    """Processor seconds and peak MiB of judging a file in its own process."""
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    process = context.Process(target=_answer, args=(queue, rollouts, heads, narrow))
    process.start()
    found: tuple[float, float] = queue.get(timeout=3_600)
    process.join(60)
    return found


def _answer(queue: Any, rollouts: int, heads: int, narrow: bool) -> None:
    torch.set_num_threads(THREADS)
    model: Any = make_random_model(HIDDEN, LAYERS, heads, VOCABULARY, 0)
    model = model.eval().requires_grad_(False)
    vocabulary = model.config.vocab_size
    drawable, temperature = np.ones(vocabulary, bool), MAIN_WORK.temperature
    reference = Reference(make_model(model, DEFAULT_IMPLEMENTATION), drawable, temperature)
    plain = PlainReference(make_model(model, APPEAL_IMPLEMENTATION), drawable, temperature)
    parameters = SimpleNamespace(tests=SMALL_MODEL_TESTS, work=MAIN_WORK)
    seeds = SimpleNamespace(challenge_seed=bytes(32), audit_seed=bytes(32))
    context: Any = SimpleNamespace(parameters=parameters, **vars(seeds))
    calibration = Calibration(SMALL_MODEL_TESTS.rate_limits, 1)
    projection = Projection(np.ones((HIDDEN, 4), np.float32), np.zeros(HIDDEN, np.float32), 1.0)
    random = np.random.default_rng(0)

    def judge(tokens: int) -> float:
        """Seconds of one file. Each rollout has a prompt of its own."""
        file = {
            (index, 0): Rollout(
                random.integers(0, vocabulary, tokens).astype(np.uint32),
                np.zeros(tokens, np.uint32),
                np.zeros((tokens, 2), np.int8),
            )
            for index in range(rollouts)
        }
        forward, appeal = Replaced(reference, narrow), Replaced(plain, narrow=False)
        trial = Trial(bytes(32), context, calibration, projection, make_prompt, forward, appeal)
        began = process_time()
        fault, _ = trial.process([file], Ledger())
        planned = narrow and rollouts >= FAILING and tokens > HEAD_TOKENS
        if planned != (fault is not None):
            raise RuntimeError("another verdict than planned")
        return process_time() - began

    judge(16)  # compiles
    seconds = judge(TOKENS)
    status = Path("/proc/self/status").read_text()
    queue.put((seconds, int(status.split("VmHWM:")[1].split()[0]) / 1024))


def make_prompt(index: int) -> list[int]:
    """The prompt of a group."""
    return [index + 2] * PROMPT


if __name__ == "__main__":
    main()
