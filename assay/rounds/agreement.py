"""How much each child counts in a merge: its factor F_i in the merged difference Σ F_i · d_i.

It follows from the children's differences d_1 … d_c alone, by their lengths and their directions:

    length          s_i = |d_i|²                            S = the middle of all s_i
    shortening      r_i = min(1, 2 · √(S / s_i))            to twice the middle length at most
    cosine          k_ij = d_i · d_j / (|d_i| · |d_j|)      0 where that is negative
    agreement       a_i = the ⌊c / 2⌋-th largest k_ij       A = the middle of all a_i
    weight          w_i = min(1, 2 · √(s_i / S)) · min(1, 2 · a_i / A)
    factor          F_i = r_i · w_i / Σ w_j

The middle of c numbers is the one at place ⌊(c − 1) / 2⌋ in ascending order, from 0. A child and
the children of its ⌊c / 2⌋ largest cosines are a majority, so a_i says how far the child agrees
with the nearest one. If A is 0, nobody agrees with a majority, and lengths alone decide.

Why. A trainer that lies can send any difference. r_i keeps a long one from drowning the others.
Noise and a difference that leads back have nothing in common with a majority: a_i = 0, and they
count nothing. A short one would slow the others down, so it counts less. Within a factor of 2 of
the middle length and agreement all count alike, and honest children make their mean. Whoever agrees
in part, and misleads in the rest, counts: no rule can tell such a child from an honest one.

Example. d_1 = (3, 1), d_2 = (3, −1), and d_3 = (−300, 0) leads back:

    s = (10, 10, 90000), S = 10     r = (1, 1, 0.021)
    k_12 = 0.8, k_13 = k_23 = 0     a = (0.8, 0.8, 0), A = 0.8      w = (1, 1, 0)
    F = (1/2, 1/2, 0)               the merged difference is (3, 0)

With d_3 = (1, 3) in its place, a = (0.8, 0.8, 0.6): all lie within a factor of 2, and F_i = 1/3.

All of this is in whole numbers, a share of 1 as 2^20 and a factor of 1 as 2^24, each root and
division rounded down; products d_i · d_j are exact sums. So all machines find the same.
Specification, section 11.1.
"""

from collections.abc import Sequence
from math import frexp, isqrt

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
#: [c, c] sums of products of the children's differences, in whole numbers.
Products = list[list[int]]

#: Fraction bits of lengths' ratios and of cosines, and of a child's factor.
SHARE_BITS, FACTOR_BITS = 20, 24
#: A child counts in full, and unshortened, within this factor of the median.
SPREAD = 2
#: Bits of a difference's whole numbers. So many products are summed exactly in doubles.
_WHOLE_BITS, _TOGETHER = 20, 1 << 12


def find_exponent(largest: float) -> int:
    """The least x with `largest` < 2^x. Differences of at most this magnitude are compared in units
    of 2^(x − 20)."""
    return frexp(largest)[1]


def multiply(differences: Sequence[Values], exponents: Sequence[int]) -> Products:
    """The sums of products of flat differences of one size, each in units of its exponent."""
    count = len(differences)
    size = -(-len(differences[0]) // _TOGETHER) * _TOGETHER
    wholes = np.zeros((count, size))
    for row, values, exponent in zip(wholes, differences, exponents, strict=True):
        row[: len(values)] = np.trunc(np.ldexp(values.astype(np.float64), _WHOLE_BITS - exponent))
    parts = wholes.reshape(count, -1, _TOGETHER).transpose(1, 0, 2)
    # each product is below 2^40, and each sum of 2^12 of them a whole number below 2^53
    sums = (parts @ parts.transpose(0, 2, 1)).astype(np.int64)
    return [[int(one) for one in row] for row in sums.sum(0)]


def compute_factors(products: Products, exponents: Sequence[int]) -> list[int]:
    """Each child's factor in the merged difference, in units of 2^-24.

    Args:
        products: over all differences. None of these is zero.
        exponents: of each difference, as in `multiply`.
    """
    count, unit = len(exponents), 1 << SHARE_BITS
    middle = (count - 1) // 2
    least = min(exponents)
    squares = [products[i][i] << 2 * (x - least) for i, x in enumerate(exponents)]  # s
    median = sorted(squares)[middle]  # S
    lengths = [min(unit, _take_root(SPREAD**2 * square, median)) for square in squares]
    shrunk = [min(unit, _take_root(SPREAD**2 * median, square)) for square in squares]  # r
    agreed = [_find_agreement(products, child) for child in range(count)]  # a
    usual = sorted(agreed)[middle]  # A
    weights = [  # w
        length * min(SPREAD * one, usual) // usual if usual else length
        for length, one in zip(lengths, agreed, strict=True)
    ]
    whole = sum(weights)
    return [
        (weight * scale << FACTOR_BITS - SHARE_BITS) // whole
        for weight, scale in zip(weights, shrunk, strict=True)
    ]


def _find_agreement(products: Products, child: int) -> int:
    """The cosine between a child's direction and that of the furthest of the others that make up
    the nearest majority together with it, in units of 2^-20; 0 where they point apart."""
    square = products[child][child]
    others = [place for place in range(len(products)) if place != child]
    cosines = (
        _take_root(products[child][other] ** 2, square * products[other][other])
        if products[child][other] > 0
        else 0
        for other in others
    )
    nearest = sorted(cosines, reverse=True)
    return nearest[len(products) // 2 - 1] if nearest else 0


def _take_root(numerator: int, denominator: int) -> int:
    """√(numerator / denominator) in units of 2^-20, rounded down."""
    return isqrt((numerator << 2 * SHARE_BITS) // denominator)
