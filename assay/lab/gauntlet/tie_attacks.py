"""Steering: takes the other token of a near tie, to get a better completion.

This is the best that a miner can do within the tolerance. It looks ahead, so it steers only where
that pays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from assay.inference.draft import Request
from assay.inference.draws.sampler import KeyedSampler, make_keys
from assay.inference.generate import GroupRequest
from assay.inference.passages import Passage
from assay.lab.gauntlet.content_attacks import get_tokens
from assay.lab.gauntlet.strategy import Strategy, Tokens
from assay.neurons.miner.miner import WindowWork
from assay.protocol.parameters import FRACTION_BITS


@dataclass(frozen=True, slots=True)
class Tie:
    """A position with a close second-best token: its place, that token, the margin in logits."""

    position: int
    runner_up: int
    margin: float


def get_cap(work: WindowWork) -> float:
    """The network's cap on a margin, logits."""
    return work.challenge.parameters.tests.margin_cap / (1 << FRACTION_BITS)


def find_ties(
    work: WindowWork, request: GroupRequest, rows: Sequence[Tokens], width: float
) -> list[list[Tie]]:
    """The ties of each honest completion of a group, closest first."""
    temperature = work.challenge.parameters.work.temperature
    reference = work.checkpoint.get_reference(temperature)
    drawable = work.checkpoint.tokenizer.drawable
    sampler = KeyedSampler(drawable, temperature)
    ids = torch.from_numpy(drawable.nonzero()[0])
    states = reference.compute_states([Passage(request.prompt, row) for row in rows])
    keys = make_keys(request.seeds)
    ties_of_rows = []
    for r, state in enumerate(states):
        logits = reference.compute_logits(state)
        count = len(state)
        scores = sampler.score(
            logits, keys[r].expand(count, 4), torch.arange(count), ids.expand(count, -1)
        )
        best = scores.topk(2, dim=1)
        margins = (best.values[:, 0] - best.values[:, 1]).double() / (1 << FRACTION_BITS)
        close = (margins <= width).nonzero()[:, 0].tolist()
        ties = [Tie(t, int(ids[best.indices[t, 1]]), float(margins[t])) for t in close]
        ties_of_rows.append(sorted(ties, key=lambda tie: tie.margin))
    return ties_of_rows


class SteeredTies(Strategy):
    """Forks at the closest tie of each rollout, finishes both completions, and keeps the better
    rewarded."""

    title = "steering ties below .05"
    width: ClassVar[float] = 0.05

    def write(
        self, work: WindowWork, indices: range, requests: Sequence[GroupRequest]
    ) -> list[list[Tokens]]:
        """Write the steered completion if it earns more."""
        drafts = [get_tokens(group) for group in self.bill_genuine(work, indices)]
        places, forks = [], []
        for g, request in enumerate(requests):
            for r, ties in enumerate(find_ties(work, request, drafts[g], self.width)):
                if ties:
                    tie = self.pick(work, ties)
                    tokens = (*drafts[g][r][: tie.position], tie.runner_up)
                    forks.append(Request(request.prompt, request.seeds[r], tokens))
                    places.append((g, r))
        for (g, r), tokens in zip(places, self.finish(work, forks), strict=True):
            if self.prefers(work, indices[g], tokens, drafts[g][r]):
                drafts[g][r] = tokens
        return drafts

    def pick(self, work: WindowWork, ties: Sequence[Tie]) -> Tie:
        """The closest tie."""
        return ties[0]

    def finish(self, work: WindowWork, forks: Sequence[Request]) -> list[Tokens]:
        """Draw honestly after the fork. A fork may itself be an end token."""
        ends = work.checkpoint.manifest.end_tokens
        unfinished = [fork for fork in forks if fork.tokens[-1] not in ends]
        rest = iter(self.draft(work, unfinished))
        return [fork.tokens if fork.tokens[-1] in ends else next(rest) for fork in forks]

    def prefers(self, work: WindowWork, index: int, other: Tokens, honest: Tokens) -> bool:
        """Return whether the steered completion is the better one."""
        return self.rate(work, index, other) > self.rate(work, index, honest)


class SteeredWithinCap(SteeredTies):
    """The same where no single token can be refused: only margins below the cap."""

    title = "steering ties within the cap"

    def write(
        self, work: WindowWork, indices: range, requests: Sequence[GroupRequest]
    ) -> list[list[Tokens]]:
        self.width = get_cap(work)  # type: ignore[misc]
        return super().write(work, indices, requests)


class CraftedAtTheCap(SteeredTies):
    """Takes the tie whose margin is nearest to the cap, whatever it earns, so that validators whose
    noise differs might split."""

    title = "token crafted at the cap"
    width = 1.0

    def pick(self, work: WindowWork, ties: Sequence[Tie]) -> Tie:
        return min(ties, key=lambda tie: abs(tie.margin - get_cap(work)))

    def prefers(self, work: WindowWork, index: int, other: Tokens, honest: Tokens) -> bool:
        return True
