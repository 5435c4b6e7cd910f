"""Everything that a miner can do instead of honest work: one class for each strategy, named after
the attack.

Each is a whole miner that follows the rules in everything else, so that only the attack can be
refused. `Strategy` has three hooks: the model that drafts, the rule, and the columns. Most
strategies change one. The legal ones are here too: with any drafter, the reference's correction
gives the honest sample.

The module does not know real prices. `PRICES` errs in the attacker's favour.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from assay.environments.dealing import make_miner_problem
from assay.environments.rewards import compute_reward
from assay.inference.draft import OwnDrafter, Request
from assay.inference.draws.sampler import KeyedSampler
from assay.inference.generate import DraftCount, GroupRequest, generate_groups
from assay.neurons.miner.miner import Group, Miner, WindowWork
from assay.protocol.episode import Reply
from assay.protocol.submission import Rollout

Tokens = tuple[int, ...]

#: Cost of one token, where decoding it with the true model in fp32 costs 1. Decoding is bound by
#: the bytes of the weights read, so a cheap copy is priced by its bytes alone, without its
#: overhead. A prefilled token is priced at a third of what bench/verify.py allows against batched
#: decoding: work that only attackers can leave out is expensive, and work that all must do is not
#: free.
PRICES: Mapping[str, float] = {
    "fp32": 1.0,
    "bf16": 0.5,
    "int8": 0.25,
    "int4": 0.125,
    "smaller": 0.1,
    "prefill": 0.1,
}


@dataclass(slots=True)
class TokenBill:
    """A miner's spending, in units of `PRICES`."""

    units: float = 0.0

    def add(self, engine: str, tokens: int) -> None:
        """Add tokens that an engine has decoded, or that were prefilled."""
        self.units += PRICES[engine] * tokens


def _have_none(index: int) -> Group:
    raise ValueError("this strategy needs groups of another's, or of an earlier window")


@dataclass(frozen=True, slots=True)
class AttackInputs:
    """The inputs that some attacks need besides their own seat."""

    #: role ("smaller", "sibling", "foreign", "stale") → model over the same vocabulary
    models: Mapping[str, PreTrainedModel] = field(default_factory=dict)
    #: the honest groups of this window by index; drafting them again would give the same
    genuine: Callable[[int], Group] | None = None
    #: another hotkey's honest groups of this window, by index
    victim: Callable[[int], Group] = _have_none
    #: this hotkey's honest groups of an earlier window, by index
    previous: Callable[[int], Group] = _have_none


class Strategy(Miner):
    """A miner that may deviate from the honest one."""

    title: ClassVar[str]  # the row's name in the gauntlet's table
    legal: ClassVar[bool] = False  # whether the rules allow it; a legal one must never be refused
    role: ClassVar[str | None] = None  # the model of `AttackInputs` that it needs
    #: of the copy that drafts, by `COPIES`; None: the model as it is
    precision: ClassVar[str | None] = None
    needs_end: ClassVar[bool] = False  # makes sense only where completions end by themselves
    needs_turns: ClassVar[bool] = False  # makes sense only where rollouts have several turns
    plays: ClassVar[bool] = False  # works where rollouts have several turns, too
    groups_max: ClassVar[int | None] = None  # most groups measured, if one is expensive
    luck: ClassVar[float] = 0.0  # probability that a rollout equals the honest one all the same
    #: whether it shows nothing, or nonsense, in a window whose audit has hit something faked
    hides: ClassVar[str | None] = None
    engine: ClassVar[str] = "bf16"

    inputs = AttackInputs()

    @cached_property
    def bill(self) -> TokenBill:
        """The miner's spending so far."""
        return TokenBill()

    def generate(self, work: WindowWork, indices: range) -> list[Group]:
        """Generate drafts without correction, with genuine columns unless `forge` changes them."""
        requests = [self.make_request(work, index) for index in indices]
        drafts = self.write(work, indices, requests)
        groups = []
        for index, request, rows in zip(indices, requests, drafts, strict=True):
            self.bill.add("prefill", len(request.prompt) + sum(map(len, rows)))
            groups.append(self.forge(index, prefill(work, request, rows)))
        return groups

    def write(
        self, work: WindowWork, indices: range, requests: Sequence[GroupRequest]
    ) -> list[list[Tokens]]:
        """Write the completions of each group: its `list_rows`, drafted to their ends."""
        rest = iter(
            self.draft(
                work,
                [
                    row
                    for index, request in zip(indices, requests, strict=True)
                    for row in self.list_rows(work, index, request)
                ],
            )
        )
        return [[next(rest) for _ in request.seeds] for request in requests]

    def list_rows(self, work: WindowWork, index: int, request: GroupRequest) -> list[Request]:
        """The rows to draft for a group, one for each rollout."""
        return [Request(request.prompt, seed) for seed in request.seeds]

    def act(self, head: int) -> None:
        """Act at a block beside a miner's steps. Most strategies do nothing."""

    def compute_miss_chance(self, audited: int) -> float:
        """The probability that an audit of this many rollouts, each of another group, finds
        nothing."""
        return self.luck**audited

    def forge(self, index: int, group: Group) -> Group:
        """The group that is submitted instead of one with genuine columns."""
        return group

    def make_sampler(self, work: WindowWork) -> KeyedSampler | None:
        """The rule that replaces the keyed draw, or None for the keyed draw."""
        return None

    def draft(self, work: WindowWork, rows: Sequence[Request]) -> list[Tokens]:
        """Continue rows with this strategy's model and rule."""
        drafter = self.make_drafter(work)
        drafts = drafter.draft(rows)
        drawn = sum(len(d) - len(r.tokens) for d, r in zip(drafts, rows, strict=True))
        self.bill.add(self.engine, drawn)
        return drafts

    def make_drafter(self, work: WindowWork) -> OwnDrafter:
        """A drafter with this strategy's model and rule."""
        temperature = work.challenge.parameters.work.temperature
        model = work.checkpoint.model if self.role is None else self.inputs.models[self.role]
        if self.precision is not None:
            model = COPIES[self.precision](model)
        drafter = work.checkpoint.get_drafter(temperature, model=model)
        sampler = self.make_sampler(work)
        if sampler is not None:
            drafter.sampler = sampler
        return drafter

    def rate(self, work: WindowWork, index: int, tokens: Sequence[int]) -> int:
        """The reward that a completion would earn, millionths."""
        parameters = work.challenge.parameters
        environment = work.checkpoint.open_environment(parameters.environment)
        levels = work.checkpoint.manifest.levels
        problem = make_miner_problem(environment, work.challenge.seed, self.hotkey, index, levels)
        text = work.checkpoint.tokenizer.decode(tokens)
        parts = environment.score(problem, text)
        longest = parameters.work.max_tokens
        return compute_reward(parts, len(tokens), parameters.rewards, longest)

    def find_genuine(self, work: WindowWork, indices: range) -> list[Group]:
        """Honest groups, known beforehand or made."""
        if self.inputs.genuine is not None:
            return [self.inputs.genuine(index) for index in indices]
        return Miner.generate(self, work, indices)

    def bill_genuine(self, work: WindowWork, indices: range) -> list[Group]:
        """Honest groups, charged as drafted in bf16. Their prefill is charged with the rest."""
        return self.bill_tokens(self.find_genuine(work, indices), "bf16")

    def bill_tokens(self, groups: list[Group], *engines: str) -> list[Group]:
        """Charge every token of these groups for each engine, and return the groups."""
        tokens = sum(len(rollout.tokens) for group in groups for rollout in group)
        for engine in engines:
            self.bill.add(engine, tokens)
        return groups


class Verified(Strategy):
    """Any drafter, corrected by the reference: the honest miner and everything that is legal."""

    legal = True

    def generate(self, work: WindowWork, indices: range) -> list[Group]:
        """Draft and verify. The reference reads each drafted token once, and a prompt once for each
        group."""
        temperature = work.challenge.parameters.work.temperature
        count = DraftCount()
        requests = [self.make_request(work, index) for index in indices]
        groups = generate_groups(
            requests,
            self.make_drafter(work),
            work.checkpoint.get_reference(temperature),
            work.checkpoint.get_rules(temperature),
            work.projection,
            count,
        )
        self.bill.add(self.engine, count.drafted)
        self.bill.add("prefill", count.drafted + sum(len(r.prompt) for r in requests))
        for request, group in zip(requests, groups, strict=True):
            replies = list_replies(request, [rollout.tokens for rollout in group]) or []
            self.bill.add("prefill", sum(len(reply.ids) for said in replies for reply in said))
        return groups


def prefill(work: WindowWork, request: GroupRequest, tokens: Sequence[Sequence[int]]) -> Group:
    """Genuine log-probabilities and sketches for tokens from anywhere."""
    reference = work.checkpoint.get_reference(work.challenge.parameters.work.temperature)
    completions = [np.array(row, np.uint32) for row in tokens]
    prompts = [request.prompt] * len(completions)
    measured = reference.measure(
        prompts, completions, request.seeds, work.projection, list_replies(request, completions)
    )
    return [
        Rollout(completion, m.logprobs, m.sketch)
        for completion, m in zip(completions, measured, strict=True)
    ]


def list_replies(
    request: GroupRequest, completions: Sequence[NDArray[np.uint32]]
) -> list[tuple[Reply, ...]] | None:
    """What the world of a group says between the turns of each completion, as far as it replies;
    None: rollouts have one turn."""
    play = request.play
    return None if play is None else [play.replay(own.tolist()).replies for own in completions]


def quantise(model: PreTrainedModel, bits: int, group: int | None) -> PreTrainedModel:
    """A copy whose matrices contain only values of symmetric integers.

    Args:
        group: weights that share one scale, None for a row.
    """
    cheap = deepcopy(model)
    largest = (1 << (bits - 1)) - 1
    with torch.no_grad():
        for weight in cheap.parameters():
            if weight.dim() < 2 or weight.shape[-1] % (group or 1):
                continue
            *rows, width = weight.shape  # a mixture's experts are stacked
            blocks: Tensor = weight.view(*rows, -1, group or width)
            scale = blocks.abs().amax(dim=-1, keepdim=True) / largest
            blocks.copy_((blocks / scale.clamp_min(1e-12)).round() * scale)
    return cheap


def make_int8(model: PreTrainedModel) -> PreTrainedModel:
    """A copy in symmetric int8, with one scale for each row."""
    return quantise(model, 8, None)


def make_int4(model: PreTrainedModel) -> PreTrainedModel:
    """A copy in symmetric int4, in groups of 32."""
    return quantise(model, 4, 32)


#: Precision → a cheap copy of a model. In bf16, activations are bf16, too.
COPIES: Mapping[str, Callable[[PreTrainedModel], PreTrainedModel]] = {
    "bf16": lambda model: deepcopy(model).to(torch.bfloat16),  # type: ignore[arg-type]
    "int8": make_int8,
    "int4": make_int4,
}
