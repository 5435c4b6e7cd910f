"""The words behind the tokens of whole rows (`prf.compute_word`), in numpy."""

import numpy as np
from numpy.typing import NDArray

from assay.protocol.prf import MASK32, PHILOX_MULTIPLIERS, PHILOX_ROUNDS, PHILOX_WEYL

#: Counters processed together: as many as fit into a core's cache. Does not change the result.
_CHUNK = 8_192

Words = NDArray[np.uint64] | np.uint64


def compute_words(
    keys: NDArray[np.uint64], positions: NDArray[np.uint64], vocabulary: int
) -> NDArray[np.uint32]:
    """All words of N rows: keys uint64 [N, 4], positions uint64 [N] → uint32 [N, vocabulary]."""
    blocks = (vocabulary + 3) // 4
    words = np.empty((len(keys), blocks, 4), np.uint32)
    for row, key, position in zip(words, keys, positions, strict=True):
        for start in range(0, blocks, _CHUNK):
            counters = np.arange(start, min(start + _CHUNK, blocks), dtype=np.uint64)
            for column, word in enumerate(_compute_philox_array(counters, position, key)):
                row[start : start + _CHUNK, column] = word
    return words.reshape(len(keys), -1)[:, :vocabulary]


def _compute_philox_array(
    counters: NDArray[np.uint64], position: np.uint64, key: NDArray[np.uint64]
) -> tuple[Words, Words, Words, Words]:
    """Philox4x32-10 with a vector as first counter word. The other words stay scalar, which is
    cheaper."""
    mask, shift = np.uint64(MASK32), np.uint64(32)
    m0, m1 = (np.uint64(m) for m in PHILOX_MULTIPLIERS)
    k0, k1 = int(key[0]), int(key[1])
    c0: Words = counters
    c1: Words = np.uint64(position)
    c2: Words = key[2]
    c3: Words = key[3]
    for _ in range(PHILOX_ROUNDS):
        p0, p1 = c0 * m0, c2 * m1
        c0, c2 = (p1 >> shift) ^ (c1 ^ np.uint64(k0)), (p0 >> shift) ^ (c3 ^ np.uint64(k1))
        c1, c3 = p1 & mask, p0 & mask
        k0, k1 = (k0 + PHILOX_WEYL[0]) & MASK32, (k1 + PHILOX_WEYL[1]) & MASK32
    return c0, c1, c2, c3
