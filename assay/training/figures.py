"""Figures of a step by which a course can be watched: of its groups, and of the tokens learned.

All come from what the step has anyway: its groups, the log-probabilities of the loss's passes, and
their logits. Nothing here changes a result.

It does not know who drew the groups, nor what their problems ask.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from assay.protocol.parameters import MILLION
from assay.training.sharding import add_up, get_team

#: Bins of a log-ratio, for each nat, and their reach on both sides of 0. The middle one is around
#: 0: what has not moved has a ratio of exactly 1, and any other quantile is right to 0.1 %.
_BINS, _REACH = 512, 8


@dataclass(frozen=True, slots=True)
class TokenFigures:
    """Figures of the learned tokens, over all passes of a step. None: no token was learned.

    Attributes:
        entropy: mean of the policy's at these tokens, in nats; with a large vocabulary at some of
            them (`policy.ENTROPY_LOGITS`).
        ratio_p01, ratio_p50, ratio_p99, ratio_max: of the new to the behaviour's probability of a
            token, before any bound; quantiles are right to 0.1 % between e^-8 and e^8.
    """

    entropy: float | None = None
    ratio_p01: float | None = None
    ratio_p50: float | None = None
    ratio_p99: float | None = None
    ratio_max: float | None = None


class TokenCounter:
    """Counts the learned tokens of a step. In a team each process counts its own."""

    def __init__(self) -> None:
        self._bins = torch.zeros(2 * _BINS * _REACH + 1, dtype=torch.float64)
        self._entropy, self._looks = 0.0, 0
        self._highest = float("-inf")  # a log-ratio

    def add(self, differences: Tensor, entropy: Tensor) -> None:
        """Take the learned tokens of a pass.

        Args:
            differences: fp32 [N], log-probabilities less the behaviour's.
            entropy: fp32, nats, at some of these tokens.
        """
        logs = differences.cpu().nan_to_num().double()
        middle = _BINS * _REACH
        places = (logs * _BINS).round().clamp(-middle, middle).long() + middle
        self._bins += torch.bincount(places, minlength=len(self._bins))
        self._entropy += float(entropy.double().sum())
        self._looks += len(entropy)
        self._highest = max(self._highest, float(logs.max()))

    def finish(self) -> TokenFigures:
        """The figures of all that was added, in a team by all its processes."""
        rank, team = get_team()
        highest = [0.0] * team
        highest[rank] = self._highest
        entropy, looks, *sums = add_up([self._entropy, self._looks, *highest, *self._bins.tolist()])
        highest, bins = sums[:team], torch.tensor(sums[team:], dtype=torch.float64)
        count = float(bins.sum())
        if not count:
            return TokenFigures()
        shares = bins.cumsum(0) / count
        low, middle, high = (
            _to_ratio(float(torch.searchsorted(shares, q)) / _BINS - _REACH)
            for q in (0.01, 0.5, 0.99)
        )
        return TokenFigures(entropy / looks, low, middle, high, _to_ratio(max(highest)))


class RolloutCounter:
    """Counts the learned tokens of a step, and those of groups of earlier windows alone."""

    def __init__(self) -> None:
        self._all, self._earlier = TokenCounter(), TokenCounter()

    def add(
        self, differences: Tensor, mask: Tensor, entropy: Tensor, is_earlier: Sequence[bool]
    ) -> None:
        """Take a pass.

        Args:
            differences: fp32 [rows, tokens], see `TokenCounter.add`.
            mask: bool [rows, tokens], true at learned tokens.
            is_earlier: of each row, whether it is of an earlier window.
        """
        self._all.add(differences[mask], entropy)
        chosen = [i for i, earlier in enumerate(is_earlier) if earlier]
        if chosen:
            self._earlier.add(differences[chosen][mask[chosen]], entropy)

    def finish(self) -> dict[str, Any]:
        """The figures by the names of `LearnStats`."""
        earlier = self._earlier.finish()
        return asdict(self._all.finish()) | {
            "earlier_ratio_p50": earlier.ratio_p50,
            "earlier_ratio_p99": earlier.ratio_p99,
            "earlier_ratio_max": earlier.ratio_max,
        }


def _to_ratio(log: float) -> float:
    # beyond this a double has no exponent, and JSON no number
    return float(torch.tensor(min(log, 700.0), dtype=torch.float64).exp())


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """Figures of the groups of a window. Shares are of 1, lengths are own tokens of completions.

    Attributes:
        groups: their number.
        reward: mean of all completions', in whole rewards.
        teaching: share of groups whose rewards differ.
        all_right, all_wrong: shares of groups in which every completion earned everything, or
            nothing.
        length_mean, length_p10, length_p50, length_p90, length_max: of completions.
        at_limit: share of completions that used all tokens they may.
        distinct: mean number of distinct completions in a group.
        size: mean number of completions in a group.
        same: share of groups, among those not all right, in which all completions are the same.
        commonest: share of all completions that are the most frequent one, whatever was asked.
        entropy: estimate of the policy's at these tokens, in nats: the mean of their negative
            log-probabilities under the checkpoint that drew them. None: files of older programs do
            not have it.
    """

    groups: int
    reward: float
    teaching: float
    all_right: float
    all_wrong: float
    length_mean: float
    length_p10: int
    length_p50: int
    length_p90: int
    length_max: int
    at_limit: float
    distinct: float
    size: float
    same: float
    commonest: float
    entropy: float | None = None


class Answers(Protocol):
    """What the figures need of a group: own tokens of its completions, a log-probability for each
    token, and rewards in millionths, one a completion."""

    @property
    def completions(self) -> Sequence[Sequence[int]]: ...

    @property
    def rewards(self) -> Sequence[int]: ...
    @property
    def behaviour_logprobs(self) -> Sequence[Sequence[float]]: ...


def compute_group_figures(groups: Sequence[Answers], max_tokens: int) -> GroupFigures:
    """Figures of a window's groups.

    Args:
        max_tokens: the most own tokens that a completion may have.

    Raises:
        ValueError: there are no groups.
    """
    if not groups:
        raise ValueError("there are no groups to have figures of")
    count = len(groups)
    texts = [[tuple(tokens) for tokens in group.completions] for group in groups]
    lengths = sorted(len(text) for group in texts for text in group)
    rewards = [reward for group in groups for reward in group.rewards]
    right = [min(group.rewards) >= MILLION for group in groups]
    distinct = [len(set(group)) for group in texts]
    unsolved = [kinds == 1 for kinds, solved in zip(distinct, right, strict=True) if not solved]
    drawn = sum(sum(logs) for group in groups for logs in group.behaviour_logprobs)
    most = max(Counter(text for group in texts for text in group).values())
    return GroupFigures(
        groups=count,
        reward=sum(rewards) / len(rewards) / MILLION,
        teaching=sum(min(group.rewards) < max(group.rewards) for group in groups) / count,
        all_right=sum(right) / count,
        all_wrong=sum(not any(group.rewards) for group in groups) / count,
        length_mean=sum(lengths) / len(lengths),
        length_p10=_get_quantile(lengths, 10),
        length_p50=_get_quantile(lengths, 50),
        length_p90=_get_quantile(lengths, 90),
        length_max=lengths[-1],
        at_limit=sum(length >= max_tokens for length in lengths) / len(lengths),
        distinct=sum(distinct) / count,
        size=len(lengths) / count,
        same=sum(unsolved) / len(unsolved) if unsolved else 0.0,
        commonest=most / len(lengths),
        entropy=abs(drawn) / sum(lengths),
    )


def _get_quantile(ordered: Sequence[int], percent: int) -> int:
    """The smallest value that at least this many percent do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
