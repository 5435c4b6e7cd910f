"""The most that steering among near ties can gain: an optimal miner against cap and ledger.

The miner knows every rule. Where two tokens are tied within the cap it may take either; looking
ahead costs it nothing, and it steers only where that pays. It cannot know which groups will be
audited before it has committed, but sees each audit, and stops before the ledger of a settlement
holds more than it bears.

Measured on a model: the frequency of ties, the gain of a steered rollout, and its evidence in the
ledger. Computed: the number of audited ones that a settlement bears, and the best rate of steering.
Not modelled: ties near a rollout's end leave less evidence than the mean; the bound takes the least
evidence seen for all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from assay.inference.draft import Request
from assay.lab.gauntlet.attack_setup import GROUPS_A_WINDOW, AttackSetup
from assay.lab.gauntlet.content_attacks import get_tokens
from assay.lab.gauntlet.measuring import SETTLEMENT_WINDOWS as WINDOWS
from assay.lab.gauntlet.tie_attacks import SteeredTies, Tie, find_ties, get_cap
from assay.protocol.parameters import MILLION, Work
from assay.verification import Ledger, compute_value
from assay.verification.sampling import Floats, judge_sampling

#: Ties within this many logits are counted; the density of margins is flat near zero.
WIDTH = 0.05


@dataclass(frozen=True, slots=True)
class Steering:
    """The effect of steering on one model.

    Attributes:
        rollouts, tokens: measured.
        ties_per_token: within the cap, from the density of those within `WIDTH`.
        gain_per_tie: gain of a group's value if one rollout is steered at a tie and the better
            continuation is kept; mean over ties, including those where the honest one is better.
        gain_error: its standard error.
        single_caught: share of single steered tokens that a rollout's own test refuses.
        bearable: steered rollouts that a settlement's ledger bears at least evidence each.
        ties_per_settlement: within the cap, over all groups that a miner submits.
        audited_share: of a miner's rollouts.
        best_share: of its ties that an optimal miner steers.
        advantage: income over the honest one's, relative, at that share.
        advantage_bound: the same if both continuations of every tie were independent, at the mean
            reward where that is worth most.
    """

    rollouts: int
    tokens: int
    ties_per_token: float
    gain_per_tie: float
    gain_error: float
    single_caught: float
    bearable: int
    ties_per_settlement: float
    audited_share: float
    best_share: float
    advantage: float
    advantage_bound: float


def measure_steering(setup: AttackSetup) -> Steering:
    """Measures a model and finds the optimal miner's advantage."""
    work, parameters = setup.work, setup.parameters
    miner = setup.make_miner(SteeredTies, setup.groups)
    genuine = setup.get_honest("attacker", 1)
    gains: list[float] = []
    evidence: list[Floats | None] = []
    ties_found = tokens = rollouts = 0
    for index, group in enumerate(genuine):
        request = miner.make_request(work, index)
        rows = get_tokens(group)
        tokens += sum(map(len, rows))
        rollouts += len(rows)
        ties = find_ties(work, request, rows, WIDTH)
        ties_found += sum(map(len, ties))
        gains += _find_gains(setup, miner, index, rows, ties)
        evidence += _find_evidence(setup, miner, index, rows, ties)
    bets = [bet for bet in evidence if bet is not None]
    honest = _find_honest_bets(setup, miner)
    work_rules = parameters.work
    audited = work_rules.audited_rollouts / (GROUPS_A_WINDOW * work_rules.group_size)
    bearable = count_bearable(setup, bets, honest, work_rules.audited_rollouts * WINDOWS)
    rate = ties_found / tokens * get_cap(work) / WIDTH
    total = rate * tokens / rollouts * work_rules.group_size * GROUPS_A_WINDOW * WINDOWS
    gain = float(np.mean(gains)) if gains else 0.0
    share, advantage = find_best_share(total, gain, audited, bearable, WINDOWS * GROUPS_A_WINDOW)
    return Steering(
        rollouts=rollouts,
        tokens=tokens,
        ties_per_token=rate,
        gain_per_tie=gain,
        gain_error=float(np.std(gains) / math.sqrt(max(1, len(gains)))),
        single_caught=1 - len(bets) / max(1, len(evidence)),
        bearable=bearable,
        ties_per_settlement=total,
        audited_share=audited,
        best_share=share,
        advantage=advantage,
        advantage_bound=find_best_share(
            total, bound_gain(work_rules), audited, bearable, WINDOWS * GROUPS_A_WINDOW
        )[1],
    )


def bound_gain(work: Work) -> float:
    """Most of a group's value that the better of two independent continuations adds: a rollout is
    right with chance m, so the other helps with m(1 − m), and the mean moves by 1/G."""
    best = 0.0
    for mean in range(0, MILLION, 1_000):
        m = mean / MILLION
        before = _value_token(work, mean)
        after = _value_token(work, min(MILLION, mean + MILLION // work.group_size))
        best = max(best, m * (1 - m) * (after / before - 1))
    return best


@cache
def _value_token(work: Work, mean_reward: int) -> int:
    """Pay for a thousand first tokens: a token is paid and costs, so pay for each counts."""
    return compute_value(
        work,
        lengths=[1] * 1_000,
        prompt_tokens=0,
        mean_reward=mean_reward,
        mean_correctness=mean_reward,
    )


def find_best_share(
    ties: float, gain: float, audited: float, bearable: int, groups: int
) -> tuple[float, float]:
    """The share of its ties that a miner steers at best, and its income over the honest one's.

    It sees each audit and stops once the ledger holds all it bears: until then a mean of
    `bearable` / `audited` ties are steered, and not one settlement is lost. What one window adds
    before its audit is seen is left out, in the miner's favour.

    Args:
        ties: within the cap, of a settlement; gain: of one group's value, each.
        groups: of a settlement.
    """
    steered = min(ties, bearable / audited)
    return (steered / ties if ties else 0.0), steered * gain / groups


def count_bearable(
    setup: AttackSetup, steered: Sequence[Floats], honest: Floats, rollouts: int
) -> int:
    """Steered rollouts, spread evenly over a settlement's audited ones, that its ledger bears.

    Args:
        steered: the evidence of each that its own test bears; the least of it is taken for all.
        honest: the evidence of a mean honest rollout.
    """
    if not steered:
        return 0
    tests = setup.parameters.tests
    least = min(steered, key=lambda bets: Ledger().add(bets).compute_log_capital(tests))
    for count in range(1, rollouts):
        every = rollouts // count
        ledger = Ledger()
        for number in range(rollouts):
            ledger = ledger.add(least if number % every == every - 1 else honest)
            if ledger.is_crossed(tests):
                return count - 1
    return rollouts


def _find_gains(
    setup: AttackSetup,
    miner: SteeredTies,
    index: int,
    rows: Sequence[tuple[int, ...]],
    ties: Sequence[Sequence[Tie]],
) -> list[float]:
    """Relative gain of the group's value for each rollout with a tie: the better of both ends."""
    request = miner.make_request(setup.work, index)
    forked = [r for r, found in enumerate(ties) if found]
    forks = []
    for r in forked:
        tie = ties[r][0]
        tokens = (*rows[r][: tie.position], tie.runner_up)
        forks.append(Request(request.prompt, request.seeds[r], tokens))
    ends = miner.finish(setup.work, forks)
    rewards = [miner.rate(setup.work, index, row) for row in rows]

    def value(marks: Sequence[int]) -> int:
        return _value_token(setup.parameters.work, sum(marks) // len(marks))

    gains = []
    for r, end in zip(forked, ends, strict=True):
        others = [*rewards[:r], miner.rate(setup.work, index, end), *rewards[r + 1 :]]
        gains.append(max(0.0, value(others) / value(rewards) - 1))
    return gains


def _find_evidence(
    setup: AttackSetup,
    miner: SteeredTies,
    index: int,
    rows: Sequence[tuple[int, ...]],
    ties: Sequence[Sequence[Tie]],
) -> list[Floats | None]:
    """The evidence that a steered token at each tie would leave in the ledger if its margin were a
    twentieth of the cap: beyond all honest noise, and the least that steering leaves. None if the
    rollout's own test refuses it."""
    request = miner.make_request(setup.work, index)
    arrays = [np.array(row, np.uint32) for row in rows]
    measured = setup.measure_tokens(request, arrays)
    left: list[Floats | None] = []
    for r, found in enumerate(ties):
        if not found:
            continue
        margins = measured[r].margins.copy()
        cap = setup.parameters.tests.margin_cap
        margins[found[0].position] = max(1, cap // 20)
        result = judge_sampling(
            margins,
            measured[r].gini,
            setup.checkpoint.calibration,
            setup.parameters.tests,
            setup.parameters.work.temperature,
        )
        left.append(None if result.token is not None else result.log_bets)
    return left


def _find_honest_bets(setup: AttackSetup, miner: SteeredTies) -> Floats:
    """The evidence of a mean honest rollout."""
    bets = []
    for index, group in enumerate(setup.get_honest("attacker", 1)):
        request = miner.make_request(setup.work, index)
        measured = setup.measure_tokens(request, [rollout.tokens for rollout in group])
        bets += [
            judge_sampling(
                m.margins,
                m.gini,
                setup.checkpoint.calibration,
                setup.parameters.tests,
                setup.parameters.work.temperature,
            ).log_bets
            for m in measured
        ]
    mean: Floats = np.mean(bets, axis=0)
    return mean
