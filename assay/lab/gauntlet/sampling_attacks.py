"""Strategies that draw their tokens with another rule, another noise or another model."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from assay.inference.draft import Request
from assay.inference.draws.sampler import KeyedSampler
from assay.inference.generate import GroupRequest
from assay.lab.gauntlet.strategy import Strategy, Tokens, Verified
from assay.neurons.miner.miner import Group, WindowWork
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.submission import Rollout

#: A logit that is never drawn, within the fixed-point range.
_NEVER = -1e4


class Honest(Verified):
    """Drafts in bf16, verified with the reference."""

    title, precision = "bf16 draft, verified", "bf16"
    plays = True


class DraftInt8(Verified):
    """Drafts with int8 weights, verified."""

    title = "int8 draft, verified"
    engine = precision = "int8"
    plays = True


class DraftSmaller(Verified):
    """Drafts whole completions with a smaller model, verified."""

    title = "smaller model's draft, verified"
    role = engine = "smaller"
    groups_max = 2


class Speculative(Verified):
    """Keyed speculative decoding: the smaller model draws a few tokens ahead, and the reference
    keeps those that are its own and adds one. Both draw with the same noise, so they agree
    often."""

    title = "speculative decoding"
    role = engine = "smaller"
    groups_max = 2
    ahead: ClassVar[int] = 6

    def generate(self, work: WindowWork, indices: range) -> list[Group]:
        """Generate with a cached reference: each drafted token is prefilled once."""
        return [self._speculate(work, self.make_request(work, index)) for index in indices]

    def _speculate(self, work: WindowWork, request: GroupRequest) -> Group:
        parameters = work.challenge.parameters
        rules = work.checkpoint.get_rules(parameters.work.temperature)
        reference = work.checkpoint.get_reference(parameters.work.temperature)
        drafter = self.make_drafter(work)
        rows = [Request(request.prompt, seed) for seed in request.seeds]
        self.bill.add("prefill", len(request.prompt))
        while True:
            open_rows = [i for i, r in enumerate(rows) if not rules.is_finished(r.tokens)]
            if open_rows:
                reach = min(len(rows[i].tokens) for i in open_rows) + self.ahead
                drafter.rules = replace(rules, max_tokens=min(reach, rules.max_tokens))
                due = [i for i in open_rows if len(rows[i].tokens) < drafter.rules.max_tokens]
                drafts = drafter.draft([rows[i] for i in due])
                drawn = sum(len(d) - len(rows[i].tokens) for i, d in zip(due, drafts, strict=True))
                self.bill.add(self.engine, drawn)
                self.bill.add("prefill", drawn)
                for i, tokens in zip(due, drafts, strict=True):
                    rows[i] = replace(rows[i], tokens=tokens)
            measured = reference.measure(
                [request.prompt] * len(rows),
                [np.array(row.tokens, np.uint32) for row in rows],
                request.seeds,
                work.projection,
            )
            corrected = False
            for i, (row, m) in enumerate(zip(rows, measured, strict=True)):
                wrong = m.best != np.array(row.tokens)
                if wrong.any():
                    t = int(wrong.argmax())
                    rows[i] = replace(row, tokens=(*row.tokens[:t], int(m.best[t])))
                    corrected = True
            if not open_rows and not corrected:
                return [
                    Rollout(np.array(row.tokens, np.uint32), m.logprobs, m.sketch)
                    for row, m in zip(rows, measured, strict=True)
                ]


class Bf16Unverified(Strategy):
    """Drafts in bf16 without the correction."""

    title, precision = "bf16 without verification", "bf16"


class Int8Weights(Strategy):
    """Drafts with int8 weights, never corrected."""

    title = "int8 weights"
    engine = precision = "int8"


class CheapModelMiner(Strategy):
    """Generates with an int4 copy and prefills the true model once.

    Its sketches and log-probabilities are genuine; its tokens are another model's.
    """

    title = "int4 weights"
    engine = precision = "int4"
    luck = 0.64  # of the shipped model, whose completions are short


class SmallerModel(Strategy):
    """A smaller model trained on the same data."""

    title = "smaller model"
    role = engine = "smaller"


class SiblingCheckpoint(Strategy):
    """Same architecture and data, another training seed."""

    title, role = "sibling checkpoint", "sibling"


class ForeignModel(Strategy):
    """A model of other data over the same vocabulary."""

    title, role = "foreign model", "foreign"


class StaleCheckpoint(Strategy):
    """The checkpoint one optimiser step before the one in force, weights as stored."""

    title, role = "one optimiser step stale", "stale"


class OtherTemperature(Strategy):
    """The right noise at another temperature, 1024 · T = `quantum`."""

    quantum: ClassVar[int]

    def make_sampler(self, work: WindowWork) -> KeyedSampler:
        return KeyedSampler(work.checkpoint.tokenizer.drawable, self.quantum)


class Temperature98(OtherTemperature):
    title, quantum = "temperature .98", 1_004


class Temperature90(OtherTemperature):
    title, quantum = "temperature .9", 922


class Temperature70(OtherTemperature):
    title, quantum = "temperature .7", 717


class _GreedySampler(KeyedSampler):
    def draw(self, logits: Tensor, keys: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        allowed = logits.masked_fill(~self.drawable, _NEVER)
        return allowed.argmax(dim=1), allowed.amax(dim=1).long()


class Greedy(Strategy):
    """The likeliest token every time."""

    title = "greedy"

    def make_sampler(self, work: WindowWork) -> KeyedSampler:
        temperature = work.challenge.parameters.work.temperature
        return _GreedySampler(work.checkpoint.tokenizer.drawable, temperature)


class _CandidateSampler(KeyedSampler):
    """The keyed draw among the likeliest ids only: the `count` best, or a mass of `share`."""

    def __init__(self, work: WindowWork, count: int | None, share: float | None) -> None:
        temperature = work.challenge.parameters.work.temperature
        super().__init__(work.checkpoint.tokenizer.drawable, temperature)
        self._count, self._share = count, share

    def draw(self, logits: Tensor, keys: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        allowed = logits.masked_fill(~self.drawable, _NEVER)
        if self._count is not None:
            least = allowed.topk(self._count, dim=1).values[:, -1:]
        else:
            ranked = allowed.sort(dim=1, descending=True).values
            mass = ranked.softmax(dim=1).cumsum(dim=1)
            last = (mass < (self._share or 1.0)).sum(dim=1, keepdim=True)
            least = ranked.gather(1, last.clamp_max(ranked.shape[1] - 1))
        return super().draw(allowed.masked_fill(allowed < least, _NEVER), keys, positions)


class Candidates(Strategy):
    """The right noise over a candidate set."""

    best: ClassVar[int | None] = None
    mass: ClassVar[float | None] = None

    def make_sampler(self, work: WindowWork) -> KeyedSampler:
        return _CandidateSampler(work, self.best, self.mass)


class TopK(Candidates):
    title, best = "top-k 5", 5


class TopP95(Candidates):
    title, mass = "top-p .95", 0.95


class TopP99(Candidates):
    title, mass = "top-p .99", 0.99


def make_other_seed(seed: bytes, number: int) -> bytes:
    """A seed that a miner names itself."""
    return hash_fields(Domain.ROLLOUT, seed, number.to_bytes(4, "big"))


class OtherSeed(Strategy):
    """The true model with noise of the miner's own choice."""

    title = "other seed"

    def list_rows(self, work: WindowWork, index: int, request: GroupRequest) -> list[Request]:
        return [Request(request.prompt, make_other_seed(seed, 1)) for seed in request.seeds]


class BestOfSeedsMiner(Strategy):
    """Samples each rollout under several seeds, including the right one, and keeps the best
    rewarded; among equals the one that it likes best."""

    title = "best of 3"
    luck = 0.41  # of the shipped model: many rewards are equal
    tries: ClassVar[int] = 3

    def write(
        self, work: WindowWork, indices: range, requests: Sequence[GroupRequest]
    ) -> list[list[Tokens]]:
        rows = [
            Request(r.prompt, seed if i == 0 else make_other_seed(seed, i))
            for r in requests
            for seed in r.seeds
            for i in range(self.tries)
        ]
        rest = iter(self.draft(work, rows))
        return [
            [
                max(
                    (next(rest) for _ in range(self.tries)),
                    key=lambda tokens: (self.rate(work, index, tokens), tokens),
                )
                for _ in request.seeds
            ]
            for index, request in zip(indices, requests, strict=True)
        ]


class RejectAndResample(Strategy):
    """Keeps the honest rollout if it earns something, else draws once more with another seed."""

    title = "reject and resample"

    def write(
        self, work: WindowWork, indices: range, requests: Sequence[GroupRequest]
    ) -> list[list[Tokens]]:
        drafts = super().write(work, indices, requests)
        places = [
            (g, r)
            for g, (index, rows) in enumerate(zip(indices, drafts, strict=True))
            for r, tokens in enumerate(rows)
            if self.rate(work, index, tokens) < 1_000_000
        ]
        again = [
            Request(requests[g].prompt, make_other_seed(requests[g].seeds[r], 1)) for g, r in places
        ]
        for (g, r), tokens in zip(places, self.draft(work, again), strict=True):
            if self.rate(work, indices[g], tokens) >= self.rate(work, indices[g], drafts[g][r]):
                drafts[g][r] = tokens
        return drafts


def make_stale(
    model: PreTrainedModel, passages: Sequence[tuple[Tokens, Tokens]]
) -> PreTrainedModel:
    """The model one AdamW step of 1e-5 away, rounded to bf16 as checkpoints are stored.

    Args:
        passages: prompts and completions that the step learns from.
    """
    other = deepcopy(model).requires_grad_(True)
    optimizer = torch.optim.AdamW(other.parameters(), lr=1e-5, weight_decay=0.0)
    loss = torch.zeros(())
    for prompt, completion in passages:
        logits = other(input_ids=torch.tensor([prompt + completion]), use_cache=False).logits[0]
        drawn = logits[len(prompt) - 1 : -1].log_softmax(dim=1)
        loss = loss - drawn.gather(1, torch.tensor(completion)[:, None]).mean()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        for weight in other.parameters():
            weight.copy_(weight.to(torch.bfloat16).float())
    return other.eval().requires_grad_(False)
