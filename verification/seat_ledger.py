"""The ledger: evidence over all audited rollouts of a seat in one settlement.

A rollout's own test forgets the rollouts before it. Without a ledger, many small steerings, each
below its threshold, would add up unseen. A single martingale over all rollouts would become
insensitive instead: honest work loses its stakes, and later cheating would first have to win them
back. The ledger is the mixture Σ_j E^(j) / (j(j+1)) over restarts before rollout j = 1, 2, …, and
so detects a cheat that starts late. It starts at 1 with each settlement. By Ville's inequality
honest work reaches 1/α at any time with probability at most α, given the calibration's rates.

Source: Shin, Ramdas and Rinaldo, "E-detectors" (2024), for mixtures over restarts. Specification,
section 5.
"""

from dataclasses import dataclass
from math import log
from typing import Annotated

import numpy as np

from assay.protocol.encoding import U64, Float, Many
from assay.protocol.parameters import Tests
from assay.verification.bounds import LEDGER_CAPITAL
from assay.verification.sampling import Floats, mix_log_bets


@dataclass(frozen=True, slots=True)
class Ledger:
    """State of one seat's ledger within a settlement. A new settlement starts from `Ledger()`.

    For each bet b the ledger keeps the sum over restarts, S_b(n) = F_b(n) · (S_b(n − 1) +
    1/(n(n+1))), where F_b(n) is the factor of rollout n. Its size does not grow with n.
    """

    rollouts: U64 = 0  # n, number of rollouts entered
    #: ln S_b(n) of each bet; empty before the first rollout
    log_sums: Annotated[tuple[float, ...], Many(Float(), 1 << 10)] = ()

    def add(self, log_bets: Floats) -> "Ledger":
        """The ledger after one more rollout.

        Args:
            log_bets: ln F_b of its sampling test, float64 [bets]. For a rollout that was rejected
                and cleared on appeal, those of the second prefill.
        """
        if len(self.log_sums) not in (0, len(log_bets)):  # from parameters with other tests
            return Ledger().add(log_bets)
        n = self.rollouts + 1
        earlier = self.log_sums or (-np.inf,) * len(log_bets)
        sums = log_bets + np.logaddexp(earlier, -log(n) - log(n + 1))
        return Ledger(n, tuple(sums.tolist()))

    def compute_log_capital(self, tests: Tests) -> float:
        """ln of the mixture, including restarts that are still to come. Each of these has capital
        1."""
        if not self.rollouts:
            return 0.0
        started = mix_log_bets(np.array(self.log_sums), tests)
        return float(np.logaddexp(started, -log(self.rollouts + 1)))

    def is_crossed(self, tests: Tests) -> bool:
        """Return whether the evidence suffices: the capital has reached 1/α."""
        capital = self.compute_log_capital(tests)
        return bool(LEDGER_CAPITAL.is_exceeded(capital, LEDGER_CAPITAL.compute(tests)))
