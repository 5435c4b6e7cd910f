"""The sketch: two signed bytes a token that bind the model's last hidden state.

It binds the model cheaply at every token, even where sampling is nearly deterministic. It never
proves generation: prefilling someone else's tokens gives a genuine sketch.

Specification, section 6.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from assay.protocol.manifest import Manifest
from assay.protocol.parameters import CENTRE_BITS, Tests
from assay.protocol.prf import compute_key
from assay.protocol.submission import SKETCH_COLUMNS
from assay.protocol.words import compute_words
from assay.verification.bounds import SKETCH_BLOCK, SKETCH_MEAN
from assay.verification.ports import Projection

#: q = clip(round(GAIN · projection / scale), ±CLIP).
SKETCH_GAIN = 32
SKETCH_CLIP = 127
#: A column's difference counts at most this much.
DIFFERENCE_CAP = 32
#: Tokens over which the statistic is averaged; a ragged last block joins the one before.
BLOCK_TOKENS = 32


@dataclass(frozen=True, slots=True)
class SketchResult:
    """Statistics of one rollout's sketch."""

    mean: float  # average difference a token (both columns), for people
    #: first token of the first block beyond its bound, 0 for the rollout's own bound, None if
    #: it passes
    token: int | None


def make_projection(seed: bytes, manifest: Manifest) -> Projection:
    """R ∈ {±1}^{H×2} from Philox bits under `seed`, with the manifest's μ and scale.

    Entry (i, j) is bit e & 31 of word(0, e >> 5), e = 2i + j: 1 means +1.
    """
    hidden = len(manifest.centre)
    entries = np.arange(hidden * SKETCH_COLUMNS, dtype=np.uint32)
    key = np.array([compute_key(seed)], np.uint64)
    words = compute_words(key, np.zeros(1, np.uint64), len(entries) // 32 + 1)[0]
    bits = (words[entries >> 5] >> (entries & 31)) & 1
    matrix = bits.astype(np.float32).reshape(hidden, SKETCH_COLUMNS) * 2 - 1
    unit = float(1 << CENTRE_BITS)
    centre = (np.array(manifest.centre, np.float64) / unit).astype(np.float32)
    return Projection(matrix, centre, manifest.scale / unit)


def join_projections(one: Projection, other: Projection) -> Projection:
    """Both projections as one, for one pass: `other`'s columns after `one`'s. Both are of one
    checkpoint."""
    return replace(one, matrix=np.concatenate([one.matrix, other.matrix], axis=1))


def iterate_blocks(tokens: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each block of a rollout of `tokens` ≥ 1."""
    blocks = max(1, tokens // BLOCK_TOKENS)
    for block in range(blocks):
        start = block * BLOCK_TOKENS
        yield start, tokens if block == blocks - 1 else start + BLOCK_TOKENS


def compute_token_distances(
    claimed: NDArray[np.int8], measured: NDArray[np.int8]
) -> NDArray[np.int64]:
    """The sum of both columns' capped differences at each token, int64 [T], of two int8 [T, 2]."""
    capped = np.minimum(np.abs(claimed.astype(np.int16) - measured), DIFFERENCE_CAP)
    distances: NDArray[np.int64] = capped.sum(axis=1, dtype=np.int64)
    return distances


def compute_block_distances(
    claimed: NDArray[np.int8], measured: NDArray[np.int8]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The sums of `compute_token_distances` over each block, and the blocks' tokens: int64 [blocks]
    each."""
    starts, ends = np.array(list(iterate_blocks(len(claimed)))).T
    sums: NDArray[np.int64] = np.add.reduceat(compute_token_distances(claimed, measured), starts)
    return sums, ends - starts


def judge_sketch(
    claimed: NDArray[np.int8], measured: NDArray[np.int8], tests: Tests
) -> SketchResult:
    """Compare two sketches, int8 [T, 2]. All comparisons are in integers."""
    sums, counts = compute_block_distances(claimed, measured)
    total, count = int(sums.sum()), len(claimed)
    beyond = SKETCH_BLOCK.is_exceeded(sums * 1_000, tests.sketch_block_bound * counts)
    token = None
    if beyond.any():
        token = int(counts[: beyond.argmax()].sum())
    elif SKETCH_MEAN.is_exceeded(total * 1_000, tests.sketch_rollout_bound * count):
        token = 0
    return SketchResult(mean=total / count, token=token)
