"""The keyed draw of one token in numpy: exact, and fast at large vocabularies.

Each id's logit and a cheap bound of its noise bound its score from above. Only ids whose bound
reaches the best score found are scored exactly: a handful of 151,936. The result is bit for bit the
same as if all ids were scored (tests/inference: test_drawing_vectors.py, test_fast_path.py).

Specification, section 3.
"""

import numpy as np
from numpy.typing import NDArray

from assay.protocol.gumbel import BOUND_ERROR, compute_gumbel_bounds, compute_gumbels
from assay.protocol.parameters import FRACTION_BITS
from assay.protocol.prf import Key
from assay.protocol.words import compute_words

#: Logits of this size or more do not fit the fixed-point score.
LOGIT_MAX = float(1 << 40)


def compute_slack(magnitude: float, temperature: int) -> float:
    """The most by which an exact score may exceed its float32 bound, in logits.

    Three roundings of values up to `magnitude` + 128 · T, and one of the score to 2^-20.

    Args:
        magnitude: the largest |logit| of the row.
        temperature: Tq = 1024 · T.
    """
    return magnitude * 2.0**-20 + temperature / 1024 * BOUND_ERROR * 2 + 2.0**-18


def score_tokens(
    logits: NDArray[np.float32], words: NDArray[np.uint32], temperature: int
) -> NDArray[np.int64]:
    """Keyed scores, 2^-20 logits, of ids with these logits and words; arrays of one shape."""
    fixed = np.rint(logits.astype(np.float64) * (1 << FRACTION_BITS)).astype(np.int64)
    scores: NDArray[np.int64] = fixed + ((compute_gumbels(words) * temperature) >> 10)
    return scores


def draw_token(
    logits: NDArray[np.float32],
    drawable: NDArray[np.bool_],
    key: Key,
    position: int,
    temperature: int,
) -> tuple[int, int]:
    """The keyed argmax and its score in 2^-20 logits; the lowest id wins a tie.

    Args:
        logits: float32 [V].
        drawable: bool [V], at least one id.
        key: of the rollout.
        position: index of the token in its completion.
        temperature: Tq = 1024 · T.

    Raises:
        ValueError: a logit is not finite, or as large as 2^40.
    """
    magnitude = max(float(logits.max()), -float(logits.min()))  # NaN passes through both
    if not magnitude < LOGIT_MAX:
        raise ValueError("a logit is not finite, or too large for a score")
    words = compute_words(np.array([key], np.uint64), np.array([position], np.uint64), len(logits))[
        0
    ]
    bounds = compute_gumbel_bounds(words)
    bounds *= np.float32(temperature / 1024)
    bounds += logits
    likely = bounds.argmax()
    if not drawable[likely]:
        bounds[~drawable] = -np.inf
        likely = bounds.argmax()
    best = int(score_tokens(logits[likely], words[likely], temperature))
    floor = best / (1 << FRACTION_BITS) - compute_slack(magnitude, temperature)
    ids = np.flatnonzero(bounds >= np.float32(floor))
    ids = ids[drawable[ids]]
    scores = score_tokens(logits[ids], words[ids], temperature)
    winner = scores.argmax()
    return int(ids[winner]), int(scores[winner])
