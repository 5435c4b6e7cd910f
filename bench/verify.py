"""What verifying costs against generating: one group of 16 rollouts of 128 tokens, demo model."""

from dataclasses import replace

import numpy as np
import torch
from figures import Figure, measure, report
from work import load_genesis, make_any_projection, make_requests

from assay.inference import Drafter, Request
from assay.neurons.demo_rules import DEMO_WORK
from assay.protocol.parameters import SMALL_MODEL_TESTS
from assay.verification.sampling import judge_sampling
from assay.verification.sketch import judge_sketch

ROLLOUTS, TOKENS, THREADS = 16, 128, 2


def main() -> None:
    torch.set_num_threads(THREADS)
    checkpoint = load_genesis()
    temperature = DEMO_WORK.temperature
    # no end token: every completion has its full length
    rules = replace(checkpoint.get_rules(temperature), end_tokens=(), max_tokens=TOKENS)
    drawable = checkpoint.tokenizer.drawable
    drafter = Drafter(checkpoint.model, drawable, rules)
    (group,) = make_requests(checkpoint, 1, ROLLOUTS)
    requests = [Request(group.prompt, seed) for seed in group.seeds]
    drafts = drafter.draft(requests)
    completions = [np.array(row, np.uint32) for row in drafts]
    reference = checkpoint.get_reference(temperature)
    projection = make_any_projection(checkpoint)

    def verify() -> None:
        measured = reference.measure(group.prompt, completions, group.seeds, projection)
        for m in measured:
            judge_sketch(m.sketch, m.sketch, SMALL_MODEL_TESTS)
            result = judge_sampling(
                m.margins, m.gini, checkpoint.calibration, SMALL_MODEL_TESTS, temperature
            )
            assert result.token is None

    batched = measure(lambda: drafter.draft(requests))
    one_by_one = measure(lambda: [drafter.draft([r]) for r in requests], repeats=3)
    verified = measure(verify)
    report(
        f"verify / generate, {ROLLOUTS} × {TOKENS} tokens, demo model",
        [
            Figure("verify a group, generated in one batch", verified * 1e3, "ms",
                   "generate", batched * 1e3, ratio_bound=0.35),
            Figure("verify a group, generated one by one", verified * 1e3, "ms",
                   "generate", one_by_one * 1e3, ratio_bound=0.06),
        ],
        THREADS,
    )  # fmt: skip


if __name__ == "__main__":
    main()
