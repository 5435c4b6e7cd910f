"""The cost of drafts that are sometimes wrong, as whole completions or in stretches that the
reference follows: tokens drafted, and tokens read by the reference, for each token submitted.

The model is a small Qwen2 of random weights, whose draws are as uncertain as possible: no trained
model has as many near ties. The drafter is simulated. It knows the right completions, and gives
another id with a fixed chance per token, at the same places each time, like an engine in another
precision. `--fast` draws fewer and shorter ones.
"""

import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch
from figures import FAST, Figure, report
from transformers import Qwen2Config
from work import make_random_model, make_random_projection

from assay.inference.draft import OwnDrafter, Request, Rules
from assay.inference.generate import DraftCount, GroupRequest, follow_groups, generate_groups
from assay.inference.implementations import make_model
from assay.inference.reference import Reference
from assay.inference.time_limit import TimeLimit
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.submission import Rollout
from assay.verification import Projection

VOCABULARY, HIDDEN, TEMPERATURE = 512, 64, 1_024
#: Groups, rollouts of each, tokens of a prompt.
GROUPS, ROLLOUTS, PROMPT = 2, 16, 64
LENGTHS = (128, 256) if FAST else (512, 2_048)
WRONG = 0.016
THREADS = 1


class Flawed:
    """A simulated drafter that is wrong at a fixed rate."""

    def __init__(self, right: dict[bytes, tuple[int, ...]]) -> None:
        self.right = right
        self._flips = {
            seed: np.random.default_rng(list(seed)).random(len(row)) < WRONG
            for seed, row in right.items()
        }

    def draft(
        self, requests: Sequence[Request], ahead: int | None = None, limit: TimeLimit | None = None
    ) -> list[tuple[int, ...]]:
        return [self._continue(request, ahead) for request in requests]

    def _continue(self, request: Request, ahead: int | None) -> tuple[int, ...]:
        right, start = self.right[request.seed], len(request.tokens)
        end = len(right) if ahead is None else min(len(right), start + ahead)
        drafted = list(request.tokens)
        is_lost = False
        for place in range(start, end):
            is_lost = is_lost or bool(self._flips[request.seed][place])
            drafted.append((right[place] + is_lost) % VOCABULARY)
        return tuple(drafted)


def make_config(**changes: int) -> Qwen2Config:
    """The model's configuration, or one that differs from it."""
    given = {
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 16_384,
        "tie_word_embeddings": False,
    }
    return Qwen2Config(**given | changes)


def main() -> None:
    torch.set_num_threads(THREADS)
    model = make_random_model(make_config())
    drawable = np.ones(VOCABULARY, bool)
    reference = Reference(make_model(model, "fp32-sdpa"), drawable, TEMPERATURE)
    projection = make_random_projection(HIDDEN)
    figures = []
    for length in LENGTHS:
        rules = Rules(TEMPERATURE, (), length)
        requests = make_requests()
        own = OwnDrafter(model, drawable, rules)
        true = follow_groups(requests, own, reference, rules, projection)
        given = Flawed(collect_ids(requests, true)), reference, rules, projection
        followed, exact = run(follow_groups, *given), run(follow_groups, *given, exact=True)
        whole = run(generate_groups, *given) if length == LENGTHS[0] else None
        figures += list_figures(length, followed, exact, whole)
        print(f"  {length} tokens done", file=sys.stderr)
    report(
        f"drafts of which {WRONG:.1%} of tokens are wrong, {GROUPS * ROLLOUTS} rollouts",
        figures,
        THREADS,
    )


def run(
    make: Callable[..., list],
    drafter: Flawed,
    reference: Reference,
    rules: Rules,
    projection: Projection,
    **options: bool,
) -> DraftCount:
    """The cost of drafting one way. Checks that the ids are right."""
    count = DraftCount()
    requests = make_requests()
    made = make(requests, drafter, reference, rules, projection, count, **options)
    assert collect_ids(requests, made) == drafter.right
    return count


def collect_ids(
    requests: Sequence[GroupRequest], groups: Sequence[Sequence[Rollout]]
) -> dict[bytes, tuple[int, ...]]:
    """The own ids of each rollout, by its seed."""
    return {
        seed: tuple(rollout.tokens.tolist())
        for request, group in zip(requests, groups, strict=True)
        for seed, rollout in zip(request.seeds, group, strict=True)
    }


def make_requests() -> list[GroupRequest]:
    random = np.random.default_rng(0)
    return [
        GroupRequest(
            tuple(random.integers(0, VOCABULARY, PROMPT).tolist()),
            tuple(hash_fields(Domain.ROLLOUT, bytes([g, r])) for r in range(ROLLOUTS)),
        )
        for g in range(GROUPS)
    ]


def list_figures(
    length: int, followed: DraftCount, exact: DraftCount, whole: DraftCount | None
) -> list[Figure]:
    """Figures of one length, compared with whole drafts if these were tried."""

    def share(tokens: int, count: DraftCount) -> float:
        return tokens / count.submitted

    name = "" if whole is None else "whole drafts"
    # ten percent more for completions four times as long
    room = 1.0 if length == LENGTHS[0] else 1.1
    return [
        Figure(
            f"{length} tokens: drafted for each token submitted",
            share(followed.drafted, followed),
            "tokens",
            name,
            None if whole is None else share(whole.drafted, whole),
            bound=1.35 * room,
        ),
        Figure(
            f"{length} tokens: read by the reference for each token submitted",
            share(followed.read, followed),
            "tokens",
            name,
            None if whole is None else share(whole.read, whole),
            bound=1.4 * room,
        ),
        Figure(
            f"{length} tokens: read for near ties", share(followed.settling, followed), "tokens"
        ),
        Figure(
            f"{length} tokens: read with `exact`",
            share(exact.read, exact),
            "tokens",
            bound=2.4 * room,
        ),
    ]


if __name__ == "__main__":
    main()
