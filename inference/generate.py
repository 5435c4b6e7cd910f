"""Draft and verify: whatever drafts, what comes out is the reference's own sample.

A draft is prefilled in the reference, kept up to the first token that is not the reference's keyed
argmax, corrected there, and drafted on until nothing is left to correct. The last prefill has the
same shape as the validator's. Specification, section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.inference.draft import Drafter, Request, Rules
from assay.protocol.submission import Rollout
from assay.verification import Forward, Measurement, Projection


@dataclass(slots=True)
class DraftCount:
    """What drafting cost."""

    drafted: int = 0  # tokens the drafter drew
    discarded: int = 0  # of these, cut away from the first that was not the reference's on
    submitted: int = 0  # tokens of the finished groups


@dataclass(frozen=True, slots=True)
class GroupRequest:
    """One problem: its prompt's token ids and the seed of each rollout."""

    prompt: tuple[int, ...]
    seeds: tuple[bytes, ...]


def generate_groups(
    requests: Sequence[GroupRequest],
    drafter: Drafter,
    reference: Forward,
    rules: Rules,
    projection: Projection,
    count: DraftCount | None = None,
) -> list[list[Rollout]]:
    """The one valid group of each request, with log-probabilities and sketches.

    Args:
        count: added to, where a caller wants to know what drafting cost.
    """
    count = count if count is not None else DraftCount()
    groups: list[list[Rollout]] = [[] for _ in requests]
    pending = {
        g: [Request(group.prompt, seed) for seed in group.seeds] for g, group in enumerate(requests)
    }
    while pending:
        unfinished = {
            (g, r): request
            for g, rows in pending.items()
            for r, request in enumerate(rows)
            if not rules.is_finished(request.tokens)
        }
        drafts = drafter.draft(list(unfinished.values()))
        for ((g, r), request), tokens in zip(unfinished.items(), drafts, strict=True):
            count.drafted += len(tokens) - len(request.tokens)
            pending[g][r] = Request(request.prompt, request.seed, tokens)
        for g in list(pending):
            measured = reference.measure(
                [requests[g].prompt] * len(pending[g]),
                [np.array(request.tokens, np.uint32) for request in pending[g]],
                requests[g].seeds,
                projection,
            )
            if cut := _correct(pending[g], measured):
                count.discarded += cut
                continue
            groups[g] = [
                Rollout(np.array(request.tokens, np.uint32), m.logprobs, m.sketch)
                for request, m in zip(pending.pop(g), measured, strict=True)
            ]
    count.submitted += sum(len(rollout.tokens) for group in groups for rollout in group)
    return groups


def _correct(rows: list[Request], measured: Sequence[Measurement]) -> int:
    """Cuts each row at its first wrong token and puts the right one there; how many tokens went.
    A tie that the reference decides by id is corrected like any other."""
    cut = 0
    for i, (request, measurement) in enumerate(zip(rows, measured, strict=True)):
        wrong = measurement.best != np.array(request.tokens)
        if wrong.any():
            t = int(wrong.argmax())
            tokens = (*request.tokens[:t], int(measurement.best[t]))
            rows[i] = Request(request.prompt, request.seed, tokens)
            cut += len(request.tokens) - t
    return cut
