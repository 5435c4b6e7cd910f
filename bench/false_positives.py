"""Honest work is not refused: the measurement, the simulation from it, and the bound.

Measured: 20,000 different honest rollouts, made by one implementation of the reference and judged
by another. Simulated: over ten times as many positions as the calibration saw, the law of margins
gives each position its honest flips by level. They are drawn ten thousand times, and each rollout's
test and each settlement's ledger is run on the result.

Bounded: at a few positions honest flips exceed the envelope μ, so a bet's expected wealth A(t), a
product over positions, can rise above 1 on its way. Each bet is at most sup A times a martingale
that starts at 1, so Ville's inequality holds with α multiplied by the mixture of these suprema.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from figures import Figure, report
from numpy.typing import NDArray
from work import judge_groups, load_genesis, make_any_projection, make_requests

from assay.inference.calibration import Side, compare
from assay.inference.checkpoint import Checkpoint
from assay.inference.generate import generate_groups
from assay.inference.passages import Passage
from assay.inference.reference import Reference
from assay.protocol.parameters import FRACTION_BITS, MAIN_TIMING, MAIN_WORK, SMALL_MODEL_TESTS
from assay.subnet.presets import DEMO_WORK
from assay.verification import Ledger
from assay.verification.sampling import (
    compute_honest_rates,
    compute_log_bets,
    compute_peaks,
    mix_log_bets,
)

THREADS, GROUPS, BATCH = 2, 2_500, 32
#: The miner's implementation, and the judge's.
PAIR = ("fp32-sdpa", "fp32-eager")
TESTS, TEMPERATURE = SMALL_MODEL_TESTS, DEMO_WORK.temperature
#: Positions of the simulation per position of the calibration, and the number of draws of each.
MORE, DRAWS = 10, 10_000
#: Most windows whose VERDICT_END is between two epochs on the main network.
WINDOWS = -(-(MAIN_TIMING.tempo + 1) // MAIN_TIMING.window_blocks)
SETTLEMENT = WINDOWS * MAIN_WORK.audited_rollouts
#: Tokens of the longest rollout.
LONGEST = 4_096


Floats = NDArray[np.float64]


def judge_all(checkpoint: Checkpoint) -> tuple[dict[str, int], list[Passage]]:
    """Counts over all real rollouts, and the passages of these rollouts."""
    reference, judge = (checkpoint.get_reference(TEMPERATURE, name) for name in PAIR)
    rules, projection = checkpoint.get_rules(TEMPERATURE), make_any_projection(checkpoint)
    drafter = checkpoint.get_drafter(TEMPERATURE)
    counts = dict.fromkeys(("rollouts", "tokens", "flips", "refused", "crossed"), 0)
    passages: list[Passage] = []
    ledger = Ledger()
    requests = make_requests(checkpoint, GROUPS, DEMO_WORK.group_size, b"false positives")
    for start in range(0, GROUPS, BATCH):
        batch = requests[start : start + BATCH]
        groups = generate_groups(batch, drafter, reference, rules, projection)
        for judged in judge_groups(judge, checkpoint, batch, groups):
            counts["rollouts"] += 1
            counts["tokens"] += len(judged.rollout.tokens)
            counts["flips"] += int((judged.measured.margins > 0).sum())
            counts["refused"] += judged.is_refused
            ledger = ledger.add(judged.sampling.log_bets)
            counts["crossed"] += ledger.is_crossed(TESTS)
            if ledger.rollouts == SETTLEMENT:
                ledger = Ledger()
            tokens = tuple(judged.rollout.tokens.tolist())
            passages.append(Passage(judged.request.prompt, tokens))
        print(f"  {counts['rollouts']:,} rollouts judged", end="\r", file=sys.stderr)
    return counts, passages


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """Honest noise of every position of some passages.

    Attributes:
        flips: P(margin > τ_k) by the flip law, then P(margin > cap): float64 [N, levels + 1].
        rates: μ_k, the rates that the test allows: float64 [N, levels].
        starts: first position of each passage, and the end.
    """

    flips: Floats
    rates: Floats
    starts: NDArray[np.int64]


def measure_noise(
    a: Reference, b: Reference, passages: Sequence[Passage], checkpoint: Checkpoint
) -> Noise:
    """The law of margins at every position, without sampling."""
    taus = [tau / (1 << FRACTION_BITS) for tau in (*TESTS.margin_levels, TESTS.margin_cap)]
    sides = (Side.compute(reference, passages) for reference in (a, b))
    found = compare(*sides, passages, taus, TEMPERATURE, make_any_projection(checkpoint))
    rates = compute_honest_rates(found.gini, checkpoint.calibration, TESTS, TEMPERATURE / 1024)
    return Noise(found.survival, rates, np.cumsum([0, *found.lengths]))


def simulate(noise: Noise, draws: int) -> tuple[float, float, int]:
    """The largest ln M of a rollout, the largest ln L of a settlement, and the number of
    settlements.

    Rollouts and settlements without a flip never gain, so only the others are run.
    """
    rng = np.random.default_rng(0)
    levels = np.array(TESTS.margin_levels)
    over = np.append(levels[1:], TESTS.margin_cap)  # a margin above level k and no higher one
    count = len(noise.starts) - 1
    events = rng.binomial(draws, noise.flips[:, 0])
    flipped: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for position in np.flatnonzero(events):
        rollout = int(np.searchsorted(noise.starts, position, side="right")) - 1
        for draw in rng.choice(draws, events[position], replace=False):
            ratio = noise.flips[position, : len(levels)] / noise.flips[position, 0]
            level = int((rng.random() < ratio).sum()) - 1
            flipped.setdefault((int(draw), rollout), []).append((int(position), int(over[level])))
    still = [_run(noise, rollout, [])[-1] for rollout in range(count)]
    bets: dict[tuple[int, int], Floats] = {}
    largest, ledgers = -np.inf, -np.inf
    for (draw, rollout), margins in flipped.items():
        path = _run(noise, rollout, margins)
        largest = max(largest, float(mix_log_bets(path, TESTS).max()))
        bets[draw, rollout] = path[-1]
    for draw in sorted({draw for draw, _ in bets}):
        order = np.random.default_rng(draw).permutation(count)
        mine = {rollout for d, rollout in bets if d == draw}
        for start in range(0, count - SETTLEMENT + 1, SETTLEMENT):
            seat = order[start : start + SETTLEMENT].tolist()
            if mine.isdisjoint(seat):
                continue
            ledger = Ledger()
            for rollout in seat:
                ledger = ledger.add(bets.get((draw, rollout), still[rollout]))
                ledgers = max(ledgers, ledger.compute_log_capital(TESTS))
    return largest, ledgers, draws * (count // SETTLEMENT)


def bound_ledger(ends: Floats, peaks: Floats, seats: int = 50) -> float:
    """The factor of α for the ledger: the largest over settlements drawn at random."""
    n = SETTLEMENT
    worst = 0.0
    for seat in range(seats):
        order = np.random.default_rng(seat).permutation(len(ends))[:n]
        onwards = np.zeros(ends.shape[1])
        total = 1 / (n + 1)
        for j, rollout in zip(range(n, 0, -1), order[::-1], strict=True):
            onwards = np.maximum(peaks[rollout], ends[rollout] + onwards)
            total += float(np.exp(mix_log_bets(onwards, TESTS))) / (j * (j + 1))
        worst = max(worst, total)
    return worst


def _run(noise: Noise, rollout: int, margins: Sequence[tuple[int, int]]) -> Floats:
    """ln of the bets after each token of a rollout with these flips, float64 [T, bets]."""
    start, end = noise.starts[rollout : rollout + 2]
    path = np.zeros(end - start, np.int64)
    for position, margin in margins:
        path[position - start] = margin
    passed = (path[:, None] > np.array(TESTS.margin_levels)).astype(float)
    return compute_log_bets(passed, noise.rates[start:end], TESTS)


def main() -> None:
    torch.set_num_threads(THREADS)
    checkpoint = load_genesis()
    counts, passages = judge_all(checkpoint)
    wanted = MORE * checkpoint.calibration.tokens
    few = int(np.searchsorted(np.cumsum([len(p.completion) for p in passages]), wanted)) + 1
    references = (checkpoint.get_reference(TEMPERATURE, name) for name in PAIR)
    noise = measure_noise(*references, passages[:few], checkpoint)
    rollout, ledger, settlements = simulate(noise, DRAWS)
    lengths = np.diff(noise.starts).tolist()
    ends, peaks = compute_peaks(noise.flips[:, :-1], noise.rates, lengths, TESTS)
    outside = int((noise.flips[:, :-1] > noise.rates).any(axis=1).sum())
    above_cap = float(noise.flips[:, -1].mean() * LONGEST)
    grown = float(np.exp(mix_log_bets(peaks, TESTS)).max())
    crossing = bound_ledger(ends, peaks)
    million, alpha = few * DRAWS / 1e6, 1 / TESTS.alpha_inverse
    rows: list[tuple[str, float, str, float | None]] = [
        (f"rollouts refused, of {counts['rollouts']:,}", counts["refused"], "rollouts", 0),
        (f"tokens flipped, of their {counts['tokens']:,}", counts["flips"], "tokens", None),
        ("ledgers that crossed the limit", counts["crossed"], "", 0),
        (f"positions outside the envelope, of {len(noise.flips):,}", outside, "positions", None),
        (
            f"largest ln M of {million:.0f} million simulated rollouts",
            rollout,
            "",
            float(-np.log(alpha / 2)),
        ),
        (
            f"largest ln L of {settlements:,} simulated settlements",
            ledger,
            "",
            float(-np.log(alpha)),
        ),
        (f"P(a margin in {LONGEST:,} tokens is above the cap)", above_cap, "", alpha / 2),
        ("P(an honest rollout is refused), bound", grown * alpha / 2 + above_cap, "", alpha),
        ("P(an honest ledger crosses), bound", crossing * alpha, "", 1.001 * alpha),
    ]
    figures = [Figure(name, value, unit, bound=bound) for name, value, unit, bound in rows]
    report("honest work: refused, and the bound on it", figures, THREADS)


if __name__ == "__main__":
    main()
