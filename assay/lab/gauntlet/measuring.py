"""The gauntlet: every strategy measured by the real judge, then 200 windows of income each.

Groups are measured once and resampled: a window draws its audited groups from them, and a
settlement is `compute_settlement` over twelve windows. The standard error comes from repeating all
of it, including the choice of measured groups.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from assay.lab.gauntlet.attack_setup import GROUPS_A_WINDOW, AttackSetup, GroupRow
from assay.lab.gauntlet.content_attacks import FakingMiner
from assay.lab.gauntlet.strategy import PRICES, Strategy
from assay.lab.gauntlet.table import LEGAL, STRATEGIES
from assay.protocol.parameters import Work
from assay.protocol.reason import Reason
from assay.verification import Result, Seat, compute_settlement
from assay.verification.settlement import UNPAID_GROUPS

WINDOWS = 200
#: Windows of a settlement on the main network.
SETTLEMENT_WINDOWS = 12
#: Repetitions of the simulation behind a standard error.
_REPEATS = 40
_BOOTSTRAPS = 1_000
_MISSED = 1e-4
#: Standard errors by which an income must exceed the honest one to count as more.
_ERRORS = 3.0
_SEAT = Seat(0, 0)
STOPPING = "many hotkeys, stopping before dear problems"
#: Price of holding one more hotkey for a window, in the cost of a mean group. It is far below any
#: real price: a hotkey that stops this early earns about one group a window.
HOTKEY_PRICE = 0.05


@dataclass(frozen=True, slots=True)
class Income:
    """Settled score for each unit of compute over `WINDOWS` windows: its mean and standard
    error."""

    mean: float
    error: float
    detected: float  # share of windows that are refused


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One line of the table.

    Attributes:
        model: the family of the measurement: detection depends on the policy's entropy.
        differs: share of rollouts that differ from the honest ones; the others are honest work.
        caught_given_differs: share of these that are refused by themselves.
        detected_per_rollout: share of all rollouts that are refused by themselves.
        detected_low: its lower bound, 2.5 % of a bootstrap over groups, with one missed rollout
            added.
        tokens_to_9999: completion tokens until it is caught with 99.99 %, by `detected_low`; None
            if nothing was caught.
        income_per_compute: relative to honest work with the same engine: see `find_baseline`.
        income_error: its standard error.
        detected_per_rollout and others: None for rows that were played on chain.
        pays: whether an illegal strategy earns more than the best legal one, beyond the error.
    """

    attack: str
    model: str
    legal: bool
    groups: int
    differs: float | None = None
    caught_given_differs: float | None = None
    detected_per_rollout: float | None = None
    detected_low: float | None = None
    detected_per_group: float | None = None
    detected_per_window: float = 0.0
    tokens_to_9999: int | None = None
    income_per_compute: float
    income_error: float = 0.0
    pays: bool
    reasons: dict[str, int]

    @property
    def is_broken(self) -> bool:
        """Return whether the row shows something that must not happen."""
        return self.pays or (self.legal and set(self.reasons) != {Reason.ACCEPTED.value})


def choose(only: str | None) -> tuple[type[Strategy], ...]:
    """Strategies whose title contains `only`, all for None. The legal ones are always included, as
    the baseline of the others."""
    return tuple(
        kind
        for kind in STRATEGIES
        if kind in LEGAL or only is None or only.lower() in kind.title.lower()
    )


def run_family(
    setup: AttackSetup, kinds: Sequence[type[Strategy]], report: Callable[[str], None]
) -> list[TableRow]:
    """Rows of the strategies that a setup's family has the models for. Some of them are legal."""
    name = setup.family.name
    report(f"{name} model: mean Gini {setup.mean_gini:.2f}, {setup.groups} groups a strategy")
    measured: list[tuple[type[Strategy], list[GroupRow]]] = []
    for kind in kinds:
        if setup.is_possible(kind):
            report(f"{name}: {kind.title}")
            measured.append((kind, setup.measure(kind)))
    work = setup.parameters.work
    incomes = [compute_income(rows, kind, work) for kind, rows in measured]
    legal = [(kind, i) for (kind, _), i in zip(measured, incomes, strict=True) if kind.legal]
    rows = [
        make_row(name, kind, groups, income, find_baseline(kind, legal))
        for (kind, groups), income in zip(measured, incomes, strict=True)
    ]
    return [*rows, make_stopping_row(name, measured[0][1])]


def find_baseline(kind: type[Strategy], legal: Sequence[tuple[type[Strategy], Income]]) -> Income:
    """A strategy's baseline: the best honest work with an engine that costs no less. A legal
    strategy is its own baseline."""
    for other, income in legal:
        if other is kind:
            return income
    price = PRICES[kind.engine]
    peers = [income for other, income in legal if PRICES[other.engine] >= price]
    return max(peers or [income for _, income in legal], key=lambda income: income.mean)


def make_stopping_row(model: str, honest: Sequence[GroupRow]) -> TableRow:
    """A row for an operator of many hotkeys who knows beforehand what each group will cost, and
    honestly makes only those before the first expensive one. There is nothing to detect: the pay
    must not reward it."""
    rng = np.random.default_rng(0)
    groups = np.array([(row.tokens, row.value) for row in honest], float)
    gain = compute_stopping_gain(groups[:, 0].tolist(), groups[:, 1].tolist(), HOTKEY_PRICE)
    again = (groups[rng.integers(len(groups), size=len(groups))] for _ in range(_REPEATS))
    gains = [compute_stopping_gain(g[:, 0].tolist(), g[:, 1].tolist(), HOTKEY_PRICE) for g in again]
    error = float(np.std(gains, ddof=1))
    return TableRow(
        attack=STOPPING,
        model=model,
        legal=False,
        groups=len(honest),
        differs=0.0,
        detected_per_rollout=0.0,
        detected_low=0.0,
        detected_per_group=0.0,
        income_per_compute=1.0 + gain,
        income_error=error,
        pays=gain > _ERRORS * error,
        reasons={Reason.ACCEPTED.value: len(honest)},
    )


def compute_stopping_gain(
    costs: Sequence[float],
    values: Sequence[float],
    price: float = 0.0,
    unpaid: float = float(UNPAID_GROUPS),
) -> float:
    """The gain of many hotkeys that each stop before a problem with bad pay for its cost, relative
    to one that continues: the best over all limits.

    A hotkey's problems come in its own order, so one that stops before the first group beyond the
    limit keeps only groups within it. The attacker is assumed to know a group's cost and value
    beforehand.

    Args:
        costs, values: of measured groups, in any order.
        price: of a hotkey, in the cost of a mean group.
        unpaid: groups of each submission that are not paid.
    """
    pairs = sorted(zip(costs, values, strict=True), key=lambda pair: pair[0] / pair[1])
    spent, earned = sum(costs), sum(values)
    mean = spent / len(pairs)
    best = 0.0
    kept_cost = kept_value = 0.0
    for count, (cost, value) in enumerate(pairs, start=1):
        kept_cost, kept_value = kept_cost + cost, kept_value + value
        hotkeys = len(pairs) - count  # each of the others stops one of them
        paid = 1 - unpaid * hotkeys / len(pairs)  # hotkeys without any group lose none
        income = kept_value * paid / (kept_cost + price * mean * hotkeys) / (earned / spent)
        best = max(best, income - 1)
    return best


def compute_income(rows: Sequence[GroupRow], kind: type[Strategy], work: Work) -> Income:
    """Score for each unit of compute, over windows resampled from measured groups. Leaves out the
    further evidence of the ledger, in the attacker's favour."""
    rng = np.random.default_rng(0)
    audit = _Audit(rows, work)
    values = np.array([row.value for row in rows], np.int64)
    costs = np.array([row.cost for row in rows])
    audited = min(work.audited_rollouts, GROUPS_A_WINDOW)
    valued = min(work.valued_groups, audited)
    incomes, caught = [], 0
    for _ in range(_REPEATS):
        # a share that is faked by design does not depend on which groups were measured
        every = np.arange(len(rows))
        pool = every if issubclass(kind, FakingMiner) else rng.choice(every, len(rows))
        drawn = pool[rng.integers(len(rows), size=(WINDOWS, audited))]
        reasons = audit.find_faults(drawn, valued, rng.random(drawn.shape))
        sums = values[drawn[:, :valued]].sum(axis=1).tolist()
        results = []
        for window, (reason, value) in enumerate(zip(reasons, sums, strict=True)):
            caught += reason is not None
            if reason is not None and kind.hides is not None:
                reason = Reason(kind.hides)
            score = 0 if reason is not None else GROUPS_A_WINDOW * value // valued
            results.append(Result(window, _SEAT, reason or Reason.ACCEPTED, score))
        settled = sum(
            compute_settlement(results[start : start + SETTLEMENT_WINDOWS])[_SEAT]
            for start in range(0, WINDOWS, SETTLEMENT_WINDOWS)
        )
        spent = WINDOWS * GROUPS_A_WINDOW * float(costs[pool].mean())
        incomes.append(settled / spent)
    detected = caught / (_REPEATS * WINDOWS)
    return Income(float(np.mean(incomes)), float(np.std(incomes, ddof=1)), detected)


class _Audit:
    """Measured groups as arrays: a gauntlet audits millions of them."""

    def __init__(self, rows: Sequence[GroupRow], work: Work) -> None:
        self._reasons: list[Reason | None] = [None, *Reason]
        codes = {reason: code for code, reason in enumerate(self._reasons)}
        self._counts = np.array([len(row.rollouts) for row in rows])
        shape = len(rows), int(self._counts.max())
        self._faults = np.zeros(shape, np.intp)  # of rollouts
        self._ends = np.full(shape, np.inf)  # sums of their work, and infinity behind the last
        self._read = np.array([codes[row.fault] for row in rows])  # where all endings are read
        for i, row in enumerate(rows):
            weights = [work.weigh_completion(rollout.tokens) for rollout in row.rollouts]
            self._ends[i, : len(weights)] = list(accumulate(weights))
            self._faults[i, : len(weights)] = [codes[rollout.fault] for rollout in row.rollouts]
        self._totals = self._ends[np.arange(len(rows)), self._counts - 1]

    def find_faults(
        self, groups: NDArray[np.intp], valued: int, draws: NDArray[np.float64]
    ) -> list[Reason | None]:
        """The first fault that an audit of each window finds if it looks at one rollout of each
        group and values the first `valued` groups. In those, a rollout is drawn by its work, and
        all endings are read.

        Args:
            groups: indices [windows, audited groups].
            draws: uniform in [0, 1), one for each group.
        """
        looked = (draws * self._counts[groups]).astype(np.intp)
        first = groups[:, :valued]
        reached = (draws[:, :valued] * self._totals[first])[..., None]
        looked[:, :valued] = (self._ends[first] <= reached).sum(axis=-1)
        found = self._faults[groups, looked]
        found[:, :valued] = np.where(self._read[first], self._read[first], found[:, :valued])
        earliest = (found != 0).argmax(axis=1)
        codes = found[np.arange(len(found)), earliest]
        return [self._reasons[code] for code in codes.tolist()]


def bootstrap_rate(rows: Sequence[GroupRow]) -> float:
    """Lower bound of the share of rollouts refused by themselves: 2.5 % over resampled groups, with
    one missed rollout added."""
    rng = np.random.default_rng(0)
    caught = np.array([count_caught(row) for row in rows])
    count = np.array([len(row.rollouts) for row in rows])
    drawn = rng.integers(len(rows), size=(_BOOTSTRAPS, len(rows)))
    rates = caught[drawn].sum(axis=1) / (count[drawn].sum(axis=1) + 1)
    return float(np.quantile(rates, 0.025))


def count_caught(row: GroupRow) -> int:
    """Rollouts of a group that are refused by themselves."""
    return sum(rollout.fault is not None for rollout in row.rollouts)


def make_row(
    model: str, kind: type[Strategy], rows: Sequence[GroupRow], income: Income, best: Income
) -> TableRow:
    """The figures of one strategy."""
    rollouts = sum(len(row.rollouts) for row in rows)
    differs = sum(rollout.differs for row in rows for rollout in row.rollouts)
    caught = sum(map(count_caught, rows))
    refused = sum(bool(row.faults) for row in rows) / len(rows)
    reasons = Counter((row.faults or [Reason.ACCEPTED])[0].value for row in rows)
    low = bootstrap_rate(rows)
    length = sum(row.tokens for row in rows) / rollouts
    needed = None
    if low > 0:
        needed = max(1, math.ceil(math.log(_MISSED) / math.log1p(-min(low, 1 - 1e-9))))
    relative = income.mean / best.mean
    error = relative * math.hypot(
        income.error / income.mean if income.mean else 0.0, best.error / best.mean
    )
    return TableRow(
        attack=kind.title,
        model=model,
        legal=kind.legal,
        groups=len(rows),
        differs=differs / rollouts,
        caught_given_differs=caught / differs if differs else None,
        detected_per_rollout=caught / rollouts,
        detected_low=low,
        detected_per_group=refused,
        detected_per_window=income.detected,
        tokens_to_9999=None if needed is None else math.ceil(needed * length),
        income_per_compute=relative,
        income_error=error,
        pays=not kind.legal and relative > 1 + _ERRORS * error,
        reasons=dict(sorted(reasons.items())),
    )
