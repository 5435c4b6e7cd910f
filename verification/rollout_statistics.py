"""The measured values of a rollout's three tests, for people. No verdict depends on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.protocol.manifest import Calibration
from assay.protocol.parameters import Parameters
from assay.protocol.submission import LOGPROB_BITS, Rollout
from assay.verification.logprobs import judge_logprobs
from assay.verification.ports import Measurement
from assay.verification.sampling import judge_sampling
from assay.verification.sketch import compute_token_distances, iterate_blocks, judge_sketch


@dataclass(frozen=True, slots=True, eq=False)
class RolloutStatistics:
    log_capital: float  # natural logarithm of the sampling test's martingale at its highest
    sketch_mean: float  # mean difference a token
    distances: NDArray[np.int64]  # [T], the sketch's difference at each token
    #: start and end of the block whose sketch is furthest away; its mean difference a token
    block: tuple[int, int, float]
    logprob_rms: float  # over the drawn positions, nats
    logprob_worst: int  # the drawn position with the largest difference


def compute_rollout_statistics(
    rollout: Rollout,
    measured: Measurement,
    positions: Sequence[int],
    calibration: Calibration,
    parameters: Parameters,
) -> RolloutStatistics:
    """The results of the judge's own functions for one rollout.

    Args:
        measured: the measurement under the sketch's projection alone.
        positions: the positions whose log-probabilities are compared, see `select_positions`.
    """
    tests, temperature = parameters.tests, parameters.work.temperature
    sampling = judge_sampling(measured.margins, measured.gini, calibration, tests, temperature)
    logprobs = judge_logprobs(rollout.logprobs, measured.logprobs, positions, tests)
    distances = compute_token_distances(rollout.sketch, measured.sketch)
    blocks = [
        (start, end, float(distances[start:end].mean()))
        for start, end in iterate_blocks(len(distances))
    ]
    return RolloutStatistics(
        log_capital=sampling.log_capital,
        sketch_mean=judge_sketch(rollout.sketch, measured.sketch, tests).mean,
        distances=distances,
        block=max(blocks, key=lambda block: block[2]),
        logprob_rms=logprobs.rms / (1 << LOGPROB_BITS),
        logprob_worst=max(
            positions, key=lambda t: abs(int(rollout.logprobs[t]) - int(measured.logprobs[t]))
        ),
    )
