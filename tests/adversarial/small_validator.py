"""A judge that has 2 GiB beside its libraries and weights, and a window of files that force
appeals: run as a process, because the limit is the process's. It prints what came of them as JSON.

Rollouts are as long as the main network's, and the model has many heads: the attention of one
rollout, held whole, would take twice the limit. The judge's own passes are computed in full; then
their results are replaced, so that honest files pass and others fail narrowly.
"""

import json
import resource
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from assay.artifacts.submissions.appeals import AffordableAppeal, AppealBudget
from assay.inference.implementations import (
    APPEAL_IMPLEMENTATION,
    DEFAULT_IMPLEMENTATION,
    PlainReference,
    make_model,
)
from assay.inference.reference import Reference
from assay.protocol.manifest import Calibration
from assay.protocol.parameters import MAIN_WORK, SMALL_MODEL_TESTS
from assay.protocol.submission import Rollout
from assay.training.genesis_model import make_model as make_random_model
from assay.verification import Ledger, Measurement, Projection, UnheardError
from assay.verification.trial import HEAD_TOKENS, Trial

LIMIT = 2 << 30
HIDDEN, LAYERS, HEADS, VOCABULARY = 512, 1, 32, 2_048
#: Rollouts of a file, and the one that fails narrowly where one does.
ROLLOUTS, FAILING = 2, 1
JUNK, HONEST = 20, 4


@dataclass
class Replaced:
    """A forward pass whose results are the claims, once they are computed."""

    reference: Reference
    narrow: bool

    def measure(self, prompts, completions, seeds, projection, replies=None):
        self.reference.measure(prompts, completions, seeds, projection, replies)
        return [self._replace(number, len(tokens)) for number, tokens in enumerate(completions)]

    def _replace(self, number, count):
        margins = np.zeros(count, np.int64)
        if self.narrow and number == FAILING and count > HEAD_TOKENS:
            margins[-1] = SMALL_MODEL_TESTS.margin_cap + 1
        best, zeros = np.zeros(count, np.int64), np.zeros(count, np.uint32)
        return Measurement(margins, best, np.full(count, 0.5), zeros, np.zeros((count, 4), np.int8))


@dataclass
class Heard:
    """Counts the appeals that are heard, and those for which memory does not suffice."""

    appeal: AffordableAppeal
    count: int = 0
    lacks: int = 0

    def measure(self, *arguments):
        try:
            measured = self.appeal.measure(*arguments)
        except UnheardError as error:
            self.lacks += "used up" not in str(error)
            raise
        self.count += 1
        return measured


def make_file(random, vocabulary):
    tokens = MAIN_WORK.max_tokens
    ids = random.integers(0, vocabulary, (ROLLOUTS, tokens)).astype(np.uint32)
    zeros = np.zeros(tokens, np.uint32), np.zeros((tokens, 2), np.int8)
    return {(index, 0): Rollout(row, *zeros) for index, row in enumerate(ids)}


def limit_memory():
    status = Path("/proc/self/status").read_text()
    held = int(status.split("VmData:")[1].split()[0]) * 1_024
    resource.setrlimit(resource.RLIMIT_DATA, (held + LIMIT, held + LIMIT))


def main():
    torch.set_num_threads(1)
    model = make_random_model(HIDDEN, LAYERS, HEADS, VOCABULARY, 0).eval().requires_grad_(False)
    drawable, temperature = np.ones(model.config.vocab_size, bool), MAIN_WORK.temperature
    reference = Reference(make_model(model, DEFAULT_IMPLEMENTATION), drawable, temperature)
    plain = PlainReference(make_model(model, APPEAL_IMPLEMENTATION), drawable, temperature)
    checkpoint = SimpleNamespace(get_appeal=lambda temperature: plain)
    heard = Heard(AffordableAppeal(checkpoint, temperature, AppealBudget()))
    context = SimpleNamespace(
        parameters=SimpleNamespace(tests=SMALL_MODEL_TESTS, work=MAIN_WORK),
        challenge_seed=bytes(32),
        audit_seed=bytes(32),
    )
    calibration = Calibration(SMALL_MODEL_TESTS.rate_limits, 1)
    projection = Projection(np.ones((HIDDEN, 4), np.float32), np.zeros(HIDDEN, np.float32), 1.0)
    random = np.random.default_rng(0)

    def judge(narrow):
        forward = Replaced(reference, narrow)
        prompt = [2] * 16
        trial = Trial(
            bytes(32), context, calibration, projection, lambda index: prompt, forward, heard
        )
        fault, _ = trial.process([make_file(random, len(drawable))], Ledger())
        return fault and fault.reason.value

    judge(narrow=False)  # compiles
    limit_memory()
    junk = [judge(narrow=True) for _ in range(JUNK)]
    honest = [judge(narrow=False) for _ in range(HONEST)]
    found = {"junk": junk, "honest": honest, "heard": heard.count}
    print(json.dumps(found | {"unheard_for_memory": heard.lacks}))


if __name__ == "__main__":
    main()
