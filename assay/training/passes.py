"""Passes: rows in, packs through the policy, log-probabilities out.

    for read in passes.read(rows, with_reference=False):
        …  # read.logprobs, of the rows of one pack

In a team each process reads its share of the packs. All take part in every pass, even without a
pack left: such a one reads a pack again, whose tokens `Pass.mask` leaves out.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from assay.inference.reading import Pack, make_even_packs, make_packs
from assay.inference.routing import record_logits
from assay.training.lesson import LessonError, Row
from assay.training.policy import Policy
from assay.training.sharding import add_up, get_team

R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True)
class Pass(Generic[R]):
    """The rows of one pack, as the policy reads them; T is the longest one's number of tokens.

    Attributes:
        counts: False for a pass that must not contribute.
        logprobs: fp32 [rows, T], natural logarithms of own tokens, with zeros behind each row.
        mask: bool [rows, T], true at own tokens that count.
        entropy: of the policy, see `Policy`.
        routed: logits of a mixture's routers, one tensor a layer; empty without experts.
        reference: fp32 [rows, T], the same under the reference; None: it was not asked.
    """

    rows: Sequence[R]
    counts: bool
    logprobs: Tensor
    mask: Tensor
    entropy: Tensor
    routed: Sequence[Tensor]
    reference: Tensor | None

    @property
    def weights(self) -> Tensor:
        """fp32 [rows]: the rows' weights."""
        return torch.tensor([row.weight for row in self.rows]).to(self.logprobs)


class Passes:
    """A policy, and the reference that a divergence is measured from.

    Args:
        reference: None: there is none.
        device: where the policy computes.
        tokens_per_pass: see `LearnConfig`.
    """

    def __init__(
        self, policy: Policy, reference: Policy | None, device: torch.device, tokens_per_pass: int
    ) -> None:
        self.policy = policy
        self.reference = reference
        self._device = device
        self._tokens_per_pass = tokens_per_pass

    def read(self, rows: Sequence[R], *, with_reference: bool) -> Iterator[Pass[R]]:
        """This process's passes over rows, one after the other, with gradients if they are on."""
        for pack, counts in self._iterate_packs(rows):
            chosen = [rows[i] for i in pack.indices]
            yield self._read_pack(pack, chosen, counts, with_reference)

    @torch.no_grad()
    def compute_logprobs(self, rows: Sequence[Row]) -> list[Tensor]:
        """The natural logarithms of each row's own tokens, fp32 [tokens] on the CPU, in packs of
        the rows in their order. In a team, row i is read by process i modulo their number, whoever
        learns from it later, and all processes get all rows."""
        rank, team = get_team()
        hands = [range(start, len(rows), team) for start in range(team)]
        dealt = [[*self._pack([rows[i] for i in hand])] for hand in hands]
        starts = [0, *accumulate(len(row.completion) for row in rows)]
        flat = torch.zeros(starts[-1], dtype=torch.float64)
        mine, hand = (dealt[rank], hands[rank]) if dealt[rank] else (dealt[0], hands[0])
        for number in range(max(map(len, dealt))):  # all take part in every pass
            pack = mine[min(number, len(mine) - 1)]
            parts = self._compute(self.policy, pack, [rows[hand[i]] for i in pack.indices])
            if number < len(dealt[rank]):
                for i, part in zip(pack.indices, parts, strict=True):
                    flat[starts[hand[i]] : starts[hand[i] + 1]] = part
        if team > 1:  # one summand of each is not 0, so that the sum is exact
            flat = torch.tensor(add_up(flat.tolist()), dtype=torch.float64)
        return [flat[begin:end].float() for begin, end in pairwise(starts)]

    def _pack(self, rows: Sequence[Row]) -> Iterator[Pack]:
        return make_packs(
            [row.prompt for row in rows],
            [row.completion for row in rows],
            self._tokens_per_pass,
            replies=[row.replies for row in rows],
        )

    @torch.no_grad()
    def sum_logprobs(self, rows: Sequence[Row]) -> list[float]:
        """The natural logarithm of each row's probability: the sum over its own tokens. Raises
        LessonError: one is not a number."""
        sums = [0.0] * len(rows)
        for pack, counts in self._iterate_packs(rows):
            chosen = [rows[i] for i in pack.indices]
            parts = self._compute(self.policy, pack, chosen)
            for number, part in zip(pack.indices, parts, strict=True):
                sums[number] = part.double().sum().item() * counts
        sums = add_up(sums)
        if not all(map(math.isfinite, sums)):
            raise LessonError(
                "the logarithm of an answer's probability is not a number: it has tokens that can "
                'never be drawn, or precision = "float32" is needed'
            )
        return sums

    def _iterate_packs(self, rows: Sequence[Row]) -> Iterator[tuple[Pack, bool]]:
        """This process's packs of rows, and whether each counts."""
        rank, team = get_team()
        packs = make_even_packs(
            [row.prompt for row in rows],
            [row.completion for row in rows],
            self._tokens_per_pass,
            team,
            [row.replies for row in rows],
        )
        for start in range(0, len(packs), team):
            # gradients are averaged over the team, and losses are sums
            mine = start + rank
            yield packs[min(mine, len(packs) - 1)], mine < len(packs)

    def _read_pack(
        self, pack: Pack, rows: Sequence[R], counts: bool, with_reference: bool
    ) -> Pass[R]:
        reference = None
        if self.reference is not None and with_reference:
            with torch.no_grad():
                reference = _pad(self._compute(self.reference, pack, rows))
        with record_logits(self.policy) as routed:
            logprobs = _pad(self._compute(self.policy, pack, rows))
        lengths = torch.tensor([len(row.completion) * counts for row in rows])
        mask = (torch.arange(logprobs.shape[1]) < lengths[:, None]).to(logprobs.device)
        return Pass(rows, counts, logprobs, mask, self.policy.entropy, routed, reference)

    def _compute(self, policy: Policy, pack: Pack, rows: Sequence[Row]) -> Sequence[Tensor]:
        """fp32 [tokens] of each row of a pack."""
        flat = [token for row in rows for token in row.completion]
        tokens = torch.tensor(flat, device=self._device)
        found: Tensor = policy(pack, tokens)
        return found.split([len(row.completion) for row in rows])


def _pad(parts: Sequence[Tensor]) -> Tensor:
    return pad_sequence(list(parts), batch_first=True)
