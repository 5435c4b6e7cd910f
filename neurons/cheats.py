"""Miners that cheat, for demonstrations and tests: each does one thing that must not pay.

They follow the rules in everything else, so that what is refused is the cheat itself.
"""

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from transformers import PreTrainedModel

from assay.environments import compute_reward, get_weights
from assay.inference import GroupRequest, Request
from assay.neurons.miner import Group, Miner, Work
from assay.protocol import Domain, Rollout, hash_fields
from assay.protocol.seeds import compute_problem_seed

#: Weights that share one scale.
_QUANTISED_GROUP = 32


def quantise(model: PreTrainedModel, bits: int) -> PreTrainedModel:
    """A copy whose matrices hold only what symmetric integers of `bits` in groups of 32 can."""
    cheap = deepcopy(model)
    largest = 2 ** (bits - 1) - 1
    with torch.no_grad():
        for parameter in cheap.parameters():
            if parameter.dim() == 2 and parameter.shape[1] % _QUANTISED_GROUP == 0:
                blocks = parameter.view(parameter.shape[0], -1, _QUANTISED_GROUP)
                scale = blocks.abs().amax(dim=-1, keepdim=True) / largest
                blocks.copy_((blocks / scale.clamp_min(1e-12)).round() * scale)
    return cheap


class CheapModelMiner(Miner):
    """Generates with an int4 copy and prefills the true model once.

    Its sketches and log-probabilities are genuine; its tokens are another model's.
    """

    def generate(self, work: Work, indices: range) -> list[Group]:
        """Drafts by the cheap model, never corrected."""
        cheap = quantise(work.checkpoint.model, bits=4)
        temperature = work.challenge.parameters.work.temperature
        drafter = work.checkpoint.get_drafter(temperature, model=cheap)
        requests = [self.make_request(work, index) for index in indices]
        drafts = drafter.draft([Request(g.prompt, seed) for g in requests for seed in g.seeds])
        return [
            prefill(work, group, drafts[i * len(group.seeds) : (i + 1) * len(group.seeds)])
            for i, group in enumerate(requests)
        ]


class BestOfSeedsMiner(Miner):
    """Samples each rollout under several seeds of its own and keeps the best rewarded."""

    tries = 3

    def generate(self, work: Work, indices: range) -> list[Group]:
        """True model, true prompt, chosen noise."""
        temperature = work.challenge.parameters.work.temperature
        drafter = work.checkpoint.get_drafter(temperature)
        groups = []
        for index in indices:
            request = self.make_request(work, index)
            seeds = [
                [seed]
                + [hash_fields(Domain.ROLLOUT, seed, bytes([i])) for i in range(1, self.tries)]
                for seed in request.seeds
            ]
            drafts = drafter.draft([Request(request.prompt, s) for row in seeds for s in row])
            rows = [drafts[i * self.tries : (i + 1) * self.tries] for i in range(len(seeds))]
            chosen = [
                max(row, key=lambda tokens: self._reward(work, index, tokens)) for row in rows
            ]
            groups.append(prefill(work, request, chosen))
        return groups

    def _reward(self, work: Work, index: int, tokens: Sequence[int]) -> int:
        weights = get_weights(work.challenge.parameters.environment)
        seed = compute_problem_seed(work.challenge.seed, self.hotkey, index)
        problem = self.environment.make_problem(seed, work.checkpoint.manifest.levels)
        text = work.checkpoint.tokenizer.decode(tokens)
        return compute_reward(self.environment.score(problem, text), weights)


class FakingMiner(Miner):
    """Does a quarter of its groups and hands in copies of these for the rest.

    The audit is drawn after it has committed: it can only hope.
    """

    def generate(self, work: Work, indices: range) -> list[Group]:
        """Honest for the first quarter of all groups, copies after that."""
        honest = max(1, self.config.groups // 4)
        done = super().generate(work, range(indices.start, min(indices.stop, honest)))
        known = work.groups + done
        return done + [
            known[index % honest] for index in range(max(indices.start, honest), indices.stop)
        ]


def prefill(work: Work, request: GroupRequest, tokens: Sequence[Sequence[int]]) -> Group:
    """Genuine log-probabilities and sketches for tokens from anywhere."""
    reference = work.checkpoint.get_reference(work.challenge.parameters.work.temperature)
    completions = [np.array(row, np.uint32) for row in tokens]
    measured = reference.measure(request.prompt, completions, request.seeds, work.projection)
    return [
        Rollout(completion, m.logprobs, m.sketch)
        for completion, m in zip(completions, measured, strict=True)
    ]
