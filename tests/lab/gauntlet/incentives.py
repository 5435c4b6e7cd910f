"""Whether cheating pays: expected income over one settlement, in closed form.

Probabilities are exact sums over how many windows are caught; the income of each case comes from
`compute_settlement`. What this does not know: being caught by the trainer, losing the stake, or
evidence that the ledger carries from window to window. All of them only lower a cheat's income.
Specification, section 9.
"""

from dataclasses import dataclass
from itertools import pairwise, product
from math import comb

import numpy as np

from assay.lab.gauntlet.measuring import SETTLEMENT_WINDOWS as WINDOWS
from assay.protocol.parameters import Work
from assay.protocol.reason import Reason
from assay.verification.settlement import UNPAID_GROUPS, Result, Seat, compute_settlement

_WINDOW_SCORE = 1_000
_SEAT = Seat(0, 0)


def compute_expected_income(
    cheating: int, detection: float, *, withholds: bool = False, kept: float = 0.0
) -> float:
    """Expected settlement, with 1 for an honest one.

    Args:
        cheating: windows of the settlement that are faked, 0 to those of a settlement.
        detection: probability that a faked window's audit hits a fake.
        withholds: whether a cheat that the audit has hit shows nothing rather than the fake.
        kept: share of the settlement that a caught cheat keeps; 0 by the rules, more to show the
            effect of the rule.
    """
    reason = Reason.NOT_REVEALED if withholds else Reason.SAMPLING_MISMATCH
    expected = 0.0
    for caught in range(cheating + 1):
        results = [
            Result(w, _SEAT, reason, 0)
            if w < caught
            else Result(w, _SEAT, Reason.ACCEPTED, _WINDOW_SCORE)
            for w in range(WINDOWS)
        ]
        chance = comb(cheating, caught) * detection**caught * (1 - detection) ** (cheating - caught)
        settled = compute_settlement(results)[_SEAT]
        expected += chance * (settled or kept * (WINDOWS - caught) * _WINDOW_SCORE)
    return expected / (WINDOWS * _WINDOW_SCORE)


def compute_expected_gain(
    cheating: int, cost: float, detection: float, price: float = 0.0, *, withholds: bool = False
) -> float:
    """Income a unit of cost, less that of the honest, which is 1 - price.

    Args:
        cost: of a faked window, a genuine one costing 1.
        price: of registration a settlement, in honest settlements' cost.
    """
    spent = (WINDOWS - cheating + cheating * cost) / WINDOWS
    income = compute_expected_income(cheating, detection, withholds=withholds)
    return (income - price) / spent - (1 - price)


def compute_adaptive_gain(cost: float, detection: float, price: float = 0.0) -> float:
    """Income a unit of cost, relative to honest work, less 1, of the best cheat that adapts.

    It sees each audit before the next window: it may be honest, cheat or rest in any window, shows
    nothing the first time a fake is hit, and stops spending once it is caught.

    Args:
        cost: of a faked window, a genuine one costing 1.
        detection: probability that a faked window's audit hits something faked.
        price: of registration a settlement, in honest settlements' cost.
    """

    def compute_surplus(rate: float) -> float:
        """Most expected windows paid, less `rate` for each unit of cost; by backward induction."""
        paid = np.arange(WINDOWS + 1.0)
        values = np.stack([paid, paid])  # by whether a window was withheld already
        for _ in range(WINDOWS):
            one_more = np.pad(values[:, 1:], ((0, 0), (0, 1)))
            hit = np.stack([np.maximum(values[1], 0.0), np.zeros(WINDOWS + 1)])
            fake = (1 - detection) * one_more + detection * hit - rate * cost
            values = np.maximum(np.maximum(one_more - rate, values), fake)
        return float(values[0, 0]) - rate * price * WINDOWS

    low, high = 0.0, 1e3
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if compute_surplus(middle) > 0 else (low, middle)
    return high * (1 + price) - 1


@dataclass(frozen=True, slots=True)
class Fake:
    """Junk that replaces some of a group's rollouts."""

    rollouts: int  # of the group's G
    length: float  # tokens of one, a genuine rollout having 1 on average
    lift: float = 0.0  # relative gain of the group's factor by rewards written into the rollout
    seen: float = 1.0  # chance that an audit which draws one of them recognises it

    def compute_value(self, size: int) -> float:
        """The group's value, with 1 for a genuine one."""
        tokens = size - self.rollouts + self.rollouts * self.length
        return tokens / size * (1 + self.lift)

    def compute_miss(self, size: int, looked: int, *, valued: bool) -> float:
        """Chance that nothing is seen of it where some rollouts of the group are audited.

        Args:
            size: G; looked: rollouts audited; valued: the first is drawn by its tokens.
        """
        genuine = size - self.rollouts
        if not valued:
            genuine_alone = comb(genuine, looked) / comb(size, looked)
        elif genuine:
            first = genuine / (genuine + self.rollouts * self.length)
            genuine_alone = first * comb(genuine - 1, looked - 1) / comb(size - 1, looked - 1)
        else:
            genuine_alone = 0.0
        return 1 - self.seen * (1 - genuine_alone)


def compute_window_pay(work: Work, groups: int, faked: int, fake: Fake) -> tuple[float, float]:
    """A window's mean pay, with 1 for honest work, and the chance of its refusal. Both are exact,
    by a sum over the number of faked groups that are audited.

    Args:
        groups: n of the commitment.
        faked: groups of it with that fake.
    """
    size = work.group_size
    audited = min(work.audited_rollouts, groups * size)
    looked_at = min(groups, audited)
    each, more = divmod(audited, looked_at)
    valued = min(work.valued_groups, looked_at)
    value = fake.compute_value(size)
    # blocks of groups that are looked at alike, in the order drawn
    blocks = [
        (count, each + (start < more), start < valued)
        for start, count in _cut_at(looked_at, more, valued)
    ]
    pay = missed = 0.0
    for hits in product(*(range(count + 1) for count, _, _ in blocks)):
        chance, rest, left = 1.0, faked, groups
        miss, paid = 1.0, 0.0
        for hit, (count, looked, is_valued) in zip(hits, blocks, strict=True):
            if hit > rest or count - hit > left - rest:
                chance = 0.0
                break
            chance *= comb(rest, hit) * comb(left - rest, count - hit) / comb(left, count)
            rest, left = rest - hit, left - count
            miss *= fake.compute_miss(size, looked, valued=is_valued) ** hit
            paid += (count - hit + hit * value) if is_valued else 0.0
        missed += chance * miss
        pay += chance * miss * paid / valued
    return pay, 1.0 - missed


def _cut_at(count: int, *places: int) -> list[tuple[int, int]]:
    """0 … count − 1 cut at these places: start and size of each piece."""
    cuts = sorted({0, count, *(place for place in places if place < count)})
    return [(a, b - a) for a, b in pairwise(cuts)]


def compute_window_gain(work: Work, groups: int, faked: int, fake: Fake) -> float:
    """The gain of a window's pay by fakes, over that of as many honest groups as the same compute
    makes. Half a group of either is not paid."""
    pay, _ = compute_window_pay(work, groups, faked, fake)
    unpaid = float(UNPAID_GROUPS) / groups
    honest = 1 - faked / groups * fake.rollouts / work.group_size
    return (1 - unpaid) * pay - max(0.0, honest - unpaid)


def compute_largest_lift(work: Work, rollouts: int) -> float:
    """The largest relative gain of a group's factor if that many of its rollouts are rewarded at
    will, over all that the others can be.

    Rewards that pay for parts can be whole, almost, for a wrong answer, and length can take all of
    a right one's.
    """
    size, million = work.group_size, 1_000_000

    def get_factor(rewarded: float, right: float) -> float:
        mean, correct = rewarded * million, right * million
        value = work.value_base + work.value_mean * mean
        return value + work.value_teach * correct * (million - correct)

    best = 0.0
    for others in range(size - rollouts + 1):
        honest = get_factor(0, others / (size - rollouts)) if rollouts < size else work.value_base
        for right in range(rollouts + 1):
            made = get_factor(rollouts / size, (others + right) / size)
            best = max(best, made / honest - 1)
    return best
