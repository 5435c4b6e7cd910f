"""Appeals: which failures another implementation of the reference measures again.

Two permitted implementations differ by rounding. A failure that rounding can explain is measured
again; one that is far beyond every bound is not, however often a miner provokes it. Specification,
section 5. `docs/security.md` proves that no honest rollout loses by this.
"""

from collections.abc import Sequence

from assay.protocol.parameters import Tests
from assay.protocol.submission import SKETCH_COLUMNS, Rollout
from assay.verification.bounds import LOGPROB_MAX, MARGIN_MAX, SKETCH_BLOCK
from assay.verification.logprobs import compute_differences
from assay.verification.ports import Measurement
from assay.verification.sketch import compute_block_distances

#: Rollouts of one submission that are measured again.
APPEALS_MAX = 2
#: A measurement beyond this many times a bound is no matter of rounding.
ROUNDING_FACTOR = 16


def is_beyond_rounding(
    rollout: Rollout, measurement: Measurement, positions: Sequence[int], tests: Tests
) -> bool:
    """Return whether no rounding explains the measurement of a rollout that failed a test.

    Args:
        rollout: or its head.
        positions: where log-probabilities are compared; none of a head.
    """
    if is_margin_beyond_rounding(measurement, tests):
        return True
    sums, counts = compute_block_distances(rollout.sketch, measurement.sketch[:, :SKETCH_COLUMNS])
    bound = ROUNDING_FACTOR * tests.sketch_block_bound * counts
    if SKETCH_BLOCK.is_exceeded(sums * 1_000, bound).any():
        return True
    differences = compute_differences(rollout.logprobs, measurement.logprobs, positions)
    return bool(
        LOGPROB_MAX.is_exceeded(differences, ROUNDING_FACTOR * tests.logprob_max_bound).any()
    )


def is_margin_beyond_rounding(measurement: Measurement, tests: Tests) -> bool:
    """Return whether no rounding explains a rollout's largest margin."""
    bound = ROUNDING_FACTOR * tests.margin_cap
    return bool(MARGIN_MAX.is_exceeded(measurement.margins.max(), bound))
