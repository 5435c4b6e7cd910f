"""Whether cheating pays: expected income over one settlement, in closed form.

Probabilities are exact sums over how many windows are caught; the income of each case comes from
`compute_settlement`. What this does not know: being caught by the trainer, losing the stake, or
evidence that the ledger carries from window to window. All of them only lower a cheat's income.
Specification, section 9.
"""

from math import comb

import numpy as np

from assay.gauntlet.measuring import SETTLEMENT_WINDOWS as WINDOWS
from assay.protocol.reason import Reason
from assay.verification.settlement import Result, Seat, compute_settlement

_WINDOW_SCORE = 1_000
_SEAT = Seat(0, 0)


def compute_expected_income(
    cheating: int, detection: float, *, withholds: bool = False, kept: float = 0.0
) -> float:
    """Expected settlement, an honest one being 1.

    Args:
        cheating: windows of the settlement that are faked, 0 to those of a settlement.
        detection: probability that a faked window's audit hits something faked.
        withholds: whether a cheat that the audit has hit shows nothing rather than the fake.
        kept: share of the settlement that a cheat keeps who was caught; 0 by the rules, more to
            show what the rule is good for.
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


def compute_audit_detection(fraction: float, per_group: float, groups: int, audited: int) -> float:
    """Chance that an audit hits a faked group and recognises it.

    Args:
        fraction: of a window's groups that are faked; rounded to whole groups.
        per_group: chance that a faked group which is audited is recognised.
        groups: n of the commitment; audited: k of them, at most n.
    """
    faked = round(fraction * groups)
    looked = min(groups, audited)
    missed = sum(
        comb(faked, hit)
        * comb(groups - faked, looked - hit)
        / comb(groups, looked)
        * (1 - per_group) ** hit
        for hit in range(min(faked, looked) + 1)
        if looked - hit <= groups - faked
    )
    return 1.0 - missed
