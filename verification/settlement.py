"""From verdicts to weights, in integers: equal verdicts give equal weights, bit for bit.

Specification, section 9.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from assay.protocol.parameters import MILLION, Parameters, Work
from assay.protocol.reason import CHEATING, WITHHELD, Reason
from assay.verification.verdict import Refused, Verdict

#: Largest weight that the chain stores.
WEIGHT_MAX = 65_535
#: Groups of every submission that are not paid. Without this price, whoever has many hotkeys would
#: commit the first few problems of each, where these pay well for their cost.
UNPAID_GROUPS = Fraction(1, 2)
_VALUE_UNIT = 10**18
#: Windows of a settlement that may be withheld before the whole settlement is lost.
_WITHHELD_ALLOWED = 1


@dataclass(frozen=True, slots=True, order=True)
class Seat:
    """A place in the subnet. It outlives a swap of its hotkey, and ends when the uid is re-used."""

    uid: int
    registered_at: int


@dataclass(frozen=True, slots=True)
class Result:
    """One seat's window, as the settlement counts it."""

    window: int
    seat: Seat
    reason: Reason
    score: int


def compute_value(
    work: Work,
    *,
    lengths: Sequence[int],
    prompt_tokens: int,
    mean_reward: int,
    mean_correctness: int,
    replies: Sequence[int] = (),
) -> int:
    """Value of a group.

    Args:
        lengths: own tokens of each of its rollouts.
        prompt_tokens: counted once, and paid at the parameters' share.
        mean_reward: m, millionths, rounded down.
        mean_correctness: c, the same of correctness alone. A group teaches if some of its rollouts
            are right and some are wrong, whatever else is paid for.
        replies: reply tokens of each rollout, paid as the prompt's are; empty: none has any.
    """
    factor = (
        work.value_base
        + work.value_mean * mean_reward
        + work.value_teach * mean_correctness * (MILLION - mean_correctness)
    )
    read = prompt_tokens + sum(map(work.count_paid_replies, lengths, replies))
    done = sum(map(work.weigh_completion, lengths)) + read * work.prompt_share
    return done * factor // (MILLION * _VALUE_UNIT)


def compute_score(verdict: Verdict) -> int:
    """The score of an accepted submission, else 0."""
    if isinstance(verdict, Refused):
        return 0
    return scale_values(verdict.committed_groups, [group.value for group in verdict.groups])


def scale_values(groups: int, values: Sequence[int]) -> int:
    """⌊(n - 1/2) · Σ value / k⌋: the score of n groups by the values of k, at least one."""
    return floor((groups - UNPAID_GROUPS) * sum(values) / len(values))


def compute_settlement(results: Iterable[Result]) -> dict[Seat, int]:
    """Scores of a settlement's windows, summed by seat; zero for a seat that was shown to cheat.

    One withheld window is worth nothing by itself. Two zero the settlement.
    """
    scores: dict[Seat, int] = {}
    withheld: dict[Seat, int] = {}
    zeroed: set[Seat] = set()
    for result in results:
        scores[result.seat] = scores.get(result.seat, 0) + result.score
        if result.reason in CHEATING:
            zeroed.add(result.seat)
        elif result.reason in WITHHELD:
            withheld[result.seat] = withheld.get(result.seat, 0) + 1
            if withheld[result.seat] > _WITHHELD_ALLOWED:
                zeroed.add(result.seat)
    return {seat: 0 if seat in zeroed else scores[seat] for seat in sorted(scores)}


def settle_weights(
    scores: Mapping[int, int] | None, parameters: Parameters, idle: int
) -> tuple[int, dict[int, int]]:
    """How many settlements in a row nobody earned in, up to this one, and its weights.

    Where nobody earned, the chain keeps the weights that it has for a while: it would count a
    settlement that gives the owner's uid everything as burnt.

    Args:
        scores: uid → score of the settlement; None: no window counts.
        parameters: those of the last window that counts, or any if none does.
        idle: the same count of the settlement before; 0 for the first.

    Returns:
        The count, and weights as `compute_weights` gives them. Empty: none are set.
    """
    if scores is None:
        return idle, {}
    idle = 0 if any(scores.values()) else idle + 1
    if 0 < idle <= parameters.work.idle_settlements:
        return idle, {}
    identity = parameters.identity
    return idle, compute_weights(scores, identity.owner_uid, identity.burn_share)


def compute_weights(scores: Mapping[int, int], owner_uid: int, burn_share: int) -> dict[int, int]:
    """Weights as the chain stores them: uid → u16, the largest 65,535, zeros left out.

    Args:
        scores: uid → score of the settlement.
        burn_share: share of everything that goes to the owner's uid, millionths.
    """
    shares = {uid: score * (MILLION - burn_share) for uid, score in scores.items()}
    shares[owner_uid] = shares.get(owner_uid, 0) + sum(scores.values()) * burn_share
    largest = max(shares.values())
    if largest == 0:
        return {owner_uid: WEIGHT_MAX}
    weights = {
        uid: (2 * WEIGHT_MAX * share + largest) // (2 * largest) for uid, share in shares.items()
    }
    return {uid: weight for uid, weight in sorted(weights.items()) if weight}
