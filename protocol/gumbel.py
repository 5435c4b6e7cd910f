"""Gumbel noise in integers: the quantile of a 32-bit word, in units of 2^-20 logits.

Γ(w) ≈ −ln(−ln((w + ½) / 2^32)), computed with a table and linear pieces. No run-time result depends
on a mathematics library: the last digit of `log` differs between libraries, the table does not. The
error against the true quantile is below 2.4e-6 logits (tests/protocol/test_gumbel.py).

Specification, section 3.
"""

import math
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

#: As in `assay.protocol.parameters`, which assay-vllm lacks: this file is also one of its own.
FRACTION_BITS = 20

_MASK32 = 0xFFFFFFFF
#: Words nearer than this to either end of the range have one entry each.
_DIRECT = 256
#: Farther from the ends, each doubling of the distance is cut into this many linear pieces.
_PIECES = 256
_OCTAVES = 23  # 256 · 2^23 = 2^31: half the range of a word

#: SHA-256 of the table as little-endian i32. A different table is a different protocol.
TABLE_SHA256 = "a141a4634c2e2c7f105fabeeca032519cc9db5a1edeaf07ba3347f8522293243"


def compute_quantile(word: int) -> float:
    """Gumbel quantile of (word + ½) / 2^32 in float64, computed from the nearer end."""
    if word >> 31:
        return -math.log(-math.log1p(-((_MASK32 - word) + 0.5) * 2.0**-32))
    return -math.log(-math.log((word + 0.5) * 2.0**-32))


def _make_table() -> NDArray[np.int64]:
    """Both halves of the table. Each has direct entries, the starts of all pieces, and the last
    point.

    Rounding to 2^-20 hides the differences between libraries: no entry lies within 1e-5 units of a
    tie, and their errors are below 1e-8. The hash above is checked all the same.
    """
    half = [*range(_DIRECT)]
    half += [(_PIECES + i) << e for e in range(_OCTAVES) for i in range(_PIECES)]
    half.append((1 << 31) - 1)
    words = half + [_MASK32 - z for z in half]
    table = np.array([round(compute_quantile(w) * 2**FRACTION_BITS) for w in words], np.int64)
    digest = sha256(table.astype("<i4").tobytes()).hexdigest()
    if digest != TABLE_SHA256:
        raise RuntimeError(f"the Gumbel table's hash is {digest}, not {TABLE_SHA256}")
    return table


#: int64 [2 · (256 + 23·256 + 1)], units of 2^-20: words in the lower half of the range, then upper.
TABLE = _make_table()
TABLE.setflags(write=False)
HALF = len(TABLE) // 2
#: The largest value the noise can take (word 2^32 − 1), units of 2^-20.
GUMBEL_MAX = int(TABLE[HALF])

#: Γ(w) ≤ BOUND_START − BOUND_SLOPE · (bits of the float32 nearest to 2^32 − 1 − w), in logits.
BOUND_START = (32 + 127) * math.log(2)
BOUND_SLOPE = math.log(2) / 2**23
#: The most that rounding can lower a bound: 159 · ln 2 in float32, plus the table's own error.
BOUND_ERROR = 2.0**-14


def compute_gumbel(word: int) -> int:
    """Γ(word) on Python integers, units of 2^-20: the normative form."""
    side = word >> 31
    z = _MASK32 - word if side else word
    base = side * HALF
    if z < _DIRECT:
        return int(TABLE[base + z])
    octave = z.bit_length() - 9
    i = base + octave * _PIECES + (z >> octave)
    a, b = int(TABLE[i]), int(TABLE[i + 1])
    return a + (((b - a) * (z & ((1 << octave) - 1))) >> octave)


def compute_gumbels(words: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Γ of an array of words (any shape), int64 in units of 2^-20."""
    w = words.astype(np.int64)
    side = w >> 31
    z = np.where(side == 1, _MASK32 - w, w)
    # frexp gives the bit length exactly: z < 2^31 is a float64 without rounding
    octave = np.maximum(np.frexp(z.astype(np.float64))[1].astype(np.int64) - 9, 0)
    i = side * HALF + np.where(z < _DIRECT, z, octave * _PIECES + (z >> octave))
    a = TABLE[i]
    b = TABLE[np.where(z < _DIRECT, i, i + 1)]
    gumbels: NDArray[np.int64] = a + (((b - a) * (z & ((np.int64(1) << octave) - 1))) >> octave)
    return gumbels


def compute_gumbel_bounds(words: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Upper bounds of Γ in logits, float32: a few cheap operations where Γ itself takes many.

    For z = 2^32 − 1 − w, Γ(w) ≤ 32·ln 2 − ln z, and the bits of z as a float32, read as an integer,
    are at most 2^23 · (log2 z + 127). Never below Γ by more than `BOUND_ERROR`, and at most 0.41
    above it for words in the upper half: tests/protocol/test_gumbel.py.
    """
    bounds: NDArray[np.float32] = np.invert(words).astype(np.float32).view(np.int32)
    bounds = bounds.astype(np.float32)
    bounds *= np.float32(-BOUND_SLOPE)
    bounds += np.float32(BOUND_START)
    return bounds
