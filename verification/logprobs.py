"""The log-probability test: positions drawn after the commitment, compared with the reference.

Specification, section 6.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from assay.protocol.parameters import Tests
from assay.verification.bounds import LOGPROB_MAX, LOGPROB_RMS


@dataclass(frozen=True, slots=True)
class LogprobResult:
    """Statistics of one rollout's log-probabilities."""

    rms: float  # root mean square difference over the drawn positions, 2^-16 nats; for people
    token: int | None  # position of the largest difference where a bound is exceeded, else None


def compute_differences(
    claimed: NDArray[np.uint32], measured: NDArray[np.uint32], positions: Sequence[int]
) -> NDArray[np.int64]:
    """|δ| of two uint32 [T] at each position, int64 [positions], 2^-16 nats."""
    chosen = np.array(positions, np.int64)
    differences: NDArray[np.int64] = claimed.astype(np.int64)[chosen] - measured[chosen]
    return np.abs(differences)


def judge_logprobs(
    claimed: NDArray[np.uint32],
    measured: NDArray[np.uint32],
    positions: Sequence[int],
    tests: Tests,
) -> LogprobResult:
    """Compare two uint32 [T], 2^-16 nats, at `positions`. All comparisons are in integers."""
    difference = compute_differences(claimed, measured, positions)
    squares = int((difference**2).sum())
    fails = LOGPROB_MAX.is_exceeded(
        int(difference.max()), tests.logprob_max_bound
    ) or LOGPROB_RMS.is_exceeded(squares, tests.logprob_rms_bound**2 * len(difference))
    worst = positions[int(difference.argmax())]
    return LogprobResult(rms=sqrt(squares / len(difference)), token=worst if fails else None)
