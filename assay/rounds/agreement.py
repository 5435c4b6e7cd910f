"""How much each child counts in a merge: by the length of its difference, and by the agreement of
its direction with those of a majority.

A trainer that lies can send any difference. A long one is shortened to twice the median length, so
that it cannot drown the others. One whose direction has less than half as much in common with the
nearest majority as the median child's has counts less: noise and a difference that leads back have
nothing in common with the others, and count nothing. So does one that is shorter than half the
median, or an idle trainer would slow the others down. Within a factor of two of what is usual, all
count alike, so that honest children make their mean. Whoever agrees with the others in part, and
misleads them in the rest, counts: no rule can tell such a child from an honest one.

Lengths and directions are compared in whole numbers, and sums of their products are exact whatever
their order is: all machines find the same. Specification, section 11.1.
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
    squares = [products[i][i] << 2 * (x - least) for i, x in enumerate(exponents)]
    median = sorted(squares)[middle]
    lengths = [min(unit, _take_root(SPREAD**2 * square, median)) for square in squares]
    shrunk = [min(unit, _take_root(SPREAD**2 * median, square)) for square in squares]
    agreed = [_find_agreement(products, child) for child in range(count)]
    usual = sorted(agreed)[middle]
    weights = [
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
